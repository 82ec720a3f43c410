/* SPDX-License-Identifier: MIT
 * The format wants all samples of a family in one place, so one backend's numbers are spread over the whole
 * text. That they agree with each other all the same, everything is read first, each page of the ledger once
 * under its lock, and written afterwards.
 *
 * A counter that goes back looks like a restart to whoever reads it: all that it has counted would be added
 * once more. So `attempts_total` is not the ledger's `attempts`, from which an attempt is taken back when its
 * client went away, but the sum of the outcomes, which only grows. */
#include "healthd/metrics.h"

#include "common/clock.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

/* The bounds of the latency's buckets are powers of two, in nanoseconds: there the ledger's histogram has an
 * edge, so that the counts are exact. From 0.26 ms to 68.7 s. */
enum { LATENCY_BIT_MIN = 18, LATENCY_BIT_MAX = 36 };

enum { LABEL_BYTES = 2 * CONFIG_NAME_BYTES };

/* One backend as it was read. */
struct member {
    char label[LABEL_BYTES]; /* its name, escaped */
    struct ledger_page page;
    uint64_t up;
    uint64_t attempts_ended;
    uint64_t max_in_flight;
    uint64_t causes[EVIDENCE_CAUSES];
};

struct reading {
    int64_t uptime_ns;
    struct admin_gauges gauges;
    struct traffic_totals totals;
    bool all_ejected;
    size_t count;
    struct member members[];
};

/* A sample that a family has for each backend: where its number, a uint64_t, stands in struct member, and the
 * value of the family's label. */
struct column {
    const char *label_value;
    size_t offset;
};

/* A family with samples for each backend. */
struct table {
    const char *name, *type, *help;
    const char *label; /* beside `backend`; NULL: none, and one column */
    size_t count;
    struct column columns[4];
};

#define MEMBER(field) offsetof(struct member, field)

static const struct table tables[] = {
    {"backend_up", "gauge", "Whether the backend is in rotation.", NULL, 1, {{NULL, MEMBER(up)}}},
    {"backend_attempts_total",
     "counter",
     "Attempts that have ended, with any outcome.",
     NULL,
     1,
     {{NULL, MEMBER(attempts_ended)}}},
    {"backend_responses_total",
     "counter",
     "Whole, well-formed responses, by status.",
     "result",
     2,
     {{"200", MEMBER(page.status_200)}, {"other", MEMBER(page.non_200)}}},
    {"backend_errors_total",
     "counter",
     "Attempts that brought no usable response.",
     "kind",
     4,
     {{"connect", MEMBER(page.error_connect)},
      {"timeout", MEMBER(page.error_timeout)},
      {"reset", MEMBER(page.error_reset)},
      {"protocol", MEMBER(page.error_protocol)}}},
    {"backend_request_faults_total",
     "counter",
     "Responses with a failing status that was charged to the request.",
     NULL,
     1,
     {{NULL, MEMBER(page.request_faults)}}},
    {"backend_failures",
     "gauge",
     "Failures that count toward ejection.",
     NULL,
     1,
     {{NULL, MEMBER(page.failures)}}},
    {"backend_ejections_total",
     "counter",
     "Times the backend was ejected.",
     NULL,
     1,
     {{NULL, MEMBER(page.ejections)}}},
    {"backend_in_flight", "gauge", "Attempts right now.", NULL, 1, {{NULL, MEMBER(page.in_flight)}}},
    {"backend_max_in_flight",
     "gauge",
     "The limit of attempts at one time; 0: none.",
     NULL,
     1,
     {{NULL, MEMBER(max_in_flight)}}},
};

enum { TABLES = sizeof tables / sizeof tables[0] };

/* Writes NAME to LABEL_ as the format wants the value of a label. */
static void escape_label(const char *name, char label_[static LABEL_BYTES])
{
    size_t length = 0;
    for (; *name != '\0'; name++) {
        if (*name == '\\' || *name == '"' || *name == '\n') {
            label_[length++] = '\\';
        }
        label_[length++] = *name == '\n' ? 'n' : *name;
    }
    label_[length] = '\0';
}

static void read_member(const struct admin_context *context, size_t index, struct member *member_)
{
    const struct config_backend *backend = &context->plan->config.backends[index];
    const uint32_t slot = context->plan->slots[index];
    escape_label(backend->name, member_->label);
    ledger_read(context->ledger, slot, &member_->page);
    const struct ledger_page *page = &member_->page;
    member_->up = page->state == BACKEND_UP ? 1 : 0;
    member_->attempts_ended = page->status_200 + page->non_200 + page->error_connect + page->error_timeout +
                              page->error_reset + page->error_protocol;
    member_->max_in_flight = backend->max_in_flight;
    struct evidence_page evidence;
    evidence_read(context->evidence, slot, &evidence);
    for (size_t i = 0; i < EVIDENCE_CAUSES; i++) {
        member_->causes[i] = evidence.counts[i];
    }
}

