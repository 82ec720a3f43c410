/* SPDX-License-Identifier: MIT */
#include "healthd/probe_track.h"

#define MINUTE_NS (60 * NS_PER_S)

enum { RELAPSES_MAX = 16 }; /* from here on every pause is the longest one, whatever the interval */

enum probe_turn probe_track_count(struct probe_track *t, bool good, uint32_t rise, uint32_t fall)
{
    uint32_t *row = good ? &t->good : &t->bad;
    *(good ? &t->bad : &t->good) = 0;
    if (*row < UINT32_MAX) {
        ++*row;
    }
    if (*row < (good ? rise : fall)) {
        return PROBE_NO_TURN;
    }
    return good ? PROBE_RISEN : PROBE_FALLEN;
}

void probe_track_fell(struct probe_track *t, mono_ns now, uint32_t interval_ms)
{
    t->good = 0;
    t->bad = 0;
    if (t->returned == 0 || now - t->returned >= MINUTE_NS) {
        t->relapses = 0;
        return;
    }
    if (t->relapses < RELAPSES_MAX) {
        t->relapses++;
    }
    int64_t pause = (interval_ms * NS_PER_MS) << t->relapses;
    t->silent_until = now + (pause < MINUTE_NS ? pause : MINUTE_NS);
}

void probe_track_returned(struct probe_track *t, mono_ns now)
{
    t->returned = now;
}

int64_t probe_interval_ns(uint32_t interval_ms, uint32_t random)
{
    int64_t tenth = interval_ms * NS_PER_MS / 10;
    return interval_ms * NS_PER_MS - tenth + 2 * (tenth / 1000) * (random % 1001);
}
