/* SPDX-License-Identifier: MIT
 * The evidence as JSON. */
#include "healthd/json_evidence.h"

#include "common/clock.h"

static json_t *text(const char *bytes, size_t length)
{
    return json_stringn(bytes, length);
}

static json_t *when_text(struct timespec when)
{
    char written[CLOCK_ISO8601_BYTES];
    clock_iso8601(when, written);
    return json_string(written);
}

static json_t *failure_object(const struct evidence_failure *f)
{
    json_t *status = f->status == 0 ? json_null() : json_integer(f->status);
    return json_pack("{s:o, s:s, s:o, s:o, s:o, s:I, s:I, s:o}", "time", when_text(f->when), "cause",
                     evidence_cause_name(f->cause), "status", status, "method",
                     text(f->method, f->method_bytes), "path", text(f->path, f->path_bytes), "attempt",
                     (json_int_t)f->attempt, "ms", (json_int_t)(f->duration_ns / NS_PER_MS), "request_id",
                     text(f->request_id, f->request_id_bytes));
}

static json_t *causes_object(const struct evidence_page *page)
{
    json_t *causes = json_object();
    for (int i = 0; i < EVIDENCE_CAUSES; i++) {
        json_t *last = page->counts[i] == 0 ? json_null() : when_text(page->last[i]);
        json_t *cause = json_pack("{s:I, s:o}", "count", (json_int_t)page->counts[i], "last", last);
        if (json_object_set_new(causes, evidence_cause_name((enum evidence_cause)i), cause) != 0) {
            json_decref(causes);
            return NULL;
        }
    }
    return causes;
}

/* The last failures, the newest first. */
static json_t *failures_array(const struct evidence_page *page)
{
    json_t *array = json_array();
    for (uint64_t i = 0; i < EVIDENCE_FAILURES && i < page->total; i++) {
        const struct evidence_failure *f = &page->failures[(page->total - 1 - i) % EVIDENCE_FAILURES];
        if (json_array_append_new(array, failure_object(f)) != 0) {
            json_decref(array);
            return NULL;
        }
    }
    return array;
}

json_t *evidence_object(const struct evidence_page *page)
{
    json_t *ejected = page->has_ejected ? failure_object(&page->ejected) : json_null();
    return json_pack("{s:o, s:o, s:o}", "ejected_by", ejected, "causes", causes_object(page), "failures",
                     failures_array(page));
}
