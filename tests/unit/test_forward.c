/* SPDX-License-Identifier: MIT
 * What is forwarded, byte for byte: each row is a head as it came and the head that goes on. */
#include "proxy/forward.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

enum { HEAD_BYTES = 4096 };

/* Decodes TEXT, a whole head, which must be a good one. */
static void decode(struct http_head *head, enum http_kind kind, const char *text)
{
    struct http_head_scan scan = {.kind = kind, .limit_bytes = HEAD_BYTES};
    const struct http_offence *offence = NULL;
    ck_assert_msg(http_head_scan(&scan, text, strlen(text), &offence) == HTTP_HEAD_DONE, "%s", text);
    ck_assert_ptr_null(http_decode(head, kind, text, scan.seen));
}

/* ---- Requests ---- */

#define TRACE   "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
#define BACKEND "10.0.0.1:8000"

static const struct identity identity = {.request_id_length = 2,
                                         .request_id = "id",
                                         .trace_kept = true,
                                         .traceparent = TRACE};

/* What is written of the client's identity, which test_identity.c is about, and what ends each head. */
#define WHO_QUOTED(authority, quoted, minor)                                                                 \
    "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\nX-Forwarded-Host: " authority "\r\n"           \
    "Forwarded: for=192.0.2.7;host=" quoted ";proto=http\r\nX-Request-Id: id\r\ntraceparent: " TRACE         \
    "\r\nVia: 1." minor " holdfast\r\n\r\n"
#define WHO(authority, minor) WHO_QUOTED(authority, authority, minor)
#define END                   WHO("a", "1")
#define WHO_WITHOUT_HOST                                                                                     \
    "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: http\r\n"                                              \
    "Forwarded: for=192.0.2.7;proto=http\r\nX-Request-Id: id\r\ntraceparent: " TRACE                         \
    "\r\nVia: 1.0 holdfast\r\n\r\n"

#define GET(fields) "GET / HTTP/1.1\r\nHost: a\r\n" fields "\r\n"
#define SENT        "GET / HTTP/1.1\r\nHost: a\r\n"

enum { NO_BODY = -1 };

