/* SPDX-License-Identifier: MIT
 * The chunked coding. Each row names the rule it stands for and is fed whole, byte by byte, and cut in two at
 * every place: result, data, trailers and the bytes taken must be the same. */
#include "common/http_chunk.h"

#include "common/http_offence.h"
#include "common/slice.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define RAW(literal)                                                                                         \
    {                                                                                                        \
        (literal), sizeof(literal) - 1                                                                       \
    }
#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

enum { ROOM_BYTES = 65536 };

struct outcome {
    enum http_chunk_progress progress;
    const struct http_offence *offence; /* with BAD */
    size_t taken_bytes;
    size_t data_bytes, trailers_bytes;
    char data[ROOM_BYTES], trailers[ROOM_BYTES];
};

/* Decodes BYTES into O: the first FIRST bytes in one call, then STEP in each. */
static void decode(struct outcome *o, struct slice bytes, size_t first, size_t step)
{
    struct http_chunk c;
    http_chunk_init(&c, UINT64_MAX);
    o->progress = HTTP_CHUNK_MORE;
    o->taken_bytes = o->data_bytes = 0;
    size_t part = first;
    while (o->progress == HTTP_CHUNK_MORE && o->taken_bytes < bytes.length) {
        const size_t left = bytes.length - o->taken_bytes;
        part = part < left ? part : left;
        char *exact = malloc(part); /* not a byte more, for AddressSanitizer */
        ck_assert_ptr_nonnull(exact);
        memcpy(exact, bytes.at + o->taken_bytes, part);
        struct http_chunk_step made;
        o->progress = http_chunk_decode(&c, exact, part, &made, &o->offence);
        ck_assert(made.data_bytes <= made.taken_bytes && made.taken_bytes <= part);
        ck_assert(made.taken_bytes == part || o->progress != HTTP_CHUNK_MORE);
        memcpy(o->data + o->data_bytes, exact, made.data_bytes);
        o->data_bytes += made.data_bytes;
        o->taken_bytes += made.taken_bytes;
        free(exact);
        part = step;
    }
    o->trailers_bytes = c.trailers_bytes;
    if (c.trailers != NULL) {
        memcpy(o->trailers, c.trailers, c.trailers_bytes);
    }
    http_chunk_release(&c);
    ck_assert_ptr_null(c.trailers);
}

static const char *name_of(const struct outcome *o)
{
    return o->progress == HTTP_CHUNK_DONE   ? "(done)"
           : o->progress == HTTP_CHUNK_MORE ? "(more)"
                                            : o->offence->name;
}

/* Asserts that O is what RULE wants: WANT is an offence's name, "(done)" or "(more)". */
static void expect(const char *rule, const struct outcome *o, const char *want, struct slice data,
                   struct slice trailers)
{
    ck_assert_msg(strcmp(name_of(o), want) == 0, "%s: %s, expected %s", rule, name_of(o), want);
    ck_assert_msg(slice_equal((struct slice){o->data, o->data_bytes}, data), "%s: data '%.*s'", rule,
                  (int)o->data_bytes, o->data);
    ck_assert_msg(slice_equal((struct slice){o->trailers, o->trailers_bytes}, trailers),
                  "%s: trailers '%.*s'", rule, (int)o->trailers_bytes, o->trailers);
}

/* The same for BYTES in every cut. Returns the bytes taken when fed whole. */
static size_t expect_in_every_cut(const char *rule, struct slice bytes, const char *want, struct slice data,
                                  struct slice trailers)
{
    static struct outcome o;
    decode(&o, bytes, bytes.length, bytes.length);
    expect(rule, &o, want, data, trailers);
    const size_t taken_bytes = o.taken_bytes;
    for (size_t cut = 1; cut < bytes.length; ++cut) {
        decode(&o, bytes, cut, bytes.length);
        expect(rule, &o, want, data, trailers);
        ck_assert_uint_eq(o.taken_bytes, taken_bytes);
    }
    decode(&o, bytes, 1, 1);
    expect(rule, &o, want, data, trailers);
    return taken_bytes;
}

