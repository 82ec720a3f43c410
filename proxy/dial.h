/* SPDX-License-Identifier: MIT
 * A connect to one backend that does not block: its addresses in the order of a route, one at a time, each
 * with its share of the time, so that a silent one leaves time for the next. */
#ifndef HOLDFAST_PROXY_DIAL_H
#define HOLDFAST_PROXY_DIAL_H

#include "common/clock.h"
#include "proxy/upstream.h"

#include <errno.h>

/* Why a dial failed when no address of the backend is known. connect(2) never says so of TCP. */
#define DIAL_NO_ADDRESS EDESTADDRREQ

enum dial_state { DIAL_PENDING, DIAL_OPEN, DIAL_FAILED };

struct dial {
    enum dial_state state;
    int fd; /* with PENDING: wait for POLLOUT; with OPEN: a blocking socket, now the caller's; else -1 */
    struct upstream_tag tag; /* of FD */

    int error;        /* with FAILED: errno of the last address */
    mono_ns until;    /* with PENDING: step again then at the latest */
    mono_ns deadline; /* of the whole */
    uint32_t next;    /* index in the route's order */
    struct upstream *upstream;
    struct upstream_route route;
};

/* Begins to connect to U by ROUTE, until DEADLINE. May be OPEN or FAILED already. Without a descriptor or
 * memory for a socket it fails at once, and no address is blamed. */
void dial_begin(struct dial *d, struct upstream *u, const struct upstream_route *route, mono_ns deadline);

/* Goes on where D, which is PENDING, stands. Never waits. */
void dial_step(struct dial *d);

/* Gives D, which is PENDING, up; nothing is noted of its address. */
void dial_abandon(struct dial *d);

/* Whether a failed connect says something about us, and nothing about the backend. */
bool dial_is_starvation(int error);

#endif
