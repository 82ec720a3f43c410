/* SPDX-License-Identifier: MIT
 * Sockets, on the loopback interface only. What needs time is bounded from below by the deadline asked for
 * and from above generously, for busy machines: the kernel itself gives up on a connect after minutes. */
#include "common/net.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

enum { LONGEST_MS = 5000 };

static struct config_address address_of(const char *host, uint16_t port)
{
    struct config_address address = {.port = port};
    snprintf(address.host, sizeof address.host, "%s", host);
    return address;
}

static int listen_on(const char *host, uint16_t port)
{
    struct config_address address = address_of(host, port);
    const char *why = "";
    int fd = net_listen(&address, 16, &why);
    ck_assert_msg(fd != -1, "%s port %u: %s: %s", host, port, why, strerror(errno));
    return fd;
}

static union net_address numeric(const char *host, uint16_t port)
{
    union net_address a = {.in = {.sin_family = AF_INET, .sin_port = htons(port)}};
    if (inet_pton(AF_INET, host, &a.in.sin_addr) != 1) {
        a = (union net_address){.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
        ck_assert_int_eq(inet_pton(AF_INET6, host, &a.in6.sin6_addr), 1);
    }
    return a;
}

static mono_ns in_ms(int64_t ms)
{
    return deadline_after_ms(clock_mono(), ms);
}

/* Connects to HOST; -1 with errno. */
static int connect_to(const char *host, uint16_t port)
{
    union net_address a = numeric(host, port);
    return net_connect(&a, in_ms(5000));
}

static bool has_ipv6(void)
{
    union net_address a = numeric("::1", 0);
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool has = fd != -1 && bind(fd, &a.base, sizeof a.in6) == 0;
    close(fd);
    return has;
}

/* ---- Listening ---- */

START_TEST(a_listener_never_waits_and_is_not_inherited)
{
    int fd = listen_on("127.0.0.1", 0);
    ck_assert_int_ne(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(accept(fd, NULL, NULL), -1);
    ck_assert_int_eq(errno, EAGAIN);
    ck_assert_uint_ne(net_local_port(fd), 0);
    close(fd);
}
END_TEST

/* Asserts that HOST reaches LISTENER and shows up there as IP. */
static void expect_reached(int listener, const char *host, const char *ip)
{
    union net_address peer;
    socklen_t size = sizeof peer;
    char text[NET_TEXT_BYTES];
    int fd = connect_to(host, net_local_port(listener));
    ck_assert_msg(fd != -1, "%s: %s", host, strerror(errno));
    int accepted = accept(listener, &peer.base, &size);
    ck_assert_int_ne(accepted, -1);
    net_format_ip(&peer, text);
    ck_assert_str_eq(text, ip);
    close(accepted);
    close(fd);
}

START_TEST(no_host_means_both_families)
{
    int fd = listen_on("", 0);
    expect_reached(fd, "127.0.0.1", "127.0.0.1");
    if (has_ipv6()) {
        expect_reached(fd, "::1", "::1");
    }
    close(fd);
}
END_TEST

/* A socket that is bound and does not listen keeps its port from everybody else, and refuses. -1 when it is
 * taken. */
static int bind_only(const char *host, uint16_t port)
{
    union net_address a = numeric(host, port);
    int fd = socket(a.base.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, &a.base, net_address_length(&a)) != 0) {
        close(fd);
        return -1;
    }
    return fd;
}

START_TEST(a_host_means_that_address_alone)
{
    int fd = listen_on("127.0.0.1", 0);
    uint16_t port = net_local_port(fd);
    expect_reached(fd, "127.0.0.1", "127.0.0.1");
    ck_assert_int_eq(connect_to("127.0.0.2", port), -1);
    ck_assert_int_eq(errno, ECONNREFUSED);
    close(fd);
    if (has_ipv6()) {
        fd = listen_on("::1", 0);
        expect_reached(fd, "::1", "::1");
        close(fd);
        /* "::" as it stands means IPv6, and not IPv4 too: that port is free for somebody else, who is deaf.
         */
        int deaf = -1;
        for (int i = 0; i < 50 && deaf == -1; i++) {
            fd = listen_on("::", 0);
            deaf = bind_only("127.0.0.1", net_local_port(fd));
        }
        ck_assert_int_ne(deaf, -1);
        ck_assert_int_eq(connect_to("127.0.0.1", net_local_port(fd)), -1);
        ck_assert_int_eq(errno, ECONNREFUSED);
        close(deaf);
        close(fd);
    }
}
END_TEST

START_TEST(a_port_in_use)
{
    static const char *const hosts[] = {"127.0.0.1", ""};
    for (int i = 0; i < ROWS(hosts); i++) {
        int fd = listen_on(hosts[i], 0);
        struct config_address address = address_of(hosts[i], net_local_port(fd));
        const char *why = NULL;
        int first_free = dup(fd);
        close(first_free);
        ck_assert_int_eq(net_listen(&address, 1, &why), -1);
        ck_assert_int_eq(errno, EADDRINUSE);
        ck_assert_str_eq(why, "bind");
        int free_now = dup(fd);
        ck_assert_int_eq(free_now, first_free); /* no descriptor is lost */
        close(free_now);
        close(fd);
    }
}
END_TEST

/* SO_REUSEADDR: a restart while old connections linger. */
START_TEST(a_port_can_be_taken_again_at_once)
{
    int fd = listen_on("127.0.0.1", 0);
    uint16_t port = net_local_port(fd);
    int client = connect_to("127.0.0.1", port);
    int accepted = accept(fd, NULL, NULL);
    ck_assert_int_ne(accepted, -1);
    close(accepted); /* the listening side closes first: it is the one in TIME_WAIT */
    close(client);
    close(fd);
    close(listen_on("127.0.0.1", port));
}
END_TEST

START_TEST(ports)
{
    int unbound = socket(AF_INET, SOCK_STREAM, 0);
    ck_assert_uint_eq(net_local_port(-1), 0);
    ck_assert_uint_eq(net_local_port(unbound), 0);
    close(unbound);
    int fd = listen_on("", 0);
    union net_address a;
    socklen_t size = sizeof a;
    ck_assert_int_eq(getsockname(fd, &a.base, &size), 0);
    uint16_t port = a.base.sa_family == AF_INET6 ? a.in6.sin6_port : a.in.sin_port;
    ck_assert_uint_eq(net_local_port(fd), ntohs(port));
    close(fd);
}
END_TEST

/* ---- Connecting ---- */

START_TEST(a_connection_waits_and_is_not_inherited)
{
    int listener = listen_on("127.0.0.1", 0);
    int fd = connect_to("127.0.0.1", net_local_port(listener));
    int on = 0;
    socklen_t size = sizeof on;
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &size), 0);
    ck_assert_int_ne(on, 0);
    close(fd);
    close(listener);
}
END_TEST