static const struct {
    const char *rule;
    const char *came;
    int body_bytes;
    const char *went;
} requests[] = {
    {"the least", GET(""), NO_BODY, SENT END},
    {"end-to-end fields stay, in order, as they were written",
     GET("X-b: 1\r\nx-A:\r\nAccept: \t a, b \r\nX-b: 2\r\n"), NO_BODY,
     SENT "X-b: 1\r\nx-A: \r\nAccept: a, b\r\nX-b: 2\r\n" END},
    {"Host first, wherever it came", "GET / HTTP/1.1\r\nX: y\r\nHOST: a\r\n\r\n", NO_BODY,
     SENT "X: y\r\n" END},
    {"the path is not touched", "GET //a/../b?c=%2f&&d HTTP/1.1\r\nHost: a\r\n\r\n", NO_BODY,
     "GET //a/../b?c=%2f&&d HTTP/1.1\r\nHost: a\r\n" END},

    /* RFC 9110, 7.6.1: fields of one connection. */
    {"RFC 9110, 7.6.1: hop-by-hop fields",
     GET("Connection: keep-alive\r\nKeep-Alive: 5\r\nProxy-Connection: close\r\nTE: gzip\r\nTrailer: X\r\n"
         "Upgrade: websocket\r\nX: y\r\n"),
     NO_BODY, SENT "X: y\r\n" END},
    {"RFC 9110, 7.6.1: fields that Connection names",
     GET("X-One: 1\r\nConnection: x-one, Foo\r\nX-two: 2\r\nfoo: 3\r\nX-One: 4\r\n"), NO_BODY,
     SENT "X-two: 2\r\n" END},
    {"RFC 9110, 7.6.1: over several Connection fields",
     GET("Connection: close\r\nConnection: ,, x-one\r\nX-One: 1\r\nConnection:\r\nX-Two: 2\r\n"), NO_BODY,
     SENT "X-Two: 2\r\n" END},
    {"RFC 9110, 7.6.1: a name that only begins like one", GET("Connection: X\r\nX-One: 1\r\nXX: 2\r\n"),
     NO_BODY, SENT "X-One: 1\r\nXX: 2\r\n" END},
    {"what is written anew can't be taken away by naming it",
     "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n"
     "Connection: Host, Content-Length, X-Forwarded-For, Via, X-Request-Id\r\n\r\n",
     5, "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" END},

    /* Framing: what was sent is replaced by what is held. */
    {"RFC 9112, 6.3: a length", "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 005\r\n\r\n", 5,
     "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" END},
    {"RFC 9112, 6.3: a length of 0", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 0,
     "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n" END},
    {"RFC 9112, 7.1: chunked becomes a length",
     "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", 123456,
     "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 123456\r\n" END},
    {"RFC 9110, 10.1.1: Expect was ours to meet",
     "POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", 1,
     "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n" END},

    /* RFC 9112, 3.2: forms of the target. */
    {"RFC 9112, 3.2.2: absolute-form, its Host wins", "GET http://b:81/c?d HTTP/1.1\r\nHost: a\r\n\r\n",
     NO_BODY, "GET /c?d HTTP/1.1\r\nHost: b:81\r\n" WHO_QUOTED("b:81", "\"b:81\"", "1")},
    {"RFC 9112, 3.2.2: absolute-form without a path", "GET http://b HTTP/1.1\r\nHost: a\r\n\r\n", NO_BODY,
     "GET / HTTP/1.1\r\nHost: b\r\n" WHO("b", "1")},
    {"RFC 9112, 3.2.2: absolute-form, a query only", "GET HTTP://b?c HTTP/1.1\r\nHost: a\r\n\r\n", NO_BODY,
     "GET /?c HTTP/1.1\r\nHost: b\r\n" WHO("b", "1")},
    {"RFC 9112, 3.2.4: OPTIONS of a whole server", "OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n", NO_BODY,
     "OPTIONS * HTTP/1.1\r\nHost: b\r\n" WHO("b", "1")},
    {"RFC 9112, 3.2.4: asterisk-form", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", NO_BODY,
     "OPTIONS * HTTP/1.1\r\nHost: a\r\n" END},
    {"RFC 9112, 3.2.4: OPTIONS with a path", "OPTIONS http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", NO_BODY,
     "OPTIONS / HTTP/1.1\r\nHost: b\r\n" WHO("b", "1")},

    /* HTTP/1.0 becomes HTTP/1.1. */
    {"RFC 9112, 3.2: no Host on HTTP/1.0: the backend's own", "GET /x HTTP/1.0\r\nX: y\r\n\r\n", NO_BODY,
     "GET /x HTTP/1.1\r\nHost: " BACKEND "\r\nX: y\r\n" WHO_WITHOUT_HOST},
    {"RFC 9110, 7.6.3: Via tells the version that came", "GET / HTTP/1.0\r\nHost: a\r\n\r\n", NO_BODY,
     SENT WHO("a", "0")},
    {"RFC 9110, 7.6.3: earlier Via stays before ours", GET("Via: 1.1 first\r\nVia: 1.0 second\r\n"), NO_BODY,
     SENT "Via: 1.1 first\r\nVia: 1.0 second\r\n" END},

    /* Claims of a client that is not trusted. */
    {"what a client says of itself is replaced",
     GET("X-Forwarded-For: 6.6.6.6\r\nX-FORWARDED-PROTO: https\r\nx-forwarded-host: evil\r\n"
         "Forwarded: for=6.6.6.6\r\nX-Forwarded-Port: 666\r\nX-Real-IP: 6.6.6.6\r\nX: y\r\n"),
     NO_BODY, SENT "X: y\r\n" END},
    {"RFC 3875, 4.1.18: nor with '_' for '-'",
     GET("X_Forwarded_For: 6.6.6.6\r\nX-Forwarded_Proto: https\r\nX_Real_IP: 6.6.6.6\r\n"
         "Content_Length: 7\r\nTransfer_Encoding: chunked\r\nX_Request_Id: 6\r\nmy_own: y\r\n"),
     NO_BODY, SENT "my_own: y\r\n" END},
    {"names that are near those", GET("X-Forwarded: 1\r\nX-Forward-For: 2\r\nX-Real: 3\r\nX: 4\r\n"), NO_BODY,
     SENT "X-Forwarded: 1\r\nX-Forward-For: 2\r\nX-Real: 3\r\nX: 4\r\n" END},
};

