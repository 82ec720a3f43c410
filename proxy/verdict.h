/* SPDX-License-Identifier: MIT
 * The verdict on a response: does its status count as a failure of the backend, and which of two failing
 * responses is the better one to show when nothing else is left. Pure. */
#ifndef HOLDFAST_PROXY_VERDICT_H
#define HOLDFAST_PROXY_VERDICT_H

#include "common/config.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* Whether STATUS (200 to 599) is a failure under POLICY. */
bool verdict_is_failure(enum config_failure policy, unsigned status);

/* How good STATUS is for a client: 2xx and 3xx before 4xx before 5xx. Larger is better. */
int verdict_rank(unsigned status);

/* Whether a request with METHOD that may have reached a backend may be sent to another one under METHODS
 * (idempotent: RFC 9110, 9.2.2). */
bool verdict_may_replay(enum config_methods methods, struct slice method);

/* What the backends that a request was sent to said of it. An answer is a well-formed response; one that is
 * not is no opinion. */
struct verdict_opinions {
    uint32_t answers; /* with a failing status */
    bool disagree;    /* not all of these have the same status */
    bool good;        /* one answered with a good status */
    bool all_asked;   /* no backend is left that could have been asked as well */
    bool given_up;    /* the client has reset its connection before it was decided */
};

/* With health.blame "second-opinion": whether the failing statuses are the request's fault, and not their
 * backends'. They are when at least two answered and all agree. When one answered alone they are only if
 * nobody else could be asked: to take out the last backend that answers would help nobody. A request that its
 * client gave up decides nothing, so no backend is charged. */
bool verdict_is_requests_fault(const struct verdict_opinions *o);

#endif
