/* SPDX-License-Identifier: MIT
 * The line of requests that wait for a place on a backend, because all that would do have max_in_flight
 * requests. First come, first served, by backend: who waits claims the backends that would do, and nobody may
 * take a place on a backend that somebody before claims. A request that has just come is behind all of them.
 * What would do changes with the rotation, for all of the line in one step: so it stays in order then too.
 *
 * The line knows who waits for what; whether there is a place, the ledger knows alone. A place becomes free
 * (queue_freed), or the rotation changes (queue_changed): the first who may have use for it is woken, tries,
 * and leaves the line or sleeps on. Who leaves wakes who is first then, so that no place stays free while
 * somebody waits for it. */
#ifndef HOLDFAST_PROXY_QUEUE_H
#define HOLDFAST_PROXY_QUEUE_H

#include "common/config.h"
#include "common/lock.h"
#include "healthd/ledger.h"
#include "proxy/watchdog.h"

#include <stdatomic.h>
#include <stdint.h>

/* Somebody in the line; a local variable of a thread that waits. */
struct queue_place {
    struct watch *watch; /* the thread's own: it is woken by it */
    uint64_t tried;      /* set of backends that would not do; what follows is the line's */
    uint64_t claims;     /* those that would */
    bool up;             /* they are in rotation, not a last resort */
    struct queue_place *before, *after;
};

/* What somebody in the line may do now. */
struct queue_turn {
    uint64_t claims; /* would do; empty when there is nothing left to wait for */
    uint64_t open;   /* of these, those that nobody before claims: there it may try to have a place */
    bool up;         /* they are in rotation */
};

struct queue {
    const struct ledger *ledger;
    _Atomic uint64_t claimed; /* what all who wait claim, together */
    _Atomic uint32_t waiting;
    struct {
        struct lock lock; /* must be held for what follows */
        struct queue_place *first, *last;
        uint32_t claims[CONFIG_BACKENDS_MAX]; /* how many claim each backend */
    } shared;
};

/* Makes Q an empty line before the backends of LEDGER. */
void queue_init(struct queue *q, const struct ledger *ledger);

/* What somebody in the line claims: no place there is to be had by who has just come. Any thread; lock-free.
 */
uint64_t queue_claimed(const struct queue *q);

/* How many wait. Any thread; lock-free. */
uint32_t queue_waiting(const struct queue *q);

/* Puts PLACE, whose first two members are set, at the end of the line. What it waits for may have come just
 * before: it must take its turn once before it sleeps. No lock held. */
void queue_join(struct queue *q, struct queue_place *place);

/* What PLACE, which is in the line, may do now. Asks no backend: an open one may be full, or out by now; then
 * PLACE sleeps until it is woken. No lock held. */
struct queue_turn queue_turn(struct queue *q, const struct queue_place *place);

/* PLACE leaves the line, with what it waited for or without. No lock held. */
void queue_leave(struct queue *q, struct queue_place *place);

/* An attempt on BACKEND has ended, and the ledger knows. Any thread, no lock held; while nobody waits for
 * BACKEND it costs one look. */
void queue_freed(struct queue *q, uint32_t backend);

/* The rotation has changed, and the ledger knows, or the limits have: all who wait look again. Any thread, no
 * lock held. */
void queue_changed(struct queue *q);

#endif
