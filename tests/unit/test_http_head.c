/* SPDX-License-Identifier: MIT
 * The strict scan of a head. Each row names the rule it stands for and is fed whole and byte by byte: the
 * verdict must be the same, and must come at the same byte. */
#include "common/http_head.h"

#include "common/http_offence.h"
#include "common/slice.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LIMIT_BYTES = 32768 };

#define RAW(literal)                                                                                         \
    {                                                                                                        \
        (literal), sizeof(literal) - 1                                                                       \
    }
#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

struct verdict {
    enum http_head_progress progress;
    const struct http_offence *offence; /* with BAD */
    struct http_head_scan scan;
    size_t fed; /* bytes given when the verdict fell */
};

/* Feeds BYTES in steps of STEP bytes until the scan says something else than MORE. */
static struct verdict feed(enum http_kind kind, size_t limit_bytes, struct slice bytes, size_t step)
{
    struct verdict v = {.scan = {.kind = kind, .limit_bytes = limit_bytes}};
    do {
        v.fed = bytes.length - v.fed < step ? bytes.length : v.fed + step;
        char *copy = malloc(v.fed + 1); /* a fresh one each time: buffers grow and move */
        ck_assert_ptr_nonnull(copy);
        char *exact = copy + 1; /* ends where the memory ends, for AddressSanitizer */
        memcpy(exact, bytes.at, v.fed);
        v.progress = http_head_scan(&v.scan, exact, v.fed, &v.offence);
        free(copy);
    } while (v.progress == HTTP_HEAD_MORE && v.fed < bytes.length);
    return v;
}

static const char *name_of(const struct verdict *v)
{
    return v->progress == HTTP_HEAD_DONE   ? "(done)"
           : v->progress == HTTP_HEAD_MORE ? "(more)"
                                           : v->offence->name;
}

/* Asserts that BYTES, fed in any step, get the verdict WANT (an offence's name, "(done)" or "(more)"). */
static void expect(const char *rule, enum http_kind kind, size_t limit_bytes, struct slice bytes,
                   const char *want)
{
    static const size_t steps[] = {SIZE_MAX, 1, 2, 7};
    for (int i = 0; i < ROWS(steps); ++i) {
        const size_t step = steps[i] > bytes.length ? bytes.length : steps[i];
        const struct verdict v = feed(kind, limit_bytes, bytes, step);
        ck_assert_msg(strcmp(name_of(&v), want) == 0, "%s: in steps of %zu: %s, expected %s", rule, step,
                      name_of(&v), want);
    }
}

/* ---- Requests that are let through ---- */

static const struct {
    const char *rule;
    struct slice bytes;
    size_t start; /* where the request line begins */
} good_requests[] = {
    {"RFC 9112, 2.1: a request without fields", RAW("GET / HTTP/1.1\r\n\r\n"), 0},
    {"RFC 9112, 2.3: HTTP/1.0", RAW("GET / HTTP/1.0\r\n\r\n"), 0},
    {"RFC 9112, 3: a request of curl",
     RAW("GET / HTTP/1.1\r\nHost: a\r\nUser-Agent: curl\r\nAccept: */*\r\n\r\n"), 0},
    {"RFC 9112, 2.2: an empty line before the request is skipped", RAW("\r\nGET / HTTP/1.1\r\n\r\n"), 2},
    {"RFC 9112, 2.2: up to 8 of them", RAW("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n"), 16},
    {"RFC 9110, 9.1: a method is any token, known or not", RAW("!#$%&'*+-.^_`|~aZ09 / HTTP/1.1\r\n\r\n"), 0},
    {"RFC 9112, 3.2: any visible byte may stand in the target", RAW("GET !\"#<>\\^`{|}~ HTTP/1.1\r\n\r\n"),
     0},
    {"RFC 9112, 5.1: a field without value", RAW("GET / HTTP/1.1\r\nA:\r\n\r\n"), 0},
    {"RFC 9112, 5.1: white space around a value", RAW("GET / HTTP/1.1\r\nA: \t b \t\r\n\r\n"), 0},
    {"RFC 9110, 5.5: HTAB and obs-text in a value", RAW("GET / HTTP/1.1\r\nA: b\tc\x80\xff\r\n\r\n"), 0},
    {"RFC 9112, 5.1: no white space behind the colon", RAW("GET / HTTP/1.1\r\nA:b:c\r\n\r\n"), 0},
};

