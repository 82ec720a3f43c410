/* SPDX-License-Identifier: MIT
 * What the tests of races share: two backends on the loopback interface, which answer to a connect, refuse
 * it, or leave it unanswered, and as much of a proxy as a connect needs. */
#ifndef HOLDFAST_TESTS_UNIT_RACING_H
#define HOLDFAST_TESTS_UNIT_RACING_H

#include "proxy/parking.h"
#include "proxy/proxy.h"
#include "proxy/stragglers.h"

#include <check.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RACING_BACKENDS = 2 };

enum racing_mode { RACING_ANSWERS, RACING_REFUSES, RACING_HANGS };

struct racing {
    struct config config;
    struct proxy proxy;
    struct request request;
    struct response response;
    struct client client;
    struct trial trial;
    struct attempt attempt; /* on backend 0 */
    int listeners[RACING_BACKENDS];
    int guests[RACING_BACKENDS]; /* that fill a queue; -1 for none */
    int client_fds[2];
};

static inline void racing_listen(struct racing *r, int i, enum racing_mode mode)
{
    union net_address a = {.in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof a.in;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, &a.base, size), 0);
    ck_assert_int_eq(getsockname(fd, &a.base, &size), 0);
    ck_assert(mode == RACING_REFUSES || listen(fd, mode == RACING_HANGS ? 0 : 8) == 0);
    r->listeners[i] = fd;
    r->guests[i] = mode == RACING_HANGS ? net_connect(&a, deadline_after_ms(clock_mono(), 5000)) : -1;
    struct net_addresses addresses = {.count = 1, .list = {a}};
    ck_assert(upstream_init(&r->proxy.upstreams[i], &addresses, 8, 3600000));
}

/* Backends 0 and 1 behave as FIRST and SECOND say; an attempt has begun on 0. */
static inline void racing_begin(struct racing *r, enum racing_mode first, enum racing_mode second,
                                uint32_t connect_ms, uint32_t hedge_ms)
{
    memset(r, 0, sizeof *r);
    r->config.backend_count = RACING_BACKENDS;
    r->config.timeouts.connect_ms = connect_ms;
    r->config.timeouts.connect_hedge_ms = hedge_ms;
    for (int i = 0; i < RACING_BACKENDS; i++) {
        snprintf(r->config.backends[i].name, sizeof r->config.backends[i].name, "b%d", i);
    }
    struct plan *plan = plan_make(&r->config, NULL, 0);
    struct proxy *p = &r->proxy;
    ck_assert_ptr_nonnull(plan);
    p->plans = plans_new(plan, PROXY_READERS);
    p->ledger = ledger_new(RACING_BACKENDS, &(struct ledger_policy){.eject_after = 10});
    p->evidence = evidence_new(CONFIG_BACKENDS_MAX);
    p->parking = parking_new(1, 0);
    p->watchdog = watchdog_start(1, 1);
    p->stragglers = stragglers_start();
    ck_assert(p->plans != NULL && p->ledger != NULL && p->evidence != NULL && p->parking != NULL &&
              p->watchdog != NULL && p->stragglers != NULL);
    queue_init(&p->queue, p->ledger);
    racing_listen(r, 0, first);
    racing_listen(r, 1, second);
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, r->client_fds), 0);
    r->client.fd = r->client_fds[0];
    r->request.head.method = SLICE("POST");
    r->request.head.target = SLICE("/path?query");
    r->trial.proxy = p;
    r->trial.plan = plan;
    r->attempt = (struct attempt){
        .proxy = p,
        .plan = plan,
        .worker_watch = watchdog_watch(p->watchdog, 0),
        .client = &r->client,
        .request = &r->request,
        .response = &r->response,
        .deadline = DEADLINE_NO,
        .trial = &r->trial,
        .tried = 1,
        .owner = r,
    };
    struct attempt_ticket ticket;
    ck_assert(ledger_begin(p->ledger, 0, true, &ticket));
    trial_begin(&r->trial, &ticket, clock_mono());
}

/* Ends what runs. What was begun must have ended in the ledger then, or be ended by the caller before. */
static inline void racing_end(struct racing *r)
{
    struct proxy *p = &r->proxy;
    stragglers_stop(p->stragglers);
    watchdog_stop(p->watchdog);
    parking_delete(p->parking);
    for (uint32_t i = 0; i < RACING_BACKENDS; i++) {
        ck_assert_uint_eq(ledger_in_flight(p->ledger, i), 0);
        upstream_release(&p->upstreams[i]);
        close(r->listeners[i]);
        if (r->guests[i] != -1) {
            close(r->guests[i]);
        }
        close(r->client_fds[i]);
    }
    ledger_delete(p->ledger);
    evidence_delete(p->evidence);
    plans_delete(p->plans);
}

/* Ends the attempt that the trial goes on with as taken back. */
static inline void racing_take_back(struct racing *r)
{
    ledger_end(r->proxy.ledger, &r->trial.last.ticket, &(struct attempt_outcome){.end = ATTEMPT_CANCELLED});
}

static inline struct ledger_page racing_page(const struct racing *r, uint32_t backend)
{
    struct ledger_page page;
    ledger_read(r->proxy.ledger, backend, &page);
    return page;
}

/* Waits until no straggler is left. */
static inline void racing_settle(const struct racing *r)
{
    for (int i = 0; stragglers_slots(r->proxy.stragglers) != 0; i++) {
        ck_assert_int_lt(i, 20000);
        poll(NULL, 0, 1);
    }
}

#endif
