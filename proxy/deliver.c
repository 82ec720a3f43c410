/* SPDX-License-Identifier: MIT
 * A response that is held whole goes out with one system call that does not wait. What a slow client does not
 * take stands in an outbox, with which the connection parks; a stream fills and empties it while the worker
 * waits for the backend. Only an outbox that is as long as it may be, or that can't be kept, makes the worker
 * wait for the client. */
#include "proxy/deliver.h"

#include "common/net.h"
#include "common/panic.h"
#include "proxy/forward.h"
#include "proxy/reply.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <time.h>

enum { TURN_MS = 100 }; /* a look at a client that a worker waits for */

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

static struct iovec piece_of(struct slice bytes)
{
    return (struct iovec){.iov_base = (char *)bytes.at, .iov_len = bytes.length};
}

/* Sends TEXT on FD. What the client does not take at once stands in *REST_ then, to be sent before anything
 * else. False when the connection is broken or there is no memory. */
static bool send_reply(int fd, struct slice text, bool keep_alive, struct outbox **rest_)
{
    struct iovec iov = piece_of(text);
    int failure = net_send_all(fd, &iov, 1, MSG_DONTWAIT);
    if (failure != EAGAIN && failure != EWOULDBLOCK) {
        return failure == 0;
    }
    *rest_ = outbox_new();
    if (*rest_ == NULL || !outbox_append(*rest_, &iov, 1)) {
        outbox_delete(*rest_);
        *rest_ = NULL;
        return false;
    }
    (*rest_)->keep_alive = keep_alive;
    return true;
}

/* Writes a reply of our own to W, and returns it. */
static struct slice own_reply(struct writer *w, const struct http_offence *offence, bool keep_alive,
                              unsigned client_minor, bool without_body)
{
    struct reply reply = {.offence = offence,
                          .keep_alive = keep_alive,
                          .client_minor = client_minor,
                          .without_body = without_body,
                          .date = deliver_date()};
    reply_write(w, &reply);
    MUST(writer_ok(w));
    return (struct slice){w->at, w->length};
}

bool deliver_reply(struct client *c, const struct http_offence *offence, bool keep_alive,
                   unsigned client_minor, bool without_body, struct outbox **rest_)
{
    char text[REPLY_BYTES_MAX];
    struct writer w = {.at = text, .capacity = sizeof text};
    struct slice reply = own_reply(&w, offence, keep_alive, client_minor, without_body);
    return send_reply(c->fd, knock_rest(c, reply), keep_alive, rest_);
}

bool deliver_last_reply(int fd, const struct http_offence *offence, bool without_body)
{
    char text[REPLY_BYTES_MAX];
    struct writer w = {.at = text, .capacity = sizeof text};
    struct outbox *rest = NULL;
    bool sent = send_reply(fd, own_reply(&w, offence, false, 1, without_body), false, &rest);
    sent = sent && rest == NULL;
    outbox_delete(rest); /* a client that does not take a few hundred bytes has lost its right to an answer */
    return sent;
}

bool deliver_options(struct client *c, bool keep_alive, unsigned client_minor, struct outbox **rest_)
{
    char text[REPLY_BYTES_MAX];
    struct writer w = {.at = text, .capacity = sizeof text};
    reply_write_options(&w, keep_alive, client_minor, deliver_date());
    MUST(writer_ok(&w));
    return send_reply(c->fd, knock_rest(c, (struct slice){w.at, w.length}), keep_alive, rest_);
}

/* Sends what the client takes of the outbox, and drops it when it is empty. False when the client is gone. */
static bool flush_outbox(struct delivery *d)
{
    enum outbox_progress progress = outbox_flush(d->outbox, d->client->fd);
    if (progress == OUTBOX_EMPTY) {
        outbox_delete(d->outbox);
        d->outbox = NULL;
    }
    return progress != OUTBOX_FAILED;
}

/* Waits a moment for the client, which was sent SENT_BYTES, to take more. False when it has been too slow for
 * PACE, or when the program stops. */