START_TEST(lets_good_requests_through)
{
    const struct slice bytes = good_requests[_i].bytes;
    expect(good_requests[_i].rule, HTTP_KIND_REQUEST, LIMIT_BYTES, bytes, "(done)");
    const struct verdict v = feed(HTTP_KIND_REQUEST, LIMIT_BYTES, bytes, bytes.length);
    ck_assert_msg(v.scan.start == good_requests[_i].start, "%s: starts at %zu", good_requests[_i].rule,
                  v.scan.start);
    ck_assert_msg(v.scan.seen == bytes.length, "%s: ends at %zu", good_requests[_i].rule, v.scan.seen);
}
END_TEST

START_TEST(leaves_what_follows_the_head)
{
    static const char two[] = "POST /1 HTTP/1.1\r\nA: b\r\n\r\nGET \x01\n";
    const struct verdict v = feed(HTTP_KIND_REQUEST, LIMIT_BYTES, SLICE(two), sizeof(two) - 1);
    ck_assert_int_eq(v.progress, HTTP_HEAD_DONE);
    ck_assert_uint_eq(v.scan.seen, strlen("POST /1 HTTP/1.1\r\nA: b\r\n\r\n"));
    ck_assert_uint_eq(v.scan.lines, 2);
}
END_TEST

/* ---- Requests that are refused ---- */

