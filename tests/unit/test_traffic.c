/* SPDX-License-Identifier: MIT */
#include "healthd/traffic.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { THREADS = 8, COUNTS = 20000 };

static struct traffic_totals read_totals(struct traffic *t)
{
    struct traffic_totals totals;
    traffic_read(t, &totals);
    return totals;
}

START_TEST(starts_at_zero)
{
    struct traffic *t = traffic_new(1);
    struct traffic_totals totals = read_totals(t);
    ck_assert_uint_eq(totals.total, 0);
    ck_assert_uint_eq(totals.status_2xx + totals.status_3xx + totals.status_4xx + totals.status_5xx, 0);
    ck_assert_uint_eq(totals.retried + totals.rescued, 0);
    traffic_delete(t);
    traffic_delete(NULL);
}
END_TEST

START_TEST(sorts_by_class_and_adds_shards)
{
    struct traffic *t = traffic_new(3);
    traffic_count(t, 0, 200, false, false);
    traffic_count(t, 1, 299, true, true);
    traffic_count(t, 2, 200, false, false);
    traffic_count(t, 0, 300, false, false);
    traffic_count(t, 0, 399, false, false);
    traffic_count(t, 1, 400, false, false);
    traffic_count(t, 2, 500, true, false);
    traffic_count(t, 2, 599, true, false);
    traffic_count(t, 2, 502, false, false);
    traffic_count(t, 2, 503, false, false);
    struct traffic_totals totals = read_totals(t);
    ck_assert_uint_eq(totals.total, 10);
    ck_assert_uint_eq(totals.status_2xx, 3);
    ck_assert_uint_eq(totals.status_3xx, 2);
    ck_assert_uint_eq(totals.status_4xx, 1);
    ck_assert_uint_eq(totals.status_5xx, 4);
    ck_assert_uint_eq(totals.retried, 3);
    ck_assert_uint_eq(totals.rescued, 1);
    traffic_delete(t);
}
END_TEST

START_TEST(reset_counts_from_zero_again)
{
    struct traffic *t = traffic_new(2);
    for (int round = 0; round < 3; round++) {
        traffic_count(t, 0, 200, true, true);
        traffic_count(t, 1, 301, false, false);
        traffic_count(t, 0, 404, false, false);
        traffic_count(t, 1, 500, true, false);
        struct traffic_totals totals = read_totals(t);
        ck_assert_uint_eq(totals.total, 4);
        ck_assert_uint_eq(totals.status_2xx, 1);
        ck_assert_uint_eq(totals.status_3xx, 1);
        ck_assert_uint_eq(totals.status_4xx, 1);
        ck_assert_uint_eq(totals.status_5xx, 1);
        ck_assert_uint_eq(totals.retried, 2);
        ck_assert_uint_eq(totals.rescued, 1);
        traffic_reset(t);
        totals = read_totals(t);
        ck_assert_uint_eq(totals.total + totals.retried + totals.rescued, 0);
    }
    traffic_delete(t);
}
END_TEST

struct crowd {
    struct traffic *traffic;
    _Atomic uint32_t next, done;
};

static void *count_much(void *argument)
{
    struct crowd *crowd = argument;
    uint32_t shard = atomic_fetch_add(&crowd->next, 1);
    for (unsigned i = 0; i < COUNTS; i++) {
        traffic_count(crowd->traffic, shard, 200 + i % 4 * 100, i % 2 == 0, i % 4 == 0);
    }
    atomic_fetch_add(&crowd->done, 1);
    return NULL;
}

/* Counts in THREADS threads while this one reads, and resets every so often when RESETS is set. */
static struct traffic *crowded(bool resets)
{
    struct crowd crowd = {.traffic = traffic_new(THREADS)};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, count_much, &crowd), 0);
    }
    uint64_t last = 0;
    while (atomic_load(&crowd.done) < THREADS) {
        struct traffic_totals totals = read_totals(crowd.traffic);
        /* A difference that went below zero would be a huge number here. */
        ck_assert_uint_le(totals.total, (uint64_t)THREADS * COUNTS);
        ck_assert_uint_le(totals.rescued, (uint64_t)THREADS * COUNTS);
        ck_assert_uint_le(totals.retried, (uint64_t)THREADS * COUNTS);
        if (resets) {
            traffic_reset(crowd.traffic);
        } else {
            ck_assert_uint_ge(totals.total, last);
            last = totals.total;
        }
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    return crowd.traffic;
}

START_TEST(notes_stand_apart)
{
    struct traffic *t = traffic_new(2);
    traffic_note(t, 0, TRAFFIC_WAITED);
    traffic_note(t, 1, TRAFFIC_WAITED);
    traffic_note(t, 1, TRAFFIC_BACKENDS_FULL);
    ck_assert_uint_eq(read_totals(t).notes[TRAFFIC_WAITED], 2);
    ck_assert_uint_eq(read_totals(t).notes[TRAFFIC_BACKENDS_FULL], 1);
    ck_assert_uint_eq(read_totals(t).total, 0);
    traffic_reset(t);
    traffic_note(t, 0, TRAFFIC_BACKENDS_FULL);
    ck_assert_uint_eq(read_totals(t).notes[TRAFFIC_WAITED], 0);
    ck_assert_uint_eq(read_totals(t).notes[TRAFFIC_BACKENDS_FULL], 1);
    traffic_delete(t);
}
END_TEST

START_TEST(nothing_is_lost_among_threads)
{
    struct traffic *t = crowded(false);
    struct traffic_totals totals = read_totals(t);
    ck_assert_uint_eq(totals.total, (uint64_t)THREADS * COUNTS);
    ck_assert_uint_eq(totals.status_2xx, (uint64_t)THREADS * COUNTS / 4);
    ck_assert_uint_eq(totals.status_5xx, (uint64_t)THREADS * COUNTS / 4);
    ck_assert_uint_eq(totals.retried, (uint64_t)THREADS * COUNTS / 2);
    ck_assert_uint_eq(totals.rescued, (uint64_t)THREADS * COUNTS / 4);
    traffic_delete(t);
}
END_TEST

START_TEST(resets_among_threads)
{
    struct traffic *t = crowded(true);
    traffic_reset(t);
    ck_assert_uint_eq(read_totals(t).total, 0);
    traffic_count(t, 0, 204, false, false);
    ck_assert_uint_eq(read_totals(t).status_2xx, 1);
    ck_assert_uint_eq(read_totals(t).total, 1);
    traffic_delete(t);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("traffic");
    TCase *all = tcase_create("all");
    tcase_set_timeout(all, 60);
    tcase_add_test(all, starts_at_zero);
    tcase_add_test(all, sorts_by_class_and_adds_shards);
    tcase_add_test(all, reset_counts_from_zero_again);
    tcase_add_test(all, notes_stand_apart);
    tcase_add_test(all, nothing_is_lost_among_threads);
    tcase_add_test(all, resets_among_threads);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
