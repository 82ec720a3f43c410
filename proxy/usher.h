/* SPDX-License-Identifier: MIT
 * What becomes of connections that wait for a worker for longer than queue_ms. They wait in the epoll set, in
 * order. The usher looks at the line at regular times; when it has never been seen empty for queue_ms,
 * somebody may have waited for so long, and then two things happen: each worker looks how long the connection
 * it takes has waited, and the usher itself takes those that are first in line and answers them with 503 when
 * it was too long, so that they are told in time even when all workers hang. The first that has not waited
 * too long it holds, and the next worker takes that one before any other: so the line stays in order.
 *
 * While the line is short, this costs a worker one look at a flag that seldom changes. */
#ifndef HOLDFAST_PROXY_USHER_H
#define HOLDFAST_PROXY_USHER_H

#include "proxy/session.h"

#include <stdatomic.h>

struct usher {
    cache_aligned _Atomic bool alert; /* somebody may have waited for longer than queue_ms */
    _Atomic(struct client *) held;
    struct session_worker session; /* the looker's own, as is what follows; it answers, and asks no backend */
    mono_ns calm_at;               /* when nobody was seen to wait for the last time */
};

/* Makes U ready at NOW. SHARD is the looker's shard of the traffic counters, and its number as a reader of
 * the plan. */
void usher_init(struct usher *u, struct proxy *proxy, uint32_t shard, mono_ns now);

/* Looks at the line at NOW: READY says that a connection waits in the epoll set, IDLE that a worker waits for
 * one. Answers those that have waited too long. One thread, the same always; never blocks. */
void usher_look(struct usher *u, mono_ns now, bool ready, bool idle);

/* Nobody waits at NOW, nor has since the last look. By the looker. */
void usher_calm(struct usher *u, mono_ns now);

/* Whether somebody may have waited for longer than queue_ms. Any thread. */
static inline bool usher_is_alert(const struct usher *u)
{
    return atomic_load_explicit(&u->alert, memory_order_relaxed);
}

/* Whether the usher holds a connection. Any thread; a moment's picture. */
static inline bool usher_holds(const struct usher *u)
{
    return atomic_load_explicit(&u->held, memory_order_relaxed) != NULL;
}

/* Takes the connection that the usher holds, or NULL when it holds none: then the epoll set has the next.
 * Any thread. */
static inline struct client *usher_take(struct usher *u)
{
    return usher_is_alert(u) ? atomic_exchange(&u->held, NULL) : NULL;
}

/* Gives back what U holds, when the looker looks no more, and frees its memory. */
void usher_release(struct usher *u);

#endif
