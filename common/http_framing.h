/* SPDX-License-Identifier: MIT
 * Where a message ends: the one opinion of the program about it (RFC 9112, 6.3), for requests and responses,
 * and the checks on fields that decide it. Pure. */
#ifndef HOLDFAST_COMMON_HTTP_FRAMING_H
#define HOLDFAST_COMMON_HTTP_FRAMING_H

#include "common/compiler.h"
#include "common/http_decode.h"

#include <stdint.h>

enum http_body {
    HTTP_BODY_NONE,    /* no body follows */
    HTTP_BODY_LENGTH,  /* LENGTH_BYTES bytes follow (may be 0) */
    HTTP_BODY_CHUNKED, /* chunked transfer coding */
    HTTP_BODY_CLOSE,   /* responses only: all bytes until the connection closes */
};

struct http_framing {
    enum http_body body;
    uint64_t length_bytes; /* with HTTP_BODY_LENGTH; at most INT64_MAX */
};

/* Judges a request's head. Checks Host (exactly one on HTTP/1.1, at most one on HTTP/1.0, a well-formed
 * authority: RFC 9112, 3.2), Content-Length (one field, digits only, at most INT64_MAX), Transfer-Encoding
 * (not on HTTP/1.0, not with Content-Length, exactly "chunked": another coding before it is 501, no chunked
 * at the end is 400), the method (CONNECT and TRACE are 405) and the form of the target (origin-form,
 * absolute-form http, or "*" with OPTIONS; no fragment). Fills FRAMING and returns NULL, or returns the
 * offence. */
must_check const struct http_offence *http_framing_request(const struct http_head *head,
                                                           struct http_framing *framing_);

/* Judges the head of a response to a request whose method was METHOD. 1xx, 204, 304 and every answer to HEAD
 * have no body whatever their fields say; the fields are checked all the same. Transfer-Encoding on an
 * HTTP/1.0 response, together with Content-Length, or other than exactly "chunked" is refused (an attacker's
 * response splitting, not a case worth a guess). Content-Length repeated with the same value is refused too.
 */
must_check const struct http_offence *http_framing_response(const struct http_head *head, struct slice method,
                                                            struct http_framing *framing_);

/* Splits an absolute-form target "http://AUTHORITY[/PATH][?QUERY]" (RFC 9112, 3.2.2): true, with *AUTHORITY_
 * and *PATH_ ("/..." or "?..." or empty) set, or false when TARGET is not one of scheme http. User
 * information in the authority is refused (false). */
bool http_target_split(struct slice target, struct slice *authority_, struct slice *path_);

#endif