static bool await_client(struct delivery *d, struct pace *pace, uint64_t sent_bytes)
{
    mono_ns now = clock_mono();
    mono_ns deadline = pace_deadline(pace, d->client->fd, sent_bytes, now, d->write_ms, d->write_least);
    if (deadline <= now) {
        d->end = ACCESS_CLIENT_SLOW;
        return false;
    }
    /* Its socket is writable only when a third of the buffer is free, and that may be megabytes: how the
     * client does, and whether the rest has room, is looked at in between. */
    mono_ns turn = deadline_after_ms(now, TURN_MS);
    struct pollfd wait = {.fd = d->client->fd, .events = POLLOUT};
    watch_note_wait(d->watch);
    watch_arm(d->watch, d->client->fd, DEADLINE_NO); /* against a stop: the time is looked at here */
    poll(&wait, 1, deadline_poll_ms(turn < deadline ? turn : deadline, now));
    bool cut = watch_disarm(d->watch) != WATCH_NOT_CUT;
    d->end = cut ? ACCESS_STOPPED : d->end;
    return !cut;
}

/* Waits until the client has taken all that is in the outbox. */
static bool wait_for_client(struct delivery *d)
{
    struct pace pace;
    bool well = d->outbox == NULL || flush_outbox(d);
    if (d->outbox != NULL) {
        pace_begin(&pace, d->client->fd, d->outbox->sent_bytes, clock_mono());
    }
    while (well && d->outbox != NULL) {
        well = await_client(d, &pace, d->outbox->sent_bytes) && flush_outbox(d);
    }
    return well;
}

static uint64_t bytes_of(const struct iovec *iov, int count)
{
    uint64_t bytes = 0;
    for (int i = 0; i < count; i++) {
        bytes += iov[i].iov_len;
    }
    return bytes;
}

/* The COUNT pieces will not be sent. */
static bool lose(struct delivery *d, const struct iovec *iov, int count)
{
    d->lost_bytes += bytes_of(iov, count);
    return false;
}

/* Puts the COUNT pieces into the outbox; what it has no memory, disk or descriptor for stays in IOV: then
 * false. */
static bool store(struct delivery *d, struct iovec *iov, int count)
{
    for (int i = 0; i < count; i++) {
        uint64_t before = d->outbox->spool.length_bytes;
        bool stored = outbox_append(d->outbox, &iov[i], 1);
        size_t taken = (size_t)(d->outbox->spool.length_bytes - before);
        iov[i] = (struct iovec){(char *)iov[i].iov_base + taken, iov[i].iov_len - taken};
        if (!stored) {
            return false;
        }
    }
    return true;
}

/* There is nowhere to keep the COUNT pieces: the worker brings them to the client itself, behind what stands
 * in the outbox. */
static bool hand_over(struct delivery *d, struct iovec *iov, int count)
{
    struct pace pace;
    bool well = wait_for_client(d);
    uint64_t all = bytes_of(iov, count);
    pace_begin(&pace, d->client->fd, 0, clock_mono());
    while (well) {
        int failure = net_send_all(d->client->fd, iov, count, MSG_DONTWAIT);
        if (failure == 0) {
            return true;
        }
        well = (failure == EAGAIN || failure == EWOULDBLOCK) &&
               await_client(d, &pace, all - bytes_of(iov, count));
    }
    return lose(d, iov, count);
}

/* Sends COUNT pieces to the client. What it does not take at once goes to the outbox; when that is as long as
 * it may be, the worker waits for the client. */
static bool send_to_client(struct delivery *d, struct iovec *iov, int count)
{
    if (d->outbox == NULL) {
        int failure = net_send_all(d->client->fd, iov, count, MSG_DONTWAIT);
        if (failure != EAGAIN && failure != EWOULDBLOCK) {
            return failure == 0 || lose(d, iov, count);
        }
        d->outbox = outbox_new();
        return (d->outbox != NULL && store(d, iov, count)) || hand_over(d, iov, count);
    }
    if (!store(d, iov, count)) {
        return hand_over(d, iov, count);
    }
    return d->outbox->spool.length_bytes > d->outbox_bytes ? wait_for_client(d) : flush_outbox(d);
}