static const struct {
    const char *rule;
    struct slice bytes, data, trailers;
} good[] = {
    {"RFC 9112, 7.1: one chunk", RAW("5\r\nhello\r\n0\r\n\r\n"), RAW("hello"), RAW("")},
    {"RFC 9112, 7.1: no data", RAW("0\r\n\r\n"), RAW(""), RAW("")},
    {"RFC 9112, 7.1: several chunks", RAW("5\r\nhello\r\n1\r\n \r\n00a\r\n0123456789\r\n0\r\n\r\n"),
     RAW("hello 0123456789"), RAW("")},
    {"RFC 9112, 7.1: digits have no case", RAW("A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n"),
     RAW("01234567890123456789"), RAW("")},
    {"RFC 9112, 7.1: 16 digits", RAW("0000000000000002\r\nhi\r\n0000000000000000\r\n\r\n"), RAW("hi"),
     RAW("")},
    {"RFC 9112, 7.1: data that looks like framing", RAW("9\r\n\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n"),
     RAW("\r\n0\r\n\r\n\r\n"), RAW("")},
    {"RFC 9112, 7.1: any byte may be data", RAW("4\r\n\0\xff\n\r\r\n0\r\n\r\n"), RAW("\0\xff\n\r"), RAW("")},
    {"RFC 9112, 7.1.1: extensions are skipped",
     RAW("2;a\r\nhi\r\n2;a=b; c = \"d;\\\"e\"\r\nhi\r\n0;z\r\n\r\n"), RAW("hihi"), RAW("")},
    {"RFC 9112, 7.1.1: HTAB and obs-text in an extension", RAW("2;\ta=\"\xe4\"\r\nhi\r\n0\r\n\r\n"),
     RAW("hi"), RAW("")},
    {"RFC 9112, 7.1.2: a trailer", RAW("2\r\nhi\r\n0\r\nDigest: abc\r\n\r\n"), RAW("hi"),
     RAW("Digest: abc\r\n")},
    {"RFC 9112, 7.1.2: trailers", RAW("0\r\nA:\r\nB: \tc \xe4 \r\n\r\n"), RAW(""),
     RAW("A:\r\nB: \tc \xe4 \r\n")},
    {"RFC 9110, 6.5.1: names that only begin like forbidden ones",
     RAW("0\r\nHosts: a\r\nT: b\r\nTEE: c\r\n\r\n"), RAW(""), RAW("Hosts: a\r\nT: b\r\nTEE: c\r\n")},
};

START_TEST(decodes_good_bodies)
{
    static const char next[] = "GET / HTTP/1.1\r\n";
    const struct slice bytes = good[_i].bytes;
    const size_t taken =
        expect_in_every_cut(good[_i].rule, bytes, "(done)", good[_i].data, good[_i].trailers);
    ck_assert_uint_eq(taken, bytes.length);

    /* What follows belongs to the next message and is not touched. */
    static struct outcome o;
    char both[256];
    memcpy(both, bytes.at, bytes.length);
    memcpy(both + bytes.length, next, sizeof(next));
    decode(&o, (struct slice){both, bytes.length + sizeof(next)}, sizeof(both), sizeof(both));
    expect(good[_i].rule, &o, "(done)", good[_i].data, good[_i].trailers);
    ck_assert_uint_eq(o.taken_bytes, bytes.length);
}
END_TEST

START_TEST(waits_for_the_rest)
{
    static struct outcome o;
    const struct slice bytes = good[_i].bytes;
    for (size_t length = 0; length < bytes.length; ++length) {
        decode(&o, (struct slice){bytes.at, length}, bytes.length, bytes.length);
        ck_assert_msg(o.progress == HTTP_CHUNK_MORE, "%s: %zu bytes: %s", good[_i].rule, length, name_of(&o));
    }
}
END_TEST