/* Reads all there is to tell; NULL without memory. */
static struct reading *read_all(const struct admin_context *context)
{
    const size_t count = context->plan->config.backend_count;
    struct reading *r = calloc(1, sizeof *r + count * sizeof r->members[0]);
    if (r == NULL) {
        return NULL;
    }
    r->uptime_ns = clock_mono() - context->started_ns;
    context->gauges(context->owner, &r->gauges);
    traffic_read(context->traffic, &r->totals);
    r->count = count;
    r->all_ejected = true;
    for (size_t i = 0; i < count; i++) {
        read_member(context, i, &r->members[i]);
        r->all_ejected = r->all_ejected && r->members[i].page.state != BACKEND_UP;
    }
    return r;
}

static void put_family(FILE *out, const char *name, const char *type, const char *help)
{
    fprintf(out, "# HELP holdfast_%s %s\n# TYPE holdfast_%s %s\n", name, help, name, type);
}

/* A family of one sample. */
static void put_alone(FILE *out, const char *name, const char *type, const char *help, uint64_t value)
{
    put_family(out, name, type, help);
    fprintf(out, "holdfast_%s %" PRIu64 "\n", name, value);
}

static void put_labelled(FILE *out, const char *name, const char *label, const char *label_value,
                         uint64_t value)
{
    fprintf(out, "holdfast_%s{%s=\"%s\"} %" PRIu64 "\n", name, label, label_value, value);
}

/* The same for a backend; LABEL may be NULL. */
static void put_of_member(FILE *out, const char *name, const struct member *member, const char *label,
                          const char *label_value, uint64_t value)
{
    fprintf(out, "holdfast_%s{backend=\"%s\"", name, member->label);
    if (label != NULL) {
        fprintf(out, ",%s=\"%s\"", label, label_value);
    }
    fprintf(out, "} %" PRIu64 "\n", value);
}

/* A duration in seconds, with all its digits. */
static void put_seconds(FILE *out, uint64_t ns)
{
    const uint64_t second = NS_PER_S;
    fprintf(out, "%" PRIu64 ".%09" PRIu64, ns / second, ns % second);
}

static void put_program(FILE *out, const struct reading *r)
{
    put_family(out, "build_info", "gauge", "The version of the program; always 1.");
    put_labelled(out, "build_info", "version", HOLDFAST_VERSION, 1);
    put_family(out, "uptime_seconds", "gauge", "Time since start.");
    fputs("holdfast_uptime_seconds ", out);
    put_seconds(out, (uint64_t)r->uptime_ns);
    fputs("\n", out);
    put_alone(out, "ready", "gauge", "Whether it is fit for traffic; 0 while draining.",
              r->gauges.ready ? 1 : 0);
    put_alone(out, "all_ejected", "gauge", "Whether no backend is in rotation.", r->all_ejected ? 1 : 0);
}

static void put_requests(FILE *out, const struct traffic_totals *totals)
{
    put_family(out, "requests_total", "counter", "Requests that were answered, by class of status.");
    put_labelled(out, "requests_total", "code", "2xx", totals->status_2xx);
    put_labelled(out, "requests_total", "code", "3xx", totals->status_3xx);
    put_labelled(out, "requests_total", "code", "4xx", totals->status_4xx);
    put_labelled(out, "requests_total", "code", "5xx", totals->status_5xx);
    put_alone(out, "requests_retried_total", "counter", "Requests that needed more than one attempt.",
              totals->retried);
    put_alone(out, "requests_rescued_total", "counter",
              "Requests that were answered 200 after at least one failed attempt.", totals->rescued);
    put_alone(out, "requests_unmasked_total", "counter",
              "Requests whose response broke when a part of it had gone to the client.",
              totals->notes[TRAFFIC_UNMASKED]);
    put_alone(out, "request_faults_total", "counter",
              "Requests that were answered with a failing status which was charged to themselves.",
              totals->notes[TRAFFIC_REQUEST_FAULTS]);
}

static void put_capacity(FILE *out, const struct admin_gauges *gauges)
{
    put_family(out, "connections", "gauge", "Open client connections.");
    put_labelled(out, "connections", "state", "active", gauges->connections_active);
    put_labelled(out, "connections", "state", "idle", gauges->connections_idle);
    put_alone(out, "connections_accepted_total", "counter", "Client connections accepted since start.",
              gauges->connections_accepted);
    put_alone(out, "workers", "gauge", "Worker threads.", gauges->workers_total);
    put_alone(out, "workers_busy", "gauge", "Worker threads that serve a connection right now.",
              gauges->workers_busy);
}

