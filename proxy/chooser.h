/* SPDX-License-Identifier: MIT
 * Which backend a request is sent to: among those in rotation that it was not sent to yet; when there is none
 * left, rather than let the client down, among those that are out. The balancer picks; the ledger decides, in
 * one step with the count, whether the pick still stands. */
#ifndef HOLDFAST_PROXY_CHOOSER_H
#define HOLDFAST_PROXY_CHOOSER_H

#include "common/http_decode.h"
#include "proxy/proxy.h"

/* One request's. */
struct chooser {
    struct proxy *proxy;
    uint64_t tried; /* set of backends */
    uint64_t key;   /* with balance "hash": what stands for the client or the field */
};

/* What chooser_next() found. */
struct choice {
    int backend; /* -1: none is left */
    bool up;     /* it was in rotation, not a last resort */
    struct attempt_ticket ticket;
};

/* Makes C ready for the request HEAD of CLIENT. */
void chooser_begin(struct chooser *c, struct proxy *proxy, const struct client *client,
                   const struct http_head *head);

/* Chooses the next backend and begins an attempt on it in the ledger. */
struct choice chooser_next(struct chooser *c);

#endif
