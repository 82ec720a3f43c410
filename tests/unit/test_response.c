/* SPDX-License-Identifier: MIT
 * Responses over a socketpair. The backend is a script of bytes that are there from the beginning, or that a
 * thread sends as they are taken. With SOCK_SEQPACKET each send(2) is one recv(2), so that rows can be cut at
 * every place without waiting for anything; what recv has no room for would be lost there, so what comes
 * behind a response is tested with SOCK_STREAM. */
#include "proxy/response.h"

#include "common/http_offence.h"
#include "tests/unit/script.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HEADER_BYTES = 1024, HOLD_BYTES = 64, A_LONG_TIME_MS = 3600 * 1000 };

/* One response object for all: what is left of an earlier response must not matter. */
static struct response response;

static void make_response(void)
{
    ck_assert(response_init(&response, HEADER_BYTES, HOLD_BYTES));
}

static void release_response(void)
{
    response_release(&response);
    ck_assert_ptr_null(response.buffer);
}

static struct response_rules rules_for(const char *method)
{
    return (struct response_rules){.method = slice_of(method),
                                   .hold_bytes = HOLD_BYTES,
                                   .hold_ms = A_LONG_TIME_MS};
}

enum close { OPEN, CLOSED };

/* ---- Whole responses ---- */

static const struct {
    const char *rule;
    const char *method;
    struct slice bytes;
    enum close close; /* what the backend does behind them */
    unsigned status;
    const char *body;
    bool reusable;
} whole[] = {
    {"RFC 9112, 6.3: a length", "GET", RAW(OK_200(LENGTH_5) "hello"), OPEN, 200, "hello", true},
    {"RFC 9112, 6.3: a length, closed behind it", "GET", RAW(OK_200(LENGTH_5) "hello"), CLOSED, 200, "hello",
     true},
    {"RFC 9112, 6.3: a length of 0", "GET", RAW(OK_200("Content-Length: 0\r\n")), OPEN, 200, "", true},
    {"RFC 9112, 7.1: chunked", "GET", RAW(OK_200(CHUNKED) "5\r\nhello\r\n1;x=y\r\n!\r\n0\r\n\r\n"), OPEN, 200,
     "hello!", true},
    {"RFC 9112, 7.1: chunked, no data", "GET", RAW(OK_200(CHUNKED) "0\r\n\r\n"), OPEN, 200, "", true},
    {"RFC 9112, 7.1.2: a trailer", "GET", RAW(OK_200(CHUNKED) "2\r\nhi\r\n0\r\nDigest: x\r\n\r\n"), OPEN, 200,
     "hi", true},
    {"RFC 9112, 6.3: until the end", "GET", RAW(OK_200("") "hello"), CLOSED, 200, "hello", false},
    {"RFC 9112, 6.3: until the end, nothing", "GET", RAW(OK_200("")), CLOSED, 200, "", false},
    {"RFC 9112, 6.3: until the end, whatever Connection says", "GET",
     RAW(OK_1_0("Connection: keep-alive\r\n") "hello"), CLOSED, 200, "hello", false},
    {"RFC 9112, 9.3: HTTP/1.0 does not persist", "GET", RAW(OK_1_0(LENGTH_5) "hello"), OPEN, 200, "hello",
     false},
    {"RFC 9112, 9.3: but when it says so", "GET", RAW(OK_1_0(LENGTH_5 "Connection: keep-alive\r\n") "hello"),
     OPEN, 200, "hello", true},
    {"RFC 9112, 9.6: close", "GET", RAW(OK_200(LENGTH_5 "Connection: close\r\n") "hello"), OPEN, 200, "hello",
     false},
    {"RFC 9112, 6.3: HEAD with a length", "HEAD", RAW(OK_200(LENGTH_5)), OPEN, 200, "", true},
    {"RFC 9112, 6.3: HEAD with chunked", "HEAD", RAW(OK_200(CHUNKED)), OPEN, 200, "", true},
    {"RFC 9112, 6.3: HEAD without either", "HEAD", RAW(OK_200("")), OPEN, 200, "", true},
    {"RFC 9112, 6.3: 204", "GET", RAW("HTTP/1.1 204 No Content\r\n\r\n"), OPEN, 204, "", true},
    {"RFC 9112, 6.3: 304 with a length", "GET", RAW("HTTP/1.1 304 Not Modified\r\n" LENGTH_5 "\r\n"), OPEN,
     304, "", true},
    {"RFC 9110, 15.2: 100 is swallowed", "GET", RAW("HTTP/1.1 100 Continue\r\n\r\n" OK_200(LENGTH_5) "hello"),
     OPEN, 200, "hello", true},
    {"RFC 9110, 15.2: 1xx have no body, whatever they say", "GET",
     RAW("HTTP/1.1 102 Processing\r\n" LENGTH_5 "\r\n"
         "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 404 Not Found\r\n" LENGTH_5 "\r\nhello"),
     OPEN, 404, "hello", true},
    {"RFC 9110, 15.2: before a 204", "GET",
     RAW("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"), OPEN, 204, "", true},
    {"a failing status is no failure here", "GET", RAW("HTTP/1.1 500 Oops\r\n" LENGTH_5 "\r\nhello"), OPEN,
     500, "hello", true},
    {"an event stream that is whole at once", "GET",
     RAW(OK_200("Content-Type: text/event-stream\r\n" LENGTH_5) "hello"), OPEN, 200, "hello", true},
};

