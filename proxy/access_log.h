/* SPDX-License-Identifier: MIT
 * The access log: one line for each request that was answered, and for each whose client went away before.
 * While it is off, a request costs one look at a flag that seldom changes. */
#ifndef HOLDFAST_PROXY_ACCESS_LOG_H
#define HOLDFAST_PROXY_ACCESS_LOG_H

#include "common/compiler.h"
#include "proxy/access_line.h"
#include "proxy/access_writer.h"

#include <stdatomic.h>
#include <stdbool.h>

/* All zeros: it is off. */
struct access_log {
    _Atomic bool on;
    _Atomic(struct access_writer *) writer; /* NULL until it is switched on for the first time */
};

/* The line of an answer of which the client has not taken all yet. */
struct access_pending; /* opaque */
struct outbox;

/* Whether lines are wanted. Any thread. */
static inline bool access_log_is_on(const struct access_log *l)
{
    return atomic_load_explicit(&l->on, memory_order_acquire);
}

/* Opens PATH (access_open(); "" for none: *FD_ is -1) and makes what L needs to write there. Nothing is
 * switched yet: access_log_direct() must follow, or *FD_ be closed. False with errno set. On the thread that
 * starts and stops. */
must_check bool access_log_open(struct access_log *l, const char *path, int *fd_);

/* From now on lines go to FD, which access_log_open() gave; -1 switches the log off. The same thread. */
void access_log_direct(struct access_log *l, int fd);

/* Opens PATH, which lines go to, once more, and directs them there: logrotate has moved the file away. When
 * that fails they go on where they went. Says in the log what came of it. The same thread. */
void access_log_reopen(struct access_log *l, const char *path);

/* Writes what waits, for a second at most, and frees what L has. The same thread; nobody may use L any more.
 */
void access_log_stop(struct access_log *l);

/* Makes the line of ENTRY, whose answer ended as END says after BODY_BYTES. L must be on, or have been. Any
 * thread, no lock held; never waits. */
void access_log_note(struct access_log *l, const struct access_entry *entry, uint64_t body_bytes,
                     enum access_end end);

/* The same; when OUTBOX is not NULL, it holds the rest of the answer, and the line comes with
 * outbox_end(). Without memory for it, it is made at once all the same. */
void access_log_answer(struct access_log *l, const struct access_entry *entry, uint64_t body_bytes,
                       enum access_end end, struct outbox *outbox);

/* Makes P's line, and frees P; NULL is fine. UNSENT_BYTES were not sent after all. */
void access_pending_end(struct access_pending *p, uint64_t unsent_bytes, enum access_end end);

/* Counts since start; zeros for a log that was never on. Any thread. */
void access_log_count(const struct access_log *l, struct access_counts *counts_);

#endif
