/* SPDX-License-Identifier: MIT
 * The stats as JSON. Keys stand in the order of docs/operations.md: jansson keeps the order in which they are
 * packed. Every page of the ledger is read once, under its lock, before anything is written, so that one
 * answer does not contradict itself: `all_ejected` is told from the same states that it shows. */
#include "healthd/admin.h"

#include "common/clock.h"
#include "common/panic.h"
#include "healthd/json_evidence.h"
#include "healthd/json_text.h"

#include <jansson.h>

static const char *failure_name(enum config_failure failure)
{
    switch (failure) {
    case CONFIG_FAILURE_NON_200:
        return "non-200";
    case CONFIG_FAILURE_NON_2XX:
        return "non-2xx";
    case CONFIG_FAILURE_5XX:
        return "5xx";
    }
    UNREACHABLE();
}

/* A counter as a JSON integer (jansson's are signed; no counter gets near 2^63). */
static json_int_t integer(uint64_t count)
{
    return (json_int_t)count;
}

/* A JSON number of VALUE, at least 0, rounded to 1/SCALE; whole ones are written without a fraction. */
static json_t *rounded(double value, int64_t scale)
{
    int64_t steps = (int64_t)(value * (double)scale + 0.5);
    return steps % scale == 0 ? json_integer(steps / scale) : json_real((double)steps / (double)scale);
}

/* A latency: to 1 us below 10 ms, to 0.1 ms from there on. More digits would be a lie: the histogram is exact
 * to a few per cent. */
static json_t *milliseconds(double ms)
{
    return rounded(ms, ms < 10 ? 1000 : 10);
}

static json_t *ejected_at(const struct ledger_page *page)
{
    if (!page->ejected_at_known) {
        return json_null();
    }
    char text[CLOCK_ISO8601_BYTES];
    clock_iso8601(page->ejected_at, text);
    return json_string(text);
}

/* One backend's object. NULL without memory, as everywhere below: json_pack() frees what "o" gave it. */
static json_t *backend_object(const struct config_backend *backend, const struct ledger_page *page)
{
    return json_pack(
        "{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:{s:I, s:I, s:I, s:I}, s:I, s:I, s:o, s:{s:o, s:o}}", "name",
        backend->name, "url", backend->url, "state", backend_state_name(page->state), "attempts",
        integer(page->attempts), "status_200", integer(page->status_200), "non_200", integer(page->non_200),
        "failures", integer(page->failures), "errors", "connect", integer(page->error_connect), "timeout",
        integer(page->error_timeout), "reset", integer(page->error_reset), "protocol",
        integer(page->error_protocol), "in_flight", integer(page->in_flight), "ejections",
        integer(page->ejections), "ejected_at", ejected_at(page), "latency_ms", "p50",
        milliseconds(page->latency_p50_ms), "p99", milliseconds(page->latency_p99_ms));
}

