/* SPDX-License-Identifier: MIT
 * The rule of how long a response is held back, and streaming behind it. */
#include "proxy/response.h"

#include "tests/unit/script.h"

#include <check.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>

enum { HEADER_BYTES = 1024, HOLD_BYTES = 64, A_LONG_TIME_MS = 3600 * 1000 };

/* Receives on FD the response to a request that is sent. */
static enum response_end receive(struct response *r, int fd, const struct response_rules *rules)
{
    response_begin(r, fd, NULL);
    return response_receive(r, rules);
}

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

/* Reads the rest of the stream and appends it to what is held, into *BODY_, NUL-terminated. */
static enum response_end read_stream(char *body_, size_t room)
{
    struct slice piece = response_held(&response);
    enum response_end end = RESPONSE_STREAM;
    size_t used = 0;
    for (;;) {
        ck_assert_uint_lt(used + piece.length, room);
        memcpy(body_ + used, piece.at, piece.length);
        used += piece.length;
        body_[used] = '\0';
        if (response.whole) {
            return end;
        }
        end = response_next_piece(&response, &piece);
        if (end != RESPONSE_STREAM) {
            return end;
        }
    }
}

#define TEN     "0123456789"
#define SIXTY_4 TEN TEN TEN TEN TEN TEN "0123"

static const struct {
    const char *rule;
    const char *first;  /* there when the response is received */
    const char *second; /* comes when it streams */
    enum close close;
    bool streams;          /* FIRST is not held until all is there */
    enum response_end end; /* of the whole */
    const char *body;
    bool reusable;
} holds[] = {
    {"a length that fits is held", OK_200("Content-Length: 64\r\n") SIXTY_4, "", OPEN, false, RESPONSE_HELD,
     SIXTY_4, true},
    {"a length that does not fit streams", OK_200("Content-Length: 65\r\n") "0", SIXTY_4, OPEN, true,
     RESPONSE_STREAM, "0" SIXTY_4, true},
    {"a length that does not fit, nothing yet", OK_200("Content-Length: 65\r\n"), "0" SIXTY_4, OPEN, true,
     RESPONSE_STREAM, "0" SIXTY_4, true},
    {"and is cut", OK_200("Content-Length: 65\r\n") "0", TEN, CLOSED, true, RESPONSE_BROKEN, "0" TEN, false},
    {"chunked that fits is held", OK_200(CHUNKED) "a\r\n" TEN "\r\n0\r\n\r\n", "", OPEN, false, RESPONSE_HELD,
     TEN, true},
    {"chunked that is over streams", OK_200(CHUNKED) "40\r\n" SIXTY_4 "\r\n", "2\r\nhi\r\n0\r\n\r\n", OPEN,
     true, RESPONSE_STREAM, SIXTY_4 "hi", true},
    {"chunked, cut in mid-chunk", OK_200(CHUNKED) "42\r\n" SIXTY_4, "hi\r\n0\r\n\r\n", OPEN, true,
     RESPONSE_STREAM, SIXTY_4 "hi", true},
    {"chunked, the last piece is empty", OK_200(CHUNKED) "40\r\n" SIXTY_4 "\r\n", "0\r\n\r\n", OPEN, true,
     RESPONSE_STREAM, SIXTY_4, true},
    {"chunked, excess behind the stream", OK_200(CHUNKED) "40\r\n" SIXTY_4 "\r\n", "0\r\n\r\nx", OPEN, true,
     RESPONSE_STREAM, SIXTY_4, false},
    {"chunked, turns bad in mid-stream", OK_200(CHUNKED) "40\r\n" SIXTY_4 "\r\n", "zz\r\n", OPEN, true,
     RESPONSE_MALFORMED, SIXTY_4, false},
    {"chunked, ends in mid-stream", OK_200(CHUNKED) "40\r\n" SIXTY_4 "\r\n", "5\r\nhe", CLOSED, true,
     RESPONSE_BROKEN, SIXTY_4 "he", false},
    {"until the end, fits", OK_200("") TEN, "", CLOSED, false, RESPONSE_HELD, TEN, false},
    {"until the end, over", OK_200("") SIXTY_4, TEN, CLOSED, true, RESPONSE_STREAM, SIXTY_4 TEN, false},
};

