/* SPDX-License-Identifier: MIT
 * Request objects that a worker keeps for the next requests of any connection. Those whose clients wait for a
 * backend, or have begun another request, are with them: so a worker needs some. */
#ifndef HOLDFAST_PROXY_SPARES_H
#define HOLDFAST_PROXY_SPARES_H

#include "proxy/request.h"

enum { SPARES_KEPT_MAX = 16 };

/* All zeros to begin. One thread's. */
struct spares {
    struct request *list[SPARES_KEPT_MAX];
    uint32_t count;
};

/* A request ready for its first byte, or NULL without memory. */
static inline struct request *spares_take(struct spares *s)
{
    return s->count > 0 ? s->list[--s->count] : request_new();
}

/* Keeps REQUEST, which is clear, or frees it when there are enough. */
static inline void spares_keep(struct spares *s, struct request *request)
{
    if (s->count < SPARES_KEPT_MAX) {
        s->list[s->count++] = request;
    } else {
        request_delete(request);
    }
}

/* Frees all that S keeps. */
static inline void spares_release(struct spares *s)
{
    while (s->count > 0) {
        request_delete(s->list[--s->count]);
    }
}

#endif
