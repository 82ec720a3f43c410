/* SPDX-License-Identifier: MIT
 * What probes do to the states of the ledger, alone and while many threads write. */
#include "healthd/ledger.h"

#include <check.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { EJECT_AFTER = 2, RISE = 2, FALL = 3 };

static const struct attempt_outcome status_500 = {.end = ATTEMPT_ANSWERED, .status = 500, .failure = true};

static struct ledger *make(bool readmit)
{
    struct ledger *l = ledger_new(2, &(struct ledger_policy){.eject_after = EJECT_AFTER,
                                                             .readmit_by_probes = readmit,
                                                             .rise = RISE,
                                                             .fall = FALL,
                                                             .interval_ms = 2000});
    ck_assert_ptr_nonnull(l);
    return l;
}

static struct ledger_page page_of(struct ledger *l)
{
    struct ledger_page page;
    ledger_read(l, 0, &page);
    return page;
}

static struct attempt_ticket begin(struct ledger *l)
{
    struct attempt_ticket ticket;
    ck_assert(ledger_begin(l, 0, false, &ticket));
    return ticket;
}

static void fail_times(struct ledger *l, int times)
{
    for (int i = 0; i < times; i++) {
        struct attempt_ticket ticket = begin(l);
        (void)ledger_end(l, &ticket, &status_500);
    }
}

static struct probe_ticket probe_begin(struct ledger *l)
{
    struct probe_ticket ticket;
    ck_assert(ledger_probe_begin(l, 0, &ticket));
    return ticket;
}

static enum probe_effect probe(struct ledger *l, bool good)
{
    struct probe_ticket ticket = probe_begin(l);
    return ledger_probe_end(l, &ticket, good ? PROBE_GOOD : PROBE_SILENT);
}

static void expect(struct ledger *l, enum backend_state state, uint64_t failures)
{
    struct ledger_page page = page_of(l);
    ck_assert_str_eq(backend_state_name(page.state), backend_state_name(state));
    ck_assert_uint_eq(page.failures, failures);
    ck_assert_uint_eq(ledger_rotation(l), state == BACKEND_UP ? 3 : 2);
    struct attempt_ticket ticket;
    bool begun = ledger_begin(l, 0, true, &ticket);
    ck_assert_int_eq(begun, state == BACKEND_UP);
    if (begun) {
        (void)ledger_end(l, &ticket, &(struct attempt_outcome){.end = ATTEMPT_CANCELLED});
    }
}

START_TEST(down_and_back_by_probes_alone)
{
    struct ledger *l = make(_i == 1);
    fail_times(l, 1);
    ck_assert_int_eq(probe(l, false), PROBE_NO_EFFECT);
    ck_assert_int_eq(probe(l, false), PROBE_NO_EFFECT);
    expect(l, BACKEND_UP, 1);
    ck_assert_int_eq(probe(l, false), PROBE_TOOK_DOWN);
    expect(l, BACKEND_DOWN, 1);
    fail_times(l, 10); /* tried as a last resort: no failure counts against one that is out */
    expect(l, BACKEND_DOWN, 1);
    ck_assert_int_eq(probe(l, false), PROBE_NO_EFFECT); /* told once */
    ck_assert_int_eq(probe(l, true), PROBE_NO_EFFECT);
    expect(l, BACKEND_DOWN, 1);
    ck_assert_int_eq(probe(l, true), PROBE_BROUGHT_BACK);
    expect(l, BACKEND_UP, _i == 1 ? 0 : 1); /* "manual": the count is everybody's but ours */
    ck_assert_int_eq(probe(l, true), PROBE_NO_EFFECT);
    ck_assert_uint_eq(page_of(l).ejections, 0);
    ledger_delete(l);
}
END_TEST

START_TEST(ejected_comes_back_by_probes)
{
    struct ledger *l = make(true);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(probe(l, true), PROBE_NO_EFFECT); /* before the ejection: worth nothing after it */
    }
    fail_times(l, EJECT_AFTER + 1);
    expect(l, BACKEND_EJECTED, EJECT_AFTER + 1);
    ck_assert_int_eq(probe(l, true), PROBE_NO_EFFECT);
    expect(l, BACKEND_EJECTED, EJECT_AFTER + 1);
    ck_assert_int_eq(probe(l, true), PROBE_BROUGHT_BACK);
    expect(l, BACKEND_UP, 0);
    struct ledger_page page = page_of(l);
    ck_assert_uint_eq(page.ejections, 1);
    ck_assert(page.ejected_at_known);
    ck_assert_uint_eq(page.non_200, EJECT_AFTER + 1);
    fail_times(l, EJECT_AFTER);
    expect(l, BACKEND_UP, EJECT_AFTER);
    fail_times(l, 1);
    expect(l, BACKEND_EJECTED, EJECT_AFTER + 1);
    ledger_delete(l);
}
END_TEST

