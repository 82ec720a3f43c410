/* SPDX-License-Identifier: MIT
 * The server's thread behind real sockets on the loopback. Clients block, with a time limit that only a
 * broken server reaches. */
#include "healthd/admin_server.h"

#include "common/clock.h"

#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define GET_HEALTHZ "GET /admin/healthz HTTP/1.1\r\nHost: x\r\n\r\n"

static struct config config;
static struct admin_context context;
static struct admin_server *server;
static struct sockaddr_in address;

/* An answer as it came, and its parts. */
struct answer {
    char bytes[16 * 1024];
    size_t length;
    int status;
    const char *body;
};

static void give_gauges(void *owner, struct admin_gauges *gauges_)
{
    (void)owner;
    *gauges_ = (struct admin_gauges){.workers_total = 8, .ready = true};
}

/* Starts a server that asks for TOKEN, or for none when it is NULL. */
static void set_up_with(const char *token)
{
    config = (struct config){.backend_count = 1,
                             .health = {.eject_after = 10},
                             .admin = {.listen = {.host = "x"}}};
    snprintf(config.backends[0].name, sizeof config.backends[0].name, "gcp");
    struct plan *plan = plan_make(&config, NULL, 0);
    context = (struct admin_context){
        .plans = plan == NULL ? NULL : plans_new(plan, 1),
        .ledger = ledger_new(1, &(struct ledger_policy){.eject_after = 10}),
        .evidence = evidence_new(1),
        .traffic = traffic_new(1),
        .gauges = give_gauges,
        .token = token,
        .started_ns = clock_mono(),
    };
    ck_assert_ptr_nonnull(context.plans);
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(listen(fd, 256), 0);
    ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &length), 0);
    server = admin_server_start(fd, &context);
    ck_assert_ptr_nonnull(server);
}

static void set_up(void)
{
    set_up_with(NULL);
}

static void stop_server(void)
{
    admin_server_stop(server);
    server = NULL;
}

static void tear_down(void)
{
    stop_server();
    ledger_delete(context.ledger);
    evidence_delete(context.evidence);
    traffic_delete(context.traffic);
    plans_delete(context.plans);
}

/* A client's socket that is not connected yet. */
static int new_client(void)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_ge(fd, 0);
    const struct timeval limit = {.tv_sec = 20};
    const int on = 1;
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    ck_assert_int_eq(setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), 0);
    ck_assert_int_eq(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), 0);
    return fd;
}

static void connect_client(int fd)
{
    ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
}

static int connected(void)
{
    int fd = new_client();
    connect_client(fd);
    return fd;
}

static void send_bytes(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t n = send(fd, bytes, length, MSG_NOSIGNAL);
        ck_assert_msg(n > 0, "send: %s", strerror(errno));
        bytes += n;
        length -= (size_t)n;
    }
}

static void send_text(int fd, const char *text)
{
    send_bytes(fd, text, strlen(text));
}

/* Reads until the server closes; a reset fails the test. Closes FD. */
static void read_answer(int fd, struct answer *a)
{
    *a = (struct answer){.length = 0};
    for (;;) {
        ssize_t n = recv(fd, a->bytes + a->length, sizeof a->bytes - 1 - a->length, 0);
        ck_assert_msg(n >= 0, "recv: %s", strerror(errno));
        if (n == 0) {
            break;
        }
        a->length += (size_t)n;
    }
    close(fd);
    a->bytes[a->length] = '\0';
    if (a->length == 0) {
        return;
    }
    ck_assert_int_eq(strncmp(a->bytes, "HTTP/1.1 ", 9), 0);
    a->status = (int)strtol(a->bytes + 9, NULL, 10);
    ck_assert_msg(a->bytes[12] == ' ' && a->bytes[13] != '\r', "no reason phrase: %.16s", a->bytes);
    char *end = strstr(a->bytes, "\r\n\r\n");
    ck_assert_ptr_nonnull(end);
    a->body = end + 4;
}

/* Sends TEXT on a connection of its own and reads the answer. */
static void ask(const char *text, struct answer *a)
{
    int fd = connected();
    send_text(fd, text);
    read_answer(fd, a);
}

