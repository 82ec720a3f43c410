/* SPDX-License-Identifier: MIT
 * Requests as they come in. A row is a stream of bytes and what is read out of it, written as text: each
 * request as "METHOD TARGET BODY;", then how the stream ended: "idle", "more" (cut within a request) or an
 * offence's name. Each stream is fed whole, cut in two at every place, and byte by byte: the outcome must be
 * the same. */
#include "proxy/request.h"

#include "common/http_offence.h"

#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define RAW(literal)                                                                                         \
    {                                                                                                        \
        (literal), sizeof(literal) - 1                                                                       \
    }

enum { OUTCOME_BYTES = 4096, MANY = INT32_MAX };

static const struct request_limits usual = {.header_bytes = 32768, .body_bytes = 16 << 20};

/* Copies R's whole body to TO, from wherever it is. */
static size_t copy_body(const struct request *r, char *to, size_t room)
{
    size_t length = (size_t)request_body_bytes(r);
    ck_assert_uint_le(length, room);
    if (r->body.at != NULL) {
        memcpy(to, r->body.at, length);
    } else if (r->spool.file == -1 && length > 0) {
        memcpy(to, r->spool.memory, length);
    } else if (length > 0) {
        ck_assert_int_eq(pread(r->spool.file, to, length, 0), (ssize_t)length);
    }
    return length;
}

static void put(char *outcome, struct slice text)
{
    size_t used = strlen(outcome);
    ck_assert_uint_lt(used + text.length, OUTCOME_BYTES);
    memcpy(outcome + used, text.at, text.length);
    outcome[used + text.length] = '\0';
}

/* Writes down the request that R has whole, and goes on to the next one. */
static void put_request(char *outcome, struct request *r)
{
    char body[1024];
    put(outcome, r->head.method);
    put(outcome, SLICE(" "));
    put(outcome, r->head.target);
    put(outcome, SLICE(" "));
    size_t length = copy_body(r, body, sizeof body);
    ck_assert_uint_eq(request_body_received(r), length);
    put(outcome, (struct slice){body, length});
    put(outcome, SLICE(";"));
    request_next(r);
    ck_assert_int_eq(r->stage, REQUEST_HEAD);
    ck_assert_ptr_null(r->chunk.trailers); /* not those of the next one */
}

/* Feeds BYTES to a new request, FIRST bytes at first and then STEP at a time, as a session does with what
 * recv(2) gives.
 */
static void feed(char *outcome, const struct request_limits *limits, struct slice bytes, size_t first,
                 size_t step)
{
    struct request *r = request_new();
    ck_assert_ptr_nonnull(r);
    outcome[0] = '\0';
    size_t at = 0;
    size_t part = first; /* what is left of the piece that "the socket" holds now */
    size_t count = 0;
    for (;;) {
        const struct http_offence *offence = NULL;
        enum request_progress progress = request_received(r, limits, count, 1, &offence);
        count = 0;
        if (progress == REQUEST_REFUSED) {
            put(outcome, slice_of(offence->name));
            break;
        }
        if (progress == REQUEST_READY) {
            put_request(outcome, r);
            continue;
        }
        if (at == bytes.length) {
            put(outcome, request_is_untouched(r) ? SLICE("idle") : SLICE("more"));
            break;
        }
        size_t room = 0;
        char *to = request_room(r, limits, &room);
        ck_assert(to != NULL && room >= 1);
        part = part == 0 ? step : part;
        part = part < bytes.length - at ? part : bytes.length - at;
        count = room < part ? room : part;
        memcpy(to, bytes.at + at, count);
        at += count;
        part -= count;
    }
    request_delete(r);
}