START_TEST(keeps_the_hold_rule)
{
    char body[256];
    struct response_rules rules = rules_for("GET");
    int ends[2];
    script_pair(SOCK_STREAM, ends);
    script_say(ends[1], holds[_i].first);
    if (!holds[_i].streams && holds[_i].close == CLOSED) {
        shutdown(ends[1], SHUT_WR);
    }
    enum response_end end = receive(&response, ends[0], &rules);
    ck_assert_msg(end == (holds[_i].streams ? RESPONSE_STREAM : RESPONSE_HELD), "%s: %d", holds[_i].rule,
                  (int)end);
    ck_assert(response.whole == !holds[_i].streams);
    if (holds[_i].streams) {
        script_say(ends[1], holds[_i].second);
        if (holds[_i].close == CLOSED) {
            shutdown(ends[1], SHUT_WR);
        }
        end = read_stream(body, sizeof body);
    } else {
        struct slice held = response_held(&response);
        memcpy(body, held.at, held.length);
        body[held.length] = '\0';
    }
    ck_assert_msg(end == holds[_i].end, "%s: %d", holds[_i].rule, (int)end);
    ck_assert_msg(strcmp(body, holds[_i].body) == 0, "%s: %s", holds[_i].rule, body);
    ck_assert(response.whole == (end == RESPONSE_HELD || end == RESPONSE_STREAM));
    ck_assert_msg(response_connection_reusable(&response) == holds[_i].reusable, "%s", holds[_i].rule);
    response_clear(&response);
    close(ends[1]);
}
END_TEST

/* Trailers of a stream stand until the response is cleared. */
START_TEST(a_stream_keeps_its_trailers)
{
    struct response_rules rules = rules_for("GET");
    int ends[2];
    script_pair(SOCK_STREAM, ends);
    script_say(ends[1], OK_200(CHUNKED) "40\r\n" SIXTY_4 "\r\n");
    ck_assert_int_eq(receive(&response, ends[0], &rules), RESPONSE_STREAM);
    ck_assert_uint_eq(response_trailers(&response).length, 0);
    script_say(ends[1], "0\r\nDigest: x\r\n");
    struct slice piece;
    ck_assert_int_eq(response_next_piece(&response, &piece), RESPONSE_STREAM);
    ck_assert_uint_eq(response_trailers(&response).length, 0); /* not all of them */
    script_say(ends[1], "\r\n");
    ck_assert_int_eq(response_next_piece(&response, &piece), RESPONSE_STREAM);
    ck_assert(response.whole);
    ck_assert(slice_equal(response_trailers(&response), SLICE("Digest: x\r\n")));
    response_clear(&response);
    close(ends[1]);
}
END_TEST

/* A body of unknown length whose source falls silent: what there is goes on after hold_ms. */
START_TEST(an_unknown_length_is_held_for_hold_ms)
{
    static const char *const silent[] = {
        OK_200(""),
        OK_200("") "hello",
        OK_200(CHUNKED),
        OK_200(CHUNKED) "5\r\nhello\r\n",
        OK_200(CHUNKED) "5\r\nhello\r\n0\r\n",
    };
    for (int i = 0; i < ROWS(silent); i++) {
        struct response_rules rules = rules_for("GET");
        rules.hold_ms = 60;
        int ends[2];
        script_pair(SOCK_STREAM, ends);
        script_say(ends[1], silent[i]);
        mono_ns begun = clock_mono();
        ck_assert_int_eq(receive(&response, ends[0], &rules), RESPONSE_STREAM);
        ck_assert_int_ge(clock_mono() - begun, 60 * NS_PER_MS);
        ck_assert(!response.whole);
        ck_assert(slice_equal(response_held(&response),
                              strstr(silent[i], "hello") != NULL ? SLICE("hello") : SLICE("")));
        response_clear(&response);
        close(ends[1]);
    }
}
END_TEST

/* Sends bytes as they are taken, without end, until the other side is closed. */
static void *dribble(void *argument)
{
    int fd = *(int *)argument;
    while (send(fd, "x", 1, MSG_NOSIGNAL) == 1) {
        int unread = 1;
        while (unread > 0 && ioctl(fd, TIOCOUTQ, &unread) == 0) {
            sched_yield();
        }
    }
    return NULL;
}

/* hold_ms counts from the head: a source that goes on and on does not put it off. If it did, HOLD bytes would
 * come. */
START_TEST(a_trickle_does_not_extend_hold_ms)
{
    enum { MUCH = 64 << 20 };
    struct response r;
    ck_assert(response_init(&r, HEADER_BYTES, MUCH));
    struct response_rules rules = {.method = SLICE("GET"), .hold_bytes = MUCH, .hold_ms = 60};
    int ends[2];
    pthread_t source;
    script_pair(SOCK_STREAM, ends);
    script_say(ends[1], OK_200(""));
    ck_assert_int_eq(pthread_create(&source, NULL, dribble, &ends[1]), 0);
    ck_assert_int_eq(receive(&r, ends[0], &rules), RESPONSE_STREAM);
    ck_assert_uint_lt(r.body_bytes, MUCH);
    response_release(&r);
    ck_assert_int_eq(pthread_join(source, NULL), 0);
    close(ends[1]);
}
END_TEST