static const struct {
    const char *rule;
    struct slice bytes;
    const struct http_offence *offence;
} bad_requests[] = {
    /* Line ends. */
    {"RFC 9112, 2.2: bare LF ends the request line", RAW("GET / HTTP/1.1\nA: b\r\n\r\n"),
     &http_offence_bare_lf},
    {"RFC 9112, 2.2: bare LF ends a field", RAW("GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n"),
     &http_offence_bare_lf},
    {"RFC 9112, 2.2: bare LF is the empty line", RAW("GET / HTTP/1.1\r\nA: b\r\n\n"), &http_offence_bare_lf},
    {"RFC 9112, 2.2: bare LF before the request", RAW("\nGET / HTTP/1.1\r\n\r\n"), &http_offence_bare_lf},
    {"RFC 9112, 2.2: bare CR in the target", RAW("GET /\rx HTTP/1.1\r\n\r\n"), &http_offence_bare_cr},
    {"RFC 9112, 2.2: bare CR behind the version", RAW("GET / HTTP/1.1\rA: b\r\n\r\n"), &http_offence_bare_cr},
    {"RFC 9112, 2.2: bare CR in a value", RAW("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n"), &http_offence_bare_cr},
    {"RFC 9112, 2.2: CR without LF behind an empty value", RAW("GET / HTTP/1.1\r\nA:\rB: c\r\n\r\n"),
     &http_offence_bare_cr},
    {"RFC 9112, 2.2: CR without LF as the last empty line", RAW("GET / HTTP/1.1\r\nA: b\r\n\rX"),
     &http_offence_bare_cr},
    {"RFC 9112, 2.2: CR CR LF", RAW("GET / HTTP/1.1\r\r\n\r\n"), &http_offence_bare_cr},
    {"RFC 9112, 2.2: bare CR before the request", RAW("\rGET / HTTP/1.1\r\n\r\n"), &http_offence_bare_cr},
    {"RFC 9112, 2.2: too many empty lines before the request",
     RAW("\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n"), &http_offence_empty_lines},
    /* The request line. */
    {"RFC 9112, 3.1: a method that is no token", RAW("G(T / HTTP/1.1\r\n\r\n"), &http_offence_bad_method},
    {"RFC 9112, 3.1: obs-text in the method", RAW("G\x80T / HTTP/1.1\r\n\r\n"),
     &http_offence_bad_request_line_byte},
    {"RFC 9112, 3: no method", RAW("/ HTTP/1.1\r\n\r\n"), &http_offence_bad_method},
    {"RFC 9112, 3: space before the method", RAW(" GET / HTTP/1.1\r\n\r\n"), &http_offence_bad_method},
    {"RFC 9112, 3: HTAB behind the method", RAW("GET\t/ HTTP/1.1\r\n\r\n"),
     &http_offence_bad_request_line_byte},
    {"RFC 9112, 3: a TLS handshake", RAW("\x16\x03\x01\x02\x00\x01\x00"), &http_offence_control_byte},
    {"RFC 9112, 3: a method longer than any", RAW("ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEFG"),
     &http_offence_unknown_method},
    {"RFC 9112, 3: only a method", RAW("GET\r\n\r\n"), &http_offence_bad_request_line},
    {"RFC 9112, 3: a method and a space", RAW("GET \r\n\r\n"), &http_offence_bad_request_line},
    {"RFC 9112, 3: two spaces behind the method", RAW("GET  / HTTP/1.1\r\n\r\n"),
     &http_offence_bad_request_line},
    {"RFC 9112, 3: no target", RAW("GET  HTTP/1.1\r\n\r\n"), &http_offence_bad_request_line},
    {"RFC 9112, 3: two spaces behind the target", RAW("GET /  HTTP/1.1\r\n\r\n"),
     &http_offence_bad_request_line},
    {"RFC 9112, 3: a space in the target", RAW("GET /a b HTTP/1.1\r\n\r\n"), &http_offence_bad_request_line},
    {"RFC 9112, 3: a space behind the version", RAW("GET / HTTP/1.1 \r\n\r\n"),
     &http_offence_bad_request_line},
    {"RFC 9112, 3.2: HTAB in the target", RAW("GET /\t HTTP/1.1\r\n\r\n"),
     &http_offence_bad_request_line_byte},
    {"RFC 9112, 3.2: a byte over 0x7f in the target", RAW("GET /\xe4 HTTP/1.1\r\n\r\n"),
     &http_offence_bad_request_line_byte},
    {"RFC 9112, 3.2: form feed in the target", RAW("GET /\f HTTP/1.1\r\n\r\n"), &http_offence_control_byte},
    {"RFC 9112, 3.2: DEL in the target", RAW("GET /\x7f HTTP/1.1\r\n\r\n"), &http_offence_control_byte},
    {"RFC 9112, 3.2: NUL in the target", RAW("GET /\0 HTTP/1.1\r\n\r\n"), &http_offence_nul_byte},
    /* The version. */
    {"RFC 9112, 2.3: HTTP/0.9 without fields", RAW("GET /\r\n\r\n"), &http_offence_missing_version},
    {"RFC 9112, 2.3: HTTP/0.9 with fields", RAW("GET /\r\nHost: a\r\n\r\n"), &http_offence_missing_version},
    {"RFC 9112, 2.3: an empty version", RAW("GET / \r\n\r\n"), &http_offence_bad_request_line},
    {"RFC 9112, 2.3: HTTP/0.9 by name", RAW("GET / HTTP/0.9\r\n\r\n"), &http_offence_unsupported_version},
    {"RFC 9112, 2.3: HTTP/1.2", RAW("GET / HTTP/1.2\r\n\r\n"), &http_offence_unsupported_version},
    {"RFC 9112, 2.3: HTTP/2.0, the preface of HTTP/2", RAW("PRI * HTTP/2.0\r\n\r\n"),
     &http_offence_unsupported_version},
    {"RFC 9112, 2.3: HTTP/2", RAW("GET / HTTP/2\r\n\r\n"), &http_offence_unsupported_version},
    {"RFC 9112, 2.3: HTTP/1.10", RAW("GET / HTTP/1.10\r\n\r\n"), &http_offence_unsupported_version},
    {"RFC 9112, 2.3: HTTP/11.1", RAW("GET / HTTP/11.1\r\n\r\n"), &http_offence_unsupported_version},
    {"RFC 9112, 2.3: HTTP/1.", RAW("GET / HTTP/1.\r\n\r\n"), &http_offence_bad_version},
    {"RFC 9112, 2.3: HTTP/.1", RAW("GET / HTTP/.1\r\n\r\n"), &http_offence_bad_version},
    {"RFC 9112, 2.3: HTTP/", RAW("GET / HTTP/\r\n\r\n"), &http_offence_bad_version},
    {"RFC 9112, 2.3: HTTP/1.1x", RAW("GET / HTTP/1.1x\r\n\r\n"), &http_offence_bad_version},
    {"RFC 9112, 2.3: HTTP/x.1", RAW("GET / HTTP/x.1\r\n\r\n"), &http_offence_bad_version},
    {"RFC 9112, 2.3: http/1.1", RAW("GET / http/1.1\r\n\r\n"), &http_offence_bad_protocol},
    {"RFC 9112, 2.3: HTTPS/1.1", RAW("GET / HTTPS/1.1\r\n\r\n"), &http_offence_bad_protocol},
    {"RFC 9112, 2.3: ICE/1.0", RAW("SOURCE / ICE/1.0\r\n\r\n"), &http_offence_bad_protocol},
    {"RFC 9112, 2.3: HTTP", RAW("GET / HTTP\r\n\r\n"), &http_offence_bad_protocol},
    /* Fields. */
    {"RFC 9112, 5.1: space before the colon", RAW("GET / HTTP/1.1\r\nContent-Length : 3\r\n\r\n"),
     &http_offence_space_before_colon},
    {"RFC 9112, 5.1: space before the colon of Transfer-Encoding",
     RAW("GET / HTTP/1.1\r\nTransfer-Encoding : chunked\r\n\r\n"), &http_offence_space_before_colon},
    {"RFC 9112, 5.1: HTAB before the colon", RAW("GET / HTTP/1.1\r\nA\t: b\r\n\r\n"),
     &http_offence_space_before_colon},
    {"RFC 9110, 5.1: a space inside a name", RAW("GET / HTTP/1.1\r\nFoo Bar: x\r\n\r\n"),
     &http_offence_bad_field_name},
    {"RFC 9110, 5.1: obs-text in a name", RAW("GET / HTTP/1.1\r\nA\x80: b\r\n\r\n"),
     &http_offence_bad_field_name},
    {"RFC 9110, 5.1: a quoted name", RAW("GET / HTTP/1.1\r\n\"A\": b\r\n\r\n"), &http_offence_bad_field_name},
    {"RFC 9112, 5: an empty name", RAW("GET / HTTP/1.1\r\n: b\r\n\r\n"), &http_offence_empty_field_name},
    {"RFC 9112, 5: no colon", RAW("GET / HTTP/1.1\r\nA\r\n\r\n"), &http_offence_missing_colon},
    {"RFC 9112, 5: no colon, but a space", RAW("GET / HTTP/1.1\r\nA b\r\n\r\n"), &http_offence_missing_colon},
    {"RFC 9112, 2.2: white space before the first field",
     RAW("GET / HTTP/1.1\r\n Transfer-Encoding: chunked\r\n\r\n"), &http_offence_leading_space},
    {"RFC 9112, 2.2: HTAB before the first field", RAW("GET / HTTP/1.1\r\n\tA: b\r\n\r\n"),
     &http_offence_leading_space},
    {"RFC 9112, 5.2: obs-fold", RAW("GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n"), &http_offence_obs_fold},
    {"RFC 9112, 5.2: obs-fold with HTAB", RAW("GET / HTTP/1.1\r\nA: b\r\n\tc\r\n\r\n"),
     &http_offence_obs_fold},
    {"RFC 9112, 5.2: obs-fold of Transfer-Encoding",
     RAW("GET / HTTP/1.1\r\nTransfer-Encoding:\r\n chunked\r\n\r\n"), &http_offence_obs_fold},
    {"RFC 9112, 5.2: obs-fold of Content-Length", RAW("GET / HTTP/1.1\r\nContent-Length: 1\r\n 2\r\n\r\n"),
     &http_offence_obs_fold},
    {"RFC 9112, 5.2: a fold of nothing", RAW("GET / HTTP/1.1\r\nA: b\r\n \r\n\r\n"), &http_offence_obs_fold},
    {"RFC 9110, 5.5: NUL as the first byte of a value", RAW("GET / HTTP/1.1\r\nA: \0b\r\n\r\n"),
     &http_offence_nul_byte},
    {"RFC 9110, 5.5: NUL inside a value", RAW("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n"), &http_offence_nul_byte},
    {"RFC 9110, 5.5: a control byte in a value", RAW("GET / HTTP/1.1\r\nA: b\x01\r\n\r\n"),
     &http_offence_control_byte},
    {"RFC 9110, 5.5: DEL in a value", RAW("GET / HTTP/1.1\r\nA: b\x7f\r\n\r\n"), &http_offence_control_byte},
    {"RFC 9110, 5.1: a control byte in a name", RAW("GET / HTTP/1.1\r\nA\x0b: b\r\n\r\n"),
     &http_offence_control_byte},
};

