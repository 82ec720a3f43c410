/* SPDX-License-Identifier: MIT
 * A body held whole, so that it can be sent again: in memory while it is small, in an unlinked temporary file
 * when it grows. One owner at a time. */
#ifndef HOLDFAST_COMMON_SPOOL_H
#define HOLDFAST_COMMON_SPOOL_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    SPOOL_MEMORY_BYTES = 1 << 20, /* one body holds this much in memory at the most */
    SPOOL_BUDGET_BYTES =
        128 << 20,                /* all bodies of the process together; beyond it they go to files at once */
    SPOOL_PIECE_BYTES = 64 << 10, /* what spool_room() offers at least while a body is in a file */
};

/* What all files of the process may hold together; more is refused with ENOSPC, so that nobody fills the
 * disk. */
#define SPOOL_FILE_BUDGET_BYTES (UINT64_C(4) << 30)

struct spool {
    char *memory; /* the body, or (with a file) the room for the next piece */
    size_t capacity;
    uint64_t length_bytes; /* of the whole body so far */
    int file;              /* -1 while all is in memory */
};

/* Makes S an empty body. */
void spool_init(struct spool *s);

/* Empties S for the next body. Memory is kept for that, or for any other when there is much, while the
 * process is far from its budget. Takes a lock of its own. */
void spool_clear(struct spool *s);

/* Frees the memory that a body in a file does not need while nothing is added to it. */
void spool_rest(struct spool *s);

/* Frees all that S holds. */
void spool_release(struct spool *s);

/* Offers room for the next bytes: *ROOM_ bytes (at least 1, at most WANT_BYTES, which is what the caller
 * still expects) at the returned place, valid until the next call. NULL with errno set (ENOMEM, ENOSPC,
 * EMFILE ...). */
must_check char *spool_room(struct spool *s, uint64_t want_bytes, size_t *room_);

/* Takes the first COUNT bytes of the room as the body's next ones. False with errno set when the file can't
 * be written; the body is then lost. */
must_check bool spool_commit(struct spool *s, size_t count);

/* Appends COUNT bytes: spool_room and spool_commit with a copy between. */
must_check bool spool_append(struct spool *s, const char *bytes, size_t count);

#endif
