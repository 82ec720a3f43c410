/* SPDX-License-Identifier: MIT
 * The identity fields. Requests go through the strict scan and the decoder, as in the program; what comes out
 * is compared to the byte, and goes through the scan again: it must be well-formed field lines. */
#include "proxy/identity.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

#define ID32    "0af7651916cd43dd8448eb211c80319c"
#define ID16    "b7ad6b7169203331"
#define PARENT  "00-" ID32 "-" ID16 "-01"
#define ZEROS16 "0000000000000000"
#define A10     "aaaaaaaaaa"
#define A128    A10 A10 A10 A10 A10 A10 A10 A10 A10 A10 A10 A10 "aaaaaaaa"
#define KEPT    "X-Request-Id: r-1\r\ntraceparent: " PARENT "\r\n"

struct request {
    struct http_head head;
    char bytes[8192];
};

/* Decodes a request with FIELDS, lines that each end in CRLF. */
static void decode(struct request *request, const char *fields)
{
    const struct http_offence *offence = NULL;
    struct http_head_scan scan = {.kind = HTTP_KIND_REQUEST, .limit_bytes = sizeof request->bytes};
    int length =
        snprintf(request->bytes, sizeof request->bytes, "GET / HTTP/1.1\r\nHost: x\r\n%s\r\n", fields);
    ck_assert_int_lt(length, (int)sizeof request->bytes);
    ck_assert_int_eq(http_head_scan(&scan, request->bytes, (size_t)length, &offence), HTTP_HEAD_DONE);
    ck_assert_ptr_null(http_decode(&request->head, HTTP_KIND_REQUEST, request->bytes, (size_t)length));
}

static void fill(struct identity *identity, const char *fields)
{
    struct request *request = malloc(sizeof *request);
    ck_assert_ptr_nonnull(request);
    memset(identity, 0xa5, sizeof *identity);
    decode(request, fields);
    identity_fill(identity, &request->head);
    free(request); /* what was filled must not point into it */
}

static bool is_hex_text(const char *text, size_t length)
{
    size_t digits = 0;
    while (digits < length && strchr("0123456789abcdef", text[digits]) != NULL && text[digits] != '\0') {
        digits++;
    }
    return digits == length;
}

/* ---- X-Request-Id ---- */

static const struct {
    const char *rule, *fields;
    const char *kept; /* NULL: a new one is made */
} request_ids[] = {
    {"none", "", NULL},
    {"kept", "X-Request-Id: 7f3c-1\r\n", "7f3c-1"},
    {"one byte", "x-request-id: a\r\n", "a"},
    {"128 bytes", "X-Request-Id: " A128 "\r\n", A128},
    {"129 bytes", "X-Request-Id: " A128 "a\r\n", NULL},
    {"every kind of visible byte", "X-Request-Id: !\"#'(),/:;<=>?@[\\]{|}~\r\n", "!\"#'(),/:;<=>?@[\\]{|}~"},
    {"space around it", "X-Request-Id: \t a \t\r\n", "a"},
    {"empty", "X-Request-Id:\r\n", NULL},
    {"space inside", "X-Request-Id: a b\r\n", NULL},
    {"tab inside", "X-Request-Id: a\tb\r\n", NULL},
    {"obs-text", "X-Request-Id: a\x80\r\n", NULL},
    {"obs-text to the last", "X-Request-Id: \xff\r\n", NULL},
    {"two", "X-Request-Id: a\r\nX-Request-Id: b\r\n", NULL},
    {"two of the same", "X-Request-Id: a\r\nAccept: b\r\nX-Request-Id: a\r\n", NULL},
    {"another field of another name", "X-Request-Ids: a\r\n", NULL},
};

START_TEST(keeps_or_makes_a_request_id)
{
    struct identity identity;
    fill(&identity, request_ids[_i].fields);
    const char *want = request_ids[_i].kept;
    if (want != NULL) {
        ck_assert_msg(slice_equal((struct slice){identity.request_id, identity.request_id_length},
                                  slice_of(want)),
                      "%s: '%.*s'", request_ids[_i].rule, (int)identity.request_id_length,
                      identity.request_id);
    } else {
        ck_assert_msg(identity.request_id_length == 32 && is_hex_text(identity.request_id, 32), "%s",
                      request_ids[_i].rule);
    }
}
END_TEST

