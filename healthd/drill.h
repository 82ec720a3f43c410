/* SPDX-License-Identifier: MIT
 * Drills: an operator lets a backend fail on purpose, to see what becomes of it. The fault stands below
 * attempts and probes: for as long as it lasts, connections to the backend go to a socket of our own on
 * 127.0.0.1 which refuses, swallows, resets, breaks off or answers with a failing status. So all that is
 * above meets a real fault, and nothing of it knows of drills. The backend itself is not touched.
 *
 * States of a drill, one at the most for each backend:
 *   none      -> running, by drill_begin()
 *   running   -> running, by another drill_begin(), which replaces it; -> none, by drill_end() or by its time
 * What met the fault before a drill ended is not undone: connections on their way stay with our socket. */
#ifndef HOLDFAST_HEALTHD_DRILL_H
#define HOLDFAST_HEALTHD_DRILL_H

#include "common/compiler.h"
#include "common/net.h"

#include <stdbool.h>
#include <stdint.h>

enum drill_mode {
    DRILL_REFUSE,    /* connections are refused */
    DRILL_BLACKHOLE, /* nothing answers to a connect */
    DRILL_RESET,     /* the connection is reset when the request comes */
    DRILL_TRUNCATE,  /* a response ends in the middle of its body, to HEAD of its head */
    DRILL_STATUS,    /* a response with a failing status */
    DRILL_MODES
};

enum { DRILL_STATUS_MIN = 400, DRILL_STATUS_MAX = 599, DRILL_MS_MAX = 3600000 };

struct drill_order {
    enum drill_mode mode;
    unsigned status;              /* with DRILL_STATUS */
    uint32_t for_ms;              /* 1 to DRILL_MS_MAX */
    char name[CONFIG_NAME_BYTES]; /* the backend's, for the log */
};

/* A drill that runs. */
struct drill_view {
    enum drill_mode mode;
    unsigned status;       /* with DRILL_STATUS; else 0 */
    uint32_t remaining_ms; /* rounded up */
};

struct drills; /* opaque */

/* Starts the thread behind the drills, every signal blocked. NULL with errno set. */
struct drills *drills_start(void);

/* Ends the thread and all drills, and frees D; NULL is fine. */
void drills_stop(struct drills *d);

/* Begins a drill of the backend in SLOT from now on. 0, or an errno value when there is no socket or memory
 * for it; then nothing has changed. Any thread, no lock held. */
must_check int drill_begin(struct drills *d, uint32_t slot, const struct drill_order *order);

/* Ends the drill of SLOT. False when there is none. Any thread, no lock held. */
bool drill_end(struct drills *d, uint32_t slot);

/* Whether SLOT is drilled: then *ADDRESS_ is where its connections go. D may be NULL: no drills. Without any
 * drill this is one relaxed load. Any thread, no lock held. */
bool drill_diverts(struct drills *d, uint32_t slot, union net_address *address_);

/* The drill of SLOT. False when there is none; D may be NULL. Any thread, no lock held. */
bool drill_view(struct drills *d, uint32_t slot, struct drill_view *view_);

/* "refuse", "blackhole", "reset", "truncate", "status". */
const char *drill_mode_name(enum drill_mode mode);

#endif
