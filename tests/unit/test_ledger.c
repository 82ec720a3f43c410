/* SPDX-License-Identifier: MIT
 * The rule "more than N", one call at a time and under 16 threads. Threads never assert: they count what they
 * saw go wrong, and the test's own thread asserts that it is nothing. */
#include "healthd/ledger.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { THREADS = 16, EJECT_AFTER = 10 };

static const struct attempt_outcome ok = {.end = ATTEMPT_ANSWERED, .status = 200, .latency_ns = NS_PER_MS};
static const struct attempt_outcome status_500 = {.end = ATTEMPT_ANSWERED,
                                                  .status = 500,
                                                  .failure = true,
                                                  .latency_ns = NS_PER_MS};
static const struct attempt_outcome refused = {.end = ATTEMPT_CONNECT, .failure = true};
static const struct attempt_outcome cancelled = {.end = ATTEMPT_CANCELLED};

static struct ledger_page page_of(struct ledger *l, uint32_t backend)
{
    struct ledger_page page;
    ledger_read(l, backend, &page);
    return page;
}

/* What a page's outcomes add up to: its attempts, less those of this epoch that are in flight. */
static uint64_t outcomes(const struct ledger_page *page)
{
    return page->status_200 + page->non_200 + page->error_connect + page->error_timeout + page->error_reset +
           page->error_protocol;
}

static struct attempt_ticket begin(struct ledger *l, uint32_t backend, bool require_up)
{
    struct attempt_ticket ticket;
    ck_assert(ledger_begin(l, backend, require_up, &ticket));
    return ticket;
}

/* One attempt from begin to end. Returns whether it ejected the backend. */
static bool attempt(struct ledger *l, uint32_t backend, const struct attempt_outcome *outcome)
{
    struct attempt_ticket ticket = begin(l, backend, false);
    return ledger_end(l, &ticket, outcome);
}

START_TEST(begins_empty_and_up)
{
    for (uint32_t count = 1; count <= CONFIG_BACKENDS_MAX; count += 21) {
        struct ledger *l = ledger_new(count, &(struct ledger_policy){.eject_after = EJECT_AFTER});
        ck_assert_uint_eq(ledger_rotation(l), count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1);
        struct ledger_page page = page_of(l, count - 1);
        ck_assert_int_eq(page.state, BACKEND_UP);
        ck_assert_uint_eq(page.attempts + outcomes(&page) + page.failures + page.in_flight + page.ejections,
                          0);
        ck_assert(!page.ejected_at_known);
        ck_assert(page.latency_p50_ms == 0 && page.latency_p99_ms == 0);
        ledger_delete(l);
    }
    ledger_delete(NULL);
}
END_TEST

START_TEST(who_leaves_gets_nothing_new_and_who_comes_finds_an_empty_page)
{
    struct ledger *l = ledger_new(2, &(struct ledger_policy){.eject_after = 0});
    struct attempt_ticket ticket = begin(l, 1, true), none;
    bool up;
    ledger_dismiss(l, 1);
    ck_assert_uint_eq(ledger_rotation(l), 1);
    ck_assert(!ledger_begin(l, 1, true, &none) && !ledger_begin(l, 1, false, &none));
    ck_assert_uint_eq(ledger_fit(l, 1, &up), 0); /* not as a last resort either */
    ledger_reset(l, 1);
    ledger_drain(l, 1, false);
    ck_assert(!ledger_begin(l, 1, false, &none));
    ck_assert_uint_eq(page_of(l, 1).in_flight, 1);
    ledger_end(l, &ticket, &(struct attempt_outcome){.end = ATTEMPT_RESET, .failure = true});
    ledger_admit(l, 1);
    ledger_admit(l, 63);
    ck_assert_uint_eq(ledger_rotation(l), 3 | UINT64_C(1) << 63);
    struct ledger_page page = page_of(l, 1);
    ck_assert_int_eq(page.state, BACKEND_UP);
    ck_assert_uint_eq(page.attempts + outcomes(&page) + page.failures + page.in_flight + page.ejections, 0);
    ledger_delete(l);
}
END_TEST