/* ---- traceparent ---- */

#define TRACE(value) "traceparent: " value "\r\n"

static const struct {
    const char *rule, *fields;
    const char *kept; /* NULL: a new one is made */
} traces[] = {
    {"none", "", NULL},
    {"sampled", TRACE(PARENT), PARENT},
    {"not sampled", TRACE("00-" ID32 "-" ID16 "-00"), "00-" ID32 "-" ID16 "-00"},
    {"3.2.2.5: other flags of version 00 are not ours to change", TRACE("00-" ID32 "-" ID16 "-ff"),
     "00-" ID32 "-" ID16 "-ff"},
    {"the field's name in any case", "TraceParent: " PARENT "\r\n", PARENT},
    {"the lowest ids", TRACE("00-" ZEROS16 "0000000000000001-0000000000000001-00"),
     "00-" ZEROS16 "0000000000000001-0000000000000001-00"},
    {"the highest ids", TRACE("00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-00"),
     "00-ffffffffffffffffffffffffffffffff-ffffffffffffffff-00"},
    {"3.2: two fields", TRACE(PARENT) TRACE(PARENT), NULL},
    {"3.2: two fields, the first bad", TRACE("x") TRACE(PARENT), NULL},
    {"a list", TRACE(PARENT "," PARENT), NULL},
    {"empty", TRACE(""), NULL},
    {"3.2.2.1: version ff", TRACE("ff-" ID32 "-" ID16 "-01"), NULL},
    {"3.2.2.1: version FF", TRACE("FF-" ID32 "-" ID16 "-01"), NULL},
    {"a version that is not hex", TRACE("0g-" ID32 "-" ID16 "-01"), NULL},
    {"a version in upper case", TRACE("0A-" ID32 "-" ID16 "-01"), NULL},
    {"a version of one digit", TRACE("0-" ID32 "-" ID16 "-01"), NULL},
    {"a version of three digits", TRACE("000-" ID32 "-" ID16 "-01"), NULL},
    {"3.2.2.3: trace-id of zeros", TRACE("00-" ZEROS16 ZEROS16 "-" ID16 "-01"), NULL},
    {"3.2.2.3: trace-id in upper case", TRACE("00-0AF7651916CD43DD8448EB211C80319C-" ID16 "-01"), NULL},
    {"trace-id with one upper-case digit", TRACE("00-0af7651916cd43dd8448eb211c80319C-" ID16 "-01"), NULL},
    {"trace-id that is not hex", TRACE("00-0af7651916cd43dd8448eb211c80319g-" ID16 "-01"), NULL},
    {"trace-id too short", TRACE("00-0af7651916cd43dd8448eb211c80319-" ID16 "-01"), NULL},
    {"trace-id too long", TRACE("00-" ID32 "0-" ID16 "-01"), NULL},
    {"3.2.2.4: parent-id of zeros", TRACE("00-" ID32 "-" ZEROS16 "-01"), NULL},
    {"3.2.2.4: parent-id in upper case", TRACE("00-" ID32 "-B7AD6B7169203331-01"), NULL},
    {"parent-id that is not hex", TRACE("00-" ID32 "-x7ad6b7169203331-01"), NULL},
    {"parent-id too short", TRACE("00-" ID32 "-b7ad6b716920333-01"), NULL},
    {"flags in upper case", TRACE("00-" ID32 "-" ID16 "-0A"), NULL},
    {"flags that are not hex", TRACE("00-" ID32 "-" ID16 "-0x"), NULL},
    {"flags of one digit", TRACE("00-" ID32 "-" ID16 "-1"), NULL},
    {"no flags", TRACE("00-" ID32 "-" ID16), NULL},
    {"another mark before the trace-id", TRACE("00_" ID32 "-" ID16 "-01"), NULL},
    {"another mark before the parent-id", TRACE("00-" ID32 "_" ID16 "-01"), NULL},
    {"another mark before the flags", TRACE("00-" ID32 "-" ID16 "_01"), NULL},
    {"version 00 is 55 bytes", TRACE(PARENT "0"), NULL},
    {"version 00 has no fifth part", TRACE(PARENT "-"), NULL},
    {"version 00 has no fifth part, whatever is in it", TRACE(PARENT "-00"), NULL},
    /* a version that nobody knows yet: 3.2, "Versioning of traceparent" */
    {"a higher version of the same shape", TRACE("01-" ID32 "-" ID16 "-01"), PARENT},
    {"a higher version, highest", TRACE("fe-" ID32 "-" ID16 "-01"), PARENT},
    {"a higher version with more", TRACE("cc-" ID32 "-" ID16 "-01-what-it-will-be"), PARENT},
    {"a higher version with an empty part", TRACE("cc-" ID32 "-" ID16 "-01-"), PARENT},
    {"a higher version: of its flags only sampled is known", TRACE("01-" ID32 "-" ID16 "-ff"), PARENT},
    {"a higher version: not sampled", TRACE("01-" ID32 "-" ID16 "-fe"), "00-" ID32 "-" ID16 "-00"},
    {"a higher version: sampled, in a letter", TRACE("01-" ID32 "-" ID16 "-0b"), PARENT},
    {"a higher version, flags too long", TRACE("01-" ID32 "-" ID16 "-010"), NULL},
    {"a higher version, with a dot behind", TRACE("cc-" ID32 "-" ID16 "-01.what"), NULL},
    {"a higher version, too short", TRACE("01-" ID32 "-" ID16 "-0"), NULL},
    {"a higher version, trace-id of zeros", TRACE("01-" ZEROS16 ZEROS16 "-" ID16 "-01"), NULL},
};

