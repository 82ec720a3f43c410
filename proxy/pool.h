/* SPDX-License-Identifier: MIT
 * The fixed pool of worker threads. A worker takes a ready connection straight from the parking place, serves
 * it, and takes the next one. A gate keeps as few workers awake as the work needs: see gate.h. */
#ifndef HOLDFAST_PROXY_POOL_H
#define HOLDFAST_PROXY_POOL_H

#include "proxy/proxy.h"

struct pool; /* opaque */

/* Starts PROXY->workers threads. NULL with errno set; then none runs. */
struct pool *pool_start(struct proxy *proxy);

/* Workers that are serving a connection right now. Any thread. */
uint32_t pool_busy(const struct pool *p);

/* Waits for all workers to end, after parking_stop(), and frees P; NULL is fine. */
void pool_join(struct pool *p);

#endif