START_TEST(ten_leave_it_up_eleven_eject)
{
    struct ledger *l = ledger_new(2, &(struct ledger_policy){.eject_after = EJECT_AFTER});
    struct timespec before, after;
    for (int i = 0; i < 10; i++) {
        ck_assert(!attempt(l, 1, i % 2 == 0 ? &status_500 : &refused));
        ck_assert(!attempt(l, 1, &ok)); /* a success does not wash a failure away */
    }
    ck_assert_int_eq(page_of(l, 1).state, BACKEND_UP);
    ck_assert_uint_eq(page_of(l, 1).failures, 10);
    ck_assert_uint_eq(ledger_rotation(l), 3);

    clock_gettime(CLOCK_REALTIME, &before);
    ck_assert(attempt(l, 1, &status_500));
    clock_gettime(CLOCK_REALTIME, &after);
    struct ledger_page page = page_of(l, 1);
    ck_assert_int_eq(page.state, BACKEND_EJECTED);
    ck_assert_uint_eq(page.failures, 11);
    ck_assert_uint_eq(page.ejections, 1);
    ck_assert(page.ejected_at_known);
    ck_assert_int_ge(page.ejected_at.tv_sec, before.tv_sec);
    ck_assert_int_le(page.ejected_at.tv_sec, after.tv_sec);
    ck_assert_uint_eq(ledger_rotation(l), 1);
    ck_assert_int_eq(page_of(l, 0).state, BACKEND_UP);

    struct attempt_ticket ticket;
    ck_assert(!ledger_begin(l, 1, true, &ticket));
    ck_assert_uint_eq(page_of(l, 1).attempts, 21); /* a refused begin counts nothing */
    ck_assert_uint_eq(page_of(l, 1).in_flight, 0);
    ck_assert(ledger_begin(l, 0, true, &ticket));
    ck_assert(!ledger_end(l, &ticket, &ok));
    ledger_delete(l);
}
END_TEST

START_TEST(none_tolerated_ejects_at_the_first)
{
    struct ledger *l = ledger_new(1, &(struct ledger_policy){.eject_after = 0});
    ck_assert(!attempt(l, 0, &ok));
    ck_assert(attempt(l, 0, &refused));
    ck_assert_uint_eq(ledger_rotation(l), 0);
    ledger_delete(l);
}
END_TEST

START_TEST(every_end_has_its_counter)
{
    struct ledger *l = ledger_new(1, &(struct ledger_policy){.eject_after = 100});
    const enum attempt_end ends[] = {ATTEMPT_CONNECT, ATTEMPT_TIMEOUT, ATTEMPT_TIMEOUT, ATTEMPT_RESET,
                                     ATTEMPT_RESET,   ATTEMPT_RESET,   ATTEMPT_PROTOCOL};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        attempt(l, 0, &(struct attempt_outcome){.end = ends[i], .failure = true});
    }
    attempt(l, 0, &ok);
    attempt(l, 0, &ok);
    attempt(l, 0, &status_500);
    /* Not 200, and still no failure: the policy's verdict decides, not the status. */
    attempt(l, 0, &(struct attempt_outcome){.end = ATTEMPT_ANSWERED, .status = 404});
    attempt(l, 0, &cancelled);
    struct ledger_page page = page_of(l, 0);
    ck_assert_uint_eq(page.attempts, 11);
    ck_assert_uint_eq(page.status_200, 2);
    ck_assert_uint_eq(page.non_200, 2);
    ck_assert_uint_eq(page.error_connect, 1);
    ck_assert_uint_eq(page.error_timeout, 2);
    ck_assert_uint_eq(page.error_reset, 3);
    ck_assert_uint_eq(page.error_protocol, 1);
    ck_assert_uint_eq(page.failures, 8);
    ck_assert_uint_eq(page.in_flight, 0);
    ledger_delete(l);
}
END_TEST

