/* SPDX-License-Identifier: MIT
 * The configuration in force, as one immutable value: a plan. A reload publishes a new plan; who began a
 * request with the old one ends it with the old one. Nobody counts references: each reader thread notes in a
 * cell of its own which plan it uses right now (a hazard pointer), so that taking a plan writes no cache line
 * that another thread writes. An old plan is freed when no cell names it.
 *
 * A backend lives in a slot, 0 to CONFIG_BACKENDS_MAX - 1: everything that is kept of it (its page of the
 * ledger, its evidence, its connections) is found by its slot, and a set of backends is a 64-bit word. A
 * backend that stays across a reload (same name, same url) keeps its slot. A slot is given to another backend
 * only when no living plan names it any more: so nothing of two backends can ever mix. */
#ifndef HOLDFAST_COMMON_PLAN_H
#define HOLDFAST_COMMON_PLAN_H

#include "common/compiler.h"
#include "common/config.h"

#include <stdatomic.h>
#include <stdint.h>

/* How often a plan was pinned and unpinned by some of the readers: in lines apart, as each request writes
 * here. */
struct plan_pins {
    cache_aligned _Atomic uint64_t pinned;
    _Atomic uint64_t unpinned;
};

enum { PLAN_SHARDS = 16 };

struct plan {
    struct config config;
    uint64_t members;                    /* the slots of all its backends, as a set */
    uint8_t slots[CONFIG_BACKENDS_MAX];  /* of config.backends[I] */
    uint8_t places[CONFIG_BACKENDS_MAX]; /* the other way: of each slot in MEMBERS, its I */
    uint32_t header_bytes_max;           /* the largest limits.header_bytes of this and all earlier plans */
    struct plan *older;                  /* of struct plans: the next one that waits to be freed */
    struct plan_pins pins[PLAN_SHARDS];  /* by reader, modulo; their sums count */
};

/* The backend in SLOT, which must be a member. */
static inline const struct config_backend *plan_backend(const struct plan *plan, uint32_t slot)
{
    return &plan->config.backends[plan->places[slot]];
}

/* Makes a plan of CONFIG, which is copied and must be whole and checked. Backends that BEFORE (NULL for none)
 * has too keep their slots; each other one gets the lowest slot that is neither in TAKEN nor a slot of
 * BEFORE. NULL with errno: ENOMEM, or ENOSPC when the slots do not suffice. */
must_check struct plan *plan_make(const struct config *config, const struct plan *before, uint64_t taken);

/* Frees a plan that was not published; NULL is fine. */
void plan_delete(struct plan *plan);

struct plans; /* opaque; lives from start to exit */

/* Makes the place where FIRST, which it then owns, is in force; for READERS threads. NULL without memory;
 * then FIRST is still the caller's. */
must_check struct plans *plans_new(struct plan *first, uint32_t readers);

/* Frees P and all its plans; no reader may hold one. NULL is fine. */
void plans_delete(struct plans *p);

/* The plan in force. READER holds it until the next plans_hold() or plans_let_go(); its thread alone may call
 * these. Never waits; without a reload meanwhile it costs two loads and, if READER held nothing, a store with
 * a fence. */
const struct plan *plans_hold(struct plans *p, uint32_t reader);

/* The same beside what plans_hold() gave, which stays held too: for work that has used up what its plan had.
 * Returns the plan in force, which may be the one that is held already. */
const struct plan *plans_hold_newer(struct plans *p, uint32_t reader);

/* Keeps PLAN, which the caller holds or has pinned, for work that goes on when its reader holds it no more.
 * plan_unpin() must follow. Both on any thread; READER is best the one whose thread it is, for speed. */
void plan_pin(const struct plan *plan, uint32_t reader);
void plan_unpin(const struct plan *plan, uint32_t reader);

/* READER holds nothing from now on. */
void plans_let_go(struct plans *p, uint32_t reader);

/* Publishes PLAN, which P then owns: from now on it is in force. The one before it is freed by a later
 * plans_sweep(). For one thread, as all that follow. */
void plans_publish(struct plans *p, struct plan *plan);

/* The plan in force, for the thread that publishes. */
const struct plan *plans_current(const struct plans *p);

/* Frees the old plans that no reader holds. Returns the slots that living plans name: all others are free for
 * other backends, and nobody works with them. */
uint64_t plans_sweep(struct plans *p);

/* How many old plans wait to be freed. */
uint32_t plans_waiting(const struct plans *p);

#endif
