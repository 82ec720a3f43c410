/* SPDX-License-Identifier: MIT
 * One request and its one response: tries backends until one gives a good response, and delivers the best
 * one. */
#ifndef HOLDFAST_PROXY_EXCHANGE_H
#define HOLDFAST_PROXY_EXCHANGE_H

#include "proxy/course.h"
#include "proxy/proxy.h"
#include "proxy/response.h"
#include "proxy/trial.h"

/* What a worker needs for an exchange, made once and used for all of its requests. */
struct exchange {
    struct proxy *proxy;
    const struct plan *plan; /* held: exchange_hold_plan(); NULL between two turns of the worker */
    struct watch *watch;     /* the worker's own */
    uint32_t shard;          /* the worker's shard of the traffic counters */
    char *out;               /* room for one head that is being written */
    size_t out_bytes;
    size_t header_bytes, hold_bytes; /* what the responses were made for */
    struct response responses[2];    /* the one being received, and the best one so far */
    struct trial_charge charges[CONFIG_BACKENDS_MAX];
    struct course_shelf shelf;
    struct response *switched; /* between EXCHANGE_TUNNEL and exchange_tunnel(): the 101 */
};

/* Makes X ready for a worker. False without memory. */
must_check bool exchange_init(struct exchange *x, struct proxy *proxy, struct watch *watch, uint32_t shard);

/* From now on X goes by the plan that is in force, and has the buffers for it. False without memory: then
 * nothing may be exchanged, but the plan is held. */
must_check bool exchange_hold_plan(struct exchange *x);

/* X goes by no plan any more. */
void exchange_let_plan_go(struct exchange *x);

/* Frees what X holds. */
void exchange_release(struct exchange *x);

enum exchange_end {
    EXCHANGE_KEEP,   /* answered: the connection may go on */
    EXCHANGE_CLOSE,  /* the connection must be closed: the client wants that, or what was sent is not a whole
                        response */
    EXCHANGE_ABORT,  /* the connection must be reset: an end would make what was sent look whole */
    EXCHANGE_LATER,  /* answered, but the client has not taken all: the rest stands in client->outbox */
    EXCHANGE_TUNNEL, /* the backend switched protocols: exchange_tunnel() must follow */
    EXCHANGE_PARKED, /* the client waits for its backend, AWAITING, and is not the caller's any more */
};

/* Answers REQUEST, which is WHOLE, on the client's connection; its time runs from NOW on. Counts everything
 * in the ledger and the traffic. */
must_check enum exchange_end exchange_run(struct exchange *x, struct client *client, struct request *request,
                                          mono_ns now);

/* Goes on with a client that was PARKED and has been taken again, by the plan that its request began with.
 * Afterwards X goes by the plan in force, but may not have the buffers for it: exchange_hold_plan() must come
 * before the next request. */
must_check enum exchange_end exchange_resume(struct exchange *x, struct client *client);

/* Ends the exchange of a client that was PARKED, and that the caller has taken, without an answer. */
void exchange_abandon(struct client *client);

/* Answers REQUEST, which is WHOLE, with OFFENCE, and asks no backend. Of X only proxy and shard are used.
 * Never blocks. */
must_check enum exchange_end exchange_refuse(const struct exchange *x, struct client *client,
                                             const struct request *request,
                                             const struct http_offence *offence);

/* After EXCHANGE_TUNNEL: gives CLIENT_FD, with what came from the client behind its request, and the
 * backend's connection to the tunnels. */
void exchange_tunnel(struct exchange *x, int client_fd, struct slice to_backend);

#endif