START_TEST(a_refused_connection)
{
    int deaf = bind_only("127.0.0.1", 0);
    int first_free = dup(deaf);
    close(first_free);
    ck_assert_int_eq(connect_to("127.0.0.1", net_local_port(deaf)), -1);
    ck_assert_int_eq(errno, ECONNREFUSED);
    int free_now = dup(deaf);
    ck_assert_int_eq(free_now, first_free);
    close(free_now);
    close(deaf);
}
END_TEST

/* A listener that never accepts and whose queue is full: SYNs to it are dropped, as by a machine that is
 * gone. *A_ is its address. */
static int black_hole(union net_address *a_)
{
    struct config_address address = address_of("127.0.0.1", 0);
    const char *why;
    int fd = net_listen(&address, 0, &why);
    ck_assert_int_ne(fd, -1);
    *a_ = numeric("127.0.0.1", net_local_port(fd));
    for (int i = 0; i < 16; i++) {
        if (net_connect(a_, in_ms(50)) == -1) { /* those that connect stay open until the process ends */
            ck_assert_int_eq(errno, ETIMEDOUT);
            return fd;
        }
    }
    ck_abort_msg("a backlog of 0 takes 16 connections");
    return -1;
}

START_TEST(a_deadline_is_hard)
{
    union net_address a;
    int hole = black_hole(&a);
    mono_ns begun = clock_mono();
    ck_assert_int_eq(net_connect(&a, deadline_after_ms(begun, 150)), -1);
    ck_assert_int_eq(errno, ETIMEDOUT);
    mono_ns taken = clock_mono() - begun;
    ck_assert_int_ge(taken, 150 * NS_PER_MS);
    ck_assert_int_lt(taken, LONGEST_MS * NS_PER_MS);

    begun = clock_mono();
    ck_assert_int_eq(net_connect(&a, begun - 1), -1); /* passed already */
    ck_assert_int_eq(errno, ETIMEDOUT);
    ck_assert_int_lt(clock_mono() - begun, LONGEST_MS * NS_PER_MS);
    close(hole);
}
END_TEST

