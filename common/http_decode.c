/* SPDX-License-Identifier: MIT
 * http-parser, behind a wall. It is lenient and no longer maintained, so it only ever sees heads that
 * http_head_scan() found well-formed, and never a byte of a body: http_framing.c and http_chunk.c decide
 * those.
 *
 * The whole head is given in one call. Then each callback comes exactly once per part, with a slice of the
 * caller's bytes: the parser splits a part only where its input is split, or at an obs-fold, which the scan
 * refuses. The callback at the end of the head returns 2, "neither body nor further messages", which makes
 * the parser stop behind the last empty line whatever Upgrade, CONNECT, Content-Length or Transfer-Encoding
 * say. */
#include "common/http_decode.h"

#include "common/http_offence.h"

#include <http_parser.h>

enum { NO_BODY_NO_MORE = 2, STOP_PARSING = -1 };

/* Whether NAME, a token, is the lower-case WANTED of letters and '-': setting bit 5 makes letters lower-case
 * and leaves '-' alone; no other byte of a token becomes one of these by it. */
static bool name_is(struct slice name, const char *wanted)
{
    for (size_t i = 0; i < name.length; ++i) {
        if ((name.at[i] | 0x20) != wanted[i]) {
            return false;
        }
    }
    return true;
}

/* WANTED in each name_is() is as long as the name: that is what the switch is for. */
enum http_field_id http_field_id_of(struct slice name)
{
    switch (name.length) {
    case 2:
        return name_is(name, "te") ? HTTP_FIELD_TE : HTTP_FIELD_OTHER;
    case 3:
        return name_is(name, "via") ? HTTP_FIELD_VIA : HTTP_FIELD_OTHER;
    case 4:
        return name_is(name, "host")   ? HTTP_FIELD_HOST
               : name_is(name, "date") ? HTTP_FIELD_DATE
                                       : HTTP_FIELD_OTHER;
    case 6:
        return name_is(name, "expect") ? HTTP_FIELD_EXPECT : HTTP_FIELD_OTHER;
    case 7:
        return name_is(name, "upgrade")   ? HTTP_FIELD_UPGRADE
               : name_is(name, "trailer") ? HTTP_FIELD_TRAILER
                                          : HTTP_FIELD_OTHER;
    case 9:
        return name_is(name, "forwarded") ? HTTP_FIELD_FORWARDED : HTTP_FIELD_OTHER;
    case 10:
        return name_is(name, "connection")   ? HTTP_FIELD_CONNECTION
               : name_is(name, "keep-alive") ? HTTP_FIELD_KEEP_ALIVE
               : name_is(name, "tracestate") ? HTTP_FIELD_TRACESTATE
                                             : HTTP_FIELD_OTHER;
    case 11:
        return name_is(name, "traceparent") ? HTTP_FIELD_TRACEPARENT : HTTP_FIELD_OTHER;
    case 12:
        return name_is(name, "content-type")   ? HTTP_FIELD_CONTENT_TYPE
               : name_is(name, "x-request-id") ? HTTP_FIELD_X_REQUEST_ID
               : name_is(name, "max-forwards") ? HTTP_FIELD_MAX_FORWARDS
                                               : HTTP_FIELD_OTHER;
    case 14:
        return name_is(name, "content-length") ? HTTP_FIELD_CONTENT_LENGTH : HTTP_FIELD_OTHER;
    case 15:
        return name_is(name, "x-forwarded-for") ? HTTP_FIELD_X_FORWARDED_FOR : HTTP_FIELD_OTHER;
    case 16:
        return name_is(name, "x-forwarded-host")   ? HTTP_FIELD_X_FORWARDED_HOST
               : name_is(name, "proxy-connection") ? HTTP_FIELD_PROXY_CONNECTION
                                                   : HTTP_FIELD_OTHER;
    case 17:
        return name_is(name, "transfer-encoding")   ? HTTP_FIELD_TRANSFER_ENCODING
               : name_is(name, "x-forwarded-proto") ? HTTP_FIELD_X_FORWARDED_PROTO
                                                    : HTTP_FIELD_OTHER;
    default:
        return HTTP_FIELD_OTHER;
    }
}

static bool is_space(char byte)
{
    return byte == ' ' || byte == '\t';
}

/* TEXT without the white space around it. */
static struct slice trimmed(struct slice text)
{
    while (text.length > 0 && is_space(text.at[0])) {
        ++text.at;
        --text.length;
    }
    while (text.length > 0 && is_space(text.at[text.length - 1])) {
        --text.length;
    }
    return text;
}

static int on_url(http_parser *parser, const char *at, size_t length)
{
    struct http_head *head = parser->data;
    head->target = (struct slice){at, length};
    return 0;
}

static int on_status(http_parser *parser, const char *at, size_t length)
{
    struct http_head *head = parser->data;
    head->reason = (struct slice){at, length};
    return 0;
}

static int on_header_field(http_parser *parser, const char *at, size_t length)
{
    struct http_head *head = parser->data;
    if (head->field_count == HTTP_FIELDS_MAX) {
        return STOP_PARSING;
    }
    struct http_field *field = &head->fields[head->field_count];
    field->name = (struct slice){at, length};
    field->id = http_field_id_of(field->name);
    return 0;
}

static int on_header_value(http_parser *parser, const char *at, size_t length)
{
    struct http_head *head = parser->data;
    struct http_field *field = &head->fields[head->field_count];
    field->value = trimmed((struct slice){at, length});
    if (field->id != HTTP_FIELD_OTHER) {
        head->seen_ids |= UINT32_C(1) << field->id;
    }
    ++head->field_count;
    return 0;
}

