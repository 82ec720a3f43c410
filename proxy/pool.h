/* SPDX-License-Identifier: MIT
 * The fixed pool of worker threads. A worker takes a ready connection straight from the parking place, serves
 * it, and takes the next one. A gate keeps as few workers awake as the work needs: see gate.h. */
#ifndef HOLDFAST_PROXY_POOL_H
#define HOLDFAST_PROXY_POOL_H

#include "common/compiler.h"
#include "proxy/proxy.h"

struct pool; /* opaque */

/* Starts the threads that serve at first: as many workers as the gate lets in at first. Their number does not
 * grow with PROXY->workers, so clients need not wait for hundreds of threads. NULL with errno set; then none
 * runs. */
must_check struct pool *pool_start(struct proxy *proxy);

/* Starts the rest of the workers, while the first ones serve already. By the thread that called pool_start().
 * False with errno set; then their waits must be cut, and pool_join() is due, after parking_stop(). */
must_check bool pool_complete(struct pool *p);

/* Workers that are serving a connection right now. Any thread. */
uint32_t pool_busy(const struct pool *p);

/* Waits for all workers to end, after parking_stop(), and frees P; NULL is fine. */
void pool_join(struct pool *p);

#endif
