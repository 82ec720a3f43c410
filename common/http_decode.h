/* SPDX-License-Identifier: MIT
 * Turns the bytes of a head that http_head_scan() passed into a struct http_head, with http-parser. The only
 * file that includes http_parser.h is http_decode.c; the rest of the program sees this. */
#ifndef HOLDFAST_COMMON_HTTP_DECODE_H
#define HOLDFAST_COMMON_HTTP_DECODE_H

#include "common/compiler.h"
#include "common/http_head.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

/* The fields that the proxy itself must know; everything else is HTTP_FIELD_OTHER. */
enum http_field_id {
    HTTP_FIELD_OTHER,
    HTTP_FIELD_CONNECTION,
    HTTP_FIELD_CONTENT_LENGTH,
    HTTP_FIELD_CONTENT_TYPE,
    HTTP_FIELD_DATE,
    HTTP_FIELD_EXPECT,
    HTTP_FIELD_FORWARDED,
    HTTP_FIELD_HOST,
    HTTP_FIELD_KEEP_ALIVE,
    HTTP_FIELD_MAX_FORWARDS,
    HTTP_FIELD_PROXY_CONNECTION,
    HTTP_FIELD_TE,
    HTTP_FIELD_TRACEPARENT,
    HTTP_FIELD_TRACESTATE,
    HTTP_FIELD_TRAILER,
    HTTP_FIELD_TRANSFER_ENCODING,
    HTTP_FIELD_UPGRADE,
    HTTP_FIELD_VIA,
    HTTP_FIELD_X_FORWARDED_FOR,
    HTTP_FIELD_X_FORWARDED_HOST,
    HTTP_FIELD_X_FORWARDED_PROTO,
    HTTP_FIELD_X_REQUEST_ID,
    HTTP_FIELD_IDS
};

struct http_field {
    struct slice name;  /* as sent */
    struct slice value; /* without the white space around it (RFC 9110, 5.5) */
    enum http_field_id id;
};

/* A decoded head. All slices point into the bytes it was decoded from. */
struct http_head {
    enum http_kind kind;
    unsigned version_minor; /* HTTP/1.0 or HTTP/1.1 */
    struct slice method;    /* requests: as sent, known to http-parser */
    struct slice target;    /* requests: as sent */
    unsigned status;        /* responses: 100 to 599 */
    struct slice reason;    /* responses: may be empty */
    bool keep_alive;   /* what version and Connection say of persistence (RFC 9112, 9.3), framing apart */
    uint32_t seen_ids; /* bit ID is set when a field of that id (not OTHER) is present */
    size_t field_count;
    struct http_field fields[HTTP_FIELDS_MAX];
};

/* Decodes LENGTH bytes at BYTES: exactly one head, from its start line to its last empty line, that
 * http_head_scan() found whole and well-formed. Fills HEAD and returns NULL, or returns the offence that
 * http-parser sees in it (a method it does not know is 501). Any thread; allocates nothing. */
must_check const struct http_offence *http_decode(struct http_head *head, enum http_kind kind,
                                                  const char *bytes, size_t length);

/* The id of a field called NAME, letters compared without case. */
enum http_field_id http_field_id_of(struct slice name);

/* The first field of HEAD with id ID, or NULL. */
const struct http_field *http_head_find(const struct http_head *head, enum http_field_id id);

/* Whether TOKEN is a member of the comma-separated list LIST (RFC 9110, 5.6.1), letters compared without
 * case; a member's parameters (";q=0.5") are left out of the comparison. */
bool http_list_has(struct slice list, struct slice token);

/* The same over all fields of HEAD with id ID, which together are one list (RFC 9110, 5.3). */
bool http_head_list_has(const struct http_head *head, enum http_field_id id, struct slice token);

/* Steps through the members of a comma-separated list: sets *MEMBER_ to the next one that is not empty,
 * without the white space around it, and shortens *REST. False at the end. Quoted strings are respected. */
bool http_list_next(struct slice *rest, struct slice *member_);

#endif
