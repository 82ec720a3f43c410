/* SPDX-License-Identifier: MIT
 * The decoder: what http-parser makes of heads that the scan let through, and the lists inside fields. */
#include "common/http_decode.h"

#include "common/http_offence.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

enum { LIMIT_BYTES = 32768 };

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* Decodes TEXT, which the scan must let through; the bytes of the head stay at *COPY_, to be freed. */
static const struct http_offence *decode(struct http_head *head, enum http_kind kind, const char *text,
                                         char **copy_)
{
    const size_t length = strlen(text);
    char *copy = malloc(length); /* not a byte more, for AddressSanitizer */
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text, length);
    struct http_head_scan scan = {.kind = kind, .limit_bytes = LIMIT_BYTES};
    const struct http_offence *offence = NULL;
    ck_assert_int_eq(http_head_scan(&scan, copy, length, &offence), HTTP_HEAD_DONE);
    memset(head, 0xa5, sizeof(*head)); /* what is left of an earlier message must not matter */
    *copy_ = copy;
    return http_decode(head, kind, copy + scan.start, scan.seen - scan.start);
}

static void expect_slice(struct slice have, const char *want)
{
    ck_assert_msg(slice_equal(have, slice_of(want)), "'%.*s', expected '%s'", (int)have.length, have.at,
                  want);
}

START_TEST(decodes_a_request)
{
    struct http_head head;
    char *copy;
    ck_assert_ptr_null(
        decode(&head, HTTP_KIND_REQUEST,
               "\r\nPOST /a?b=c HTTP/1.1\r\nHost: example.org:80\r\nX-Odd:\r\ncontent-LENGTH: \t3 \r\n"
               "!#$%&'*+-.^_`|~: \t\x80\xff\t \r\n\r\nabc",
               &copy));
    ck_assert_int_eq(head.kind, HTTP_KIND_REQUEST);
    ck_assert_uint_eq(head.version_minor, 1);
    expect_slice(head.method, "POST");
    expect_slice(head.target, "/a?b=c");
    ck_assert_uint_eq(head.status, 0);
    ck_assert_uint_eq(head.reason.length, 0);
    ck_assert(head.keep_alive);
    ck_assert_uint_eq(head.field_count, 4);
    expect_slice(head.fields[0].name, "Host");
    expect_slice(head.fields[0].value, "example.org:80");
    expect_slice(head.fields[1].name, "X-Odd");
    expect_slice(head.fields[1].value, "");
    ck_assert_int_eq(head.fields[1].id, HTTP_FIELD_OTHER);
    expect_slice(head.fields[2].name, "content-LENGTH");
    expect_slice(head.fields[2].value, "3");
    ck_assert_int_eq(head.fields[2].id, HTTP_FIELD_CONTENT_LENGTH);
    expect_slice(head.fields[3].name, "!#$%&'*+-.^_`|~");
    expect_slice(head.fields[3].value, "\x80\xff");
    ck_assert_uint_eq(head.seen_ids, 1U << HTTP_FIELD_HOST | 1U << HTTP_FIELD_CONTENT_LENGTH);
    ck_assert_ptr_eq(http_head_find(&head, HTTP_FIELD_CONTENT_LENGTH), &head.fields[2]);
    ck_assert_ptr_null(http_head_find(&head, HTTP_FIELD_UPGRADE));
    ck_assert_ptr_null(http_head_find(&head, HTTP_FIELD_OTHER));
    free(copy);
}
END_TEST

START_TEST(decodes_a_response)
{
    struct http_head head;
    char *copy;
    ck_assert_ptr_null(
        decode(&head, HTTP_KIND_RESPONSE, "HTTP/1.0 404 Not  Found\r\nDate: x\r\n\r\nbody", &copy));
    ck_assert_int_eq(head.kind, HTTP_KIND_RESPONSE);
    ck_assert_uint_eq(head.version_minor, 0);
    ck_assert_uint_eq(head.status, 404);
    expect_slice(head.reason, "Not  Found");
    ck_assert_uint_eq(head.method.length, 0);
    ck_assert(!head.keep_alive);
    expect_slice(http_head_find(&head, HTTP_FIELD_DATE)->value, "x");
    free(copy);
}
END_TEST

/* The parser must stop behind each of these heads, whatever follows, and leave the judgement of the body to
 * us. */
