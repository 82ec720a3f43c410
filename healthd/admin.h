/* SPDX-License-Identifier: MIT
 * The admin endpoint's answers: from a request's method, target and Authorization to a status and a body,
 * JSON but for the metrics and the page. Pure but for the ledger, evidence and traffic that it reads and
 * resets; admin_server.h has the sockets and the thread. */
#ifndef HOLDFAST_HEALTHD_ADMIN_H
#define HOLDFAST_HEALTHD_ADMIN_H

#include "common/net.h"
#include "common/plan.h"
#include "common/slice.h"
#include "healthd/drill.h"
#include "healthd/evidence.h"
#include "healthd/ledger.h"
#include "healthd/traffic.h"

/* What only the storey above knows; filled by a callback so that nothing here calls upward. */
struct admin_gauges {
    uint64_t connections_active;   /* open client connections that are within a request */
    uint64_t connections_idle;     /* open, between requests */
    uint64_t connections_accepted; /* since start */
    uint32_t workers_total, workers_busy;
    uint32_t queue_waiting;      /* requests that wait for a place on a backend */
    uint64_t access_log_lines;   /* that were taken in since start, and */
    uint64_t access_log_dropped; /* lines that were lost */
    bool ready;                  /* false while draining */
};

/* Where a backend is; filled by a callback for the same reason. */
struct admin_places {
    struct net_addresses addresses;
    const char *resolve_error; /* why its name did not resolve the last time, a static text; NULL: it did */
};

struct admin_context {
    struct plans *plans;
    uint32_t plan_reader;    /* the admin thread's */
    const struct plan *plan; /* of the answer at hand: what admin_answer() goes by */
    struct ledger *ledger;
    struct evidence *evidence;
    struct drills *drills; /* NULL: admin.drill is off */
    struct traffic *traffic;
    void (*gauges)(void *owner, struct admin_gauges *gauges_); /* called on the admin thread */
    /* the same; NULL: nobody knows where backends are */
    void (*places)(void *owner, uint32_t slot, struct admin_places *places_);
    void *owner;
    const char *token;  /* NULL: no token is asked for */
    int64_t started_ns; /* clock_mono() at start */
};

struct admin_request {
    struct slice method;
    struct slice target;        /* origin-form, query included */
    struct slice authorization; /* the field's value, empty when absent; these too */
    struct slice host, origin;
};

struct admin_response {
    int status;
    const char *content_type;
    const char *allow;            /* NULL, or the Allow field's value (405) */
    const char *www_authenticate; /* NULL, or the field's value (401) */
    const char *fields;           /* NULL, or further fields, each with its CRLF */
    char *body;                   /* malloc'ed; the caller frees it; NULL only when there was no memory */
    size_t body_bytes;
};

/* Answers REQUEST into *RESPONSE_ as the contract in docs/operations.md says. Comparing the token takes the
 * same time wherever it differs. HEAD is answered as GET; the caller leaves the body out. Called on the admin
 * thread. */
void admin_answer(const struct admin_context *context, const struct admin_request *request,
                  struct admin_response *response_);

/* Makes *RESPONSE_ an error of STATUS with the body {"error": NAME, "reason": REASON}, both UTF-8. Every
 * error here has this form; it is also for requests that are refused before there is a struct admin_request.
 */
void admin_refuse(int status, const char *name, const char *reason, struct admin_response *response_);

/* The stats as JSON text (malloc'ed, ends in a newline), or NULL without memory; WITH_EVIDENCE gives each
 * backend a further key, "evidence". */
char *stats_json(const struct admin_context *context, bool with_evidence);

/* The object of the backend in SLOT, in the same form, or NULL; with admin.drill on, its "drill" too. */
char *stats_backend_json(const struct admin_context *context, uint32_t slot);

#endif
