/* SPDX-License-Identifier: MIT
 * Rows of probes, pauses and jitter, with a clock made up by the test. */
#include "healthd/probe_track.h"

#include <check.h>
#include <stdlib.h>

#define AT_S(s) ((s)*NS_PER_S)

enum { INTERVAL_MS = 2000, RISE = 2, FALL = 3 };

static enum probe_turn count(struct probe_track *t, bool good)
{
    return probe_track_count(t, good, RISE, FALL);
}

START_TEST(only_rows_turn_it)
{
    struct probe_track t = {.good = 0};
    ck_assert_int_eq(count(&t, false), PROBE_NO_TURN);
    ck_assert_int_eq(count(&t, false), PROBE_NO_TURN);
    ck_assert_int_eq(count(&t, true), PROBE_NO_TURN); /* breaks the row */
    ck_assert_int_eq(count(&t, false), PROBE_NO_TURN);
    ck_assert_int_eq(count(&t, false), PROBE_NO_TURN);
    ck_assert_int_eq(count(&t, false), PROBE_FALLEN);
    ck_assert_int_eq(count(&t, false), PROBE_FALLEN); /* and stays so */
    ck_assert_int_eq(count(&t, true), PROBE_NO_TURN);
    ck_assert_int_eq(count(&t, false), PROBE_NO_TURN);
    ck_assert_int_eq(count(&t, true), PROBE_NO_TURN);
    ck_assert_int_eq(count(&t, true), PROBE_RISEN);
    ck_assert_int_eq(count(&t, true), PROBE_RISEN);
    ck_assert_int_eq(probe_track_count(&t, false, 1, 1), PROBE_FALLEN);
    ck_assert_int_eq(probe_track_count(&t, true, 1, 1), PROBE_RISEN);
}
END_TEST

START_TEST(a_row_never_overflows)
{
    struct probe_track t = {.good = UINT32_MAX - 1};
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(count(&t, true), PROBE_RISEN);
    }
    ck_assert_uint_eq(t.good, UINT32_MAX);
}
END_TEST

START_TEST(a_fall_makes_old_probes_worthless)
{
    struct probe_track t = {.good = 0};
    count(&t, true);
    count(&t, true);
    probe_track_fell(&t, AT_S(1000), INTERVAL_MS);
    ck_assert_int_eq(count(&t, true), PROBE_NO_TURN);
    ck_assert_int_eq(count(&t, true), PROBE_RISEN);
}
END_TEST

START_TEST(pauses_double_up_to_a_minute)
{
    static const int64_t pauses_s[] = {0, 4, 8, 16, 32, 60, 60};
    struct probe_track t = {.good = 0};
    mono_ns now = AT_S(1000);
    for (size_t i = 0; i < sizeof pauses_s / sizeof pauses_s[0]; i++) {
        probe_track_fell(&t, now, INTERVAL_MS);
        ck_assert_int_eq(t.silent_until, pauses_s[i] == 0 ? 0 : now + AT_S(pauses_s[i]));
        now += AT_S(100); /* however long it was out */
        probe_track_returned(&t, now);
        now += AT_S(60) - 1;
    }
    probe_track_returned(&t, now);
    now += AT_S(60); /* it stood for a whole minute: as new */
    mono_ns before = t.silent_until;
    probe_track_fell(&t, now, INTERVAL_MS);
    ck_assert_int_eq(t.silent_until, before);
    probe_track_returned(&t, now);
    probe_track_fell(&t, now, INTERVAL_MS);
    ck_assert_int_eq(t.silent_until, now + AT_S(4));
}
END_TEST

START_TEST(the_longest_interval_does_not_overflow)
{
    struct probe_track t = {.good = 0};
    for (int i = 0; i < 100; i++) {
        probe_track_returned(&t, AT_S(1000));
        probe_track_fell(&t, AT_S(1000), 3600000);
        ck_assert_int_eq(t.silent_until, AT_S(1060));
    }
}
END_TEST

START_TEST(intervals_differ_by_a_tenth)
{
    ck_assert_int_eq(probe_interval_ns(2000, 0), 1800 * NS_PER_MS);
    bool below = false, above = false;
    for (uint64_t random = 0; random <= UINT32_MAX; random += 99999989) {
        int64_t ns = probe_interval_ns(2000, (uint32_t)random);
        ck_assert_int_ge(ns, 1800 * NS_PER_MS);
        ck_assert_int_le(ns, 2200 * NS_PER_MS);
        below = below || ns < 1900 * NS_PER_MS;
        above = above || ns > 2100 * NS_PER_MS;
        ns = probe_interval_ns(3600000, (uint32_t)random);
        ck_assert_int_ge(ns, 3240000 * NS_PER_MS);
        ck_assert_int_le(ns, 3960000 * NS_PER_MS);
        ck_assert_int_gt(probe_interval_ns(10, (uint32_t)random), 0);
    }
    ck_assert(below && above);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("probe_track");
    tcase_add_test(tests, only_rows_turn_it);
    tcase_add_test(tests, a_row_never_overflows);
    tcase_add_test(tests, a_fall_makes_old_probes_worthless);
    tcase_add_test(tests, pauses_double_up_to_a_minute);
    tcase_add_test(tests, the_longest_interval_does_not_overflow);
    tcase_add_test(tests, intervals_differ_by_a_tenth);
    Suite *suite = suite_create("probe_track");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