/* ---- Signals: none of these calls ends early because of one ---- */

static _Atomic int signals_seen;
enum { LATE = 5 }; /* so many must have come before the other side does something */

static void see_signal(int number)
{
    (void)number;
    signals_seen++;
}

/* From now on a signal comes each millisecond, and interrupts system calls. */
static timer_t start_signals(void)
{
    struct sigaction action = {.sa_handler = see_signal};
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    struct itimerspec each_ms = {.it_interval = {.tv_nsec = NS_PER_MS}, .it_value = {.tv_nsec = NS_PER_MS}};
    timer_t timer;
    ck_assert_int_eq(sigaction(SIGUSR1, &action, NULL), 0);
    ck_assert_int_eq(timer_create(CLOCK_MONOTONIC, &event, &timer), 0);
    ck_assert_int_eq(timer_settime(timer, 0, &each_ms, NULL), 0);
    return timer;
}

START_TEST(a_deadline_holds_under_signals)
{
    union net_address a;
    int hole = black_hole(&a);
    timer_t timer = start_signals();
    mono_ns begun = clock_mono();
    ck_assert_int_eq(net_connect(&a, deadline_after_ms(begun, 150)), -1);
    int failure = errno;
    mono_ns taken = clock_mono() - begun;
    timer_delete(timer);
    ck_assert_int_eq(failure, ETIMEDOUT);
    ck_assert_int_gt(signals_seen, 3);
    ck_assert_int_ge(taken, 150 * NS_PER_MS);
    ck_assert_int_lt(taken, LONGEST_MS * NS_PER_MS);
    close(hole);
}
END_TEST

enum { FLOOD_BYTES = 4 << 20 };

/* Waits until signals have come while the other side is blocked, then writes a byte to *ARGUMENT. The signals
 * go to the thread that started them. */
static void *write_late(void *argument)
{
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    while (signals_seen < LATE) {
        sched_yield();
    }
    return write(*(int *)argument, "x", 1) == 1 ? argument : NULL;
}

START_TEST(reading_goes_on_after_signals)
{
    int ends[2];
    char bytes[8];
    pthread_t writer;
    void *written = NULL;
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ck_assert_int_eq(pthread_create(&writer, NULL, write_late, &ends[1]), 0);
    timer_t timer = start_signals();
    ck_assert_int_eq(net_recv(ends[0], bytes, sizeof bytes, 0), 1);
    timer_delete(timer);
    ck_assert_int_eq(pthread_join(writer, &written), 0);
    ck_assert_ptr_nonnull(written);
    ck_assert_int_eq(net_recv(ends[0], bytes, sizeof bytes, MSG_DONTWAIT), -1);
    ck_assert_int_eq(errno, EAGAIN);
    close(ends[1]);
    ck_assert_int_eq(net_recv(ends[0], bytes, sizeof bytes, 0), 0);
    close(ends[0]);
}
END_TEST

/* Reads FLOOD_BYTES from *ARGUMENT, but only after signals have come; NULL unless they are a flood. */
static void *read_late(void *argument)
{
    static char bytes[FLOOD_BYTES];
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    while (signals_seen < LATE) {
        sched_yield();
    }
    if (recv(*(int *)argument, bytes, sizeof bytes, MSG_WAITALL) != FLOOD_BYTES) {
        return NULL;
    }
    for (int i = 0; i < FLOOD_BYTES; i++) {
        if (bytes[i] != (char)(i * 7 + (i >> 12))) {
            return NULL;
        }
    }
    return argument;
}

