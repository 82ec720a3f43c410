/* SPDX-License-Identifier: MIT
 * The hold rule (docs/configuration.md, retry.hold_bytes): a body of known length that fits is held until it
 * is whole; one of unknown length until it is whole, hold_bytes of it are there, or hold_ms have passed since
 * its head; an event stream never. What is held can still be thrown away when the backend breaks, and asked
 * for elsewhere. */
#include "proxy/response.h"

#include "common/http_offence.h"
#include "common/net.h"
#include "common/panic.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { INTERIM_MAX = 16 };

bool response_init(struct response *r, size_t header_bytes, size_t hold_bytes)
{
    *r = (struct response){.fd = -1, .header_bytes = header_bytes, .capacity = header_bytes + hold_bytes + 1};
    r->buffer = malloc(r->capacity);
    return r->buffer != NULL;
}

void response_clear(struct response *r)
{
    if (r->fd != -1) {
        close(r->fd);
        r->fd = -1;
    }
    http_chunk_release(&r->chunk);
    r->bytes = 0;
    r->body_at = 0;
    r->body_bytes = 0;
    r->left_bytes = 0;
    r->interim_count = 0;
    r->whole = false;
    r->excess = false;
    r->sender = NULL;
    r->before_wait = NULL;
    r->ended = false;
    r->reset = false;
    r->offence = NULL;
}

void response_release(struct response *r)
{
    response_clear(r);
    free(r->buffer);
    r->buffer = NULL;
}

void response_push(struct response *r)
{
    enum sender_progress progress = sender_push(r->sender);
    if (progress != SENDER_MORE) {
        r->excess = r->excess || progress == SENDER_BROKEN;
        r->sender = NULL;
    }
}

static void note_wait(const struct response *r)
{
    if (r->before_wait != NULL) {
        r->before_wait(r->owner, r->fd);
    }
}

/* Waits until something can be read (true), or UNTIL (false); sends the rest of the request meanwhile. */
static bool await_bytes(struct response *r, mono_ns until)
{
    note_wait(r);
    for (;;) {
        struct pollfd wait = {.fd = r->fd, .events = POLLIN};
        wait.events |= r->sender != NULL ? POLLOUT : 0;
        int ready = poll(&wait, 1, deadline_poll_ms(until, clock_mono()));
        if (ready == 0) {
            return false;
        }
        if (ready == 1 && (wait.revents & POLLOUT) != 0 && r->sender != NULL) {
            response_push(r);
        }
        if (ready == 1 && (wait.revents & ~POLLOUT) != 0) {
            return true;
        }
    }
}

/* Reads once to the end of what the buffer holds, ROOM bytes at the most. 0 at the end of the connection, -1
 * when it broke. The caller's watch bounds the wait. */
static ssize_t fill(struct response *r, size_t room, int flags)
{
    MUST(room > 0 && room <= r->capacity - r->bytes);
    if (r->ended) {
        return r->reset ? -1 : 0;
    }
    note_wait(r);
    if (r->sender != NULL) {
        await_bytes(r, DEADLINE_NO);
        flags = 0; /* MSG_WAITALL would wait for what can't come before the rest of the request is sent */
    }
    ssize_t got = net_recv(r->fd, r->buffer + r->bytes, room, flags);
    r->ended = got <= 0;
    r->reset = got == -1;
    if (got > 0) {
        r->bytes += (size_t)got;
    }
    return got;
}

void response_begin(struct response *r, int fd, struct sender *sender)
{
    r->fd = fd;
    r->scan = (struct http_head_scan){.kind = HTTP_KIND_RESPONSE};
    r->sender = sender;
    if (sender != NULL) {
        response_push(r);
    }
}

bool response_peek(struct response *r)
{
    ssize_t got = net_recv(r->fd, r->buffer, r->capacity, MSG_DONTWAIT);
    if (got == -1 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return false;
    }
    r->ended = got <= 0;
    r->reset = got == -1;
    r->bytes = got > 0 ? (size_t)got : 0;
    return true;
}

int response_part(struct response *r)
{
    int fd = r->fd;
    r->fd = -1;
    return fd;
}

