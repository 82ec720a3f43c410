/* SPDX-License-Identifier: MIT
 * Smooth weighted round robin: the exact order, and that it stays fair when members are left out. */
#include "proxy/balancer.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

static const struct {
    const char *rule;
    uint32_t count;
    uint32_t weights[8];
    uint64_t candidates;
    const char *order; /* 'a' is backend 0; the cycle is gone through twice */
} orders[] = {
    {"smooth, not five in a row", 3, {5, 1, 1}, 7, "aabacaa"},
    {"equal ones take turns, the first first", 3, {1, 1, 1}, 7, "abc"},
    {"a common factor changes nothing", 3, {50, 10, 10}, 7, "aabacaa"},
    {"two to one", 2, {2, 1}, 3, "aba"},
    {"three to two", 2, {3, 2}, 3, "ababa"},
    {"the heaviest last", 3, {1, 2, 4}, 7, "cbcacbc"},
    {"one alone", 1, {256}, 1, "a"},
    {"left out members don't count", 4, {5, 100, 1, 1}, 13, "aacadaa"},
    {"bits beyond the count mean nothing", 2, {1, 1}, UINT64_MAX, "ab"},
};

START_TEST(picks_in_exact_order)
{
    struct balancer b;
    balancer_init(&b, orders[_i].count, orders[_i].weights);
    size_t length = strlen(orders[_i].order);
    for (size_t i = 0; i < 2 * length; i++) {
        int picked = balancer_pick(&b, orders[_i].candidates);
        ck_assert_msg('a' + picked == orders[_i].order[i % length], "%s: pick %zu is %d", orders[_i].rule, i,
                      picked);
    }
    for (uint32_t i = 0; i < orders[_i].count; i++) {
        ck_assert_int_eq(b.shared.current[i], 0); /* a whole cycle ends where it began */
    }
}
END_TEST

START_TEST(an_empty_set_gives_none_and_changes_nothing)
{
    struct balancer b;
    balancer_init(&b, 2, (const uint32_t[]){1, 1});
    ck_assert_int_eq(balancer_pick(&b, 0), -1);
    ck_assert_int_eq(balancer_pick(&b, ~UINT64_C(3)), -1);
    ck_assert_int_eq(balancer_pick(&b, 3), 0);
    ck_assert_int_eq(balancer_pick(&b, 0), -1);
    ck_assert_int_eq(balancer_pick(&b, 3), 1);
}
END_TEST

START_TEST(all_64_take_turns)
{
    uint32_t weights[CONFIG_BACKENDS_MAX];
    struct balancer b;
    for (int i = 0; i < CONFIG_BACKENDS_MAX; i++) {
        weights[i] = 256;
    }
    balancer_init(&b, CONFIG_BACKENDS_MAX, weights);
    for (int i = 0; i < 3 * CONFIG_BACKENDS_MAX; i++) {
        ck_assert_int_eq(balancer_pick(&b, UINT64_MAX), i % CONFIG_BACKENDS_MAX);
    }
    ck_assert_int_eq(balancer_pick(&b, UINT64_C(1) << 63), 63);
}
END_TEST

/* A request that failed on one backend asks for another: such extra picks must not shift the shares of the
 * first picks for good. Each first pick of A, and it alone, is followed by one among the others. */
START_TEST(retries_keep_shares)
{
    struct balancer b;
    int first[3] = {0, 0, 0};
    int second[3] = {0, 0, 0};
    balancer_init(&b, 3, (const uint32_t[]){1, 1, 1});
    for (int i = 0; i < 3000; i++) {
        int picked = balancer_pick(&b, 7);
        first[picked]++;
        if (picked == 0) {
            second[balancer_pick(&b, 6)]++;
        }
    }
    ck_assert_int_eq(second[0], 0);
    ck_assert_int_le(abs(second[1] - second[2]), 2);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_le(abs(first[i] - 1000), 2);
    }
}
END_TEST

/* Out for 1000 picks, then back: it gets its share at once, not 1000 turns in a row, and not none. */
START_TEST(one_that_was_out_saves_no_turns)
{
    struct balancer b;
    balancer_init(&b, 3, (const uint32_t[]){1, 1, 1});
    ck_assert_int_eq(balancer_pick(&b, 7), 0);
    int counts[3] = {0, 0, 0};
    for (int i = 0; i < 1000; i++) {
        counts[balancer_pick(&b, 3)]++;
    }
    ck_assert_int_eq(counts[2], 0);
    ck_assert_int_le(abs(counts[0] - counts[1]), 2);
    memset(counts, 0, sizeof counts);
    for (int i = 0; i < 30; i++) {
        counts[balancer_pick(&b, 7)]++;
    }
    for (int i = 0; i < 3; i++) {
        ck_assert_int_le(abs(counts[i] - 10), 1);
    }
}
END_TEST

/* Whatever sets are asked for, the sum of all places stays 0 and none runs away. */
START_TEST(places_stay_bounded)
{
    static const int32_t weights[6] = {1, 2, 4, 8, 16, 256};
    int32_t current[6] = {0};
    uint32_t random = 1;
    for (int i = 0; i < 200000; i++) {
        random = random * 1664525 + 1013904223;
        uint32_t set = random >> 26;
        int picked = balancer_step(6, weights, current, set);
        int32_t sum = 0;
        bool bounded = true;
        for (int k = 0; k < 6; k++) {
            sum += current[k];
            bounded = bounded && abs(current[k]) <= 6 * 287;
        }
        bool member = set == 0 ? picked == -1 : picked >= 0 && (set >> picked & 1) != 0;
        if (sum != 0 || !bounded || !member) {
            ck_abort_msg("step %d: sum %d, picked %d of %x", i, sum, picked, set);
        }
    }
}
END_TEST

enum { THREADS = 8, PICKS = 7000 };

struct crowd {
    struct balancer balancer;
    _Atomic int counts[3];
};

static void *pick_many(void *argument)
{
    struct crowd *crowd = argument;
    for (int i = 0; i < PICKS; i++) {
        int picked = balancer_pick(&crowd->balancer, 7);
        atomic_fetch_add(&crowd->counts[picked], 1);
    }
    return NULL;
}

START_TEST(shares_are_exact_under_8_threads)
{
    struct crowd crowd = {.counts = {0}};
    pthread_t threads[THREADS];
    balancer_init(&crowd.balancer, 3, (const uint32_t[]){5, 1, 1});
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, pick_many, &crowd), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    ck_assert_int_eq(crowd.counts[0], THREADS * PICKS / 7 * 5);
    ck_assert_int_eq(crowd.counts[1], THREADS * PICKS / 7);
    ck_assert_int_eq(crowd.counts[2], THREADS * PICKS / 7);
}
END_TEST

int main(void)
{
    TCase *balancer = tcase_create("balancer");
    tcase_add_loop_test(balancer, picks_in_exact_order, 0, ROWS(orders));
    tcase_add_test(balancer, an_empty_set_gives_none_and_changes_nothing);
    tcase_add_test(balancer, all_64_take_turns);
    tcase_add_test(balancer, retries_keep_shares);
    tcase_add_test(balancer, one_that_was_out_saves_no_turns);
    tcase_add_test(balancer, places_stay_bounded);
    tcase_add_test(balancer, shares_are_exact_under_8_threads);
    Suite *suite = suite_create("balancer");
    suite_add_tcase(suite, balancer);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
