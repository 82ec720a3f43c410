/* SPDX-License-Identifier: MIT */
#include "proxy/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct outbox *outbox_new(void)
{
    struct outbox *o = calloc(1, sizeof *o);
    if (o != NULL) {
        spool_init(&o->spool);
    }
    return o;
}

void outbox_delete(struct outbox *o)
{
    if (o != NULL) {
        spool_release(&o->spool);
        free(o);
    }
}

void outbox_end(struct outbox *o, enum access_end end)
{
    if (o != NULL) {
        access_pending_end(o->access, o->spool.length_bytes - o->sent_bytes, end);
        outbox_delete(o);
    }
}

bool outbox_append(struct outbox *o, const struct iovec *iov, int count)
{
    for (int i = 0; i < count; i++) {
        if (!spool_append(&o->spool, iov[i].iov_base, iov[i].iov_len)) {
            return false;
        }
    }
    return true;
}

/* One send of what is left, from memory or from the file. */
static ssize_t send_some(const struct outbox *o, int fd)
{
    size_t left = (size_t)(o->spool.length_bytes - o->sent_bytes);
    if (o->spool.file == -1) {
        return send(fd, o->spool.memory + o->sent_bytes, left, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    /* sendfile(2) has no flag not to wait, so a piece goes through memory. */
    char piece[64 << 10];
    ssize_t got =
        pread(o->spool.file, piece, left < sizeof piece ? left : sizeof piece, (off_t)o->sent_bytes);
    if (got <= 0) {
        errno = got == 0 ? EIO : errno;
        return -1;
    }
    return send(fd, piece, (size_t)got, MSG_NOSIGNAL | MSG_DONTWAIT);
}

enum outbox_progress outbox_flush(struct outbox *o, int fd)
{
    while (o->sent_bytes < o->spool.length_bytes) {
        ssize_t sent = send_some(o, fd);
        if (sent >= 0) {
            o->sent_bytes += (uint64_t)sent;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return OUTBOX_MORE;
        } else if (errno != EINTR) {
            return OUTBOX_FAILED;
        }
    }
    return OUTBOX_EMPTY;
}