START_TEST(ejected_stays_out_in_manual_mode)
{
    struct ledger *l = make(false);
    fail_times(l, EJECT_AFTER + 1);
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(probe(l, true), PROBE_NO_EFFECT);
    }
    for (int i = 0; i < 10; i++) {
        ck_assert_int_eq(probe(l, false), PROBE_NO_EFFECT);
    }
    expect(l, BACKEND_EJECTED, EJECT_AFTER + 1);
    ledger_reset(l, 0);
    expect(l, BACKEND_UP, 0); /* up, whatever the probes said; they may take it down anew */
    for (int i = 0; i < FALL - 1; i++) {
        ck_assert_int_eq(probe(l, false), PROBE_NO_EFFECT);
    }
    ck_assert_int_eq(probe(l, false), PROBE_TOOK_DOWN);
    ledger_delete(l);
}
END_TEST

START_TEST(a_probe_across_a_change_does_not_count)
{
    struct ledger *l = make(true);
    struct probe_ticket across = probe_begin(l);
    fail_times(l, EJECT_AFTER + 1);
    ck_assert_int_eq(ledger_probe_end(l, &across, PROBE_GOOD), PROBE_NO_EFFECT);
    ck_assert_int_eq(probe(l, true), PROBE_NO_EFFECT);
    expect(l, BACKEND_EJECTED, EJECT_AFTER + 1);
    ck_assert_int_eq(probe(l, true), PROBE_BROUGHT_BACK);
    ledger_delete(l);
}
END_TEST

START_TEST(attempts_from_before_a_return_count_no_failure)
{
    struct ledger *l = make(true);
    struct attempt_ticket old = begin(l);
    fail_times(l, EJECT_AFTER + 1);
    (void)probe(l, true);
    ck_assert_int_eq(probe(l, true), PROBE_BROUGHT_BACK);
    ck_assert(!ledger_end(l, &old, &status_500));
    expect(l, BACKEND_UP, 0);
    ck_assert_uint_eq(page_of(l).non_200, EJECT_AFTER + 2); /* but it is counted as what it was */
    ck_assert_uint_eq(page_of(l).in_flight, 0);
    ledger_delete(l);
}
END_TEST

START_TEST(one_that_falls_again_is_left_alone)
{
    struct ledger *l = make(true);
    struct probe_ticket ticket;
    fail_times(l, EJECT_AFTER + 1);
    (void)probe(l, true); /* the first fall: probed at once */
    ck_assert_int_eq(probe(l, true), PROBE_BROUGHT_BACK);
    fail_times(l, EJECT_AFTER + 1);
    ck_assert(!ledger_probe_begin(l, 0, &ticket));
    ledger_reset(l, 0); /* forgets that */
    ck_assert(ledger_probe_begin(l, 0, &ticket));
    fail_times(l, EJECT_AFTER + 1);
    ck_assert(ledger_probe_begin(l, 0, &ticket)); /* a reset is no return */
    ledger_delete(l);
}
END_TEST

START_TEST(a_full_backend_begins_nothing)
{
    struct ledger *l = make(true);
    struct attempt_ticket tickets[3], unused;
    ck_assert_int_eq(ledger_begin_within(l, 0, true, 2, &tickets[0]), LEDGER_BEGUN);
    ck_assert_int_eq(ledger_begin_within(l, 0, false, 2, &tickets[1]), LEDGER_BEGUN);
    ck_assert_int_eq(ledger_begin_within(l, 0, true, 2, &unused), LEDGER_FULL);
    ck_assert_int_eq(ledger_begin_within(l, 0, false, 1, &unused), LEDGER_FULL); /* the limit went down */
    ck_assert_uint_eq(page_of(l).attempts, 2);
    ck_assert_int_eq(ledger_begin_within(l, 0, true, 3, &tickets[2]), LEDGER_BEGUN); /* and up */
    ledger_reset(l, 0); /* what began before is in flight all the same */
    ck_assert_int_eq(ledger_begin_within(l, 0, true, 3, &unused), LEDGER_FULL);
    (void)ledger_end(l, &tickets[0], &status_500);
    ck_assert_int_eq(ledger_begin_within(l, 0, true, 3, &tickets[0]), LEDGER_BEGUN);
    ledger_drain(l, 0, true);
    ck_assert_int_eq(ledger_begin_within(l, 0, true, 3, &unused), LEDGER_OUT); /* before it is full */
    ck_assert_int_eq(ledger_begin_within(l, 0, false, 0, &unused), LEDGER_OUT);
    ck_assert_uint_eq(page_of(l).in_flight, 3);
    ledger_delete(l);
}
END_TEST

