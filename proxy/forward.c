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

/* Whether a field of this NAME claims something about the client that only a trusted peer may say. */
static bool is_claim(struct slice name)
{
    static const struct slice prefix = {"x-forwarded-", 12};
    if (name.length < 9 || (name.at[0] | 0x20) != 'x') {
        return false;
    }
    return slice_equal_nocase(name, SLICE("x-real-ip")) ||
           (name.length > prefix.length &&
            slice_equal_nocase((struct slice){name.at, prefix.length}, prefix));
}

/* Whether NAME, with '-' for each '_', is a field that is written anew or that is_claim() names: backends
 * that fold both spellings into one (CGI, RFC 3875, 4.1.18; WSGI) would take it for ours. */
static bool is_disguised(struct slice name)
{
    char plain[40]; /* longer than any of those names */
    if (name.length > sizeof plain || memchr(name.at, '_', name.length) == NULL) {
        return false;
    }
    for (size_t i = 0; i < name.length; i++) {
        plain[i] = name.at[i] == '_' ? '-' : name.at[i];
    }
    struct slice folded = {plain, name.length};
    return http_field_id_of(folded) != HTTP_FIELD_OTHER || is_claim(folded);
}

bool forward_trailers_are_plain(struct slice trailers)
{
    while (trailers.length > 0) {
        const char *end = memchr(trailers.at, '\n', trailers.length);
        const char *colon = memchr(trailers.at, ':', trailers.length);
        if (end == NULL || colon == NULL || colon > end) {
            return false;
        }
        struct slice name = {trailers.at, (size_t)(colon - trailers.at)};
        if (http_field_id_of(name) != HTTP_FIELD_OTHER || is_claim(name) || is_disguised(name)) {
            return false;
        }
        trailers.length -= (size_t)(end + 1 - trailers.at);
        trailers.at = end + 1;
    }
    return true;
}

/* Whether FIELD of a request says what only Holdfast may, or only a TRUSTED peer. */
static bool is_forged(const struct http_field *field, bool trusted)
{
    return field->id == HTTP_FIELD_OTHER &&
           ((!trusted && is_claim(field->name)) || is_disguised(field->name));
}

/* Copies the end-to-end fields of HEAD, those whose bit is in LEFT_OUT excepted. */
static void put_end_to_end(struct writer *w, const struct http_head *head, uint32_t left_out, bool trusted)
{
    bool named = connection_names_fields(head);
    for (size_t i = 0; i < head->field_count; i++) {
        const struct http_field *field = &head->fields[i];
        if (field->id != HTTP_FIELD_OTHER && (left_out >> field->id & 1) != 0) {
            continue;
        }
        if (head->kind == HTTP_KIND_REQUEST && is_forged(field, trusted)) {
            continue;
        }
        if (named && field->id != HTTP_FIELD_UPGRADE && field->id != HTTP_FIELD_DATE &&
            http_head_list_has(head, HTTP_FIELD_CONNECTION, field->name)) {
            continue; /* Upgrade is named there by necessity, and left out above when it must be */
        }
        writer_put_field(w, field->name, field->value);
    }
}

uint32_t forward_hops_left(const struct http_head *head)
{
    const struct http_field *field = http_head_find(head, HTTP_FIELD_MAX_FORWARDS);
    uint64_t hops = 0;
    if (field == NULL || field->value.length == 0 || field->value.length > 9 ||
        !slice_equal(head->method, SLICE("OPTIONS"))) {
        return UINT32_MAX;
    }
    for (size_t i = 0; i < field->value.length; i++) {
        unsigned digit = (unsigned)(unsigned char)field->value.at[i] - '0';
        if (digit > 9) {
            return UINT32_MAX;
        }
        hops = hops * 10 + digit;
    }
    return (uint32_t)hops;
}

struct slice forward_upgrade_of(const struct http_head *head)
{
    static const struct slice none = {NULL, 0};
    const struct http_field *upgrade = http_head_find(head, HTTP_FIELD_UPGRADE);
    if (upgrade == NULL || head->version_minor == 0 || upgrade->value.length == 0 ||
        !http_head_list_has(head, HTTP_FIELD_CONNECTION, SLICE("upgrade")) ||
        http_head_list_has(head, HTTP_FIELD_UPGRADE, SLICE("h2c"))) {
        return none;
    }
    return upgrade->value;
}

/* The request line, with the target in origin-form. Returns the request's authority; AT is NULL when it has
 * none. */