START_TEST(in_flight_is_counted)
{
    struct ledger *l = ledger_new(2, &(struct ledger_policy){.eject_after = EJECT_AFTER});
    struct attempt_ticket a = begin(l, 1, true), b = begin(l, 1, true);
    ck_assert_uint_eq(ledger_in_flight(l, 0), 0);
    ck_assert_uint_eq(ledger_in_flight(l, 1), 2);
    ck_assert_uint_eq(page_of(l, 1).attempts, 2);
    ledger_end(l, &a, &ok);
    ledger_end(l, &b, &cancelled);
    ck_assert_uint_eq(ledger_in_flight(l, 1), 0);
    ck_assert_uint_eq(page_of(l, 1).attempts, 1);
    ledger_delete(l);
}
END_TEST

START_TEST(all_out_are_tried_and_failures_no_longer_count)
{
    struct ledger *l = ledger_new(1, &(struct ledger_policy){.eject_after = 0});
    ck_assert(attempt(l, 0, &refused));
    for (int i = 0; i < 5; i++) {
        ck_assert(!attempt(l, 0, &refused)); /* ejected once, not again */
    }
    ck_assert(!attempt(l, 0, &ok));
    struct ledger_page page = page_of(l, 0);
    ck_assert_int_eq(page.state, BACKEND_EJECTED);
    ck_assert_uint_eq(page.failures, 1);
    ck_assert_uint_eq(page.ejections, 1);
    ck_assert_uint_eq(page.attempts, 7);
    ck_assert_uint_eq(page.error_connect, 6);
    ck_assert_uint_eq(page.status_200, 1);
    ledger_delete(l);
}
END_TEST

START_TEST(an_undecided_failure_counts_when_it_is_charged)
{
    struct attempt_outcome undecided = status_500;
    undecided.undecided = true;
    struct ledger *l = ledger_new(1, &(struct ledger_policy){.eject_after = 1});
    struct attempt_ticket a = begin(l, 0, true), b = begin(l, 0, true), c = begin(l, 0, true);
    ck_assert(!ledger_end(l, &a, &undecided));
    ck_assert(!ledger_end(l, &b, &undecided));
    ck_assert(!ledger_end(l, &c, &undecided));
    ck_assert_uint_eq(page_of(l, 0).failures, 0);
    ck_assert_uint_eq(page_of(l, 0).non_200, 3);
    ck_assert_uint_eq(page_of(l, 0).in_flight, 0);
    ledger_excuse(l, &a);
    ck_assert_uint_eq(page_of(l, 0).request_faults, 1);
    ck_assert(!ledger_charge(l, &b));
    ck_assert_int_eq(page_of(l, 0).state, BACKEND_UP);
    ck_assert(ledger_charge(l, &c)); /* the one over eject_after */
    ck_assert_int_eq(page_of(l, 0).state, BACKEND_EJECTED);
    ck_assert_uint_eq(page_of(l, 0).failures, 2);
    a = begin(l, 0, false);
    b = begin(l, 0, false);
    ledger_end(l, &a, &undecided);
    ledger_end(l, &b, &undecided);
    ck_assert_uint_eq(ledger_reset(l, 0), a.epoch + 1);
    ledger_excuse(l, &a); /* of an epoch that is over */
    ck_assert(!ledger_charge(l, &b));
    struct ledger_page page = page_of(l, 0);
    ck_assert_uint_eq(page.failures + page.request_faults + page.attempts + page.non_200, 0);
    ledger_delete(l);
}
END_TEST

