/* SPDX-License-Identifier: MIT
 * The line, step by step; and in a crowd that fights for few places, where nobody may be forgotten. */
#include "proxy/queue.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { PLACES = 4 };

static struct watchdog *dog;
static struct ledger *ledger;
static struct queue queue;
static struct queue_place places[PLACES];

/* Three backends; the places have not tried any, or those of these sets. */
static void set_up(void)
{
    static const struct watch_subject nobody = {.judged = false};
    dog = watchdog_start(PLACES, PLACES);
    ledger = ledger_new(3, &(struct ledger_policy){.eject_after = 0});
    ck_assert(dog != NULL && ledger != NULL);
    queue_init(&queue, ledger);
    for (uint32_t i = 0; i < PLACES; i++) {
        places[i] = (struct queue_place){.watch = watchdog_watch(dog, i)};
        watch_arm_for(places[i].watch, -1, DEADLINE_NO, &nobody);
    }
}

static void tear_down(void)
{
    for (uint32_t i = 0; i < PLACES; i++) {
        ck_assert_int_eq(watch_disarm(places[i].watch), WATCH_NOT_CUT);
    }
    watchdog_stop(dog);
    ledger_delete(ledger);
}

/* Puts place I into the line, for the backends of FIT. */
static void join(uint32_t i, uint64_t fit)
{
    places[i].tried = ~fit;
    queue_join(&queue, &places[i]);
}

static uint64_t open_to(uint32_t i)
{
    return queue_turn(&queue, &places[i]).open;
}

static void eject(uint32_t backend)
{
    struct attempt_ticket ticket;
    ck_assert(ledger_begin(ledger, backend, true, &ticket));
    ck_assert(
        ledger_end(ledger, &ticket, &(struct attempt_outcome){.end = ATTEMPT_CONNECT, .failure = true}));
}

/* Whether place I was woken, once or more; that is forgotten then. */
static bool woken(uint32_t i)
{
    bool was = false;
    while (sem_trywait(&places[i].watch->alarm) == 0) {
        was = true;
    }
    return was;
}

/* The places that were woken, as a set. */
static unsigned all_woken(void)
{
    unsigned set = 0;
    for (uint32_t i = 0; i < PLACES; i++) {
        set |= (unsigned)woken(i) << i;
    }
    return set;
}

START_TEST(who_comes_first_has_the_claim)
{
    ck_assert_uint_eq(queue_claimed(&queue), 0);
    join(0, 1);
    join(1, 3);
    join(2, 6);
    ck_assert_uint_eq(queue_claimed(&queue), 7);
    ck_assert_uint_eq(queue_waiting(&queue), 3);
    ck_assert_uint_eq(open_to(0), 1);
    ck_assert_uint_eq(open_to(1), 2);
    ck_assert_uint_eq(open_to(2), 4);
    queue_leave(&queue, &places[1]);
    ck_assert_uint_eq(open_to(2), 6);
    ck_assert_uint_eq(queue_claimed(&queue), 7);
    queue_leave(&queue, &places[0]);
    ck_assert_uint_eq(queue_claimed(&queue), 6);
    queue_leave(&queue, &places[2]);
    ck_assert_uint_eq(queue_claimed(&queue), 0);
    ck_assert_uint_eq(queue_waiting(&queue), 0);
}
END_TEST

START_TEST(a_free_place_wakes_the_first_who_claims_it)
{
    join(0, 1);
    join(1, 3);
    join(2, 3);
    queue_freed(&queue, 1);
    ck_assert_uint_eq(all_woken(), 1 << 1);
    queue_freed(&queue, 0);
    queue_freed(&queue, 0);
    ck_assert_uint_eq(all_woken(), 1 << 0);
    queue_freed(&queue, 63);
    ck_assert_uint_eq(all_woken(), 0);
    /* Who leaves, with or without a place, wakes the next for all that it claimed. */
    queue_leave(&queue, &places[1]);
    ck_assert_uint_eq(all_woken(), 1 << 0 | 1 << 2);
    queue_leave(&queue, &places[0]);
    ck_assert_uint_eq(all_woken(), 1 << 2);
    queue_leave(&queue, &places[2]);
    ck_assert_uint_eq(all_woken(), 0);
}
END_TEST

/* All claims change in one step, whoever runs first then: the line stays in order. */
START_TEST(the_rotation_changes_for_all_at_once)
{
    ledger_drain(ledger, 2, true);
    eject(1);
    for (uint32_t i = 0; i < PLACES; i++) {
        join(i, i == 2 ? 6 : 7);
    }
    ck_assert_uint_eq(queue_claimed(&queue), 3);
    ck_assert_uint_eq(open_to(0), 1);
    ck_assert(queue_turn(&queue, &places[0]).up);
    ck_assert_uint_eq(open_to(2), 2); /* a last resort: it was sent to the one in rotation */
    ck_assert(!queue_turn(&queue, &places[2]).up);
    ledger_drain(ledger, 2, false);
    ck_assert_uint_eq(open_to(2), 2); /* nobody has been told yet */
    queue_changed(&queue);
    ck_assert_uint_eq(all_woken(), (1 << PLACES) - 1);
    ck_assert_uint_eq(queue_claimed(&queue), 5);
    ck_assert_uint_eq(open_to(0), 5);
    ck_assert_uint_eq(open_to(1), 0);
    ck_assert_uint_eq(open_to(2), 0);
    ck_assert(queue_turn(&queue, &places[2]).up);
    ledger_drain(ledger, 1, true);
    ledger_drain(ledger, 2, true);
    queue_changed(&queue);
    ck_assert_uint_eq(queue_turn(&queue, &places[2]).claims, 0); /* nothing left to wait for */
    for (uint32_t i = PLACES; i > 0; i--) {
        queue_leave(&queue, &places[i - 1]);
    }
    ck_assert_uint_eq(queue_claimed(&queue), 0);
}
END_TEST

