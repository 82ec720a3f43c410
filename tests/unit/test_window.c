/* SPDX-License-Identifier: MIT
 * The window against a list of all events, with a clock made up by the test. */
#include "healthd/window.h"

#include <check.h>
#include <stdlib.h>

enum { WINDOW_MS = 3200 };
#define BUCKET_NS (100 * NS_PER_MS)
#define START_NS  (1000 * NS_PER_S)

START_TEST(events_leave_after_the_window)
{
    struct window w = {.newest = 0};
    ck_assert_uint_eq(window_sum(&w, START_NS, WINDOW_MS), 0);
    ck_assert_uint_eq(window_add(&w, START_NS, WINDOW_MS), 1);
    ck_assert_uint_eq(window_add(&w, START_NS + BUCKET_NS, WINDOW_MS), 2);
    ck_assert_uint_eq(window_sum(&w, START_NS + 32 * BUCKET_NS - 1, WINDOW_MS), 2);
    ck_assert_uint_eq(window_sum(&w, START_NS + 32 * BUCKET_NS, WINDOW_MS), 1);
    ck_assert_uint_eq(window_add(&w, START_NS + 33 * BUCKET_NS - 1, WINDOW_MS), 2);
    ck_assert_uint_eq(window_sum(&w, START_NS + 33 * BUCKET_NS, WINDOW_MS), 1);
    ck_assert_uint_eq(window_sum(&w, START_NS + 1000 * NS_PER_S, WINDOW_MS), 0);
}
END_TEST

START_TEST(a_clock_that_stands_behind_loses_nothing)
{
    struct window w = {.newest = 0};
    ck_assert_uint_eq(window_add(&w, START_NS, WINDOW_MS), 1);
    ck_assert_uint_eq(window_add(&w, START_NS - 5 * BUCKET_NS, WINDOW_MS), 2);
    ck_assert_uint_eq(window_sum(&w, START_NS - 50 * BUCKET_NS, WINDOW_MS), 2);
}
END_TEST

START_TEST(the_sum_is_exact_to_a_bucket)
{
    static const uint32_t windows_ms[] = {1, 7, 32, 1000, 60000, 86400000};
    enum { EVENTS = 5000 };
    static mono_ns events[EVENTS];
    uint32_t window_ms = windows_ms[_i];
    struct window w = {.newest = 0};
    int64_t window_ns = window_ms * NS_PER_MS;
    mono_ns now = START_NS;
    unsigned random = 1;
    for (int i = 0; i < EVENTS; i++) {
        random = random * 1103515245 + 12345;
        now += (int64_t)(random >> 16) * window_ns / (random % 64 == 0 ? 10000 : 2000000);
        events[i] = now;
        uint64_t sum = window_add(&w, now, window_ms), least = 0, most = 0;
        for (int j = 0; j <= i; j++) {
            most += now - events[j] < window_ns;
            least += now - events[j] < window_ns - window_ns / WINDOW_BUCKETS - WINDOW_BUCKETS;
        }
        ck_assert_uint_ge(sum, least);
        ck_assert_uint_le(sum, most);
        ck_assert_uint_eq(window_sum(&w, now, window_ms), sum);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("window");
    tcase_add_test(tests, events_leave_after_the_window);
    tcase_add_test(tests, a_clock_that_stands_behind_loses_nothing);
    tcase_add_loop_test(tests, the_sum_is_exact_to_a_bucket, 0, 6);
    Suite *suite = suite_create("window");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