START_TEST(keeps_or_makes_a_trace)
{
    char fields[512];
    struct identity identity;
    snprintf(fields, sizeof fields, "tracestate: a=1\r\n%s", traces[_i].fields);
    fill(&identity, fields);
    const char *t = identity.traceparent;
    const bool kept = traces[_i].kept != NULL;
    ck_assert_msg(identity.trace_kept == kept, "%s", traces[_i].rule);
    if (kept) {
        ck_assert_msg(memcmp(t, traces[_i].kept, 55) == 0, "%s: %.55s", traces[_i].rule, t);
    } else {
        ck_assert_msg(memcmp(t, "00-", 3) == 0 && is_hex_text(t + 3, 32) && t[35] == '-' &&
                          is_hex_text(t + 36, 16) && memcmp(t + 52, "-00", 3) == 0,
                      "%s: %.55s", traces[_i].rule, t);
        ck_assert_int_ne(memcmp(t + 3, ID32, 32), 0);
    }
    /* tracestate belongs to the traceparent it came with, and goes with it */
    const uint32_t tracestate = UINT32_C(1) << HTTP_FIELD_TRACESTATE;
    ck_assert_uint_eq(identity_replaces(&identity) & tracestate, kept ? 0 : tracestate);
}
END_TEST

START_TEST(what_is_made_is_new_each_time)
{
    struct identity a, b;
    fill(&a, "");
    fill(&b, "");
    ck_assert_int_ne(memcmp(a.request_id, b.request_id, 32), 0);
    ck_assert_int_ne(memcmp(a.traceparent + 3, b.traceparent + 3, 32), 0);
    ck_assert_int_ne(memcmp(a.traceparent + 36, b.traceparent + 36, 16), 0);
    ck_assert_int_ne(memcmp(a.request_id, a.traceparent + 3, 32), 0);
}
END_TEST

START_TEST(what_is_made_would_be_kept_by_the_next)
{
    struct identity a, b;
    char fields[256];
    fill(&a, "");
    snprintf(fields, sizeof fields, "X-Request-Id: %.32s\r\ntraceparent: %.55s\r\n", a.request_id,
             a.traceparent);
    fill(&b, fields);
    ck_assert_uint_eq(b.request_id_length, 32);
    ck_assert_mem_eq(a.request_id, b.request_id, 32);
    ck_assert(b.trace_kept);
    ck_assert_mem_eq(a.traceparent, b.traceparent, 55);
}
END_TEST

