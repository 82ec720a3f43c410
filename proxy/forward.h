/* SPDX-License-Identifier: MIT
 * What is forwarded, written anew from decoded parts and never copied through: the head of a request toward a
 * backend, the head of a response toward the client. Fields that belong to one connection are left out (RFC
 * 9110, 7.6.1). Pure. */
#ifndef HOLDFAST_PROXY_FORWARD_H
#define HOLDFAST_PROXY_FORWARD_H

#include "common/http_decode.h"
#include "common/http_framing.h"
#include "common/net.h"
#include "common/writer.h"
#include "proxy/identity.h"

#include <stdbool.h>
#include <stdint.h>

/* What a request's head needs beside the client's own. */
struct forward_request {
    const struct http_head *head;
    const struct identity *identity;
    const union net_address *client; /* where the request comes from */
    bool trusted;                    /* the client may speak for others in X-Forwarded-* and Forwarded */
    bool has_body;                   /* the body's length is sent, 0 included */
    bool chunked;                    /* the body is sent chunked, for the trailers behind it */
    uint64_t body_bytes;             /* the whole body is held, so its length is always known */
    struct slice authority;          /* the backend's host:port: Host of a request that has none (HTTP/1.0) */
    struct slice upgrade; /* the protocols offered to the backend (RFC 9110, 7.8); empty for none */
    bool te_trailers;     /* the client takes trailers (RFC 9110, 6.5.1): so do we */
};

/* Writes the head of an HTTP/1.1 request for a backend: origin-form target, Host (from an absolute-form
 * target where there is one: RFC 9112, 3.2.2), end-to-end fields, framing, the identity fields in place of
 * what they replace, Via (RFC 9110, 7.6.3). Check writer_ok() afterwards. */
void forward_request_head(struct writer *w, const struct forward_request *request);

/* How many more front ends an OPTIONS request may pass (Max-Forwards: RFC 9110, 7.6.2), UINT32_MAX when it
 * does not say: 0 means that it is to be answered here. */
uint32_t forward_hops_left(const struct http_head *head);

/* Whether TRAILERS, a request's field lines, hold nothing that would be left out or written anew if it stood
 * in the head: a backend that joins both must not take a stranger's word for ours. */
bool forward_trailers_are_plain(struct slice trailers);

/* The protocols that HEAD, a request's, asks to upgrade to and that are let through: empty on HTTP/1.0,
 * without "upgrade" in Connection, and when "h2c" is among them (RFC 9113 dropped it, and what it tunnels
 * would pass unseen). */
struct slice forward_upgrade_of(const struct http_head *head);

enum forward_body {
    FORWARD_BODY_AS_GIVEN, /* none follows (HEAD, 304): Content-Length as the backend gave it */
    FORWARD_BODY_NONE,     /* none follows and none is announced (204) */
    FORWARD_BODY_LENGTH,   /* Content-Length */
    FORWARD_BODY_CHUNKED,  /* chunked transfer coding */
    FORWARD_BODY_CLOSE,    /* until the connection closes */
};

struct forward_response {
    const struct http_head *head;
    enum forward_body body;
    uint64_t length_bytes; /* with FORWARD_BODY_LENGTH */
    unsigned client_minor; /* the client speaks HTTP/1.0 or 1.1 */
    bool keep_alive;       /* the client's connection goes on after this response */
    bool keep_trailer;     /* the client takes trailers: Trailer, which announces them, is let through */
    bool upgrade;          /* 101: Upgrade is let through, and Connection says so */
    struct slice date;     /* for a response without Date (RFC 9110, 6.6.1) */
};

/* Writes the head of a response for the client, HTTP/1.1; for 1xx, no framing and nothing about the
 * connection but the upgrade. Check writer_ok() afterwards. */
void forward_response_head(struct writer *w, const struct forward_response *response);

#endif
