/* SPDX-License-Identifier: MIT
 * Answers of our own to a request that is whole, and the line that each answer makes in the access log. */
#ifndef HOLDFAST_PROXY_ANSWER_H
#define HOLDFAST_PROXY_ANSWER_H

#include "common/http_offence.h"
#include "proxy/exchange.h"

struct answer {
    const struct exchange *x; /* of it only proxy and shard are used */
    struct client *client;
    const struct request *request;
    const struct course *course; /* what the request has been through; NULL: no backend was thought of */
    const struct http_offence *offence; /* NULL: 200, to OPTIONS */
    bool keep_alive;
};

/* Sends A without waiting, counts it and makes its line. Returns what becomes of the connection. */
must_check enum exchange_end answer_send(const struct answer *a);

/* Instead of a backend: the answer is our own, or there is none. */
#define ANSWER_OURS UINT32_MAX

/* What answer_log() does when the access log is on. */
void answer_log_line(const struct course *c, unsigned status, uint32_t backend, uint64_t body_bytes,
                     enum access_end end);

/* Makes the line of what C's client got: STATUS and BODY_BYTES of the BACKEND in that slot. When the client
 * has yet to take a part of it, that stands in its outbox already, which keeps the line. */
static inline void answer_log(const struct course *c, unsigned status, uint32_t backend, uint64_t body_bytes,
                              enum access_end end)
{
    if (access_log_is_on(&c->attempt.proxy->access_log)) {
        answer_log_line(c, status, backend, body_bytes, end);
    }
}

#endif
