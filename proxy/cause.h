/* SPDX-License-Identifier: MIT
 * From how an attempt ended to the name of its cause, for the evidence. Pure. */
#ifndef HOLDFAST_PROXY_CAUSE_H
#define HOLDFAST_PROXY_CAUSE_H

#include "common/slice.h"
#include "healthd/evidence.h"
#include "healthd/ledger.h"

#include <stdbool.h>

/* What END alone does not tell. */
struct cause_detail {
    int connect_error; /* with ATTEMPT_CONNECT: errno */
    bool empty;        /* no byte of a response had come */
    bool reset;        /* the connection did not end but was reset */
};

/* The cause of the failure OUTCOME. */
enum evidence_cause cause_of(const struct attempt_outcome *outcome, const struct cause_detail *detail);

/* TARGET, of a request, without scheme, authority and query: a query may hold what is nobody's business. */
struct slice cause_path(struct slice target);

#endif