START_TEST(refuses_bad_requests)
{
    expect(bad_requests[_i].rule, HTTP_KIND_REQUEST, LIMIT_BYTES, bad_requests[_i].bytes,
           bad_requests[_i].offence->name);
}
END_TEST

/* Offences that are seen before the line is whole: RULE falls with the last byte of BYTES, not before, not
 * after. */
static const struct {
    const char *rule;
    struct slice bytes;
} refused_at_once[] = {
    {"RFC 9112, 3: the first byte of a TLS handshake", RAW("\x16")},
    {"RFC 9112, 3: the first byte of an SSLv2 handshake", RAW("\x80")},
    {"RFC 9112, 3.1: a method with a stray byte", RAW("GE{")},
    {"RFC 9112, 2.2: bare CR in the target", RAW("GET /\rx")},
    {"RFC 9112, 2.2: bare LF", RAW("GET / HTTP/1.1\n")},
    {"RFC 9110, 5.5: NUL in a value", RAW("GET / HTTP/1.1\r\nA: b\0")},
    {"RFC 9110, 5.5: a control byte in a value", RAW("GET / HTTP/1.1\r\nA: b\x1b")},
    {"RFC 9112, 2.3: a version is judged with its line", RAW("GET / HTTP/3.0\r\n")},
    {"RFC 9112, 5.2: obs-fold is judged with its line", RAW("GET / HTTP/1.1\r\nA: b\r\n c\r\n")},
};