/* Sends TEXT and expects STATUS and an answer that holds PART. */
static void expect(const char *text, int status, const char *part)
{
    struct answer a;
    ask(text, &a);
    ck_assert_msg(a.status == status, "%.60s: %s", text, a.bytes);
    ck_assert_msg(strstr(a.bytes, part) != NULL, "no %s in %s", part, a.bytes);
}

START_TEST(answers_with_all_fields)
{
    struct answer a;
    ask("GET /admin/stats HTTP/1.1\r\nHost: x\r\n\r\n", &a);
    ck_assert_int_eq(a.status, 200);
    ck_assert_int_eq(strncmp(a.bytes, "HTTP/1.1 200 OK\r\n", 17), 0);
    ck_assert_ptr_nonnull(strstr(a.bytes, "\r\nContent-Type: application/json\r\n"));
    ck_assert_ptr_nonnull(strstr(a.bytes, "\r\nCache-Control: no-store\r\n"));
    ck_assert_ptr_nonnull(strstr(a.bytes, "\r\nConnection: close\r\n"));
    const char *date = strstr(a.bytes, "\r\nDate: ");
    ck_assert_ptr_nonnull(date);
    ck_assert_int_eq(strncmp(date + 8 + 25, " GMT\r\n", 6), 0);
    const char *length = strstr(a.bytes, "\r\nContent-Length: ");
    ck_assert_ptr_nonnull(length);
    ck_assert_uint_eq(strtoul(length + 18, NULL, 10), strlen(a.body));
    ck_assert_ptr_nonnull(strstr(a.body, "\"backends\""));
    ck_assert_ptr_null(strstr(a.bytes, "Allow:"));
    ck_assert_ptr_null(strstr(a.bytes, "WWW-Authenticate:"));
}
END_TEST

START_TEST(head_has_no_body)
{
    struct answer a;
    ask("HEAD /admin/healthz HTTP/1.1\r\nHost: x\r\n\r\n", &a);
    ck_assert_int_eq(a.status, 200);
    ck_assert_str_eq(a.body, "");
    const char *length = strstr(a.bytes, "\r\nContent-Length: ");
    ck_assert_ptr_nonnull(length);
    ck_assert_uint_gt(strtoul(length + 18, NULL, 10), 0);
}
END_TEST

START_TEST(fields_of_refusals)
{
    expect("DELETE /admin/stats HTTP/1.1\r\nHost: x\r\n\r\n", 405, "\r\nAllow: GET, HEAD\r\n");
    expect("CONNECT x:80 HTTP/1.1\r\nHost: x:80\r\n\r\n", 405, "\r\nAllow: GET, HEAD, POST\r\n");
    expect("GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n", 404, "known_paths");
    expect("GET /admin/stats HTTP/1.1\r\nHost: evil.test\r\n\r\n", 403, "HTTP/1.1 403 Forbidden\r\n");
}
END_TEST

START_TEST(token_over_the_wire)
{
    tear_down();
    set_up_with("s3cret");
    expect("GET /admin/stats HTTP/1.1\r\nHost: x\r\n\r\n", 401,
           "\r\nWWW-Authenticate: Bearer realm=\"holdfast\"\r\n");
    expect("GET /admin/stats HTTP/1.1\r\nHost: x\r\nAUTHORIZATION:  Bearer s3cret \r\n\r\n", 200, "backends");
    expect("GET /admin/stats HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer s3cret\r\n"
           "Authorization: Bearer s3cret\r\n\r\n",
           400, "repeated_authorization");
    expect(GET_HEALTHZ, 200, "ok");
}
END_TEST

START_TEST(forms_of_requests)
{
    expect("GET /admin/healthz HTTP/1.0\r\n\r\n", 200, "ok");
    expect("GET http://x/admin/healthz HTTP/1.1\r\nHost: x\r\n\r\n", 200, "ok");
    expect("GET http://x HTTP/1.1\r\nHost: x\r\n\r\n", 404, "unknown_path");
    expect("GET http://localhost/admin/stats HTTP/1.1\r\nHost: evil.example\r\n\r\n", 200, "backends");
    expect("GET http://evil.example/admin/stats HTTP/1.1\r\nHost: localhost\r\n\r\n", 403, "foreign_host");
    expect("\r\n" GET_HEALTHZ, 200, "ok");
    expect(GET_HEALTHZ GET_HEALTHZ, 200, "ok"); /* one request per connection: the second is dropped */
}
END_TEST