/* Whether HEAD, a 101, switches to protocols that were OFFERED, and to nothing else (RFC 9110, 7.8). */
static bool is_asked_upgrade(const struct http_head *head, struct slice offered)
{
    const struct http_field *upgrade = http_head_find(head, HTTP_FIELD_UPGRADE);
    if (upgrade == NULL || upgrade->value.length == 0) {
        return false;
    }
    struct slice rest = upgrade->value;
    struct slice protocol;
    while (http_list_next(&rest, &protocol)) {
        if (!http_list_has(offered, protocol)) {
            return false;
        }
    }
    return true;
}

/* Decodes the head that has been found whole, and judges it. False when it is malformed: r->offence. */
static bool accept_head(struct response *r, const struct response_rules *rules)
{
    r->offence = http_decode(&r->head, HTTP_KIND_RESPONSE, r->buffer, r->scan.seen);
    if (r->offence == NULL) {
        r->offence = http_framing_response(&r->head, rules->method, &r->framing);
    }
    if (r->offence == NULL && r->head.status == 101 && !is_asked_upgrade(&r->head, rules->upgrade)) {
        r->offence = &http_offence_unasked_upgrade;
    }
    if (r->offence == NULL && r->head.status < 200 && ++r->interim_count > INTERIM_MAX) {
        r->offence = &http_offence_too_many_interim;
    }
    return r->offence == NULL;
}

/* Receives until the final head is whole; RESPONSE_HELD then. */
static enum response_end receive_head(struct response *r, const struct response_rules *rules)
{
    for (;;) {
        r->scan.limit_bytes = r->header_bytes;
        enum http_head_progress progress = http_head_scan(&r->scan, r->buffer, r->bytes, &r->offence);
        if (progress == HTTP_HEAD_MORE) {
            ssize_t got = fill(r, r->capacity - r->bytes, 0);
            if (got <= 0) {
                return r->bytes == 0 && r->interim_count == 0 ? RESPONSE_EMPTY : RESPONSE_BROKEN;
            }
            continue;
        }
        if (progress == HTTP_HEAD_BAD || !accept_head(r, rules)) {
            return RESPONSE_MALFORMED;
        }
        if (r->head.status >= 200 || r->head.status == 101) {
            return RESPONSE_HELD;
        }
        if (r->head.status == 103 && rules->early != NULL) {
            rules->early(rules->owner, &r->head);
        }
        /* An interim response: drop it, look behind it. */
        r->bytes -= r->scan.seen;
        memmove(r->buffer, r->buffer + r->scan.seen, r->bytes);
        r->scan = (struct http_head_scan){.kind = HTTP_KIND_RESPONSE};
    }
}

static bool is_event_stream(const struct http_head *head)
{
    const struct http_field *type = http_head_find(head, HTTP_FIELD_CONTENT_TYPE);
    static const struct slice wanted = {"text/event-stream", 17};
    return type != NULL && type->value.length >= wanted.length &&
           slice_equal_nocase((struct slice){type->value.at, wanted.length}, wanted);
}

static enum response_end hold_length(struct response *r, const struct response_rules *rules)
{
    uint64_t length = r->framing.length_bytes;
    r->body_bytes = r->bytes - r->body_at;
    if (r->body_bytes > length) {
        r->excess = true;
        r->body_bytes = (size_t)length;
    }
    r->left_bytes = length - r->body_bytes;
    if (length > rules->hold_bytes || (r->left_bytes > 0 && is_event_stream(&r->head))) {
        r->whole = r->left_bytes == 0;
        return r->whole ? RESPONSE_HELD : RESPONSE_STREAM;
    }
    while (r->left_bytes > 0) {
        ssize_t got = fill(r, (size_t)r->left_bytes, MSG_WAITALL);
        if (got <= 0) {
            return RESPONSE_BROKEN;
        }
        r->body_bytes += (size_t)got;
        r->left_bytes -= (uint64_t)got;
    }
    r->whole = true;
    return RESPONSE_HELD;
}

/* Decodes the COUNT raw bytes that stand behind the held body. RESPONSE_STREAM means: the body goes on. */
static enum response_end decode_chunks(struct response *r, size_t at, size_t count, size_t *data_bytes_)
{
    struct http_chunk_step step;
    switch (http_chunk_decode(&r->chunk, r->buffer + at, count, &step, &r->offence)) {
    case HTTP_CHUNK_BAD:
        return RESPONSE_MALFORMED;
    case HTTP_CHUNK_DONE:
        r->whole = true;
        r->excess = r->excess || step.taken_bytes < count;
        *data_bytes_ = step.data_bytes;
        return RESPONSE_HELD;
    case HTTP_CHUNK_MORE:
        *data_bytes_ = step.data_bytes;
        return RESPONSE_STREAM;
    }
    UNREACHABLE();
}

