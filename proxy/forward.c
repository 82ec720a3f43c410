/* SPDX-License-Identifier: MIT */
#include "proxy/forward.h"

/* Fields that are this connection's own business, or that are written anew below. */
#define BIT(id) (UINT32_C(1) << (id))
static const uint32_t hop_by_hop = BIT(HTTP_FIELD_CONNECTION) | BIT(HTTP_FIELD_KEEP_ALIVE) |
                                   BIT(HTTP_FIELD_PROXY_CONNECTION) | BIT(HTTP_FIELD_TE) |
                                   BIT(HTTP_FIELD_TRAILER) | BIT(HTTP_FIELD_TRANSFER_ENCODING) |
                                   BIT(HTTP_FIELD_UPGRADE);
static const uint32_t rewritten_in_requests =
    BIT(HTTP_FIELD_HOST) | BIT(HTTP_FIELD_CONTENT_LENGTH) | BIT(HTTP_FIELD_EXPECT) |
    BIT(HTTP_FIELD_X_FORWARDED_FOR) | BIT(HTTP_FIELD_X_FORWARDED_HOST) | BIT(HTTP_FIELD_X_FORWARDED_PROTO);

/* Whether HEAD's Connection names fields of its own (RFC 9110, 7.6.1), which must then be left out too. */
static bool connection_names_fields(const struct http_head *head)
{
    if ((head->seen_ids & BIT(HTTP_FIELD_CONNECTION)) == 0) {
        return false;
    }
    for (size_t i = 0; i < head->field_count; i++) {
        struct slice rest = head->fields[i].value;
        struct slice member;
        while (head->fields[i].id == HTTP_FIELD_CONNECTION && http_list_next(&rest, &member)) {
            if (!slice_equal_nocase(member, SLICE("close")) &&
                !slice_equal_nocase(member, SLICE("keep-alive"))) {
                return true;
            }
        }
    }
    return false;
}

/* Copies the end-to-end fields of HEAD, those whose bit is in LEFT_OUT excepted. */
static void put_end_to_end(struct writer *w, const struct http_head *head, uint32_t left_out)
{
    bool named = connection_names_fields(head);
    for (size_t i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        if (field->id != HTTP_FIELD_OTHER && (left_out >> field->id & 1) != 0) {
            continue;
        }
        if (named && http_head_list_has(head, HTTP_FIELD_CONNECTION, field->name)) {
            continue;
        }
        writer_put_field(w, field->name, field->value);
    }
}

void forward_request_head(struct writer *w, const struct forward_request *request)
{
    const struct http_head *head = request->head;
    const struct http_field *host = http_head_find(head, HTTP_FIELD_HOST);
    struct slice authority = host != NULL ? host->value : (struct slice){NULL, 0};
    struct slice path = head->target;
    struct slice split_authority;
    bool absolute = http_target_split(head->target, &split_authority, &path);
    if (absolute) {
        authority = split_authority;
    }
    writer_put(w, head->method);
    writer_put(w, SLICE(" "));
    if (absolute && path.length == 0) {
        writer_put(w, slice_equal(head->method, SLICE("OPTIONS")) ? SLICE("*") : SLICE("/"));
    } else if (absolute && path.at[0] != '/') {
        writer_put(w, SLICE("/"));
    }
    writer_put(w, path);
    writer_put(w, SLICE(" HTTP/1.1\r\n"));
    writer_put_field(w, SLICE("Host"), authority.at != NULL ? authority : request->authority);
    put_end_to_end(w, head, hop_by_hop | rewritten_in_requests);
    if (request->has_body) {
        writer_put(w, SLICE("Content-Length: "));
        writer_put_number(w, request->body_bytes);
        writer_put(w, SLICE("\r\n"));
    }
    writer_put_field(w, SLICE("X-Forwarded-For"), request->client_ip);
    writer_put(w, SLICE("X-Forwarded-Proto: http\r\n"));
    if (authority.at != NULL) {
        writer_put_field(w, SLICE("X-Forwarded-Host"), authority);
    }
    writer_put(w, head->version_minor == 0 ? SLICE("Via: 1.0 holdfast\r\n\r\n")
                                           : SLICE("Via: 1.1 holdfast\r\n\r\n"));
}

void forward_response_head(struct writer *w, const struct forward_response *response)
{
    const struct http_head *head = response->head;
    writer_put(w, SLICE("HTTP/1.1 "));
    writer_put_number(w, head->status);
    writer_put(w, SLICE(" "));
    writer_put(w, head->reason);
    writer_put(w, SLICE("\r\n"));
    uint32_t left_out = hop_by_hop;
    if (response->body != FORWARD_BODY_AS_GIVEN) {
        left_out |= BIT(HTTP_FIELD_CONTENT_LENGTH);
    }
    put_end_to_end(w, head, left_out);
    if ((head->seen_ids & BIT(HTTP_FIELD_DATE)) == 0) {
        writer_put_field(w, SLICE("Date"), response->date);
    }
    writer_put(w, head->version_minor == 0 ? SLICE("Via: 1.0 holdfast\r\n") : SLICE("Via: 1.1 holdfast\r\n"));
    if (response->body == FORWARD_BODY_LENGTH) {
        writer_put(w, SLICE("Content-Length: "));
        writer_put_number(w, response->length_bytes);
        writer_put(w, SLICE("\r\n"));
    } else if (response->body == FORWARD_BODY_CHUNKED) {
        writer_put(w, SLICE("Transfer-Encoding: chunked\r\n"));
    }
    if (!response->keep_alive) {
        writer_put(w, SLICE("Connection: close\r\n"));
    } else if (response->client_minor == 0) {
        writer_put(w, SLICE("Connection: keep-alive\r\n"));
    }
    writer_put(w, SLICE("\r\n"));
}
