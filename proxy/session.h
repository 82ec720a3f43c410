/* SPDX-License-Identifier: MIT
 * A worker's dealings with one client connection: reads what has come, answers the requests that are whole,
 * in order, and parks or closes the connection. */
#ifndef HOLDFAST_PROXY_SESSION_H
#define HOLDFAST_PROXY_SESSION_H

#include "proxy/exchange.h"
#include "proxy/spares.h"

/* What a worker keeps between sessions. */
struct session_worker {
    struct exchange exchange;
    struct spares spares;
    bool left;       /* the client that was served waits for its backend now */
    bool turns_away; /* no request is served */
    bool late;       /* what is being read has waited for longer than queue_ms */
};

/* Frees what W keeps. */
void session_release(struct session_worker *w);

/* Serves CLIENT, which the caller owns, until it has nothing more to read or waits for its backend; then it
 * is parked or closed, and no longer the caller's. True when it waits for its backend. With MAYBE_LATE it
 * looks how long CLIENT has waited for a worker: longer than queue_ms, and what it has sent is answered with
 * 503. Blocks for as long as backends do, when they do so in the middle of something. */
bool session_serve(struct session_worker *w, struct client *client, bool maybe_late);

/* The same, but serves no request: what CLIENT has sent is answered with 503 when it is LATE, and goes to the
 * end of the line when it is not. Of W's exchange only proxy, plan, which is held before and after, and shard
 * are used. Never blocks. */
void session_turn_away(struct session_worker *w, struct client *client, bool late);

/* Parks CLIENT, which was just taken, as it was, until DEADLINE; an event makes a worker take it again. */
void session_put_back(struct proxy *proxy, struct client *client, mono_ns deadline);

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
