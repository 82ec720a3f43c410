/* SPDX-License-Identifier: MIT
 * The verdict on a response: does its status count as a failure of the backend, and which of two failing
 * responses is the better one to show when nothing else is left. Pure. */
#ifndef HOLDFAST_PROXY_VERDICT_H
#define HOLDFAST_PROXY_VERDICT_H

#include "common/config.h"
#include "common/slice.h"

#include <stdbool.h>

/* Whether STATUS (200 to 599) is a failure under POLICY. */
bool verdict_is_failure(enum config_failure policy, unsigned status);

/* How good STATUS is for a client: 2xx and 3xx before 4xx before 5xx. Larger is better. */
int verdict_rank(unsigned status);

/* Whether a request with METHOD that may have reached a backend may be sent to another one under METHODS
 * (idempotent: RFC 9110, 9.2.2). */
bool verdict_may_replay(enum config_methods methods, struct slice method);

#endif