static void put_overload(FILE *out, const struct reading *r)
{
    const uint64_t *notes = r->totals.notes;
    put_alone(out, "overload_waiting", "gauge", "Requests that wait right now for a place on a backend.",
              r->gauges.queue_waiting);
    put_alone(out, "overload_waited_total", "counter", "Requests that had to wait for a place on a backend.",
              notes[TRAFFIC_WAITED]);
    put_alone(out, "overload_backends_full_total", "counter",
              "Requests for which no place on a backend became free in time.", notes[TRAFFIC_BACKENDS_FULL]);
    put_alone(out, "overload_workers_busy_total", "counter",
              "Requests for which no worker became free in time.", notes[TRAFFIC_WORKERS_BUSY]);
    put_alone(out, "overload_retries_denied_total", "counter",
              "Requests that failed and were not sent again, for the budget was spent.",
              notes[TRAFFIC_RETRIES_DENIED]);
}

static void put_access_log(FILE *out, const struct admin_gauges *gauges)
{
    put_alone(out, "access_log_lines_total", "counter", "Lines of the access log since start.",
              gauges->access_log_lines);
    put_alone(out, "access_log_dropped_total", "counter", "Lines of the access log that were lost.",
              gauges->access_log_dropped);
}

static void put_table(FILE *out, const struct reading *r, const struct table *table)
{
    put_family(out, table->name, table->type, table->help);
    for (size_t i = 0; i < r->count; i++) {
        for (size_t c = 0; c < table->count; c++) {
            const struct column *column = &table->columns[c];
            uint64_t value;
            memcpy(&value, (const char *)&r->members[i] + column->offset, sizeof value);
            put_of_member(out, table->name, &r->members[i], table->label, column->label_value, value);
        }
    }
}

static void put_states(FILE *out, const struct reading *r)
{
    put_family(out, "backend_state", "gauge", "The state of the backend: 1 for that one, 0 for the others.");
    for (size_t i = 0; i < r->count; i++) {
        for (int state = BACKEND_UP; state <= BACKEND_DRAINING; state++) {
            put_of_member(out, "backend_state", &r->members[i], "state",
                          backend_state_name((enum backend_state)state),
                          (int)r->members[i].page.state == state ? 1 : 0);
        }
    }
}

static void put_causes(FILE *out, const struct reading *r)
{
    put_family(out, "backend_failure_causes_total", "counter", "Failures of the backend, by their cause.");
    for (size_t i = 0; i < r->count; i++) {
        for (int cause = 0; cause < EVIDENCE_CAUSES; cause++) {
            put_of_member(out, "backend_failure_causes_total", &r->members[i], "cause",
                          evidence_cause_name((enum evidence_cause)cause), r->members[i].causes[cause]);
        }
    }
}

static void put_latency(FILE *out, const struct member *m)
{
    const struct histogram *h = &m->page.latency;
    for (unsigned bit = LATENCY_BIT_MIN; bit <= LATENCY_BIT_MAX; bit++) {
        fprintf(out, "holdfast_backend_latency_seconds_bucket{backend=\"%s\",le=\"", m->label);
        put_seconds(out, UINT64_C(1) << bit);
        fprintf(out, "\"} %" PRIu64 "\n", histogram_count_below(h, bit));
    }
    put_of_member(out, "backend_latency_seconds_bucket", m, "le", "+Inf", h->total);
    fprintf(out, "holdfast_backend_latency_seconds_sum{backend=\"%s\"} ", m->label);
    put_seconds(out, h->sum_ns);
    fprintf(out, "\nholdfast_backend_latency_seconds_count{backend=\"%s\"} %" PRIu64 "\n", m->label,
            h->total);
}

static void put_all(FILE *out, const struct reading *r)
{
    put_program(out, r);
    put_requests(out, &r->totals);
    put_capacity(out, &r->gauges);
    put_overload(out, r);
    put_access_log(out, &r->gauges);
    for (size_t i = 0; i < TABLES; i++) {
        put_table(out, r, &tables[i]);
    }
    put_states(out, r);
    put_causes(out, r);
    put_family(out, "backend_latency_seconds", "histogram",
               "From the begin of an attempt to its whole response, or to the point from which it streams.");
    for (size_t i = 0; i < r->count; i++) {
        put_latency(out, &r->members[i]);
    }
}

char *metrics_text(const struct admin_context *context)
{
    struct reading *r = read_all(context);
    char *text = NULL;
    size_t length;
    FILE *out = r == NULL ? NULL : open_memstream(&text, &length);
    if (out != NULL) {
        put_all(out, r);
        bool good = ferror(out) == 0;
        if (fclose(out) != 0 || !good) {
            free(text);
            text = NULL;
        }
    }
    free(r);
    return text;
}
