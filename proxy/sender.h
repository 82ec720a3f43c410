/* SPDX-License-Identifier: MIT
 * A request on its way to a backend. Never waits: what the backend does not take at once is sent while its
 * response is awaited, so that one that answers before it has read all (RFC 9112, 9.5) and one that answers
 * while it reads are both understood. */
#ifndef HOLDFAST_PROXY_SENDER_H
#define HOLDFAST_PROXY_SENDER_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

enum { SENDER_PIECES = 3 };

/* Filled by the caller; the bytes must stay until all is sent. */
struct sender {
    int fd;
    struct iovec before[SENDER_PIECES]; /* goes first */
    int file;                           /* then FILE_BYTES of this, from its start; -1 for none */
    uint64_t file_bytes;
    uint64_t file_at;                  /* of them, sent */
    struct iovec after[SENDER_PIECES]; /* goes last */
};

enum sender_progress {
    SENDER_DONE,  /* all is sent */
    SENDER_MORE,  /* the connection takes no more now */
    SENDER_BROKEN /* the connection ended, or the file can't be read: not all will be sent */
};

/* Whether the pieces that go first are sent, so that their bytes are needed no longer. */
bool sender_has_begun_body(const struct sender *s);

/* Sends as much as the connection takes without waiting. */
must_check enum sender_progress sender_push(struct sender *s);

#endif
