/* SPDX-License-Identifier: MIT
 * A response that is held whole goes out with one system call that does not wait; only a client that is slow
 * to read makes the worker arm its watch and block. A stream blocks on either side in turn, each time with a
 * deadline. */
#include "proxy/deliver.h"

#include "common/net.h"
#include "common/panic.h"
#include "proxy/forward.h"
#include "proxy/reply.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

struct slice deliver_date(void)
{
    static _Thread_local time_t shown = -1;
    static _Thread_local char text[CLOCK_HTTP_DATE_BYTES];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
    if (now.tv_sec != shown) {
        shown = now.tv_sec;
        clock_http_date(shown, text);
    }
    return (struct slice){text, CLOCK_HTTP_DATE_BYTES - 1};
}

void deliver_reply(int fd, const struct http_offence *offence, bool keep_alive, unsigned client_minor,
                   bool without_body)
{
    char text[REPLY_BYTES_MAX];
    struct writer w = {.at = text, .capacity = sizeof text};
    struct reply reply = {.offence = offence,
                          .keep_alive = keep_alive,
                          .client_minor = client_minor,
                          .without_body = without_body,
                          .date = deliver_date()};
    reply_write(&w, &reply);
    MUST(writer_ok(&w));
    struct iovec iov = {.iov_base = text, .iov_len = w.length};
    int lost = net_send_all(fd, &iov, 1, MSG_DONTWAIT);
    (void)lost; /* a client that does not take a few hundred bytes is closed by the caller's next step */
}

/* Sends COUNT pieces to the client, waiting for it only when it must. */
static bool send_to_client(const struct delivery *d, struct iovec *iov, int count)
{
    int failure = net_send_all(d->client_fd, iov, count, MSG_DONTWAIT);
    if (failure != EAGAIN && failure != EWOULDBLOCK) {
        return failure == 0;
    }
    watch_arm(d->watch, d->client_fd, deadline_after_ms(clock_mono(), d->write_ms));
    failure = net_send_all(d->client_fd, iov, count, 0);
    return watch_disarm(d->watch) == WATCH_NOT_CUT && failure == 0;
}

static enum forward_body choose_body(const struct delivery *d)
{
    const struct response *r = d->response;
    if (d->to_head || r->head.status == 304) {
        return FORWARD_BODY_AS_GIVEN;
    }
    if (r->framing.body == HTTP_BODY_NONE) {
        return FORWARD_BODY_NONE;
    }
    if (r->whole || r->framing.body == HTTP_BODY_LENGTH) {
        return FORWARD_BODY_LENGTH;
    }
    return d->client_minor == 0 ? FORWARD_BODY_CLOSE : FORWARD_BODY_CHUNKED;
}

/* Sends one piece of a stream; as a chunk when CHUNKED, and behind it, when it is the LAST, the end of the
 * body. HEAD goes first, if it is not empty. */
static bool send_piece(const struct delivery *d, struct slice head, struct slice piece, bool chunked,
                       bool last)
{
    char size[20];
    struct iovec iov[5];
    int count = 0;
    iov[count++] = (struct iovec){.iov_base = (void *)(uintptr_t)head.at, .iov_len = head.length};
    if (chunked && piece.length > 0) {
        int digits = snprintf(size, sizeof size, "%zx\r\n", piece.length);
        iov[count++] = (struct iovec){.iov_base = size, .iov_len = (size_t)digits};
    }
    iov[count++] = (struct iovec){.iov_base = (void *)(uintptr_t)piece.at, .iov_len = piece.length};
    if (chunked && piece.length > 0) {
        iov[count++] = (struct iovec){.iov_base = (char[]){'\r', '\n'}, .iov_len = 2};
    }
    if (chunked && last) {
        iov[count++] = (struct iovec){.iov_base = (char[]){'0', '\r', '\n', '\r', '\n'}, .iov_len = 5};
    }
    return send_to_client(d, iov, count);
}

/* The next piece of a stream from the backend, within its deadline. */
static bool read_piece(const struct delivery *d, struct slice *piece_)
{
    watch_arm(d->watch, d->response->fd, deadline_after_ms(clock_mono(), d->read_ms));
    enum response_end end = response_next_piece(d->response, piece_);
    return watch_disarm(d->watch) == WATCH_NOT_CUT && end == RESPONSE_STREAM;
}

/* A body that ends with the connection has no other mark of its end: when it breaks, the close must look
 * broken too. */
static void make_close_a_reset(int fd)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

bool deliver(struct delivery *d)
{
    struct response *r = d->response;
    enum forward_body body = choose_body(d);
    bool keep_alive = d->keep_alive && body != FORWARD_BODY_CLOSE;
    struct forward_response forward = {
        .head = &r->head,
        .body = body,
        .length_bytes = r->whole ? r->body_bytes : r->framing.length_bytes,
        .client_minor = d->client_minor,
        .keep_alive = keep_alive,
        .date = deliver_date(),
    };
    forward_response_head(&d->out, &forward);
    MUST(writer_ok(&d->out)); /* twice the longest head that is let in */
    struct slice head = {d->out.at, d->out.length};
    struct slice piece = response_held(r);
    bool chunked = body == FORWARD_BODY_CHUNKED;
    bool sent = send_piece(d, head, piece, chunked, r->whole);
    while (sent && !r->whole) {
        sent = read_piece(d, &piece) && send_piece(d, (struct slice){NULL, 0}, piece, chunked, r->whole);
    }
    if (!r->whole && body == FORWARD_BODY_CLOSE) {
        make_close_a_reset(d->client_fd);
    }
    return sent && keep_alive;
}