static const struct {
    const char *rule;
    struct slice bytes;
    const struct http_offence *offence;
    struct slice data; /* what came before the offence */
} bad[] = {
    /* Sizes. */
    {"RFC 9112, 7.1: no size", RAW("\r\nhi\r\n0\r\n\r\n"), &http_offence_bad_chunk_size, RAW("")},
    {"RFC 9112, 7.1: an extension, but no size", RAW(";a\r\n"), &http_offence_bad_chunk_size, RAW("")},
    {"RFC 9112, 7.1: no hexadecimal digit", RAW("g\r\n"), &http_offence_bad_chunk_size, RAW("")},
    {"RFC 9112, 7.1: 0x", RAW("0x2\r\nhi\r\n"), &http_offence_bad_chunk_size, RAW("")},
    {"RFC 9112, 7.1: a plus", RAW("+2\r\nhi\r\n"), &http_offence_bad_chunk_size, RAW("")},
    {"RFC 9112, 7.1: a minus", RAW("-2\r\nhi\r\n"), &http_offence_bad_chunk_size, RAW("")},
    {"RFC 9112, 7.1: a space before the size", RAW(" 2\r\nhi\r\n"), &http_offence_bad_chunk_size, RAW("")},
    {"RFC 9112, 7.1: a space behind the size", RAW("2 \r\nhi\r\n"), &http_offence_bad_chunk_size, RAW("")},
    {"RFC 9112, 7.1.1: bad white space before an extension", RAW("2 ;a\r\nhi\r\n"),
     &http_offence_bad_chunk_size, RAW("")},
    {"RFC 9112, 7.1: an underscore", RAW("1_0\r\nhi\r\n"), &http_offence_bad_chunk_size, RAW("")},
    {"RFC 9112, 7.1: NUL behind the size", RAW("2\0\r\nhi\r\n"), &http_offence_bad_chunk_size, RAW("")},
    {"RFC 9112, 7.1: 17 digits", RAW("00000000000000002\r\nhi\r\n"), &http_offence_bad_chunk_size, RAW("")},
    {"RFC 9112, 7.1: 2^63", RAW("8000000000000000\r\n"), &http_offence_chunk_too_big, RAW("")},
    {"RFC 9112, 7.1: 2^64 - 1", RAW("ffffffffffffffff\r\n"), &http_offence_chunk_too_big, RAW("")},
    {"RFC 9112, 7.1: 2^64 + 2, that a parser might take for 2", RAW("10000000000000002\r\nhi\r\n"),
     &http_offence_bad_chunk_size, RAW("")},
    {"RFC 9112, 7.1: a bad size behind a good chunk", RAW("2\r\nhi\r\nx\r\n"), &http_offence_bad_chunk_size,
     RAW("hi")},
    /* Line ends. */
    {"RFC 9112, 7.1: bare LF behind the size", RAW("2\nhi\r\n0\r\n\r\n"), &http_offence_bare_lf, RAW("")},
    {"RFC 9112, 7.1: CR and another byte behind the size", RAW("2\rxhi\r\n0\r\n\r\n"), &http_offence_bare_cr,
     RAW("")},
    {"RFC 9112, 7.1: bare LF behind the data", RAW("2\r\nhi\n0\r\n\r\n"), &http_offence_bad_chunk_end,
     RAW("hi")},
    {"RFC 9112, 7.1: CR and another byte behind the data", RAW("2\r\nhi\rx0\r\n\r\n"),
     &http_offence_bad_chunk_end, RAW("hi")},
    {"RFC 9112, 7.1: nothing behind the data", RAW("2\r\nhi0\r\n\r\n"), &http_offence_bad_chunk_end,
     RAW("hi")},
    {"RFC 9112, 7.1: more data than the size says", RAW("2\r\nhi!\r\n0\r\n\r\n"), &http_offence_bad_chunk_end,
     RAW("hi")},
    {"RFC 9112, 7.1: bare LF behind the last chunk", RAW("0\n\r\n"), &http_offence_bare_lf, RAW("")},
    {"RFC 9112, 7.1: CR and another byte behind the last chunk", RAW("0\rx\r\n"), &http_offence_bare_cr,
     RAW("")},
    {"RFC 9112, 7.1: bare LF ends the body", RAW("0\r\n\n"), &http_offence_bare_lf, RAW("")},
    {"RFC 9112, 7.1: CR and another byte end the body", RAW("0\r\n\rx"), &http_offence_bare_cr, RAW("")},
    /* Extensions. */
    {"RFC 9112, 7.1.1: bare LF in an extension", RAW("2;a\nhi\r\n0\r\n\r\n"), &http_offence_bare_lf, RAW("")},
    {"RFC 9112, 7.1.1: bare LF in a quoted extension", RAW("2;a=\"\n\"\r\nhi\r\n"), &http_offence_bare_lf,
     RAW("")},
    {"RFC 9112, 7.1.1: bare CR in an extension", RAW("2;a\rb\r\nhi\r\n"), &http_offence_bare_cr, RAW("")},
    {"RFC 9112, 7.1.1: NUL in an extension", RAW("2;\0\r\nhi\r\n"), &http_offence_bad_chunk_extension,
     RAW("")},
    {"RFC 9112, 7.1.1: DEL in an extension", RAW("2;a\x7f\r\nhi\r\n"), &http_offence_bad_chunk_extension,
     RAW("")},
    /* Trailers. */
    {"RFC 9112, 7.1.2: bare LF ends a trailer", RAW("0\r\nA: b\n\r\n"), &http_offence_bare_lf, RAW("")},
    {"RFC 9112, 7.1.2: bare CR in a trailer", RAW("0\r\nA: b\rc\r\n\r\n"), &http_offence_bare_cr, RAW("")},
    {"RFC 9112, 7.1.2: CR CR LF", RAW("0\r\nA: b\r\r\n\r\n"), &http_offence_bare_cr, RAW("")},
    {"RFC 9112, 7.1.2: a trailer without colon", RAW("0\r\nA\r\n\r\n"), &http_offence_missing_colon, RAW("")},
    {"RFC 9112, 7.1.2: a trailer without name", RAW("0\r\n: a\r\n\r\n"), &http_offence_empty_field_name,
     RAW("")},
    {"RFC 9112, 5.1: space before a trailer's colon", RAW("0\r\nA : b\r\n\r\n"),
     &http_offence_space_before_colon, RAW("")},
    {"RFC 9112, 5.2: obs-fold in trailers", RAW("0\r\nA: b\r\n c\r\n\r\n"), &http_offence_obs_fold, RAW("")},
    {"RFC 9112, 5.2: white space before the first trailer", RAW("0\r\n A: b\r\n\r\n"), &http_offence_obs_fold,
     RAW("")},
    {"RFC 9110, 5.1: a bad name in a trailer", RAW("0\r\nA B: c\r\n\r\n"), &http_offence_bad_field_name,
     RAW("")},
    {"RFC 9110, 5.5: NUL in a trailer", RAW("0\r\nA: \0\r\n\r\n"), &http_offence_nul_byte, RAW("")},
    {"RFC 9110, 5.5: a control byte in a trailer", RAW("0\r\nA: \x1b\r\n\r\n"), &http_offence_control_byte,
     RAW("")},
    {"RFC 9112, 7.1.2: the next request taken for trailers", RAW("0\r\nGET / HTTP/1.1\r\n\r\n"),
     &http_offence_missing_colon, RAW("")},
    {"RFC 9110, 6.5.1: framing: Content-Length", RAW("0\r\nContent-Length: 5\r\n\r\n"),
     &http_offence_forbidden_trailer, RAW("")},
    {"RFC 9110, 6.5.1: framing: Transfer-Encoding", RAW("0\r\nA: b\r\ntransfer-encoding: chunked\r\n\r\n"),
     &http_offence_forbidden_trailer, RAW("")},
    {"RFC 9110, 6.5.1: framing: Trailer", RAW("0\r\nTrailer: a\r\n\r\n"), &http_offence_forbidden_trailer,
     RAW("")},
    {"RFC 9110, 7.6.1: Connection", RAW("0\r\nConnection: close\r\n\r\n"), &http_offence_forbidden_trailer,
     RAW("")},
    {"RFC 9110, 6.5.1: routing: Host", RAW("0\r\nHOST: a\r\n\r\n"), &http_offence_forbidden_trailer, RAW("")},
    {"RFC 9110, 6.5.1: routing: X-Forwarded-For", RAW("0\r\nX-Forwarded-For: ::1\r\n\r\n"),
     &http_offence_forbidden_trailer, RAW("")},
    {"RFC 9110, 6.5.1: authentication: Authorization", RAW("0\r\nAuthorization: x\r\n\r\n"),
     &http_offence_forbidden_trailer, RAW("")},
    {"RFC 9110, 6.5.1: authentication: Set-Cookie", RAW("0\r\nSet-Cookie: a=b\r\n\r\n"),
     &http_offence_forbidden_trailer, RAW("")},
    {"RFC 9110, 6.5.1: content: Content-Type", RAW("0\r\nContent-Type: a/b\r\n\r\n"),
     &http_offence_forbidden_trailer, RAW("")},
};

