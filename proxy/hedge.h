/* SPDX-License-Identifier: MIT
 * A connection for an attempt. While the connect to its backend hangs for connect_hedge_ms, a second one is
 * begun toward the next backend. Only the connects are raced: the request goes over the one that is made
 * first, and over no other. An idle connection of the second backend ends the race at once.
 *
 * Both are attempts in the ledger. One that fails in the race is written there at once, and the other one
 * goes on alone, and may be hedged again. One that still hangs when the other wins goes to the stragglers: it
 * is not known yet whether its backend is to blame, for a SYN that got lost is sent again after a second
 * only. So each request that met a black hole counts one failure there, within connect_ms. */
#ifndef HOLDFAST_PROXY_HEDGE_H
#define HOLDFAST_PROXY_HEDGE_H

#include "common/clock.h"
#include "proxy/attempt.h"
#include "proxy/upstream.h"
#include "proxy/watchdog.h"

#include <stdbool.h>
#include <stdint.h>

/* A connection to A->backend, or why there is none. */
struct hedge_link {
    int fd;                  /* a blocking socket, the caller's; or -1 */
    struct upstream_tag tag; /* with FD */
    bool idle;               /* FD was used before: it may be stale */
    enum watch_cut cut;      /* without FD: the watchdog ended the wait; else ERROR says why */
    int error;               /* errno */
};

/* Takes the next turn of the backend in SLOT; a drill may send it elsewhere. Any thread. */
void hedge_route(struct proxy *proxy, uint32_t slot, struct upstream_route *route_);

/* Takes an idle connection of A's backend to the first address of ROUTE. False when there is none, or the
 * request must not be sent on one that may be stale: then it must not be sent twice. */
must_check bool hedge_take_idle(const struct attempt *a, const struct upstream_route *route,
                                struct hedge_link *link_);

/* Connects to A's backend by ROUTE, within connect_ms and A->deadline; or to another one, when that is
 * quicker: then A, its trial and *ROUTE are that one's. Out of descriptors, the idle connections of all
 * backends are given up first. Blocks; A's watch is off before and after, no lock held. */
must_check struct hedge_link hedge_connect(struct attempt *a, struct upstream_route *route);

/* When a connect that began at BEGUN is hedged; DEADLINE_NO when HEDGE_MS is 0. */
mono_ns hedge_due(mono_ns begun, uint32_t hedge_ms);

#endif
