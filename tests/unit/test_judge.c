/* SPDX-License-Identifier: MIT
 * Which waits for a backend are given up. */
#include "proxy/judge.h"

#include "common/log.h"
#include "proxy/knock.h"
#include "proxy/proxy.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECT_MS = 50, DRAIN_MS = 5000, LONG_AGO_MS = 1000 };

static struct proxy proxy;
static struct watch_subject subject;
static int client[2];

static void set_up(void)
{
    static struct config config;
    config =
        (struct config){.backend_count = 2, .drain_ms = DRAIN_MS, .timeouts = {.connect_ms = CONNECT_MS}};
    for (int i = 0; i < 2; i++) {
        snprintf(config.backends[i].name, sizeof config.backends[i].name, "b%d", i);
    }
    struct plan *plan = plan_make(&config, NULL, 0);
    ck_assert_ptr_nonnull(plan);
    proxy.plans = plans_new(plan, PROXY_READERS);
    proxy.workers = 0;
    proxy.ledger = ledger_new(2, &(struct ledger_policy){.eject_after = 0, .rise = 1, .fall = 1});
    proxy.parking = parking_new(1, 0);
    ck_assert(proxy.plans != NULL && proxy.ledger != NULL && proxy.parking != NULL);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, client), 0);
    subject = (struct watch_subject){.judged = true,
                                     .client_fd = client[0],
                                     .backend = 0,
                                     .may_leave = true,
                                     .tried = 1,
                                     .since = clock_mono() - LONG_AGO_MS * NS_PER_MS};
}

static void tear_down(void)
{
    parking_delete(proxy.parking);
    ledger_delete(proxy.ledger);
    plans_delete(proxy.plans);
    close(client[0]);
    close(client[1]);
}

static void eject(uint32_t backend)
{
    struct attempt_ticket ticket;
    ck_assert(ledger_begin(proxy.ledger, backend, true, &ticket));
    ck_assert(ledger_end(proxy.ledger, &ticket,
                         &(struct attempt_outcome){.end = ATTEMPT_CONNECT, .failure = true}));
}

static void take_down(uint32_t backend, enum probe_finding found)
{
    struct probe_ticket ticket;
    ck_assert(ledger_probe_begin(proxy.ledger, backend, &ticket));
    ck_assert_int_eq(ledger_probe_end(proxy.ledger, &ticket, found), PROBE_TOOK_DOWN);
}

static void expect(enum watch_cut cut)
{
    bool ask = false;
    ck_assert_int_eq(judge_wait(&proxy, &subject, &ask), cut);
    ck_assert(!ask);
}

static bool asks(void)
{
    bool ask = false;
    ck_assert_int_eq(judge_wait(&proxy, &subject, &ask), WATCH_NOT_CUT);
    return ask;
}

START_TEST(one_that_is_up_is_waited_for)
{
    expect(WATCH_NOT_CUT);
}
END_TEST

START_TEST(one_that_is_out_and_hangs_is_left)
{
    if (_i == 0) {
        eject(0);
    } else {
        take_down(0, PROBE_BAD);
    }
    expect(WATCH_CUT_BACKEND);
    subject.since = clock_mono() + NS_PER_S; /* it has not hung for long */
    expect(WATCH_NOT_CUT);
}
END_TEST

START_TEST(one_that_probes_found_dead_is_left_at_once)
{
    subject.since = clock_mono() + NS_PER_S;
    take_down(0, PROBE_SILENT);
    expect(WATCH_CUT_BACKEND);
    struct probe_ticket ticket;
    ck_assert(ledger_probe_begin(proxy.ledger, 0, &ticket));
    ck_assert_int_eq(ledger_probe_end(proxy.ledger, &ticket, PROBE_BAD), PROBE_NO_EFFECT);
    expect(WATCH_NOT_CUT); /* it is down still, but answers: it may answer what it has begun */
    ledger_reset(proxy.ledger, 0);
    expect(WATCH_NOT_CUT);
}
END_TEST

START_TEST(not_when_the_request_must_stay)
{
    eject(0);
    subject.may_leave = false;
    expect(WATCH_NOT_CUT);
}
END_TEST

START_TEST(not_when_nobody_else_is_there_to_ask)
{
    eject(0);
    subject.tried = 3; /* the other one was asked already */
    expect(WATCH_NOT_CUT);
    subject.tried = 1;
    expect(WATCH_CUT_BACKEND);
    eject(1);
    expect(WATCH_NOT_CUT);
}
END_TEST

START_TEST(one_that_drains_may_finish_for_a_while)
{
    ledger_drain(proxy.ledger, 0, true);
    expect(WATCH_NOT_CUT);
    ck_assert(ledger_drained_since(proxy.ledger, 0) > 0);
    ledger_drain(proxy.ledger, 0, false);
    ck_assert(ledger_drained_since(proxy.ledger, 0) == 0);
    struct config config = plans_current(proxy.plans)->config;
    config.drain_ms = 0;
    struct plan *plan = plan_make(&config, plans_current(proxy.plans), 3);
    ck_assert_ptr_nonnull(plan);
    plans_publish(proxy.plans, plan);
    expect(WATCH_NOT_CUT);
    ledger_drain(proxy.ledger, 0, true);
    expect(WATCH_CUT_BACKEND);
    ledger_reset(proxy.ledger, 0);
    expect(WATCH_NOT_CUT);
}
END_TEST

START_TEST(a_client_that_has_gone_is_seen)
{
    close(client[1]);
    client[1] = -1;
    subject.may_leave = false;
    expect(WATCH_CUT_CLIENT);
}
END_TEST

/* Nobody knocks before the wait is long, nor twice. */
START_TEST(one_that_has_ended_its_side_is_asked)
{
    struct client *c = parking_client(proxy.parking, 0);
    *c = (struct client){.fd = client[0]};
    knock_may_come(c);
    ck_assert(!asks());
    shutdown(client[1], SHUT_WR);
    ck_assert(asks());
    subject.since = clock_mono() + NS_PER_S;
    ck_assert(!asks());
    judge_ask(&proxy, &subject);
    judge_ask(&proxy, &subject);
    char got[2];
    ck_assert_int_eq(recv(client[1], got, sizeof got, 0), 1);
    ck_assert_int_eq(got[0], 'H');
}
END_TEST

int main(void)
{
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_test(all, one_that_is_up_is_waited_for);
    tcase_add_loop_test(all, one_that_is_out_and_hangs_is_left, 0, 2);
    tcase_add_test(all, one_that_probes_found_dead_is_left_at_once);
    tcase_add_test(all, not_when_the_request_must_stay);
    tcase_add_test(all, not_when_nobody_else_is_there_to_ask);
    tcase_add_test(all, one_that_drains_may_finish_for_a_while);
    tcase_add_test(all, a_client_that_has_gone_is_seen);
    tcase_add_test(all, one_that_has_ended_its_side_is_asked);
    Suite *suite = suite_create("judge");
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