/* Receives on FD the response to a request that is sent. */
static enum response_end receive(int fd, const struct response_rules *rules)
{
    response_begin(&response, fd, NULL);
    return response_receive(&response, rules);
}

static void expect_held(int row, const char *how, enum response_end end)
{
    ck_assert_msg(end == RESPONSE_HELD, "%s: %s: end %d (%s)", whole[row].rule, how, (int)end,
                  response.offence == NULL ? "-" : response.offence->name);
    struct slice body = response_held(&response);
    bool good = response.whole && !response.excess && response.head.status == whole[row].status &&
                slice_equal(body, slice_of(whole[row].body)) &&
                response_connection_reusable(&response) == whole[row].reusable;
    ck_assert_msg(good, "%s: %s: status %u, body '%.*s', whole %d, excess %d, reusable %d", whole[row].rule,
                  how, response.head.status, (int)body.length, body.at, response.whole, response.excess,
                  response_connection_reusable(&response));
}

/* Sends BYTES on FD in two packets, cut at CUT, or in one. */
static void send_cut(int fd, struct slice bytes, size_t cut, enum close close_after)
{
    if (cut > 0) {
        script_send(fd, bytes.at, cut);
    }
    script_send(fd, bytes.at + cut, bytes.length - cut);
    if (close_after == CLOSED) {
        ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    }
}

START_TEST(receives_whole_responses)
{
    struct response_rules rules = rules_for(whole[_i].method);
    int ends[2];
    script_pair(SOCK_STREAM, ends);
    send_cut(ends[1], whole[_i].bytes, 0, whole[_i].close);
    expect_held(_i, "whole", receive(ends[0], &rules));
    ck_assert_int_eq(response.fd, ends[0]);
    response_clear(&response);
    close(ends[1]);
    for (size_t cut = 1; cut < whole[_i].bytes.length; cut++) {
        char how[32];
        /* In an event stream what has not come yet is not waited for. */
        bool streams = strstr(whole[_i].bytes.at, "text/event-stream") != NULL;
        snprintf(how, sizeof how, "cut at %zu", cut);
        script_pair(SOCK_SEQPACKET, ends);
        send_cut(ends[1], whole[_i].bytes, cut, whole[_i].close);
        enum response_end end = receive(ends[0], &rules);
        if (!streams) {
            expect_held(_i, how, end);
        }
        response_clear(&response);
        close(ends[1]);
    }
}
END_TEST

/* What a thread sends, one byte after the other, as they are taken. */
struct trickle {
    int fd;
    struct slice bytes;
    enum close close;
};

