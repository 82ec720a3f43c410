/* SPDX-License-Identifier: MIT
 * Sharded counters. A shard has one writer, so counting is a plain load and store on a cache line that nobody
 * else writes: no locked instruction on the way of a request. A reset cannot zero a shard without becoming a
 * second writer; it remembers the sums of the moment as a base line instead, and readers subtract it. The
 * base line is behind a lock of its own, which no worker ever takes. */
#include "healthd/traffic.h"

#include "common/lock.h"
#include "common/panic.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct shard {
    cache_aligned _Atomic uint64_t classes[4]; /* 2xx to 5xx */
    _Atomic uint64_t retried, rescued;
    _Atomic uint64_t notes[TRAFFIC_NOTES];
};

struct traffic {
    struct lock lock;
    struct {
        struct traffic_totals base; /* the sums at the last reset; its total is not used */
    } shared;                       /* under the lock */
    uint32_t count;
    struct shard shards[];
};

struct traffic *traffic_new(uint32_t shards)
{
    MUST(shards >= 1);
    size_t bytes = sizeof(struct traffic) + (size_t)shards * sizeof(struct shard);
    struct traffic *t = aligned_alloc(CACHE_LINE_BYTES, bytes);
    if (t == NULL) {
        return NULL;
    }
    memset(t, 0, bytes);
    lock_init(&t->lock);
    t->count = shards;
    return t;
}

void traffic_delete(struct traffic *t)
{
    if (t != NULL) {
        lock_destroy(&t->lock);
        free(t);
    }
}

/* Adds one; only the shard's own thread comes here. */
static void counter_up(_Atomic uint64_t *counter)
{
    uint64_t value = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, value + 1, memory_order_relaxed);
}

void traffic_count(struct traffic *t, uint32_t shard, unsigned status, bool retried, bool rescued)
{
    MUST(shard < t->count);
    MUST(status >= 200 && status <= 599);
    struct shard *s = &t->shards[shard];
    counter_up(&s->classes[status / 100 - 2]);
    if (retried) {
        counter_up(&s->retried);
    }
    if (rescued) {
        counter_up(&s->rescued);
    }
}

void traffic_note(struct traffic *t, uint32_t shard, enum traffic_note note)
{
    MUST(shard < t->count);
    counter_up(&t->shards[shard].notes[note]);
}

/* Adds the shards up, the base line left aside. */
static struct traffic_totals sums(const struct traffic *t)
{
    struct traffic_totals sum = {0};
    for (uint32_t i = 0; i < t->count; i++) {
        const struct shard *s = &t->shards[i];
        sum.status_2xx += atomic_load_explicit(&s->classes[0], memory_order_relaxed);
        sum.status_3xx += atomic_load_explicit(&s->classes[1], memory_order_relaxed);
        sum.status_4xx += atomic_load_explicit(&s->classes[2], memory_order_relaxed);
        sum.status_5xx += atomic_load_explicit(&s->classes[3], memory_order_relaxed);
        sum.retried += atomic_load_explicit(&s->retried, memory_order_relaxed);
        sum.rescued += atomic_load_explicit(&s->rescued, memory_order_relaxed);
        for (int n = 0; n < TRAFFIC_NOTES; n++) {
            sum.notes[n] += atomic_load_explicit(&s->notes[n], memory_order_relaxed);
        }
    }
    return sum;
}

void traffic_read(struct traffic *t, struct traffic_totals *totals_)
{
    /* The sums are taken under the lock too: they are then never older than the base line, so no difference
     * can go below zero. */
    lock_take(&t->lock);
    struct traffic_totals sum = sums(t);
    struct traffic_totals base = t->shared.base;
    lock_free(&t->lock);
    *totals_ = (struct traffic_totals){
        .status_2xx = sum.status_2xx - base.status_2xx,
        .status_3xx = sum.status_3xx - base.status_3xx,
        .status_4xx = sum.status_4xx - base.status_4xx,
        .status_5xx = sum.status_5xx - base.status_5xx,
        .retried = sum.retried - base.retried,
        .rescued = sum.rescued - base.rescued,
    };
    for (int n = 0; n < TRAFFIC_NOTES; n++) {
        totals_->notes[n] = sum.notes[n] - base.notes[n];
    }
    totals_->total = totals_->status_2xx + totals_->status_3xx + totals_->status_4xx + totals_->status_5xx;
}

void traffic_reset(struct traffic *t)
{
    lock_take(&t->lock);
    t->shared.base = sums(t);
    lock_free(&t->lock);
}
