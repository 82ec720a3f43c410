/* SPDX-License-Identifier: MIT
 * The threads that probe, against sockets of the test, which accepts and answers by itself: when the next
 * probe has come, what the last one found stands in the ledger. */
#include "healthd/probe.h"

#include "common/clock.h"

#include <check.h>
#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { RISE = 2, FALL = 2, AN_HOUR_MS = 3600000, WAIT_S = 20 };

static struct config config;
static struct ledger *ledger;
static struct probes *probes;
static struct net_addresses places[2];
static int listeners[2];
static atomic_int connect_error; /* what connect(2) fails with, by the port of backend 1; 0: as it likes */
static atomic_int connects_failed;

/* In the place of the C library's. */
int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t length)
{
    struct sockaddr_in in;
    memcpy(&in, address.__sockaddr__, sizeof in);
    if (connect_error != 0 && in.sin_port == places[1].list[0].in.sin_port) {
        errno = connect_error;
        connects_failed++;
        return -1;
    }
    return (int)syscall(SYS_connect, fd, address.__sockaddr__, length);
}

static void addresses_of(void *owner, uint32_t backend, struct net_addresses *addresses_)
{
    *addresses_ = ((struct net_addresses *)owner)[backend];
}

static void set_up(void)
{
    config = (struct config){.backend_count = 2};
    config.health.probe.interval_ms = 10;
    config.health.probe.timeout_ms = AN_HOUR_MS;
    strcpy(config.health.probe.path, "/up?x=1");
    for (int i = 0; i < 2; i++) {
        const struct timeval limit = {.tv_sec = WAIT_S};
        union net_address *a = &places[i].list[0];
        places[i].count = 1;
        *a = (union net_address){.in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
        socklen_t length = sizeof a->in;
        listeners[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(setsockopt(listeners[i], SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
        ck_assert_int_eq(bind(listeners[i], &a->base, length), 0);
        ck_assert_int_eq(listen(listeners[i], 64), 0);
        ck_assert_int_eq(getsockname(listeners[i], &a->base, &length), 0);
        strcpy(config.backends[i].name, i == 0 ? "gcp" : "azure");
        strcpy(config.backends[i].url, "http://origin.test:8000");
    }
}

static void start(bool readmit)
{
    ledger = ledger_new(2, &(struct ledger_policy){.eject_after = 0,
                                                   .readmit_by_probes = readmit,
                                                   .rise = RISE,
                                                   .fall = FALL,
                                                   .interval_ms = config.health.probe.interval_ms});
    struct plan *plan = plan_make(&config, NULL, 0);
    ck_assert_ptr_nonnull(plan);
    probes = probes_start(plan, ledger, addresses_of, places);
    plan_delete(plan);
    ck_assert_ptr_nonnull(probes);
}

static void tear_down(void)
{
    probes_stop(probes);
    ledger_delete(ledger);
    close(listeners[0]);
    close(listeners[1]);
}

/* The next probe of BACKEND, its request read whole. */
static int take_probe(int backend)
{
    char request[2048];
    size_t length = 0;
    int fd = accept(listeners[backend], NULL, NULL);
    ck_assert_int_ge(fd, 0);
    do {
        ssize_t got = recv(fd, request + length, sizeof request - 1 - length, 0);
        ck_assert_int_gt(got, 0);
        length += (size_t)got;
        request[length] = '\0';
    } while (strstr(request, "\r\n\r\n") == NULL);
    ck_assert_str_eq(request,
                     "GET /up?x=1 HTTP/1.1\r\nHost: origin.test:8000\r\nUser-Agent: "
                     "holdfast-probe/" HOLDFAST_VERSION "\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    return fd;
}

static void answer(int fd, const char *text)
{
    ck_assert_int_eq(send(fd, text, strlen(text), MSG_NOSIGNAL), (ssize_t)strlen(text));
    close(fd);
}

static enum backend_state state_of(uint32_t backend)
{
    struct ledger_page page;
    ledger_read(ledger, backend, &page);
    return page.state;
}

static void expect_state(uint32_t backend, enum backend_state state)
{
    mono_ns end = clock_mono() + WAIT_S * NS_PER_S;
    while (state_of(backend) != state) {
        ck_assert_msg(clock_mono() < end, "not %s in time", backend_state_name(state));
        poll(NULL, 0, 1);
    }
}

static const char good[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
static const char early_hints_then_good[] =
    "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.0 200 OK\r\n\r\n";
static const char *const bad[] = {
    "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 204 None\r\n\r\n",
    "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-",
    "\x16\x03\x01 this is not HTTP\r\n\r\n",
    "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 500 No\r\n\r\n",
    "",
};

START_TEST(answers_that_are_not_200_take_it_down_and_200_brings_it_back)
{
    start(false);
    for (int i = 0; i < FALL; i++) {
        answer(take_probe(0), bad[_i]);
    }
    int fd = take_probe(0); /* so the others have been judged */
    ck_assert_int_eq(state_of(0), BACKEND_DOWN);
    ck_assert(!ledger_is_dead(ledger, 0));
    ck_assert_int_eq(state_of(1), BACKEND_UP); /* its first probe still hangs: nobody waits for it */
    answer(fd, good);
    fd = take_probe(0);
    ck_assert_int_eq(state_of(0), BACKEND_DOWN);
    answer(fd, early_hints_then_good);
    close(take_probe(0));
    ck_assert_int_eq(state_of(0), BACKEND_UP);
}
END_TEST

START_TEST(an_endless_head_is_bad)
{
    static char line[4096];
    memset(line, 'x', sizeof line);
    memcpy(line, "X: ", 3);
    memcpy(line + sizeof line - 2, "\r\n", 2);
    start(false);
    for (int i = 0; i < FALL; i++) {
        int fd = take_probe(0);
        ck_assert_int_gt(send(fd, "HTTP/1.1 200 OK\r\n", 17, MSG_NOSIGNAL), 0);
        while (send(fd, line, sizeof line, MSG_NOSIGNAL) > 0) {
            continue; /* until the prober has had enough */
        }
        close(fd);
    }
    expect_state(0, BACKEND_DOWN);
}
END_TEST

START_TEST(silence_is_bad)
{
    config.health.probe.timeout_ms = 20;
    start(false);
    expect_state(0, BACKEND_DOWN);
    ck_assert(ledger_is_dead(ledger, 0));
}
END_TEST

START_TEST(refusal_is_bad)
{
    close(listeners[1]);
    listeners[1] = -1;
    start(false);
    expect_state(1, BACKEND_DOWN);
    ck_assert(!ledger_is_dead(ledger, 1)); /* it may finish what it has begun */
    ck_assert_int_eq(state_of(0), BACKEND_UP);
}
END_TEST

static const struct {
    int error;
    enum backend_state state;
    bool dead; /* so that nobody waits for it any more */
} failures[] = {
    {ETIMEDOUT, BACKEND_DOWN, true},    {EHOSTUNREACH, BACKEND_DOWN, true},
    {EHOSTDOWN, BACKEND_DOWN, true},    {ENETUNREACH, BACKEND_DOWN, true},
    {ENETDOWN, BACKEND_DOWN, true},     {ECONNREFUSED, BACKEND_DOWN, false},
    {ECONNRESET, BACKEND_DOWN, false},  {EACCES, BACKEND_DOWN, false},
    {EADDRNOTAVAIL, BACKEND_UP, false}, {ENOBUFS, BACKEND_UP, false},
};

START_TEST(a_failing_connect_tells_of_the_backend_or_of_us)
{
    mono_ns end = clock_mono() + WAIT_S * NS_PER_S;
    connect_error = failures[_i].error;
    start(false);
    while (connects_failed < FALL + 2) { /* so FALL have been judged, and one more */
        ck_assert_msg(clock_mono() < end, "it is not probed");
        poll(NULL, 0, 1);
    }
    ck_assert_int_eq(state_of(1), failures[_i].state);
    ck_assert_int_eq(ledger_is_dead(ledger, 1), failures[_i].dead);
}
END_TEST

START_TEST(another_address_of_the_name_will_do)
{
    places[0].count = 2;
    places[0].list[1] = places[0].list[0];
    places[0].list[0].in.sin_port = htons(1); /* refuses */
    start(false);
    for (int i = 0; i <= FALL; i++) {
        answer(take_probe(0), good);
    }
    close(take_probe(0));
    ck_assert_int_eq(state_of(0), BACKEND_UP);
}
END_TEST

/* A listener that never accepts and whose queue is full: SYNs to it are dropped, as by a machine that is
 * gone. */
static int make_black_hole(union net_address *a_)
{
    socklen_t length = sizeof a_->in;
    *a_ = (union net_address){.in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)}};
    int hole = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(hole, &a_->base, length), 0);
    ck_assert_int_eq(listen(hole, 0), 0);
    ck_assert_int_eq(getsockname(hole, &a_->base, &length), 0);
    for (int i = 0; i < 16; i++) {
        if (net_connect(a_, deadline_after_ms(clock_mono(), 50)) == -1) {
            return hole;
        }
    }
    ck_abort_msg("a backlog of 0 takes 16 connections");
    return -1;
}

/* With its half of the time. */
START_TEST(a_silent_address_leaves_time_for_the_next)
{
    places[0].count = 2;
    places[0].list[1] = places[0].list[0];
    int hole = make_black_hole(&places[0].list[0]);
    config.health.probe.timeout_ms = 2000;
    start(false);
    for (int i = 0; i < FALL; i++) {
        answer(take_probe(0), good);
    }
    close(take_probe(0));
    ck_assert_int_eq(state_of(0), BACKEND_UP);
    close(hole);
}
END_TEST

START_TEST(a_connection_readmits_where_there_is_no_path)
{
    struct attempt_ticket ticket;
    config.health.probe.path[0] = '\0';
    ck_assert(!probes_wanted(&config));
    config.health.readmit = CONFIG_READMIT_PROBE;
    ck_assert(probes_wanted(&config));
    start(true);
    ck_assert(ledger_begin(ledger, 0, true, &ticket));
    ck_assert(
        ledger_end(ledger, &ticket, &(struct attempt_outcome){.end = ATTEMPT_CONNECT, .failure = true}));
    expect_state(0, BACKEND_UP);
    char byte;
    int fd = accept(listeners[0], NULL, NULL);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(recv(fd, &byte, 1, 0), 0); /* nothing was asked on it */
    close(fd);
}
END_TEST

START_TEST(stop_waits_for_nothing)
{
    config.health.probe.interval_ms = AN_HOUR_MS;
    config.health.readmit = CONFIG_READMIT_PROBE;
    start(true);
    answer(take_probe(0), good); /* this thread goes on to wait for an hour, or soon will */
    int fd = take_probe(1);      /* this one waits for an answer */
    mono_ns begun = clock_mono();
    probes_stop(probes);
    probes = NULL;
    ck_assert_int_lt(clock_mono() - begun, WAIT_S * NS_PER_S);
    ck_assert_int_eq(state_of(1), BACKEND_UP);
    close(fd);
}
END_TEST

START_TEST(a_change_touches_only_what_it_is_about)
{
    start(false);
    int waiting = take_probe(1); /* is to be judged, whatever becomes of the other one */
    close(take_probe(0));
    struct plan *same = plan_make(&config, NULL, 0);
    ck_assert(probes_change(probes, same));
    plan_delete(same);
    answer(waiting, good); /* it was not cut */
    config.backend_count = 1;
    struct plan *fewer = plan_make(&config, NULL, 0);
    ck_assert(probes_change(probes, fewer)); /* ends the thread of the second */
    plan_delete(fewer);
    int fd = take_probe(0);
    config.health.probe.path[0] = '\0';
    struct plan *none = plan_make(&config, NULL, 0);
    ck_assert(probes_change(probes, none));
    plan_delete(none);
    char byte;
    ck_assert_int_eq(recv(fd, &byte, 1, 0), 0); /* its thread is gone */
    close(fd);
}
END_TEST

START_TEST(without_descriptors_nobody_is_to_blame)
{
    config.health.probe.path[0] = '\0';
    config.health.readmit = CONFIG_READMIT_PROBE;
    struct rlimit before, few;
    start(false);
    close(accept(listeners[0], NULL, NULL));
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    few = before;
    few.rlim_cur = 3;
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &few), 0);
    poll(NULL, 0, 200); /* time is the subject: some 20 probes that can't be made */
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
    ck_assert_int_eq(state_of(0), BACKEND_UP);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("probe");
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, answers_that_are_not_200_take_it_down_and_200_brings_it_back, 0,
                        sizeof bad / sizeof bad[0]);
    tcase_add_test(tests, an_endless_head_is_bad);
    tcase_add_test(tests, silence_is_bad);
    tcase_add_test(tests, refusal_is_bad);
    tcase_add_loop_test(tests, a_failing_connect_tells_of_the_backend_or_of_us, 0,
                        sizeof failures / sizeof failures[0]);
    tcase_add_test(tests, another_address_of_the_name_will_do);
    tcase_add_test(tests, a_silent_address_leaves_time_for_the_next);
    tcase_add_test(tests, a_connection_readmits_where_there_is_no_path);
    tcase_add_test(tests, stop_waits_for_nothing);
    tcase_add_test(tests, a_change_touches_only_what_it_is_about);
    tcase_add_test(tests, without_descriptors_nobody_is_to_blame);
    Suite *suite = suite_create("probe");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
