/* SPDX-License-Identifier: MIT
 * What a client has not taken yet of its response. A client that reads slowly parks with its outbox; no
 * worker waits for it. */
#ifndef HOLDFAST_PROXY_OUTBOX_H
#define HOLDFAST_PROXY_OUTBOX_H

#include "common/clock.h"
#include "common/compiler.h"
#include "common/spool.h"
#include "proxy/access_log.h"

#include <stdbool.h>
#include <sys/uio.h>

/* A response that has more than this to wait makes its worker wait for the client. */
#define OUTBOX_BYTES_MAX (UINT64_C(64) << 20)

struct outbox {
    struct spool spool;
    uint64_t sent_bytes;           /* of the spool */
    mono_ns window_begun;          /* the client must take so much within a window: see session.c */
    int64_t window_taken;          /* outbox_taken() when it began */
    bool keep_alive;               /* the connection goes on when all is sent */
    struct access_pending *access; /* the response's line in the access log; NULL when it makes none */
};

enum outbox_progress { OUTBOX_MORE, OUTBOX_EMPTY, OUTBOX_FAILED };

/* An empty outbox whose first window begins at NOW, or NULL without memory. */
struct outbox *outbox_new(mono_ns now);

/* Frees O, which has no line in the access log; NULL is fine. */
void outbox_delete(struct outbox *o);

/* Frees O, after the line of its response has been made, which ended as END says; NULL is fine. */
void outbox_end(struct outbox *o, enum access_end end);

/* Appends COUNT pieces. False with errno set when there is no room for them (spool.h). */
must_check bool outbox_append(struct outbox *o, const struct iovec *iov, int count);

/* Sends as much as FD takes without waiting. */
must_check enum outbox_progress outbox_flush(struct outbox *o, int fd);

/* How much of it the peer of FD has really taken: sent, and acknowledged (tcp(7), SIOCOUTQ). May be negative
 * while bytes that were sent before it are not. */
int64_t outbox_taken(const struct outbox *o, int fd);

#endif
