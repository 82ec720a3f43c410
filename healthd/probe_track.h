/* SPDX-License-Identifier: MIT
 * What the probes of one backend add up to: when so many good ones in a row bring it back, when so many
 * failed ones take it out, and how long a backend that keeps falling is left alone. Pure: no clock, no
 * sockets, no lock of its own; the ledger keeps one in each page. */
#ifndef HOLDFAST_HEALTHD_PROBE_TRACK_H
#define HOLDFAST_HEALTHD_PROBE_TRACK_H

#include "common/clock.h"

#include <stdbool.h>
#include <stdint.h>

/* All zeros to begin. */
struct probe_track {
    uint32_t good, bad;   /* probes in a row; one of them is 0 */
    uint32_t relapses;    /* falls in a row that came within a minute of a return */
    mono_ns returned;     /* the last return; 0 when there was none */
    mono_ns silent_until; /* no probe before this */
};

enum probe_turn { PROBE_NO_TURN, PROBE_RISEN, PROBE_FALLEN };

/* Counts one probe. RISEN when, with this one, at least RISE good ones stand in a row; FALLEN when at least
 * FALL failed ones do. */
enum probe_turn probe_track_count(struct probe_track *t, bool good, uint32_t rise, uint32_t fall);

/* The backend fell at NOW, by its probes or by its answers: probes from before count no more. If that was
 * within a minute of its return, there is a pause of INTERVAL_MS doubled once for each such fall in a row, 60
 * seconds at most. */
void probe_track_fell(struct probe_track *t, mono_ns now, uint32_t interval_ms);

/* The time from one probe to the next: INTERVAL_MS give or take a tenth, as RANDOM (any number) says, so that
 * probes of many front ends do not come all at once. */
int64_t probe_interval_ns(uint32_t interval_ms, uint32_t random);

/* The backend came back at NOW. */
void probe_track_returned(struct probe_track *t, mono_ns now);

#endif
