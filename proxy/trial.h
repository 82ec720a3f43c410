/* SPDX-License-Identifier: MIT
 * What is made of the attempts of one request: the verdict on each, and its end in the ledger, the evidence
 * and the log. Every attempt that ledger_begin() let begin is ended here, once. */
#ifndef HOLDFAST_PROXY_TRIAL_H
#define HOLDFAST_PROXY_TRIAL_H

#include "proxy/attempt.h"
#include "proxy/proxy.h"

/* One request's; all zeros but the first two to begin. */
struct trial {
    struct proxy *proxy;
    const struct plan *plan;      /* names the backends that are asked from now on */
    uint32_t attempts;            /* begun */
    uint32_t failures;            /* of them */
    bool timed_out;               /* some attempt ran out of time */
    struct attempt_ticket ticket; /* this and what follows: of the last attempt */
    mono_ns begun;
    int64_t latency_ns;
    bool open; /* its response is good so far and still streams: it ends with the delivery */
};

/* An attempt begins, which ledger_begin() gave TICKET. */
void trial_begin(struct trial *t, const struct attempt_ticket *ticket);

/* Judges the attempt A, the one that began last, which ended with END. True when its response is good. One
 * that is good but streams stays open in the ledger until trial_end_stream(): it may still break. Any thread,
 * no lock held. */
must_check bool trial_judge(struct trial *t, const struct attempt *a, enum attempt_end end);

/* Ends the attempt A, which is open, when its response was delivered as it came. BROKE says how the backend
 * broke it; ATTEMPT_ANSWERED that it did not, ATTEMPT_CANCELLED that the client went away meanwhile, which is
 * not the backend's failure. */
void trial_end_stream(struct trial *t, const struct attempt *a, enum attempt_end broke);

#endif
