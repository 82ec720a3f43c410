/* SPDX-License-Identifier: MIT
 * A request while it is received: the bytes as they come, the decoded head, the body held whole. No sockets:
 * the session reads into request_room() and tells request_received(), so that tests can feed it byte by byte.
 *
 * A request belongs to the worker that serves its connection, or to the parked connection; never to both. */
#ifndef HOLDFAST_PROXY_REQUEST_H
#define HOLDFAST_PROXY_REQUEST_H

#include "common/clock.h"
#include "common/compiler.h"
#include "common/http_chunk.h"
#include "common/http_decode.h"
#include "common/http_framing.h"
#include "common/spool.h"

struct request_limits {
    size_t header_bytes;
    uint64_t body_bytes;
};

enum request_stage {
    REQUEST_HEAD,  /* the head is not whole */
    REQUEST_BODY,  /* head decoded, body not whole */
    REQUEST_WHOLE, /* ready to be sent to a backend, as often as needed */
};

struct request {
    enum request_stage stage;
    char *in; /* raw bytes: head, then a small body in place, then what was pipelined behind them */
    size_t in_capacity;
    size_t in_bytes;
    size_t end;          /* offset in IN behind this request's own bytes, once WHOLE */
    mono_ns begun;       /* when its first byte came; 0 before */
    mono_ns body_begun;  /* when its head was whole */
    bool wants_continue; /* Expect: 100-continue, and no byte of the body has come yet */
    struct http_head_scan scan;
    struct http_head head; /* slices point into IN, which does not move any more */
    bool has_head;         /* HEAD has been decoded */
    struct http_framing framing;
    struct http_chunk chunk;
    struct slice body;  /* the body, when it stands in IN */
    struct spool spool; /* the body otherwise */
};

enum request_progress {
    REQUEST_MORE,    /* read on */
    REQUEST_READY,   /* stage is REQUEST_WHOLE */
    REQUEST_REFUSED, /* *offence_ says why; answer it and close */
};

/* A request ready for its first byte, or NULL without memory. */
struct request *request_new(void);

/* Frees R; NULL is fine. */
void request_delete(struct request *r);

/* Where the next bytes may be read to, and how many (at least 1). NULL with errno set when there is no memory
 * or disk for them. */
must_check char *request_room(struct request *r, const struct request_limits *limits, size_t *room_);

/* COUNT bytes were read into the room at NOW. Judges them as far as they go. Call it with COUNT 0 to judge
 * bytes that request_next() kept. */
must_check enum request_progress request_received(struct request *r, const struct request_limits *limits,
                                                  size_t count, mono_ns now,
                                                  const struct http_offence **offence_);

/* Whether not one byte of the request has come. */
static inline bool request_is_untouched(const struct request *r)
{
    return r->stage == REQUEST_HEAD && r->in_bytes == 0;
}

/* Length of the held body in bytes. */
uint64_t request_body_bytes(const struct request *r);

/* Body bytes received so far, of the framing as sent. */
uint64_t request_body_received(const struct request *r);

/* Forgets the request, which must be WHOLE, and keeps the bytes pipelined behind it as the start of the next
 * one. */
void request_next(struct request *r);

/* Takes the first COUNT bytes, which were not HTTP's, out of a request that was not judged yet. */
void request_drop_front(struct request *r, size_t count);

/* Forgets everything, pipelined bytes too: for reuse on another connection. */
void request_clear(struct request *r);

#endif