START_TEST(refuses_early)
{
    const struct slice bytes = refused_at_once[_i].bytes;
    const struct verdict v = feed(HTTP_KIND_REQUEST, LIMIT_BYTES, bytes, 1);
    ck_assert_msg(v.progress == HTTP_HEAD_BAD && v.fed == bytes.length, "%s: %s after %zu bytes",
                  refused_at_once[_i].rule, name_of(&v), v.fed);
}
END_TEST

/* Heads cut short, each a beginning of a good one. */
START_TEST(waits_for_the_rest)
{
    static const char whole[] = "\r\nGET / HTTP/1.1\r\nHost: a\r\nB: c d \r\n\r\n";
    for (size_t length = 1; length < sizeof(whole) - 1; ++length) {
        const struct slice part = {whole, length};
        expect("RFC 9112, 2.2: a part of a head", HTTP_KIND_REQUEST, LIMIT_BYTES, part, "(more)");
    }
}
END_TEST

/* ---- Every byte in every place ---- */

/* Puts BYTE between BEFORE and AFTER, and asserts that the request is let through exactly when GOOD. */
static void expect_byte(const char *before, int byte, const char *after, bool good)
{
    char text[128];
    const size_t length = (size_t)snprintf(text, sizeof(text), "%s?%s", before, after);
    text[strlen(before)] = (char)byte;
    const struct verdict v = feed(HTTP_KIND_REQUEST, LIMIT_BYTES, (struct slice){text, length}, length);
    ck_assert_msg((v.progress == HTTP_HEAD_DONE) == good, "byte 0x%02x between '%s' and '%s': %s",
                  (unsigned)byte, before, after, name_of(&v));
}

START_TEST(judges_every_byte)
{
    /* RFC 9110, 5.6.2, by its text. */
    static const char tchars[] =
        "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (int byte = 0; byte < 256; ++byte) {
        const bool tchar = byte != 0 && strchr(tchars, byte) != NULL;
        const bool field = byte == '\t' || (byte >= ' ' && byte != 0x7f);
        ck_assert_int_eq(http_is_tchar((unsigned char)byte), tchar);
        ck_assert_int_eq(http_is_field_byte((unsigned char)byte), field);
        expect_byte("G", byte, "T / HTTP/1.1\r\n\r\n", tchar);
        expect_byte("GET /", byte, "x HTTP/1.1\r\n\r\n", byte > ' ' && byte < 0x7f);
        expect_byte("GET / HTTP/1.1\r\nA", byte, "A: b\r\n\r\n", tchar || byte == ':');
        expect_byte("GET / HTTP/1.1\r\n", byte, "A: b\r\n\r\n", tchar);
        expect_byte("GET / HTTP/1.1\r\nA:", byte, "b\r\n\r\n", field);
        expect_byte("GET / HTTP/1.1\r\nA: b", byte, "\r\n\r\n", field);
    }
}
END_TEST