START_TEST(one_byte_at_a_time)
{
    int fd = connected();
    const char *text = "POST /admin/reset?backend=gcp HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello";
    for (size_t i = 0; i < strlen(text); i++) {
        send_bytes(fd, text + i, 1);
    }
    struct answer a;
    read_answer(fd, &a);
    ck_assert_int_eq(a.status, 200);
}
END_TEST

START_TEST(refused_heads)
{
    expect("GET /admin/stats HTTP/1.1\r\n\r\n", 400, "missing_host");
    expect("GET /admin/stats HTTP/1.1\nHost: x\n\n", 400, "bare_lf");
    expect("GET /admin/stats HTTP/2.0\r\nHost: x\r\n\r\n", 505, "\"reason\"");
    expect("\x16\x03\x01\x02 a TLS hello\r\n\r\n", 400, "\"error\"");
    expect(GET_HEALTHZ, 200, "ok"); /* and it goes on */
}
END_TEST

START_TEST(head_of_16_kib_and_more)
{
    char text[20000];
    /* Exactly 16384 bytes pass, one more does not. */
    for (size_t total = 16384; total <= 16385; total++) {
        int n = snprintf(text, sizeof text, "GET /admin/healthz HTTP/1.1\r\nHost: x\r\nX: ");
        memset(text + n, 'a', total - (size_t)n - 4);
        memcpy(text + total - 4, "\r\n\r\n", 5);
        expect(text, total == 16384 ? 200 : 431, total == 16384 ? "ok" : "head_too_long");
    }
}
END_TEST

/* Sends a POST with a body of LENGTH bytes and reads the answer. */
static void post(size_t length, struct answer *a)
{
    int fd = connected();
    char head[128];
    snprintf(head, sizeof head, "POST /admin/reset HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n",
             length);
    send_text(fd, head);
    char *body = calloc(1, length + 1);
    send_bytes(fd, body, length);
    free(body);
    read_answer(fd, a);
}

START_TEST(bodies)
{
    struct answer a;
    post(0, &a);
    ck_assert_int_eq(a.status, 200);
    post(65536, &a);
    ck_assert_int_eq(a.status, 200);
    post(65537, &a);
    ck_assert_int_eq(a.status, 413);
    post(1000000, &a);
    ck_assert_int_eq(a.status, 413);
    expect("POST /admin/reset HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411,
           "length_required");
    expect("POST /admin/reset HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n", 200,
           "backends");
}
END_TEST

START_TEST(answered_early_it_still_takes_the_rest)
{
    int fd = connected();
    send_text(fd, "POST /admin/reset HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n");
    char bytes[1024];
    size_t length = 0;
    for (ssize_t n = 1; n > 0; length += (size_t)n) {
        n = recv(fd, bytes + length, sizeof bytes - length, 0);
        ck_assert_int_ge(n, 0);
    }
    ck_assert_int_eq(strncmp(bytes, "HTTP/1.1 413 ", 13), 0);
    /* A server that had closed would answer the first piece with a reset, and the next would fail. */
    memset(bytes, 'x', sizeof bytes);
    for (int i = 0; i < 10; i++) {
        send_bytes(fd, bytes, sizeof bytes);
    }
    close(fd);
}
END_TEST

START_TEST(half_a_body_resets_nothing)
{
    struct attempt_ticket ticket;
    ck_assert(ledger_begin(context.ledger, 0, true, &ticket));
    ck_assert(!ledger_end(context.ledger, &ticket,
                          &(struct attempt_outcome){.end = ATTEMPT_RESET, .failure = true}));
    int fd = connected();
    send_text(fd, "POST /admin/reset HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhell");
    ck_assert_int_eq(shutdown(fd, SHUT_WR), 0);
    struct answer a;
    read_answer(fd, &a);
    ck_assert_uint_eq(a.length, 0); /* the request never was whole */
    struct ledger_page page;
    ledger_read(context.ledger, 0, &page);
    ck_assert_uint_eq(page.failures, 1);
}
END_TEST

