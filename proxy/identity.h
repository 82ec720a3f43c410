/* SPDX-License-Identifier: MIT
 * Who asks, and which request this is: the fields by which backends and logs know the client and follow one
 * request. Pure but for random identifiers.
 *
 *   X-Forwarded-For, Forwarded (RFC 7239)   appended to when the peer is trusted, else replaced
 *   X-Forwarded-Proto, -Host                kept when the peer is trusted, else replaced
 *   X-Request-Id                            kept when single and 1 to 128 visible ASCII bytes, else made: 128
 *                                           random bits in hex
 *   traceparent (W3C Trace Context)         kept when single and well-formed, with tracestate; else made
 *
 * X-Real-IP and other X-Forwarded-*, and any of these spelt with '_' for '-', are left to forward.h. */
#ifndef HOLDFAST_PROXY_IDENTITY_H
#define HOLDFAST_PROXY_IDENTITY_H

#include "common/http_decode.h"
#include "common/net.h"
#include "common/writer.h"

#include <stdbool.h>

enum { IDENTITY_REQUEST_ID_BYTES = 128, IDENTITY_TRACEPARENT_BYTES = 55 };

/* What is the same on every attempt of one request; filled once. */
struct identity {
    size_t request_id_length;
    char request_id[IDENTITY_REQUEST_ID_BYTES];
    bool trace_kept; /* tracestate is forwarded only with the traceparent it belongs to */
    char traceparent[IDENTITY_TRACEPARENT_BYTES];
};

/* Fills IDENTITY from HEAD's own fields or makes it. */
void identity_fill(struct identity *identity, const struct http_head *head);

/* Bit set (1 << enum http_field_id) of fields that identity_write() writes anew, so that they must not be
 * copied from the client: X-Forwarded-For, -Proto and -Host, Forwarded, X-Request-Id, traceparent, and
 * tracestate when it is not to be kept. */
uint32_t identity_replaces(const struct identity *identity);

/* Writes all identity fields as field lines. CLIENT is the peer's address (or what the PROXY protocol said),
 * AUTHORITY the request's Host (at NULL when there is none), TRUSTED whether the peer may speak for others.
 */
void identity_write(struct writer *w, const struct identity *identity, const struct http_head *head,
                    const union net_address *client, struct slice authority, bool trusted);

#endif
