/* SPDX-License-Identifier: MIT
 * Races of two connects, to real listeners on the loopback interface. */
#include "proxy/hedge.h"

#include "proxy/trial.h"
#include "tests/unit/racing.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum { SHORT_MS = 1000, LONG_MS = 20000, HEDGE_MS = 30 };

static struct racing racing;
static struct upstream_route route;
static bool none_is_spare;
static int asked;

static bool begin_beside(void *owner)
{
    struct racing *r = owner;
    struct attempt_ticket ticket;
    asked++;
    if (none_is_spare || r->attempt.tried == 3) {
        return false;
    }
    ck_assert(ledger_begin(r->proxy.ledger, 1, true, &ticket));
    trial_begin(&r->trial, &ticket, clock_mono());
    r->attempt.tried = 3;
    return true;
}

static struct hedge_link run(enum racing_mode first, enum racing_mode second, uint32_t connect_ms,
                             uint32_t hedge_ms)
{
    racing_begin(&racing, first, second, connect_ms, hedge_ms);
    racing.attempt.begin_beside = begin_beside;
    hedge_route(&racing.proxy, 0, &route);
    return hedge_connect(&racing.attempt, &route);
}

static uint64_t count_of(uint32_t backend, enum evidence_cause cause)
{
    struct evidence_page page;
    evidence_read(racing.proxy.evidence, backend, &page);
    return page.counts[cause];
}

START_TEST(when_it_is_due)
{
    ck_assert_int_eq(hedge_due(1000, 0), DEADLINE_NO);
    ck_assert_int_eq(hedge_due(1000, 250), 1000 + 250 * NS_PER_MS);
}
END_TEST

START_TEST(a_connect_that_is_answered_is_not_raced)
{
    struct hedge_link link = run(RACING_ANSWERS, RACING_ANSWERS, LONG_MS, LONG_MS);
    ck_assert_int_ne(link.fd, -1);
    ck_assert(!link.idle && asked == 0 && racing.attempt.backend == 0);
    close(link.fd);
    racing_take_back(&racing);
    racing_end(&racing);
}
END_TEST

START_TEST(the_second_wins_and_the_first_fails_later_once)
{
    struct hedge_link link = run(RACING_HANGS, RACING_ANSWERS, SHORT_MS, HEDGE_MS);
    ck_assert_int_ne(link.fd, -1);
    ck_assert_uint_eq(racing.attempt.backend, 1);
    ck_assert_uint_eq(racing.trial.last.ticket.backend, 1);
    ck_assert_uint_eq(racing.trial.last.number, 2);
    ck_assert_uint_eq(racing.trial.failures, 0);
    close(link.fd);
    racing_take_back(&racing);
    racing.request.head.method = SLICE("gone"); /* the request may be */
    racing_settle(&racing);
    struct ledger_page page = racing_page(&racing, 0);
    ck_assert(page.attempts == 1 && page.error_connect == 1 && page.failures == 1 && page.in_flight == 0);
    struct evidence_page evidence;
    evidence_read(racing.proxy.evidence, 0, &evidence);
    ck_assert(evidence.total == 1 && evidence.counts[CAUSE_CONNECT_TIMEOUT] == 1);
    ck_assert_int_eq(memcmp(evidence.failures[0].method, "POST", 4), 0);
    ck_assert_uint_eq(evidence.failures[0].path_bytes, sizeof "/path" - 1);
    ck_assert_uint_eq(evidence.failures[0].attempt, 1);
    ck_assert_int_ge(evidence.failures[0].duration_ns, SHORT_MS * NS_PER_MS);
    racing_end(&racing);
}
END_TEST

START_TEST(an_idle_connection_of_the_second_wins_at_once)
{
    racing_begin(&racing, RACING_HANGS, RACING_ANSWERS, LONG_MS, HEDGE_MS);
    racing.attempt.begin_beside = begin_beside;
    struct upstream_route other;
    struct dial dial;
    hedge_route(&racing.proxy, 1, &other);
    dial_begin(&dial, &racing.proxy.upstreams[1], &other, deadline_after_ms(clock_mono(), LONG_MS));
    while (dial.state == DIAL_PENDING) {
        dial_step(&dial);
    }
    ck_assert_int_eq(dial.state, DIAL_OPEN);
    upstream_give_back(&racing.proxy.upstreams[1], dial.fd, dial.tag, clock_mono());
    racing.attempt.may_replay = true;
    hedge_route(&racing.proxy, 0, &route);
    struct hedge_link link = hedge_connect(&racing.attempt, &route);
    ck_assert(link.idle && link.fd == dial.fd && racing.attempt.backend == 1 && racing.attempt.may_leave);
    ck_assert_int_eq(net_compare(&route.addresses.list[0], &other.addresses.list[0]), 0);
    ck_assert_uint_eq(stragglers_slots(racing.proxy.stragglers), 1);
    close(link.fd);
    racing_take_back(&racing);
    racing_end(&racing); /* which takes back the one that hangs */
}
END_TEST

