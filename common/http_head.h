/* SPDX-License-Identifier: MIT
 * The strict look at the raw bytes of a message head, before any parser sees them. http-parser is lenient:
 * what it lets through (bare LF, obs-fold, white space before a colon, control bytes ...) could make Holdfast
 * and a backend disagree about where a message ends. Pure functions: no sockets, no allocation, no state but
 * the caller's. Source: RFC 9112 sections 2.2, 3, 4, 5; RFC 9110 sections 5.5, 5.6. */
#ifndef HOLDFAST_COMMON_HTTP_HEAD_H
#define HOLDFAST_COMMON_HTTP_HEAD_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>

enum http_kind { HTTP_KIND_REQUEST, HTTP_KIND_RESPONSE };

/* Why a message was refused. A static struct: never freed, compared by pointer. */
struct http_offence {
    int status;       /* what the client is told: 400, 414, 431, 501, 505 ...; 502 is implied for responses */
    const char *name; /* snake_case, stable, for logs and tests: "bare_lf" */
    const char *reason; /* a short sentence for people */
};

/* Where a scan stands between two calls; {.kind = ..., .limit_bytes = ...} to begin. */
struct http_head_scan {
    enum http_kind kind;
    size_t limit_bytes; /* the head, its last empty line included, may be this long */
    size_t start;       /* offset of the first byte of the start line: behind tolerated empty lines */
    size_t line;        /* offset of the line being read */
    size_t seen;        /* bytes looked at so far */
    unsigned lines;     /* complete lines so far, the start line included */
};

enum http_head_progress {
    HTTP_HEAD_MORE, /* not whole yet: call again with more bytes behind the same ones */
    HTTP_HEAD_DONE, /* whole and well-formed: it ends at offset scan->seen */
    HTTP_HEAD_BAD,  /* refused: *offence_ says why */
};

enum { HTTP_FIELDS_MAX = 128 }; /* field lines in one head; more are refused with 431 */

/* Looks at LENGTH bytes at BYTES, which begin with those of earlier calls on the same SCAN (nothing is looked
 * at twice but the unfinished line). Each line is judged as soon as it is complete, so that a bad one is
 * refused before the rest has come. For requests, empty lines (CRLF) before the start line are skipped, 8 at
 * the most (RFC 9112, 2.2). Writes *OFFENCE_ on HTTP_HEAD_BAD only. */
must_check enum http_head_progress http_head_scan(struct http_head_scan *scan, const char *bytes,
                                                  size_t length, const struct http_offence **offence_);

/* Judges LENGTH bytes at LINE, one field line without its CR LF, as the scan does (not the first one of a
 * head). Returns NULL or the offence. For trailers. */
must_check const struct http_offence *http_field_line_check(const char *line, size_t length);

/* Whether BYTE may stand in a token (RFC 9110, 5.6.2). */
bool http_is_tchar(unsigned char byte);

/* Whether BYTE may stand in a field value: visible, SP, HTAB or obs-text (RFC 9110, 5.5). */
bool http_is_field_byte(unsigned char byte);

#endif
