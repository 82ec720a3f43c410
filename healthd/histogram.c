/* SPDX-License-Identifier: MIT
 * A log-linear histogram. Durations are counted in units of 64 ns. The first 16 buckets hold 0 to 15 units,
 * one each. From there on every doubling is cut into 16 buckets of the same width, so that a bucket is never
 * wider than a sixteenth of what it holds, and its middle never further off than half of that. Finding the
 * bucket takes a shift and a count of leading zeros: cheap enough to do under a mutex on every request. */
#include "healthd/histogram.h"

#include "common/panic.h"

enum { STEPS = 1 << HISTOGRAM_STEP_BITS };

/* The bucket of DURATION_NS. */
static unsigned bucket_of(int64_t duration_ns)
{
    if (duration_ns < 0) {
        return 0;
    }
    if (duration_ns >= INT64_C(1) << HISTOGRAM_VALUE_BITS) {
        return HISTOGRAM_BUCKETS - 1;
    }
    uint64_t units = (uint64_t)duration_ns >> HISTOGRAM_UNIT_BITS;
    if (units < STEPS) {
        return (unsigned)units;
    }
    unsigned top_bit = 63U - (unsigned)__builtin_clzll(units);
    unsigned shift = top_bit - HISTOGRAM_STEP_BITS; /* leaves STEPS to 2 * STEPS - 1 */
    return (shift << HISTOGRAM_STEP_BITS) + (unsigned)(units >> shift);
}

/* The middle of BUCKET, in nanoseconds. */
static int64_t middle_ns(unsigned bucket)
{
    unsigned shift = bucket < STEPS ? 0 : (bucket >> HISTOGRAM_STEP_BITS) - 1;
    int64_t steps = (int64_t)bucket - ((int64_t)shift << HISTOGRAM_STEP_BITS);
    int64_t width_ns = INT64_C(1) << (shift + HISTOGRAM_UNIT_BITS);
    return steps * width_ns + width_ns / 2;
}

void histogram_record(struct histogram *h, int64_t duration_ns)
{
    h->counts[bucket_of(duration_ns)]++;
    h->total++;
    h->sum_ns += duration_ns < 0 ? 0 : (uint64_t)duration_ns;
}

int64_t histogram_quantile_ns(const struct histogram *h, unsigned percent)
{
    MUST(percent >= 1 && percent <= 100);
    if (h->total == 0) {
        return 0;
    }
    /* The rank is rounded up: the 99th of 100, the 1st of 1. Split in two so that no product overflows. */
    uint64_t rank = h->total / 100 * percent + (h->total % 100 * percent + 99) / 100;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += h->counts[i];
        if (seen >= rank) {
            return middle_ns(i);
        }
    }
    UNREACHABLE();
}

uint64_t histogram_count_below(const struct histogram *h, unsigned bit)
{
    MUST(bit >= HISTOGRAM_UNIT_BITS && bit < HISTOGRAM_VALUE_BITS);
    const unsigned end = bucket_of(INT64_C(1) << bit);
    uint64_t count = 0;
    for (unsigned i = 0; i < end; i++) {
        count += h->counts[i];
    }
    return count;
}
