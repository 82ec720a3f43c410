/* SPDX-License-Identifier: MIT
 * A reader writes the plan that it wants into its cell and looks again whether that plan is still in force.
 * If so, the one who publishes another plan later finds the cell when it sweeps: its exchange of the pointer
 * comes before its look at the cells, the reader's store comes before its second look at the pointer, and all
 * four are sequentially consistent, so one of them sees the other. */
#include "common/plan.h"

#include "common/panic.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

enum { HELD_EACH = 2 };

struct cell {
    cache_aligned _Atomic(const struct plan *) held[HELD_EACH];
};

struct plans {
    cache_aligned _Atomic(const struct plan *) current;
    cache_aligned struct plan *in_force; /* these two: of the thread that publishes */
    struct plan *old;
    uint32_t readers;
    struct cell cells[];
};

/* The slot that B has in BEFORE, or -1. */
static int slot_before(const struct plan *before, const struct config_backend *b)
{
    for (size_t i = 0; before != NULL && i < before->config.backend_count; i++) {
        const struct config_backend *known = &before->config.backends[i];
        if (strcmp(known->name, b->name) == 0 && strcmp(known->url, b->url) == 0) {
            return before->slots[i];
        }
    }
    return -1;
}

/* Gives each backend of PLAN its slot. False when they do not suffice. */
static bool assign_slots(struct plan *plan, const struct plan *before, uint64_t taken)
{
    taken |= before == NULL ? 0 : before->members;
    for (size_t i = 0; i < plan->config.backend_count; i++) {
        int slot = slot_before(before, &plan->config.backends[i]);
        if (slot == -1 && taken == UINT64_MAX) {
            return false;
        }
        if (slot == -1) {
            slot = __builtin_ctzll(~taken);
        }
        uint64_t bit = UINT64_C(1) << slot;
        taken |= bit;
        plan->members |= bit;
        plan->slots[i] = (uint8_t)slot;
        plan->places[slot] = (uint8_t)i;
    }
    return true;
}

struct plan *plan_make(const struct config *config, const struct plan *before, uint64_t taken)
{
    struct plan *plan = aligned_alloc(CACHE_LINE_BYTES, sizeof *plan);
    if (plan == NULL) {
        return NULL;
    }
    memset(plan, 0, sizeof *plan);
    plan->config = *config;
    plan->header_bytes_max = config->limits.header_bytes;
    if (before != NULL && before->header_bytes_max > plan->header_bytes_max) {
        plan->header_bytes_max = before->header_bytes_max;
    }
    if (!assign_slots(plan, before, taken)) {
        free(plan);
        errno = ENOSPC;
        return NULL;
    }
    return plan;
}

void plan_delete(struct plan *plan)
{
    free(plan);
}

struct plans *plans_new(struct plan *first, uint32_t readers)
{
    size_t bytes = sizeof(struct plans) + readers * sizeof(struct cell);
    struct plans *p = aligned_alloc(CACHE_LINE_BYTES, bytes);
    if (p == NULL) {
        return NULL;
    }
    memset(p, 0, bytes);
    p->readers = readers;
    p->in_force = first;
    atomic_store_explicit(&p->current, first, memory_order_release);
    return p;
}

void plans_delete(struct plans *p)
{
    if (p == NULL) {
        return;
    }
    plans_sweep(p);
    MUST(p->old == NULL);
    plan_delete(p->in_force);
    free(p);
}

/* Puts the plan in force into CELL. */
static const struct plan *hold(struct plans *p, _Atomic(const struct plan *) *cell)
{
    const struct plan *plan = atomic_load(&p->current);
    if (atomic_load_explicit(cell, memory_order_relaxed) == plan) {
        return plan; /* held already, so it was not freed since: it is the same one */
    }
    for (;;) {
        atomic_store(cell, plan);
        const struct plan *now = atomic_load(&p->current);
        if (now == plan) {
            return plan;
        }
        plan = now;
    }
}

const struct plan *plans_hold(struct plans *p, uint32_t reader)
{
    MUST(reader < p->readers);
    struct cell *cell = &p->cells[reader];
    if (atomic_load_explicit(&cell->held[1], memory_order_relaxed) != NULL) {
        atomic_store_explicit(&cell->held[1], NULL, memory_order_release);
    }
    return hold(p, &cell->held[0]);
}

const struct plan *plans_hold_newer(struct plans *p, uint32_t reader)
{
    MUST(reader < p->readers);
    return hold(p, &p->cells[reader].held[1]);
}

void plans_let_go(struct plans *p, uint32_t reader)
{
    MUST(reader < p->readers);
    struct cell *cell = &p->cells[reader];
    atomic_store_explicit(&cell->held[0], NULL, memory_order_release);
    if (atomic_load_explicit(&cell->held[1], memory_order_relaxed) != NULL) {
        atomic_store_explicit(&cell->held[1], NULL, memory_order_release);
    }
}

void plans_publish(struct plans *p, struct plan *plan)
{
    p->in_force->older = p->old;
    p->old = p->in_force;
    p->in_force = plan;
    atomic_store(&p->current, plan);
}

const struct plan *plans_current(const struct plans *p)
{
    return p->in_force;
}

/* Pins are not part of the value. */
static struct plan_pins *pins_of(const struct plan *plan, uint32_t reader)
{
    return &((struct plan *)plan)->pins[reader % PLAN_SHARDS];
}

void plan_pin(const struct plan *plan, uint32_t reader)
{
    atomic_fetch_add_explicit(&pins_of(plan, reader)->pinned, 1, memory_order_relaxed);
}

void plan_unpin(const struct plan *plan, uint32_t reader)
{
    atomic_fetch_add(&pins_of(plan, reader)->unpinned, 1);
}

static bool is_pinned(const struct plan *plan)
{
    uint64_t left = 0; /* what one shard has too few of, another has too many */
    for (int i = 0; i < PLAN_SHARDS; i++) {
        left += atomic_load(&plan->pins[i].pinned) - atomic_load(&plan->pins[i].unpinned);
    }
    return left != 0;
}

/* Cells first: who pins an old plan holds it, so when no cell names it no pin can be added any more. */
static bool is_held(const struct plans *p, const struct plan *plan)
{
    for (uint32_t i = 0; i < p->readers; i++) {
        for (int j = 0; j < HELD_EACH; j++) {
            if (atomic_load(&p->cells[i].held[j]) == plan) {
                return true;
            }
        }
    }
    return is_pinned(plan);
}

uint64_t plans_sweep(struct plans *p)
{
    uint64_t named = p->in_force->members;
    struct plan **link = &p->old;
    while (*link != NULL) {
        struct plan *plan = *link;
        if (is_held(p, plan)) {
            named |= plan->members;
            link = &plan->older;
        } else {
            *link = plan->older;
            plan_delete(plan);
        }
    }
    return named;
}

uint32_t plans_waiting(const struct plans *p)
{
    uint32_t count = 0;
    for (const struct plan *plan = p->old; plan != NULL; plan = plan->older) {
        count++;
    }
    return count;
}