static void *send_trickle(void *argument)
{
    const struct trickle *t = argument;
    for (size_t i = 0; i < t->bytes.length; i++) {
        if (send(t->fd, t->bytes.at + i, 1, MSG_NOSIGNAL) != 1) {
            return NULL;
        }
    }
    if (t->close == CLOSED) {
        shutdown(t->fd, SHUT_WR);
    }
    return argument;
}

START_TEST(receives_whole_responses_byte_by_byte)
{
    if (strstr(whole[_i].bytes.at, "text/event-stream") != NULL) {
        return; /* streams */
    }
    struct response_rules rules = rules_for(whole[_i].method);
    int ends[2];
    pthread_t sender;
    void *sent = NULL;
    script_pair(SOCK_SEQPACKET, ends);
    struct trickle trickle = {.fd = ends[1], .bytes = whole[_i].bytes, .close = whole[_i].close};
    ck_assert_int_eq(pthread_create(&sender, NULL, send_trickle, &trickle), 0);
    enum response_end end = receive(ends[0], &rules);
    ck_assert_int_eq(pthread_join(sender, &sent), 0);
    ck_assert_ptr_nonnull(sent);
    expect_held(_i, "byte by byte", end);
    response_clear(&response);
    close(ends[1]);
}
END_TEST

START_TEST(keeps_trailers)
{
    struct response_rules rules = rules_for("GET");
    int ends[2];
    script_pair(SOCK_STREAM, ends);
    script_say(ends[1], OK_200(CHUNKED) "2\r\nhi\r\n0\r\nDigest: x\r\nA: b\r\n\r\n");
    ck_assert_int_eq(receive(ends[0], &rules), RESPONSE_HELD);
    ck_assert(slice_equal(response_trailers(&response), SLICE("Digest: x\r\nA: b\r\n")));
    response_clear(&response);
    ck_assert_uint_eq(response_trailers(&response).length, 0);
    close(ends[1]);
    script_pair(SOCK_STREAM, ends);
    script_say(ends[1], OK_200(CHUNKED) "2\r\nhi\r\n0\r\n\r\n");
    ck_assert_int_eq(receive(ends[0], &rules), RESPONSE_HELD);
    ck_assert_uint_eq(response_trailers(&response).length, 0);
    response_clear(&response);
    close(ends[1]);
}
END_TEST

/* Bytes behind the end: nobody asked for them, so the next request must not get them as its answer. */
static const struct {
    const char *method, *bytes, *body;
} excesses[] = {
    {"GET", OK_200(LENGTH_5) "hello!", "hello"},
    {"GET", OK_200(LENGTH_5) "hello" OK_200(LENGTH_5) "again", "hello"},
    {"GET", OK_200("Content-Length: 0\r\n") "x", ""},
    {"GET", OK_200(CHUNKED) "2\r\nhi\r\n0\r\n\r\nx", "hi"},
    {"HEAD", OK_200(LENGTH_5) "hello", ""},
    {"GET", "HTTP/1.1 204 No Content\r\n\r\nx", ""},
    {"GET", "HTTP/1.1 304 Not Modified\r\n" LENGTH_5 "\r\nhello", ""},
};

START_TEST(sees_excess_bytes)
{
    struct response_rules rules = rules_for(excesses[_i].method);
    int ends[2];
    script_pair(SOCK_STREAM, ends);
    script_say(ends[1], excesses[_i].bytes);
    ck_assert_int_eq(receive(ends[0], &rules), RESPONSE_HELD);
    ck_assert(response.whole && response.excess);
    ck_assert(!response_connection_reusable(&response));
    ck_assert(slice_equal(response_held(&response), slice_of(excesses[_i].body)));
    response_clear(&response);
    ck_assert(!response.excess);
    close(ends[1]);
}
END_TEST

/* ---- Responses that are not whole, or not good ---- */