/* A flood of FLOOD_BYTES in COUNT pieces of uneven length, an empty one first and last. */
static void cut_flood(char *bytes, struct iovec *iov, int count)
{
    for (int i = 0; i < FLOOD_BYTES; i++) {
        bytes[i] = (char)(i * 7 + (i >> 12));
    }
    size_t at = 0;
    iov[0] = (struct iovec){.iov_base = NULL, .iov_len = 0};
    for (int i = 1; i < count - 1; i++) {
        size_t length = i == count - 2 ? FLOOD_BYTES - at : 1000 + (size_t)i * 77;
        iov[i] = (struct iovec){.iov_base = bytes + at, .iov_len = length};
        at += length;
    }
    iov[count - 1] = (struct iovec){.iov_base = NULL, .iov_len = 0};
}

START_TEST(sending_goes_on_after_signals)
{
    static char bytes[FLOOD_BYTES];
    struct iovec iov[50];
    int ends[2];
    pthread_t reader;
    void *good = NULL;
    cut_flood(bytes, iov, ROWS(iov));
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    ck_assert_int_eq(pthread_create(&reader, NULL, read_late, &ends[1]), 0);
    timer_t timer = start_signals();
    ck_assert_int_eq(net_send_all(ends[0], iov, ROWS(iov), 0), 0);
    ck_assert_int_eq(pthread_join(reader, &good), 0);
    timer_delete(timer);
    ck_assert_ptr_nonnull(good);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* ---- Sending ---- */

/* A peer that reads slowly: what was sent before EAGAIN and what is left in IOV are together the flood, each
 * byte once. */
START_TEST(what_would_have_to_wait_stays_in_the_pieces)
{
    static char bytes[FLOOD_BYTES];
    static char seen[FLOOD_BYTES + 1];
    struct iovec iov[50];
    int ends[2];
    size_t seen_bytes = 0;
    int waits = 0;
    cut_flood(bytes, iov, ROWS(iov));
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    for (int result = EAGAIN; result != 0;) {
        result = net_send_all(ends[0], iov, ROWS(iov), MSG_DONTWAIT);
        ck_assert(result == 0 || result == EAGAIN);
        waits += result == EAGAIN;
        size_t left = 0;
        for (int i = 0; i < ROWS(iov); i++) {
            left += iov[i].iov_len;
        }
        ck_assert((left == 0) == (result == 0));
        ssize_t got;
        while ((got = recv(ends[1], seen + seen_bytes, sizeof seen - seen_bytes, MSG_DONTWAIT)) > 0) {
            seen_bytes += (size_t)got;
        }
        ck_assert_uint_eq(seen_bytes + left, FLOOD_BYTES);
    }
    ck_assert_int_gt(waits, 3);
    ck_assert(memcmp(seen, bytes, FLOOD_BYTES) == 0);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

/* Around the size below which pieces are put together. */
static const size_t small_pieces[][4] = {
    {1, 1, 0, 0}, {100, 0, 200, 0}, {0, 364, 0, 0}, {2000, 47, 0, 1}, {2000, 48, 1, 0}, {1, 2047, 1, 3000},
};

START_TEST(small_pieces_leave_at_once_and_in_order)
{
    static char bytes[8192], seen[8192 + 1];
    struct iovec iov[4];
    int ends[2];
    size_t at = 0;
    for (size_t i = 0; i < sizeof bytes; i++) {
        bytes[i] = (char)(i * 31 + i / 251);
    }
    for (int i = 0; i < ROWS(iov); i++) {
        iov[i] = (struct iovec){.iov_base = bytes + at, .iov_len = small_pieces[_i][i]};
        at += small_pieces[_i][i];
    }
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends), 0); /* what one call sends is one packet */
    ck_assert_int_eq(net_send_all(ends[0], iov, ROWS(iov), MSG_DONTWAIT), 0);
    ck_assert_int_eq(recv(ends[1], seen, sizeof seen, MSG_DONTWAIT), (int)at);
    ck_assert_int_eq(recv(ends[1], seen + at, 1, MSG_DONTWAIT), -1);
    ck_assert(memcmp(seen, bytes, at) == 0);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

START_TEST(nothing_to_send)
{
    struct iovec none[2] = {{NULL, 0}, {NULL, 0}};
    ck_assert_int_eq(net_send_all(-1, none, 0, 0), 0);
    ck_assert_int_eq(net_send_all(-1, none, 2, 0), 0);
}
END_TEST

/* SIGPIPE would end the test. */
START_TEST(a_peer_that_is_gone_is_an_error_and_no_signal)
{
    int ends[2];
    char byte = 'x';
    struct iovec iov = {.iov_base = &byte, .iov_len = 1};
    ck_assert_int_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), 0);
    close(ends[1]);
    ck_assert_int_eq(net_send_all(ends[0], &iov, 1, 0), EPIPE);
    ck_assert_uint_eq(iov.iov_len, 1);
    close(ends[0]);
}
END_TEST