static void expect_in_every_cut(const char *rule, const struct request_limits *limits, struct slice bytes,
                                const char *want)
{
    char outcome[OUTCOME_BYTES];
    feed(outcome, limits, bytes, bytes.length, MANY);
    ck_assert_msg(strcmp(outcome, want) == 0, "%s: %s", rule, outcome);
    feed(outcome, limits, bytes, 1, 1);
    ck_assert_msg(strcmp(outcome, want) == 0, "%s: byte by byte: %s", rule, outcome);
    for (size_t cut = 1; cut < bytes.length; cut++) {
        feed(outcome, limits, bytes, cut, MANY);
        if (strcmp(outcome, want) != 0) {
            ck_abort_msg("%s: cut at %zu: %s", rule, cut, outcome);
        }
    }
}

#define GET(target)        "GET " target " HTTP/1.1\r\nHost: a\r\n\r\n"
#define POST(length, body) "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: " length "\r\n\r\n" body
#define CHUNKED(body)      "POST /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" body

static const struct {
    const char *rule;
    struct slice bytes;
    const char *want;
} streams[] = {
    {"nothing", RAW(""), "idle"},
    {"RFC 9112, 6.3: no body", RAW(GET("/")), "GET / ;idle"},
    {"RFC 9112, 6.3: a length", RAW(POST("5", "hello")), "POST /p hello;idle"},
    {"RFC 9112, 6.3: a length of 0", RAW(POST("0", "")), "POST /p ;idle"},
    {"RFC 9112, 6.3: a length with GET", RAW("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"),
     "GET / hi;idle"},
    {"RFC 9112, 7.1: chunked", RAW(CHUNKED("5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n")),
     "POST /c hello world;idle"},
    {"RFC 9112, 7.1: chunked, no data", RAW(CHUNKED("0\r\n\r\n")), "POST /c ;idle"},
    {"RFC 9112, 7.1.2: a trailer is not body", RAW(CHUNKED("2\r\nhi\r\n0\r\nDigest: a\r\n\r\n")),
     "POST /c hi;idle"},
    {"RFC 9112, 2.2: empty lines before a request", RAW("\r\n\r\n" GET("/")), "GET / ;idle"},
    {"RFC 9112, 2.2: empty lines alone are no request", RAW("\r\n\r\n"), "idle"},
    {"RFC 9112, 2.2: nor half of one", RAW("\r\n\r"), "more"},
    {"RFC 9112, 2.2: an empty line behind a body", RAW(POST("2", "hi") "\r\n" GET("/")),
     "POST /p hi;GET / ;idle"},
    {"HTTP/1.0 without Host", RAW("GET / HTTP/1.0\r\n\r\n"), "GET / ;idle"},
    {"bytes in a body that look like a request", RAW(POST("36", GET("/smuggled") "x") GET("/next")),
     "POST /p GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\nx;GET /next ;idle"},
    {"bytes in a chunk that look like its end", RAW(CHUNKED("5\r\n0\r\n\r\n\r\n0\r\n\r\n")),
     "POST /c 0\r\n\r\n;idle"},
    /* RFC 9112, 9.3.2: pipelined requests, in order, none lost, none doubled. */
    {"pipelined: no bodies", RAW(GET("/1") GET("/2") GET("/3")), "GET /1 ;GET /2 ;GET /3 ;idle"},
    {"pipelined: each framing behind each",
     RAW(GET("/1") POST("3", "abc") CHUNKED("3\r\ndef\r\n0\r\n\r\n") CHUNKED("0\r\n\r\n") POST("0", "")
             POST("1", "g") CHUNKED("1\r\nh\r\n0\r\nA: b\r\n\r\n") GET("/2")),
     "GET /1 ;POST /p abc;POST /c def;POST /c ;POST /p ;POST /p g;POST /c h;GET /2 ;idle"},
    {"pipelined: the last one is cut", RAW(GET("/1") CHUNKED("3\r\ndef\r\n0\r\n\r\n") "GET /2 HTT"),
     "GET /1 ;POST /c def;more"},
    {"pipelined: the last one is bad", RAW(GET("/1") POST("2", "hi") "BAD\n"), "GET /1 ;POST /p hi;bare_lf"},
    /* Cut short. */
    {"cut in the request line", RAW("GE"), "more"},
    {"cut in the head", RAW("GET / HTTP/1.1\r\nHost: a\r\n"), "more"},
    {"cut in a body", RAW(POST("5", "hell")), "more"},
    {"cut before a body", RAW(POST("5", "")), "more"},
    {"cut before the last chunk", RAW(CHUNKED("2\r\nhi\r\n")), "more"},
    {"cut in the trailers", RAW(CHUNKED("2\r\nhi\r\n0\r\nA: b\r\n")), "more"},
    /* Refused: once by each part that can refuse. */
    {"by the scan", RAW("GET / HTTP/1.1\nHost: a\n\n"), "bare_lf"},
    {"by the parser", RAW("FROB / HTTP/1.1\r\nHost: a\r\n\r\n"), "unknown_method"},
    {"by the framing", RAW("GET / HTTP/1.1\r\n\r\n"), "missing_host"},
    {"by the framing, of two lengths",
     RAW("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n1"),
     "length_with_coding"},
    {"by the chunked coding", RAW(CHUNKED("2\r\nhi\r\nx")), "bad_chunk_size"},
    {"by the chunked coding, in a trailer", RAW(CHUNKED("0\r\nHost: b\r\n\r\n")), "forbidden_trailer"},
    /* RFC 9110, 10.1.1. */
    {"an expectation that is known",
     RAW("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\nhi"),
     "POST / hi;idle"},
    {"an expectation that is not", RAW("GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n\r\n"),
     "bad_expectation"},
    {"one that is known and one that is not, in a second field",
     RAW("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nA: b\r\nExpect: 200-ok\r\n\r\n"),
     "bad_expectation"},
    {"the same one twice, and empty members",
     RAW("GET / HTTP/1.1\r\nHost: a\r\nExpect: , 100-continue,100-continue\r\nExpect:\r\n\r\n"),
     "GET / ;idle"},
    {"HTTP/1.0 has no expectations", RAW("GET / HTTP/1.0\r\nExpect: 200-ok\r\n\r\n"), "GET / ;idle"},
};

