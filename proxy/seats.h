/* SPDX-License-Identifier: MIT
 * As many requests are at work at once as there are workers, whether a worker waits for the backend or the
 * epoll set does. A seat is the right to be one of them: a worker takes a seat before it looks for requests;
 * a request that is left to wait for its backend keeps its seat, and the worker that goes on with it has it
 * then. So `workers` bounds what backends get, and who comes when all seats are taken waits in the epoll set,
 * in order. */
#ifndef HOLDFAST_PROXY_SEATS_H
#define HOLDFAST_PROXY_SEATS_H

#include "common/compiler.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct seats {
    _Atomic uint32_t free;     /* with nobody; workers keep some of their own */
    _Atomic uint32_t standing; /* workers that found none, and wait for answers only */
};

/* Takes up to WANTED seats; returns how many. Any thread, no lock. */
static inline uint32_t seats_take(struct seats *s, uint32_t wanted)
{
    uint32_t free = atomic_load_explicit(&s->free, memory_order_relaxed);
    uint32_t taken;
    do {
        taken = free < wanted ? free : wanted;
    } while (taken > 0 && !atomic_compare_exchange_weak(&s->free, &free, free - taken));
    return taken;
}

/* Gives COUNT seats back. True when a worker without one must be woken, for it may have one now. Any thread,
 * no lock. */
must_check static inline bool seats_give(struct seats *s, uint32_t count)
{
    if (count == 0) {
        return false;
    }
    atomic_fetch_add(&s->free, count);
    return atomic_load(&s->standing) > 0;
}

/* The worker will wait without a seat. False when there are seats after all: then it is not to wait. */
must_check static inline bool seats_stand(struct seats *s)
{
    atomic_fetch_add(&s->standing, 1);
    if (atomic_load(&s->free) == 0) {
        return true;
    }
    atomic_fetch_sub(&s->standing, 1);
    return false;
}

/* The wait of seats_stand() is over. */
static inline void seats_stood(struct seats *s)
{
    atomic_fetch_sub(&s->standing, 1);
}

#endif
