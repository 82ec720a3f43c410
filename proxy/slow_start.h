/* SPDX-License-Identifier: MIT
 * A backend that has just come back is given little at first, and more as time goes by: its caches are cold,
 * its pools are empty. Pure. */
#ifndef HOLDFAST_PROXY_SLOW_START_H
#define HOLDFAST_PROXY_SLOW_START_H

#include "common/clock.h"

#include <stdint.h>

enum { SLOW_START_FULL = 1024, SLOW_START_LEAST = 102 /* a tenth */ };

/* The share of its weight, in parts of SLOW_START_FULL, that a backend has at NOW, which came back at SINCE
 * (0: it has never been away): grows evenly from SLOW_START_LEAST to all of it in SLOW_START_MS (0: at once).
 */
int32_t slow_start_share(mono_ns since, mono_ns now, uint32_t slow_start_ms);

#endif