/* ---- Limits ---- */

START_TEST(holds_the_limit_of_the_head)
{
    static const char text[] = "\r\nGET /path HTTP/1.1\r\nA: b\r\n\r\nbody";
    const struct slice bytes = {text, sizeof(text) - 1};
    const size_t head_bytes = bytes.length - strlen("body");
    const size_t line_bytes = strlen("\r\nGET /path HTTP/1.1\r\n");
    for (size_t limit = 1; limit <= bytes.length + 1; ++limit) {
        const char *want = limit >= head_bytes   ? "(done)"
                           : limit >= line_bytes ? "head_too_long"
                                                 : "request_line_too_long";
        expect("RFC 9112, 3 and RFC 6585, 5: the limit", HTTP_KIND_REQUEST, limit, bytes, want);
    }
}
END_TEST

START_TEST(tells_a_long_target_from_long_fields)
{
    enum { LONG = 1000 };
    char text[LONG];
    memset(text, 'x', sizeof(text));
    memcpy(text, "GET /", 5);
    expect("RFC 9112, 3: an endless target", HTTP_KIND_REQUEST, LONG, (struct slice){text, LONG},
           "request_line_too_long");
    memcpy(text, "GET / HTTP/1.1\r\nA: ", 19);
    expect("RFC 6585, 5: an endless field", HTTP_KIND_REQUEST, LONG, (struct slice){text, LONG},
           "head_too_long");
    memcpy(text, "HTTP/1.1 200 ", 13);
    expect("RFC 9112, 4: an endless reason", HTTP_KIND_RESPONSE, LONG, (struct slice){text, LONG},
           "head_too_long");
    ck_assert_int_eq(http_offence_request_line_too_long.status, 414);
    ck_assert_int_eq(http_offence_head_too_long.status, 431);
}
END_TEST

START_TEST(counts_fields)
{
    static const char field[] = "A: b\r\n";
    char text[64 + (HTTP_FIELDS_MAX + 1) * (sizeof(field) - 1)];
    for (int fields = HTTP_FIELDS_MAX; fields <= HTTP_FIELDS_MAX + 1; ++fields) {
        size_t length = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n");
        for (int i = 0; i < fields; ++i) {
            memcpy(text + length, field, sizeof(field) - 1);
            length += sizeof(field) - 1;
        }
        memcpy(text + length, "\r\n", 2);
        expect("RFC 6585, 5: the number of fields", HTTP_KIND_REQUEST, LIMIT_BYTES,
               (struct slice){text, length + 2}, fields > HTTP_FIELDS_MAX ? "too_many_fields" : "(done)");
    }
}
END_TEST

/* ---- Responses ---- */

