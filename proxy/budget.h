/* SPDX-License-Identifier: MIT
 * A budget for retries, so that many failing requests do not become twice as many: of the last so many
 * seconds' requests, retries may be at most a share. A few are always allowed: with little traffic a share
 * would be none. */
#ifndef HOLDFAST_PROXY_BUDGET_H
#define HOLDFAST_PROXY_BUDGET_H

#include "common/compiler.h"
#include "common/lock.h"
#include "healthd/window.h"

#include <stdbool.h>
#include <stdint.h>

enum {
    BUDGET_WINDOW_MS = 10000, /* what is longer ago does not count */
    BUDGET_FLOOR = 10,        /* retries in each window that are always allowed */
};

struct budget {
    struct {
        struct lock lock; /* must be held for what follows */
        struct window requests, retries;
    } shared;
};

/* Makes B ready: no request has been seen. */
void budget_init(struct budget *b);

/* Counts a request that begins at NOW. Any thread, no lock held. */
void budget_count_request(struct budget *b, mono_ns now);

/* Whether a retry may begin at NOW, when retries may be PERCENT of the requests; if so it is counted, in the
 * same step. Any thread, no lock held. */
must_check bool budget_take_retry(struct budget *b, mono_ns now, uint32_t percent);

#endif