START_TEST(replaces_all_that_it_writes)
{
    static const enum http_field_id ids[] = {
        HTTP_FIELD_FORWARDED,         HTTP_FIELD_X_FORWARDED_FOR, HTTP_FIELD_X_FORWARDED_HOST,
        HTTP_FIELD_X_FORWARDED_PROTO, HTTP_FIELD_X_REQUEST_ID,    HTTP_FIELD_TRACEPARENT,
    };
    struct identity identity;
    uint32_t want = 0;
    for (int i = 0; i < ROWS(ids); i++) {
        want |= UINT32_C(1) << ids[i];
    }
    fill(&identity, TRACE(PARENT));
    ck_assert_uint_eq(identity_replaces(&identity), want);
}
END_TEST

/* ---- What is written ---- */

/* The address TEXT, of IPv4, IPv6 or, when it is neither, of no IP family. */
static union net_address address(const char *text)
{
    union net_address a;
    memset(&a, 0xa5, sizeof a);
    if (inet_pton(AF_INET, text, &a.in.sin_addr) == 1) {
        a.in.sin_family = AF_INET;
    } else if (inet_pton(AF_INET6, text, &a.in6.sin6_addr) == 1) {
        a.in6.sin6_family = AF_INET6;
    } else {
        a.base.sa_family = AF_UNIX;
    }
    return a;
}

/* Writes the fields of a request with FIELDS into TEXT_ of SIZE bytes and checks that they are well-formed.
 */
static void write_fields(const char *fields, const char *client, const char *authority, bool trusted,
                         char *text_, size_t size)
{
    struct request *request = malloc(sizeof *request);
    ck_assert_ptr_nonnull(request);
    struct identity identity;
    struct writer w = {.at = text_, .capacity = size - 1};
    const union net_address a = address(client);
    decode(request, fields);
    identity_fill(&identity, &request->head);
    identity_write(&w, &identity, &request->head, &a, slice_of(authority), trusted);
    free(request);
    ck_assert(writer_ok(&w));
    text_[w.length] = '\0';
    for (char *line = text_; *line != '\0';) {
        char *end = strstr(line, "\r\n");
        ck_assert_ptr_nonnull(end);
        ck_assert_ptr_null(http_field_line_check(line, (size_t)(end - line)));
        line = end + 2;
    }
}

#define FOR(value)       "X-Forwarded-For: " value "\r\n"
#define PROTO(value)     "X-Forwarded-Proto: " value "\r\n"
#define HOST(value)      "X-Forwarded-Host: " value "\r\n"
#define FORWARDED(value) "Forwarded: " value "\r\n"
#define LIES                                                                                                 \
    FOR("6.6.6.6") PROTO("https") HOST("evil") FORWARDED("for=6.6.6.6;host=evil;proto=https;by=6.6.6.6")