START_TEST(refuses_bad_bodies)
{
    static struct outcome o;
    const struct slice bytes = bad[_i].bytes;
    const char *want = bad[_i].offence->name;
    const size_t steps[] = {bytes.length, 1};
    for (int i = 0; i < ROWS(steps); ++i) {
        decode(&o, bytes, steps[i], steps[i]);
        ck_assert_msg(strcmp(name_of(&o), want) == 0, "%s: %s, expected %s", bad[_i].rule, name_of(&o), want);
        ck_assert_msg(slice_equal((struct slice){o.data, o.data_bytes}, bad[_i].data), "%s: data",
                      bad[_i].rule);
    }
    for (size_t cut = 1; cut < bytes.length; ++cut) {
        decode(&o, bytes, cut, bytes.length);
        ck_assert_msg(strcmp(name_of(&o), want) == 0, "%s: cut at %zu: %s", bad[_i].rule, cut, name_of(&o));
    }
}
END_TEST

/* ---- Bounds ---- */

/* Decodes BEFORE, COUNT times FILL, AFTER, whole and byte by byte; asserts WANT. */
static void expect_filled(const char *rule, const char *before, const char *fill, size_t count,
                          const char *after, const char *want)
{
    static struct outcome o;
    static char text[8 * ROOM_BYTES];
    size_t length = (size_t)snprintf(text, sizeof(text), "%s", before);
    for (size_t i = 0; i < count; ++i) {
        const size_t fill_bytes = strlen(fill);
        ck_assert(length + fill_bytes + strlen(after) < sizeof(text));
        memcpy(text + length, fill, fill_bytes);
        length += fill_bytes;
    }
    length += (size_t)snprintf(text + length, sizeof(text) - length, "%s", after);
    decode(&o, (struct slice){text, length}, length, length);
    ck_assert_msg(strcmp(name_of(&o), want) == 0, "%s: %s, expected %s", rule, name_of(&o), want);
    decode(&o, (struct slice){text, length}, 1, 1);
    ck_assert_msg(strcmp(name_of(&o), want) == 0, "%s: byte by byte: %s, expected %s", rule, name_of(&o),
                  want);
}

