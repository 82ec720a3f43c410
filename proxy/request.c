/* SPDX-License-Identifier: MIT
 * One buffer takes the head and, when it fits behind the head, the body: the common request is read with one
 * recv and never copied. A larger body of known length is read straight into the spool, asked for by its
 * exact length, so that pipelined bytes stay in the socket. A chunked body is decoded in the buffer and
 * appended to the spool. */
#include "proxy/request.h"

#include "common/http_offence.h"
#include "common/panic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    FIRST_CAPACITY = 16 << 10,
    CHUNK_ROOM = 16 << 10, /* a chunked body is read in pieces of this much */
};

struct request *request_new(void)
{
    struct request *r = malloc(sizeof *r);
    if (r == NULL) {
        return NULL;
    }
    r->in = malloc(FIRST_CAPACITY);
    if (r->in == NULL) {
        free(r);
        return NULL;
    }
    r->in_capacity = FIRST_CAPACITY;
    r->chunk = (struct http_chunk){.state = 0};
    spool_init(&r->spool);
    request_clear(r);
    return r;
}

void request_delete(struct request *r)
{
    if (r != NULL) {
        http_chunk_release(&r->chunk);
        spool_release(&r->spool);
        free(r->in);
        free(r);
    }
}

/* Everything of one request but the bytes in IN. */
static void forget(struct request *r)
{
    r->stage = REQUEST_HEAD;
    r->end = 0;
    r->begun = 0;
    r->body_begun = 0;
    r->wants_continue = false;
    r->has_head = false;
    r->scan = (struct http_head_scan){.kind = HTTP_KIND_REQUEST};
    r->body = (struct slice){NULL, 0};
    http_chunk_release(&r->chunk);
    if (r->spool.length_bytes > 0 || r->spool.file != -1) {
        spool_clear(&r->spool);
    }
}

void request_clear(struct request *r)
{
    r->in_bytes = 0;
    forget(r);
}

void request_next(struct request *r)
{
    MUST(r->stage == REQUEST_WHOLE);
    r->in_bytes -= r->end;
    if (r->in_bytes > 0) {
        memmove(r->in, r->in + r->end, r->in_bytes);
    }
    forget(r);
}

void request_drop_front(struct request *r, size_t count)
{
    MUST(r->stage == REQUEST_HEAD && count <= r->in_bytes);
    r->in_bytes -= count;
    memmove(r->in, r->in + count, r->in_bytes);
    r->begun = 0;
}

static bool ensure_capacity(struct request *r, size_t capacity)
{
    if (capacity <= r->in_capacity) {
        return true;
    }
    char *in = realloc(r->in, capacity);
    if (in == NULL) {
        return false;
    }
    r->in = in;
    r->in_capacity = capacity;
    return true;
}

char *request_room(struct request *r, const struct request_limits *limits, size_t *room_)
{
    if (r->stage == REQUEST_BODY && r->framing.body == HTTP_BODY_LENGTH && r->body.at == NULL) {
        return spool_room(&r->spool, r->framing.length_bytes - r->spool.length_bytes, room_);
    }
    if (r->in_bytes == r->in_capacity) {
        MUST(r->stage == REQUEST_HEAD); /* a body's room was made when its head was whole */
        size_t wanted = r->in_capacity * 2 < limits->header_bytes ? r->in_capacity * 2 : limits->header_bytes;
        if (wanted <= r->in_capacity) {
            wanted = r->in_capacity + 1; /* the byte that makes the scan say "too large" */
        }
        if (!ensure_capacity(r, wanted)) {
            return NULL;
        }
    }
    *room_ = r->in_capacity - r->in_bytes;
    return r->in + r->in_bytes;
}

/* Whether all that HEAD expects is 100-continue (RFC 9110, 10.1.1: a list, empty members of which mean
 * nothing). Sets *CONTINUE_ when it expects that. */
static bool read_expectations(const struct http_head *head, bool *continue_)
{
    *continue_ = false;
    if (http_head_find(head, HTTP_FIELD_EXPECT) == NULL || head->version_minor == 0) {
        return true;
    }
    for (size_t i = 0; i < head->field_count; i++) {
        struct slice list = head->fields[i].value;
        struct slice member;
        while (head->fields[i].id == HTTP_FIELD_EXPECT && http_list_next(&list, &member)) {
            if (!slice_equal_nocase(member, SLICE("100-continue"))) {
                return false;
            }
            *continue_ = true;
        }
    }
    return true;
}

