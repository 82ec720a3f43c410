/* SPDX-License-Identifier: MIT
 * Tunnels: connections that left HTTP by an upgrade (RFC 9110, 7.8). Bytes go both ways unread until both
 * sides have ended, one fails, or nothing moved for the idle limit. One thread of their own serves them all,
 * so that a long-lived tunnel never holds a worker; their number has a bound of its own. */
#ifndef HOLDFAST_PROXY_TUNNEL_H
#define HOLDFAST_PROXY_TUNNEL_H

#include "common/compiler.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct tunnels; /* opaque; lives from start to exit */

/* Starts the thread, for at most MAX tunnels at once, each of which may rest IDLE_MS. NULL with errno set. */
struct tunnels *tunnels_start(uint32_t max, uint32_t idle_ms);

/* From now on each tunnel may rest IDLE_MS. Any thread. */
void tunnels_set_idle(struct tunnels *t, uint32_t idle_ms);

/* Closes all tunnels, ends the thread and frees T; NULL is fine. */
void tunnels_stop(struct tunnels *t);

/* Reserves the place of one tunnel, before the backend is asked for it. False when all are taken. Any thread.
 */
must_check bool tunnels_reserve(struct tunnels *t);

/* Gives a reserved place back. */
void tunnels_cancel(struct tunnels *t);

/* Begins a tunnel on a reserved place. Owns both descriptors from now on, whatever happens. TO_CLIENT and
 * TO_BACKEND are bytes that were read already and go first; they are copied. Any thread, no lock held. */
void tunnels_begin(struct tunnels *t, int client_fd, int backend_fd, struct slice to_client,
                   struct slice to_backend);

/* Tunnels that are open. Any thread. */
uint32_t tunnels_open(const struct tunnels *t);

#endif