static struct forward_request request_of(const struct http_head *head, const union net_address *client)
{
    return (struct forward_request){.head = head,
                                    .identity = &identity,
                                    .client = client,
                                    .authority = SLICE(BACKEND)};
}

static union net_address client_address(void)
{
    union net_address client = {.in = {.sin_family = AF_INET}};
    inet_pton(AF_INET, "192.0.2.7", &client.in.sin_addr);
    return client;
}

static void expect(const char *rule, const struct writer *w, const char *want)
{
    ck_assert(writer_ok(w));
    ck_assert_msg(slice_equal((struct slice){w->at, w->length}, slice_of(want)), "%s:\n%.*s", rule,
                  (int)w->length, w->at);
}

START_TEST(writes_requests)
{
    char out[HEAD_BYTES];
    struct writer w = {.at = out, .capacity = sizeof out};
    struct http_head head;
    decode(&head, HTTP_KIND_REQUEST, requests[_i].came);
    union net_address client = client_address();
    struct forward_request request = request_of(&head, &client);
    request.has_body = requests[_i].body_bytes != NO_BODY;
    request.body_bytes = request.has_body ? (uint64_t)requests[_i].body_bytes : 0;
    forward_request_head(&w, &request);
    expect(requests[_i].rule, &w, requests[_i].went);
}
END_TEST

START_TEST(a_trusted_peer_speaks_for_others)
{
    char out[HEAD_BYTES];
    struct writer w = {.at = out, .capacity = sizeof out};
    struct http_head head;
    decode(&head, HTTP_KIND_REQUEST,
           GET("X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Port: 443\r\n"
               "X-Real-IP: 198.51.100.1\r\nX_Forwarded_For: 6.6.6.6\r\n"));
    union net_address client = client_address();
    struct forward_request request = request_of(&head, &client);
    request.trusted = true;
    forward_request_head(&w, &request);
    expect("trusted", &w,
           SENT "X-Forwarded-Port: 443\r\nX-Real-IP: 198.51.100.1\r\n"
                "X-Forwarded-For: 198.51.100.1, 192.0.2.7\r\nX-Forwarded-Proto: https\r\n"
                "X-Forwarded-Host: a\r\nForwarded: for=192.0.2.7;host=a;proto=http\r\n"
                "X-Request-Id: id\r\ntraceparent: " TRACE "\r\nVia: 1.1 holdfast\r\n\r\n");
}
END_TEST

/* What is offered to the backend in our own name: trailers (RFC 9110, 6.5.1) and an upgrade (7.8). */
static const struct {
    bool chunked, te_trailers;
    const char *upgrade;
    const char *fields;
} offers[] = {
    {true, false, "", "Trailer: X\r\nTransfer-Encoding: chunked\r\n"},
    {false, true, "", "Content-Length: 7\r\nTE: trailers\r\nConnection: TE\r\n"},
    {false, false, "websocket", "Content-Length: 7\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"},
    {true, true, "a, b/2",
     "Trailer: X\r\nTransfer-Encoding: chunked\r\nTE: trailers\r\nUpgrade: a, b/2\r\n"
     "Connection: upgrade, TE\r\n"},
};

START_TEST(writes_offers)
{
    char out[HEAD_BYTES];
    char want[HEAD_BYTES];
    struct writer w = {.at = out, .capacity = sizeof out};
    struct http_head head;
    decode(&head, HTTP_KIND_REQUEST,
           GET("Connection: upgrade, te\r\nUpgrade: other\r\nTE: trailers\r\nTrailer: X\r\n"));
    union net_address client = client_address();
    struct forward_request request = request_of(&head, &client);
    request.has_body = true;
    request.body_bytes = 7;
    request.chunked = offers[_i].chunked;
    request.te_trailers = offers[_i].te_trailers;
    request.upgrade = slice_of(offers[_i].upgrade);
    forward_request_head(&w, &request);
    snprintf(want, sizeof want, "%s%s%s", SENT, offers[_i].fields, END);
    expect(offers[_i].fields, &w, want);
}
END_TEST

