/* SPDX-License-Identifier: MIT
 * Events that a worker fetched and leaves to others, because it is about to be busy for long: a queue, and a
 * descriptor by which workers are woken for it. */
#ifndef HOLDFAST_PROXY_LEFTOVERS_H
#define HOLDFAST_PROXY_LEFTOVERS_H

#include "common/compiler.h"
#include "common/lock.h"
#include "proxy/parking.h"

#include <stdatomic.h>

/* One batch of each worker, as many as there may be. */
enum { LEFTOVERS_MAX = 4096 * PARKING_BATCH_MAX };

struct leftovers {
    int wake_fd;      /* an eventfd: readable, edge-triggered, whenever there is something new */
    struct lock lock; /* must be held for EVENTS, and to write COUNT */
    _Atomic uint32_t count;
    struct parking_event *events;
};

/* Makes L empty. False with errno set; leftovers_release() is due then too. */
must_check bool leftovers_init(struct leftovers *l);

/* Frees what L holds. */
void leftovers_release(struct leftovers *l);

/* Adds COUNT events and wakes a worker. No lock held. */
void leftovers_add(struct leftovers *l, const struct parking_event *events, uint32_t count);

/* Takes up to MAX of the oldest into EVENTS_; how many. Wakes another worker for the rest. No lock held. */
uint32_t leftovers_take(struct leftovers *l, struct parking_event *events_, uint32_t max);

/* How many there are. Any thread; a moment's picture. */
uint32_t leftovers_count(const struct leftovers *l);

/* Wakes a worker. Any thread. */
void leftovers_wake(const struct leftovers *l);

#endif
