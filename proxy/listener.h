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

/* Closes the listening socket: no new connection comes in. From now on every connection that rests between
 * two requests is closed. The thread goes on. */
void listener_drain(struct listener *l);

/* Ends the thread and frees L; NULL is fine. */
void listener_stop(struct listener *l);

#endif