/* The head is whole: decodes it, decides the framing and makes the room for the body. */
static const struct http_offence *begin_body(struct request *r, const struct request_limits *limits,
                                             mono_ns now)
{
    size_t head_bytes = r->scan.seen;
    if (!ensure_capacity(r, head_bytes + CHUNK_ROOM)) {
        return &http_offence_no_storage;
    }
    const struct http_offence *offence =
        http_decode(&r->head, HTTP_KIND_REQUEST, r->in + r->scan.start, head_bytes - r->scan.start);
    r->has_head = offence == NULL;
    if (r->has_head) {
        offence = http_framing_request(&r->head, &r->framing);
    }
    if (offence != NULL) {
        return offence;
    }
    if (r->framing.body == HTTP_BODY_LENGTH && r->framing.length_bytes > limits->body_bytes) {
        return &http_offence_body_too_large;
    }
    bool expects = false;
    if (!read_expectations(&r->head, &expects)) {
        return &http_offence_bad_expectation;
    }
    r->wants_continue = expects && r->framing.body != HTTP_BODY_NONE && r->in_bytes == head_bytes;
    r->stage = REQUEST_BODY;
    r->body_begun = now;
    r->end = head_bytes;
    if (r->framing.body == HTTP_BODY_CHUNKED) {
        http_chunk_init(&r->chunk, limits->body_bytes);
    } else if (r->framing.body == HTTP_BODY_NONE || r->framing.length_bytes <= r->in_capacity - head_bytes) {
        r->body.at = r->in + head_bytes; /* it stands in place */
    } else if (!spool_append(&r->spool, r->in + head_bytes, r->in_bytes - head_bytes)) {
        return &http_offence_no_storage;
    } else {
        r->in_bytes = head_bytes;
    }
    return NULL;
}

/* A body of known length, COUNT bytes of which were read into the room just now. */
static enum request_progress advance_length(struct request *r, size_t count,
                                            const struct http_offence **offence_)
{
    if (r->body.at == NULL) {
        if (!spool_commit(&r->spool, count)) {
            *offence_ = &http_offence_no_storage;
            return REQUEST_REFUSED;
        }
        r->stage = r->spool.length_bytes == r->framing.length_bytes ? REQUEST_WHOLE : REQUEST_BODY;
    } else {
        r->in_bytes += count;
        size_t length = r->framing.body == HTTP_BODY_NONE ? 0 : (size_t)r->framing.length_bytes;
        if (r->in_bytes - r->end >= length) {
            r->body.length = length;
            r->end += length;
            r->stage = REQUEST_WHOLE;
        }
    }
    return r->stage == REQUEST_WHOLE ? REQUEST_READY : REQUEST_MORE;
}

static enum request_progress advance_chunked(struct request *r, size_t count,
                                             const struct http_offence **offence_)
{
    r->in_bytes += count;
    char *raw = r->in + r->end;
    size_t length = r->in_bytes - r->end;
    struct http_chunk_step step;
    enum http_chunk_progress progress = http_chunk_decode(&r->chunk, raw, length, &step, offence_);
    if (progress == HTTP_CHUNK_BAD) {
        return REQUEST_REFUSED;
    }
    if (!spool_append(&r->spool, raw, step.data_bytes)) {
        *offence_ = &http_offence_no_storage;
        return REQUEST_REFUSED;
    }
    memmove(raw, raw + step.taken_bytes, length - step.taken_bytes);
    r->in_bytes = r->end + length - step.taken_bytes;
    if (progress == HTTP_CHUNK_DONE) {
        r->stage = REQUEST_WHOLE;
        return REQUEST_READY;
    }
    return REQUEST_MORE;
}

enum request_progress request_received(struct request *r, const struct request_limits *limits, size_t count,
                                       mono_ns now, const struct http_offence **offence_)
{
    if (r->stage == REQUEST_HEAD) {
        r->in_bytes += count;
        if (r->in_bytes == 0) {
            return REQUEST_MORE;
        }
        count = 0;
        if (r->begun == 0) {
            r->begun = now;
        }
        r->scan.limit_bytes = limits->header_bytes;
        enum http_head_progress progress = http_head_scan(&r->scan, r->in, r->in_bytes, offence_);
        if (progress == HTTP_HEAD_MORE) {
            if (r->scan.start == r->in_bytes) {
                request_clear(r); /* only empty lines: no request has begun (RFC 9112, 2.2) */
            }
            return REQUEST_MORE;
        }
        if (progress == HTTP_HEAD_DONE) {
            *offence_ = begin_body(r, limits, now);
        }
        if (*offence_ != NULL) {
            return REQUEST_REFUSED;
        }
    } else if (count > 0) {
        r->wants_continue = false;
    }
    if (r->framing.body == HTTP_BODY_CHUNKED) {
        return advance_chunked(r, count, offence_);
    }
    return advance_length(r, count, offence_);
}

uint64_t request_body_bytes(const struct request *r)
{
    return r->body.at != NULL ? r->body.length : r->spool.length_bytes;
}

uint64_t request_body_received(const struct request *r)
{
    if (r->stage != REQUEST_BODY) {
        return request_body_bytes(r);
    }
    return r->body.at != NULL ? r->in_bytes - r->end : r->spool.length_bytes;
}
