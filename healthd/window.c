/* SPDX-License-Identifier: MIT
 * A ring of buckets. A bucket is emptied when the clock comes around to it again. */
#include "healthd/window.h"

#include <string.h>

/* Moves W on to the bucket of NOW; a clock that stands behind it moves nothing. */
static void slide(struct window *w, mono_ns now, uint32_t window_ms)
{
    int64_t bucket = now / (window_ms * NS_PER_MS / WINDOW_BUCKETS);
    if (bucket - w->newest >= WINDOW_BUCKETS) {
        memset(w->counts, 0, sizeof w->counts);
        w->newest = bucket;
    }
    while (w->newest < bucket) {
        w->newest++;
        w->counts[w->newest % WINDOW_BUCKETS] = 0;
    }
}

uint64_t window_add(struct window *w, mono_ns now, uint32_t window_ms)
{
    slide(w, now, window_ms);
    w->counts[w->newest % WINDOW_BUCKETS]++;
    return window_sum(w, now, window_ms);
}

void window_begin(struct window *w, mono_ns now, uint32_t window_ms, uint64_t events)
{
    *w = (struct window){.newest = 0};
    slide(w, now, window_ms);
    w->counts[w->newest % WINDOW_BUCKETS] = events < UINT32_MAX ? (uint32_t)events : UINT32_MAX;
}

uint64_t window_sum(struct window *w, mono_ns now, uint32_t window_ms)
{
    uint64_t sum = 0;
    slide(w, now, window_ms);
    for (int i = 0; i < WINDOW_BUCKETS; i++) {
        sum += w->counts[i];
    }
    return sum;
}