START_TEST(reset_zeroes_one_page)
{
    struct ledger *l = ledger_new(2, &(struct ledger_policy){.eject_after = 0});
    ck_assert(attempt(l, 0, &status_500));
    ck_assert(attempt(l, 1, &status_500));
    ck_assert_uint_eq(ledger_rotation(l), 0);
    ledger_reset(l, 0);
    ck_assert_uint_eq(ledger_rotation(l), 1);
    struct ledger_page page = page_of(l, 0);
    ck_assert_int_eq(page.state, BACKEND_UP);
    ck_assert_uint_eq(page.attempts + outcomes(&page) + page.failures + page.ejections, 0);
    ck_assert(!page.ejected_at_known);
    ck_assert(page.latency_p50_ms == 0 && page.latency_p99_ms == 0);
    ck_assert_uint_eq(page_of(l, 1).failures, 1);
    ck_assert_int_eq(page_of(l, 1).state, BACKEND_EJECTED);
    ck_assert(attempt(l, 0, &status_500)); /* the count begins anew, and ejects anew */
    ledger_delete(l);
}
END_TEST

START_TEST(reset_in_mid_flight)
{
    struct ledger *l = ledger_new(1, &(struct ledger_policy){.eject_after = 0});
    struct attempt_ticket old_good = begin(l, 0, true), old_bad = begin(l, 0, true),
                          old_gone = begin(l, 0, true);
    ledger_reset(l, 0);
    struct attempt_ticket fresh = begin(l, 0, true);
    ck_assert_uint_eq(page_of(l, 0).attempts, 1);
    ck_assert_uint_eq(page_of(l, 0).in_flight, 4);
    ck_assert(!ledger_end(l, &old_bad, &status_500)); /* a failure from before counts against nobody */
    ledger_end(l, &old_good, &ok);
    ledger_end(l, &old_gone, &cancelled);
    struct ledger_page page = page_of(l, 0);
    ck_assert_int_eq(page.state, BACKEND_UP);
    ck_assert_uint_eq(page.attempts, 1);
    ck_assert_uint_eq(outcomes(&page), 0);
    ck_assert_uint_eq(page.failures, 0);
    ck_assert_uint_eq(page.in_flight, 1);
    ck_assert(page.latency_p50_ms == 0);
    ck_assert(ledger_end(l, &fresh, &status_500));
    ck_assert_uint_eq(page_of(l, 0).in_flight, 0);
    ledger_delete(l);
}
END_TEST

START_TEST(latency_of_answers)
{
    struct ledger *l = ledger_new(1, &(struct ledger_policy){.eject_after = EJECT_AFTER});
    for (int i = 0; i < 98; i++) {
        attempt(l, 0,
                &(struct attempt_outcome){.end = ATTEMPT_ANSWERED,
                                          .status = 200,
                                          .latency_ns = 20 * NS_PER_MS});
    }
    for (int i = 0; i < 2; i++) {
        attempt(l, 0,
                &(struct attempt_outcome){.end = ATTEMPT_ANSWERED,
                                          .status = 200,
                                          .latency_ns = 3 * NS_PER_S});
    }
    /* What brought no answer has no latency: were it counted, p50 would fall. */
    for (int i = 0; i < 200; i++) {
        attempt(l, 0, &(struct attempt_outcome){.end = ATTEMPT_TIMEOUT, .failure = true, .latency_ns = 1});
    }
    struct ledger_page page = page_of(l, 0);
    ck_assert_double_eq_tol(page.latency_p50_ms, 20, 20 * 0.04);
    ck_assert_double_eq_tol(page.latency_p99_ms, 3000, 3000 * 0.04);
    ledger_delete(l);
}
END_TEST

START_TEST(states_have_names)
{
    ck_assert_str_eq(backend_state_name(BACKEND_UP), "up");
    ck_assert_str_eq(backend_state_name(BACKEND_EJECTED), "ejected");
    ck_assert_str_eq(backend_state_name(BACKEND_DOWN), "down");
    ck_assert_str_eq(backend_state_name(BACKEND_DRAINING), "draining");
}
END_TEST