static int on_headers_complete(http_parser *parser)
{
    (void)parser;
    return NO_BODY_NO_MORE;
}

static bool has_seen(const struct http_head *head, enum http_field_id id)
{
    return (head->seen_ids & UINT32_C(1) << id) != 0;
}

/* What the parser's ERROR on HEAD, filled as far as it came, is called here. */
static const struct http_offence *offence_of(enum http_errno error, const struct http_head *head)
{
    switch (error) {
    case HPE_INVALID_METHOD:
        return &http_offence_unknown_method;
    case HPE_INVALID_URL:
        return &http_offence_bad_target;
    case HPE_INVALID_CONTENT_LENGTH:
        return &http_offence_bad_content_length;
    case HPE_UNEXPECTED_CONTENT_LENGTH:
        return has_seen(head, HTTP_FIELD_TRANSFER_ENCODING) ? &http_offence_length_with_coding
                                                            : &http_offence_repeated_content_length;
    case HPE_CB_header_field:
        return &http_offence_too_many_fields;
    case HPE_HEADER_OVERFLOW:
        return &http_offence_head_too_long;
    default:
        return &http_offence_parser_refused;
    }
}

/* What version and Connection say of persistence (RFC 9112, 9.3): "close" wins. */
static bool keeps_alive(const struct http_head *head)
{
    const bool by_default = head->version_minor >= 1;
    if (!has_seen(head, HTTP_FIELD_CONNECTION)) {
        return by_default;
    }
    return !http_head_list_has(head, HTTP_FIELD_CONNECTION, SLICE("close")) &&
           (by_default || http_head_list_has(head, HTTP_FIELD_CONNECTION, SLICE("keep-alive")));
}

const struct http_offence *http_decode(struct http_head *head, enum http_kind kind, const char *bytes,
                                       size_t length)
{
    static const http_parser_settings callbacks = {
        .on_url = on_url,
        .on_status = on_status,
        .on_header_field = on_header_field,
        .on_header_value = on_header_value,
        .on_headers_complete = on_headers_complete,
    };
    /* Member by member: clearing the whole array of fields would cost more than the parsing. */
    head->kind = kind;
    head->method = head->target = head->reason = (struct slice){NULL, 0};
    head->seen_ids = 0;
    head->field_count = 0;

    http_parser parser;
    http_parser_init(&parser, kind == HTTP_KIND_REQUEST ? HTTP_REQUEST : HTTP_RESPONSE);
    parser.data = head;
    const size_t parsed = http_parser_execute(&parser, &callbacks, bytes, length);
    if (HTTP_PARSER_ERRNO(&parser) != HPE_OK) {
        return offence_of(HTTP_PARSER_ERRNO(&parser), head);
    }
    /* The parser sets upgrade when it stopped behind the head because of our NO_BODY_NO_MORE. Without it, or
     * with bytes left over, it and the scan disagree about where the head ends. */
    if (parsed != length || parser.upgrade == 0) {
        return &http_offence_parser_refused;
    }
    if (kind == HTTP_KIND_REQUEST) {
        /* The parser tells a number; the text is what stands before the first space. */
        head->method = (struct slice){bytes, (size_t)(head->target.at - bytes) - 1};
    }
    head->version_minor = parser.http_minor;
    head->status = kind == HTTP_KIND_RESPONSE ? parser.status_code : 0;
    head->keep_alive = keeps_alive(head);
    return NULL;
}

const struct http_field *http_head_find(const struct http_head *head, enum http_field_id id)
{
    if (id == HTTP_FIELD_OTHER || !has_seen(head, id)) {
        return NULL;
    }
    const struct http_field *field = head->fields;
    while (field->id != id) {
        ++field;
    }
    return field;
}

bool http_list_next(struct slice *rest, struct slice *member_)
{
    const char *at = rest->at;
    const char *const end = rest->length == 0 ? at : at + rest->length;
    while (at != end && (*at == ',' || is_space(*at))) {
        ++at;
    }
    const char *const begin = at;
    bool quoted = false;
    while (at != end && (quoted || *at != ',')) {
        if (*at == '"') {
            quoted = !quoted;
        } else if (quoted && *at == '\\' && at + 1 != end) {
            ++at; /* a quoted pair: the next byte is not a quote's end */
        }
        ++at;
    }
    *rest = (struct slice){at, (size_t)(end - at)};
    if (at == begin) {
        return false;
    }
    *member_ = trimmed((struct slice){begin, (size_t)(at - begin)});
    return true;
}

bool http_list_has(struct slice list, struct slice token)
{
    struct slice member;
    while (http_list_next(&list, &member)) {
        const char *semicolon = memchr(member.at, ';', member.length);
        if (semicolon != NULL) {
            member.length = (size_t)(semicolon - member.at);
            member = trimmed(member);
        }
        if (slice_equal_nocase(member, token)) {
            return true;
        }
    }
    return false;
}

bool http_head_list_has(const struct http_head *head, enum http_field_id id, struct slice token)
{
    if (id == HTTP_FIELD_OTHER || !has_seen(head, id)) {
        return false;
    }
    for (size_t i = 0; i < head->field_count; ++i) {
        if (head->fields[i].id == id && http_list_has(head->fields[i].value, token)) {
            return true;
        }
    }
    return false;
}
