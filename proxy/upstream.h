/* SPDX-License-Identifier: MIT
 * One backend's addresses and its pool of idle connections.
 *
 * States of a backend connection:
 *   lent   owned by one worker, from upstream_take_idle() or dial.h on. -> idle, -> closed
 *   idle   in the pool, seen by nobody: no byte may come on it. -> lent; -> closed, when it has rested too
 *          long, or its address is no longer one of the backend's
 * A connection whose response was not read to its very end, or behind which more bytes came, is closed, never
 * given back: the next request would read another's answer. One that has lived for its time (lifetime.h) is
 * closed when it is given back; the request that it served last was not the worse for it.
 *
 * All addresses of a backend are used in turn, the idle connections too: upstream_choose() says which one is
 * next. One to which no connection could be opened is tried last for a while. A connection carries a tag that
 * names its address and the end of its life. The address is told by the version of the list and the place in
 * it, so that a new list makes all old tags void: then the address is looked at again. */
#ifndef HOLDFAST_PROXY_UPSTREAM_H
#define HOLDFAST_PROXY_UPSTREAM_H

#include "common/address_book.h"
#include "common/clock.h"
#include "common/compiler.h"
#include "common/lock.h"
#include "common/net.h"

#include <stdbool.h>
#include <stdint.h>

enum { UPSTREAM_SHUN_MS = 5000 }; /* so long an address is tried last after a failed connect */

/* What is known of a connection. */
struct upstream_tag {
    uint32_t address;  /* nobody looks at it but the upstream, as at what follows */
    mono_ns retire_at; /* from then on it is not used again */
};

struct upstream_idle {
    int fd;
    struct upstream_tag tag;
    mono_ns since;
};

struct upstream {
    struct address_book book;
    _Atomic uint32_t turn;
    _Atomic uint32_t opened;                          /* connections, since the start */
    _Atomic mono_ns shunned_until[NET_ADDRESSES_MAX]; /* by place in the list that is shown */
    uint32_t idle_max, life_ms;
    uint32_t trimmed_version; /* of the trimming thread: of the list when it last looked at all addresses */
    struct {
        cache_aligned struct lock lock; /* must be held for what follows, in the same line */
        uint32_t count;
        struct upstream_idle *idle; /* the most recent one last */
    } shared;
};

/* Where a request shall go: a copy of the addresses, and the order in which they are to be tried. */
struct upstream_route {
    uint32_t version;
    uint8_t order[NET_ADDRESSES_MAX]; /* places in ADDRESSES */
    struct net_addresses addresses;
};

/* Makes U ready, with a pool of IDLE_MAX connections at the most, each of which is used again for LIFE_MS on
 * average (see lifetime.h). ADDRESSES may be empty: none is known yet. False without memory. */
must_check bool upstream_init(struct upstream *u, const struct net_addresses *addresses, uint32_t idle_max,
                              uint32_t life_ms);

/* Closes the idle connections and frees U's memory. */
void upstream_release(struct upstream *u);

/* From now on U's addresses are ADDRESSES. One thread at a time. */
void upstream_move(struct upstream *u, const struct net_addresses *addresses);

/* Takes the next turn: fills *ROUTE_. Any thread, no lock. */
void upstream_choose(struct upstream *u, struct upstream_route *route_);

/* Sends ROUTE to ADDRESS alone, which is none of its backend's: no idle connection fits, and none comes back.
 */
void upstream_divert(struct upstream_route *route, const union net_address *address);

/* The tag of a connection to the address at place I of ROUTE's order, which is still to be opened. */
struct upstream_tag upstream_tag(const struct upstream_route *route, uint32_t i);

/* Lends the idle connection to the first address of ROUTE that was used last, with its *TAG_, or -1 when
 * there is none. Those on which something came meanwhile (an end of file, bytes that nobody asked for) are
 * closed on the way. Any thread, no lock held. */
int upstream_take_idle(struct upstream *u, const struct upstream_route *route, struct upstream_tag *tag_);

/* A connection with *TAG is open: its life begins NOW. Any thread, no lock. */
void upstream_note_open(struct upstream *u, struct upstream_tag *tag, mono_ns now);

/* No connection with TAG could be opened. Any thread, no lock. */
void upstream_note_failed(struct upstream *u, const struct upstream_tag *tag);

/* Gives FD with its TAG back: it is at rest between two exchanges. Closes it when its life is over, the pool
 * is full or its address is gone. */
void upstream_give_back(struct upstream *u, int fd, struct upstream_tag tag, mono_ns now);

/* Closes the idle connections that have rested since before SINCE. Any thread, no lock held. */
void upstream_trim(struct upstream *u, mono_ns since);

/* Closes the idle connections to addresses that are gone. One thread, no lock held. */
void upstream_trim_gone(struct upstream *u);

#endif