/* What the threads of one test share. */
struct crowd {
    struct ledger *ledger;
    pthread_barrier_t gate;
    pthread_t threads[THREADS];
    int rounds;
    atomic_int done;     /* threads that have finished */
    atomic_bool ejected; /* a ledger_end() that ejected has returned */
    atomic_int ejectors; /* such calls in this round */
    atomic_int violations;
};

static void crowd_start(struct crowd *crowd, void *(*run)(void *))
{
    ck_assert_int_eq(pthread_barrier_init(&crowd->gate, NULL, THREADS + 1), 0);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&crowd->threads[i], NULL, run, crowd), 0);
    }
}

static void crowd_join(struct crowd *crowd)
{
    for (int i = 0; i < THREADS; i++) {
        pthread_join(crowd->threads[i], NULL);
    }
    pthread_barrier_destroy(&crowd->gate);
}

enum { HAMMER_ATTEMPTS = 4000, IN_FLIGHT_MAX = 2 * THREADS };

/* Begins and ends attempts of every kind, two at a time so that the page is seldom still. */
static void *hammer(void *argument)
{
    static const struct attempt_outcome kinds[] = {
        {.end = ATTEMPT_ANSWERED, .status = 200, .latency_ns = 5 * NS_PER_MS},
        {.end = ATTEMPT_ANSWERED, .status = 503, .failure = true, .latency_ns = NS_PER_MS},
        {.end = ATTEMPT_CONNECT, .failure = true},
        {.end = ATTEMPT_TIMEOUT, .failure = true},
        {.end = ATTEMPT_RESET, .failure = true},
        {.end = ATTEMPT_PROTOCOL, .failure = true},
        {.end = ATTEMPT_CANCELLED},
        {.end = ATTEMPT_ANSWERED, .status = 404},
    };
    struct crowd *crowd = argument;
    pthread_barrier_wait(&crowd->gate);
    for (unsigned i = 0; i < HAMMER_ATTEMPTS; i += 2) {
        struct attempt_ticket a, b;
        if (!ledger_begin(crowd->ledger, 0, false, &a) || !ledger_begin(crowd->ledger, 0, false, &b)) {
            atomic_fetch_add(&crowd->violations, 1);
            break;
        }
        ledger_end(crowd->ledger, &a, &kinds[i % 8]);
        ledger_end(crowd->ledger, &b, &kinds[(i + 1) % 8]);
    }
    atomic_fetch_add(&crowd->done, 1);
    return NULL;
}

START_TEST(sums_hold_under_16_threads)
{
    struct crowd crowd = {.ledger = ledger_new(1, &(struct ledger_policy){.eject_after = EJECT_AFTER})};
    crowd_start(&crowd, hammer);
    pthread_barrier_wait(&crowd.gate);
    while (atomic_load(&crowd.done) < THREADS) {
        struct ledger_page page = page_of(crowd.ledger, 0);
        ck_assert_uint_eq(page.attempts, outcomes(&page) + page.in_flight);
        ck_assert_uint_le(page.in_flight, IN_FLIGHT_MAX);
        ck_assert_uint_le(page.failures, EJECT_AFTER + 1);
    }
    crowd_join(&crowd);
    const uint64_t each = (uint64_t)THREADS * HAMMER_ATTEMPTS / 8;
    struct ledger_page page = page_of(crowd.ledger, 0);
    ck_assert_int_eq(crowd.violations, 0);
    ck_assert_uint_eq(page.attempts, 7 * each);
    ck_assert_uint_eq(page.status_200, each);
    ck_assert_uint_eq(page.non_200, 2 * each);
    ck_assert_uint_eq(page.error_connect, each);
    ck_assert_uint_eq(page.error_timeout, each);
    ck_assert_uint_eq(page.error_reset, each);
    ck_assert_uint_eq(page.error_protocol, each);
    ck_assert_uint_eq(page.failures, EJECT_AFTER + 1);
    ck_assert_uint_eq(page.ejections, 1);
    ck_assert_uint_eq(page.in_flight, 0);
    ledger_delete(crowd.ledger);
}
END_TEST

