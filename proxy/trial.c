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

static void log_ejection(const char *backend, const struct attempt_outcome *outcome)
{
    char text[16] = "";
    struct writer w = {.at = text, .capacity = sizeof text};
    writer_put_number(&w, outcome->status);
    const struct plog_pair pairs[] = {
        {"backend", slice_of(backend)},
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
        {"backend", slice_of(plan_backend(t->plan, t->last.ticket.backend)->name)},
        {"failure", slice_of(end_name(outcome->end))},
        {"offence", slice_of(offence != NULL ? offence->name : "-")},
        {"method", a->request->head.method},
        {"target", a->request->head.target},
        {NULL, {NULL, 0}},
    };
    plog_pairs(CONFIG_LOG_DEBUG, "attempt failed", pairs);
}

/* What evidence is kept of an attempt of the request in A, but for what the attempt alone tells. */
static struct evidence_note note_of(const struct attempt *a, const struct attempt_ticket *ticket)
{
    return (struct evidence_note){
        .method = a->request->head.method,
        .path = cause_path(a->request->head.target),
        .request_id = {a->identity.request_id, a->identity.request_id_length},
        .epoch = ticket->epoch,
    };
}

/* Keeps the failure OUTCOME, which EJECTED the backend or not, as evidence. */
static void keep_evidence(const struct trial *t, const struct attempt *a,
                          const struct attempt_outcome *outcome, bool ejected)
{
    struct cause_detail detail = {
        .connect_error = a->connect_error,
        .empty = a->empty,
        .reset = a->response->reset,
    };
    struct evidence_note note = note_of(a, &t->last.ticket);
    note.cause = cause_of(outcome, &detail);
    note.status = outcome->end == ATTEMPT_ANSWERED ? outcome->status : 0;
    note.attempt = t->last.number;
    note.duration_ns = clock_mono() - t->last.begun;
    note.ejected = ejected;
    evidence_keep(t->proxy->evidence, t->last.ticket.backend, &note);
}

/* Remembers the failing status OUTCOME, which the last attempt ended with, until the request is decided. */
static void put_off(struct trial *t, const struct attempt_outcome *outcome)
{
    MUST(t->undecided_count < CONFIG_BACKENDS_MAX);
    t->undecided[t->undecided_count++] = (struct trial_charge){
        .ticket = t->last.ticket,
        .plan = t->plan,
        .status = outcome->status,
        .attempt = t->last.number,
        .duration_ns = clock_mono() - t->last.begun,
    };
}

/* Writes the end of the last attempt into the ledger, the evidence and the log. */
static void record(struct trial *t, const struct attempt *a, const struct attempt_outcome *outcome)
{
    if (outcome->failure) {
        t->failures++;
        log_failure(t, a, outcome);
    }
    bool ejected = ledger_end(t->proxy->ledger, &t->last.ticket, outcome);
    queue_freed(&t->proxy->queue, t->last.ticket.backend);
    if (outcome->undecided) {
        put_off(t, outcome);
    } else if (outcome->failure) {
        keep_evidence(t, a, outcome, ejected);
    }
    if (ejected) {
        log_ejection(plan_backend(t->plan, t->last.ticket.backend)->name, outcome);
    }
}

/* The failing status C is its backend's fault. */
static void charge(const struct trial *t, const struct attempt *a, const struct trial_charge *c)
{
    struct attempt_outcome outcome = {.end = ATTEMPT_ANSWERED, .status = c->status, .failure = true};
    struct cause_detail none = {.connect_error = 0};
    struct evidence_note note = note_of(a, &c->ticket);
    note.cause = cause_of(&outcome, &none);
    note.status = c->status;
    note.attempt = c->attempt;
    note.duration_ns = c->duration_ns;
    note.ejected = ledger_charge(t->proxy->ledger, &c->ticket);
    evidence_keep(t->proxy->evidence, c->ticket.backend, &note);
    if (note.ejected) {
        log_ejection(plan_backend(c->plan, c->ticket.backend)->name, &outcome);
    }
}

bool trial_decide(struct trial *t, const struct attempt *a, bool good, bool all_asked)
{
    struct verdict_opinions opinions = {
        .answers = t->undecided_count,
        .good = good,
        .all_asked = all_asked,
        .given_up = a->client_gone,
    };
    for (uint32_t i = 1; i < t->undecided_count; i++) {
        opinions.disagree = opinions.disagree || t->undecided[i].status != t->undecided[0].status;
    }
    bool requests_fault = t->undecided_count > 0 && verdict_is_requests_fault(&opinions);
    for (uint32_t i = 0; i < t->undecided_count; i++) {
        if (requests_fault) {
            ledger_excuse(t->proxy->ledger, &t->undecided[i].ticket);
        } else {
            charge(t, a, &t->undecided[i]);
        }
    }
    t->undecided_count = 0;
    return requests_fault;
}

