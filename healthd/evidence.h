/* SPDX-License-Identifier: MIT
 * What stands behind the numbers of the ledger: for each backend its last failures one by one, how often each
 * cause was seen, and the failure that ejected it. Written on failures only, under a lock of its own, so that
 * the way of a good answer does not touch it. */
#ifndef HOLDFAST_HEALTHD_EVIDENCE_H
#define HOLDFAST_HEALTHD_EVIDENCE_H

#include "common/compiler.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

enum {
    EVIDENCE_FAILURES = 20, /* kept for each backend */
    EVIDENCE_METHOD_BYTES = 16,
    EVIDENCE_PATH_BYTES = 128,
    EVIDENCE_REQUEST_ID_BYTES = 128,
};

enum evidence_cause {
    CAUSE_DNS,              /* no address of the backend's name is known */
    CAUSE_REFUSED,          /* the connection was refused */
    CAUSE_UNREACHABLE,      /* no way there */
    CAUSE_CONNECT_TIMEOUT,  /* no connection in time */
    CAUSE_RESET_FRESH,      /* a new connection was reset before the first byte of a response */
    CAUSE_CLOSED_EARLY,     /* a new connection was closed before the first byte of a response */
    CAUSE_MALFORMED,        /* what came was no well-formed response */
    CAUSE_RESPONSE_TIMEOUT, /* no usable response in time */
    CAUSE_TRUNCATED,        /* the connection ended in the middle of a response */
    CAUSE_2XX,              /* these: a status that the policy calls a failure */
    CAUSE_3XX,
    CAUSE_4XX,
    CAUSE_5XX,
    EVIDENCE_CAUSES,
};

/* A failure as it is told. */
struct evidence_note {
    enum evidence_cause cause;
    unsigned status;                       /* 0 when there was none */
    struct slice method, path, request_id; /* cut to what is kept; visible ASCII */
    uint32_t attempt;                      /* 1 for the first backend that the request was sent to */
    int64_t duration_ns;
    bool ejected; /* this one ejected the backend */
    uint64_t
        epoch; /* of the ledger, when the attempt began: what began before a reset is not kept after it */
};

/* A failure as it is kept. */
struct evidence_failure {
    struct timespec when; /* wall clock */
    enum evidence_cause cause;
    unsigned status;
    uint32_t attempt;
    int64_t duration_ns;
    uint8_t method_bytes, path_bytes, request_id_bytes;
    char method[EVIDENCE_METHOD_BYTES];
    char path[EVIDENCE_PATH_BYTES];
    char request_id[EVIDENCE_REQUEST_ID_BYTES];
};

/* A consistent copy of what is kept of one backend. */
struct evidence_page {
    uint64_t counts[EVIDENCE_CAUSES];
    struct timespec last[EVIDENCE_CAUSES]; /* of each cause; of no meaning while its count is 0 */
    uint64_t total;                        /* all failures */
    struct evidence_failure
        failures[EVIDENCE_FAILURES]; /* a ring; number N stands at N % EVIDENCE_FAILURES */
    bool has_ejected;
    struct evidence_failure ejected; /* the last one that ejected the backend */
};

struct evidence; /* opaque; lives from start to exit */

/* Makes an empty one for COUNT backends; NULL without memory. */
struct evidence *evidence_new(uint32_t count);

/* Frees E, which nobody may use any more; NULL is fine. */
void evidence_delete(struct evidence *e);

/* Keeps NOTE of BACKEND, with the time. Any thread, no lock held. */
void evidence_keep(struct evidence *e, uint32_t backend, const struct evidence_note *note);

/* Forgets all of BACKEND from before EPOCH, which ledger_reset() gave; what has come of it or of a later one
 * already stays. Any thread, no lock held. */
void evidence_reset(struct evidence *e, uint32_t backend, uint64_t epoch);

/* Copies what is kept of BACKEND. Any thread, no lock held. */
void evidence_read(struct evidence *e, uint32_t backend, struct evidence_page *page_);

/* "refused", "connect_timeout", "5xx" ... */
const char *evidence_cause_name(enum evidence_cause cause);

#endif