static void count_change(void *owner)
{
    ++*(int *)owner;
}

START_TEST(every_change_of_the_rotation_is_told)
{
    int changes = 0;
    struct ledger *l = make(true);
    ledger_on_change(l, count_change, &changes);
    fail_times(l, EJECT_AFTER);
    (void)probe(l, true);
    ck_assert_int_eq(changes, 0);
    fail_times(l, 2); /* the second one changes nothing */
    ck_assert_int_eq(changes, 1);
    (void)probe(l, true);
    (void)probe(l, true); /* back */
    ck_assert_int_eq(changes, 2);
    for (int i = 0; i < FALL; i++) {
        (void)probe(l, false);
    }
    ck_assert_int_eq(changes, 3);
    ledger_drain(l, 0, true);
    ledger_drain(l, 0, false);
    ledger_reset(l, 0);
    ck_assert_int_eq(changes, 6);
    ledger_delete(l);
}
END_TEST

/* A slow start begins whenever a backend becomes up, however that came, and only then. */
START_TEST(each_return_has_its_time)
{
    struct ledger *l = make(true);
    mono_ns before = clock_mono();
    ck_assert_int_eq(ledger_up_since(l, 0), 0);
    ledger_reset(l, 0); /* it was up */
    ck_assert_int_eq(ledger_up_since(l, 0), 0);
    fail_times(l, EJECT_AFTER + 1);
    ck_assert_int_eq(ledger_up_since(l, 0), 0);
    ledger_drain(l, 0, true);
    ledger_drain(l, 0, false); /* it is still ejected */
    ck_assert_int_eq(ledger_up_since(l, 0), 0);
    ledger_reset(l, 0);
    mono_ns reset = ledger_up_since(l, 0);
    ck_assert_int_ge(reset, before);
    ledger_drain(l, 0, true);
    ledger_drain(l, 0, false);
    mono_ns undrained = ledger_up_since(l, 0);
    ck_assert_int_gt(undrained, reset);
    ledger_drain(l, 0, false);
    (void)probe(l, true);
    ck_assert_int_eq(ledger_up_since(l, 0), undrained); /* nothing changed */
    fail_times(l, EJECT_AFTER + 1);
    (void)probe(l, true);
    (void)probe(l, true);
    ck_assert_int_gt(ledger_up_since(l, 0), undrained);
    ck_assert_int_eq(ledger_up_since(l, 1), 0);
    ledger_delete(l);
}
END_TEST

START_TEST(draining_covers_the_other_states)
{
    struct ledger *l = make(true);
    struct attempt_ticket flying = begin(l), refused;
    ledger_drain(l, 0, true);
    ledger_drain(l, 0, true);
    ck_assert_uint_eq(ledger_drained(l) & 3, 1);
    ck_assert(!ledger_begin(l, 0, false, &refused)); /* not even as a last resort */
    expect(l, BACKEND_DRAINING, 0);
    ck_assert_uint_eq(page_of(l).in_flight, 1);
    ck_assert(!ledger_end(l, &flying, &status_500)); /* counted as what it is, but as no failure */
    expect(l, BACKEND_DRAINING, 0);
    ck_assert_uint_eq(page_of(l).non_200, 1);
    for (int i = 0; i < FALL; i++) {
        (void)probe(l, false);
    }
    expect(l, BACKEND_DRAINING, 0);
    ledger_drain(l, 0, false);
    ck_assert_uint_eq(ledger_drained(l) & 3, 0);
    expect(l, BACKEND_DOWN, 0); /* what it has become */
    (void)probe(l, true);
    (void)probe(l, true);
    expect(l, BACKEND_UP, 0);
    fail_times(l, EJECT_AFTER + 1);
    ledger_drain(l, 0, true);
    expect(l, BACKEND_DRAINING, EJECT_AFTER + 1);
    ledger_drain(l, 0, false);
    expect(l, BACKEND_EJECTED, EJECT_AFTER + 1); /* what it was */
    ledger_drain(l, 0, true);
    ledger_reset(l, 0);
    expect(l, BACKEND_UP, 0);
    ck_assert_uint_eq(ledger_drained(l) & 3, 0);
    ledger_delete(l);
}
END_TEST