static enum forward_body choose_body(const struct delivery *d)
{
    const struct response *r = d->response;
    if (r->head.status != 204 && (d->to_head || r->head.status == 304)) {
        return FORWARD_BODY_AS_GIVEN; /* 204 announces none, to HEAD too (RFC 9110, 8.6) */
    }
    if (r->framing.body == HTTP_BODY_NONE) {
        return FORWARD_BODY_NONE;
    }
    bool trailers = d->takes_trailers && d->client_minor > 0 && response_trailers(r).length > 0;
    if ((r->whole && !trailers) || r->framing.body == HTTP_BODY_LENGTH) {
        return FORWARD_BODY_LENGTH;
    }
    return d->client_minor == 0 ? FORWARD_BODY_CLOSE : FORWARD_BODY_CHUNKED;
}

static void add(struct iovec *iov, int *count, struct slice bytes)
{
    if (bytes.length > 0) {
        iov[(*count)++] = piece_of(bytes);
    }
}

/* Sends one piece of the body, HEAD before it if that is not empty; as a chunk when CHUNKED and, when the
 * response is whole now, with the last chunk and the trailers behind it (RFC 9112, 7.1). */
static bool send_piece(struct delivery *d, struct slice head, struct slice piece, bool chunked)
{
    char size[20];
    struct iovec iov[7];
    int count = 0;
    d->body_bytes += piece.length;
    add(iov, &count, head);
    if (chunked && piece.length > 0) {
        int digits = snprintf(size, sizeof size, "%zx\r\n", piece.length);
        add(iov, &count, (struct slice){size, (size_t)digits});
    }
    add(iov, &count, piece);
    if (chunked && piece.length > 0) {
        add(iov, &count, SLICE("\r\n"));
    }
    if (chunked && d->response->whole) {
        add(iov, &count, SLICE("0\r\n"));
        if (d->takes_trailers) {
            add(iov, &count, response_trailers(d->response));
        }
        add(iov, &count, SLICE("\r\n"));
    }
    return send_to_client(d, iov, count);
}

/* Sends from the outbox what the client takes, until the backend has something to say. False when the client
 * is gone. */
static bool send_while_waiting(struct delivery *d)
{
    struct response *r = d->response;
    if (d->outbox != NULL) {
        watch_note_wait(d->watch);
    }
    while (d->outbox != NULL) {
        struct pollfd wait[2] = {{.fd = r->fd, .events = POLLIN}, {.fd = d->client->fd, .events = POLLOUT}};
        wait[0].events |= r->sender != NULL ? POLLOUT : 0;
        int ready = poll(wait, 2, -1); /* the watch on the backend's connection bounds it */
        if (ready > 0 && wait[1].revents != 0 && !flush_outbox(d)) {
            return false;
        }
        if (ready > 0 && (wait[0].revents & POLLOUT) != 0 && r->sender != NULL) {
            response_push(r);
        }
        if (ready > 0 && (wait[0].revents & ~POLLOUT) != 0) {
            return true;
        }
    }
    return true;
}

/* The next piece of a stream from the backend, within its deadline. False when the client is gone, or when
 * the backend broke it: d->broke. */
