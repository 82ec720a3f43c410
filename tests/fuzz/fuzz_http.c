/* SPDX-License-Identifier: MIT
 * A libFuzzer harness for all of the HTTP syntax: scan, decoder, framing, chunks. It holds them to what must
 * be true of any input, however odd. The first byte of the input chooses request or response and a limit; the
 * second one where the rest is cut in two. Build and run:
 *
 *   clang -std=c17 -D_GNU_SOURCE -g -O1 -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all -I. \
 *       tests/fuzz/fuzz_http.c common/http_*.c common/panic.c -lhttp_parser -o fuzz_http
 *   ./fuzz_http -dict=tests/fuzz/http.dict -max_total_time=60
 */
#include "common/http_chunk.h"
#include "common/http_decode.h"
#include "common/http_framing.h"
#include "common/panic.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { SMALL_LIMIT_BYTES = 64, LARGE_LIMIT_BYTES = 4096 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A copy of BYTES that ends where its memory ends, so that AddressSanitizer sees a step too far. */
static char *exact_copy(struct slice bytes)
{
    char *copy = malloc(bytes.length);
    MUST(copy != NULL || bytes.length == 0);
    if (bytes.length > 0) {
        memcpy(copy, bytes.at, bytes.length);
    }
    return copy;
}

/* ---- Heads ---- */

struct scanned {
    enum http_head_progress progress;
    const struct http_offence *offence;
    struct http_head_scan scan;
};

static struct scanned scan_in_steps(enum http_kind kind, size_t limit_bytes, struct slice input, size_t step)
{
    struct scanned s = {.progress = HTTP_HEAD_MORE, .scan = {.kind = kind, .limit_bytes = limit_bytes}};
    for (size_t fed = 0; s.progress == HTTP_HEAD_MORE && fed < input.length;) {
        fed = step < input.length - fed ? fed + step : input.length;
        char *copy = exact_copy((struct slice){input.at, fed});
        s.progress = http_head_scan(&s.scan, copy, fed, &s.offence);
        MUST(s.scan.start <= s.scan.line && s.scan.line <= s.scan.seen && s.scan.seen <= fed);
        MUST(s.progress != HTTP_HEAD_MORE || fed < limit_bytes);
        free(copy);
    }
    return s;
}

/* What no head may hold that was let through: told from the bytes alone, without the scan's tables. */
static void must_be_clean(struct slice head)
{
    MUST(head.length >= 4 && memcmp(head.at + head.length - 4, "\r\n\r\n", 4) == 0);
    for (size_t i = 0; i < head.length; ++i) {
        const unsigned char byte = (unsigned char)head.at[i];
        if (byte == '\r') {
            MUST(head.at[i + 1] == '\n');
        } else if (byte == '\n') {
            MUST(i > 0 && head.at[i - 1] == '\r');
            MUST(i + 1 == head.length || (head.at[i + 1] != ' ' && head.at[i + 1] != '\t'));
        } else {
            MUST(byte == '\t' || (byte >= ' ' && byte != 0x7f));
        }
    }
    MUST(memmem(head.at, head.length - 1, "\r\n\r\n", 4) == NULL);
}

static void must_lie_inside(struct slice part, struct slice whole)
{
    MUST(part.length == 0 || (part.at >= whole.at && part.at + part.length <= whole.at + whole.length));
}