static const struct {
    const char *came;
    const char *upgrade; /* "" for none */
} upgrades[] = {
    {GET("Connection: Upgrade\r\nUpgrade: websocket\r\n"), "websocket"},
    {GET("Connection: keep-alive, upgrade\r\nUpgrade: a/1, b\r\n"), "a/1, b"},
    {GET("Upgrade: websocket\r\n"), ""},
    {GET("Connection: close\r\nUpgrade: websocket\r\n"), ""},
    {GET("Connection: upgrade\r\n"), ""},
    {GET("Connection: upgrade\r\nUpgrade:\r\n"), ""},
    {"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", ""}, /* RFC 9110, 7.8 */
    {GET("Connection: upgrade\r\nUpgrade: h2c\r\n"), ""},
    {GET("Connection: upgrade\r\nUpgrade: websocket, H2C\r\n"), ""},
    {GET("Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n"), ""},
};

START_TEST(finds_upgrades)
{
    struct http_head head;
    decode(&head, HTTP_KIND_REQUEST, upgrades[_i].came);
    struct slice upgrade = forward_upgrade_of(&head);
    ck_assert_msg(slice_equal(upgrade, slice_of(upgrades[_i].upgrade)), "%s", upgrades[_i].came);
}
END_TEST

/* ---- Responses ---- */

#define OK(fields) "HTTP/1.1 200 OK\r\n" fields "\r\n"
#define DATED      "Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
#define VIA        "Via: 1.1 holdfast\r\n"
#define NOW        "Mon, 07 Nov 1994 08:49:37 GMT"
#define KEEP_1_1   1, true
#define CLOSE_1_1  1, false
#define KEEP_1_0   0, true
#define CLOSE_1_0  0, false

