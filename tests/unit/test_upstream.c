/* SPDX-License-Identifier: MIT
 * One backend's connections, to real listeners on the loopback interface. */
#include "tests/unit/dialled.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

/* A socket that is bound and does not listen: its port refuses, and nobody else can take it. */
static int refuse_on(const char *host, union net_address *a_)
{
    return listen_on(host, -1, a_);
}

/* Of a backend with one address, and as if it were young. */
static void give_back(struct upstream *u, int fd, mono_ns now)
{
    struct upstream_tag tag = first_tag(u);
    tag.retire_at = DEADLINE_NO;
    upstream_give_back(u, fd, tag, now);
}

/* Connects U to LISTENER; the other end is *PEER_. */
static int connect_pair(struct upstream *u, int listener, int *peer_)
{
    struct upstream_tag tag;
    int fd = dial(u, in_ms(5000), &tag);
    ck_assert_int_ne(fd, -1);
    *peer_ = accept(listener, NULL, NULL);
    ck_assert_int_ne(*peer_, -1);
    return fd;
}

/* Waits until something (its end included) has come on FD: what its peer did has then arrived. */
static void await_arrival(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    ck_assert_int_eq(poll(&wait, 1, 5000), 1);
}

START_TEST(the_last_one_used_is_lent_first)
{
    union net_address a;
    int listener = listen_on("127.0.0.1", 16, &a);
    struct upstream u = upstream_of(8, 1, &a);
    int peers[3];
    int fds[3];
    ck_assert_int_eq(take(&u), -1);
    for (int i = 0; i < 3; i++) {
        fds[i] = connect_pair(&u, listener, &peers[i]);
    }
    for (int i = 0; i < 3; i++) {
        give_back(&u, fds[i], i);
    }
    ck_assert_int_eq(take(&u), fds[2]);
    ck_assert_int_eq(take(&u), fds[1]);
    give_back(&u, fds[2], 10);
    ck_assert_int_eq(take(&u), fds[2]);
    ck_assert_int_eq(take(&u), fds[0]);
    ck_assert_int_eq(take(&u), -1);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(send(fds[i], "x", 1, 0), 1); /* open, and the one that it was */
        char byte;
        ck_assert_int_eq(recv(peers[i], &byte, 1, 0), 1);
        close(fds[i]);
        close(peers[i]);
    }
    upstream_release(&u);
    close(listener);
}
END_TEST

static void end_cleanly(int peer)
{
    ck_assert_int_eq(shutdown(peer, SHUT_WR), 0);
}

