/* SPDX-License-Identifier: MIT
 * The listener thread: accepts connections into the parking place, and looks after what rests there:
 * connections whose time is up, idle backend connections. */
#ifndef HOLDFAST_PROXY_LISTENER_H
#define HOLDFAST_PROXY_LISTENER_H

#include "proxy/proxy.h"

struct listener; /* opaque */

/* Starts the thread on LISTEN_FD, a non-blocking listening socket, which it then owns. NULL with errno set;
 * LISTEN_FD is then still the caller's. */
struct listener *listener_start(struct proxy *proxy, int listen_fd);

/* No connection begins from now on, and none is reset that its client believes is made: those on their way
 * are let in for a quarter of a second, then the listening socket is closed. Connections that rest between
 * two requests are closed after a second, for until then their clients may send one more and be told that it
 * was the last. Both take no more than a part of DRAIN_MS. The thread goes on. */
void listener_drain(struct listener *l, uint32_t drain_ms);

/* Whether the listening socket is closed: nobody comes in any more. Any thread. */
bool listener_is_closed(const struct listener *l);

/* Ends the thread and frees L; NULL is fine. */
void listener_stop(struct listener *l);

#endif