static void must_fit(const struct http_head *head, struct slice bytes)
{
    must_lie_inside(head->method, bytes);
    must_lie_inside(head->target, bytes);
    must_lie_inside(head->reason, bytes);
    MUST(head->version_minor <= 1);
    MUST(head->kind == HTTP_KIND_REQUEST || (head->status >= 100 && head->status <= 599));
    MUST(head->kind == HTTP_KIND_RESPONSE || (head->method.length > 0 && head->target.length > 0));
    for (size_t i = 0; i < head->field_count; ++i) {
        const struct http_field *field = &head->fields[i];
        must_lie_inside(field->name, bytes);
        must_lie_inside(field->value, bytes);
        MUST(field->name.length > 0 && field->id < HTTP_FIELD_IDS);
        for (size_t at = 0; at < field->name.length; ++at) {
            MUST(http_is_tchar((unsigned char)field->name.at[at]));
        }
        if (field->value.length > 0) {
            const char last = field->value.at[field->value.length - 1];
            MUST(field->value.at[0] != ' ' && field->value.at[0] != '\t' && last != ' ' && last != '\t');
        }
        MUST(field->id == HTTP_FIELD_OTHER || http_head_find(head, field->id) <= field);
    }
}

/* How often NAME is a field of HEAD, found without ids. */
static unsigned count_fields(const struct http_head *head, struct slice name)
{
    unsigned count = 0;
    for (size_t i = 0; i < head->field_count; ++i) {
        count += slice_equal_nocase(head->fields[i].name, name);
    }
    return count;
}

/* Nothing that two readers could frame in two ways may be let through. */
static void must_be_clear(const struct http_head *head, const struct http_framing *framing)
{
    const unsigned lengths = count_fields(head, SLICE("content-length"));
    const unsigned codings = count_fields(head, SLICE("transfer-encoding"));
    MUST(lengths + codings <= 1);
    switch (framing->body) {
    case HTTP_BODY_NONE:
        MUST(head->kind == HTTP_KIND_RESPONSE || lengths + codings == 0);
        break;
    case HTTP_BODY_LENGTH:
        MUST(lengths == 1 && framing->length_bytes <= INT64_MAX);
        break;
    case HTTP_BODY_CHUNKED:
        MUST(codings == 1 && head->version_minor == 1);
        break;
    case HTTP_BODY_CLOSE:
        MUST(head->kind == HTTP_KIND_RESPONSE && lengths + codings == 0);
        break;
    }
    if (head->kind == HTTP_KIND_REQUEST) {
        const unsigned hosts = count_fields(head, SLICE("host"));
        MUST(hosts == 1 || (hosts == 0 && head->version_minor == 0));
    }
}

static void try_head(enum http_kind kind, size_t limit_bytes, struct slice input, size_t cut)
{
    const struct scanned whole = scan_in_steps(kind, limit_bytes, input, input.length);
    const size_t steps[] = {1, cut};
    for (size_t i = 0; i < 2; ++i) {
        const struct scanned other = scan_in_steps(kind, limit_bytes, input, steps[i]);
        MUST(other.progress == whole.progress && other.offence == whole.offence);
        MUST(other.scan.start == whole.scan.start && other.scan.line == whole.scan.line);
        MUST(other.scan.lines == whole.scan.lines);
        MUST(other.progress == HTTP_HEAD_BAD || other.scan.seen == whole.scan.seen);
    }
    if (whole.progress != HTTP_HEAD_DONE) {
        return;
    }
    const struct slice head_bytes = {input.at + whole.scan.start, whole.scan.seen - whole.scan.start};
    must_be_clean(head_bytes);
    char *copy = exact_copy(head_bytes);
    struct http_head head;
    if (http_decode(&head, kind, copy, head_bytes.length) == NULL) {
        must_fit(&head, (struct slice){copy, head_bytes.length});
        MUST(head.field_count == whole.scan.lines - 1);
        struct http_framing framing;
        const struct http_offence *offence = kind == HTTP_KIND_REQUEST
                                                 ? http_framing_request(&head, &framing)
                                                 : http_framing_response(&head, SLICE("GET"), &framing);
        if (offence == NULL) {
            must_be_clear(&head, &framing);
        }
    }
    free(copy);
}

/* ---- Chunks ---- */

struct unchunked {
    enum http_chunk_progress progress;
    const struct http_offence *offence;
    size_t taken_bytes, data_bytes;
    struct http_chunk chunk;
    char *data;
};