/* Adds where the backend in SLOT is to its OBJECT (or to none: NULL), which is freed without memory. */
static json_t *add_places(const struct admin_context *context, uint32_t slot, json_t *object)
{
    struct admin_places places = {.resolve_error = NULL};
    if (context->places != NULL) {
        context->places(context->owner, slot, &places);
    }
    json_t *list = json_array();
    bool added = list != NULL;
    for (uint32_t i = 0; i < places.addresses.count && added; i++) {
        char text[NET_TEXT_BYTES];
        net_format(&places.addresses.list[i], text);
        added = json_array_append_new(list, json_string(text)) == 0;
    }
    json_t *error = places.resolve_error == NULL ? json_null() : json_string(places.resolve_error);
    added = json_object_set_new(object, "addresses", list) == 0 && added;
    if (json_object_set_new(object, "resolve_error", error) != 0 || !added) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* The drill of the backend in SLOT, or null. */
static json_t *drill_value(const struct admin_context *context, uint32_t slot)
{
    struct drill_view view;
    if (!drill_view(context->drills, slot, &view)) {
        return json_null();
    }
    return json_pack("{s:s, s:o, s:I}", "mode", drill_mode_name(view.mode), "status",
                     view.status == 0 ? json_null() : json_integer(view.status), "remaining_ms",
                     integer(view.remaining_ms));
}

/* Adds the evidence of the backend in SLOT, whose page is PAGE, and its limit, to its OBJECT, which is freed
 * without memory. */
static json_t *add_evidence(const struct admin_context *context, uint32_t slot,
                            const struct ledger_page *ledger_page, json_t *object)
{
    struct evidence_page page;
    evidence_read(context->evidence, slot, &page);
    json_t *faults = json_integer(integer(ledger_page->request_faults));
    json_t *limit = json_integer(integer(plan_backend(context->plan, slot)->max_in_flight));
    bool added = json_object_set_new(object, "request_faults", faults) == 0;
    added = json_object_set_new(object, "max_in_flight", limit) == 0 && added;
    added = json_object_set_new(object, "drill", drill_value(context, slot)) == 0 && added;
    if (json_object_set_new(object, "evidence", evidence_object(&page)) != 0 || !added) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* The array of all backends; sets *ALL_EJECTED_ when none of them is up. */
static json_t *backends_array(const struct admin_context *context, bool with_evidence, bool *all_ejected_)
{
    json_t *array = json_array();
    *all_ejected_ = true;
    for (size_t i = 0; i < context->plan->config.backend_count; i++) {
        uint32_t slot = context->plan->slots[i];
        struct ledger_page page;
        ledger_read(context->ledger, slot, &page);
        if (page.state == BACKEND_UP) {
            *all_ejected_ = false;
        }
        json_t *object = backend_object(&context->plan->config.backends[i], &page);
        if (with_evidence) {
            object = add_evidence(context, slot, &page, add_places(context, slot, object));
        }
        if (json_array_append_new(array, object) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

char *stats_backend_json(const struct admin_context *context, uint32_t slot)
{
    struct ledger_page page;
    ledger_read(context->ledger, slot, &page);
    json_t *object = backend_object(plan_backend(context->plan, slot), &page);
    if (context->drills != NULL && json_object_set_new(object, "drill", drill_value(context, slot)) != 0) {
        json_decref(object);
        object = NULL;
    }
    return json_text(object);
}

static json_t *policy_object(const struct config *config)
{
    bool probes = config->health.readmit == CONFIG_READMIT_PROBE;
    return json_pack("{s:s, s:I, s:I, s:s}", "failure", failure_name(config->health.failure), "eject_after",
                     integer(config->health.eject_after), "window_ms", integer(config->health.window_ms),
                     "readmit", probes ? "probe" : "manual");
}

static json_t *requests_object(const struct traffic_totals *totals, bool with_evidence)
{
    json_t *object =
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "total", integer(totals->total), "status_2xx",
                  integer(totals->status_2xx), "status_3xx", integer(totals->status_3xx), "status_4xx",
                  integer(totals->status_4xx), "status_5xx", integer(totals->status_5xx), "retried",
                  integer(totals->retried), "rescued", integer(totals->rescued));
    json_t *faults = with_evidence ? json_integer(integer(totals->notes[TRAFFIC_REQUEST_FAULTS])) : NULL;
    json_t *unmasked = with_evidence ? json_integer(integer(totals->notes[TRAFFIC_UNMASKED])) : NULL;
    if (with_evidence && (json_object_set_new(object, "request_faults", faults) != 0 ||
                          json_object_set_new(object, "unmasked", unmasked) != 0)) {
        json_decref(object);
        return NULL;
    }
    return object;
}

/* What overload did to requests; WAITING are in line now. */
static json_t *overload_object(const struct traffic_totals *totals, uint32_t waiting)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "waiting", integer(waiting), "waited",
                     integer(totals->notes[TRAFFIC_WAITED]), "backends_full",
                     integer(totals->notes[TRAFFIC_BACKENDS_FULL]), "workers_busy",
                     integer(totals->notes[TRAFFIC_WORKERS_BUSY]), "retries_denied",
                     integer(totals->notes[TRAFFIC_RETRIES_DENIED]));
}

static json_t *access_log_object(const struct admin_gauges *gauges)
{
    return json_pack("{s:I, s:I}", "lines", integer(gauges->access_log_lines), "dropped",
                     integer(gauges->access_log_dropped));
}

char *stats_json(const struct admin_context *context, bool with_evidence)
{
    struct admin_gauges gauges = {0};
    struct traffic_totals totals;
    traffic_read(context->traffic, &totals);
    context->gauges(context->owner, &gauges);
    double uptime_seconds = (double)(clock_mono() - context->started_ns) / (double)NS_PER_S;
    bool all_ejected;
    json_t *backends = backends_array(context, with_evidence, &all_ejected);
    json_t *root =
        json_pack("{s:s, s:o, s:b, s:b, s:o, s:o, s:{s:I, s:I, s:I}, s:{s:I, s:I}, s:o}", "version",
                  HOLDFAST_VERSION, "uptime_seconds", rounded(uptime_seconds, 1000), "ready",
                  gauges.ready ? 1 : 0, "all_ejected", all_ejected ? 1 : 0, "policy",
                  policy_object(&context->plan->config), "requests", requests_object(&totals, with_evidence),
                  "connections", "active", integer(gauges.connections_active), "idle",
                  integer(gauges.connections_idle), "accepted", integer(gauges.connections_accepted),
                  "workers", "total", integer(gauges.workers_total), "busy", integer(gauges.workers_busy),
                  "backends", backends);
    if (root != NULL && with_evidence &&
        (json_object_set_new(root, "overload", overload_object(&totals, gauges.queue_waiting)) != 0 ||
         json_object_set_new(root, "access_log", access_log_object(&gauges)) != 0)) {
        json_decref(root);
        return NULL;
    }
    return json_text(root);
}