START_TEST(reads_streams)
{
    expect_in_every_cut(streams[_i].rule, &usual, streams[_i].bytes, streams[_i].want);
}
END_TEST

/* ---- Limits ---- */

static const struct {
    const char *rule;
    struct request_limits limits;
    struct slice bytes;
    const char *want;
} limited[] = {
    {"a length at the limit", {32768, 5}, RAW(POST("5", "hello")), "POST /p hello;idle"},
    {"a length over it, at the head", {32768, 4}, RAW(POST("5", "")), "body_too_large"},
    {"a length far over it", {32768, 4}, RAW(POST("9223372036854775807", "")), "body_too_large"},
    {"no body is let in",
     {32768, 0},
     RAW(POST("0", "") CHUNKED("0\r\n\r\n") GET("/")),
     "POST /p ;POST /c ;GET / ;idle"},
    {"chunked at the limit",
     {32768, 5},
     RAW(CHUNKED("3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n")),
     "POST /c hello;idle"},
    {"chunked over it, at the size that is too much",
     {32768, 4},
     RAW(CHUNKED("3\r\nhel\r\n2\r\n")),
     "body_too_large"},
    {"a chunk far over it", {32768, 4}, RAW(CHUNKED("7fffffffffffffff\r\n")), "body_too_large"},
    {"chunked over it by one", {32768, 4}, RAW(CHUNKED("5\r\nhello\r\n0\r\n\r\n")), "body_too_large"},
    {"the limit is for each request",
     {32768, 2},
     RAW(CHUNKED("2\r\nhi\r\n0\r\n\r\n") POST("2", "ho")),
     "POST /c hi;POST /p ho;idle"},
    {"a head at its limit", {27, 9}, RAW("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "GET / ;idle"},
    {"a head one byte over it", {26, 9}, RAW("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "head_too_long"},
    {"a request line over it", {10, 9}, RAW("GET /12345 HTTP/1.1\r\n"), "request_line_too_long"},
    {"pipelined bytes don't count", {27, 9}, RAW(GET("/") GET("/") GET("/")), "GET / ;GET / ;GET / ;idle"},
};

START_TEST(keeps_limits)
{
    expect_in_every_cut(limited[_i].rule, &limited[_i].limits, limited[_i].bytes, limited[_i].want);
}
END_TEST

START_TEST(limits_have_their_status)
{
    ck_assert_int_eq(http_offence_body_too_large.status, 413);
    ck_assert_int_eq(http_offence_no_storage.status, 503);
    ck_assert_int_eq(http_offence_bad_expectation.status, 417);
}
END_TEST

/* A head larger than the buffer begins with, up to header_bytes. */
START_TEST(heads_of_every_size)
{
    static char bytes[80000];
    static const size_t lengths[] = {16383, 16384, 16385, 32767, 32768, 32769, 50000, 65536, 65537};
    for (int i = 0; i < ROWS(lengths); i++) {
        static const char begin[] = "GET / HTTP/1.1\r\nHost: a\r\nLong: ";
        char outcome[OUTCOME_BYTES];
        struct request_limits limits = {.header_bytes = 65536, .body_bytes = 9};
        memset(bytes, 'x', sizeof bytes);
        memcpy(bytes, begin, sizeof begin - 1);
        memcpy(bytes + lengths[i] - 4, "\r\n\r\n" GET("/next"), sizeof("\r\n\r\n" GET("/next")));
        size_t length = lengths[i] + sizeof(GET("/next")) - 1;
        const char *want = lengths[i] <= 65536 ? "GET / ;GET /next ;idle" : "head_too_long";
        feed(outcome, &limits, (struct slice){bytes, length}, length, MANY);
        ck_assert_msg(strcmp(outcome, want) == 0, "%zu: %s", lengths[i], outcome);
        feed(outcome, &limits, (struct slice){bytes, length}, 1, 1000);
        ck_assert_msg(strcmp(outcome, want) == 0, "%zu in pieces: %s", lengths[i], outcome);
    }
}
END_TEST

/* ---- Where a body is held ---- */

enum place { IN_PLACE, IN_MEMORY, IN_FILE };

static enum place place_of(const struct request *r)
{
    if (r->body.at != NULL) {
        return IN_PLACE;
    }
    return r->spool.file == -1 ? IN_MEMORY : IN_FILE;
}

enum { BYTES_MAX = 4 << 20 };

static char big[BYTES_MAX]; /* a stream */
static char held[BYTES_MAX];

static char byte_at(size_t at)
{
    return (char)(at * 31 + (at >> 11));
}

/* Gives R what BIG holds from *AT up to LENGTH, PIECE bytes at a time at the most, until the request is
 * whole. */
static void give(struct request *r, size_t *at, size_t length, size_t piece)
{
    const struct http_offence *offence = NULL;
    enum request_progress progress = request_received(r, &usual, 0, 1, &offence);
    while (progress == REQUEST_MORE) {
        size_t room = 0;
        char *to = request_room(r, &usual, &room);
        if (to == NULL || room == 0 || *at == length) {
            ck_abort_msg("no room at %zu, or nothing left", *at);
        }
        size_t count = room < piece ? room : piece;
        count = count < length - *at ? count : length - *at;
        memcpy(to, big + *at, count);
        *at += count;
        progress = request_received(r, &usual, count, 1, &offence);
    }
    ck_assert_msg(progress == REQUEST_READY, "%s", offence == NULL ? "" : offence->name);
}

static void expect_body(const struct request *r, size_t length, enum place place)
{
    ck_assert_uint_eq(request_body_bytes(r), length);
    ck_assert_uint_eq(request_body_received(r), length);
    ck_assert_msg(place_of(r) == place, "%zu bytes are in place %d", length, (int)place_of(r));
    ck_assert_uint_eq(copy_body(r, held, sizeof held), length);
    for (size_t i = 0; i < length; i++) {
        if (held[i] != byte_at(i)) {
            ck_abort_msg("%zu bytes: byte %zu", length, i);
        }
    }
}

static const struct {
    size_t length;
    bool chunked;
    enum place place;
} bodies[] = {
    {1, false, IN_PLACE},       {16384, false, IN_PLACE}, /* the room that is made behind each head */
    {40000, false, IN_MEMORY},  {1 << 20, false, IN_MEMORY},    {(1 << 20) + 1, false, IN_FILE},
    {3 << 20, false, IN_FILE},  {1, true, IN_MEMORY},           {40000, true, IN_MEMORY},
    {1 << 20, true, IN_MEMORY}, {(1 << 20) + 1, true, IN_FILE}, {3 << 20, true, IN_FILE},
};

/* Puts a request with a body of LENGTH pattern bytes at AT in BIG; returns the place behind it. */
static size_t put_big_request(size_t at, size_t length, bool chunked)
{
    enum { CHUNK = 9999 };
    at += (size_t)sprintf(big + at, "PUT / HTTP/1.1\r\nHost: a\r\n");
    at += chunked ? (size_t)sprintf(big + at, "Transfer-Encoding: chunked\r\n\r\n")
                  : (size_t)sprintf(big + at, "Content-Length: %zu\r\n\r\n", length);
    size_t done = 0;
    while (done < length) {
        size_t count = chunked && length - done > CHUNK ? CHUNK : length - done;
        at += chunked ? (size_t)sprintf(big + at, "%zx\r\n", count) : 0;
        for (size_t i = 0; i < count; i++) {
            big[at++] = byte_at(done++);
        }
        at += chunked ? (size_t)sprintf(big + at, "\r\n") : 0;
    }
    return at + (chunked ? (size_t)sprintf(big + at, "0\r\n\r\n") : 0);
}

/* Each body in pieces of several sizes, with a request pipelined behind it, twice with the same object. */
START_TEST(holds_bodies)
{
    static const size_t pieces[] = {BYTES_MAX, 70001, 1000};
    size_t end = put_big_request(0, bodies[_i].length, bodies[_i].chunked);
    size_t length = end + (size_t)sprintf(big + end, "%s", GET("/next"));
    struct request *r = request_new();
    for (int i = 0; i < ROWS(pieces); i++) {
        size_t at = 0;
        give(r, &at, length, pieces[i]);
        expect_body(r, bodies[_i].length, bodies[_i].place);
        if (place_of(r) != IN_PLACE && !bodies[_i].chunked) {
            ck_assert_uint_eq(at, end); /* what is pipelined stays in the socket */
        }
        request_next(r);
        give(r, &at, length, pieces[i]);
        ck_assert(slice_equal(r->head.target, SLICE("/next")));
        ck_assert_uint_eq(at, length);
        request_next(r);
        ck_assert(request_is_untouched(r));
        ck_assert_uint_eq(r->spool.length_bytes, 0);
        ck_assert_int_eq(r->spool.file, -1);
    }
    request_delete(r);
}
END_TEST

START_TEST(no_descriptor_for_a_file)
{
    struct rlimit limits;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &limits), 0);
    struct rlimit none = {.rlim_cur = 0, .rlim_max = limits.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (int chunked = 0; chunked < 2; chunked++) {
        struct request *r = request_new();
        const struct http_offence *offence = NULL;
        enum request_progress progress = REQUEST_MORE;
        size_t length = put_big_request(0, 3 << 20, chunked != 0);
        size_t at = 0;
        while (progress == REQUEST_MORE) {
            size_t room = 0;
            char *to = request_room(r, &usual, &room);
            if (to == NULL) {
                ck_assert_int_eq(errno, EMFILE);
                break;
            }
            room = room < length - at ? room : length - at;
            memcpy(to, big + at, room);
            at += room;
            progress = request_received(r, &usual, room, 1, &offence);
        }
        ck_assert(progress == REQUEST_MORE || (progress == REQUEST_REFUSED && offence->status == 503));
        ck_assert_uint_lt(at, length);
        request_delete(r);
    }
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limits), 0); /* LeakSanitizer needs some at the end */
}
END_TEST

/* ---- Small things ---- */

/* Gives TEXT to R in one piece at time NOW. */
static enum request_progress give_text(struct request *r, const char *text, mono_ns now)
{
    const struct http_offence *offence = NULL;
    size_t room = 0;
    char *to = request_room(r, &usual, &room);
    ck_assert_uint_ge(room, strlen(text));
    memcpy(to, text, strlen(text));
    return request_received(r, &usual, strlen(text), now, &offence);
}

#define EXPECTING(field) "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n" field "\r\n"

/* RFC 9110, 10.1.1: a client that waits is told to go on, but not one that has begun to send its body, nor
 * one that has none. */
START_TEST(wants_continue)
{
    static const struct {
        const char *text;
        bool wants;
    } rows[] = {
        {EXPECTING("Content-Length: 2\r\n"), true},
        {EXPECTING("Transfer-Encoding: chunked\r\n"), true},
        {EXPECTING("Content-Length: 2\r\n") "h", false},
        {EXPECTING("Transfer-Encoding: chunked\r\n") "2", false},
        {"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n", false},
        {"PUT / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n", false},
    };
    struct request *r = request_new();
    for (int i = 0; i < ROWS(rows); i++) {
        ck_assert_int_eq(give_text(r, rows[i].text, 1), REQUEST_MORE);
        ck_assert_msg(r->wants_continue == rows[i].wants, "%s", rows[i].text);
        request_clear(r);
    }
    ck_assert_int_eq(give_text(r, rows[0].text, 1), REQUEST_MORE);
    const struct http_offence *offence = NULL;
    ck_assert_int_eq(request_received(r, &usual, 0, 1, &offence), REQUEST_MORE);
    ck_assert(r->wants_continue); /* nothing came */
    ck_assert_int_eq(give_text(r, "h", 1), REQUEST_MORE);
    ck_assert(!r->wants_continue);
    request_delete(r);
}
END_TEST

START_TEST(remembers_when)
{
    struct request *r = request_new();
    ck_assert(request_is_untouched(r));
    ck_assert_int_eq(r->begun, 0);
    const struct http_offence *offence = NULL;
    ck_assert_int_eq(request_received(r, &usual, 0, 5, &offence), REQUEST_MORE);
    ck_assert_int_eq(r->begun, 0);
    ck_assert(request_is_untouched(r));
    ck_assert_int_eq(give_text(r, "P", 10), REQUEST_MORE);
    ck_assert(!request_is_untouched(r));
    ck_assert_int_eq(give_text(r, "UT / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n", 20), REQUEST_MORE);
    ck_assert_int_eq(r->body_begun, 0);
    ck_assert_int_eq(give_text(r, "\r\na", 30), REQUEST_MORE);
    ck_assert_int_eq(give_text(r, "b", 40), REQUEST_MORE);
    ck_assert_int_eq(r->begun, 10);
    ck_assert_int_eq(r->body_begun, 30);
    ck_assert_uint_eq(request_body_received(r), 2);
    ck_assert_int_eq(give_text(r, "cGET", 50), REQUEST_READY);
    request_next(r);
    ck_assert_int_eq(r->begun, 0);
    ck_assert(!request_is_untouched(r)); /* a piece of the next one is there */
    ck_assert_int_eq(request_received(r, &usual, 0, 60, &offence), REQUEST_MORE);
    ck_assert_int_eq(r->begun, 60);
    request_delete(r);
}
END_TEST

/* The same object for another connection: nothing of the first may be left, whatever stage it was in. */
START_TEST(clear_forgets_everything)
{
    static const char *const left[] = {
        "GET / HT",          POST("50", "secret"),    CHUNKED("6\r\nsecret\r\n0\r\nA: b\r\n"),
        CHUNKED("6\r\nsec"), GET("/") GET("/secret"), "\r\n",
    };
    struct request *r = request_new();
    for (int i = 0; i < ROWS(left); i++) {
        enum request_progress progress = give_text(r, left[i], 7);
        ck_assert_int_ne(progress, REQUEST_REFUSED);
        request_clear(r);
        ck_assert(request_is_untouched(r));
        ck_assert_int_eq(r->begun, 0);
        ck_assert_int_eq(give_text(r, CHUNKED("2\r\nhi\r\n0\r\n\r\n"), 8), REQUEST_READY);
        char outcome[OUTCOME_BYTES] = "";
        put_request(outcome, r);
        ck_assert_str_eq(outcome, "POST /c hi;");
        request_clear(r);
    }
    request_delete(r);
    request_delete(NULL);
}
END_TEST

START_TEST(drops_what_came_before_http)
{
    struct request *r = request_new();
    static const char text[] = "PROXY TCP4 ...\r\n" GET("/");
    size_t room = 0;
    memcpy(request_room(r, &usual, &room), text, sizeof text - 1);
    r->in_bytes = sizeof text - 1;
    r->begun = 5;
    request_drop_front(r, 16);
    const struct http_offence *offence = NULL;
    ck_assert_int_eq(request_received(r, &usual, 0, 9, &offence), REQUEST_READY);
    ck_assert_int_eq(r->begun, 9);
    ck_assert(slice_equal(r->head.target, SLICE("/")));
    request_delete(r);
}
END_TEST

/* ---- 300 requests of all framings and sizes, cut anywhere ---- */

static unsigned next_random(unsigned *state)
{
    *state = *state * 1664525 + 1013904223;
    return *state >> 8;
}

START_TEST(a_long_pipeline_in_random_pieces)
{
    enum { REQUESTS = 300 };
    static size_t lengths[REQUESTS];
    unsigned random = (unsigned)_i;
    size_t end = 0;
    for (int i = 0; i < REQUESTS; i++) {
        lengths[i] = next_random(&random) % 4 == 0 ? next_random(&random) % 30000 : next_random(&random) % 50;
        end = put_big_request(end, lengths[i], next_random(&random) % 2 == 0);
    }
    struct request *r = request_new();
    size_t at = 0;
    for (int i = 0; i < REQUESTS; i++) {
        give(r, &at, end, 1 + next_random(&random) % 20000);
        ck_assert_uint_eq(copy_body(r, held, sizeof held), lengths[i]);
        for (size_t k = 0; k < lengths[i]; k++) {
            if (held[k] != byte_at(k)) {
                ck_abort_msg("request %d, byte %zu", i, k);
            }
        }
        request_next(r);
    }
    ck_assert(request_is_untouched(r));
    ck_assert_uint_eq(at, end);
    request_delete(r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("request");
    TCase *tables = tcase_create("streams");
    tcase_add_loop_test(tables, reads_streams, 0, ROWS(streams));
    tcase_add_loop_test(tables, keeps_limits, 0, ROWS(limited));
    tcase_add_test(tables, limits_have_their_status);
    tcase_add_test(tables, heads_of_every_size);
    suite_add_tcase(suite, tables);
    TCase *places = tcase_create("bodies");
    tcase_add_loop_test(places, holds_bodies, 0, ROWS(bodies));
    tcase_add_test(places, no_descriptor_for_a_file);
    tcase_add_loop_test(places, a_long_pipeline_in_random_pieces, 0, 4);
    suite_add_tcase(suite, places);
    TCase *small = tcase_create("small");
    tcase_add_test(small, wants_continue);
    tcase_add_test(small, remembers_when);
    tcase_add_test(small, clear_forgets_everything);
    tcase_add_test(small, drops_what_came_before_http);
    suite_add_tcase(suite, small);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
