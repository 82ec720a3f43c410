/* SPDX-License-Identifier: MIT
 * What a client has not taken yet of its response. A client that reads slowly parks with its outbox; no
 * worker waits for it. */
#ifndef HOLDFAST_PROXY_OUTBOX_H
#define HOLDFAST_PROXY_OUTBOX_H

#include "common/compiler.h"
#include "common/spool.h"
#include "proxy/access_log.h"
#include "proxy/pace.h"

#include <stdbool.h>
#include <sys/uio.h>

/* A response that has more than this to wait makes its worker wait for the client. */
#define OUTBOX_BYTES_MAX (UINT64_C(64) << 20)

struct outbox {
    struct spool spool;
    uint64_t sent_bytes;           /* of the spool */
    struct pace pace;              /* of its client, while it is parked */
    bool keep_alive;               /* the connection goes on when all is sent */
    struct access_pending *access; /* the response's line in the access log; NULL when it makes none */
};

enum outbox_progress { OUTBOX_MORE, OUTBOX_EMPTY, OUTBOX_FAILED };

/* An empty outbox, or NULL without memory. */
struct outbox *outbox_new(void);

/* Frees O, which has no line in the access log; NULL is fine. */
void outbox_delete(struct outbox *o);

/* Frees O, after the line of its response has been made, which ended as END says; NULL is fine. */
void outbox_end(struct outbox *o, enum access_end end);

/* Appends COUNT pieces. False with errno set when there is no room for them (spool.h). */
must_check bool outbox_append(struct outbox *o, const struct iovec *iov, int count);

/* Sends as much as FD takes without waiting. */
must_check enum outbox_progress outbox_flush(struct outbox *o, int fd);

#endif
