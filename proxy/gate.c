/* SPDX-License-Identifier: MIT */
#include "proxy/gate.h"

#include <math.h>

enum { MS = 1000000, WORKERS_PER_CPU = 2, WORKERS_MIN = 4 };

static const int64_t trial_length_ns = INT64_C(2) * GATE_LOOK_MS * MS;
static const int64_t backoff_min_ns = INT64_C(20) * MS, backoff_max_ns = INT64_C(2000) * MS;
static const int64_t narrower_min_ns = INT64_C(1000) * MS, narrower_max_ns = INT64_C(16000) * MS;
static const int64_t calm_enough_ns = INT64_C(100) * MS;

uint32_t gate_least(uint32_t cpus, uint32_t workers)
{
    uint64_t least = (uint64_t)cpus * WORKERS_PER_CPU;
    least = least > WORKERS_MIN ? least : WORKERS_MIN;
    return least < workers ? (uint32_t)least : workers;
}

void gate_init(struct gate *g, uint32_t min, uint32_t max)
{
    *g = (struct gate){
        .min = min,
        .max = max,
        .limit = min,
        .wider_backoff_ns = backoff_min_ns,
        .narrower_hold_ns = narrower_min_ns,
        .narrower_backoff_ns = narrower_min_ns,
    };
}

/* So many looks count for a mean: one alone, with a dozen takes, says little. */
static const double looks_of_mean = 8;

static int64_t doubled(int64_t ns, int64_t max)
{
    return ns * 2 < max ? ns * 2 : max;
}

static void begin_trial(struct gate *g, enum gate_trial trial, uint32_t before, uint32_t limit, double per_ms)
{
    g->trial = trial;
    g->limit_before = before;
    g->limit = limit;
    g->per_ms_before = per_ms;
    g->trial_ns = 0;
    g->trial_takes = 0;
}

/* Whether the workers let in brought at least half of what they would if nothing but waiting held the others
 * up: each takes one connection at once, and another whenever a connection's time is over. What chance may
 * bring does not count: a number of takes varies by its root. */
static bool wider_paid(const struct gate *g)
{
    double ms = (double)g->trial_ns / (double)MS;
    double added = g->limit - g->limit_before;
    double predicted = added * (1 + ms * g->per_ms_before / g->limit_before);
    double usual = g->per_ms_before * ms;
    return g->trial_takes - usual >= predicted / 2 + sqrt(usual);
}

/* Whether nobody has to wait any more, and connections take so long (over 4 ms) that the CPU was not what
 * they waited for. */
static bool wider_relieved(const struct gate *g, const struct gate_look *look)
{
    return (look->waiting > 0 || !look->ready) && g->per_ms_before * 4 < g->limit_before;
}

static void end_trial(struct gate *g, const struct gate_look *look)
{
    double ms = (double)g->trial_ns / (double)MS;
    if (g->trial == GATE_WIDER && (wider_paid(g) || wider_relieved(g, look))) {
        g->wider_backoff_ns = backoff_min_ns;
        g->wider_hold_ns = 0;
        g->narrower_hold_ns = g->narrower_backoff_ns;
    } else if (g->trial == GATE_WIDER) {
        g->limit = g->limit_before;
        g->wider_hold_ns = g->wider_backoff_ns;
        g->wider_backoff_ns = doubled(g->wider_backoff_ns, backoff_max_ns);
    } else if (g->trial_takes >= 0.9 * g->per_ms_before * ms) {
        g->narrower_backoff_ns = narrower_min_ns;
        g->narrower_hold_ns = 0;
    } else {
        g->limit = g->limit_before;
        g->narrower_hold_ns = g->narrower_backoff_ns;
        g->narrower_backoff_ns = doubled(g->narrower_backoff_ns, narrower_max_ns);
    }
    g->trial = GATE_STEADY;
}

static double per_ms_of(const struct gate_look *look)
{
    return look->takes * (double)MS / (double)look->elapsed_ns;
}

/* Connections wait and no worker is free: maybe others should be let in, or, once in a while, fewer. */
static void under_pressure(struct gate *g, const struct gate_look *look)
{
    double per_ms = per_ms_of(look);
    g->calm_ns = 0;
    g->wider_hold_ns -= look->elapsed_ns;
    g->narrower_hold_ns -= look->elapsed_ns;
    bool slow = per_ms < g->limit; /* a connection takes more than a millisecond */
    /* What a trial is compared with: a look that is slow by chance would let any trial seem to pay. */
    double usual_per_ms = per_ms > g->per_ms_mean ? per_ms : g->per_ms_mean;
    /* Those that a failed trial let in may still be at work: more than they must be let in now. */
    uint32_t inside = look->inside > g->limit ? look->inside : g->limit;
    if (slow && inside < g->max && g->wider_hold_ns <= 0) {
        begin_trial(g, GATE_WIDER, inside, inside * 2 < g->max ? inside * 2 : g->max, usual_per_ms);
    } else if (g->limit > g->min && g->narrower_hold_ns <= 0) {
        begin_trial(g, GATE_NARROWER, g->limit, g->limit / 2 > g->min ? g->limit / 2 : g->min, usual_per_ms);
    }
}

/* Workers wait for connections: after a while, fewer will do. */
static void without_pressure(struct gate *g, const struct gate_look *look)
{
    g->calm_ns += look->elapsed_ns;
    if (g->calm_ns >= calm_enough_ns && g->limit > g->min) {
        uint32_t less = g->limit - g->limit / 4;
        g->limit = less > g->min ? less : g->min;
        g->calm_ns = 0;
    }
}

uint32_t gate_step(struct gate *g, const struct gate_look *look)
{
    if (look->elapsed_ns <= 0) {
        return g->limit;
    }
    if (g->trial != GATE_STEADY) {
        g->trial_ns += look->elapsed_ns;
        g->trial_takes += look->takes;
        if (g->trial_ns < trial_length_ns) {
            return g->limit;
        }
        end_trial(g, look);
    }
    g->per_ms_mean += (per_ms_of(look) - g->per_ms_mean) / looks_of_mean;
    if (look->waiting == 0 && look->ready) {
        under_pressure(g, look);
    } else {
        without_pressure(g, look);
    }
    return g->limit;
}

bool gate_is_at_rest(const struct gate *g)
{
    return g->limit == g->min && g->trial == GATE_STEADY && g->calm_ns >= calm_enough_ns;
}
