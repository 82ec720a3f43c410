/* SPDX-License-Identifier: MIT */
#include "proxy/sender.h"

#include "common/net.h"

#include <errno.h>
#include <unistd.h>

enum { FILE_PIECE_BYTES = 64 << 10 };

static enum sender_progress progress_of(int failure)
{
    if (failure == 0) {
        return SENDER_DONE;
    }
    return failure == EAGAIN || failure == EWOULDBLOCK ? SENDER_MORE : SENDER_BROKEN;
}

/* sendfile(2) can't be told not to wait on a socket that blocks, so the file goes through memory. */
static enum sender_progress push_file(struct sender *s, int flags)
{
    char piece[FILE_PIECE_BYTES];
    while (s->file_at < s->file_bytes) {
        ssize_t got = pread(s->file, piece, sizeof piece, (off_t)s->file_at);
        if (got <= 0) {
            return SENDER_BROKEN;
        }
        struct iovec iov = {.iov_base = piece, .iov_len = (size_t)got};
        int failure = net_send_all(s->fd, &iov, 1, flags);
        s->file_at += (uint64_t)got - (failure == 0 ? 0 : iov.iov_len);
        if (failure != 0) {
            return progress_of(failure);
        }
    }
    return SENDER_DONE;
}

enum sender_progress sender_push(struct sender *s)
{
    size_t after_bytes = s->after[0].iov_len + s->after[1].iov_len + s->after[2].iov_len;
    bool more_behind = s->file != -1 || after_bytes > 0;
    enum sender_progress progress = progress_of(
        net_send_all(s->fd, s->before, SENDER_PIECES, MSG_DONTWAIT | (more_behind ? MSG_MORE : 0)));
    if (progress == SENDER_DONE && s->file != -1) {
        progress = push_file(s, MSG_DONTWAIT | (after_bytes > 0 ? MSG_MORE : 0));
    }
    if (progress == SENDER_DONE && after_bytes > 0) {
        progress = progress_of(net_send_all(s->fd, s->after, SENDER_PIECES, MSG_DONTWAIT));
    }
    return progress;
}

bool sender_has_begun_body(const struct sender *s)
{
    return s->before[0].iov_len == 0;
}