static struct unchunked decode_in_steps(struct slice input, size_t step)
{
    struct unchunked u = {.progress = HTTP_CHUNK_MORE, .data = malloc(input.length + 1)};
    MUST(u.data != NULL);
    http_chunk_init(&u.chunk, UINT64_MAX);
    while (u.progress == HTTP_CHUNK_MORE && u.taken_bytes < input.length) {
        const size_t left = input.length - u.taken_bytes;
        const size_t length = step < left ? step : left;
        char *copy = exact_copy((struct slice){input.at + u.taken_bytes, length});
        struct http_chunk_step made;
        u.progress = http_chunk_decode(&u.chunk, copy, length, &made, &u.offence);
        MUST(made.data_bytes <= made.taken_bytes && made.taken_bytes <= length);
        MUST(u.progress != HTTP_CHUNK_MORE || made.taken_bytes == length);
        memcpy(u.data + u.data_bytes, copy, made.data_bytes);
        u.taken_bytes += made.taken_bytes;
        u.data_bytes += made.data_bytes;
        free(copy);
    }
    return u;
}

/* Trailers that were let through are lines of a head that the scan lets through. */
static void must_be_fields(const struct http_chunk *c)
{
    static const char start[] = "GET / HTTP/1.1\r\n";
    const size_t start_bytes = sizeof(start) - 1;
    const size_t length = start_bytes + c->trailers_bytes + 2;
    char *head = malloc(length);
    MUST(head != NULL);
    memcpy(head, start, start_bytes);
    memcpy(head + start_bytes, c->trailers, c->trailers_bytes);
    memcpy(head + length - 2, "\r\n", 2);
    const struct scanned s =
        scan_in_steps(HTTP_KIND_REQUEST, 2 * length, (struct slice){head, length}, length);
    MUST((s.progress == HTTP_HEAD_DONE && s.scan.seen == length) ||
         (s.progress == HTTP_HEAD_BAD && strcmp(s.offence->name, "too_many_fields") == 0));
    free(head);
}

static void try_chunks(struct slice input, size_t cut)
{
    struct unchunked whole = decode_in_steps(input, input.length);
    const size_t steps[] = {1, cut};
    for (size_t i = 0; i < 2; ++i) {
        struct unchunked other = decode_in_steps(input, steps[i]);
        MUST(other.progress == whole.progress && other.offence == whole.offence);
        MUST(other.data_bytes == whole.data_bytes && memcmp(other.data, whole.data, whole.data_bytes) == 0);
        MUST(other.progress == HTTP_CHUNK_BAD || other.taken_bytes == whole.taken_bytes);
        MUST(other.chunk.trailers_bytes == whole.chunk.trailers_bytes);
        http_chunk_release(&other.chunk);
        free(other.data);
    }
    if (whole.progress == HTTP_CHUNK_DONE && whole.chunk.trailers != NULL) {
        must_be_fields(&whole.chunk);
    }
    http_chunk_release(&whole.chunk);
    free(whole.data);
}

/* Steps through INPUT as a list: every member lies inside it and is not empty, and the end comes. */
static void try_list(struct slice input)
{
    struct slice rest = input, member;
    size_t rounds = 0;
    while (http_list_next(&rest, &member)) {
        must_lie_inside(member, input);
        MUST(member.length > 0 && ++rounds <= input.length);
    }
    MUST(rest.length == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3) {
        return 0;
    }
    const enum http_kind kind = (data[0] & 1) != 0 ? HTTP_KIND_RESPONSE : HTTP_KIND_REQUEST;
    const size_t limit_bytes = (data[0] & 2) != 0 ? SMALL_LIMIT_BYTES : LARGE_LIMIT_BYTES;
    const size_t cut = (size_t)data[1] + 1;
    const struct slice input = {(const char *)data + 2, size - 2};
    try_head(kind, limit_bytes, input, cut);
    try_chunks(input, cut);
    try_list(input);
    return 0;
}
