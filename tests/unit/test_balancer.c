/* SPDX-License-Identifier: MIT
 * The four ways to choose: exact orders, shares, and what moves when members come and go. */
#include "proxy/balancer.h"

#include <check.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* A question for a round robin over all COUNT members with WEIGHTS. */
static struct balancer_question by_turns(uint32_t count, const uint32_t weights[])
{
    struct balancer_question q = {.balance = CONFIG_BALANCE_ROUND_ROBIN,
                                  .candidates = UINT64_MAX >> (64 - count)};
    for (uint32_t i = 0; i < count; i++) {
        q.weights[i] = (int32_t)weights[i];
    }
    return q;
}

static int pick(struct balancer *b, struct balancer_question *q, uint64_t candidates)
{
    q->candidates = candidates;
    return balancer_pick(b, q);
}

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
};

START_TEST(picks_in_exact_order)
{
    struct balancer b;
    struct balancer_question q = by_turns(orders[_i].count, orders[_i].weights);
    balancer_init(&b);
    size_t length = strlen(orders[_i].order);
    for (size_t i = 0; i < 2 * length; i++) {
        int picked = pick(&b, &q, orders[_i].candidates);
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
    struct balancer_question q = by_turns(2, (const uint32_t[]){1, 1});
    balancer_init(&b);
    ck_assert_int_eq(pick(&b, &q, 0), -1);
    ck_assert_int_eq(pick(&b, &q, 3), 0);
    ck_assert_int_eq(pick(&b, &q, 0), -1);
    ck_assert_int_eq(pick(&b, &q, 3), 1);
    for (enum config_balance way = CONFIG_BALANCE_ROUND_ROBIN; way <= CONFIG_BALANCE_HASH; way++) {
        q.balance = way;
        ck_assert_int_eq(pick(&b, &q, 0), -1);
        ck_assert_int_eq(pick(&b, &q, 2), 1);
    }
}
END_TEST

START_TEST(all_64_take_turns)
{
    uint32_t weights[CONFIG_BACKENDS_MAX];
    struct balancer b;
    for (int i = 0; i < CONFIG_BACKENDS_MAX; i++) {
        weights[i] = BALANCER_WEIGHT_MAX;
    }
    struct balancer_question q = by_turns(CONFIG_BACKENDS_MAX, weights);
    balancer_init(&b);
    for (int i = 0; i < 3 * CONFIG_BACKENDS_MAX; i++) {
        ck_assert_int_eq(pick(&b, &q, UINT64_MAX), i % CONFIG_BACKENDS_MAX);
    }
    ck_assert_int_eq(pick(&b, &q, UINT64_C(1) << 63), 63);
}
END_TEST

/* A request that failed on one backend asks for another: such extra picks must not shift the shares of the
 * first picks for good. Each first pick of A, and it alone, is followed by one among the others. */
START_TEST(retries_keep_shares)
{
    struct balancer b;
    struct balancer_question q = by_turns(3, (const uint32_t[]){1, 1, 1});
    int first[3] = {0, 0, 0};
    int second[3] = {0, 0, 0};
    balancer_init(&b);
    for (int i = 0; i < 3000; i++) {
        int picked = pick(&b, &q, 7);
        first[picked]++;
        if (picked == 0) {
            second[pick(&b, &q, 6)]++;
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
    struct balancer_question q = by_turns(3, (const uint32_t[]){1, 1, 1});
    balancer_init(&b);
    ck_assert_int_eq(pick(&b, &q, 7), 0);
    int counts[3] = {0, 0, 0};
    for (int i = 0; i < 1000; i++) {
        counts[pick(&b, &q, 3)]++;
    }
    ck_assert_int_eq(counts[2], 0);
    ck_assert_int_le(abs(counts[0] - counts[1]), 2);
    memset(counts, 0, sizeof counts);
    for (int i = 0; i < 30; i++) {
        counts[pick(&b, &q, 7)]++;
    }
    for (int i = 0; i < 3; i++) {
        ck_assert_int_le(abs(counts[i] - 10), 1);
    }
}
END_TEST

/* A weight that grows, as in a slow start: in each stretch its owner gets what the weight of that stretch is
 * worth. */
START_TEST(a_growing_weight_gets_a_growing_share)
{
    struct balancer b;
    struct balancer_question q = by_turns(2, (const uint32_t[]){1024, 0});
    balancer_init(&b);
    for (int32_t weight = 102; weight <= 1024; weight += 1) {
        q.weights[1] = weight;
        int got = 0;
        for (int i = 0; i < 100; i++) {
            got += balancer_pick(&b, &q);
        }
        double fair = 100.0 * weight / (1024 + weight);
        ck_assert_msg(fabs(got - fair) <= 2, "weight %d: %d of 100, %f are fair", weight, got, fair);
    }
}
END_TEST

/* Whatever sets are asked for, the sum of all places stays 0 and none runs away. */
START_TEST(places_stay_bounded)
{
    static const int32_t weights[CONFIG_BACKENDS_MAX] = {1, 2, 4, 8, 16, 256};
    int32_t current[CONFIG_BACKENDS_MAX] = {0};
    uint32_t random = 1;
    for (int i = 0; i < 200000; i++) {
        random = random * 1664525 + 1013904223;
        uint32_t set = random >> 26;
        int picked = balancer_step(weights, current, set);
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
    struct balancer_question q = by_turns(3, (const uint32_t[]){5, 1, 1});
    for (int i = 0; i < PICKS; i++) {
        int picked = balancer_pick(&crowd->balancer, &q);
        atomic_fetch_add(&crowd->counts[picked], 1);
    }
    return NULL;
}

START_TEST(shares_are_exact_under_8_threads)
{
    struct crowd crowd = {.counts = {0}};
    pthread_t threads[THREADS];
    balancer_init(&crowd.balancer);
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

static const struct {
    const char *rule;
    uint64_t candidates;
    int32_t weights[4];
    uint64_t in_flight[4];
    uint64_t least;
} leasts[] = {
    {"none", 0, {1, 1, 1, 1}, {0, 0, 0, 0}, 0},
    {"all idle", 15, {1, 2, 3, 4}, {0, 0, 0, 0}, 15},
    {"one idle", 15, {1, 2, 3, 4}, {1, 1, 0, 1}, 4},
    {"by weight", 7, {1, 2, 4, 1}, {1, 1, 1, 0}, 4},
    {"equal fractions", 7, {1, 2, 4, 1}, {3, 6, 12, 0}, 7},
    {"a hair less", 7, {1, 2, 4, 1}, {3, 6, 11, 0}, 4},
    {"the last", 15, {1, 1, 1, 1}, {4, 3, 2, 1}, 8},
    {"the first", 15, {1, 1, 1, 1}, {1, 2, 3, 4}, 1},
    {"two of four", 15, {1, 1, 1, 1}, {5, 2, 7, 2}, 10},
    {"large numbers", 3, {BALANCER_WEIGHT_MAX, 1, 1, 1}, {BALANCER_WEIGHT_MAX, 2, 0, 0}, 1},
    {"left out ones don't count", 3, {1, 1, 1, 1}, {9, 8, 0, 0}, 2},
};

START_TEST(the_least_loaded_by_weight)
{
    struct balancer_question q = {.candidates = leasts[_i].candidates};
    memcpy(q.weights, leasts[_i].weights, sizeof leasts[_i].weights);
    memcpy(q.in_flight, leasts[_i].in_flight, sizeof leasts[_i].in_flight);
    ck_assert_msg(balancer_least(&q) == leasts[_i].least, "%s", leasts[_i].rule);
}
END_TEST

/* Requests come, and end by chance: what is in flight is shared out by weight. */
START_TEST(least_in_flight_shares_by_weight)
{
    static const uint32_t weights[] = {1, 2, 5};
    struct balancer b;
    struct balancer_question q = by_turns(3, weights);
    balancer_init(&b);
    q.balance = CONFIG_BALANCE_LEAST_IN_FLIGHT;
    for (int i = 0; i < 800; i++) {
        q.in_flight[balancer_pick(&b, &q)]++;
    }
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(q.in_flight[i], 100 * weights[i]);
    }
    /* One after the other, with nothing in flight, they take turns by weight. */
    int counts[3] = {0};
    memset(q.in_flight, 0, sizeof q.in_flight);
    for (int i = 0; i < 80; i++) {
        counts[balancer_pick(&b, &q)]++;
    }
    for (int i = 0; i < 3; i++) {
        ck_assert_int_le(abs(counts[i] - 10 * (int)weights[i]), 1);
    }
}
END_TEST

static uint64_t random_number(uint64_t *state)
{
    return balancer_mix((*state)++);
}

/* Whether COUNT of ALL is what SHARE promises, by six standard deviations. */
static void assert_share(int count, int all, double share)
{
    double deviation = sqrt(all * share * (1 - share));
    ck_assert_msg(fabs(count - all * share) <= 6 * deviation + 1, "%d of %d, expected a share of %f", count,
                  all, share);
}

START_TEST(two_choices_at_rest_go_by_weight)
{
    enum { ALL = 200000 };
    struct balancer_question q = by_turns(4, (const uint32_t[]){1, 2, 3, 10});
    uint64_t state = 1;
    int counts[4] = {0};
    for (int i = 0; i < ALL; i++) {
        counts[balancer_two_choices(&q, random_number(&state))]++;
    }
    for (int i = 0; i < 4; i++) {
        assert_share(counts[i], ALL, q.weights[i] / 16.0);
    }
}
END_TEST

/* The one with the most in flight for its weight is never chosen, whatever is drawn; a single one always. */
START_TEST(two_choices_avoid_the_fullest)
{
    struct balancer_question q = by_turns(3, (const uint32_t[]){256, 1, 1});
    q.in_flight[0] = 257;
    uint64_t state = 2;
    q.in_flight[1] = 1;
    for (int i = 0; i < 100000; i++) {
        q.candidates = 7;
        ck_assert_int_ne(balancer_two_choices(&q, random_number(&state)), 0);
        q.candidates = 3;
        ck_assert_int_eq(balancer_two_choices(&q, random_number(&state)), 1);
        q.candidates = 1;
        ck_assert_int_eq(balancer_two_choices(&q, random_number(&state)), 0);
    }
    ck_assert_int_eq(balancer_two_choices(&q, 0), 0);
    ck_assert_int_eq(balancer_two_choices(&q, UINT64_MAX), 0);
}
END_TEST

/* Balls into bins: with two choices the fullest bin is hardly fuller than the others. */
START_TEST(two_choices_level_out)
{
    uint32_t weights[CONFIG_BACKENDS_MAX];
    uint64_t state = 3, most = 0;
    for (int i = 0; i < CONFIG_BACKENDS_MAX; i++) {
        weights[i] = 7;
    }
    struct balancer_question q = by_turns(CONFIG_BACKENDS_MAX, weights);
    for (int i = 0; i < 64 * 100; i++) {
        q.in_flight[balancer_two_choices(&q, random_number(&state))]++;
    }
    for (int i = 0; i < CONFIG_BACKENDS_MAX; i++) {
        most = q.in_flight[i] > most ? q.in_flight[i] : most;
    }
    ck_assert_uint_le(most, 104); /* with one choice: about 125 */
}
END_TEST

enum { KEYS = 50000 };

/* A question for the rendezvous; the members have ids of their own. */
static struct balancer_question by_hash(uint32_t count, const uint32_t weights[])
{
    struct balancer_question q = by_turns(count, weights);
    q.balance = CONFIG_BALANCE_HASH;
    for (uint32_t i = 0; i < count; i++) {
        char name[] = {'b', 'a', 'c', 'k', (char)('A' + i)};
        q.ids[i] = balancer_hash(name, sizeof name);
    }
    return q;
}

static int home_of(struct balancer_question *q, uint32_t client)
{
    uint32_t address[4] = {0, 0, 0xffff0000, 0x0a000000 + client};
    q->key = balancer_hash(address, sizeof address);
    return balancer_rendezvous(q);
}

START_TEST(clients_spread_by_weight)
{
    struct balancer_question q = by_hash(5, (const uint32_t[]){1, 1, 2, 4, 8});
    int counts[5] = {0};
    for (uint32_t client = 0; client < KEYS; client++) {
        counts[home_of(&q, client)]++;
    }
    for (int i = 0; i < 5; i++) {
        assert_share(counts[i], KEYS, q.weights[i] / 16.0);
    }
}
END_TEST

/* One leaves: its clients, and only they, move, by the weights of those that stay. It comes back: all is as
 * it was. The same for every one of them. */
START_TEST(only_the_clients_of_one_that_leaves_move)
{
    struct balancer_question q = by_hash(5, (const uint32_t[]){1, 1, 2, 4, 8});
    uint64_t all = q.candidates;
    int moved_to[5] = {0}, moved = 0;
    for (uint32_t client = 0; client < KEYS; client++) {
        q.candidates = all;
        int home = home_of(&q, client);
        for (int leaver = 0; leaver < 5; leaver++) {
            q.candidates = all & ~(UINT64_C(1) << leaver);
            int then = home_of(&q, client);
            ck_assert_int_ne(then, leaver);
            ck_assert(leaver == home || then == home);
        }
        if (home == 4) {
            q.candidates = all & ~(UINT64_C(1) << 4);
            moved_to[home_of(&q, client)]++;
            moved++;
        }
    }
    for (int i = 0; i < 4; i++) {
        assert_share(moved_to[i], moved, q.weights[i] / 8.0);
    }
}
END_TEST

/* A weight that grows only attracts, one that shrinks only sends away. */
START_TEST(a_weight_that_changes_moves_as_few_as_can_be)
{
    struct balancer_question q = by_hash(3, (const uint32_t[]){10, 10, 10});
    int moved = 0;
    for (uint32_t client = 0; client < KEYS; client++) {
        q.weights[1] = 10;
        int before = home_of(&q, client);
        q.weights[1] = 20;
        int after = home_of(&q, client);
        ck_assert(after == before || after == 1);
        moved += after != before;
    }
    assert_share(moved, KEYS, 0.5 - 1 / 3.0);
}
END_TEST

/* What stands for a backend is its id, not its place. */
START_TEST(places_mean_nothing_to_the_hash)
{
    struct balancer_question q = by_hash(3, (const uint32_t[]){3, 5, 7}), turned = q;
    for (int i = 0; i < 3; i++) {
        turned.weights[(i + 1) % 3 + 60] = q.weights[i];
        turned.ids[(i + 1) % 3 + 60] = q.ids[i];
    }
    turned.candidates = UINT64_C(7) << 60;
    for (uint32_t client = 0; client < 1000; client++) {
        ck_assert_int_eq(home_of(&turned, client), (home_of(&q, client) + 1) % 3 + 60);
    }
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
    tcase_add_test(balancer, a_growing_weight_gets_a_growing_share);
    tcase_add_test(balancer, shares_are_exact_under_8_threads);
    tcase_add_loop_test(balancer, the_least_loaded_by_weight, 0, ROWS(leasts));
    tcase_add_test(balancer, least_in_flight_shares_by_weight);
    tcase_add_test(balancer, two_choices_at_rest_go_by_weight);
    tcase_add_test(balancer, two_choices_avoid_the_fullest);
    tcase_add_test(balancer, two_choices_level_out);
    tcase_add_test(balancer, clients_spread_by_weight);
    tcase_add_test(balancer, only_the_clients_of_one_that_leaves_move);
    tcase_add_test(balancer, a_weight_that_changes_moves_as_few_as_can_be);
    tcase_add_test(balancer, places_mean_nothing_to_the_hash);
    Suite *suite = suite_create("balancer");
    suite_add_tcase(suite, balancer);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