/* A body of unknown length: chunked, or until the connection closes. */
static enum response_end hold_unknown(struct response *r, const struct response_rules *rules)
{
    bool chunked = r->framing.body == HTTP_BODY_CHUNKED;
    mono_ns until = deadline_after_ms(clock_mono(), is_event_stream(&r->head) ? 0 : rules->hold_ms);
    size_t fresh = r->bytes - r->body_at;
    for (;;) {
        size_t data = fresh;
        if (chunked) {
            enum response_end end = decode_chunks(r, r->body_at + r->body_bytes, fresh, &data);
            if (end != RESPONSE_STREAM) {
                r->body_bytes += end == RESPONSE_HELD ? data : 0;
                return end;
            }
        }
        r->body_bytes += data;
        r->bytes = r->body_at + r->body_bytes;
        if (r->body_bytes >= rules->hold_bytes || r->bytes == r->capacity || !await_bytes(r, until)) {
            return RESPONSE_STREAM;
        }
        size_t before = r->bytes;
        ssize_t got = fill(r, r->capacity - r->bytes, 0);
        if (got == 0 && !chunked) {
            r->whole = true;
            return RESPONSE_HELD;
        }
        if (got <= 0) {
            return RESPONSE_BROKEN;
        }
        fresh = r->bytes - before;
    }
}

enum response_end response_receive(struct response *r, const struct response_rules *rules)
{
    r->before_wait = rules->before_wait;
    r->owner = rules->owner;
    enum response_end end = receive_head(r, rules);
    if (end != RESPONSE_HELD) {
        return end;
    }
    r->body_at = r->scan.seen;
    switch (r->framing.body) {
    case HTTP_BODY_NONE:
        r->whole = true;
        r->excess = r->excess || r->bytes > r->body_at;
        return RESPONSE_HELD;
    case HTTP_BODY_LENGTH:
        return hold_length(r, rules);
    case HTTP_BODY_CHUNKED:
        http_chunk_init(&r->chunk, UINT64_MAX);
        return hold_unknown(r, rules);
    case HTTP_BODY_CLOSE:
        return hold_unknown(r, rules);
    }
    UNREACHABLE();
}

enum response_end response_next_piece(struct response *r, struct slice *piece_)
{
    *piece_ = (struct slice){r->buffer, 0};
    r->bytes = 0;
    size_t room = r->capacity;
    if (r->framing.body == HTTP_BODY_LENGTH && r->left_bytes < room) {
        room = (size_t)r->left_bytes;
    }
    ssize_t got = fill(r, room, 0);
    if (got == 0 && r->framing.body == HTTP_BODY_CLOSE) {
        r->whole = true;
        return RESPONSE_STREAM;
    }
    if (got <= 0) {
        return RESPONSE_BROKEN;
    }
    piece_->length = (size_t)got;
    if (r->framing.body == HTTP_BODY_LENGTH) {
        r->left_bytes -= (uint64_t)got;
        r->whole = r->left_bytes == 0;
    } else if (r->framing.body == HTTP_BODY_CHUNKED &&
               decode_chunks(r, 0, (size_t)got, &piece_->length) == RESPONSE_MALFORMED) {
        return RESPONSE_MALFORMED;
    }
    return RESPONSE_STREAM;
}

bool response_connection_reusable(const struct response *r)
{
    return r->whole && !r->excess && r->sender == NULL && r->head.keep_alive &&
           r->framing.body != HTTP_BODY_CLOSE;
}

struct slice response_held(const struct response *r)
{
    return (struct slice){r->buffer + r->body_at, r->body_bytes};
}

struct slice response_tunnel_bytes(const struct response *r)
{
    return (struct slice){r->buffer + r->body_at, r->bytes - r->body_at};
}

struct slice response_trailers(const struct response *r)
{
    if (!r->whole || r->framing.body != HTTP_BODY_CHUNKED || r->chunk.trailers == NULL) {
        return (struct slice){NULL, 0};
    }
    return (struct slice){r->chunk.trailers, r->chunk.trailers_bytes};
}

void response_give_up_request(struct response *r)
{
    if (r->sender != NULL) {
        r->sender = NULL;
        r->excess = true;
    }
}