START_TEST(sums_hold_while_another_resets)
{
    struct crowd crowd = {.ledger = ledger_new(1, &(struct ledger_policy){.eject_after = EJECT_AFTER})};
    crowd_start(&crowd, hammer);
    pthread_barrier_wait(&crowd.gate);
    for (unsigned i = 0; atomic_load(&crowd.done) < THREADS; i++) {
        struct ledger_page page = page_of(crowd.ledger, 0);
        /* What is missing from the attempts is in flight since the reset: some of all that is in flight. */
        ck_assert_uint_ge(page.attempts, outcomes(&page));
        ck_assert_uint_le(page.attempts, outcomes(&page) + page.in_flight);
        ck_assert_uint_le(page.in_flight, IN_FLIGHT_MAX);
        ck_assert_uint_le(page.failures, EJECT_AFTER + 1);
        ck_assert_int_eq(page.state == BACKEND_EJECTED, page.failures == EJECT_AFTER + 1);
        ck_assert_int_eq(page.state == BACKEND_EJECTED, page.ejected_at_known);
        if (i % 3 == 0) {
            ledger_reset(crowd.ledger, 0);
        }
    }
    crowd_join(&crowd);
    /* At rest nothing may be left over: an old attempt that was counted in new numbers would stay. */
    struct ledger_page page = page_of(crowd.ledger, 0);
    ck_assert_int_eq(crowd.violations, 0);
    ck_assert_uint_eq(page.in_flight, 0);
    ck_assert_uint_eq(page.attempts, outcomes(&page));
    ck_assert_uint_eq(ledger_rotation(crowd.ledger), page.state == BACKEND_UP ? 1 : 0);
    ledger_delete(crowd.ledger);
}
END_TEST

/* In each round: fails until the backend is out, and looks for an attempt that begins after it. */
static void *eject(void *argument)
{
    struct crowd *crowd = argument;
    for (int round = 0; round < crowd->rounds; round++) {
        pthread_barrier_wait(&crowd->gate);
        for (;;) {
            bool out = atomic_load(&crowd->ejected);
            struct attempt_ticket ticket;
            if (!ledger_begin(crowd->ledger, 0, true, &ticket)) {
                break;
            }
            if (out) {
                atomic_fetch_add(&crowd->violations, 1);
            }
            if (ledger_end(crowd->ledger, &ticket, &status_500)) {
                atomic_store(&crowd->ejected, true);
                atomic_fetch_add(&crowd->ejectors, 1);
            }
        }
        struct attempt_ticket late;
        if (ledger_begin(crowd->ledger, 0, true, &late) || (ledger_rotation(crowd->ledger) & 1) != 0) {
            atomic_fetch_add(&crowd->violations, 1);
        }
        pthread_barrier_wait(&crowd->gate);
    }
    return NULL;
}

START_TEST(the_eleventh_ejects_under_16_threads)
{
    struct crowd crowd = {.ledger = ledger_new(1, &(struct ledger_policy){.eject_after = EJECT_AFTER}),
                          .rounds = 500};
    crowd_start(&crowd, eject);
    for (int round = 0; round < crowd.rounds; round++) {
        pthread_barrier_wait(&crowd.gate); /* the threads go */
        pthread_barrier_wait(&crowd.gate); /* all have seen it out */
        struct ledger_page page = page_of(crowd.ledger, 0);
        ck_assert_int_eq(crowd.violations, 0);
        ck_assert_int_eq(crowd.ejectors, 1);
        ck_assert_int_eq(page.state, BACKEND_EJECTED);
        ck_assert_uint_eq(page.failures, EJECT_AFTER + 1);
        ck_assert_uint_eq(page.ejections, 1);
        ck_assert_uint_eq(page.in_flight, 0);
        ck_assert_uint_eq(page.attempts, page.non_200);
        /* Attempts under way when it was ejected may still end: one for each other thread at the most. */
        ck_assert_uint_le(page.attempts, EJECT_AFTER + 1 + THREADS - 1);
        atomic_store(&crowd.ejected, false);
        atomic_store(&crowd.ejectors, 0);
        ledger_reset(crowd.ledger, 0);
    }
    crowd_join(&crowd);
    ledger_delete(crowd.ledger);
}
END_TEST

