/* SPDX-License-Identifier: MIT
 * The state of one exchange across its attempts, and where a worker keeps those that it does not use. A
 * course belongs to the worker that serves its client, or to the client while it is parked AWAITING. */
#ifndef HOLDFAST_PROXY_COURSE_H
#define HOLDFAST_PROXY_COURSE_H

#include "proxy/attempt.h"
#include "proxy/chooser.h"
#include "proxy/spares.h"
#include "proxy/trial.h"

/* The state of one exchange across its attempts. Lines of its own: the next course is another worker's. */
struct course {
    cache_aligned struct exchange *x; /* of the worker that has it now */
    uint32_t shard;                   /* its shard, also when the worker is gone */
    const struct plan *plan;          /* it began with */
    bool pinned;                      /* that plan, since the course was left for the first time */
    struct client *client;
    struct request *request;
    mono_ns begun;
    struct attempt attempt; /* its response is free for the next one */
    struct trial trial;
    struct chooser chooser;
    bool moved;            /* to the plan of a reload */
    bool full;             /* no backend that was left had a place for it in time */
    struct response *best; /* the best failing response, or an empty one */
    bool have_best;
    uint32_t best_backend;
};

/* One worker's courses. All zeros, or course_shelf_init(). */
struct course_shelf {
    struct spares spares;
    struct course *reserve; /* one that never leaves the worker, for when there is no memory */
};

/* Makes S, empty but for its reserve; it swaps spares with DEPOT, which discards by free(). False without
 * memory. */
must_check bool course_shelf_init(struct course_shelf *s, struct depot *depot);

/* Frees what S keeps. */
void course_shelf_release(struct course_shelf *s);

/* A course whose members have any value; the reserve when there is no memory. */
struct course *course_take(struct course_shelf *s);

/* Puts C, which is over, back; its plan is let go. */
void course_keep(struct course_shelf *s, struct course *c);

/* Frees C, which was left to a client; its plan is let go. */
void course_delete(struct course *c);

#endif
