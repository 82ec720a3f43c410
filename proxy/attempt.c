/* SPDX-License-Identifier: MIT */
#include "proxy/attempt.h"

#include "common/net.h"
#include "common/panic.h"
#include "proxy/deliver.h"
#include "proxy/dial.h"
#include "proxy/forward.h"
#include "proxy/hedge.h"
#include "proxy/trial.h"

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

/* Whether the body is sent chunked, which only trailers need. */
static bool sends_trailers(const struct attempt *a)
{
    struct slice trailers = {a->request->chunk.trailers, a->request->chunk.trailers_bytes};
    return a->takes_trailers && trailers.length > 0 && forward_trailers_are_plain(trailers);
}

/* Writes the request's head into the worker's buffer. */
static struct slice request_head(const struct attempt *a)
{
    static const size_t scheme_bytes = sizeof "http://" - 1;
    struct forward_request forward = {
        .head = &a->request->head,
        .identity = &a->identity,
        .client = &a->client->peer,
        .trusted = a->trusted,
        .has_body = a->request->framing.body != HTTP_BODY_NONE,
        .chunked = sends_trailers(a),
        .body_bytes = request_body_bytes(a->request),
        .authority = slice_of(plan_backend(a->plan, a->backend)->url + scheme_bytes),
        .upgrade = a->upgrade,
        .te_trailers = a->takes_trailers,
    };
    struct writer w = {.at = a->out, .capacity = a->out_bytes};
    forward_request_head(&w, &forward);
    MUST(writer_ok(&w)); /* made for the longest head that is let in */
    return (struct slice){w.at, w.length};
}

static struct iovec piece(const void *at, size_t length)
{
    return (struct iovec){.iov_base = (void *)at, .iov_len = length};
}

/* Head and body as they go out. A body with trailers goes as one chunk (RFC 9112, 7.1), whose size line is
 * written to SIZE. */
static struct sender sender_of(const struct attempt *a, int fd, struct slice head,
                               char size[static ATTEMPT_SIZE_LINE_BYTES])
{
    const struct request *r = a->request;
    uint64_t body_bytes = request_body_bytes(r);
    struct slice last_chunk = SLICE("\r\n0\r\n"); /* and the end of the data before it */
    struct sender s = {.fd = fd, .before = {piece(head.at, head.length)}, .file = -1};
    if (r->body.at != NULL) {
        s.before[2] = piece(r->body.at, r->body.length);
    } else if (r->spool.file == -1) {
        s.before[2] = piece(r->spool.memory, (size_t)body_bytes);
    } else {
        s.file = r->spool.file;
        s.file_bytes = body_bytes;
    }
    if (sends_trailers(a)) {
        int written =
            body_bytes == 0 ? 0 : snprintf(size, ATTEMPT_SIZE_LINE_BYTES, "%" PRIx64 "\r\n", body_bytes);
        size_t skipped = body_bytes == 0 ? sizeof "\r\n" - 1 : 0;
        s.before[1] = piece(size, (size_t)written);
        s.after[0] = piece(last_chunk.at + skipped, last_chunk.length - skipped);
        s.after[1] = piece(r->chunk.trailers, r->chunk.trailers_bytes);
        s.after[2] = piece("\r\n", 2);
    }
    return s;
}

void attempt_free_out(struct attempt *a)
{
    if (a->response->sender != NULL && !sender_has_begun_body(a->response->sender)) {
        response_give_up_request(a->response);
    }
}

/* Passes a backend's 103 (RFC 8297) on at once. */
static void pass_early(void *owner, const struct http_head *head)
{
    struct attempt *a = owner;
    attempt_free_out(a);
    struct writer out = {.at = a->out, .capacity = a->out_bytes};
    if (!a->client_broken && !deliver_early(a->client, head, out)) {
        a->client_broken = true;
    }
}

/* What it means for the attempt that its connection ended under CUT. */
static enum attempt_end end_of_cut(struct attempt *a, enum watch_cut cut)
{
    switch (cut) {
    case WATCH_NOT_CUT:
        return ATTEMPT_RESET;
    case WATCH_CUT_DEADLINE:
    case WATCH_CUT_BACKEND: /* it gave no usable response while it was in rotation */
        return ATTEMPT_TIMEOUT;
    case WATCH_CUT_STOP:
        a->stopped = true;
        return ATTEMPT_CANCELLED;
    case WATCH_CUT_CLIENT:
        a->client_gone = true;
        return ATTEMPT_CANCELLED;
    }
    UNREACHABLE();
}

struct watch_subject attempt_subject(const struct attempt *a, mono_ns now)
{
    return (struct watch_subject){.judged = true,
                                  .client_slot = a->client->slot,
                                  .client_fd = a->client->fd,
                                  .backend = a->backend,
                                  .may_leave = a->may_leave,
                                  .tried = a->tried,
                                  .since = now};
}

/* The worker is about to wait on FD: the events of the epoll set, and its own fetched ones, are for others.
 */
static void before_wait(void *owner, int fd)
{
    const struct attempt *a = owner;
    parking_leave(a->proxy->parking, fd);
    watch_note_wait(a->worker_watch);
}

/* Sends the request on FD with its TAG, which the response owns from now on. */
static void send_on(struct attempt *a, int fd, struct upstream_tag tag, bool reused)
{
    /* An attempt that finds an idle connection has not waited since it began. */
    struct watch_subject subject = attempt_subject(a, reused ? a->trial->last.begun : clock_mono());
    mono_ns deadline = deadline_after_ms(subject.since, a->plan->config.timeouts.response_ms);
    bool parks = a->may_park && parking_expect(a->proxy->parking, a->client, fd);
    a->watch = parks ? proxy_watch_of_descriptor(a->proxy, fd) : a->worker_watch;
    a->reused = reused;
    a->sent_at = subject.since;
    watch_arm_for(a->watch, fd, deadline_earlier(deadline, a->deadline), &subject);
    a->sender = sender_of(a, fd, request_head(a), a->chunk_size);
    a->response->tag = tag;
    response_begin(a->response, fd, &a->sender);
}