/* Each round: one failure from each thread, all begun before any ends. */
static void *fail_at_once(void *argument)
{
    struct crowd *crowd = argument;
    for (int round = 0; round < crowd->rounds; round++) {
        struct attempt_ticket ticket;
        if (!ledger_begin(crowd->ledger, 0, true, &ticket)) {
            atomic_fetch_add(&crowd->violations, 1);
        }
        pthread_barrier_wait(&crowd->gate);
        if (ledger_end(crowd->ledger, &ticket, &refused)) {
            atomic_fetch_add(&crowd->ejectors, 1);
        }
        pthread_barrier_wait(&crowd->gate);
        pthread_barrier_wait(&crowd->gate);
    }
    return NULL;
}

/* 16 threads fail once each: with a limit of 15 exactly one ejects, with 16 none does. */
static void all_fail_at_once(uint32_t eject_after, int ejectors)
{
    struct crowd crowd = {.ledger = ledger_new(1, &(struct ledger_policy){.eject_after = eject_after}),
                          .rounds = 200};
    crowd_start(&crowd, fail_at_once);
    for (int round = 0; round < crowd.rounds; round++) {
        pthread_barrier_wait(&crowd.gate); /* all have begun */
        pthread_barrier_wait(&crowd.gate); /* all have ended */
        ck_assert_int_eq(crowd.violations, 0);
        ck_assert_int_eq(crowd.ejectors, ejectors);
        ck_assert_uint_eq(page_of(crowd.ledger, 0).failures, THREADS);
        ck_assert_uint_eq(ledger_rotation(crowd.ledger), ejectors == 0 ? 1 : 0);
        atomic_store(&crowd.ejectors, 0);
        ledger_reset(crowd.ledger, 0);
        pthread_barrier_wait(&crowd.gate);
    }
    crowd_join(&crowd);
    ledger_delete(crowd.ledger);
}

START_TEST(one_of_16_ejects)
{
    all_fail_at_once(THREADS - 1, 1);
}
END_TEST

START_TEST(none_of_16_ejects)
{
    all_fail_at_once(THREADS, 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("ledger");
    TCase *alone = tcase_create("alone");
    tcase_add_test(alone, who_leaves_gets_nothing_new_and_who_comes_finds_an_empty_page);
    tcase_add_test(alone, begins_empty_and_up);
    tcase_add_test(alone, ten_leave_it_up_eleven_eject);
    tcase_add_test(alone, none_tolerated_ejects_at_the_first);
    tcase_add_test(alone, every_end_has_its_counter);
    tcase_add_test(alone, in_flight_is_counted);
    tcase_add_test(alone, all_out_are_tried_and_failures_no_longer_count);
    tcase_add_test(alone, an_undecided_failure_counts_when_it_is_charged);
    tcase_add_test(alone, reset_zeroes_one_page);
    tcase_add_test(alone, reset_in_mid_flight);
    tcase_add_test(alone, latency_of_answers);
    tcase_add_test(alone, states_have_names);
    suite_add_tcase(suite, alone);
    TCase *crowded = tcase_create("crowded");
    tcase_set_timeout(crowded, 100);
    tcase_add_test(crowded, sums_hold_under_16_threads);
    tcase_add_test(crowded, sums_hold_while_another_resets);
    tcase_add_test(crowded, the_eleventh_ejects_under_16_threads);
    tcase_add_test(crowded, one_of_16_ejects);
    tcase_add_test(crowded, none_of_16_ejects);
    suite_add_tcase(suite, crowded);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
