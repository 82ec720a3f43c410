/* SPDX-License-Identifier: MIT
 * The admin endpoint's sockets: one thread of its own, so that admin never waits for a worker. It serves a
 * bounded number of connections at once with poll(2), each with a deadline, so that a stalled one does not
 * hold up the rest. */
#ifndef HOLDFAST_HEALTHD_ADMIN_SERVER_H
#define HOLDFAST_HEALTHD_ADMIN_SERVER_H

#include "healthd/admin.h"

struct admin_server; /* opaque */

/* Starts the thread on LISTEN_FD, a bound and listening socket, which it then owns. CONTEXT must outlive it.
 * NULL when the thread can't be started or there is no memory (errno tells); LISTEN_FD is then still the
 * caller's. */
struct admin_server *admin_server_start(int listen_fd, const struct admin_context *context);

/* Ends the thread, closes everything, frees S; NULL is fine. Answers that are under way get up to 100 ms. */
void admin_server_stop(struct admin_server *s);

#endif
