/* SPDX-License-Identifier: MIT
 * A histogram of durations in fixed space: quantiles to within 3.2 % from 1 us to 2.4 hours. Pure, takes no
 * lock: the owner sees to it that one thread at a time uses it. */
#ifndef HOLDFAST_HEALTHD_HISTOGRAM_H
#define HOLDFAST_HEALTHD_HISTOGRAM_H

#include <stdint.h>

enum {
    HISTOGRAM_UNIT_BITS = 6,   /* the finest bucket is 64 ns wide */
    HISTOGRAM_STEP_BITS = 4,   /* 16 buckets for each doubling */
    HISTOGRAM_VALUE_BITS = 43, /* durations of 2^43 ns (2.4 hours) and more share the last bucket */
    HISTOGRAM_BUCKETS = (HISTOGRAM_VALUE_BITS - HISTOGRAM_UNIT_BITS - HISTOGRAM_STEP_BITS + 1)
                        << HISTOGRAM_STEP_BITS,
};

/* All zero: empty. */
struct histogram {
    uint64_t total;  /* durations recorded */
    uint64_t sum_ns; /* of them; begins again at 0 after 584 years */
    uint64_t counts[HISTOGRAM_BUCKETS];
};

/* Adds DURATION_NS; one below 0 counts as 0. */
void histogram_record(struct histogram *h, int64_t duration_ns);

/* The duration, in nanoseconds, that PERCENT (1 to 100) per cent of those recorded do not exceed: the middle
 * of the bucket that it falls in. 0 when nothing was recorded. */
int64_t histogram_quantile_ns(const struct histogram *h, unsigned percent);

/* How many of the durations recorded are shorter than 2^BIT ns. Exact, for a bucket begins there: BIT is from
 * HISTOGRAM_UNIT_BITS to HISTOGRAM_VALUE_BITS - 1. */
uint64_t histogram_count_below(const struct histogram *h, unsigned bit);

#endif
