/* SPDX-License-Identifier: MIT */
#include "proxy/slow_start.h"

int32_t slow_start_share(mono_ns since, mono_ns now, uint32_t slow_start_ms)
{
    int64_t whole_ns = slow_start_ms * NS_PER_MS;
    int64_t age_ns = now - since;
    if (since == 0 || slow_start_ms == 0 || age_ns >= whole_ns) {
        return SLOW_START_FULL;
    }
    if (age_ns <= 0) {
        return SLOW_START_LEAST;
    }
    int64_t age_us = age_ns / 1000, whole_us = whole_ns / 1000; /* the product below stays below 2^47 */
    return SLOW_START_LEAST + (int32_t)((SLOW_START_FULL - SLOW_START_LEAST) * age_us / whole_us);
}