START_TEST(one_that_is_refused_is_written_and_the_other_goes_on)
{
    struct hedge_link link = run(RACING_HANGS, RACING_REFUSES, SHORT_MS, HEDGE_MS);
    ck_assert(link.fd == -1 && link.cut == WATCH_NOT_CUT && link.error == ETIMEDOUT);
    ck_assert(racing.attempt.backend == 0 && racing.trial.last.number == 1);
    ck_assert_int_eq(asked, 2); /* for a third */
    ck_assert_uint_eq(racing.trial.failures, 1);
    ck_assert(racing_page(&racing, 1).error_connect == 1 && count_of(1, CAUSE_REFUSED) == 1);
    ck_assert_uint_eq(racing_page(&racing, 0).in_flight, 1); /* the caller's */
    racing_take_back(&racing);
    racing_end(&racing);
}
END_TEST

START_TEST(both_hang_and_each_fails_in_its_time)
{
    struct hedge_link link = run(RACING_HANGS, RACING_HANGS, SHORT_MS, HEDGE_MS);
    ck_assert(link.fd == -1 && link.error == ETIMEDOUT);
    /* The first one, as a rule; the second when both were found overdue in one step. */
    uint32_t other = 1 - racing.attempt.backend;
    ck_assert(racing_page(&racing, other).error_connect == 1 && count_of(other, CAUSE_CONNECT_TIMEOUT) == 1);
    ck_assert_uint_eq(racing_page(&racing, racing.attempt.backend).in_flight, 1); /* the caller's */
    racing_take_back(&racing);
    racing_end(&racing);
}
END_TEST

START_TEST(without_a_spare_one_or_switched_off_it_waits_alone)
{
    none_is_spare = true;
    struct hedge_link link = run(RACING_HANGS, RACING_ANSWERS, SHORT_MS, HEDGE_MS);
    ck_assert(link.fd == -1 && link.error == ETIMEDOUT && asked == 1);
    racing_take_back(&racing);
    racing_end(&racing);
    none_is_spare = false;
    link = run(RACING_HANGS, RACING_ANSWERS, SHORT_MS, 0);
    ck_assert(link.fd == -1 && link.error == ETIMEDOUT && asked == 1);
    racing_take_back(&racing);
    racing_end(&racing);
}
END_TEST

/* Cuts all as soon as the second connect hangs too. */
static void *cut_when_both_hang(void *argument)
{
    (void)argument;
    while (ledger_in_flight(racing.proxy.ledger, 1) == 0) {
        poll(NULL, 0, 1);
    }
    poll(NULL, 0,
         HEDGE_MS); /* so that the race is most likely being waited for; it must hold otherwise too */
    watchdog_cut_all(racing.proxy.watchdog);
    return NULL;
}

START_TEST(the_end_of_the_program_cuts_both)
{
    pthread_t thread;
    racing_begin(&racing, RACING_HANGS, RACING_HANGS, LONG_MS, HEDGE_MS);
    racing.attempt.begin_beside = begin_beside;
    hedge_route(&racing.proxy, 0, &route);
    ck_assert_int_eq(pthread_create(&thread, NULL, cut_when_both_hang, NULL), 0);
    struct hedge_link link = hedge_connect(&racing.attempt, &route);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    ck_assert(link.fd == -1 && link.cut == WATCH_CUT_STOP && asked == 1);
    ck_assert_uint_eq(racing_page(&racing, 1).attempts, 0);
    ck_assert_uint_eq(stragglers_slots(racing.proxy.stragglers), 0);
    racing_take_back(&racing);
    racing_end(&racing);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("hedge");
    TCase *races = tcase_create("races");
    tcase_add_test(races, when_it_is_due);
    tcase_add_test(races, a_connect_that_is_answered_is_not_raced);
    tcase_add_test(races, the_second_wins_and_the_first_fails_later_once);
    tcase_add_test(races, an_idle_connection_of_the_second_wins_at_once);
    tcase_add_test(races, one_that_is_refused_is_written_and_the_other_goes_on);
    tcase_add_test(races, both_hang_and_each_fails_in_its_time);
    tcase_add_test(races, without_a_spare_one_or_switched_off_it_waits_alone);
    tcase_add_test(races, the_end_of_the_program_cuts_both);
    suite_add_tcase(suite, races);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