static const struct {
    const char *rule;
    const char *fields;
    const char *client, *authority;
    bool trusted;
    const char *want; /* in front of X-Request-Id and traceparent */
} rows[] = {
    {"a plain client", "", "192.0.2.1", "example.org", false,
     FOR("192.0.2.1") PROTO("http") HOST("example.org")
         FORWARDED("for=192.0.2.1;host=example.org;proto=http")},
    {"an authority with a port is quoted", "", "192.0.2.1", "example.org:8080", false,
     FOR("192.0.2.1") PROTO("http") HOST("example.org:8080")
         FORWARDED("for=192.0.2.1;host=\"example.org:8080\";proto=http")},
    {"an IPv6 authority is quoted", "", "192.0.2.1", "[::1]", false,
     FOR("192.0.2.1") PROTO("http") HOST("[::1]") FORWARDED("for=192.0.2.1;host=\"[::1]\";proto=http")},
    {"an authority with what parts elements is quoted", "", "192.0.2.1", "a;b,c=d", false,
     FOR("192.0.2.1") PROTO("http") HOST("a;b,c=d") FORWARDED("for=192.0.2.1;host=\"a;b,c=d\";proto=http")},
    {"quotes and backslashes are escaped", "", "192.0.2.1", "a\";proto=\\\"x\\", false,
     FOR("192.0.2.1") PROTO("http") HOST("a\";proto=\\\"x\\")
         FORWARDED("for=192.0.2.1;host=\"a\\\";proto=\\\\\\\"x\\\\\";proto=http")},
    {"every byte of a token stays bare", "", "192.0.2.1", "!#$%&'*+-.^_`|~aZ09", false,
     FOR("192.0.2.1") PROTO("http") HOST("!#$%&'*+-.^_`|~aZ09")
         FORWARDED("for=192.0.2.1;host=!#$%&'*+-.^_`|~aZ09;proto=http")},
    {"no Host", "", "192.0.2.1", NULL, false,
     FOR("192.0.2.1") PROTO("http") FORWARDED("for=192.0.2.1;proto=http")},
    {"an empty Host", "", "192.0.2.1", "", false,
     FOR("192.0.2.1") PROTO("http") FORWARDED("for=192.0.2.1;proto=http")},
    {"IPv6: brackets and quotes in Forwarded only", "", "2001:db8::1", "h", false,
     FOR("2001:db8::1") PROTO("http") HOST("h") FORWARDED("for=\"[2001:db8::1]\";host=h;proto=http")},
    {"IPv4-mapped IPv6 is IPv4", "", "::ffff:192.0.2.1", "h", false,
     FOR("192.0.2.1") PROTO("http") HOST("h") FORWARDED("for=192.0.2.1;host=h;proto=http")},
    {"no IP address", "", "somewhere", "h", false,
     FOR("unknown") PROTO("http") HOST("h") FORWARDED("for=unknown;host=h;proto=http")},
    {"lies of a stranger are replaced", LIES, "192.0.2.1", "h", false,
     FOR("192.0.2.1") PROTO("http") HOST("h") FORWARDED("for=192.0.2.1;host=h;proto=http")},
    {"the word of a trusted peer is kept", LIES, "10.0.0.1", "h", true,
     FOR("6.6.6.6, 10.0.0.1") PROTO("https") HOST("evil")
         FORWARDED("for=6.6.6.6;host=evil;proto=https;by=6.6.6.6, for=10.0.0.1;host=h;proto=http")},
    {"a trusted peer that says nothing", "", "10.0.0.1", "h:1", true,
     FOR("10.0.0.1") PROTO("http") HOST("h:1") FORWARDED("for=10.0.0.1;host=\"h:1\";proto=http")},
    {"no authority of our own, but one of the peer's", HOST("given"), "10.0.0.1", NULL, true,
     FOR("10.0.0.1") PROTO("http") HOST("given") FORWARDED("for=10.0.0.1;proto=http")},
    {"several fields become one",
     FOR("1.1.1.1") FORWARDED("for=a") FOR("2.2.2.2, 3.3.3.3") FORWARDED("for=b"), "2001:db8::1", "h", true,
     FOR("1.1.1.1, 2.2.2.2, 3.3.3.3, 2001:db8::1") PROTO("http") HOST("h")
         FORWARDED("for=a, for=b, for=\"[2001:db8::1]\";host=h;proto=http")},
    {"empty fields leave no gaps", FOR("") FOR("1.1.1.1") FOR("") FORWARDED("") PROTO("") HOST(""),
     "10.0.0.1", "h", true,
     FOR("1.1.1.1, 10.0.0.1") PROTO("http") HOST("h") FORWARDED("for=10.0.0.1;host=h;proto=http")},
    {"of several protocols and hosts the first is kept",
     PROTO("") PROTO("https, http") PROTO("ftp") HOST(" , a.example , b.example") HOST("c.example"),
     "10.0.0.1", "h", true,
     FOR("10.0.0.1") PROTO("https") HOST("a.example") FORWARDED("for=10.0.0.1;host=h;proto=http")},
    {"commas only", PROTO(",, ,") HOST(","), "10.0.0.1", "h", true,
     FOR("10.0.0.1") PROTO("http") HOST("h") FORWARDED("for=10.0.0.1;host=h;proto=http")},
    {"an open quote would swallow our element", FORWARDED("for=\"x") FORWARDED("for=b"), "10.0.0.1", "h",
     true, FOR("10.0.0.1") PROTO("http") HOST("h") FORWARDED("for=b, for=10.0.0.1;host=h;proto=http")},
    {"an escaped quote does not close", FORWARDED("for=\"x\\\""), "10.0.0.1", "h", true,
     FOR("10.0.0.1") PROTO("http") HOST("h") FORWARDED("for=10.0.0.1;host=h;proto=http")},
    {"a backslash at the end of an open quote", FORWARDED("for=\"\\"), "10.0.0.1", "h", true,
     FOR("10.0.0.1") PROTO("http") HOST("h") FORWARDED("for=10.0.0.1;host=h;proto=http")},
    {"a backslash outside of quotes escapes nothing", FORWARDED("a=\\\"x"), "10.0.0.1", "h", true,
     FOR("10.0.0.1") PROTO("http") HOST("h") FORWARDED("for=10.0.0.1;host=h;proto=http")},
    {"escapes in a closed quote", FORWARDED("for=\"x\\\"\\\\\";a=\\"), "10.0.0.1", "h", true,
     FOR("10.0.0.1") PROTO("http") HOST("h")
         FORWARDED("for=\"x\\\"\\\\\";a=\\, for=10.0.0.1;host=h;proto=http")},
    {"X-Forwarded-For knows no quotes: a stray one hides nobody", FOR("\", 203.0.113.9"), "10.0.0.1", "h",
     true,
     FOR("\", 203.0.113.9, 10.0.0.1") PROTO("http") HOST("h") FORWARDED("for=10.0.0.1;host=h;proto=http")},
};

