/* SPDX-License-Identifier: MIT
 * Where a message ends. The rows go through scan, decoder and framing, as the program does: what matters is
 * that the three together refuse. A second set builds heads by hand, because http-parser would refuse them
 * first. */
#include "common/http_framing.h"

#include "common/http_offence.h"

#include <check.h>

enum { LIMIT_BYTES = 32768 };

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* Judges TEXT, a whole head; METHOD is that of the request that a response answers. */
static const struct http_offence *judge(enum http_kind kind, const char *text, const char *method,
                                        struct http_framing *framing_)
{
    struct http_head_scan scan = {.kind = kind, .limit_bytes = LIMIT_BYTES};
    struct http_head head;
    const struct http_offence *offence = NULL;
    const enum http_head_progress progress = http_head_scan(&scan, text, strlen(text), &offence);
    ck_assert_msg(progress != HTTP_HEAD_MORE, "not a whole head: %s", text);
    if (progress == HTTP_HEAD_DONE) {
        offence = http_decode(&head, kind, text + scan.start, scan.seen - scan.start);
    }
    if (offence != NULL) {
        return offence;
    }
    return kind == HTTP_KIND_REQUEST ? http_framing_request(&head, framing_)
                                     : http_framing_response(&head, slice_of(method), framing_);
}

/* ---- Requests ---- */

#define GET_1_1     "GET / HTTP/1.1\r\nHost: a\r\n"
#define POST_1_1    "POST / HTTP/1.1\r\nHost: a\r\n"
#define POST_1_0    "POST / HTTP/1.0\r\n"
#define HOST(value) "GET / HTTP/1.1\r\nHost: " value "\r\n\r\n"
#define TARGET(at)  "GET " at " HTTP/1.1\r\nHost: a\r\n\r\n"
#define END         "\r\n"

static const struct {
    const char *rule;
    const char *text;
    enum http_body body;
    uint64_t length_bytes;
} good_requests[] = {
    {"RFC 9112, 6.3: neither field: no body", GET_1_1 END, HTTP_BODY_NONE, 0},
    {"RFC 9112, 6.3: nor with POST", POST_1_1 END, HTTP_BODY_NONE, 0},
    {"RFC 9112, 6.3: a length", POST_1_1 "Content-Length: 5\r\n" END, HTTP_BODY_LENGTH, 5},
    {"RFC 9112, 6.3: a length with GET", GET_1_1 "Content-Length: 5\r\n" END, HTTP_BODY_LENGTH, 5},
    {"RFC 9112, 6.3: HEAD, a request, may have a body",
     "HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" END, HTTP_BODY_LENGTH, 5},
    {"RFC 9110, 8.6: length 0", POST_1_1 "Content-Length: 0\r\n" END, HTTP_BODY_LENGTH, 0},
    {"RFC 9110, 8.6: zeros in front", POST_1_1 "Content-Length: 007\r\n" END, HTTP_BODY_LENGTH, 7},
    {"RFC 9110, 8.6: the largest that fits", POST_1_1 "Content-Length: 9223372036854775807\r\n" END,
     HTTP_BODY_LENGTH, INT64_MAX},
    {"RFC 9112, 7.1: chunked", POST_1_1 "Transfer-Encoding: chunked\r\n" END, HTTP_BODY_CHUNKED, 0},
    {"RFC 9112, 7: codings have no case", POST_1_1 "transfer-encoding: \tCHUNKED \r\n" END, HTTP_BODY_CHUNKED,
     0},
    {"RFC 9112, 6.3: a length on HTTP/1.0", POST_1_0 "Content-Length: 5\r\n" END, HTTP_BODY_LENGTH, 5},
    {"RFC 9112, 3.2: no Host on HTTP/1.0", POST_1_0 END, HTTP_BODY_NONE, 0},
    {"RFC 9110, 7.8: an upgrade has no body of its own",
     GET_1_1 "Connection: upgrade\r\nUpgrade: websocket\r\n" END, HTTP_BODY_NONE, 0},
    {"RFC 9110, 7.2: Host with a port", HOST("example.org:8080"), HTTP_BODY_NONE, 0},
    {"RFC 9110, 7.2: Host with an empty port", HOST("example.org:"), HTTP_BODY_NONE, 0},
    {"RFC 3986, 3.2.2: an IPv6 address", HOST("[2001:db8::1]"), HTTP_BODY_NONE, 0},
    {"RFC 3986, 3.2.2: an IPv6 address with a port", HOST("[::ffff:1.2.3.4]:80"), HTTP_BODY_NONE, 0},
    {"RFC 3986, 3.2.2: an odd name", HOST("a_b-c.~!$&'()*+,;=%20"), HTTP_BODY_NONE, 0},
    {"RFC 9112, 3.2.1: origin-form", TARGET("/a/../b//c?d?e=%zz"), HTTP_BODY_NONE, 0},
    {"RFC 9112, 3.2.1: origin-form with two slashes", TARGET("//b/c"), HTTP_BODY_NONE, 0},
    {"RFC 9112, 3.2.2: absolute-form", TARGET("http://b:80/c?d"), HTTP_BODY_NONE, 0},
    {"RFC 9112, 3.2.2: absolute-form without path", TARGET("HTTP://b"), HTTP_BODY_NONE, 0},
    {"RFC 9112, 3.2.4: asterisk-form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", HTTP_BODY_NONE, 0},
};

