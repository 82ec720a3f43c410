/* SPDX-License-Identifier: MIT
 * One backend's addresses and its pool of idle connections.
 *
 * States of a backend connection:
 *   lent   owned by one worker, from upstream_take_idle() or upstream_connect() on. -> idle, -> closed
 *   idle   in the pool, seen by nobody: no byte may come on it. -> lent; -> closed, when it has rested too
 *          long
 * A connection whose response was not read to its very end, or behind which more bytes came, is closed, never
 * given back: the next request would read another's answer. */
#ifndef HOLDFAST_PROXY_UPSTREAM_H
#define HOLDFAST_PROXY_UPSTREAM_H

#include "common/clock.h"
#include "common/compiler.h"
#include "common/lock.h"
#include "common/net.h"
#include "proxy/watchdog.h"

#include <stdint.h>

struct upstream_idle {
    int fd;
    mono_ns since;
};

struct upstream {
    struct net_addresses addresses; /* fixed from start to exit */
    _Atomic uint32_t preferred;     /* index of the address that connected last */
    uint32_t idle_max;
    struct {
        struct lock lock; /* must be held for what follows */
        uint32_t count;
        struct upstream_idle *idle; /* the most recent one last */
    } shared;
};

/* Makes U ready, with a pool of IDLE_MAX connections at the most. False without memory. */
must_check bool upstream_init(struct upstream *u, const struct net_addresses *addresses, uint32_t idle_max);

/* Closes the idle connections and frees U's memory. */
void upstream_release(struct upstream *u);

/* Lends the idle connection that was used last, or -1 when there is none. Those on which something came
 * meanwhile (an end of file, bytes that nobody asked for) are closed on the way. Any thread, no lock held. */
int upstream_take_idle(struct upstream *u);

/* Lets the watchdog end a connect. */
struct upstream_guard {
    struct watch *watch;
    const struct watch_subject *subject;
    enum watch_cut cut; /* why the last connect was ended; WATCH_NOT_CUT when it was not */
};

/* Opens a new connection, trying the backend's addresses in turn from the one that worked last, each until
 * DEADLINE at the most. Returns a blocking socket, or -1 with errno of the last failure. GUARD may be NULL;
 * when it says that a connect was cut, no other address was tried. */
must_check int upstream_connect(struct upstream *u, mono_ns deadline, struct upstream_guard *guard);

/* Gives FD back: it is at rest between two exchanges. Closes it when the pool is full. */
void upstream_give_back(struct upstream *u, int fd, mono_ns now);

/* Closes the idle connections that have rested since before SINCE. Any thread, no lock held. */
void upstream_trim(struct upstream *u, mono_ns since);

#endif