START_TEST(bounds_size_lines)
{
    /* "0;" and the CR are the other three bytes of 4096. */
    expect_filled("RFC 9112, 7.1.1: the longest size line", "0;", "x", 4093, "\r\n\r\n", "(done)");
    expect_filled("RFC 9112, 7.1.1: one byte more", "0;", "x", 4094, "\r\n\r\n", "chunk_line_too_long");
}
END_TEST

START_TEST(bounds_extensions)
{
    char chunk[1100];
    memset(chunk, 'x', sizeof(chunk));
    memcpy(chunk, "1;", 2);
    memcpy(chunk + 1000, "\r\na\r\n", 6); /* 998 bytes of extension for one of data */
    expect_filled("RFC 9112, 7.1.1: some extensions", "", chunk, 16, "0\r\n\r\n", "(done)");
    expect_filled("RFC 9112, 7.1.1: extensions without end", "", chunk, 17, "0\r\n\r\n", "chunk_overhead");
    expect_filled("RFC 9112, 7.1: small chunks are no offence", "", "1\r\na\r\n", 30000, "0\r\n\r\n",
                  "(done)");
    expect_filled("RFC 9112, 7.1.1: extensions that data pays for", "", "8;abcdefgh\r\n01234567\r\n", 5000,
                  "0\r\n\r\n", "(done)");
}
END_TEST