START_TEST(frames_requests)
{
    struct http_framing framing = {.body = HTTP_BODY_CLOSE, .length_bytes = 77};
    const struct http_offence *offence = judge(HTTP_KIND_REQUEST, good_requests[_i].text, NULL, &framing);
    ck_assert_msg(offence == NULL, "%s: %s", good_requests[_i].rule, offence == NULL ? "" : offence->name);
    ck_assert_msg(framing.body == good_requests[_i].body &&
                      framing.length_bytes == good_requests[_i].length_bytes,
                  "%s: body %d of %ju bytes", good_requests[_i].rule, (int)framing.body,
                  (uintmax_t)framing.length_bytes);
}
END_TEST

static const struct {
    const char *rule;
    const char *text;
    const struct http_offence *offence;
    int status;
} bad_requests[] = {
    /* Content-Length. */
    {"RFC 9112, 6.3: two equal lengths", POST_1_1 "Content-Length: 3\r\nContent-Length: 3\r\n" END,
     &http_offence_repeated_content_length, 400},
    {"RFC 9112, 6.3: two lengths that differ", POST_1_1 "Content-Length: 3\r\ncontent-length: 4\r\n" END,
     &http_offence_repeated_content_length, 400},
    {"RFC 9112, 6.3: a list of lengths", POST_1_1 "Content-Length: 3, 3\r\n" END,
     &http_offence_bad_content_length, 400},
    {"RFC 9110, 8.6: an empty length", POST_1_1 "Content-Length: \r\n" END, &http_offence_bad_content_length,
     400},
    {"RFC 9110, 8.6: a plus", POST_1_1 "Content-Length: +3\r\n" END, &http_offence_bad_content_length, 400},
    {"RFC 9110, 8.6: a minus", POST_1_1 "Content-Length: -3\r\n" END, &http_offence_bad_content_length, 400},
    {"RFC 9110, 8.6: hexadecimal", POST_1_1 "Content-Length: 0x3\r\n" END, &http_offence_bad_content_length,
     400},
    {"RFC 9110, 8.6: a fraction", POST_1_1 "Content-Length: 3.0\r\n" END, &http_offence_bad_content_length,
     400},
    {"RFC 9110, 8.6: a space inside", POST_1_1 "Content-Length: 3 3\r\n" END,
     &http_offence_bad_content_length, 400},
    {"RFC 9110, 8.6: quoted", POST_1_1 "Content-Length: \"3\"\r\n" END, &http_offence_bad_content_length,
     400},
    {"RFC 9110, 8.6: 2^63", POST_1_1 "Content-Length: 9223372036854775808\r\n" END,
     &http_offence_bad_content_length, 400},
    {"RFC 9110, 8.6: 2^64 - 7, the parser's largest", POST_1_1 "Content-Length: 18446744073709551609\r\n" END,
     &http_offence_bad_content_length, 400},
    {"RFC 9110, 8.6: 2^64 + 1", POST_1_1 "Content-Length: 18446744073709551617\r\n" END,
     &http_offence_bad_content_length, 400},
    /* Transfer-Encoding. */
    {"RFC 9112, 6.1: length, then coding", POST_1_1 "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n" END,
     &http_offence_length_with_coding, 400},
    {"RFC 9112, 6.1: coding, then length", POST_1_1 "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n" END,
     &http_offence_length_with_coding, 400},
    {"RFC 9112, 6.1: an unknown coding and a length",
     POST_1_1 "Transfer-Encoding: x\r\nContent-Length: 3\r\n" END, &http_offence_length_with_coding, 400},
    {"RFC 9112, 6.1: a coding on HTTP/1.0", POST_1_0 "Transfer-Encoding: chunked\r\n" END,
     &http_offence_coding_in_http_1_0, 400},
    {"RFC 9112, 6.1: chunked in two fields",
     POST_1_1 "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" END,
     &http_offence_repeated_coding, 400},
    {"RFC 9112, 6.1: two fields", POST_1_1 "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n" END,
     &http_offence_repeated_coding, 400},
    {"RFC 9112, 6.1: chunked hidden by a second field",
     POST_1_1 "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n" END,
     &http_offence_repeated_coding, 400},
    {"RFC 9112, 6.1: gzip, chunked", POST_1_1 "Transfer-Encoding: gzip, chunked\r\n" END,
     &http_offence_unknown_coding, 501},
    {"RFC 9112, 6.1: identity, chunked", POST_1_1 "Transfer-Encoding: identity, chunked\r\n" END,
     &http_offence_unknown_coding, 501},
    {"RFC 9112, 6.3: chunked in a quoted string", POST_1_1 "Transfer-Encoding: foo;a=\"b,chunked\"\r\n" END,
     &http_offence_bad_coding, 400},
    {"RFC 9112, 6.3: gzip alone", POST_1_1 "Transfer-Encoding: gzip\r\n" END, &http_offence_bad_coding, 400},
    {"RFC 9112, 6.3: identity", POST_1_1 "Transfer-Encoding: identity\r\n" END, &http_offence_bad_coding,
     400},
    {"RFC 9112, 6.3: chunked is not last", POST_1_1 "Transfer-Encoding: chunked, gzip\r\n" END,
     &http_offence_bad_coding, 400},
    {"RFC 9112, 7.1: chunked twice", POST_1_1 "Transfer-Encoding: chunked, chunked\r\n" END,
     &http_offence_bad_coding, 400},
    {"RFC 9112, 7.1: chunked with a parameter", POST_1_1 "Transfer-Encoding: chunked;a=b\r\n" END,
     &http_offence_bad_coding, 400},
    {"RFC 9112, 6.1: an empty coding", POST_1_1 "Transfer-Encoding:\r\n" END, &http_offence_bad_coding, 400},
    {"RFC 9112, 6.1: a comma behind", POST_1_1 "Transfer-Encoding: chunked,\r\n" END,
     &http_offence_bad_coding, 400},
    {"RFC 9112, 6.1: a comma before", POST_1_1 "Transfer-Encoding: ,chunked\r\n" END,
     &http_offence_bad_coding, 400},
    {"RFC 9112, 6.1: xchunked", POST_1_1 "Transfer-Encoding: xchunked\r\n" END, &http_offence_bad_coding,
     400},
    {"RFC 9112, 6.1: chunkedx", POST_1_1 "Transfer-Encoding: chunkedx\r\n" END, &http_offence_bad_coding,
     400},
    {"RFC 9112, 6.1: quoted", POST_1_1 "Transfer-Encoding: \"chunked\"\r\n" END, &http_offence_bad_coding,
     400},
    {"RFC 9112, 5.1: space before the colon", POST_1_1 "Transfer-Encoding : chunked\r\n" END,
     &http_offence_space_before_colon, 400},
    {"RFC 9110, 5.5: vertical tab before chunked", POST_1_1 "Transfer-Encoding: \vchunked\r\n" END,
     &http_offence_control_byte, 400},
    /* Host. */
    {"RFC 9112, 3.2: no Host", "GET / HTTP/1.1\r\n\r\n", &http_offence_missing_host, 400},
    {"RFC 9112, 3.2: two Host fields", GET_1_1 "Host: b\r\n" END, &http_offence_repeated_host, 400},
    {"RFC 9112, 3.2: the same Host twice", GET_1_1 "host: a\r\n" END, &http_offence_repeated_host, 400},
    {"RFC 9112, 3.2: two Host fields on HTTP/1.0", POST_1_0 "Host: a\r\nHost: a\r\n" END,
     &http_offence_repeated_host, 400},
    {"RFC 9112, 3.2: a bad Host on HTTP/1.0", POST_1_0 "Host: a b\r\n" END, &http_offence_bad_host, 400},
    {"RFC 9110, 4.2.1: an empty Host", HOST(""), &http_offence_bad_host, 400},
    {"RFC 9110, 7.2: only a port", HOST(":80"), &http_offence_bad_host, 400},
    {"RFC 9110, 7.2: a list", HOST("a, b"), &http_offence_bad_host, 400},
    {"RFC 9110, 7.2: a path", HOST("a/b"), &http_offence_bad_host, 400},
    {"RFC 9110, 7.2: user information", HOST("u@a"), &http_offence_bad_host, 400},
    {"RFC 9110, 7.2: a URL", HOST("http://a"), &http_offence_bad_host, 400},
    {"RFC 3986, 3.2.3: a port that is no number", HOST("a:80a"), &http_offence_bad_host, 400},
    {"RFC 3986, 3.2.3: a port over 65535", HOST("a:65536"), &http_offence_bad_host, 400},
    {"RFC 3986, 3.2.3: an overlong port", HOST("a:4294967376"), &http_offence_bad_host, 400},
    {"RFC 3986, 3.2.3: two ports", HOST("a:1:2"), &http_offence_bad_host, 400},
    {"RFC 3986, 2.1: half an escape", HOST("a%2"), &http_offence_bad_host, 400},
    {"RFC 3986, 2.1: an escape that is none", HOST("a%2g"), &http_offence_bad_host, 400},
    {"RFC 3986, 3.2.2: obs-text", HOST("a\xe4"), &http_offence_bad_host, 400},
    {"RFC 3986, 3.2.2: IPv6 without brackets", HOST("::1"), &http_offence_bad_host, 400},
    {"RFC 3986, 3.2.2: an open bracket", HOST("[::1"), &http_offence_bad_host, 400},
    {"RFC 3986, 3.2.2: empty brackets", HOST("[]"), &http_offence_bad_host, 400},
    {"RFC 3986, 3.2.2: a bracket and more", HOST("[::1]a"), &http_offence_bad_host, 400},
    {"RFC 3986, 3.2.2: a name in brackets", HOST("[localhost]"), &http_offence_bad_host, 400},
    {"RFC 3986, 3.2.2: far too long for an address",
     HOST("[1111111111111111111111111111111111111111111111111111111]"), &http_offence_bad_host, 400},
    /* Method and target. */
    {"RFC 9110, 9.3.6: CONNECT", "CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
     &http_offence_method_not_served, 405},
    {"RFC 9110, 9.3.8: TRACE", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", &http_offence_method_not_served, 405},
    {"RFC 9110, 9.1: an unknown method", "BREW / HTTP/1.1\r\nHost: a\r\n\r\n", &http_offence_unknown_method,
     501},
    {"RFC 9112, 3.2.4: asterisk-form without OPTIONS", TARGET("*"), &http_offence_bad_target, 400},
    {"RFC 9112, 3.2.4: an asterisk and more", "OPTIONS *a HTTP/1.1\r\nHost: a\r\n\r\n",
     &http_offence_bad_target, 400},
    {"RFC 9112, 3.2.3: authority-form", TARGET("a:443"), &http_offence_bad_target, 400},
    {"RFC 9112, 3.2.1: a path without slash", TARGET("a"), &http_offence_bad_target, 400},
    {"RFC 9112, 3.2: a fragment", TARGET("/a#b"), &http_offence_bad_target, 400},
    {"RFC 9112, 3.2.2: a fragment in absolute-form", TARGET("http://b/#c"), &http_offence_bad_target, 400},
    {"RFC 9112, 3.2.2: another scheme", TARGET("https://b/"), &http_offence_bad_target, 400},
    {"RFC 9110, 4.2.4: user information", TARGET("http://u:p@b/"), &http_offence_bad_target, 400},
    {"RFC 9110, 4.2.1: no host", TARGET("http:///c"), &http_offence_bad_target, 400},
    {"RFC 9110, 4.2.1: nothing behind the scheme", TARGET("http://"), &http_offence_bad_target, 400},
    {"RFC 9110, 4.2.1: only a port", TARGET("http://:80/"), &http_offence_bad_target, 400},
    {"RFC 9110, 4.2.1: a bad port", TARGET("http://b:99999/"), &http_offence_bad_target, 400},
    {"RFC 9112, 3.2.2: Host is needed all the same", "GET http://b/ HTTP/1.1\r\n\r\n",
     &http_offence_missing_host, 400},
    {"RFC 9112, 2.3: HTTP/0.9", "GET /\r\n\r\n", &http_offence_missing_version, 400},
    {"RFC 9112, 2.3: HTTP/2.0", "GET / HTTP/2.0\r\nHost: a\r\n\r\n", &http_offence_unsupported_version, 505},
};

START_TEST(refuses_requests)
{
    struct http_framing framing;
    const struct http_offence *offence = judge(HTTP_KIND_REQUEST, bad_requests[_i].text, NULL, &framing);
    ck_assert_msg(offence == bad_requests[_i].offence, "%s: %s", bad_requests[_i].rule,
                  offence == NULL ? "let through" : offence->name);
    ck_assert_msg(offence->status == bad_requests[_i].status, "%s: %d", bad_requests[_i].rule,
                  offence->status);
}
END_TEST

/* ---- Responses ---- */

#define OK_1_1  "HTTP/1.1 200 OK\r\n"
#define OK_1_0  "HTTP/1.0 200 OK\r\n"
#define LENGTH  "Content-Length: 5\r\n"
#define CHUNKED "Transfer-Encoding: chunked\r\n"

static const struct {
    const char *rule;
    const char *text;
    const char *method;
    enum http_body body;
    uint64_t length_bytes;
} good_responses[] = {
    {"RFC 9112, 6.3: a length", OK_1_1 LENGTH END, "GET", HTTP_BODY_LENGTH, 5},
    {"RFC 9112, 6.3: chunked", OK_1_1 CHUNKED END, "GET", HTTP_BODY_CHUNKED, 0},
    {"RFC 9112, 6.3: until close", OK_1_1 END, "GET", HTTP_BODY_CLOSE, 0},
    {"RFC 9112, 6.3: until close, HTTP/1.0", OK_1_0 END, "POST", HTTP_BODY_CLOSE, 0},
    {"RFC 9112, 6.3: a length, HTTP/1.0", OK_1_0 LENGTH END, "GET", HTTP_BODY_LENGTH, 5},
    {"RFC 9112, 6.3: length 0", OK_1_1 "Content-Length: 0\r\n" END, "GET", HTTP_BODY_LENGTH, 0},
    {"RFC 9112, 6.3: HEAD with a length", OK_1_1 LENGTH END, "HEAD", HTTP_BODY_NONE, 0},
    {"RFC 9112, 6.3: HEAD, chunked", OK_1_1 CHUNKED END, "HEAD", HTTP_BODY_NONE, 0},
    {"RFC 9112, 6.3: HEAD with neither", OK_1_1 END, "HEAD", HTTP_BODY_NONE, 0},
    {"RFC 9112, 6.3: 204", "HTTP/1.1 204 \r\n" END, "GET", HTTP_BODY_NONE, 0},
    {"RFC 9112, 6.3: 204 that claims a length", "HTTP/1.1 204 \r\n" LENGTH END, "GET", HTTP_BODY_NONE, 0},
    {"RFC 9112, 6.3: 204 that claims chunks", "HTTP/1.1 204 \r\n" CHUNKED END, "GET", HTTP_BODY_NONE, 0},
    {"RFC 9112, 6.3: 304 with a length", "HTTP/1.1 304 \r\n" LENGTH END, "GET", HTTP_BODY_NONE, 0},
    {"RFC 9112, 6.3: 100", "HTTP/1.1 100 \r\n" END, "POST", HTTP_BODY_NONE, 0},
    {"RFC 9112, 6.3: 101", "HTTP/1.1 101 \r\nConnection: upgrade\r\nUpgrade: websocket\r\n" END, "GET",
     HTTP_BODY_NONE, 0},
    {"RFC 9112, 6.3: 103 that claims a length", "HTTP/1.1 103 \r\n" LENGTH END, "GET", HTTP_BODY_NONE, 0},
    {"RFC 9112, 6.3: 205 may have a body", "HTTP/1.1 205 \r\n" LENGTH END, "GET", HTTP_BODY_LENGTH, 5},
    {"RFC 9110, 7.2: Host means nothing in a response", OK_1_1 LENGTH "Host: ?\r\n" END, "GET",
     HTTP_BODY_LENGTH, 5},
};

START_TEST(frames_responses)
{
    struct http_framing framing = {.body = HTTP_BODY_CHUNKED, .length_bytes = 77};
    const struct http_offence *offence =
        judge(HTTP_KIND_RESPONSE, good_responses[_i].text, good_responses[_i].method, &framing);
    ck_assert_msg(offence == NULL, "%s: %s", good_responses[_i].rule, offence == NULL ? "" : offence->name);
    ck_assert_msg(framing.body == good_responses[_i].body &&
                      framing.length_bytes == good_responses[_i].length_bytes,
                  "%s: body %d of %ju bytes", good_responses[_i].rule, (int)framing.body,
                  (uintmax_t)framing.length_bytes);
}
END_TEST

static const struct {
    const char *rule;
    const char *text;
    const char *method;
    const struct http_offence *offence;
} bad_responses[] = {
    {"RFC 9112, 6.1: length and coding", OK_1_1 LENGTH CHUNKED END, "GET", &http_offence_length_with_coding},
    {"RFC 9112, 6.1: coding and length", OK_1_1 CHUNKED LENGTH END, "GET", &http_offence_length_with_coding},
    {"RFC 9112, 6.1: both, with HEAD", OK_1_1 CHUNKED LENGTH END, "HEAD", &http_offence_length_with_coding},
    {"RFC 9112, 6.3: equal lengths", OK_1_1 LENGTH LENGTH END, "GET", &http_offence_repeated_content_length},
    {"RFC 9112, 6.3: different lengths", OK_1_1 LENGTH "Content-Length: 6\r\n" END, "GET",
     &http_offence_repeated_content_length},
    {"RFC 9112, 6.3: a list of lengths", OK_1_1 "Content-Length: 5, 5\r\n" END, "GET",
     &http_offence_bad_content_length},
    {"RFC 9110, 8.6: an overlong length", OK_1_1 "Content-Length: 9223372036854775808\r\n" END, "GET",
     &http_offence_bad_content_length},
    {"RFC 9110, 8.6: a bad length on 304", "HTTP/1.1 304 \r\nContent-Length: -1\r\n" END, "GET",
     &http_offence_bad_content_length},
    {"RFC 9112, 6.1: a coding on HTTP/1.0", OK_1_0 CHUNKED END, "GET", &http_offence_coding_in_http_1_0},
    {"RFC 9112, 6.1: two codings", OK_1_1 CHUNKED CHUNKED END, "GET", &http_offence_repeated_coding},
    {"RFC 9112, 6.1: gzip, chunked", OK_1_1 "Transfer-Encoding: gzip, chunked\r\n" END, "GET",
     &http_offence_unknown_coding},
    {"RFC 9112, 6.3: gzip", OK_1_1 "Transfer-Encoding: gzip\r\n" END, "GET", &http_offence_bad_coding},
    {"RFC 9112, 6.3: identity", OK_1_1 "Transfer-Encoding: identity\r\n" END, "GET",
     &http_offence_bad_coding},
    {"RFC 9112, 5.1: space before the colon", OK_1_1 "Transfer-Encoding : chunked\r\n" END, "GET",
     &http_offence_space_before_colon},
};

START_TEST(refuses_responses)
{
    struct http_framing framing;
    const struct http_offence *offence =
        judge(HTTP_KIND_RESPONSE, bad_responses[_i].text, bad_responses[_i].method, &framing);
    ck_assert_msg(offence == bad_responses[_i].offence, "%s: %s", bad_responses[_i].rule,
                  offence == NULL ? "let through" : offence->name);
}
END_TEST

/* ---- Fields that http-parser refuses itself, given to the framing alone ---- */

static const struct {
    const char *rule;
    enum http_field_id ids[2];
    const char *values[2];
    const struct http_offence *offence; /* NULL: let through */
} by_hand[] = {
    {"RFC 9112, 6.3: equal lengths",
     {HTTP_FIELD_CONTENT_LENGTH, HTTP_FIELD_CONTENT_LENGTH},
     {"3", "3"},
     &http_offence_repeated_content_length},
    {"RFC 9112, 6.1: length and coding",
     {HTTP_FIELD_CONTENT_LENGTH, HTTP_FIELD_TRANSFER_ENCODING},
     {"3", "chunked"},
     &http_offence_length_with_coding},
    {"RFC 9110, 8.6: empty", {HTTP_FIELD_CONTENT_LENGTH}, {""}, &http_offence_bad_content_length},
    {"RFC 9110, 8.6: a sign", {HTTP_FIELD_CONTENT_LENGTH}, {"+3"}, &http_offence_bad_content_length},
    {"RFC 9110, 8.6: a list", {HTTP_FIELD_CONTENT_LENGTH}, {"3,3"}, &http_offence_bad_content_length},
    {"RFC 9110, 8.6: over 2^64",
     {HTTP_FIELD_CONTENT_LENGTH},
     {"18446744073709551619"},
     &http_offence_bad_content_length},
    {"RFC 9110, 8.6: a length", {HTTP_FIELD_CONTENT_LENGTH}, {"3"}, NULL},
};

START_TEST(needs_no_help_from_the_parser)
{
    struct http_head head = {.version_minor = 1,
                             .method = SLICE("POST"),
                             .target = SLICE("/"),
                             .status = 200};
    head.fields[head.field_count++] = (struct http_field){SLICE("Host"), SLICE("a"), HTTP_FIELD_HOST};
    for (int i = 0; i < 2 && by_hand[_i].values[i] != NULL; ++i) {
        head.fields[head.field_count++] =
            (struct http_field){SLICE("X"), slice_of(by_hand[_i].values[i]), by_hand[_i].ids[i]};
    }
    struct http_framing framing;
    ck_assert_msg(http_framing_request(&head, &framing) == by_hand[_i].offence, "%s", by_hand[_i].rule);
    ck_assert_msg(http_framing_response(&head, SLICE("GET"), &framing) == by_hand[_i].offence, "%s",
                  by_hand[_i].rule);
}
END_TEST

START_TEST(looks_at_no_byte_behind_a_value)
{
    /* Behind the slice stands what would make it good. */
    struct http_head head = {.version_minor = 1,
                             .method = SLICE("GET"),
                             .target = SLICE("/"),
                             .field_count = 1};
    head.fields[0] = (struct http_field){SLICE("Host"), {"a%2f:", 3}, HTTP_FIELD_HOST};
    struct http_framing framing;
    ck_assert_ptr_eq(http_framing_request(&head, &framing), &http_offence_bad_host);
    head.fields[0].value = (struct slice){"[::1]", 4};
    ck_assert_ptr_eq(http_framing_request(&head, &framing), &http_offence_bad_host);
    head.fields[0].value.length = 5;
    ck_assert_ptr_null(http_framing_request(&head, &framing));
}
END_TEST

/* RFC 9112, 3.2.2. AUTHORITY NULL: refused. */
static const struct {
    const char *target, *authority, *path;
} splits[] = {
    {"http://a", "a", ""},
    {"http://a/", "a", "/"},
    {"HtTp://a:80/b?c=http://d@e", "a:80", "/b?c=http://d@e"},
    {"http://a?b/c", "a", "?b/c"},
    {"http://[::1]:8080/x", "[::1]:8080", "/x"},
    {"http://", NULL, NULL},
    {"http:///a", NULL, NULL},
    {"http://?a", NULL, NULL},
    {"http://u@a/", NULL, NULL},
    {"http:/a", NULL, NULL},
    {"https://a/", NULL, NULL},
    {"/a", NULL, NULL},
    {"*", NULL, NULL},
    {"", NULL, NULL},
};

START_TEST(splits_targets)
{
    struct slice authority, path;
    const bool split = http_target_split(slice_of(splits[_i].target), &authority, &path);
    ck_assert_msg(split == (splits[_i].authority != NULL), "%s", splits[_i].target);
    if (split) {
        ck_assert_msg(slice_equal(authority, slice_of(splits[_i].authority)), "%s", splits[_i].target);
        ck_assert_msg(slice_equal(path, slice_of(splits[_i].path)), "%s", splits[_i].target);
    }
}
END_TEST

int main(void)
{
    TCase *frames = tcase_create("framing");
    tcase_add_loop_test(frames, frames_requests, 0, ROWS(good_requests));
    tcase_add_loop_test(frames, refuses_requests, 0, ROWS(bad_requests));
    tcase_add_loop_test(frames, frames_responses, 0, ROWS(good_responses));
    tcase_add_loop_test(frames, refuses_responses, 0, ROWS(bad_responses));
    tcase_add_loop_test(frames, needs_no_help_from_the_parser, 0, ROWS(by_hand));
    tcase_add_test(frames, looks_at_no_byte_behind_a_value);
    tcase_add_loop_test(frames, splits_targets, 0, ROWS(splits));
    Suite *suite = suite_create("http_framing");
    suite_add_tcase(suite, frames);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