static const struct {
    const char *rule;
    enum http_kind kind;
    const char *text;
} whole_heads[] = {
    {"RFC 9112, 7.1: chunked", HTTP_KIND_REQUEST, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"},
    {"RFC 9112, 6.1: another coding", HTTP_KIND_REQUEST,
     "POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n"},
    {"RFC 9112, 6.2: a length", HTTP_KIND_REQUEST, "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\n"},
    {"RFC 9110, 7.8: an upgrade", HTTP_KIND_REQUEST,
     "GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"},
    {"RFC 9110, 7.8: an upgrade with a body", HTTP_KIND_REQUEST,
     "POST / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: 3\r\n\r\n"},
    {"RFC 9110, 9.3.6: CONNECT", HTTP_KIND_REQUEST, "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"},
    {"RFC 9110, 9.3.2: HEAD", HTTP_KIND_REQUEST, "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"},
    {"RFC 9110, 9.3.7: OPTIONS *", HTTP_KIND_REQUEST, "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n"},
    {"RFC 9112, 3.2.2: absolute-form", HTTP_KIND_REQUEST, "GET http://a?b HTTP/1.1\r\nHost: a\r\n\r\n"},
    {"RFC 9112, 5.1: Connection without value", HTTP_KIND_REQUEST, "GET / HTTP/1.1\r\nConnection:\r\n\r\n"},
    {"RFC 9112, 2.3: HTTP/1.0 without fields", HTTP_KIND_REQUEST, "GET / HTTP/1.0\r\n\r\n"},
    {"RFC 9112, 4: no reason and no space", HTTP_KIND_RESPONSE, "HTTP/1.1 200\r\n\r\n"},
    {"RFC 9110, 15.2: 100", HTTP_KIND_RESPONSE, "HTTP/1.1 100 Continue\r\n\r\n"},
    {"RFC 9110, 15.2.2: 101", HTTP_KIND_RESPONSE,
     "HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"},
    {"RFC 9110, 15.3.5: 204 with a coding", HTTP_KIND_RESPONSE,
     "HTTP/1.1 204 \r\nTransfer-Encoding: chunked\r\n\r\n"},
    {"RFC 9110, 15.4.5: 304 with a length", HTTP_KIND_RESPONSE, "HTTP/1.1 304 \r\nContent-Length: 9\r\n\r\n"},
    {"RFC 9112, 6.3: read until close", HTTP_KIND_RESPONSE, "HTTP/1.0 200 OK\r\n\r\n"},
};

START_TEST(stops_behind_the_head)
{
    struct http_head head;
    const char *text = whole_heads[_i].text;
    const struct http_offence *offence = http_decode(&head, whole_heads[_i].kind, text, strlen(text));
    ck_assert_msg(offence == NULL, "%s: %s", whole_heads[_i].rule, offence == NULL ? "" : offence->name);
}
END_TEST

START_TEST(refuses_what_is_not_exactly_one_head)
{
    static const char text[] = "GET / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc";
    struct http_head head;
    const size_t head_bytes = strlen(text) - 3;
    for (size_t length = 0; length <= strlen(text); ++length) {
        const struct http_offence *offence = http_decode(&head, HTTP_KIND_REQUEST, text, length);
        ck_assert_msg((offence == NULL) == (length == head_bytes), "%zu bytes", length);
    }
}
END_TEST

static const struct {
    const char *rule;
    const char *text;
    const struct http_offence *offence;
} refused[] = {
    {"RFC 9110, 9.1: an unknown method", "BREW / HTTP/1.1\r\n\r\n", &http_offence_unknown_method},
    {"RFC 9110, 9.1: an unknown first letter", "XYZZY / HTTP/1.1\r\n\r\n", &http_offence_unknown_method},
    {"RFC 9110, 9.1: methods have case", "get / HTTP/1.1\r\n\r\n", &http_offence_unknown_method},
    {"RFC 9110, 9.1: a known method and more", "GETX / HTTP/1.1\r\n\r\n", &http_offence_unknown_method},
    {"RFC 9110, 9.1: a part of a known method", "DELET / HTTP/1.1\r\n\r\n", &http_offence_unknown_method},
    {"RFC 9112, 3.2: a target of no form", "GET ?a HTTP/1.1\r\n\r\n", &http_offence_bad_target},
    {"RFC 9112, 3.2: authority-form without CONNECT", "GET a:443 HTTP/1.1\r\n\r\n", &http_offence_bad_target},
    {"RFC 9112, 6.3: two lengths", "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
     &http_offence_repeated_content_length},
    {"RFC 9112, 6.3: two equal lengths", "POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
     &http_offence_repeated_content_length},
    {"RFC 9112, 6.1: length and coding",
     "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
     &http_offence_length_with_coding},
    {"RFC 9112, 6.1: coding and length",
     "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n",
     &http_offence_length_with_coding},
    {"RFC 9110, 8.6: a length that is no number", "POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
     &http_offence_bad_content_length},
    {"RFC 9110, 5.6.3: HTAB behind a length, which the parser does not know",
     "POST / HTTP/1.1\r\nContent-Length: 3\t\r\n\r\n", &http_offence_bad_content_length},
};

START_TEST(names_what_the_parser_refuses)
{
    struct http_head head;
    char *copy;
    const struct http_offence *offence = decode(&head, HTTP_KIND_REQUEST, refused[_i].text, &copy);
    ck_assert_msg(offence == refused[_i].offence, "%s: %s", refused[_i].rule,
                  offence == NULL ? "let through" : offence->name);
    free(copy);
}
END_TEST

START_TEST(knows_its_fields)
{
    static const struct {
        const char *name;
        enum http_field_id id;
    } names[] = {
        {"Connection", HTTP_FIELD_CONNECTION},
        {"Content-Length", HTTP_FIELD_CONTENT_LENGTH},
        {"Content-Type", HTTP_FIELD_CONTENT_TYPE},
        {"Date", HTTP_FIELD_DATE},
        {"Expect", HTTP_FIELD_EXPECT},
        {"Forwarded", HTTP_FIELD_FORWARDED},
        {"Host", HTTP_FIELD_HOST},
        {"Keep-Alive", HTTP_FIELD_KEEP_ALIVE},
        {"Max-Forwards", HTTP_FIELD_MAX_FORWARDS},
        {"Proxy-Connection", HTTP_FIELD_PROXY_CONNECTION},
        {"TE", HTTP_FIELD_TE},
        {"Traceparent", HTTP_FIELD_TRACEPARENT},
        {"Tracestate", HTTP_FIELD_TRACESTATE},
        {"Trailer", HTTP_FIELD_TRAILER},
        {"Transfer-Encoding", HTTP_FIELD_TRANSFER_ENCODING},
        {"Upgrade", HTTP_FIELD_UPGRADE},
        {"Via", HTTP_FIELD_VIA},
        {"X-Forwarded-For", HTTP_FIELD_X_FORWARDED_FOR},
        {"X-Forwarded-Host", HTTP_FIELD_X_FORWARDED_HOST},
        {"X-Forwarded-Proto", HTTP_FIELD_X_FORWARDED_PROTO},
        {"X-Request-Id", HTTP_FIELD_X_REQUEST_ID},
    };
    ck_assert_int_eq(ROWS(names), HTTP_FIELD_IDS - 1); /* all but OTHER */
    for (int i = 0; i < ROWS(names); ++i) {
        /* As it is, in lower and in upper case; and spoilt in its last letter. */
        for (int spelling = 0; spelling < 4; ++spelling) {
            char name[32], text[64];
            struct http_head head;
            (void)snprintf(name, sizeof(name), "%s", names[i].name);
            for (char *at = name; *at != '\0' && *at != '-' && spelling > 0; ++at) {
                *at = (char)(spelling == 1 ? *at | 0x20 : *at & ~0x20);
            }
            const bool spoilt = spelling == 3;
            name[strlen(name) - 1] = spoilt ? '_' : name[strlen(name) - 1];
            (void)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n%s: 1\r\n\r\n", name);
            ck_assert_ptr_null(http_decode(&head, HTTP_KIND_REQUEST, text, strlen(text)));
            const enum http_field_id want = spoilt ? HTTP_FIELD_OTHER : names[i].id;
            ck_assert_msg(head.fields[0].id == want, "%s is %u", name, head.fields[0].id);
            ck_assert_uint_eq(head.seen_ids, spoilt ? 0 : 1U << want);
        }
    }
}
END_TEST

START_TEST(holds_as_many_fields_as_the_scan)
{
    static const char field[] = "A: b\r\n";
    char text[64 + (HTTP_FIELDS_MAX + 1) * (sizeof(field) - 1)];
    struct http_head head;
    for (int fields = HTTP_FIELDS_MAX; fields <= HTTP_FIELDS_MAX + 1; ++fields) {
        size_t length = (size_t)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\n");
        for (int i = 0; i < fields; ++i) {
            memcpy(text + length, field, sizeof(field) - 1);
            length += sizeof(field) - 1;
        }
        memcpy(text + length, "\r\n", 2);
        const struct http_offence *offence = http_decode(&head, HTTP_KIND_REQUEST, text, length + 2);
        ck_assert_ptr_eq(offence, fields > HTTP_FIELDS_MAX ? &http_offence_too_many_fields : NULL);
        ck_assert_uint_eq(head.field_count, HTTP_FIELDS_MAX);
    }
}
END_TEST

/* RFC 9112, 9.3. */
static const struct {
    const char *text;
    bool keep_alive;
} persistence[] = {
    {"GET / HTTP/1.1\r\n\r\n", true},
    {"GET / HTTP/1.0\r\n\r\n", false},
    {"GET / HTTP/1.1\r\nConnection: close\r\n\r\n", false},
    {"GET / HTTP/1.1\r\nConnection: CLOSE\r\n\r\n", false},
    {"GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true},
    {"GET / HTTP/1.0\r\nConnection: keep-alive, close\r\n\r\n", false},
    {"GET / HTTP/1.1\r\nConnection: te, close\r\n\r\n", false},
    {"GET / HTTP/1.1\r\nConnection: te\r\nConnection: close\r\n\r\n", false},
    {"GET / HTTP/1.1\r\nConnection: closed, not-close\r\n\r\n", true},
    {"GET / HTTP/1.1\r\nConnection: ,,\r\n\r\n", true},
    {"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", true},
    {"GET / HTTP/1.1\r\nProxy-Connection: close\r\n\r\n", true},
    {"GET / HTTP/1.0\r\nProxy-Connection: keep-alive\r\n\r\n", false},
};

START_TEST(knows_persistence)
{
    struct http_head head;
    const char *text = persistence[_i].text;
    ck_assert_ptr_null(http_decode(&head, HTTP_KIND_REQUEST, text, strlen(text)));
    ck_assert_msg(head.keep_alive == persistence[_i].keep_alive, "%s", text);
}
END_TEST

/* RFC 9110, 5.6.1: a list and its members, joined by '|'. */
static const struct {
    const char *list, *members;
} lists[] = {
    {"", ""},
    {" , ,\t,", ""},
    {"a", "a|"},
    {" a ,b\t, c ", "a|b|c|"},
    {",a,,b,", "a|b|"},
    {"a b;c=d", "a b;c=d|"},
    {"a=\"b,c\", d", "a=\"b,c\"|d|"},
    {"a=\"b\\\",c\", d", "a=\"b\\\",c\"|d|"},
    {"a=\"b, c", "a=\"b, c|"},
    {"a=\"b\\", "a=\"b\\|"},
};

START_TEST(steps_through_lists)
{
    char members[64] = "";
    size_t length = 0;
    struct slice rest = slice_of(lists[_i].list), member;
    while (http_list_next(&rest, &member)) {
        length += (size_t)snprintf(members + length, sizeof(members) - length, "%.*s|", (int)member.length,
                                   member.at);
    }
    ck_assert_str_eq(members, lists[_i].members);
    ck_assert_uint_eq(rest.length, 0);
}
END_TEST

START_TEST(finds_members_of_lists)
{
    ck_assert(http_list_has(SLICE("gzip, Trailers;q=0.5"), SLICE("trailers")));
    ck_assert(http_list_has(SLICE("trailers ;q=0.5"), SLICE("trailers")));
    ck_assert(!http_list_has(SLICE("x;trailers, trailersx, xtrailers"), SLICE("trailers")));
    ck_assert(!http_list_has(SLICE("a=\"x, trailers\""), SLICE("trailers")));
    ck_assert(!http_list_has((struct slice){NULL, 0}, SLICE("trailers")));

    static const char text[] = "GET / HTTP/1.1\r\nTE: gzip\r\nA: b\r\nte: trailers\r\n\r\n";
    struct http_head head;
    ck_assert_ptr_null(http_decode(&head, HTTP_KIND_REQUEST, text, strlen(text)));
    ck_assert(http_head_list_has(&head, HTTP_FIELD_TE, SLICE("trailers")));
    ck_assert(!http_head_list_has(&head, HTTP_FIELD_TE, SLICE("b")));
    ck_assert(!http_head_list_has(&head, HTTP_FIELD_UPGRADE, SLICE("gzip")));
}
END_TEST

int main(void)
{
    TCase *decoder = tcase_create("decode");
    tcase_add_test(decoder, decodes_a_request);
    tcase_add_test(decoder, decodes_a_response);
    tcase_add_loop_test(decoder, stops_behind_the_head, 0, ROWS(whole_heads));
    tcase_add_test(decoder, refuses_what_is_not_exactly_one_head);
    tcase_add_loop_test(decoder, names_what_the_parser_refuses, 0, ROWS(refused));
    tcase_add_test(decoder, knows_its_fields);
    tcase_add_test(decoder, holds_as_many_fields_as_the_scan);
    tcase_add_loop_test(decoder, knows_persistence, 0, ROWS(persistence));
    tcase_add_loop_test(decoder, steps_through_lists, 0, ROWS(lists));
    tcase_add_test(decoder, finds_members_of_lists);
    Suite *suite = suite_create("http_decode");
    suite_add_tcase(suite, decoder);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
