/* SPDX-License-Identifier: MIT */
#include "proxy/leftovers.h"

#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static struct leftovers left;

static void make(void)
{
    ck_assert(leftovers_init(&left));
}

static void release(void)
{
    leftovers_release(&left);
}

/* Whether a worker was woken since the last look. */
static bool was_woken(void)
{
    uint64_t count;
    return read(left.wake_fd, &count, sizeof count) == sizeof count;
}

START_TEST(what_is_left_is_taken_in_order)
{
    struct parking_event events[3] = {{.what = 1}, {.what = 2, .flags = 7}, {.what = 3}}, taken[4];
    ck_assert_uint_eq(leftovers_take(&left, taken, 4), 0);
    ck_assert(!was_woken());
    leftovers_add(&left, events, 3);
    ck_assert(was_woken());
    ck_assert_uint_eq(leftovers_count(&left), 3);
    ck_assert_uint_eq(leftovers_take(&left, taken, 2), 2);
    ck_assert_uint_eq(taken[0].what, 1);
    ck_assert_uint_eq(taken[1].what, 2);
    ck_assert_uint_eq(taken[1].flags, 7);
    ck_assert_msg(was_woken(), "nobody was woken for the rest");
    leftovers_add(&left, events, 1);
    ck_assert(was_woken());
    ck_assert_uint_eq(leftovers_take(&left, taken, 4), 2);
    ck_assert_uint_eq(taken[0].what, 3);
    ck_assert_uint_eq(taken[1].what, 1);
    ck_assert(!was_woken());
    ck_assert_uint_eq(leftovers_count(&left), 0);
}
END_TEST

enum { THREADS = 4, ROUNDS = 2000 };

/* Leaves as many as it takes. */
static void *trade(void *argument)
{
    uint64_t *sum = argument;
    for (int i = 0; i < ROUNDS; i++) {
        struct parking_event one = {.what = (uint64_t)i}, taken[PARKING_BATCH_MAX];
        leftovers_add(&left, &one, 1);
        uint32_t count = leftovers_take(&left, taken, PARKING_BATCH_MAX);
        for (uint32_t j = 0; j < count; j++) {
            *sum += taken[j].what;
        }
    }
    return NULL;
}

START_TEST(nothing_is_lost_or_taken_twice)
{
    pthread_t threads[THREADS];
    uint64_t sums[THREADS] = {0}, sum = 0;
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, trade, &sums[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        sum += sums[i];
    }
    struct parking_event taken[PARKING_BATCH_MAX];
    uint32_t count;
    while ((count = leftovers_take(&left, taken, PARKING_BATCH_MAX)) > 0) {
        for (uint32_t j = 0; j < count; j++) {
            sum += taken[j].what;
        }
    }
    ck_assert_uint_eq(sum, (uint64_t)THREADS * ROUNDS * (ROUNDS - 1) / 2);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("leftovers");
    TCase *all = tcase_create("leftovers");
    tcase_add_checked_fixture(all, make, release);
    tcase_add_test(all, what_is_left_is_taken_in_order);
    tcase_add_test(all, nothing_is_lost_or_taken_twice);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
