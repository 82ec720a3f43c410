/* SPDX-License-Identifier: MIT
 * A backend's response while it is received, held back from the client for as long as the hold rule says.
 * Reads block; the caller has armed a watch on the connection, so that none blocks for ever. */
#ifndef HOLDFAST_PROXY_RESPONSE_H
#define HOLDFAST_PROXY_RESPONSE_H

#include "common/clock.h"
#include "common/compiler.h"
#include "common/http_chunk.h"
#include "common/http_decode.h"
#include "common/http_framing.h"
#include "proxy/sender.h"
#include "proxy/upstream.h"

struct response {
    int fd;                  /* the backend connection it comes on, owned; -1 for none */
    struct upstream_tag tag; /* of FD, for upstream_give_back() */

    char *buffer;    /* the head, and behind it the decoded body as far as it is held */
    size_t capacity; /* header_bytes + hold_bytes */
    size_t header_bytes;
    size_t bytes; /* in BUFFER, undecoded ones of the head included */
    struct http_head_scan scan;
    struct http_head head; /* slices point into BUFFER */
    struct http_framing framing;
    struct http_chunk chunk;
    size_t body_at;         /* offset of the body in BUFFER: the head's length */
    size_t body_bytes;      /* body bytes held at BODY_AT */
    uint64_t left_bytes;    /* of a body of known length: still to come */
    unsigned interim_count; /* 1xx responses that were swallowed */
    bool whole;             /* nothing more will come */
    bool excess;            /* bytes came behind its end: the connection can't be used again */
    struct sender *sender;  /* NULL when the whole request is sent */
    void (*before_wait)(void *owner, int fd); /* called before each read that may wait; NULL: nobody */
    void *owner;
    bool ended;                         /* a read met the end of the connection, or */
    bool reset;                         /* its reset */
    const struct http_offence *offence; /* with RESPONSE_MALFORMED */
};

enum response_end {
    RESPONSE_HELD,      /* whole, in the buffer */
    RESPONSE_STREAM,    /* the head is good, the rest is to be streamed */
    RESPONSE_EMPTY,     /* the connection ended before the first byte */
    RESPONSE_BROKEN,    /* it ended, or was reset, before the response did */
    RESPONSE_MALFORMED, /* not a well-formed response: ->offence */
};

/* How to receive a response. */
struct response_rules {
    struct slice method; /* the request's */
    uint32_t hold_bytes;
    uint32_t hold_ms;
    struct slice upgrade; /* protocols that were offered: a 101 to one of them is an answer, the final one */
    void (*early)(void *owner,
                  const struct http_head *head); /* called for each 103 (RFC 8297); NULL: swallowed */
    void (*before_wait)(void *owner, int fd);    /* called before each read that may wait; NULL: nobody */
    void *owner;                                 /* of the two above */
};

/* Makes R's buffer for heads of HEADER_BYTES and HOLD_BYTES of body. False without memory. */
must_check bool response_init(struct response *r, size_t header_bytes, size_t hold_bytes);

/* Closes the connection that R owns, if any, and forgets the response; the buffer stays. */
void response_clear(struct response *r);

/* Frees all that R holds. */
void response_release(struct response *r);

/* Begins R, which is clear, on FD, which it owns from now on: SENDER's request is sent as far as the
 * connection takes it without waiting. SENDER is NULL when it has been sent before; it must last until the
 * response is cleared. */
void response_begin(struct response *r, int fd, struct sender *sender);

/* Whether the whole request is sent. */
static inline bool response_has_sent(const struct response *r)
{
    return r->sender == NULL && !r->excess;
}

/* Reads what is there, without waiting. False when that is nothing at all, and the connection is sound. */
must_check bool response_peek(struct response *r);

/* Gives the connection up, on which not a byte has come, to the caller. */
int response_part(struct response *r);

/* Receives the response that was begun, until it is whole or the hold rule lets it stream. 1xx
 * responses are swallowed, but for what RULES say; what comes behind a 101 that was asked for belongs to the
 * tunnel: response_tunnel_bytes(). */
must_check enum response_end response_receive(struct response *r, const struct response_rules *rules);

/* After RESPONSE_STREAM: reads the next piece of the body, over what the buffer held. Returns RESPONSE_STREAM
 * with the piece (maybe empty) at *PIECE_, and r->whole set when it is the last one, or RESPONSE_BROKEN or
 * RESPONSE_MALFORMED. */
must_check enum response_end response_next_piece(struct response *r, struct slice *piece_);

/* Sends what the connection takes of the rest of the request, r->sender. What it will never take makes the
 * connection useless for another request, but its answer still counts. */
void response_push(struct response *r);

/* Sends no more of the request: its bytes are needed no longer, and the connection can't be used again. */
void response_give_up_request(struct response *r);

/* Whether the connection may carry another request after this whole response. */
bool response_connection_reusable(const struct response *r);

/* The body bytes that are held. */
struct slice response_held(const struct response *r);

/* After a 101: what came behind its head. */
struct slice response_tunnel_bytes(const struct response *r);

/* The trailer fields of a chunked response that is whole, as field lines; empty without any. */
struct slice response_trailers(const struct response *r);

#endif
