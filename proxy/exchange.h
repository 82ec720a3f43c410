/* SPDX-License-Identifier: MIT
 * One request and its one response: tries backends until one gives a good response, and delivers the best
 * one. */
#ifndef HOLDFAST_PROXY_EXCHANGE_H
#define HOLDFAST_PROXY_EXCHANGE_H

#include "proxy/proxy.h"
#include "proxy/response.h"

/* What a worker needs for an exchange, made once and used for all of its requests. */
struct exchange {
    struct proxy *proxy;
    struct watch *watch; /* the worker's own */
    uint32_t shard;      /* the worker's shard of the traffic counters */
    char *out;           /* room for one head that is being written */
    size_t out_bytes;
    struct response responses[2]; /* the one being received, and the best one so far */
};

/* Makes X ready for a worker. False without memory. */
must_check bool exchange_init(struct exchange *x, struct proxy *proxy, struct watch *watch, uint32_t shard);

/* Frees what X holds. */
void exchange_release(struct exchange *x);

/* Answers REQUEST, which is WHOLE, on the client's connection. Returns true when the connection may go on,
 * false when it must be closed: the client wants that, or what was sent is not a whole response. Counts
 * everything in the ledger and the traffic. */
must_check bool exchange_run(struct exchange *x, const struct client *client, struct request *request);

#endif