static struct slice put_request_line(struct writer *w, const struct http_head *head)
{
    const struct http_field *host = http_head_find(head, HTTP_FIELD_HOST);
    struct slice authority = host != NULL ? host->value : (struct slice){NULL, 0};
    struct slice path = head->target;
    struct slice target_authority;
    writer_put(w, head->method);
    writer_put(w, SLICE(" "));
    if (http_target_split(head->target, &target_authority, &path)) {
        authority = target_authority;
        if (path.length == 0) {
            writer_put(w, slice_equal(head->method, SLICE("OPTIONS")) ? SLICE("*") : SLICE("/"));
        } else if (path.at[0] != '/') {
            writer_put(w, SLICE("/"));
        }
    }
    writer_put(w, path);
    writer_put(w, SLICE(" HTTP/1.1\r\n"));
    return authority;
}

static void put_length(struct writer *w, uint64_t length_bytes)
{
    writer_put(w, SLICE("Content-Length: "));
    writer_put_number(w, length_bytes);
    writer_put(w, SLICE("\r\n"));
}

void forward_request_head(struct writer *w, const struct forward_request *request)
{
    const struct http_head *head = request->head;
    struct slice authority = put_request_line(w, head);
    writer_put_field(w, SLICE("Host"), authority.at != NULL ? authority : request->authority);
    uint32_t hops_left = forward_hops_left(head);
    uint32_t rewritten = rewritten_in_requests;
    if (hops_left != UINT32_MAX) {
        rewritten |= BIT(HTTP_FIELD_MAX_FORWARDS);
        writer_put(w, SLICE("Max-Forwards: "));
        writer_put_number(w, hops_left - 1);
        writer_put(w, SLICE("\r\n"));
    }
    uint32_t kept = request->chunked ? BIT(HTTP_FIELD_TRAILER) : 0;
    put_end_to_end(w, head, (hop_by_hop | rewritten | identity_replaces(request->identity)) & ~kept,
                   request->trusted);
    if (request->chunked) {
        writer_put(w, SLICE("Transfer-Encoding: chunked\r\n"));
    } else if (request->has_body) {
        put_length(w, request->body_bytes);
    }
    if (request->te_trailers) {
        writer_put(w, SLICE("TE: trailers\r\n"));
    }
    if (request->upgrade.length > 0) {
        writer_put_field(w, SLICE("Upgrade"), request->upgrade);
        writer_put(w, request->te_trailers ? SLICE("Connection: upgrade, TE\r\n")
                                           : SLICE("Connection: upgrade\r\n"));
    } else if (request->te_trailers) {
        writer_put(w, SLICE("Connection: TE\r\n"));
    }
    identity_write(w, request->identity, head, request->client, authority, request->trusted);
    writer_put(w, head->version_minor == 0 ? SLICE("Via: 1.0 holdfast\r\n\r\n")
                                           : SLICE("Via: 1.1 holdfast\r\n\r\n"));
}

/* What a response's head says of its framing and of the connection. */
static void put_connection(struct writer *w, const struct forward_response *response)
{
    if (response->upgrade) {
        writer_put(w, SLICE("Connection: upgrade\r\n"));
        return;
    }
    if (response->head->status < 200) {
        return;
    }
    if (response->body == FORWARD_BODY_LENGTH) {
        put_length(w, response->length_bytes);
    } else if (response->body == FORWARD_BODY_CHUNKED) {
        writer_put(w, SLICE("Transfer-Encoding: chunked\r\n"));
    }
    if (!response->keep_alive) {
        writer_put(w, SLICE("Connection: close\r\n"));
    } else if (response->client_minor == 0) {
        writer_put(w, SLICE("Connection: keep-alive\r\n"));
    }
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
    if (response->keep_trailer) {
        left_out &= ~BIT(HTTP_FIELD_TRAILER);
    }
    if (response->upgrade) {
        left_out &= ~BIT(HTTP_FIELD_UPGRADE);
    }
    put_end_to_end(w, head, left_out, true);
    if ((head->seen_ids & BIT(HTTP_FIELD_DATE)) == 0 && head->status >= 200) {
        writer_put_field(w, SLICE("Date"), response->date);
    }
    writer_put(w, head->version_minor == 0 ? SLICE("Via: 1.0 holdfast\r\n") : SLICE("Via: 1.1 holdfast\r\n"));
    put_connection(w, response);
    writer_put(w, SLICE("\r\n"));
}