static void reset(int peer)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    ck_assert_int_eq(setsockopt(peer, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    ck_assert_int_eq(dup2(STDIN_FILENO, peer), peer); /* closes it, but keeps the number */
}

static void send_unasked(int peer)
{
    ck_assert_int_eq(send(peer, "HTTP/1.1 200 OK\r\n", 17, 0), 17);
}

/* What a backend may do to a resting connection; each makes it unfit. */
static void (*const mischiefs[])(int peer) = {end_cleanly, reset, send_unasked};

START_TEST(unfit_ones_are_closed_on_the_way)
{
    union net_address a;
    int listener = listen_on("127.0.0.1", 16, &a);
    struct upstream u = upstream_of(8, 1, &a);
    int peers[4];
    int fds[4];
    for (int i = 0; i < 4; i++) {
        fds[i] = connect_pair(&u, listener, &peers[i]);
        give_back(&u, fds[i], 0);
    }
    mischiefs[_i](peers[3]);
    mischiefs[_i](peers[2]);
    mischiefs[_i](peers[0]);
    await_arrival(fds[3]);
    await_arrival(fds[2]);
    await_arrival(fds[0]);
    ck_assert_int_eq(take(&u), fds[1]);
    ck_assert(is_closed(fds[3]));
    ck_assert(is_closed(fds[2]));
    ck_assert_int_eq(take(&u), -1);
    ck_assert(is_closed(fds[0]));
    close(fds[1]);
    for (int i = 0; i < 4; i++) {
        close(peers[i]);
    }
    upstream_release(&u);
    close(listener);
}
END_TEST

START_TEST(a_full_pool_closes_what_is_given_back)
{
    union net_address a;
    int listener = listen_on("127.0.0.1", 16, &a);
    for (uint32_t idle_max = 0; idle_max <= 2; idle_max++) {
        struct upstream u = upstream_of(idle_max, 1, &a);
        int peers[4];
        int fds[4];
        for (int i = 0; i < 4; i++) {
            fds[i] = connect_pair(&u, listener, &peers[i]);
        }
        for (uint32_t i = 0; i < 4; i++) {
            give_back(&u, fds[i], i);
            ck_assert(is_closed(fds[i]) == (i >= idle_max));
        }
        for (uint32_t i = 0; i < 4; i++) {
            char byte;
            ck_assert(i < idle_max || recv(peers[i], &byte, 1, 0) == 0);
        }
        upstream_release(&u);
        for (uint32_t i = 0; i < 4; i++) {
            ck_assert(is_closed(fds[i])); /* the rest with the pool */
            close(peers[i]);
        }
    }
    close(listener);
}
END_TEST

/* More than the trim takes at a time. */
START_TEST(trim_closes_those_that_rested_too_long)
{
    enum { COUNT = 150 };
    union net_address a;
    int listener = listen_on("127.0.0.1", 16, &a);
    static const int64_t sinces[] = {0, 1, 63, 64, 65, 128, 149, 150, 1000};
    for (size_t s = 0; s < sizeof sinces / sizeof sinces[0]; s++) {
        struct upstream u = upstream_of(COUNT, 1, &a);
        int peers[COUNT];
        int fds[COUNT];
        for (int i = 0; i < COUNT; i++) {
            fds[i] = connect_pair(&u, listener, &peers[i]);
        }
        for (int i = 0; i < COUNT; i++) {
            give_back(&u, fds[i], i);
        }
        upstream_trim(&u, sinces[s]);
        for (int i = 0; i < COUNT; i++) {
            ck_assert_msg(is_closed(fds[i]) == (i < sinces[s]), "%d since %jd", i, (intmax_t)sinces[s]);
        }
        for (int i = COUNT - 1; i >= sinces[s]; i--) {
            ck_assert_int_eq(take(&u), fds[i]);
            close(fds[i]);
        }
        ck_assert_int_eq(take(&u), -1);
        for (int i = 0; i < COUNT; i++) {
            close(peers[i]);
        }
        upstream_release(&u);
    }
    close(listener);
}
END_TEST

START_TEST(a_new_connection_is_blocking)
{
    union net_address a;
    int listener = listen_on("127.0.0.1", 16, &a);
    struct upstream u = upstream_of(8, 1, &a);
    int peer;
    int fd = connect_pair(&u, listener, &peer);
    ck_assert_int_eq(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    ck_assert_int_ne(fcntl(fd, F_GETFD) & FD_CLOEXEC, 0);
    ck_assert_int_eq(take(&u), -1); /* lent, not idle */
    close(fd);
    close(peer);
    upstream_release(&u);
    close(listener);
}
END_TEST

START_TEST(refused_everywhere)
{
    union net_address list[3];
    int deaf[3];
    for (int i = 0; i < 3; i++) {
        deaf[i] = refuse_on("127.0.0.1", &list[i]);
    }
    struct upstream u = upstream_of(8, 3, list);
    int first_free = dup(deaf[0]);
    close(first_free);
    errno = 0;
    struct upstream_tag tag;
    ck_assert_int_eq(dial(&u, in_ms(5000), &tag), -1);
    ck_assert_int_eq(errno, ECONNREFUSED);
    int free_now = dup(deaf[0]);
    ck_assert_int_eq(free_now, first_free);
    close(free_now);
    for (int i = 0; i < 3; i++) {
        close(deaf[i]);
    }
    upstream_release(&u);
}
END_TEST

/* Which port of LIST a new connection of U goes to; -1 for none. */
static int connected_index(struct upstream *u, const union net_address list[], uint32_t count)
{
    union net_address peer;
    socklen_t size = sizeof peer;
    struct upstream_tag tag;
    int fd = dial(u, in_ms(5000), &tag);
    if (fd == -1) {
        return -1;
    }
    ck_assert_int_eq(getpeername(fd, &peer.base, &size), 0);
    close(fd);
    for (uint32_t i = 0; i < count; i++) {
        if (list[i].in.sin_port == peer.in.sin_port) {
            return (int)i;
        }
    }
    return -1;
}

START_TEST(addresses_are_used_in_turn_and_a_dead_one_is_left_out)
{
    union net_address list[3];
    int sockets[3];
    for (int i = 0; i < 3; i++) {
        sockets[i] = listen_on("127.0.0.1", 16, &list[i]);
    }
    struct upstream u = upstream_of(8, 3, list);
    for (int i = 0; i < 6; i++) {
        ck_assert_int_eq(connected_index(&u, list, 3), i % 3);
    }
    ck_assert_int_eq(shutdown(sockets[0], SHUT_RDWR), 0); /* stops listening; the port stays taken */
    ck_assert_int_eq(connected_index(&u, list, 3), 1);    /* 0 has refused, and is shunned from now on */
    int seen[3] = {0};
    for (int i = 0; i < 6; i++) {
        struct upstream_route route;
        upstream_choose(&u, &route);
        ck_assert_uint_eq(route.order[2], 0);
        seen[connected_index(&u, list, 3)]++;
    }
    ck_assert(seen[0] == 0 && seen[1] >= 2 && seen[2] >= 2);
    upstream_release(&u);
    for (int i = 0; i < 3; i++) {
        close(sockets[i]);
    }
}
END_TEST

START_TEST(idle_connections_are_lent_by_address)
{
    union net_address list[2];
    int listeners[2], fds[2];
    struct upstream_tag tags[2], tag;
    for (int i = 0; i < 2; i++) {
        listeners[i] = listen_on("127.0.0.1", 16, &list[i]);
    }
    struct upstream u = upstream_of(8, 2, list);
    for (int i = 0; i < 2; i++) {
        fds[i] = dial(&u, in_ms(5000), &tags[i]);
        upstream_give_back(&u, fds[i], tags[i], i);
    }
    for (int i = 0; i < 6; i++) { /* the last one used does not get all */
        struct upstream_route route;
        upstream_choose(&u, &route);
        ck_assert_int_eq(upstream_take_idle(&u, &route, &tag), fds[i % 2]);
        ck_assert_uint_eq(tag.address, tags[i % 2].address);
        ck_assert_int_eq(tag.retire_at, tags[i % 2].retire_at);
        upstream_give_back(&u, fds[i % 2], tag, 10 + i);
    }
    upstream_release(&u);
    close(listeners[0]);
    close(listeners[1]);
}
END_TEST

/* One address goes, one stays, at another place of the list. */
START_TEST(connections_to_an_address_that_is_gone_are_closed)
{
    union net_address list[2];
    int listeners[2], fds[4];
    struct upstream_tag tags[4];
    for (int i = 0; i < 2; i++) {
        listeners[i] = listen_on("127.0.0.1", 16, &list[i]);
    }
    struct upstream u = upstream_of(8, 2, list);
    for (int i = 0; i < 4; i++) {
        fds[i] = dial(&u, in_ms(5000), &tags[i]);
    }
    upstream_give_back(&u, fds[0], tags[0], 0);
    upstream_give_back(&u, fds[1], tags[1], 0);
    struct net_addresses now = {.count = 1, .list = {list[1]}};
    upstream_move(&u, &now);
    ck_assert_int_eq(take(&u), -1); /* their tags are void */
    upstream_trim_gone(&u);
    ck_assert(is_closed(fds[0]));
    ck_assert_int_eq(take(&u), fds[1]);
    upstream_give_back(&u, fds[2], tags[2], 0); /* lent during the change */
    upstream_give_back(&u, fds[3], tags[3], 0);
    ck_assert(is_closed(fds[2]));
    ck_assert_int_eq(take(&u), fds[3]);
    ck_assert_int_eq(take(&u), -1);
    close(fds[1]);
    close(fds[3]);
    now.count = 0;
    upstream_move(&u, &now);
    ck_assert_int_eq(dial(&u, in_ms(5000), &tags[0]), -1);
    ck_assert_int_eq(errno, DIAL_NO_ADDRESS);
    upstream_release(&u);
    close(listeners[0]);
    close(listeners[1]);
}
END_TEST

/* Fills the queue of a listener that never accepts, so that SYNs to it are dropped, as by a machine that is
 * gone. */
static void make_black_hole(const union net_address *a)
{
    for (int i = 0; i < 16; i++) {
        if (net_connect(a, in_ms(50)) == -1) {
            ck_assert_int_eq(errno, ETIMEDOUT);
            return;
        }
    }
    ck_abort_msg("a backlog of 0 takes 16 connections");
}

START_TEST(a_silent_address_leaves_time_for_the_next)
{
    union net_address list[2];
    int hole = listen_on("127.0.0.1", 0, &list[0]);
    int listener = listen_on("127.0.0.1", 16, &list[1]);
    make_black_hole(&list[0]);
    struct upstream u = upstream_of(8, 2, list);
    mono_ns begun = clock_mono();
    struct upstream_tag tag;
    int fd = dial(&u, deadline_after_ms(begun, 1000), &tag);
    ck_assert_int_ne(fd, -1);
    ck_assert_int_lt(clock_mono(), deadline_after_ms(begun, 1000));
    close(fd);
    /* From now on the other one is first: no wait at all. */
    ck_assert_int_eq(connected_index(&u, list, 2), 1);
    upstream_release(&u);

    struct upstream alone = upstream_of(8, 1, list);
    begun = clock_mono();
    ck_assert_int_eq(dial(&alone, deadline_after_ms(begun, 150), &tag), -1);
    ck_assert_int_eq(errno, ETIMEDOUT);
    ck_assert_int_ge(clock_mono() - begun, 150 * NS_PER_MS);
    ck_assert_int_lt(clock_mono() - begun, 5000 * NS_PER_MS);
    upstream_release(&alone);
    close(hole);
    close(listener);
}
END_TEST

/* ---- Many threads: a connection has one user at a time ---- */

enum { THREADS = 8, ROUNDS = 3000, CONNECTIONS = 12, FDS = 4096 };

struct crowd {
    struct upstream upstream;
    _Atomic bool lent[FDS];
    _Atomic int doubles, taken;
    _Atomic bool done;
};

static void *borrow(void *argument)
{
    struct crowd *crowd = argument;
    for (int i = 0; i < ROUNDS; i++) {
        int fds[3];
        int count = 0;
        while (count < 1 + i % 3 && (fds[count] = take(&crowd->upstream)) != -1) {
            crowd->doubles += crowd->lent[fds[count]];
            crowd->lent[fds[count]] = true;
            count++;
        }
        crowd->taken += count;
        while (count > 0) {
            count--;
            crowd->lent[fds[count]] = false;
            give_back(&crowd->upstream, fds[count], i);
        }
    }
    return NULL;
}

static void *trim_often(void *argument)
{
    struct crowd *crowd = argument;
    while (!crowd->done) {
        upstream_trim(&crowd->upstream, -1); /* nothing is that old */
    }
    return NULL;
}

START_TEST(no_connection_is_lent_twice)
{
    static struct crowd crowd;
    union net_address a;
    int listener = listen_on("127.0.0.1", 16, &a);
    crowd.upstream = upstream_of(CONNECTIONS, 1, &a);
    int peers[CONNECTIONS];
    for (int i = 0; i < CONNECTIONS; i++) {
        give_back(&crowd.upstream, connect_pair(&crowd.upstream, listener, &peers[i]), 0);
    }
    pthread_t threads[THREADS];
    pthread_t trimmer;
    ck_assert_int_eq(pthread_create(&trimmer, NULL, trim_often, &crowd), 0);
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, borrow, &crowd), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    crowd.done = true;
    ck_assert_int_eq(pthread_join(trimmer, NULL), 0);
    ck_assert_int_eq(crowd.doubles, 0);
    ck_assert_int_gt(crowd.taken, ROUNDS);
    int left = 0;
    for (int fd = take(&crowd.upstream); fd != -1; fd = take(&crowd.upstream)) {
        left++;
        close(fd);
    }
    ck_assert_int_eq(left, CONNECTIONS); /* none was lost */
    for (int i = 0; i < CONNECTIONS; i++) {
        close(peers[i]);
    }
    upstream_release(&crowd.upstream);
    close(listener);
}
END_TEST

int main(void)
{
    TCase *upstream = tcase_create("upstream");
    tcase_add_test(upstream, the_last_one_used_is_lent_first);
    tcase_add_loop_test(upstream, unfit_ones_are_closed_on_the_way, 0,
                        (int)(sizeof mischiefs / sizeof mischiefs[0]));
    tcase_add_test(upstream, a_full_pool_closes_what_is_given_back);
    tcase_add_test(upstream, trim_closes_those_that_rested_too_long);
    tcase_add_test(upstream, a_new_connection_is_blocking);
    tcase_add_test(upstream, refused_everywhere);
    tcase_add_test(upstream, addresses_are_used_in_turn_and_a_dead_one_is_left_out);
    tcase_add_test(upstream, idle_connections_are_lent_by_address);
    tcase_add_test(upstream, connections_to_an_address_that_is_gone_are_closed);
    tcase_add_test(upstream, a_silent_address_leaves_time_for_the_next);
    tcase_add_test(upstream, no_connection_is_lent_twice);
    Suite *suite = suite_create("upstream");
    suite_add_tcase(suite, upstream);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
