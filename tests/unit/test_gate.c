/* SPDX-License-Identifier: MIT
 * The gate against a simulated pool: workers, backends with a service time, and a CPU that does so much work
 * and no more. */
#include "proxy/gate.h"

#include <check.h>
#include <stdlib.h>

enum { MIN = 16, MAX = 256 };
#define MS INT64_C(1000000)

/* Backends that answer after SERVICE_MS, CLIENTS that each send their next request at once, and a machine
 * that handles CPU_PER_MS requests a millisecond at the most. */
struct world {
    double service_ms, clients, cpu_per_ms;
};

/* What a pool with LIMIT workers shows after one look: Little's law, capped by the CPU. A worker that is let
 * in newly takes a connection at once. */
static struct gate_look look_at(const struct world *w, double limit, double newly_in)
{
    double at_work = limit < w->clients ? limit : w->clients;
    double per_ms = at_work / w->service_ms;
    per_ms = per_ms < w->cpu_per_ms ? per_ms : w->cpu_per_ms;
    bool waits = w->clients > limit;
    return (struct gate_look){
        .elapsed_ns = GATE_LOOK_MS * MS,
        .takes = (uint32_t)(per_ms * GATE_LOOK_MS + newly_in),
        .inside = (uint32_t)limit,
        .waiting = waits ? 0 : (uint32_t)(limit - at_work) + 1,
        .ready = waits,
    };
}

/* Runs G in W for MS milliseconds. Returns the time after which the limit was WANTED or more for the first
 * time, or -1. */
static int run(struct gate *g, const struct world *w, int ms, uint32_t wanted)
{
    int reached = g->limit >= wanted ? 0 : -1;
    uint32_t before = g->limit;
    for (int t = GATE_LOOK_MS; t <= ms; t += GATE_LOOK_MS) {
        double newly_in = g->limit > before ? g->limit - before : 0;
        before = g->limit;
        struct gate_look look = look_at(w, g->limit, newly_in);
        gate_step(g, &look);
        ck_assert_uint_ge(g->limit, MIN);
        ck_assert_uint_le(g->limit, MAX);
        if (reached == -1 && g->limit >= wanted) {
            reached = t;
        }
    }
    return reached;
}

START_TEST(two_for_each_cpu_and_four_at_least)
{
    ck_assert_uint_eq(gate_least(1, 256), 4);
    ck_assert_uint_eq(gate_least(2, 256), 4);
    ck_assert_uint_eq(gate_least(3, 256), 6);
    ck_assert_uint_eq(gate_least(64, 256), 128);
    ck_assert_uint_eq(gate_least(200, 256), 256);
    ck_assert_uint_eq(gate_least(8, 5), 5);
    ck_assert_uint_eq(gate_least(1, 1), 1);
    ck_assert_uint_eq(gate_least(UINT32_MAX, 4096), 4096);
}
END_TEST

START_TEST(fast_backends_keep_it_narrow)
{
    struct gate g;
    gate_init(&g, MIN, MAX);
    struct world fast = {.service_ms = 0.1, .clients = 1000, .cpu_per_ms = 45};
    ck_assert_int_eq(run(&g, &fast, 5000, MIN + 1), -1);
}
END_TEST

START_TEST(slow_backends_open_it_within_milliseconds)
{
    struct gate g;
    gate_init(&g, MIN, MAX);
    struct world slow = {.service_ms = 20, .clients = 1000, .cpu_per_ms = 45};
    int reached = run(&g, &slow, 1000, MAX);
    ck_assert_int_ge(reached, 0);
    ck_assert_int_le(reached, 50);
}
END_TEST

START_TEST(hanging_backends_open_it_too)
{
    struct gate g;
    gate_init(&g, MIN, MAX);
    struct world hanging = {.service_ms = 1e9, .clients = 1000, .cpu_per_ms = 45};
    int reached = run(&g, &hanging, 1000, MAX);
    ck_assert_int_ge(reached, 0);
    ck_assert_int_le(reached, 50);
}
END_TEST

START_TEST(a_busy_cpu_is_no_reason_to_open)
{
    struct gate g;
    gate_init(&g, MIN, MAX);
    /* Each connection takes over a millisecond, because the CPU gives no more. */
    struct world busy = {.service_ms = 0.1, .clients = 1000, .cpu_per_ms = 8};
    run(&g, &busy, 2000, MAX);
    int64_t open_looks = 0;
    for (int i = 0; i < 500; i++) {
        run(&g, &busy, GATE_LOOK_MS, MAX);
        open_looks += g.limit > MIN;
    }
    ck_assert_int_le(open_looks, 25); /* short trials, ever rarer */
}
END_TEST

START_TEST(one_slow_look_amid_a_steady_flow_proves_nothing)
{
    struct gate g;
    gate_init(&g, 4, MAX);
    /* The CPU gives 5.5 connections a millisecond to whatever number of workers, now more, now fewer. */
    srand(1);
    int open_looks = 0, looks = 5000;
    uint32_t before = g.limit;
    for (int i = 0; i < looks; i++) {
        uint32_t newly_in = g.limit > before ? g.limit - before : 0;
        before = g.limit;
        struct gate_look look = {.elapsed_ns = GATE_LOOK_MS * MS,
                                 .takes = newly_in + (i < 20 ? 11 : 7 + (uint32_t)(rand() % 9)),
                                 .inside = g.limit,
                                 .ready = true};
        gate_step(&g, &look);
        open_looks += g.limit > 4;
    }
    ck_assert_int_le(open_looks, looks / 50);
}
END_TEST

