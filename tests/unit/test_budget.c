/* SPDX-License-Identifier: MIT
 * The budget of retries: the share, the floor, the window, and that it is exact in a crowd. */
#include "proxy/budget.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define T (INT64_C(1000) * NS_PER_S)

static struct budget budget;

static void begin(void)
{
    budget_init(&budget);
}

static void count_requests(int count, mono_ns now)
{
    for (int i = 0; i < count; i++) {
        budget_count_request(&budget, now);
    }
}

/* How many of 10000 retries at NOW are allowed. */
static int allowed(mono_ns now, uint32_t percent)
{
    int taken = 0;
    for (int i = 0; i < 10000; i++) {
        taken += budget_take_retry(&budget, now, percent);
    }
    return taken;
}

START_TEST(a_few_are_always_allowed)
{
    ck_assert_int_eq(allowed(T, 20), BUDGET_FLOOR);
    count_requests(40, T);
    ck_assert_int_eq(allowed(T, 20), 0); /* 8 would be the share */
    ck_assert_int_eq(allowed(T + 11 * NS_PER_S, 0), BUDGET_FLOOR);
}
END_TEST

START_TEST(the_share_is_exact)
{
    static const uint32_t percents[] = {1, 20, 33, 100};
    for (int i = 0; i < 4; i++) {
        mono_ns now = T + i * 20 * NS_PER_S;
        count_requests(3000, now);
        ck_assert_int_eq(allowed(now, percents[i]), (int)(3000 * percents[i] / 100));
    }
}
END_TEST

START_TEST(the_window_slides)
{
    count_requests(1000, T);
    ck_assert_int_eq(allowed(T + NS_PER_S, 20), 200);
    count_requests(500, T + 5 * NS_PER_S);
    ck_assert_int_eq(allowed(T + 5 * NS_PER_S, 20), 100);
    /* The first 1000 are gone, and so are their 200 retries. */
    ck_assert_int_eq(allowed(T + 12 * NS_PER_S, 20), 0);
    count_requests(500, T + 12 * NS_PER_S);
    ck_assert_int_eq(allowed(T + 12 * NS_PER_S, 20), 100);
    ck_assert_int_eq(allowed(T + 60 * NS_PER_S, 20), BUDGET_FLOOR);
}
END_TEST

enum { THREADS = 8, TURNS = 5000 };

static _Atomic int taken;

/* Of this thread's requests every second one fails and wants a retry. */
static void *fail_often(void *unused)
{
    (void)unused;
    for (int i = 0; i < TURNS; i++) {
        budget_count_request(&budget, T);
        if (i % 2 == 0 && budget_take_retry(&budget, T, 20)) {
            atomic_fetch_add(&taken, 1);
        }
    }
    return NULL;
}

START_TEST(in_a_crowd_it_is_exact_too)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, fail_often, NULL), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    ck_assert_int_le(taken, THREADS * TURNS / 5);
    ck_assert_int_ge(taken, THREADS * TURNS / 5 - 1);
    ck_assert_int_eq(allowed(T, 20), THREADS * TURNS / 5 - taken);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("budget");
    TCase *tcase = tcase_create("budget");
    tcase_add_checked_fixture(tcase, begin, NULL);
    tcase_add_test(tcase, a_few_are_always_allowed);
    tcase_add_test(tcase, the_share_is_exact);
    tcase_add_test(tcase, the_window_slides);
    tcase_add_test(tcase, in_a_crowd_it_is_exact_too);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
