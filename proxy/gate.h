/* SPDX-License-Identifier: MIT
 * How many workers are let in to take connections. Waking a thread is what costs in a proxy of threads: a few
 * workers that find the next ready connection when they finish serve a fast backend with half the CPU that
 * hundreds of workers need, which fall asleep and are woken for each request. When backends are slow, those
 * few all wait, and more must be let in. Pure: looks go in, a limit comes out; pool.c does the waiting and
 * waking.
 *
 * The rule is Little's law: with L workers that take R connections a second, one connection takes L / R. When
 * twice the workers bring at least half of what that predicts, and more than chance may, they stay (the
 * backends were the brake); when they bring less, they only stand in each other's way (the CPU was), and the
 * old limit comes back for a while. R is the mean of the last looks: one look sees few connections. */
#ifndef HOLDFAST_PROXY_GATE_H
#define HOLDFAST_PROXY_GATE_H

#include <stdbool.h>
#include <stdint.h>

/* What happened since the last look. */
struct gate_look {
    int64_t elapsed_ns;
    uint32_t takes;   /* connections taken */
    uint32_t inside;  /* workers that are in right now; more than the limit until some have finished */
    uint32_t waiting; /* workers that wait for one right now */
    bool ready;       /* a connection waits for a worker right now */
};

enum gate_trial { GATE_STEADY, GATE_WIDER, GATE_NARROWER };

struct gate {
    uint32_t min, max;
    uint32_t limit;     /* workers that are let in */
    double per_ms_mean; /* takes a millisecond, of the last looks */
    enum gate_trial trial;
    uint32_t limit_before; /* while a trial runs */
    double per_ms_before;  /* takes a millisecond before it */
    int64_t trial_ns;      /* its age */
    double trial_takes;
    int64_t wider_hold_ns, wider_backoff_ns; /* no wider trial before; how long after the next failure */
    int64_t narrower_hold_ns, narrower_backoff_ns; /* the same for narrower ones */
    int64_t calm_ns;                               /* for how long workers have been waiting for work */
};

enum { GATE_LOOK_MS = 2 }; /* time between two looks while there is work */

/* How many of WORKERS are always let in on so many CPUS (common/cpus.h): 2 for each, so that one goes on
 * while the other waits, and 4 at least. No more than WORKERS. */
uint32_t gate_least(uint32_t cpus, uint32_t workers);

/* Makes G let MIN workers in, up to MAX later; MIN is at least 1 and at most MAX. */
void gate_init(struct gate *g, uint32_t min, uint32_t max);

/* Judges LOOK; returns the limit from now on. */
uint32_t gate_step(struct gate *g, const struct gate_look *look);

/* Whether nothing is going on that needs another look soon: the limit is at its least, and work has been
 * short. */
bool gate_is_at_rest(const struct gate *g);

#endif