START_TEST(it_closes_again_when_backends_are_fast_again)
{
    struct gate g;
    gate_init(&g, MIN, MAX);
    struct world slow = {.service_ms = 20, .clients = 1000, .cpu_per_ms = 45};
    struct world fast = {.service_ms = 0.1, .clients = 1000, .cpu_per_ms = 45};
    ck_assert_int_ge(run(&g, &slow, 1000, MAX), 0);
    run(&g, &fast, 30000, MAX);
    ck_assert_uint_eq(g.limit, MIN);
}
END_TEST

START_TEST(it_stays_open_while_backends_are_slow)
{
    struct gate g;
    gate_init(&g, MIN, MAX);
    struct world slow = {.service_ms = 20, .clients = 1000, .cpu_per_ms = 45};
    ck_assert_int_ge(run(&g, &slow, 1000, MAX), 0);
    int narrow_looks = 0;
    for (int i = 0; i < 5000; i++) {
        run(&g, &slow, GATE_LOOK_MS, MAX);
        narrow_looks += g.limit < MAX;
    }
    ck_assert_int_le(narrow_looks, 50); /* a trial now and then: 1 % of the time at the most */
}
END_TEST

START_TEST(it_rests_when_there_is_little_to_do)
{
    struct gate g;
    gate_init(&g, MIN, MAX);
    struct world slow = {.service_ms = 20, .clients = 1000, .cpu_per_ms = 45};
    struct world idle = {.service_ms = 1, .clients = 2, .cpu_per_ms = 45};
    run(&g, &slow, 1000, MAX);
    ck_assert(!gate_is_at_rest(&g));
    run(&g, &idle, 5000, MAX);
    ck_assert(gate_is_at_rest(&g));
    ck_assert_uint_eq(g.limit, MIN);
}
END_TEST

/* Requests that each take for ever come one by one, as fast as ONE_EVERY looks: nobody must wait long for a
 * free worker. */
START_TEST(slow_requests_that_come_one_by_one_find_a_worker)
{
    enum { ONE_EVERY = 30, REQUESTS = 200 };
    struct gate g;
    gate_init(&g, MIN, MAX);
    uint32_t at_work = 0, inside = MIN, queued = 0, longest_wait = 0, wait = 0;
    for (int look_number = 1; look_number < ONE_EVERY * (REQUESTS + 1); look_number++) {
        queued += look_number % ONE_EVERY == 0;
        uint32_t takes = inside - at_work < queued ? inside - at_work : queued;
        at_work += takes;
        queued -= takes;
        wait = queued > 0 ? wait + 1 : 0;
        longest_wait = wait > longest_wait ? wait : longest_wait;
        struct gate_look look = {.elapsed_ns = GATE_LOOK_MS * MS,
                                 .takes = takes,
                                 .inside = inside,
                                 .waiting = inside - at_work,
                                 .ready = queued > 0 && inside == at_work};
        gate_step(&g, &look);
        /* Those at work stay inside whatever the limit says; idle ones beyond it leave. */
        inside = g.limit > at_work ? g.limit : at_work;
    }
    ck_assert_uint_eq(queued, 0);
    ck_assert_uint_le(longest_wait * GATE_LOOK_MS, 50);
}
END_TEST

START_TEST(a_pool_smaller_than_the_least_is_its_own_limit)
{
    struct gate g;
    gate_init(&g, 4, 4);
    struct gate_look look = {.elapsed_ns = 2 * MS, .takes = 0, .waiting = 0, .ready = true};
    for (int i = 0; i < 100; i++) {
        ck_assert_uint_eq(gate_step(&g, &look), 4);
    }
}
END_TEST

START_TEST(a_look_without_time_changes_nothing)
{
    struct gate g;
    gate_init(&g, MIN, MAX);
    struct gate_look look = {.elapsed_ns = 0, .takes = 5, .waiting = 0, .ready = true};
    ck_assert_uint_eq(gate_step(&g, &look), MIN);
    ck_assert_int_eq(g.trial, GATE_STEADY);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("gate");
    TCase *tcase = tcase_create("gate");
    tcase_add_test(tcase, two_for_each_cpu_and_four_at_least);
    tcase_add_test(tcase, fast_backends_keep_it_narrow);
    tcase_add_test(tcase, slow_backends_open_it_within_milliseconds);
    tcase_add_test(tcase, hanging_backends_open_it_too);
    tcase_add_test(tcase, a_busy_cpu_is_no_reason_to_open);
    tcase_add_test(tcase, one_slow_look_amid_a_steady_flow_proves_nothing);
    tcase_add_test(tcase, it_closes_again_when_backends_are_fast_again);
    tcase_add_test(tcase, it_stays_open_while_backends_are_slow);
    tcase_add_test(tcase, it_rests_when_there_is_little_to_do);
    tcase_add_test(tcase, slow_requests_that_come_one_by_one_find_a_worker);
    tcase_add_test(tcase, a_pool_smaller_than_the_least_is_its_own_limit);
    tcase_add_test(tcase, a_look_without_time_changes_nothing);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
