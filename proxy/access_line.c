/* SPDX-License-Identifier: MIT */
#include "proxy/access_line.h"

#include "common/panic.h"

enum { METHOD_BYTES = 32, REQUEST_ID_BYTES = 512 /* 128, each byte escaped */ };

static const char *const end_names[ACCESS_ENDS] = {
    [ACCESS_WHOLE] = "whole",
    [ACCESS_UPGRADED] = "upgraded",
    [ACCESS_CLIENT_GONE] = "client_gone",
    [ACCESS_CLIENT_SLOW] = "client_slow",
    [ACCESS_BACKEND_BROKE] = "backend_broke",
    [ACCESS_STOPPED] = "stopped",
    [ACCESS_NO_MEMORY] = "no_memory",
};

static const struct slice none = {"-", 1};

void access_line_begin(struct log_line *pairs, char text[static ACCESS_PAIRS_BYTES], bool json,
                       const struct access_entry *entry)
{
    char client[NET_TEXT_BYTES];
    struct slice method = none, target = none, version = none;
    if (entry->request != NULL && entry->request->has_head) {
        const struct http_head *head = &entry->request->head;
        method = head->method;
        target = head->target;
        version = head->version_minor == 0 ? SLICE("1.0") : SLICE("1.1");
    }
    net_format(entry->client, client);
    log_line_begin_pairs(pairs, text, ACCESS_PAIRS_BYTES, json);
    log_line_text(pairs, "client", slice_of(client));
    log_line_text_up_to(pairs, "method", method, METHOD_BYTES);
    log_line_text_up_to(pairs, "target", target, ACCESS_TARGET_BYTES);
    log_line_text(pairs, "version", version);
    log_line_number(pairs, "status", entry->status);
    log_line_text(pairs, "backend", entry->backend == NULL ? none : slice_of(entry->backend));
    log_line_number(pairs, "attempts", entry->attempts);
    log_line_text_up_to(pairs, "request_id", entry->request_id.length == 0 ? none : entry->request_id,
                        REQUEST_ID_BYTES);
}

struct slice access_line_write(char text[static ACCESS_LINE_BYTES], struct slice stamp,
                               const struct log_line *pairs, const struct access_result *result)
{
    struct log_line line;
    log_line_begin(&line, text, ACCESS_LINE_BYTES, pairs->json);
    log_line_text(&line, "time", stamp);
    log_line_pairs(&line, (struct slice){pairs->at, pairs->length});
    log_line_number(&line, "bytes", result->body_bytes);
    log_line_ms(&line, "duration_ms", result->duration_ns);
    log_line_text(&line, "end", slice_of(end_names[result->end]));
    return log_line_end(&line);
}