#define ROW_OF_32 "Xxxxxxxx-Xxxxxx: xxxxxxxxxxxxx\r\n"
#define ROW_256   ROW_OF_32 ROW_OF_32 ROW_OF_32 ROW_OF_32 ROW_OF_32 ROW_OF_32 ROW_OF_32 ROW_OF_32

static const struct {
    const char *rule;
    struct slice bytes;
    enum response_end end;
    const struct http_offence *offence;
} failures[] = {
    /* the backend closes behind each */
    {"nothing", RAW(""), RESPONSE_EMPTY, NULL},
    {"half a status line", RAW("HTTP/1.1 2"), RESPONSE_BROKEN, NULL},
    {"half a head", RAW("HTTP/1.1 200 OK\r\nContent-Le"), RESPONSE_BROKEN, NULL},
    {"a head without its end", RAW("HTTP/1.1 200 OK\r\n" LENGTH_5), RESPONSE_BROKEN, NULL},
    {"RFC 9112, 8: no body", RAW(OK_200(LENGTH_5)), RESPONSE_BROKEN, NULL},
    {"RFC 9112, 8: half a body", RAW(OK_200(LENGTH_5) "hell"), RESPONSE_BROKEN, NULL},
    {"RFC 9112, 8: no chunk", RAW(OK_200(CHUNKED)), RESPONSE_BROKEN, NULL},
    {"RFC 9112, 8: half a chunk", RAW(OK_200(CHUNKED) "5\r\nhel"), RESPONSE_BROKEN, NULL},
    {"RFC 9112, 8: no last chunk", RAW(OK_200(CHUNKED) "5\r\nhello\r\n"), RESPONSE_BROKEN, NULL},
    {"RFC 9112, 8: half a last chunk", RAW(OK_200(CHUNKED) "5\r\nhello\r\n0\r\n"), RESPONSE_BROKEN, NULL},
    {"an interim response and nothing else", RAW("HTTP/1.1 100 Continue\r\n\r\n"), RESPONSE_BROKEN, NULL},
    {"an interim response and half a head", RAW("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200"), RESPONSE_BROKEN,
     NULL},
    {"not HTTP", RAW("SSH-2.0-OpenSSH\r\n"), RESPONSE_MALFORMED, &http_offence_bad_protocol},
    {"a bare LF", RAW("HTTP/1.1 200 OK\n\n"), RESPONSE_MALFORMED, &http_offence_bare_lf},
    {"RFC 9112, 6.3: length and coding", RAW(OK_200(LENGTH_5 CHUNKED) "hello"), RESPONSE_MALFORMED,
     &http_offence_length_with_coding},
    {"RFC 9112, 6.3: two lengths", RAW(OK_200(LENGTH_5 "Content-Length: 6\r\n") "hello"), RESPONSE_MALFORMED,
     &http_offence_repeated_content_length},
    {"RFC 9112, 6.1: coding on HTTP/1.0", RAW(OK_1_0(CHUNKED) "0\r\n\r\n"), RESPONSE_MALFORMED,
     &http_offence_coding_in_http_1_0},
    {"RFC 9112, 7.1: a bad size", RAW(OK_200(CHUNKED) "5\r\nhello\r\nx\r\n"), RESPONSE_MALFORMED,
     &http_offence_bad_chunk_size},
    {"RFC 9112, 7.1: a bad end of a chunk", RAW(OK_200(CHUNKED) "5\r\nhello0\r\n\r\n"), RESPONSE_MALFORMED,
     &http_offence_bad_chunk_end},
    {"a head over the limit", RAW("HTTP/1.1 200 OK\r\n" ROW_256 ROW_256 ROW_256 ROW_256 "\r\n"),
     RESPONSE_MALFORMED, &http_offence_head_too_long},
    {"RFC 9110, 15.2.2: an upgrade that nobody asked for",
     RAW("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"), RESPONSE_MALFORMED,
     &http_offence_unasked_upgrade},
    {"a bad final response behind an interim one", RAW("HTTP/1.1 100 Continue\r\n\r\nHTTP/2 200 OK\r\n\r\n"),
     RESPONSE_MALFORMED, NULL},
};