START_TEST(writes_who_asks)
{
    char fields[1024], text[4096], want[4096];
    snprintf(fields, sizeof fields, KEPT "%s", rows[_i].fields);
    snprintf(want, sizeof want, "%s" KEPT, rows[_i].want);
    write_fields(fields, rows[_i].client, rows[_i].authority, rows[_i].trusted, text, sizeof text);
    ck_assert_msg(strcmp(text, want) == 0, "%s: got\n%sexpected\n%s", rows[_i].rule, text, want);
}
END_TEST

/* Whatever byte stands in a field that is kept, or in the authority, the count of lines is the same: nothing
 * that a peer sends becomes a line of its own. (Line ends and control bytes don't come through the scan.) */
START_TEST(no_byte_makes_a_line)
{
    for (int byte = 1; byte < 256; byte++) {
        char fields[512], authority[8], text[4096];
        if (!http_is_field_byte((unsigned char)byte)) {
            continue;
        }
        snprintf(fields, sizeof fields,
                 "X-Request-Id: a%cb\r\ntraceparent: 0%c-" ID32 "-" ID16 "-01\r\n" FOR("a%cb") PROTO("a%cb")
                     HOST("a%cb") FORWARDED("a%cb"),
                 byte, byte, byte, byte, byte, byte);
        snprintf(authority, sizeof authority, "a%cb", byte);
        write_fields(fields, "10.0.0.1", authority, true, text, sizeof text);
        int lines = 0;
        for (const char *c = text; *c != '\0'; c++) {
            lines += *c == '\n';
        }
        ck_assert_int_eq(lines, 6);
    }
}
END_TEST

START_TEST(a_full_writer_overflows_and_nothing_else)
{
    struct request *request = malloc(sizeof *request);
    ck_assert_ptr_nonnull(request);
    struct identity identity;
    const union net_address a = address("2001:db8::1");
    char whole[1024];
    struct writer w = {.at = whole, .capacity = sizeof whole};
    decode(request, LIES);
    identity_fill(&identity, &request->head);
    identity_write(&w, &identity, &request->head, &a, SLICE("h:1"), true);
    ck_assert(writer_ok(&w));
    const size_t length = w.length;
    for (size_t capacity = 0; capacity <= length; capacity++) {
        char *room = malloc(capacity + 1);
        ck_assert_ptr_nonnull(room);
        struct writer narrow = {.at = room + 1, .capacity = capacity};
        identity_write(&narrow, &identity, &request->head, &a, SLICE("h:1"), true);
        ck_assert_int_eq(writer_ok(&narrow), capacity == length);
        free(room);
    }
    free(request);
}
END_TEST