static const struct {
    const char *rule;
    const char *came;
    enum forward_body body;
    unsigned client_minor;
    bool keep_alive;
    const char *went;
} responses[] = {
    {"a length", OK("Content-Length: 9\r\n" DATED), FORWARD_BODY_LENGTH, KEEP_1_1,
     "HTTP/1.1 200 OK\r\n" DATED VIA "Content-Length: 77\r\n\r\n"},
    {"chunked, held whole: a length", OK("Transfer-Encoding: chunked\r\n" DATED), FORWARD_BODY_LENGTH,
     KEEP_1_1, "HTTP/1.1 200 OK\r\n" DATED VIA "Content-Length: 77\r\n\r\n"},
    {"chunked", OK("Transfer-Encoding: chunked\r\n" DATED), FORWARD_BODY_CHUNKED, KEEP_1_1,
     "HTTP/1.1 200 OK\r\n" DATED VIA "Transfer-Encoding: chunked\r\n\r\n"},
    {"until the end becomes chunked", OK(DATED "Connection: close\r\n"), FORWARD_BODY_CHUNKED, KEEP_1_1,
     "HTTP/1.1 200 OK\r\n" DATED VIA "Transfer-Encoding: chunked\r\n\r\n"},
    {"RFC 9112, 6.1: never chunked to HTTP/1.0", OK("Transfer-Encoding: chunked\r\n" DATED),
     FORWARD_BODY_CLOSE, CLOSE_1_0, "HTTP/1.1 200 OK\r\n" DATED VIA "Connection: close\r\n\r\n"},
    {"RFC 9110, 9.3.2: HEAD keeps what GET would have said", OK("Content-Length: 9\r\n" DATED),
     FORWARD_BODY_AS_GIVEN, KEEP_1_1, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n" DATED VIA "\r\n"},
    {"RFC 9110, 9.3.2: HEAD without a length", OK("Transfer-Encoding: chunked\r\n" DATED),
     FORWARD_BODY_AS_GIVEN, KEEP_1_1, "HTTP/1.1 200 OK\r\n" DATED VIA "\r\n"},
    {"RFC 9110, 15.4.5: 304",
     "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 9\r\n" DATED "\r\n", FORWARD_BODY_AS_GIVEN,
     KEEP_1_1, "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 9\r\n" DATED VIA "\r\n"},
    {"RFC 9110, 8.6: 204 has no length", "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n" DATED "\r\n",
     FORWARD_BODY_NONE, KEEP_1_1, "HTTP/1.1 204 No Content\r\n" DATED VIA "\r\n"},

    {"RFC 9112, 9.3: HTTP/1.1 persists without a word", OK(DATED), FORWARD_BODY_NONE, KEEP_1_1,
     "HTTP/1.1 200 OK\r\n" DATED VIA "\r\n"},
    {"RFC 9112, 9.6: and is told when it does not", OK(DATED), FORWARD_BODY_NONE, CLOSE_1_1,
     "HTTP/1.1 200 OK\r\n" DATED VIA "Connection: close\r\n\r\n"},
    {"RFC 9112, 9.3: HTTP/1.0 is told when it persists", OK(DATED), FORWARD_BODY_NONE, KEEP_1_0,
     "HTTP/1.1 200 OK\r\n" DATED VIA "Connection: keep-alive\r\n\r\n"},
    {"HTTP/1.0 that does not persist", OK(DATED), FORWARD_BODY_NONE, CLOSE_1_0,
     "HTTP/1.1 200 OK\r\n" DATED VIA "Connection: close\r\n\r\n"},
    {"RFC 9112, 9.6: the backend's close is not the client's", OK(DATED "Connection: close\r\n"),
     FORWARD_BODY_NONE, KEEP_1_1, "HTTP/1.1 200 OK\r\n" DATED VIA "\r\n"},

    {"RFC 9110, 7.6.1: hop-by-hop fields",
     OK("Connection: x-hop, keep-alive\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nProxy-Connection: close\r\n"
        "TE: x\r\nTrailer: X\r\nUpgrade: h2c\r\nTransfer-Encoding: chunked\r\n" DATED),
     FORWARD_BODY_CHUNKED, KEEP_1_1, "HTTP/1.1 200 OK\r\n" DATED VIA "Transfer-Encoding: chunked\r\n\r\n"},
    {"end-to-end fields stay, in order, as they were written",
     OK("set-cookie: a\r\nX_Own: 1\r\nX-Real-IP: 2\r\nSet-Cookie: b\r\nX-Forwarded-For: 3\r\n"
        "X_Forwarded_For: 4\r\n" DATED),
     FORWARD_BODY_NONE, KEEP_1_1,
     "HTTP/1.1 200 OK\r\nset-cookie: a\r\nX_Own: 1\r\nX-Real-IP: 2\r\nSet-Cookie: b\r\n"
     "X-Forwarded-For: 3\r\nX_Forwarded_For: 4\r\n" DATED VIA "\r\n"},
    {"RFC 9110, 6.6.1: a Date where there is none", OK("X: y\r\n"), FORWARD_BODY_NONE, KEEP_1_1,
     "HTTP/1.1 200 OK\r\nX: y\r\nDate: " NOW "\r\n" VIA "\r\n"},
    {"RFC 9110, 7.6.3: Via tells the version that came", "HTTP/1.0 200 OK\r\nVia: 1.1 x\r\n" DATED "\r\n",
     FORWARD_BODY_NONE, KEEP_1_1, "HTTP/1.1 200 OK\r\nVia: 1.1 x\r\n" DATED "Via: 1.0 holdfast\r\n\r\n"},
    {"the reason stays", "HTTP/1.1 404 Gone fishing\r\n" DATED "\r\n", FORWARD_BODY_NONE, KEEP_1_1,
     "HTTP/1.1 404 Gone fishing\r\n" DATED VIA "\r\n"},
    {"RFC 9112, 4: an empty reason has its space", "HTTP/1.1 299 \r\n" DATED "\r\n", FORWARD_BODY_NONE,
     KEEP_1_1, "HTTP/1.1 299 \r\n" DATED VIA "\r\n"},
    {"RFC 8297: 103 says nothing of framing, connection or time",
     "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
     FORWARD_BODY_NONE, CLOSE_1_1, "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n" VIA "\r\n"},
};

START_TEST(writes_responses)
{
    char out[HEAD_BYTES];
    struct writer w = {.at = out, .capacity = sizeof out};
    struct http_head head;
    decode(&head, HTTP_KIND_RESPONSE, responses[_i].came);
    struct forward_response response = {
        .head = &head,
        .body = responses[_i].body,
        .length_bytes = 77,
        .client_minor = responses[_i].client_minor,
        .keep_alive = responses[_i].keep_alive,
        .date = SLICE(NOW),
    };
    forward_response_head(&w, &response);
    expect(responses[_i].rule, &w, responses[_i].went);
}
END_TEST

START_TEST(lets_trailers_and_upgrades_through)
{
    char out[HEAD_BYTES];
    struct writer w = {.at = out, .capacity = sizeof out};
    struct http_head head;
    decode(&head, HTTP_KIND_RESPONSE, OK("Transfer-Encoding: chunked\r\nTrailer: X\r\n" DATED));
    struct forward_response trailers = {.head = &head,
                                        .body = FORWARD_BODY_CHUNKED,
                                        .client_minor = 1,
                                        .keep_alive = true,
                                        .keep_trailer = true,
                                        .date = SLICE(NOW)};
    forward_response_head(&w, &trailers);
    expect("trailers", &w,
           "HTTP/1.1 200 OK\r\nTrailer: X\r\n" DATED VIA "Transfer-Encoding: chunked\r\n\r\n");

    w.length = 0;
    decode(
        &head, HTTP_KIND_RESPONSE,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade, x\r\nUpgrade: websocket\r\nX: y\r\n\r\n");
    struct forward_response upgrade = {.head = &head,
                                       .body = FORWARD_BODY_NONE,
                                       .client_minor = 1,
                                       .keep_alive = true,
                                       .upgrade = true,
                                       .date = SLICE(NOW)};
    forward_response_head(&w, &upgrade);
    expect("upgrade", &w,
           "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n" VIA "Connection: upgrade\r\n\r\n");
}
END_TEST

/* ---- Overflow ---- */

START_TEST(an_overflow_shows)
{
    struct http_head request_head;
    struct http_head response_head;
    decode(&request_head, HTTP_KIND_REQUEST, GET("X: y\r\n"));
    decode(&response_head, HTTP_KIND_RESPONSE, OK("X: y\r\n"));
    union net_address client = client_address();
    struct forward_request request = request_of(&request_head, &client);
    struct forward_response response = {.head = &response_head, .date = SLICE(NOW)};
    char out[HEAD_BYTES];
    struct writer whole_request = {.at = out, .capacity = sizeof out};
    struct writer whole_response = {.at = out, .capacity = sizeof out};
    forward_request_head(&whole_request, &request);
    forward_response_head(&whole_response, &response);
    for (size_t capacity = 0; capacity <= whole_request.length; capacity++) {
        struct writer w = {.at = out, .capacity = capacity};
        forward_request_head(&w, &request);
        ck_assert(writer_ok(&w) == (capacity == whole_request.length));
    }
    for (size_t capacity = 0; capacity <= whole_response.length; capacity++) {
        struct writer w = {.at = out, .capacity = capacity};
        forward_response_head(&w, &response);
        ck_assert(writer_ok(&w) == (capacity == whole_response.length));
    }
}
END_TEST

int main(void)
{
    TCase *forward = tcase_create("forward");
    tcase_add_loop_test(forward, writes_requests, 0, ROWS(requests));
    tcase_add_test(forward, a_trusted_peer_speaks_for_others);
    tcase_add_loop_test(forward, writes_offers, 0, ROWS(offers));
    tcase_add_loop_test(forward, finds_upgrades, 0, ROWS(upgrades));
    tcase_add_loop_test(forward, writes_responses, 0, ROWS(responses));
    tcase_add_test(forward, lets_trailers_and_upgrades_through);
    tcase_add_test(forward, an_overflow_shows);
    Suite *suite = suite_create("forward");
    suite_add_tcase(suite, forward);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
