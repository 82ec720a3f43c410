/* SPDX-License-Identifier: MIT
 * A state machine over single framing bytes; runs of data are moved whole. It may be left and entered again
 * at any byte. A trailer field line is judged when it is complete, from the copy that is kept anyway.
 *
 * Two bounds work together against bodies that are mostly wrapping. One size line is at most
 * SIZE_LINE_BYTES_MAX long. And extension bytes must be paid for: each byte of data pays for one, and beyond
 * that OVERHEAD_BYTES_MAX are free, so a stream of one-byte chunks with long extensions is soon refused,
 * while plain one-byte chunks are not. */
#include "common/http_chunk.h"

#include "common/http_offence.h"
#include "common/slice.h"

#include <stdlib.h>
#include <string.h>

enum {
    SIZE_DIGITS_MAX = 16,
    SIZE_LINE_BYTES_MAX = 4096,
    OVERHEAD_BYTES_MAX = 16384,
    TRAILERS_BYTES_MAX = 8192,
};

/* What is expected next. SIZE is 0, so that a zeroed struct begins a body. */
enum state { SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER_START, TRAILER, END_LF, DONE };

/* Fields that are refused in trailers (RFC 9110, 6.5.1): whoever joins trailers to the head would let the
 * sender of the body change framing, routing, authentication, or how the content is read, after it was all
 * decided. */
static const char *const forbidden_trailers[] = {
    "Transfer-Encoding",
    "Content-Length",
    "Trailer",
    "TE",
    "Connection",
    "Keep-Alive",
    "Proxy-Connection",
    "Upgrade",
    "Host",
    "Forwarded",
    "Via",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Request-Id",
    "Authorization",
    "Proxy-Authorization",
    "WWW-Authenticate",
    "Proxy-Authenticate",
    "Cookie",
    "Set-Cookie",
    "Expect",
    "Max-Forwards",
    "Range",
    "Cache-Control",
    "Content-Encoding",
    "Content-Type",
    "Content-Range",
    "Location",
};

void http_chunk_init(struct http_chunk *c, uint64_t most_bytes)
{
    *c = (struct http_chunk){.state = SIZE, .room_bytes = most_bytes};
}

void http_chunk_release(struct http_chunk *c)
{
    free(c->trailers);
    *c = (struct http_chunk){.state = SIZE};
}

