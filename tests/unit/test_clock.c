/* SPDX-License-Identifier: MIT
 * Points in time and dates as text. */
#include "common/clock.h"

#include <check.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

static const struct {
    const char *rule;
    time_t when;
    const char *http, *iso; /* ISO with 0 ns */
} dates[] = {
    {"RFC 9110, 5.6.7: its own example", 784111777, "Sun, 06 Nov 1994 08:49:37 GMT",
     "1994-11-06T08:49:37.000Z"},
    {"the epoch", 0, "Thu, 01 Jan 1970 00:00:00 GMT", "1970-01-01T00:00:00.000Z"},
    {"before the epoch", -1, "Wed, 31 Dec 1969 23:59:59 GMT", "1969-12-31T23:59:59.000Z"},
    {"a leap day of a year that 400 divides", 951782400, "Tue, 29 Feb 2000 00:00:00 GMT",
     "2000-02-29T00:00:00.000Z"},
    {"the last second of a leap year", 1735689599, "Tue, 31 Dec 2024 23:59:59 GMT",
     "2024-12-31T23:59:59.000Z"},
    {"2^31 is passed", INT64_C(2147483648), "Tue, 19 Jan 2038 03:14:08 GMT", "2038-01-19T03:14:08.000Z"},
    {"2100 is no leap year", INT64_C(4107542400), "Mon, 01 Mar 2100 00:00:00 GMT",
     "2100-03-01T00:00:00.000Z"},
    {"the last second with a year of 4 digits", INT64_C(253402300799), "Fri, 31 Dec 9999 23:59:59 GMT",
     "9999-12-31T23:59:59.000Z"},
};

START_TEST(writes_dates)
{
    ck_assert_int_eq(setenv("TZ", "ODD-5:30", 1), 0); /* the local time zone must not matter */
    tzset();
    char http[CLOCK_HTTP_DATE_BYTES];
    char iso[CLOCK_ISO8601_BYTES];
    clock_http_date(dates[_i].when, http);
    clock_iso8601((struct timespec){.tv_sec = dates[_i].when}, iso);
    ck_assert_msg(strcmp(http, dates[_i].http) == 0, "%s: %s", dates[_i].rule, http);
    ck_assert_msg(strcmp(iso, dates[_i].iso) == 0, "%s: %s", dates[_i].rule, iso);
    ck_assert_uint_eq(strlen(http) + 1, CLOCK_HTTP_DATE_BYTES);
    ck_assert_uint_eq(strlen(iso) + 1, CLOCK_ISO8601_BYTES);
}
END_TEST

/* Every day of two leap cycles: the names of days and months go on without a gap. */
START_TEST(writes_every_day)
{
    static const char *const days = "ThuFriSatSunMonTueWed";
    for (int day = 0; day < 365 * 9; day++) {
        char http[CLOCK_HTTP_DATE_BYTES];
        time_t when = (time_t)day * 86400;
        struct tm t;
        clock_http_date(when, http);
        ck_assert_int_eq(strncmp(http, days + day % 7 * 3, 3), 0);
        ck_assert_ptr_nonnull(strptime(http, "%a, %d %b %Y %H:%M:%S GMT", &t));
        ck_assert_int_eq(timegm(&t), when);
    }
}
END_TEST

START_TEST(cuts_milliseconds_and_does_not_round)
{
    static const struct {
        long ns;
        const char *tail;
    } rows[] = {
        {0, ".000Z"}, {999999, ".000Z"}, {1000000, ".001Z"}, {123456789, ".123Z"}, {999999999, ".999Z"}};
    for (int i = 0; i < ROWS(rows); i++) {
        char iso[CLOCK_ISO8601_BYTES];
        clock_iso8601((struct timespec){.tv_sec = 784111777, .tv_nsec = rows[i].ns}, iso);
        ck_assert_str_eq(iso + 19, rows[i].tail);
        ck_assert_int_eq(strncmp(iso, "1994-11-06T08:49:37", 19), 0);
    }
}
END_TEST

START_TEST(mono_is_clock_monotonic_in_nanoseconds)
{
    struct timespec before, after;
    ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &before), 0);
    mono_ns now = clock_mono();
    mono_ns later = clock_mono();
    ck_assert_int_eq(clock_gettime(CLOCK_MONOTONIC, &after), 0);
    ck_assert_int_ge(now, before.tv_sec * NS_PER_S + before.tv_nsec);
    ck_assert_int_ge(later, now);
    ck_assert_int_le(later, after.tv_sec * NS_PER_S + after.tv_nsec);
}
END_TEST

START_TEST(coarse_is_the_same_clock_a_little_behind)
{
    mono_ns before = clock_mono();
    mono_ns coarse = clock_mono_coarse();
    mono_ns after = clock_mono();
    ck_assert_int_le(coarse, after);
    ck_assert_int_gt(coarse, before - 1 * NS_PER_S); /* far more than a tick */
}
END_TEST

START_TEST(deadlines_are_points)
{
    ck_assert_int_eq(deadline_after_ms(5, 0), 5);
    ck_assert_int_eq(deadline_after_ms(5, 1), 1000005);
    ck_assert_int_eq(deadline_after_ms(0, (INT64_C(1) << 43) - 1), ((INT64_C(1) << 43) - 1) * NS_PER_MS);
    ck_assert_int_eq(deadline_earlier(3, 4), 3);
    ck_assert_int_eq(deadline_earlier(4, 3), 3);
    ck_assert_int_eq(deadline_earlier(DEADLINE_NO, 3), 3);
}
END_TEST

static const struct {
    mono_ns deadline, now;
    int ms;
} waits[] = {
    {DEADLINE_NO, 0, -1},
    {DEADLINE_NO, DEADLINE_NO - 1, -1},
    {10, 10, 0},
    {10, 11, 0},
    {INT64_MIN, 0, 0},
    {10, 9, 1}, /* rounded up: poll must not return before the deadline and be asked again, and again */
    {NS_PER_MS, 0, 1},
    {NS_PER_MS + 1, 0, 2},
    {5 * NS_PER_MS + 7, 7, 5},
    {INT32_MAX * NS_PER_MS, 0, INT32_MAX},
    {(INT32_MAX + INT64_C(1)) * NS_PER_MS, 0, INT32_MAX},
    {DEADLINE_NO - 1, 2 * NS_PER_MS, INT32_MAX},
};

START_TEST(waits_for_poll)
{
    ck_assert_int_eq(deadline_poll_ms(waits[_i].deadline, waits[_i].now), waits[_i].ms);
}
END_TEST

int main(void)
{
    TCase *clock = tcase_create("clock");
    tcase_add_loop_test(clock, writes_dates, 0, ROWS(dates));
    tcase_add_test(clock, writes_every_day);
    tcase_add_test(clock, cuts_milliseconds_and_does_not_round);
    tcase_add_test(clock, mono_is_clock_monotonic_in_nanoseconds);
    tcase_add_test(clock, coarse_is_the_same_clock_a_little_behind);
    tcase_add_test(clock, deadlines_are_points);
    tcase_add_loop_test(clock, waits_for_poll, 0, ROWS(waits));
    Suite *suite = suite_create("clock");
    suite_add_tcase(suite, clock);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