START_TEST(deadlines)
{
    /* All at once, so that the test takes the 5 seconds once. */
    const mono_ns begun = clock_mono();
    int silent = connected();
    int half_head = connected();
    int half_body = connected();
    send_text(half_head, "GET /admin/healthz HTTP/1.1\r\nHost:");
    send_text(half_body, "POST /admin/reset HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhell");
    expect(GET_HEALTHZ, 200, "ok");
    struct answer a;
    read_answer(half_head, &a);
    ck_assert_int_eq(a.status, 408);
    const int64_t took_ms = (clock_mono() - begun) / NS_PER_MS;
    ck_assert_int_ge(took_ms, 4990);
    read_answer(half_body, &a);
    ck_assert_int_eq(a.status, 408);
    read_answer(silent, &a);
    ck_assert_uint_eq(a.length, 0); /* who says nothing is told nothing */
}
END_TEST

/* Descriptors that this process has open. */
static unsigned open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    ck_assert_ptr_nonnull(dir);
    unsigned count = 0;
    while (readdir(dir) != NULL) {
        count++;
    }
    closedir(dir);
    return count;
}

START_TEST(drains_for_a_second_at_most)
{
    int fd = connected();
    send_text(fd, GET_HEALTHZ);
    char bytes[1024];
    while (recv(fd, bytes, sizeof bytes, 0) > 0) {
    }
    /* The answer is read, and this side stays open. The server closes its own after a second: then bytes that
     * are sent bring a reset. */
    const mono_ns limit = deadline_after_ms(clock_mono(), 15000);
    bool closed = false;
    while (!closed && clock_mono() < limit) {
        closed = send(fd, "x", 1, MSG_NOSIGNAL) < 0;
        poll(NULL, 0, 20);
    }
    ck_assert(closed);
    close(fd);
}
END_TEST

START_TEST(stalled_connections_do_not_block_a_good_one)
{
    int stalled[100];
    for (size_t i = 0; i < 100; i++) {
        stalled[i] = connected();
        send_text(stalled[i], "GET /admin/stats HTTP/1.1\r\nHo");
    }
    const mono_ns begun = clock_mono();
    expect(GET_HEALTHZ, 200, "ok");
    ck_assert_int_lt((clock_mono() - begun) / NS_PER_MS,
                     4000); /* not by waiting for a stalled one's deadline */

    /* 101 came and 64 have a place: the oldest are gone, the youngest are still served. */
    char byte;
    for (size_t i = 0; i < 37; i++) {
        ssize_t n = recv(stalled[i], &byte, 1, 0);
        ck_assert_msg(n == 0 || (n < 0 && errno == ECONNRESET), "%zu is still open", i);
        close(stalled[i]);
    }
    struct answer a;
    send_text(stalled[99], "st: x\r\n\r\n");
    read_answer(stalled[99], &a);
    ck_assert_int_eq(a.status, 200);
    for (size_t i = 37; i < 99; i++) {
        close(stalled[i]);
    }
    expect(GET_HEALTHZ, 200, "ok");
}
END_TEST

START_TEST(stops_while_connections_are_open)
{
    int reading[10];
    for (size_t i = 0; i < 10; i++) {
        reading[i] = connected();
        send_text(reading[i], i % 2 == 0 ? "GET /admin"
                                         : "POST /admin/reset HTTP/1.1\r\nHost: x\r\n"
                                           "Content-Length: 9\r\n\r\nx");
    }
    /* One whose answer has begun to arrive and that does not close: it gets the whole of it. */
    int answered = connected();
    char byte;
    send_text(answered, "GET /admin/stats HTTP/1.1\r\nHost: x\r\n\r\n");
    ck_assert_int_eq(recv(answered, &byte, 1, MSG_PEEK), 1);

    const mono_ns begun = clock_mono();
    stop_server();
    const int64_t took_ms = (clock_mono() - begun) / NS_PER_MS;
    ck_assert_int_ge(took_ms, 95);  /* the client that does not close gets its 100 ms ... */
    ck_assert_int_lt(took_ms, 900); /* ... and not the second that it gets otherwise */
    struct answer a;
    read_answer(answered, &a);
    ck_assert_int_eq(a.status, 200);
    ck_assert_ptr_nonnull(strstr(a.body, "\"latency_ms\""));
    for (size_t i = 0; i < 10; i++) {
        ssize_t n = recv(reading[i], &byte, 1, 0);
        ck_assert(n == 0 || (n < 0 && errno == ECONNRESET));
        close(reading[i]);
    }
    int late = new_client();
    ck_assert_int_ne(connect(late, (const struct sockaddr *)&address, sizeof address), 0);
    ck_assert_int_eq(errno, ECONNREFUSED);
    close(late);
}
END_TEST