static void expect_failure(int row, size_t cut, enum response_end end)
{
    ck_assert_msg(end == failures[row].end, "%s, cut at %zu: end %d", failures[row].rule, cut, (int)end);
    ck_assert_msg((end == RESPONSE_MALFORMED) == (response.offence != NULL), "%s", failures[row].rule);
    ck_assert_msg(failures[row].offence == NULL || response.offence == failures[row].offence, "%s: %s",
                  failures[row].rule, response.offence == NULL ? "-" : response.offence->name);
    ck_assert_msg(!response_connection_reusable(&response), "%s", failures[row].rule);
    response_clear(&response);
    ck_assert_ptr_null(response.offence);
}

START_TEST(sees_failures)
{
    struct response_rules rules = rules_for("GET");
    size_t length = failures[_i].bytes.length;
    for (size_t cut = 0; cut < (length == 0 ? 1 : length); cut++) {
        int ends[2];
        script_pair(cut == 0 ? SOCK_STREAM : SOCK_SEQPACKET, ends);
        if (length > 0) {
            send_cut(ends[1], failures[_i].bytes, cut, CLOSED);
        }
        close(ends[1]);
        expect_failure(_i, cut, receive(ends[0], &rules));
    }
}
END_TEST

/* A socket that is closed with bytes unread is reset: recv(2) fails with ECONNRESET behind what was sent. */
START_TEST(sees_resets)
{
    static const struct {
        const char *bytes;
        enum response_end end;
    } rows[] = {
        {"", RESPONSE_EMPTY},
        {"HTTP/1.1 200 O", RESPONSE_BROKEN},
        {OK_200(LENGTH_5) "hel", RESPONSE_BROKEN},
        {OK_200(CHUNKED) "3\r\nhel\r\n", RESPONSE_BROKEN},
        {OK_200("") "hello", RESPONSE_BROKEN}, /* until the end, but that is not how an end looks */
        {OK_200(LENGTH_5) "hello", RESPONSE_HELD},
    };
    struct response_rules rules = rules_for("GET");
    for (int i = 0; i < ROWS(rows); i++) {
        int ends[2];
        script_pair(SOCK_STREAM, ends);
        script_say(ends[0], "GET / HTTP/1.1\r\n\r\n");
        if (rows[i].bytes[0] != '\0') {
            script_say(ends[1], rows[i].bytes);
        }
        close(ends[1]);
        ck_assert_msg(receive(ends[0], &rules) == rows[i].end, "%s", rows[i].bytes);
        response_clear(&response);
    }
}
END_TEST

START_TEST(interim_responses_have_an_end)
{
    for (int count = 16; count <= 17; count++) {
        struct response_rules rules = rules_for("GET");
        int ends[2];
        script_pair(SOCK_STREAM, ends);
        for (int i = 0; i < count; i++) {
            script_say(ends[1], "HTTP/1.1 102 Processing\r\n\r\n");
        }
        script_say(ends[1], OK_200(LENGTH_5) "hello");
        enum response_end end = receive(ends[0], &rules);
        ck_assert_int_eq(end, count == 16 ? RESPONSE_HELD : RESPONSE_MALFORMED);
        ck_assert(count == 16 || response.offence == &http_offence_too_many_interim);
        response_clear(&response);
        close(ends[1]);
    }
}
END_TEST

static void note_early(void *owner, const struct http_head *head)
{
    char *notes = owner;
    size_t used = strlen(notes);
    const struct http_field *field = &head->fields[0];
    snprintf(notes + used, 100 - used, "%u %.*s;", head->status, (int)field->value.length, field->value.at);
}

