/* SPDX-License-Identifier: MIT */
#include "proxy/trial.h"

#include "common/http_offence.h"
#include "common/log.h"
#include "common/panic.h"
#include "common/writer.h"
#include "proxy/cause.h"
#include "proxy/verdict.h"

static const char *end_name(enum attempt_end end)
{
    switch (end) {
    case ATTEMPT_ANSWERED:
        return "status";
    case ATTEMPT_CONNECT:
        return "connect";
    case ATTEMPT_TIMEOUT:
        return "timeout";
    case ATTEMPT_RESET:
        return "reset";
    case ATTEMPT_PROTOCOL:
        return "protocol";
    case ATTEMPT_CANCELLED:
        return "cancelled";
    }
    UNREACHABLE();
}

static void log_ejection(const struct config_backend *backend, const struct attempt_outcome *outcome)
{
    char text[16] = "";
    struct writer w = {.at = text, .capacity = sizeof text};
    writer_put_number(&w, outcome->status);
    const struct plog_pair pairs[] = {
        {"backend", slice_of(backend->name)},
        {"last_failure", slice_of(end_name(outcome->end))},
        {"status", {text, w.length}},
        {NULL, {NULL, 0}},
    };
    plog_pairs(CONFIG_LOG_WARN, "backend ejected: its failures went over eject_after", pairs);
}

static void log_failure(const struct trial *t, const struct attempt *a, const struct attempt_outcome *outcome)
{
    if (!plog_enabled(CONFIG_LOG_DEBUG)) {
        return;
    }
    const struct http_offence *offence = a->response->offence;
    const struct plog_pair pairs[] = {
        {"backend", slice_of(plan_backend(t->plan, t->ticket.backend)->name)},
        {"failure", slice_of(end_name(outcome->end))},
        {"offence", slice_of(offence != NULL ? offence->name : "-")},
        {"method", a->request->head.method},
        {"target", a->request->head.target},
        {NULL, {NULL, 0}},
    };
    plog_pairs(CONFIG_LOG_DEBUG, "attempt failed", pairs);
}

/* Keeps the failure OUTCOME, which EJECTED the backend or not, as evidence. */
static void keep_evidence(const struct trial *t, const struct attempt *a,
                          const struct attempt_outcome *outcome, bool ejected)
{
    const struct http_head *head = &a->request->head;
    struct cause_detail detail = {
        .connect_error = a->connect_error,
        .empty = a->empty,
        .reset = a->response->reset,
    };
    struct evidence_note note = {
        .cause = cause_of(outcome, &detail),
        .status = outcome->end == ATTEMPT_ANSWERED ? outcome->status : 0,
        .method = head->method,
        .path = cause_path(head->target),
        .request_id = {a->identity.request_id, a->identity.request_id_length},
        .attempt = t->attempts,
        .duration_ns = clock_mono() - t->begun,
        .ejected = ejected,
    };
    evidence_keep(t->proxy->evidence, t->ticket.backend, &note);
}

/* Writes the end of the last attempt into the ledger, the evidence and the log. */
static void record(struct trial *t, const struct attempt *a, const struct attempt_outcome *outcome)
{
    if (outcome->failure) {
        t->failures++;
        log_failure(t, a, outcome);
    }
    bool ejected = ledger_end(t->proxy->ledger, &t->ticket, outcome);
    queue_freed(&t->proxy->queue, t->ticket.backend);
    if (outcome->failure) {
        keep_evidence(t, a, outcome, ejected);
    }
    if (ejected) {
        log_ejection(plan_backend(t->plan, t->ticket.backend), outcome);
    }
}

void trial_begin(struct trial *t, const struct attempt_ticket *ticket)
{
    t->attempts++;
    t->ticket = *ticket;
    t->begun = clock_mono();
}

bool trial_judge(struct trial *t, const struct attempt *a, enum attempt_end end)
{
    const struct response *r = a->response;
    struct attempt_outcome outcome = {.end = end, .failure = end != ATTEMPT_CANCELLED};
    if (end == ATTEMPT_ANSWERED) {
        outcome.status = r->head.status;
        outcome.failure = outcome.status != 101 && /* an upgrade that was asked for is what was wanted */
                          verdict_is_failure(t->plan->config.health.failure, outcome.status);
        outcome.latency_ns = clock_mono() - t->begun;
        t->open = !outcome.failure && !r->whole && outcome.status != 101;
        t->latency_ns = outcome.latency_ns;
    }
    t->timed_out = t->timed_out || end == ATTEMPT_TIMEOUT;
    if (!t->open) {
        record(t, a, &outcome);
    }
    return end == ATTEMPT_ANSWERED && !outcome.failure;
}

void trial_end_stream(struct trial *t, const struct attempt *a, enum attempt_end broke)
{
    struct attempt_outcome outcome = {
        .end = broke,
        .status = a->response->head.status,
        .failure = broke != ATTEMPT_ANSWERED && broke != ATTEMPT_CANCELLED,
        .latency_ns = t->latency_ns,
    };
    record(t, a, &outcome);
    t->open = false;
}