START_TEST(stop_without_a_server_or_connections)
{
    admin_server_stop(NULL);
    const unsigned before = open_descriptors();
    stop_server(); /* the listening socket and the event */
    ck_assert_uint_eq(open_descriptors(), before - 2);
}
END_TEST

static int64_t cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / NS_PER_MS;
}

START_TEST(out_of_descriptors_it_neither_spins_nor_dies)
{
    int first = new_client(), second = new_client();
    struct rlimit before, none_left;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    none_left = before;
    int lowest_free = dup(first);
    none_left.rlim_cur = (rlim_t)lowest_free;
    close(lowest_free);
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &none_left), 0);

    connect_client(first); /* the kernel accepts it; the server can't */
    connect_client(second);
    send_text(first, GET_HEALTHZ);
    send_text(second, GET_HEALTHZ);
    const int64_t cpu_before_ms = cpu_ms();
    struct pollfd answer = {.fd = first, .events = POLLIN};
    ck_assert_int_eq(poll(&answer, 1, 700), 0); /* it is not answered ... */
    ck_assert_int_lt(cpu_ms() - cpu_before_ms, 100);

    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    struct answer a; /* ... until there are descriptors again */
    read_answer(first, &a);
    ck_assert_int_eq(a.status, 200);
    read_answer(second, &a);
    ck_assert_int_eq(a.status, 200);
}
END_TEST

START_TEST(thread_has_a_name_and_takes_no_signals)
{
    char path[512], line[256];
    expect(GET_HEALTHZ, 200, "ok"); /* it runs, so it has its name */
    bool found = false;
    DIR *dir = opendir("/proc/self/task");
    for (struct dirent *entry = readdir(dir); entry != NULL; entry = readdir(dir)) {
        snprintf(path, sizeof path, "/proc/self/task/%s/status", entry->d_name);
        FILE *file = fopen(path, "r");
        bool ours = false;
        while (file != NULL && fgets(line, sizeof line, file) != NULL) {
            ours = ours || strcmp(line, "Name:\thf-admin\n") == 0;
            if (ours && strncmp(line, "SigBlk:", 7) == 0) {
                uint64_t blocked = strtoull(line + 7, NULL, 16);
                const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGPIPE};
                for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
                    ck_assert_uint_ne(blocked & UINT64_C(1) << (signals[i] - 1), 0);
                }
                found = true;
            }
        }
        if (file != NULL) {
            fclose(file);
        }
    }
    closedir(dir);
    ck_assert(found);
    sigset_t mine; /* and the thread that started it still takes them */
    ck_assert_int_eq(pthread_sigmask(SIG_SETMASK, NULL, &mine), 0);
    ck_assert_int_eq(sigismember(&mine, SIGTERM), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("admin_server");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_set_timeout(all, 60);
    tcase_add_test(all, answers_with_all_fields);
    tcase_add_test(all, head_has_no_body);
    tcase_add_test(all, fields_of_refusals);
    tcase_add_test(all, token_over_the_wire);
    tcase_add_test(all, forms_of_requests);
    tcase_add_test(all, one_byte_at_a_time);
    tcase_add_test(all, refused_heads);
    tcase_add_test(all, head_of_16_kib_and_more);
    tcase_add_test(all, bodies);
    tcase_add_test(all, answered_early_it_still_takes_the_rest);
    tcase_add_test(all, half_a_body_resets_nothing);
    tcase_add_test(all, deadlines);
    tcase_add_test(all, drains_for_a_second_at_most);
    tcase_add_test(all, stalled_connections_do_not_block_a_good_one);
    tcase_add_test(all, stops_while_connections_are_open);
    tcase_add_test(all, stop_without_a_server_or_connections);
    tcase_add_test(all, out_of_descriptors_it_neither_spins_nor_dies);
    tcase_add_test(all, thread_has_a_name_and_takes_no_signals);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