/* Whether the attempt can be left: all is sent, and the epoll set says when something comes. */
static bool can_be_left(const struct attempt *a)
{
    return a->watch != a->worker_watch && response_has_sent(a->response);
}

static enum attempt_progress leave(struct attempt *a)
{
    a->tag = a->response->tag;
    a->fd = response_part(a->response);
    response_clear(a->response);
    return ATTEMPT_PENDING;
}

/* Ends the wait on FD. */
static enum watch_cut end_wait(const struct attempt *a, int fd)
{
    parking_settle(a->proxy->parking, fd);
    return watch_disarm(a->watch);
}

/* Whether the connection, which ended before the first byte of a response, was stale: that is not the
 * backend's fault. One that was shows it as soon as a connect would be answered; one that ends later has been
 * worked on. */
static bool was_stale(const struct attempt *a)
{
    return a->reused && clock_mono() <= deadline_after_ms(a->sent_at, a->plan->config.timeouts.connect_ms);
}

/* Receives the response to what was sent. *STALE_ is set when the connection was stale, and nobody cut it. */
static enum attempt_end receive(struct attempt *a, bool *stale_)
{
    const struct config *config = &a->plan->config;
    struct response_rules rules = {
        .method = a->request->head.method,
        .hold_bytes = config->retry.hold_bytes,
        .hold_ms = config->retry.hold_ms,
        .upgrade = a->upgrade,
        .early = a->request->head.version_minor > 0 ? pass_early : NULL,
        .before_wait = before_wait,
        .owner = a,
    };
    int fd = a->response->fd;
    enum response_end end = response_receive(a->response, &rules);
    enum watch_cut cut = end_wait(a, fd);
    a->empty = end == RESPONSE_EMPTY;
    *stale_ = a->empty && cut == WATCH_NOT_CUT && was_stale(a);
    if (cut != WATCH_NOT_CUT) {
        a->response->excess = true;
    }
    switch (end) {
    case RESPONSE_HELD:
        if (cut == WATCH_NOT_CUT || a->response->framing.body != HTTP_BODY_CLOSE) {
            return ATTEMPT_ANSWERED;
        }
        break; /* the end that made it whole was our own cut */
    case RESPONSE_STREAM:
        if (cut == WATCH_NOT_CUT) {
            return ATTEMPT_ANSWERED;
        }
        break;
    case RESPONSE_MALFORMED:
        return ATTEMPT_PROTOCOL;
    case RESPONSE_EMPTY:
    case RESPONSE_BROKEN:
        break;
    }
    return end_of_cut(a, cut);
}

/* Why no connection was made. */
static enum attempt_end end_of_connect(struct attempt *a, const struct hedge_link *link)
{
    if (link->cut != WATCH_NOT_CUT) {
        return end_of_cut(a, link->cut);
    }
    if (dial_is_starvation(link->error)) {
        a->starved = true;
        return ATTEMPT_CANCELLED;
    }
    a->connect_error = link->error;
    return ATTEMPT_CONNECT;
}

/* Sends the request on LINK; on a new connection when there is no idle one. False when there is none: *END_.
 */
static bool send_on_link(struct attempt *a, struct upstream_route *route, struct hedge_link link,
                         enum attempt_end *end_)
{
    if (link.fd == -1) {
        watch_note_wait(a->worker_watch);
        link = hedge_connect(a, route);
    }
    if (link.fd == -1) {
        *end_ = end_of_connect(a, &link);
        return false;
    }
    if (!link.idle) {
        parking_fresh(a->proxy->parking, link.fd);
    }
    send_on(a, link.fd, link.tag, link.idle);
    return true;
}

/* Receives; while the connection was stale, sends the request once more on another one. */
static enum attempt_progress finish(struct attempt *a, enum attempt_end *end_)
{
    for (;;) {
        bool stale = false;
        *end_ = receive(a, &stale);
        if (!stale || *end_ != ATTEMPT_RESET) {
            return ATTEMPT_ENDED;
        }
        static const struct hedge_link none = {.fd = -1};
        struct upstream_route route;
        response_clear(a->response);
        hedge_route(a->proxy, a->backend, &route);
        if (!send_on_link(a, &route, none, end_)) {
            return ATTEMPT_ENDED;
        }
        if (can_be_left(a)) {
            return leave(a);
        }
    }
}

enum attempt_progress attempt_begin(struct attempt *a, enum attempt_end *end_)
{
    struct upstream_route route;
    struct hedge_link link = {.fd = -1};
    a->starved = false;
    hedge_route(a->proxy, a->backend, &route);
    if (!hedge_take_idle(a, &route, &link)) {
        link.fd = -1;
    }
    if (!send_on_link(a, &route, link, end_)) {
        return ATTEMPT_ENDED;
    }
    return can_be_left(a) ? leave(a) : finish(a, end_);
}

enum attempt_progress attempt_continue(struct attempt *a, enum attempt_end *end_)
{
    a->response->tag = a->tag;
    response_begin(a->response, a->fd, NULL);
    if (response_peek(a->response)) {
        return finish(a, end_);
    }
    if (!a->client->gone) {
        return leave(a);
    }
    end_wait(a, a->fd);
    response_clear(a->response);
    a->client_gone = true;
    *end_ = ATTEMPT_CANCELLED;
    return ATTEMPT_ENDED;
}

void attempt_abandon(struct attempt *a)
{
    end_wait(a, a->fd);
    close(a->fd);
}
