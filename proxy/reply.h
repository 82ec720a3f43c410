/* SPDX-License-Identifier: MIT
 * Responses of Holdfast's own: always JSON, {"status", "error", "reason"}, with a length. Pure. */
#ifndef HOLDFAST_PROXY_REPLY_H
#define HOLDFAST_PROXY_REPLY_H

#include "common/http_head.h"
#include "common/writer.h"

#include <stdbool.h>

struct reply {
    const struct http_offence *offence; /* status, name and reason */
    bool keep_alive;                    /* false: "Connection: close" */
    unsigned client_minor;              /* the client speaks HTTP/1.0 or 1.1 */
    bool without_body;                  /* the request was HEAD: announce the body, don't send it */
    struct slice date;                  /* an IMF-fixdate */
};

enum { REPLY_BYTES_MAX = 1024 }; /* every reply fits */

/* Writes the whole response: head and body. */
void reply_write(struct writer *w, const struct reply *reply);

/* The length of the body of a reply for OFFENCE, in bytes. */
size_t reply_body_bytes(const struct http_offence *offence);

/* Writes the answer to an OPTIONS request that may go no further (RFC 9110, 7.6.2): 200 with Allow. */
void reply_write_options(struct writer *w, bool keep_alive, unsigned client_minor, struct slice date);

/* The reason phrase of STATUS, or "Error" for one that Holdfast never sends by itself. */
struct slice reply_phrase(int status);

#endif
