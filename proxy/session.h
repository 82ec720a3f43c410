/* SPDX-License-Identifier: MIT
 * A worker's dealings with one client connection: reads what has come, answers the requests that are whole,
 * in order, and parks or closes the connection. */
#ifndef HOLDFAST_PROXY_SESSION_H
#define HOLDFAST_PROXY_SESSION_H

#include "proxy/exchange.h"

/* What a worker keeps between sessions. */
struct session_worker {
    struct exchange exchange;
    struct request *spare; /* for the next request of any connection; NULL when a parked one took it along */
};

/* Serves CLIENT, which the caller owns, until it has nothing more to read; then it is parked or closed, and
 * no longer the caller's. Blocks for as long as backends do. */
void session_serve(struct session_worker *w, struct client *client);

/* For parking_sweep(): who sweeps, and by which plan. */
struct session_sweep {
    struct proxy *proxy;
    const struct plan *plan;
};

/* For parking_sweep(): OWNER is a struct session_sweep. A connection whose time is up is closed; within a
 * request, 408 is said first. It is parked again when a request came in the last moment, or when the client
 * took enough of its outbox. Never blocks. */
void session_overdue(void *owner, struct client *client, enum parking_phase phase);

/* The same at the end of the program, OWNER being the struct proxy: closes without a word. */
void session_abandon(void *owner, struct client *client, enum parking_phase phase);

#endif