/* ---- IP addresses as text ---- */

static const struct {
    const char *address, *want;
} ips[] = {
    {"0.0.0.0", "0.0.0.0"},
    {"255.255.255.255", "255.255.255.255"},
    {"1.20.100.9", "1.20.100.9"},
    /* RFC 5952, 4 */
    {"::", "::"},
    {"::1", "::1"},
    {"1::", "1::"},
    {"2001:0db8::0001", "2001:db8::1"},
    {"2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"},
    {"0:1:2:3:4:5:6:7", "0:1:2:3:4:5:6:7"},
    {"1:2:3:4:5:6:7:0", "1:2:3:4:5:6:7:0"},
    {"2001:0:0:1:0:0:0:1", "2001:0:0:1::1"},
    {"2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
    {"0:0:1:0:0:0:0:1", "0:0:1::1"},
    {"1:0:0:2:3:4:0:0", "1::2:3:4:0:0"},
    {"1:2:3:4:5:6:0:0", "1:2:3:4:5:6::"},
    {"0:0:3:4:5:6:7:8", "::3:4:5:6:7:8"},
    {"ABCD:EF01::10:a0:1000", "abcd:ef01::10:a0:1000"},
    {"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
    {"64:ff9b::192.0.2.33", "64:ff9b::c000:221"},
};

/* The address that is written for CLIENT. */
static void written_ip(const char *client, char text_[static 4096])
{
    write_fields("", client, NULL, false, text_, 4096);
    char *begin = text_ + strlen("X-Forwarded-For: ");
    const size_t length = strcspn(begin, "\r");
    memmove(text_, begin, length);
    text_[length] = '\0';
}

START_TEST(writes_ip_addresses_as_rfc_5952_has_them)
{
    char text[4096];
    written_ip(ips[_i].address, text);
    ck_assert_str_eq(text, ips[_i].want);
}
END_TEST

/* Every pattern of zero and other groups, against the C library. It writes IPv4-mapped and IPv4-compatible
 * addresses in a form of their own: those, with five zero groups in front, are left out. */
START_TEST(agrees_with_the_c_library_about_every_pattern_of_zeros)
{
    for (unsigned pattern = 0; pattern < 256; pattern++) {
        struct in6_addr ip = {.s6_addr = {0}};
        char want[INET6_ADDRSTRLEN], text[4096];
        for (size_t group = 0; group < 8; group++) {
            if ((pattern >> group & 1) != 0) {
                ip.s6_addr[2 * group] = (unsigned char)(group % 3 == 0 ? 0 : 0x11 * group);
                ip.s6_addr[2 * group + 1] = (unsigned char)(group + 1);
            }
        }
        if ((pattern & 31) == 0) {
            continue;
        }
        ck_assert_ptr_nonnull(inet_ntop(AF_INET6, &ip, want, sizeof want));
        written_ip(want, text);
        ck_assert_str_eq(text, want);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("identity");
    tcase_add_loop_test(tests, keeps_or_makes_a_request_id, 0, ROWS(request_ids));
    tcase_add_loop_test(tests, keeps_or_makes_a_trace, 0, ROWS(traces));
    tcase_add_test(tests, what_is_made_is_new_each_time);
    tcase_add_test(tests, what_is_made_would_be_kept_by_the_next);
    tcase_add_test(tests, replaces_all_that_it_writes);
    tcase_add_loop_test(tests, writes_who_asks, 0, ROWS(rows));
    tcase_add_test(tests, no_byte_makes_a_line);
    tcase_add_test(tests, a_full_writer_overflows_and_nothing_else);
    tcase_add_loop_test(tests, writes_ip_addresses_as_rfc_5952_has_them, 0, ROWS(ips));
    tcase_add_test(tests, agrees_with_the_c_library_about_every_pattern_of_zeros);
    Suite *suite = suite_create("identity");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