/* Waits until BACKEND 0 has FAILURES: time must pass. */
static void await_failures(struct ledger *l, uint64_t failures)
{
    while (page_of(l).failures != failures) { /* the limit is the test's own */
        continue;
    }
}

START_TEST(failures_leave_with_the_window)
{
    /* long enough for three calls on any machine, short enough to wait for */
    struct ledger *l = ledger_new(1, &(struct ledger_policy){.eject_after = EJECT_AFTER, .window_ms = 1000});
    fail_times(l, EJECT_AFTER);
    ck_assert_uint_eq(page_of(l).failures, EJECT_AFTER);
    await_failures(l, 0);
    fail_times(l, EJECT_AFTER);
    ck_assert_int_eq(page_of(l).state, BACKEND_UP);
    fail_times(l, 1);
    ck_assert_int_eq(page_of(l).state, BACKEND_EJECTED);
    ck_assert_uint_eq(page_of(l).non_200, 2 * EJECT_AFTER + 1); /* outcomes do not slide */
    ledger_reset(l, 0);
    ck_assert_uint_eq(page_of(l).failures, 0);
    fail_times(l, EJECT_AFTER);
    ck_assert_int_eq(page_of(l).state, BACKEND_UP);
    ledger_delete(l);
}
END_TEST

struct crowd {
    struct ledger *ledger;
    atomic_bool over;
    atomic_uint_fast64_t ejections, ends;
};

static void *attempts(void *argument)
{
    struct crowd *c = argument;
    while (!atomic_load(&c->over)) {
        struct attempt_ticket ticket;
        if (ledger_begin(c->ledger, 0, true, &ticket)) {
            atomic_fetch_add(&c->ends, 1);
            if (ledger_end(c->ledger, &ticket, &status_500)) {
                atomic_fetch_add(&c->ejections, 1);
            }
        }
    }
    return NULL;
}

START_TEST(under_a_crowd_every_ejection_has_its_return)
{
    enum { CROWD = 8, ROUNDS = 200 };
    struct crowd crowd = {.ledger = ledger_new(1, &(struct ledger_policy){.eject_after = EJECT_AFTER,
                                                                          .readmit_by_probes = true,
                                                                          .rise = 1,
                                                                          .fall = FALL})};
    pthread_t threads[CROWD];
    for (int i = 0; i < CROWD; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, attempts, &crowd), 0);
    }
    uint64_t returns = 0;
    while (returns < ROUNDS) {
        struct probe_ticket ticket;
        if (ledger_probe_begin(crowd.ledger, 0, &ticket)) {
            returns += ledger_probe_end(crowd.ledger, &ticket, PROBE_GOOD) == PROBE_BROUGHT_BACK;
        }
        struct ledger_page page;
        ledger_read(crowd.ledger, 0, &page);
        ck_assert_uint_le(page.failures, EJECT_AFTER + 1);
        ck_assert_int_eq(page.state == BACKEND_EJECTED, page.failures == EJECT_AFTER + 1);
        ck_assert_uint_eq(page.ejections, returns + (page.state == BACKEND_EJECTED ? 1 : 0));
    }
    atomic_store(&crowd.over, true);
    for (int i = 0; i < CROWD; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    struct ledger_page page;
    ledger_read(crowd.ledger, 0, &page);
    ck_assert_uint_eq(page.ejections, atomic_load(&crowd.ejections));
    ck_assert_uint_eq(page.non_200, atomic_load(&crowd.ends));
    ck_assert_uint_eq(page.in_flight, 0);
    ledger_delete(crowd.ledger);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("ledger_probes");
    tcase_add_loop_test(tests, down_and_back_by_probes_alone, 0, 2);
    tcase_add_test(tests, ejected_comes_back_by_probes);
    tcase_add_test(tests, ejected_stays_out_in_manual_mode);
    tcase_add_test(tests, a_probe_across_a_change_does_not_count);
    tcase_add_test(tests, attempts_from_before_a_return_count_no_failure);
    tcase_add_test(tests, one_that_falls_again_is_left_alone);
    tcase_add_test(tests, a_full_backend_begins_nothing);
    tcase_add_test(tests, every_change_of_the_rotation_is_told);
    tcase_add_test(tests, each_return_has_its_time);
    tcase_add_test(tests, draining_covers_the_other_states);
    tcase_add_test(tests, failures_leave_with_the_window);
    tcase_add_test(tests, under_a_crowd_every_ejection_has_its_return);
    Suite *suite = suite_create("ledger_probes");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
