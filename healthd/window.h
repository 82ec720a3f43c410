/* SPDX-License-Identifier: MIT
 * A count that slides: how many events the last so many milliseconds have seen. The window is cut into
 * buckets, so that it takes little room however many events there are: an event older than the window is
 * never counted, one that is younger by a bucket (a 32nd of the window) always is. Pure: the clock is the
 * caller's. */
#ifndef HOLDFAST_HEALTHD_WINDOW_H
#define HOLDFAST_HEALTHD_WINDOW_H

#include "common/clock.h"

#include <stdint.h>

enum { WINDOW_BUCKETS = 32 };

/* All zeros: empty. */
struct window {
    int64_t newest; /* number of the newest bucket, counted from the clock's zero; it stands at newest % 32 */
    uint32_t counts[WINDOW_BUCKETS];
};

/* Counts one event at NOW and returns how many there are in the WINDOW_MS (1 or more, always the same) up to
 * it. */
uint64_t window_add(struct window *w, mono_ns now, uint32_t window_ms);

/* Empties W and counts EVENTS at NOW: for a window of another width. */
void window_begin(struct window *w, mono_ns now, uint32_t window_ms, uint64_t events);

/* Returns how many events there are in the WINDOW_MS up to NOW. */
uint64_t window_sum(struct window *w, mono_ns now, uint32_t window_ms);

#endif