/* With hold_ms of an hour, only the rule for event streams can end the wait. */
START_TEST(event_streams_are_not_held)
{
    static const char *const streams[] = {
        OK_200("Content-Type: text/event-stream\r\n") "data: 1\n\n",
        OK_200("Content-Type: Text/Event-Stream; charset=utf-8\r\n" CHUNKED) "9\r\ndata: 1\n\n\r\n",
        OK_200("Content-Type: text/event-stream\r\nContent-Length: 50\r\n") "data: 1\n\n",
    };
    for (int i = 0; i < ROWS(streams); i++) {
        struct response_rules rules = rules_for("GET");
        int ends[2];
        script_pair(SOCK_STREAM, ends);
        script_say(ends[1], streams[i]);
        ck_assert_int_eq(receive(&response, ends[0], &rules), RESPONSE_STREAM);
        ck_assert(slice_equal(response_held(&response), SLICE("data: 1\n\n")));
        response_clear(&response);
        close(ends[1]);
    }
}
END_TEST

START_TEST(nothing_is_held_when_nothing_may_be)
{
    struct response r;
    ck_assert(response_init(&r, HEADER_BYTES, 0));
    static const char *const bytes[] = {OK_200(LENGTH_5), OK_200(CHUNKED), OK_200("")};
    for (int i = 0; i < ROWS(bytes); i++) {
        struct response_rules rules = {.method = SLICE("GET"), .hold_bytes = 0, .hold_ms = A_LONG_TIME_MS};
        int ends[2];
        script_pair(SOCK_STREAM, ends);
        script_say(ends[1], bytes[i]);
        ck_assert_int_eq(receive(&r, ends[0], &rules), RESPONSE_STREAM);
        response_clear(&r);
        close(ends[1]);
    }
    response_release(&r);
}
END_TEST

/* 8 MiB through a buffer of a few hundred bytes, in each framing, from a thread. */
enum { FLOOD_BYTES = 8 << 20, FLOOD_CHUNK = 10007 };

struct flood {
    int fd;
    bool chunked;
    const char *head;
};

static char flood_byte(size_t at)
{
    return (char)(at * 13 + (at >> 9));
}

static void *send_flood(void *argument)
{
    const struct flood *f = argument;
    static char piece[FLOOD_CHUNK + 64];
    bool good = send(f->fd, f->head, strlen(f->head), MSG_NOSIGNAL) > 0;
    for (size_t at = 0; at < FLOOD_BYTES && good;) {
        size_t count = FLOOD_BYTES - at < FLOOD_CHUNK ? FLOOD_BYTES - at : FLOOD_CHUNK;
        size_t used = f->chunked ? (size_t)sprintf(piece, "%zx\r\n", count) : 0;
        for (size_t i = 0; i < count; i++) {
            piece[used++] = flood_byte(at++);
        }
        used += f->chunked ? (size_t)sprintf(piece + used, "\r\n") : 0;
        good = send(f->fd, piece, used, MSG_NOSIGNAL) == (ssize_t)used;
    }
    good = good && (!f->chunked || send(f->fd, "0\r\n\r\n", 5, MSG_NOSIGNAL) == 5);
    shutdown(f->fd, SHUT_WR);
    return good ? argument : NULL;
}

START_TEST(streams_a_flood)
{
    static const struct {
        const char *head;
        bool chunked;
    } rows[] = {{OK_200("Content-Length: 8388608\r\n"), false}, {OK_200(CHUNKED), true}, {OK_200(""), false}};
    struct response_rules rules = rules_for("GET");
    int ends[2];
    pthread_t sender;
    void *sent = NULL;
    script_pair(SOCK_STREAM, ends);
    struct flood flood = {.fd = ends[1], .chunked = rows[_i].chunked, .head = rows[_i].head};
    ck_assert_int_eq(pthread_create(&sender, NULL, send_flood, &flood), 0);
    ck_assert_int_eq(receive(&response, ends[0], &rules), RESPONSE_STREAM);
    struct slice piece = response_held(&response);
    size_t at = 0;
    for (;;) {
        for (size_t i = 0; i < piece.length; i++, at++) {
            if (piece.at[i] != flood_byte(at)) {
                ck_abort_msg("byte %zu", at);
            }
        }
        if (response.whole) {
            break;
        }
        if (response_next_piece(&response, &piece) != RESPONSE_STREAM) {
            ck_abort_msg("broken at %zu", at);
        }
    }
    ck_assert_uint_eq(at, FLOOD_BYTES);
    ck_assert_int_eq(pthread_join(sender, &sent), 0);
    ck_assert_ptr_nonnull(sent);
    response_clear(&response);
    close(ends[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("response_hold");
    TCase *hold = tcase_create("hold");
    tcase_add_checked_fixture(hold, make_response, release_response);
    tcase_add_loop_test(hold, keeps_the_hold_rule, 0, ROWS(holds));
    tcase_add_test(hold, a_stream_keeps_its_trailers);
    tcase_add_test(hold, an_unknown_length_is_held_for_hold_ms);
    tcase_add_test(hold, a_trickle_does_not_extend_hold_ms);
    tcase_add_test(hold, event_streams_are_not_held);
    tcase_add_test(hold, nothing_is_held_when_nothing_may_be);
    tcase_add_loop_test(hold, streams_a_flood, 0, 3);
    suite_add_tcase(suite, hold);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
