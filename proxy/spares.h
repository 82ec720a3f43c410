/* SPDX-License-Identifier: MIT
 * Objects that are made once and used for many requests. The worker that reads a request often is not the one
 * that answers it: so one takes what the other keeps. Each worker has a few spares of its own, and swaps some
 * at a time with a depot that all share: its lock is taken once for several requests, and nothing is
 * allocated while the load is steady (J. Bonwick, J. Adams: "Magazines and Vmem", USENIX 2001). */
#ifndef HOLDFAST_PROXY_SPARES_H
#define HOLDFAST_PROXY_SPARES_H

#include "common/lock.h"

#include <stdint.h>

enum { SPARES_MAX = 16, SPARES_SWAPPED = SPARES_MAX / 2, DEPOT_MAX = 512 };

/* What all workers share. */
struct depot {
    struct lock lock; /* must be held for the two below */
    uint32_t count;
    void *objects[DEPOT_MAX];
    void (*discard)(void *object);
};

/* What one thread keeps. All zeros but DEPOT to begin. */
struct spares {
    struct depot *depot;
    uint32_t count;
    void *objects[SPARES_MAX];
};

/* Makes D empty. DISCARD frees an object that there is no room for; it is called with no lock held. */
void depot_init(struct depot *d, void (*discard)(void *object));

/* Discards what D keeps. No other thread may use it any more. */
void depot_release(struct depot *d);

/* Takes an object out of S, or of its depot. NULL when both are empty: make one. S's thread, no lock held. */
void *spares_take(struct spares *s);

/* Keeps OBJECT for a later spares_take(), which the next one of this S surely finds. S's thread, no lock
 * held. */
void spares_keep(struct spares *s, void *object);

/* Discards what S keeps. */
void spares_release(struct spares *s);

#endif
