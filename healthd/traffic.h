/* SPDX-License-Identifier: MIT
 * What clients got: counters of answered requests. Each worker has a shard of its own on cache lines of its
 * own and alone writes to it; readers add the shards up. */
#ifndef HOLDFAST_HEALTHD_TRAFFIC_H
#define HOLDFAST_HEALTHD_TRAFFIC_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct traffic; /* opaque; lives from start to exit */

/* What may be noted of a request besides. */
enum traffic_note {
    TRAFFIC_WAITED,         /* it waited for a place on a backend */
    TRAFFIC_BACKENDS_FULL,  /* and none became free in time */
    TRAFFIC_WORKERS_BUSY,   /* no worker was free for it in time */
    TRAFFIC_RETRIES_DENIED, /* it failed, and the budget allowed no retry */
    TRAFFIC_REQUEST_FAULTS, /* its failing status was charged to itself, to no backend */
    TRAFFIC_UNMASKED,       /* its response broke when a part of it had gone to the client */
    TRAFFIC_NOTES
};

/* Requests answered since start or the last reset; total is the sum of the four classes. */
struct traffic_totals {
    uint64_t total, status_2xx, status_3xx, status_4xx, status_5xx;
    uint64_t retried; /* needed more than one attempt */
    uint64_t rescued; /* answered 200 after at least one failed attempt */
    uint64_t notes[TRAFFIC_NOTES];
};

/* Makes SHARDS shards (1 or more), all zero. NULL when there is no memory. */
struct traffic *traffic_new(uint32_t shards);

/* Frees T; NULL is fine. */
void traffic_delete(struct traffic *t);

/* Counts one answered request in SHARD, which belongs to the calling thread. STATUS is 200 to 599. */
void traffic_count(struct traffic *t, uint32_t shard, unsigned status, bool retried, bool rescued);

/* Notes something of a request in SHARD, which belongs to the calling thread. */
void traffic_note(struct traffic *t, uint32_t shard, enum traffic_note note);

/* Adds the shards up. Any thread. */
void traffic_read(struct traffic *t, struct traffic_totals *totals_);

/* From now on traffic_read() counts from zero: remembers today's sums as the base line, so that no worker's
 * shard is written by anybody else. Any thread. */
void traffic_reset(struct traffic *t);

#endif