/* The value of a hexadecimal digit, or -1. */
static int hex_value(unsigned char byte)
{
    if (byte >= '0' && byte <= '9') {
        return byte - '0';
    }
    const int lower = byte | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

/* Takes a byte of a chunk's size or the one behind it. */
static const struct http_offence *take_size_byte(struct http_chunk *c, unsigned char byte)
{
    const int value = hex_value(byte);
    if (value >= 0) {
        if (c->digits == SIZE_DIGITS_MAX) {
            return &http_offence_bad_chunk_size;
        }
        ++c->digits;
        c->remaining = c->remaining << 4 | (unsigned)value;
        return c->remaining > INT64_MAX ? &http_offence_chunk_too_big : NULL;
    }
    if (byte == '\n') {
        return &http_offence_bare_lf;
    }
    if (c->digits == 0 || (byte != ';' && byte != '\r')) {
        return &http_offence_bad_chunk_size;
    }
    c->state = byte == ';' ? EXTENSION : SIZE_LF;
    return NULL;
}

/* Takes a byte of a chunk's extensions, or the CR behind them. They mean nothing to us and are not forwarded.
 */
static const struct http_offence *take_extension_byte(struct http_chunk *c, unsigned char byte)
{
    if (byte == '\r') {
        c->state = SIZE_LF;
        return NULL;
    }
    if (byte == '\n') {
        return &http_offence_bare_lf;
    }
    if (!http_is_field_byte(byte)) {
        return &http_offence_bad_chunk_extension;
    }
    ++c->overhead_bytes;
    return c->overhead_bytes > OVERHEAD_BYTES_MAX ? &http_offence_chunk_overhead : NULL;
}

/* The size line is whole: data follows, or after the last chunk the trailer section. */
static const struct http_offence *end_size_line(struct http_chunk *c)
{
    if (c->remaining > c->room_bytes) {
        return &http_offence_body_too_large;
    }
    c->room_bytes -= c->remaining;
    const bool last = c->remaining == 0;
    c->overhead_bytes = c->remaining > c->overhead_bytes ? 0 : c->overhead_bytes - (uint32_t)c->remaining;
    c->digits = 0;
    c->line_bytes = 0;
    c->state = last ? TRAILER_START : DATA;
    return NULL;
}

/* Takes one byte in any state but DATA and TRAILER. */
static const struct http_offence *take_framing_byte(struct http_chunk *c, unsigned char byte)
{
    switch ((enum state)c->state) {
    case SIZE:
    case EXTENSION:
        if (++c->line_bytes > SIZE_LINE_BYTES_MAX) {
            return &http_offence_chunk_line_too_long;
        }
        return c->state == SIZE ? take_size_byte(c, byte) : take_extension_byte(c, byte);
    case SIZE_LF:
        if (byte != '\n') {
            return &http_offence_bare_cr;
        }
        return end_size_line(c);
    case DATA_CR:
        if (byte != '\r') {
            return &http_offence_bad_chunk_end;
        }
        c->state = DATA_LF;
        return NULL;
    case DATA_LF:
        if (byte != '\n') {
            return &http_offence_bad_chunk_end;
        }
        c->state = SIZE;
        return NULL;
    case END_LF:
        if (byte != '\n') {
            return &http_offence_bare_cr;
        }
        c->state = DONE;
        return NULL;
    case DATA:
    case TRAILER_START:
    case TRAILER:
    case DONE:
        break;
    }
    return NULL;
}

/* Moves what is there of the current chunk's data, at most LENGTH bytes, from FROM down to TO. Returns how
 * many. */
static size_t move_data(struct http_chunk *c, char *to, const char *from, size_t length)
{
    const size_t taken = c->remaining < length ? (size_t)c->remaining : length;
    memmove(to, from, taken);
    c->remaining -= taken;
    if (c->remaining == 0) {
        c->state = DATA_CR;
    }
    return taken;
}

/* Judges the whole trailer line at LINE; LENGTH counts its LF. */
static const struct http_offence *judge_trailer(const char *line, size_t length)
{
    if (length < 2 || line[length - 2] != '\r') {
        return &http_offence_bare_lf;
    }
    const struct http_offence *offence = http_field_line_check(line, length - 2);
    if (offence != NULL) {
        return offence;
    }
    const char *colon = memchr(line, ':', length);
    const struct slice name = {line, (size_t)(colon - line)};
    for (size_t i = 0; i < sizeof(forbidden_trailers) / sizeof(*forbidden_trailers); ++i) {
        if (slice_equal_nocase(name, slice_of(forbidden_trailers[i]))) {
            return &http_offence_forbidden_trailer;
        }
    }
    return NULL;
}

/* Keeps what is there of the current trailer line, at most LENGTH bytes at BYTES. *TAKEN_ is how many. */
static const struct http_offence *keep_trailer(struct http_chunk *c, const char *bytes, size_t length,
                                               size_t *taken_)
{
    const char *lf = memchr(bytes, '\n', length);
    const size_t taken = lf == NULL ? length : (size_t)(lf - bytes) + 1;
    *taken_ = taken;
    if (taken > TRAILERS_BYTES_MAX - c->line_bytes) {
        return &http_offence_trailers_too_long;
    }
    if (c->trailers == NULL) {
        c->trailers = malloc(TRAILERS_BYTES_MAX);
        if (c->trailers == NULL) {
            return &http_offence_no_memory;
        }
    }
    memcpy(c->trailers + c->line_bytes, bytes, taken);
    c->line_bytes += (uint32_t)taken;
    if (lf == NULL) {
        return NULL;
    }
    const struct http_offence *offence =
        judge_trailer(c->trailers + c->trailers_bytes, c->line_bytes - c->trailers_bytes);
    c->trailers_bytes = c->line_bytes;
    c->state = TRAILER_START;
    return offence;
}

enum http_chunk_progress http_chunk_decode(struct http_chunk *c, char *bytes, size_t length,
                                           struct http_chunk_step *step_,
                                           const struct http_offence **offence_)
{
    const struct http_offence *offence = NULL;
    size_t in = 0, out = 0;
    while (in < length && c->state != DONE && offence == NULL) {
        if (c->state == DATA) {
            const size_t taken = move_data(c, bytes + out, bytes + in, length - in);
            in += taken;
            out += taken;
        } else if (c->state == TRAILER_START) {
            const bool end = bytes[in] == '\r';
            c->state = end ? END_LF : TRAILER;
            in += end ? 1 : 0;
        } else if (c->state == TRAILER) {
            size_t taken;
            offence = keep_trailer(c, bytes + in, length - in, &taken);
            in += taken;
        } else {
            offence = take_framing_byte(c, (unsigned char)bytes[in]);
            ++in;
        }
    }
    *step_ = (struct http_chunk_step){.taken_bytes = in, .data_bytes = out};
    if (offence != NULL) {
        *offence_ = offence;
        return HTTP_CHUNK_BAD;
    }
    return c->state == DONE ? HTTP_CHUNK_DONE : HTTP_CHUNK_MORE;
}
