/* SPDX-License-Identifier: MIT
 * What is made of the attempts of one request: the verdict on each, and its end in the ledger, the evidence
 * and the log. Every attempt that ledger_begin() let begin is ended here, once. */
#ifndef HOLDFAST_PROXY_TRIAL_H
#define HOLDFAST_PROXY_TRIAL_H

#include "proxy/attempt.h"
#include "proxy/proxy.h"

/* One attempt, as it began. */
struct trial_entry {
    struct attempt_ticket ticket;
    mono_ns begun;
    uint32_t number; /* 1 for the first of its request */
};

/* All that the end of an attempt needs which lost a race and may outlast its request: values, and what lives
 * as long as the program. The ticket names a slot, which must not be given to another backend before. */
struct trial_late {
    struct proxy *proxy;
    struct trial_entry entry;
    uint32_t method_bytes, path_bytes, request_id_bytes;
    char backend[CONFIG_NAME_BYTES];
    char method[EVIDENCE_METHOD_BYTES];
    char path[EVIDENCE_PATH_BYTES];
    char request_id[EVIDENCE_REQUEST_ID_BYTES];
};

/* An attempt that ended with a failing status, while it is not known whose fault that is. */
struct trial_charge {
    struct attempt_ticket ticket;
    const struct plan *plan;
    unsigned status;
    uint32_t attempt;
    int64_t duration_ns;
};

/* One request's; all zeros but the first two and UNDECIDED to begin. */
struct trial {
    struct proxy *proxy;
    const struct plan *plan; /* names the backends that are asked from now on */
    uint32_t attempts;       /* begun */
    uint32_t failures;       /* of them, as far as is known */
    bool timed_out;          /* some attempt ran out of time */
    struct trial_entry last; /* this and what follows: of the last attempt, or of the one that was picked */
    int64_t latency_ns;
    bool open; /* its response is good so far and still streams: it ends with the delivery */
    uint32_t undecided_count;
    struct trial_charge *undecided; /* room for CONFIG_BACKENDS_MAX; with blame "every" none is used */
};

/* An attempt begins NOW, which ledger_begin() gave TICKET. */
void trial_begin(struct trial *t, const struct attempt_ticket *ticket, mono_ns now);

/* Of two attempts that raced, ENTRY's is the one that the request goes on with. The other one must end by one
 * of the next two. */
void trial_pick(struct trial *t, const struct trial_entry *entry);

/* Ends ENTRY's attempt, of the request in A, which was raced with the picked one, while the request goes on:
 * with ATTEMPT_CONNECT, for which CONNECT_ERROR says why, or with ATTEMPT_CANCELLED. Any thread, no lock
 * held. */
void trial_end_beside(struct trial *t, const struct attempt *a, const struct trial_entry *entry,
                      enum attempt_end end, int connect_error);

/* Fills *LATE_ for ENTRY's attempt, of the request in A: it must end by trial_end_late(). */
void trial_make_late(const struct trial *t, const struct attempt *a, const struct trial_entry *entry,
                     struct trial_late *late_);

/* Ends LATE's attempt, as trial_end_beside() does. Any thread, no lock held. */
void trial_end_late(const struct trial_late *late, enum attempt_end end, int connect_error);

/* Judges the attempt A, the one that began last or was picked, which ended with END. True when its response
 * is good. One that is good but streams stays open in the ledger until trial_end_stream(): it may still
 * break. Any thread, no lock held. */
must_check bool trial_judge(struct trial *t, const struct attempt *a, enum attempt_end end);

/* The request has been decided, GOOD or not: charges the failing statuses that are undecided to their
 * backends or to the request, whose head and id stand in A. ALL_ASKED: no backend is left that could have
 * been asked. Before the delivery, which may take long. True when they were charged to the request. Any
 * thread, no lock held. */
bool trial_decide(struct trial *t, const struct attempt *a, bool good, bool all_asked);

/* Ends the attempt A, which is open, when its response was delivered as it came. BROKE says how the backend
 * broke it; ATTEMPT_ANSWERED that it did not, ATTEMPT_CANCELLED that the client went away meanwhile, which is
 * not the backend's failure. */
void trial_end_stream(struct trial *t, const struct attempt *a, enum attempt_end broke);

/* Takes the last attempt back, which is pending: the client and the program no longer wait for it. */
void trial_abandon(struct trial *t);

#endif