/* Who has begun to connect stays, and nobody else gets in or is told. */
START_TEST(new_ones_are_ignored)
{
    struct config_address here = {.host = "127.0.0.1"};
    const char *why = "";
    int listener = net_listen(&here, 4, &why);
    ck_assert_int_ne(listener, -1);
    here.port = net_local_port(listener);
    struct net_addresses at;
    ck_assert(net_resolve_numeric(&here, &at));
    int early = net_connect(&at.list[0], deadline_after_ms(clock_mono(), 1000));
    ck_assert_int_ne(early, -1);
    ck_assert(net_ignore_new(listener));
    ck_assert_int_eq(net_connect(&at.list[0], deadline_after_ms(clock_mono(), 50)), -1);
    ck_assert_int_eq(errno, ETIMEDOUT);
    int late = net_connect_begin(&at.list[0]);
    ck_assert_int_ne(late, -1);
    int accepted = accept(listener, NULL, NULL);
    ck_assert_int_ne(accepted, -1);
    ck_assert_int_eq(accept(listener, NULL, NULL), -1);
    ck_assert_int_eq(errno, EAGAIN);
    close(listener);
    char byte = 'x';
    ck_assert_int_eq(write(early, &byte, 1), 1);
    ck_assert_int_eq(net_recv(accepted, &byte, 1, 0), 1);
    struct pollfd refused = {.fd = late, .events = POLLOUT};
    ck_assert_int_eq(poll(&refused, 1, 10000), 1); /* at its second try */
    ck_assert_int_eq(net_connect_check(late), ECONNREFUSED);
    close(late);
    close(accepted);
    close(early);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net");
    TCase *listening = tcase_create("listening");
    tcase_add_test(listening, a_listener_never_waits_and_is_not_inherited);
    tcase_add_test(listening, no_host_means_both_families);
    tcase_add_test(listening, a_host_means_that_address_alone);
    tcase_add_test(listening, a_port_in_use);
    tcase_add_test(listening, a_port_can_be_taken_again_at_once);
    tcase_add_test(listening, ports);
    tcase_add_test(listening, new_ones_are_ignored);
    tcase_set_timeout(listening, 30);
    suite_add_tcase(suite, listening);
    TCase *connecting = tcase_create("connecting");
    tcase_add_test(connecting, a_connection_waits_and_is_not_inherited);
    tcase_add_test(connecting, a_refused_connection);
    tcase_add_test(connecting, a_deadline_is_hard);
    suite_add_tcase(suite, connecting);
    TCase *signals = tcase_create("signals");
    tcase_add_test(signals, a_deadline_holds_under_signals);
    tcase_add_test(signals, reading_goes_on_after_signals);
    tcase_add_test(signals, sending_goes_on_after_signals);
    suite_add_tcase(suite, signals);
    TCase *sending = tcase_create("sending");
    tcase_add_test(sending, what_would_have_to_wait_stays_in_the_pieces);
    tcase_add_loop_test(sending, small_pieces_leave_at_once_and_in_order, 0, ROWS(small_pieces));
    tcase_add_test(sending, nothing_to_send);
    tcase_add_test(sending, a_peer_that_is_gone_is_an_error_and_no_signal);
    suite_add_tcase(suite, sending);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
