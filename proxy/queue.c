/* SPDX-License-Identifier: MIT
 * Why no wake-up is lost. Who waits first puts its claim into the line, then asks the ledger, then sleeps.
 * Who frees a place first tells the ledger, then looks at the claims. Both ask the ledger under the backend's
 * lock: if the one that waits came first there, its claim is seen by the other; if it came last, it finds the
 * place. With the rotation it is the same, by the line's own lock. */
#include "proxy/queue.h"

#include "common/panic.h"

#include <string.h>

void queue_init(struct queue *q, const struct ledger *ledger)
{
    memset(q, 0, sizeof *q);
    q->ledger = ledger;
    lock_init(&q->shared.lock);
}

uint64_t queue_claimed(const struct queue *q)
{
    return atomic_load_explicit(&q->claimed, memory_order_relaxed);
}

uint32_t queue_waiting(const struct queue *q)
{
    return atomic_load_explicit(&q->waiting, memory_order_relaxed);
}

/* Adds CLAIMS to what is claimed (BY 1), or takes them back (BY -1). */
static void count_claims(struct queue *q, uint64_t claims, int by) requires_lock(&q->shared.lock)
{
    uint64_t claimed = queue_claimed(q);
    for (uint64_t rest = claims; rest != 0; rest &= rest - 1) {
        uint32_t backend = (uint32_t)__builtin_ctzll(rest);
        q->shared.claims[backend] += (uint32_t)by;
        uint64_t bit = rest & -rest;
        claimed = q->shared.claims[backend] > 0 ? claimed | bit : claimed & ~bit;
    }
    atomic_store_explicit(&q->claimed, claimed, memory_order_relaxed);
}

/* Wakes, for each of BACKENDS, the first who claims it. */
static void wake_first_of(struct queue *q, uint64_t backends) requires_lock(&q->shared.lock)
{
    backends &= queue_claimed(q);
    for (struct queue_place *p = q->shared.first; p != NULL && backends != 0; p = p->after) {
        if ((p->claims & backends) != 0) {
            watch_wake(p->watch);
            backends &= ~p->claims;
        }
    }
}

/* Makes PLACE claim what would do now. */
static void claim(struct queue *q, struct queue_place *place) requires_lock(&q->shared.lock)
{
    count_claims(q, place->claims, -1);
    place->claims = ledger_fit(q->ledger, place->tried, &place->up);
    count_claims(q, place->claims, 1);
}

void queue_join(struct queue *q, struct queue_place *place)
{
    lock_take(&q->shared.lock);
    place->after = NULL;
    place->before = q->shared.last;
    *(q->shared.last == NULL ? &q->shared.first : &q->shared.last->after) = place;
    q->shared.last = place;
    place->claims = 0;
    claim(q, place);
    atomic_fetch_add_explicit(&q->waiting, 1, memory_order_relaxed);
    lock_free(&q->shared.lock);
}

struct queue_turn queue_turn(struct queue *q, const struct queue_place *place)
{
    lock_take(&q->shared.lock);
    struct queue_turn turn = {.claims = place->claims, .open = place->claims, .up = place->up};
    for (const struct queue_place *p = place->before; p != NULL && turn.open != 0; p = p->before) {
        turn.open &= ~p->claims;
    }
    lock_free(&q->shared.lock);
    return turn;
}

void queue_leave(struct queue *q, struct queue_place *place)
{
    lock_take(&q->shared.lock);
    *(place->before == NULL ? &q->shared.first : &place->before->after) = place->after;
    *(place->after == NULL ? &q->shared.last : &place->after->before) = place->before;
    count_claims(q, place->claims, -1);
    atomic_fetch_sub_explicit(&q->waiting, 1, memory_order_relaxed);
    wake_first_of(q, place->claims);
    lock_free(&q->shared.lock);
}

void queue_freed(struct queue *q, uint32_t backend)
{
    MUST(backend < CONFIG_BACKENDS_MAX);
    uint64_t bit = UINT64_C(1) << backend;
    if ((queue_claimed(q) & bit) == 0) {
        return;
    }
    lock_take(&q->shared.lock);
    wake_first_of(q, bit);
    lock_free(&q->shared.lock);
}

void queue_changed(struct queue *q)
{
    lock_take(&q->shared.lock);
    for (struct queue_place *p = q->shared.first; p != NULL; p = p->after) {
        claim(q, p);
        watch_wake(p->watch);
    }
    lock_free(&q->shared.lock);
}