START_TEST(bounds_trailers)
{
    /* 8192 bytes of lines: 1024 of 8. */
    expect_filled("RFC 6585, 5: the longest trailers", "0\r\n", "A: bcd\r\n", 1024, "\r\n", "(done)");
    expect_filled("RFC 6585, 5: one line more", "0\r\n", "A: bcd\r\n", 1024, "A:\r\n\r\n",
                  "trailers_too_long");
    expect_filled("RFC 6585, 5: one byte more", "0\r\nA: bcde\r\n", "A: bcd\r\n", 1023, "\r\n",
                  "trailers_too_long");
    expect_filled("RFC 6585, 5: a line without end", "0\r\nA: ", "x", 9000, "", "trailers_too_long");
}
END_TEST

START_TEST(counts_to_the_largest_size)
{
    struct http_chunk c;
    struct http_chunk_step step;
    const struct http_offence *offence = NULL;
    char text[] = "7fffffffffffffff\r\nabc";
    http_chunk_init(&c, UINT64_MAX);
    ck_assert_int_eq(http_chunk_decode(&c, text, sizeof(text) - 1, &step, &offence), HTTP_CHUNK_MORE);
    ck_assert_uint_eq(step.data_bytes, 3);
    ck_assert(memcmp(text, "abc", 3) == 0);
    ck_assert_uint_eq(c.remaining, (uint64_t)INT64_MAX - 3);
    http_chunk_release(&c);
}
END_TEST

/* A size that is too much is refused before its data comes; one that may be is not. */
START_TEST(bounds_data)
{
    static const struct {
        const char *text;
        uint64_t most_bytes;
        bool good;
    } bodies[] = {
        {"5\r\nhello\r\n0\r\n\r\n", 5, true},
        {"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", 5, true},
        {"0\r\n\r\n", 0, true},
        {"6\r\n", 5, false},
        {"3\r\nhel\r\n3\r\n", 5, false},
        {"7fffffffffffffff;a=b\r\n", 5, false},
        {"1\r\n", 0, false},
    };
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; ++i) {
        struct http_chunk c;
        struct http_chunk_step step;
        const struct http_offence *offence = NULL;
        char text[64];
        strcpy(text, bodies[i].text);
        http_chunk_init(&c, bodies[i].most_bytes);
        ck_assert_int_eq(http_chunk_decode(&c, text, strlen(text), &step, &offence),
                         bodies[i].good ? HTTP_CHUNK_DONE : HTTP_CHUNK_BAD);
        ck_assert_ptr_eq(offence, bodies[i].good ? NULL : &http_offence_body_too_large);
        http_chunk_release(&c);
    }
}
END_TEST

START_TEST(can_be_used_again)
{
    struct http_chunk c;
    struct http_chunk_step step;
    const struct http_offence *offence = NULL;
    for (int i = 0; i < 2; ++i) {
        http_chunk_init(&c, UINT64_MAX);
        char text[] = "2;x\r\nhi\r\n0\r\nA: b\r\n\r\nrest";
        ck_assert_int_eq(http_chunk_decode(&c, text, sizeof(text) - 1, &step, &offence), HTTP_CHUNK_DONE);
        ck_assert_uint_eq(step.taken_bytes, sizeof(text) - 1 - strlen("rest"));
        ck_assert_uint_eq(c.trailers_bytes, strlen("A: b\r\n"));
        /* Done is done: nothing more is taken. */
        ck_assert_int_eq(http_chunk_decode(&c, text, 4, &step, &offence), HTTP_CHUNK_DONE);
        ck_assert_uint_eq(step.taken_bytes, 0);
        http_chunk_release(&c);
    }
}
END_TEST

int main(void)
{
    TCase *chunks = tcase_create("chunk");
    tcase_add_loop_test(chunks, decodes_good_bodies, 0, ROWS(good));
    tcase_add_loop_test(chunks, waits_for_the_rest, 0, ROWS(good));
    tcase_add_loop_test(chunks, refuses_bad_bodies, 0, ROWS(bad));
    tcase_add_test(chunks, bounds_size_lines);
    tcase_add_test(chunks, bounds_extensions);
    tcase_add_test(chunks, bounds_trailers);
    tcase_add_test(chunks, counts_to_the_largest_size);
    tcase_add_test(chunks, bounds_data);
    tcase_add_test(chunks, can_be_used_again);
    Suite *suite = suite_create("http_chunk");
    suite_add_tcase(suite, chunks);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
