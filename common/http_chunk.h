/* SPDX-License-Identifier: MIT
 * A strict decoder of the chunked transfer coding (RFC 9112, 7.1). http-parser's own accepts a CR followed by
 * any byte, so bodies are decoded here and the parser never sees them. Pure; the state is a few words, so
 * that a half-received body can be parked. */
#ifndef HOLDFAST_COMMON_HTTP_CHUNK_H
#define HOLDFAST_COMMON_HTTP_CHUNK_H

#include "common/compiler.h"
#include "common/http_head.h"

#include <stdint.h>

struct http_chunk {
    uint64_t remaining;      /* bytes of the current chunk's data still to come */
    uint64_t room_bytes;     /* what the chunks to come may have together */
    uint32_t line_bytes;     /* bytes of the current size line or of the trailer section so far */
    uint32_t overhead_bytes; /* extension bytes that no data byte has paid for yet: bounded */
    uint8_t state;           /* private to http_chunk.c */
    uint8_t digits;          /* hex digits of the size so far */
    char *trailers;          /* trailer fields, as lines "name: value CRLF", once DONE; NULL without any */
    uint32_t trailers_bytes; /* their length, without the empty line that ended them */
};

enum http_chunk_progress {
    HTTP_CHUNK_MORE, /* all bytes were taken, the body goes on */
    HTTP_CHUNK_DONE, /* the body, its trailer section included, is whole */
    HTTP_CHUNK_BAD,  /* refused: *offence_ says why */
};

/* What one call took and gave. */
struct http_chunk_step {
    size_t taken_bytes; /* raw bytes used up, from the start; on DONE the rest belongs to the next message */
    size_t data_bytes;  /* body bytes, moved to the start of the buffer */
};

/* Makes C ready for a new body of at most MOST_BYTES bytes of data. C must be zeroed, released, or never
 * used. */
void http_chunk_init(struct http_chunk *c, uint64_t most_bytes);

/* Frees what C holds (trailers). http_chunk_init() makes it ready for a new body. */
void http_chunk_release(struct http_chunk *c);

/* Decodes LENGTH raw bytes at BYTES in place: body data is moved to the front of BYTES. Refuses: a size that
 * is not 1 to 16 hex digits or over INT64_MAX; anything but ";" and well-formed extension bytes behind it; a
 * missing or bare CR or LF anywhere; a size that makes the body longer than it may be, without waiting for
 * the data; a size line over 4096 bytes; extensions that are 16384 bytes ahead of the data; a trailer section
 * over 8192 bytes; a trailer field line that http_head_scan() would refuse, or that names a field which must
 * not stand in trailers (RFC 9110, 6.5.1: framing, routing, authentication, content). Trailer fields are kept
 * in C->trailers, which is allocated when the first one begins; out of memory is an offence too (status 503).
 * The verdict does not depend on how the bytes are cut into calls. */
must_check enum http_chunk_progress http_chunk_decode(struct http_chunk *c, char *bytes, size_t length,
                                                      struct http_chunk_step *step_,
                                                      const struct http_offence **offence_);

#endif
