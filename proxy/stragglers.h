/* SPDX-License-Identifier: MIT
 * Connects that lost a race (hedge.h) while they hung. Nobody waits for them any more, but what becomes of
 * them says how their backends are: one thread goes on with each until its deadline. One that fails is its
 * backend's failure, as if the request had waited for it; one that is answered after all goes to the idle
 * connections, and its attempt is taken back.
 *
 * A place must be had before a race begins: so each connect that began is seen to its end. When all places
 * are taken, connects are waited for alone. */
#ifndef HOLDFAST_PROXY_STRAGGLERS_H
#define HOLDFAST_PROXY_STRAGGLERS_H

#include "common/compiler.h"
#include "proxy/dial.h"
#include "proxy/trial.h"

#include <stdbool.h>
#include <stdint.h>

enum { STRAGGLERS_MAX = 1024 };

struct stragglers; /* opaque; lives from start to exit */

/* A place for one connect. */
struct straggler {
    struct dial dial;
    struct trial_late late;
    struct straggler *next; /* of the stragglers, as all that follows */
};

/* Starts the thread. NULL with errno set. */
struct stragglers *stragglers_start(void);

/* Ends the thread; attempts that have not ended are taken back. Frees S, of which nobody may have a place;
 * NULL is fine. The ledger, the evidence and the upstreams must still be there. */
void stragglers_stop(struct stragglers *s);

/* A place, the caller's until one of the next two. NULL when all are taken, or there is no memory, or so few
 * descriptors are left that none may be kept for a connect that nobody waits for. Any thread, no lock held.
 */
must_check struct straggler *stragglers_reserve(struct stragglers *s);

/* Gives PLACE back unused; NULL is fine. Any thread. */
void stragglers_release(struct stragglers *s, struct straggler *place);

/* Hands PLACE over, whose DIAL is pending and whose LATE is filled. The caller must hold a plan that names
 * the backend's slot. Any thread, no lock held. */
void stragglers_add(struct stragglers *s, struct straggler *place);

/* The slots of backends whose connects have not ended, as a set. What was handed over under a plan that is
 * held no more is in it. Any thread, lock-free. */
uint64_t stragglers_slots(const struct stragglers *s);

#endif