/* A crowd for few places, as chooser.c has it: THREADS threads, each REQUESTS times, on one backend that
 * takes LIMIT at once. Nobody sleeps for ever, and there are never more than LIMIT. */
enum { THREADS = 12, REQUESTS = 400, LIMIT = 3 };

struct crowd {
    struct queue queue;
    struct ledger *ledger;
    struct watchdog *dog;
    _Atomic uint32_t served, waited;
    _Atomic int at_once, most;
};

struct member {
    struct crowd *crowd;
    uint32_t index;
    pthread_t thread;
};

static void wait_for_ticket(struct member *m, struct attempt_ticket *ticket_)
{
    static const struct watch_subject nobody = {.judged = false};
    struct crowd *c = m->crowd;
    struct queue_place place = {.watch = watchdog_watch(c->dog, m->index)};
    if ((queue_claimed(&c->queue) & 1) == 0 &&
        ledger_begin_within(c->ledger, 0, true, LIMIT, ticket_) == LEDGER_BEGUN) {
        return;
    }
    atomic_fetch_add(&c->waited, 1);
    watch_arm_for(place.watch, -1, deadline_after_ms(clock_mono(), 60000), &nobody);
    queue_join(&c->queue, &place);
    while (queue_turn(&c->queue, &place).open == 0 ||
           ledger_begin_within(c->ledger, 0, true, LIMIT, ticket_) != LEDGER_BEGUN) {
        ck_assert(watch_sleep(place.watch)); /* false: forgotten for a minute */
    }
    queue_leave(&c->queue, &place);
    ck_assert_int_eq(watch_disarm(place.watch), WATCH_NOT_CUT);
}

/* The first who are served stay until all places are taken and somebody waits for one: else, on a busy
 * machine, that might never be. */
static void stay_until_full(struct crowd *c)
{
    mono_ns deadline = deadline_after_ms(clock_mono(), 60000);
    while (atomic_load(&c->most) < LIMIT || atomic_load(&c->waited) == 0) {
        ck_assert(clock_mono() < deadline);
        sched_yield();
    }
}

static void *ask_again_and_again(void *argument)
{
    struct member *m = argument;
    struct crowd *c = m->crowd;
    const struct attempt_outcome good = {.end = ATTEMPT_ANSWERED, .status = 200};
    for (int i = 0; i < REQUESTS; i++) {
        struct attempt_ticket ticket;
        wait_for_ticket(m, &ticket);
        int now = atomic_fetch_add(&c->at_once, 1) + 1;
        for (int most = atomic_load(&c->most); now > most;) {
            if (atomic_compare_exchange_weak(&c->most, &most, now)) {
                break;
            }
        }
        if (i == 0) {
            stay_until_full(c);
        }
        sched_yield();
        atomic_fetch_sub(&c->at_once, 1);
        (void)ledger_end(c->ledger, &ticket, &good);
        queue_freed(&c->queue, 0);
        atomic_fetch_add(&c->served, 1);
    }
    return NULL;
}

START_TEST(in_a_crowd_nobody_is_forgotten_and_the_limit_holds)
{
    struct crowd crowd = {.ledger = ledger_new(1, &(struct ledger_policy){.eject_after = 10}),
                          .dog = watchdog_start(THREADS, THREADS)};
    struct member members[THREADS];
    queue_init(&crowd.queue, crowd.ledger);
    for (uint32_t i = 0; i < THREADS; i++) {
        members[i] = (struct member){.crowd = &crowd, .index = i};
        ck_assert_int_eq(pthread_create(&members[i].thread, NULL, ask_again_and_again, &members[i]), 0);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(members[i].thread, NULL), 0);
    }
    ck_assert_uint_eq(crowd.served, THREADS * REQUESTS);
    ck_assert_int_eq(crowd.most, LIMIT);
    ck_assert_uint_gt(crowd.waited, 0);
    ck_assert_uint_eq(queue_claimed(&crowd.queue), 0);
    ck_assert_uint_eq(ledger_in_flight(crowd.ledger, 0), 0);
    watchdog_stop(crowd.dog);
    ledger_delete(crowd.ledger);
}
END_TEST

int main(void)
{
    TCase *steps = tcase_create("steps");
    tcase_add_checked_fixture(steps, set_up, tear_down);
    tcase_add_test(steps, who_comes_first_has_the_claim);
    tcase_add_test(steps, a_free_place_wakes_the_first_who_claims_it);
    tcase_add_test(steps, the_rotation_changes_for_all_at_once);
    TCase *crowd = tcase_create("crowd");
    tcase_add_test(crowd, in_a_crowd_nobody_is_forgotten_and_the_limit_holds);
    Suite *suite = suite_create("queue");
    suite_add_tcase(suite, steps);
    suite_add_tcase(suite, crowd);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