START_TEST(hands_early_hints_on)
{
    char notes[100] = "";
    struct response_rules rules = rules_for("GET");
    rules.early = note_early;
    rules.owner = notes;
    int ends[2];
    script_pair(SOCK_STREAM, ends);
    script_say(ends[1], "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\nA: b\r\n\r\n"
                        "HTTP/1.1 103 Early Hints\r\nLink: </c>\r\n\r\n" OK_200(LENGTH_5) "hello");
    ck_assert_int_eq(receive(ends[0], &rules), RESPONSE_HELD);
    ck_assert_str_eq(notes, "103 </a>;103 </c>;");
    ck_assert(slice_equal(response_held(&response), SLICE("hello")));
    response_clear(&response);
    close(ends[1]);
}
END_TEST

/* RFC 9110, 7.8: a 101 is an answer only where all that it switches to was offered. What follows is the
 * tunnel's. */
static const struct {
    const char *offered;
    const char *answer; /* the field line */
    bool good;
} switches[] = {
    {"websocket", "Upgrade: websocket\r\n", true},
    {"websocket", "Upgrade: WebSocket\r\n", true},
    {"a, websocket/13 , b", "Upgrade: websocket/13\r\n", true},
    {"a, b", "Upgrade: b, a\r\n", true},
    {"websocket", "Upgrade: other\r\n", false},
    {"websocket", "Upgrade: websocket, other\r\n", false},
    {"websocket", "Upgrade:\r\n", false},
    {"websocket", "", false},
    {"", "Upgrade: websocket\r\n", false},
};

START_TEST(switches_to_what_was_offered)
{
    char text[256];
    struct response_rules rules = rules_for("GET");
    rules.upgrade = slice_of(switches[_i].offered);
    int ends[2];
    script_pair(SOCK_STREAM, ends);
    snprintf(text, sizeof text, "HTTP/1.1 101 Switching Protocols\r\n%sConnection: upgrade\r\n\r\n\x81\x02hi",
             switches[_i].answer);
    script_say(ends[1], text);
    enum response_end end = receive(ends[0], &rules);
    if (switches[_i].good) {
        ck_assert_int_eq(end, RESPONSE_HELD);
        ck_assert_uint_eq(response.head.status, 101);
        ck_assert(slice_equal(response_tunnel_bytes(&response), SLICE("\x81\x02hi")));
    } else {
        ck_assert_int_eq(end, RESPONSE_MALFORMED);
        ck_assert_ptr_eq(response.offence, &http_offence_unasked_upgrade);
    }
    response_clear(&response);
    close(ends[1]);
}
END_TEST

START_TEST(clear_closes_the_connection)
{
    struct response_rules rules = rules_for("GET");
    int ends[2];
    char byte;
    script_pair(SOCK_STREAM, ends);
    script_say(ends[1], OK_200(LENGTH_5) "hello");
    ck_assert_int_eq(receive(ends[0], &rules), RESPONSE_HELD);
    response_clear(&response);
    ck_assert_int_eq(response.fd, -1);
    ck_assert_int_eq(recv(ends[1], &byte, 1, 0), 0);
    ck_assert(!response_connection_reusable(&response));
    response_clear(&response); /* twice is fine */
    close(ends[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("response");
    TCase *good = tcase_create("whole");
    tcase_add_checked_fixture(good, make_response, release_response);
    tcase_add_loop_test(good, receives_whole_responses, 0, ROWS(whole));
    tcase_add_loop_test(good, receives_whole_responses_byte_by_byte, 0, ROWS(whole));
    tcase_add_test(good, keeps_trailers);
    tcase_add_loop_test(good, sees_excess_bytes, 0, ROWS(excesses));
    tcase_add_test(good, hands_early_hints_on);
    tcase_add_loop_test(good, switches_to_what_was_offered, 0, ROWS(switches));
    tcase_add_test(good, clear_closes_the_connection);
    suite_add_tcase(suite, good);
    TCase *bad = tcase_create("failures");
    tcase_add_checked_fixture(bad, make_response, release_response);
    tcase_add_loop_test(bad, sees_failures, 0, ROWS(failures));
    tcase_add_test(bad, sees_resets);
    tcase_add_test(bad, interim_responses_have_an_end);
    suite_add_tcase(suite, bad);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