void trial_begin(struct trial *t, const struct attempt_ticket *ticket, mono_ns now)
{
    t->attempts++;
    t->last = (struct trial_entry){.ticket = *ticket, .begun = now, .number = t->attempts};
}

void trial_pick(struct trial *t, const struct trial_entry *entry)
{
    t->last = *entry;
}

/* Copies what fits of TEXT to KEPT. How much that is. */
static uint32_t keep(char *kept, size_t size, struct slice text)
{
    size_t length = text.length < size ? text.length : size;
    memcpy(kept, text.at, length);
    return (uint32_t)length;
}

void trial_make_late(const struct trial *t, const struct attempt *a, const struct trial_entry *entry,
                     struct trial_late *late_)
{
    struct evidence_note note = note_of(a, &entry->ticket);
    *late_ = (struct trial_late){.proxy = t->proxy, .entry = *entry};
    memcpy(late_->backend, plan_backend(t->plan, entry->ticket.backend)->name, sizeof late_->backend);
    late_->method_bytes = keep(late_->method, sizeof late_->method, note.method);
    late_->path_bytes = keep(late_->path, sizeof late_->path, note.path);
    late_->request_id_bytes = keep(late_->request_id, sizeof late_->request_id, note.request_id);
}

static void log_late(const struct trial_late *late, const struct attempt_outcome *outcome)
{
    if (!plog_enabled(CONFIG_LOG_DEBUG)) {
        return;
    }
    const struct plog_pair pairs[] = {
        {"backend", slice_of(late->backend)},
        {"failure", slice_of(end_name(outcome->end))},
        {"method", {late->method, late->method_bytes}},
        {"target", {late->path, late->path_bytes}},
        {NULL, {NULL, 0}},
    };
    plog_pairs(CONFIG_LOG_DEBUG, "attempt failed beside another one", pairs);
}

void trial_end_late(const struct trial_late *late, enum attempt_end end, int connect_error)
{
    const struct proxy *proxy = late->proxy;
    uint32_t backend = late->entry.ticket.backend;
    struct attempt_outcome outcome = {.end = end, .failure = end != ATTEMPT_CANCELLED};
    bool ejected = ledger_end(proxy->ledger, &late->entry.ticket, &outcome);
    queue_freed(&late->proxy->queue, backend);
    if (!outcome.failure) {
        return;
    }
    log_late(late, &outcome);
    struct cause_detail detail = {.connect_error = connect_error};
    struct evidence_note note = {
        .cause = cause_of(&outcome, &detail),
        .method = {late->method, late->method_bytes},
        .path = {late->path, late->path_bytes},
        .request_id = {late->request_id, late->request_id_bytes},
        .attempt = late->entry.number,
        .duration_ns = clock_mono() - late->entry.begun,
        .ejected = ejected,
        .epoch = late->entry.ticket.epoch,
    };
    evidence_keep(proxy->evidence, backend, &note);
    if (ejected) {
        log_ejection(late->backend, &outcome);
    }
}

void trial_end_beside(struct trial *t, const struct attempt *a, const struct trial_entry *entry,
                      enum attempt_end end, int connect_error)
{
    struct trial_late late;
    trial_make_late(t, a, entry, &late);
    trial_end_late(&late, end, connect_error);
    t->failures += end != ATTEMPT_CANCELLED;
}

bool trial_judge(struct trial *t, const struct attempt *a, enum attempt_end end)
{
    const struct response *r = a->response;
    struct attempt_outcome outcome = {.end = end, .failure = end != ATTEMPT_CANCELLED};
    if (end == ATTEMPT_ANSWERED) {
        outcome.status = r->head.status;
        outcome.failure = outcome.status != 101 && /* an upgrade that was asked for is what was wanted */
                          verdict_is_failure(t->plan->config.health.failure, outcome.status);
        outcome.undecided = outcome.failure && t->plan->config.health.blame == CONFIG_BLAME_SECOND_OPINION;
        outcome.latency_ns = clock_mono() - t->last.begun;
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

void trial_abandon(struct trial *t)
{
    struct attempt_outcome outcome = {.end = ATTEMPT_CANCELLED};
    ledger_end(t->proxy->ledger, &t->last.ticket, &outcome);
    queue_freed(&t->proxy->queue, t->last.ticket.backend);
}
