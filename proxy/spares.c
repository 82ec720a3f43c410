/* SPDX-License-Identifier: MIT */
#include "proxy/spares.h"

#include <string.h>

void depot_init(struct depot *d, void (*discard)(void *object))
{
    lock_init(&d->lock);
    d->count = 0;
    d->discard = discard;
}

static void discard_all(const struct depot *d, void **objects, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        d->discard(objects[i]);
    }
}

void depot_release(struct depot *d)
{
    discard_all(d, d->objects, d->count);
    d->count = 0;
    lock_destroy(&d->lock);
}

/* Fills S, which is empty, with some of the depot's objects. */
static void fetch(struct spares *s)
{
    struct depot *d = s->depot;
    lock_take(&d->lock);
    s->count = d->count < SPARES_SWAPPED ? d->count : SPARES_SWAPPED;
    d->count -= s->count;
    memcpy(s->objects, d->objects + d->count, s->count * sizeof *s->objects);
    lock_free(&d->lock);
}

/* Makes room in S, which is full. */
static void put_away(struct spares *s)
{
    struct depot *d = s->depot;
    s->count -= SPARES_SWAPPED;
    void **surplus = s->objects + s->count;
    lock_take(&d->lock);
    uint32_t room = DEPOT_MAX - d->count;
    uint32_t kept = room < SPARES_SWAPPED ? room : SPARES_SWAPPED;
    memcpy(d->objects + d->count, surplus, kept * sizeof *surplus);
    d->count += kept;
    lock_free(&d->lock);
    discard_all(d, surplus + kept, SPARES_SWAPPED - kept);
}

void *spares_take(struct spares *s)
{
    if (s->count == 0) {
        fetch(s);
    }
    return s->count > 0 ? s->objects[--s->count] : NULL;
}

void spares_keep(struct spares *s, void *object)
{
    if (s->count == SPARES_MAX) {
        put_away(s);
    }
    s->objects[s->count++] = object;
}

void spares_release(struct spares *s)
{
    discard_all(s->depot, s->objects, s->count);
    s->count = 0;
}