static const struct {
    const char *rule;
    struct slice bytes;
    const struct http_offence *offence; /* NULL: let through */
} responses[] = {
    {"RFC 9112, 4: a response", RAW("HTTP/1.1 200 OK\r\nA: b\r\n\r\n"), NULL},
    {"RFC 9112, 4: HTTP/1.0", RAW("HTTP/1.0 404 Not Found\r\n\r\n"), NULL},
    {"RFC 9112, 4: an empty reason", RAW("HTTP/1.1 200 \r\n\r\n"), NULL},
    {"RFC 9112, 4: no space before no reason, tolerated", RAW("HTTP/1.1 200\r\n\r\n"), NULL},
    {"RFC 9112, 4: HTAB and obs-text in the reason", RAW("HTTP/1.1 200 a\tb\x80\xff\r\n\r\n"), NULL},
    {"RFC 9110, 15: the first and the last status", RAW("HTTP/1.1 100 \r\n\r\n"), NULL},
    {"RFC 9110, 15: the last status", RAW("HTTP/1.1 599 \r\n\r\n"), NULL},
    {"RFC 9110, 15: status 099", RAW("HTTP/1.1 099 \r\n\r\n"), &http_offence_bad_status_code},
    {"RFC 9110, 15: status 600", RAW("HTTP/1.1 600 \r\n\r\n"), &http_offence_bad_status_code},
    {"RFC 9112, 4: status of two digits", RAW("HTTP/1.1 20 OK\r\n\r\n"), &http_offence_bad_status_code},
    {"RFC 9112, 4: status of four digits", RAW("HTTP/1.1 2000 OK\r\n\r\n"), &http_offence_bad_status_code},
    {"RFC 9112, 4: status with a sign", RAW("HTTP/1.1 +20 OK\r\n\r\n"), &http_offence_bad_status_code},
    {"RFC 9112, 4: two spaces before the status", RAW("HTTP/1.1  200 OK\r\n\r\n"),
     &http_offence_bad_status_code},
    {"RFC 9112, 4: HTAB behind the status", RAW("HTTP/1.1 200\tOK\r\n\r\n"), &http_offence_bad_status_line},
    {"RFC 9112, 4: HTAB before the status", RAW("HTTP/1.1\t200 OK\r\n\r\n"), &http_offence_bad_version},
    {"RFC 9112, 4: no status", RAW("HTTP/1.1\r\n\r\n"), &http_offence_bad_status_line},
    {"RFC 9112, 4: no status, but a space", RAW("HTTP/1.1 \r\n\r\n"), &http_offence_bad_status_code},
    {"RFC 9112, 4: an empty line first", RAW("\r\nHTTP/1.1 200 OK\r\n\r\n"), &http_offence_bad_status_line},
    {"RFC 9112, 2.3: HTTP/2", RAW("HTTP/2 200\r\n\r\n"), &http_offence_unsupported_version},
    {"RFC 9112, 2.3: ICY", RAW("ICY 200 OK\r\n\r\n"), &http_offence_bad_protocol},
    {"RFC 9112, 2.3: no HTTP at all", RAW("SSH-2.0-OpenSSH_9.2\r\n"), &http_offence_bad_protocol},
    {"RFC 9112, 2.2: bare LF ends the status line", RAW("HTTP/1.1 200 OK\n\r\n"), &http_offence_bare_lf},
    {"RFC 9112, 2.2: bare CR in the reason", RAW("HTTP/1.1 200 O\rK\r\n\r\n"), &http_offence_bare_cr},
    {"RFC 9112, 4: NUL in the reason", RAW("HTTP/1.1 200 O\0K\r\n\r\n"), &http_offence_nul_byte},
    {"RFC 9112, 4: a control byte in the reason", RAW("HTTP/1.1 200 O\x08K\r\n\r\n"),
     &http_offence_control_byte},
    {"RFC 9112, 5.1: space before the colon", RAW("HTTP/1.1 200 OK\r\nContent-Length : 3\r\n\r\n"),
     &http_offence_space_before_colon},
    {"RFC 9112, 5.2: obs-fold", RAW("HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n"), &http_offence_obs_fold},
    {"RFC 9112, 2.2: white space before the first field", RAW("HTTP/1.1 200 OK\r\n A: b\r\n\r\n"),
     &http_offence_leading_space},
    {"RFC 9112, 2.2: bare LF is the empty line", RAW("HTTP/1.1 200 OK\r\nA: b\r\n\n"), &http_offence_bare_lf},
};

START_TEST(judges_responses)
{
    expect(responses[_i].rule, HTTP_KIND_RESPONSE, LIMIT_BYTES, responses[_i].bytes,
           responses[_i].offence == NULL ? "(done)" : responses[_i].offence->name);
}
END_TEST

int main(void)
{
    TCase *head = tcase_create("head");
    tcase_add_loop_test(head, lets_good_requests_through, 0, ROWS(good_requests));
    tcase_add_test(head, leaves_what_follows_the_head);
    tcase_add_loop_test(head, refuses_bad_requests, 0, ROWS(bad_requests));
    tcase_add_loop_test(head, refuses_early, 0, ROWS(refused_at_once));
    tcase_add_test(head, waits_for_the_rest);
    tcase_add_test(head, judges_every_byte);
    tcase_add_test(head, holds_the_limit_of_the_head);
    tcase_add_test(head, tells_a_long_target_from_long_fields);
    tcase_add_test(head, counts_fields);
    tcase_add_loop_test(head, judges_responses, 0, ROWS(responses));
    Suite *suite = suite_create("http_head");
    suite_add_tcase(suite, head);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