static bool read_piece(struct delivery *d, struct slice *piece_)
{
    watch_arm_for(d->watch, d->response->fd, deadline_after_ms(clock_mono(), d->read_ms), &d->subject);
    if (!send_while_waiting(d)) {
        watch_disarm(d->watch);
        return false;
    }
    enum response_end end = response_next_piece(d->response, piece_);
    enum watch_cut cut = watch_disarm(d->watch);
    if (cut != WATCH_NOT_CUT) {
        d->response->whole = false; /* the end of the connection was our own doing */
    }
    switch (cut) {
    case WATCH_NOT_CUT:
        break;
    case WATCH_CUT_DEADLINE:
        d->broke = ATTEMPT_TIMEOUT;
        d->end = ACCESS_BACKEND_BROKE;
        return false;
    case WATCH_CUT_CLIENT:
    case WATCH_CUT_BACKEND: /* its subject may not leave */
    case WATCH_CUT_STOP:
        d->broke = ATTEMPT_CANCELLED;
        d->end = cut == WATCH_CUT_STOP ? ACCESS_STOPPED : ACCESS_CLIENT_GONE;
        return false;
    }
    if (end != RESPONSE_STREAM) {
        d->broke = end == RESPONSE_MALFORMED ? ATTEMPT_PROTOCOL : ATTEMPT_RESET;
        d->end = ACCESS_BACKEND_BROKE;
    }
    return end == RESPONSE_STREAM;
}

/* Notes what the client got. */
static void note_end(struct delivery *d, bool sent)
{
    if (sent && d->response->whole) {
        return;
    }
    uint64_t unsent =
        d->lost_bytes + (d->outbox == NULL ? 0 : d->outbox->spool.length_bytes - d->outbox->sent_bytes);
    d->body_bytes = d->body_bytes > unsent ? d->body_bytes - unsent : 0;
    d->end = d->end == ACCESS_WHOLE ? ACCESS_CLIENT_GONE : d->end;
}

/* What is left to say when nothing more is sent from here. */
static enum delivered finish(struct delivery *d, enum forward_body body, bool sent, bool keep_alive)
{
    note_end(d, sent);
    if (d->outbox != NULL && sent && d->response->whole) {
        d->outbox->keep_alive = keep_alive;
        return DELIVERED_LATER;
    }
    outbox_delete(d->outbox);
    d->outbox = NULL;
    if (d->end == ACCESS_CLIENT_SLOW) {
        return DELIVERED_ABORT; /* this frees what the kernel still holds for it, and tells it */
    }
    if (!d->response->whole && body == FORWARD_BODY_CLOSE) {
        return DELIVERED_ABORT; /* such a body has no other mark of its end than the connection's */
    }
    return sent && keep_alive ? DELIVERED_KEEP : DELIVERED_CLOSE;
}

enum delivered deliver(struct delivery *d)
{
    struct response *r = d->response;
    enum forward_body body = choose_body(d);
    bool chunked = body == FORWARD_BODY_CHUNKED;
    bool keep_alive = d->keep_alive && body != FORWARD_BODY_CLOSE;
    struct forward_response forward = {
        .head = &r->head,
        .body = body,
        .length_bytes = r->whole ? r->body_bytes : r->framing.length_bytes,
        .client_minor = d->client_minor,
        .keep_alive = keep_alive,
        .keep_trailer = chunked && d->takes_trailers,
        .date = deliver_date(),
    };
    forward_response_head(&d->out, &forward);
    MUST(writer_ok(&d->out)); /* twice the longest head that is let in */
    struct slice piece = response_held(r);
    bool sent =
        send_piece(d, knock_rest(d->client, (struct slice){d->out.at, d->out.length}), piece, chunked);
    while (sent && !r->whole) {
        sent = read_piece(d, &piece) && send_piece(d, (struct slice){NULL, 0}, piece, chunked);
    }
    return finish(d, body, sent, keep_alive);
}

static bool deliver_1xx(struct client *c, const struct http_head *head, struct writer out, bool upgrade)
{
    struct forward_response forward = {
        .head = head, .body = FORWARD_BODY_NONE, .client_minor = 1, .keep_alive = true, .upgrade = upgrade};
    forward_response_head(&out, &forward);
    MUST(writer_ok(&out));
    struct iovec iov = piece_of(knock_rest(c, (struct slice){out.at, out.length}));
    return net_send_all(c->fd, &iov, 1, MSG_DONTWAIT) == 0;
}

bool deliver_early(struct client *c, const struct http_head *head, struct writer out)
{
    return deliver_1xx(c, head, out, false);
}

bool deliver_upgrade(struct client *c, const struct http_head *head, struct writer out)
{
    return deliver_1xx(c, head, out, true);
}
