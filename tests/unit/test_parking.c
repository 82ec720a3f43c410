/* SPDX-License-Identifier: MIT
 * The parking place, over socketpairs. One thread can play several workers: an event that parking_fetch()
 * gets for a connection that is BUSY is another worker's. parking_fetch() waits for ever, so a test in which
 * an event is lost ends with Check's time limit. */
#include "proxy/parking.h"

#include "tests/unit/parked.h"

#include <stdlib.h>

/* ---- The way of a connection ---- */

START_TEST(a_connection_is_taken_when_bytes_come)
{
    struct parking *p = parking_new(4, 0);
    int peer = admit(p, FOREVER);
    int quiet = admit(p, FOREVER);
    expect_counts(p, 0, 2, 2);
    ck_assert(!parking_is_ready(p, PARKING_ALL));
    script_say(peer, "x");
    ck_assert(parking_is_ready(p, PARKING_ALL));
    struct client *c = take(p);
    ck_assert(!parking_is_ready(p, PARKING_ALL));
    expect_counts(p, 1, 1, 2);
    ck_assert(!c->drained);
    ck_assert(!c->ended);
    ck_assert_int_eq(c->linger_until, 0);
    ck_assert_ptr_null(c->request);
    ck_assert_ptr_null(c->outbox);
    ck_assert_int_eq(c->peer.base.sa_family, AF_INET);
    ck_assert_int_eq(drain(c), 1);
    ck_assert(parking_park(p, c, PARKING_IDLE, FOREVER));
    expect_counts(p, 0, 2, 2);
    script_say(peer, "yz");
    ck_assert_ptr_eq(take(p), c);
    ck_assert(!c->drained);
    ck_assert_int_eq(drain(c), 2);
    int fd = c->fd;
    parking_close(p, c);
    ck_assert(is_closed(fd));
    expect_counts(p, 0, 1, 2);
    close(peer);
    close(quiet);
    parking_delete(p);
}
END_TEST

START_TEST(bytes_that_came_before_admission)
{
    struct parking *p = parking_new(4, 0);
    int ends[2];
    script_pair(SOCK_STREAM, ends);
    script_say(ends[1], "early");
    ck_assert_int_eq(parking_admit(p, ends[0], &somebody, false, FOREVER), PARKING_ADMITTED);
    struct client *c = take(p);
    ck_assert_int_eq(drain(c), 5);
    parking_close(p, c);
    close(ends[1]);
    parking_delete(p);
}
END_TEST

/* Each phase keeps what it is for, and counts as idle or active. */
START_TEST(each_phase_keeps_what_it_is_for)
{
    static const struct {
        enum parking_phase phase;
        bool request, outbox, idle;
    } rows[] = {
        {PARKING_IDLE, false, false, true},       {PARKING_READING, true, false, false},
        {PARKING_WRITING, false, true, false},    {PARKING_WRITING, true, true, false},
        {PARKING_LINGERING, false, false, false},
    };
    struct parking *p = parking_new(4, 0);
    int peer = admit(p, FOREVER);
    for (int i = 0; i < ROWS(rows); i++) {
        script_say(peer, "x");
        struct client *c = take(p);
        drain(c);
        c->request = rows[i].request ? some_request : NULL;
        c->outbox = rows[i].outbox ? some_outbox : NULL;
        ck_assert(parking_park(p, c, rows[i].phase, FOREVER));
        expect_counts(p, !rows[i].idle, rows[i].idle, 1);
        script_say(peer, "x");
        ck_assert_ptr_eq(take(p), c);
        ck_assert_ptr_eq(c->request, rows[i].request ? some_request : NULL);
        ck_assert_ptr_eq(c->outbox, rows[i].outbox ? some_outbox : NULL);
        c->request = NULL;
        c->outbox = NULL;
        drain(c);
        ck_assert(parking_park(p, c, PARKING_IDLE, FOREVER));
    }
    close(peer);
    parking_delete(p);
}
END_TEST

/* ---- Events while a connection is BUSY ---- */

START_TEST(bytes_that_come_meanwhile_are_not_lost)
{
    struct parking *p = parking_new(4, 0);
    int peer = admit(p, FOREVER);
    script_say(peer, "x");
    struct client *c = take(p);
    ck_assert_int_eq(drain(c), 1);
    script_say(peer, "y");
    ck_assert_ptr_null(take_event(p)); /* another worker: it must leave C alone */
    script_say(peer, "z");
    ck_assert_ptr_null(take_event(p));
    ck_assert(!parking_park(p, c, PARKING_IDLE, FOREVER));
    ck_assert(!c->drained);
    ck_assert_int_eq(drain(c), 2);
    ck_assert(parking_park(p, c, PARKING_IDLE, FOREVER));
    script_say(peer, "w");
    ck_assert_ptr_eq(take(p), c);
    parking_close(p, c);
    close(peer);
    parking_delete(p);
}
END_TEST

START_TEST(bytes_that_nobody_has_seen_are_an_event_after_parking)
{
    struct parking *p = parking_new(4, 0);
    int peer = admit(p, FOREVER);
    script_say(peer, "x");
    struct client *c = take(p);
    ck_assert_int_eq(drain(c), 1);
    script_say(peer, "y"); /* its event waits in the epoll set */
    ck_assert(parking_park(p, c, PARKING_IDLE, FOREVER));
    ck_assert_ptr_eq(take(p), c);
    ck_assert_int_eq(drain(c), 1);
    parking_close(p, c);
    close(peer);
    parking_delete(p);
}
END_TEST

/* The peer's end comes with the last bytes, so that no event follows: who takes the connection must be told.
 */
START_TEST(an_end_is_told_with_the_event)
{
    struct parking *p = parking_new(4, 0);
    int peer = admit(p, FOREVER);
    script_say(peer, "x");
    struct client *c = take(p);
    ck_assert(!c->ended);
    drain(c);
    ck_assert(parking_park(p, c, PARKING_IDLE, FOREVER));
    script_say(peer, "x");
    shutdown(peer, SHUT_WR);
    ck_assert_ptr_eq(take(p), c);
    ck_assert(c->ended);
    parking_close(p, c);
    close(peer);
    parking_delete(p);
}
END_TEST

/* The same when the event came while C was BUSY. Its owner reads "yz" into more room than that, and would
 * believe the socket empty. */
START_TEST(an_end_that_came_meanwhile_is_told_too)
{
    struct parking *p = parking_new(4, 0);
    int peer = admit(p, FOREVER);
    script_say(peer, "x");
    struct client *c = take(p);
    ck_assert_int_eq(drain(c), 1);
    script_say(peer, "yz");
    shutdown(peer, SHUT_WR);
    ck_assert_ptr_null(take_event(p));
    ck_assert(!parking_park(p, c, PARKING_IDLE, FOREVER));
    ck_assert(!c->drained);
    ck_assert(c->ended);
    parking_close(p, c);
    close(peer);
    parking_delete(p);
}
END_TEST

/* A copy of the descriptor keeps it in the epoll set although the parking place has closed its own: so that
 * an event of a connection that is gone meets the slot's next tenant. */
START_TEST(a_stale_event_does_not_touch_the_next_tenant)
{
    struct parking *p = parking_new(1, 0);
    int peer = admit(p, FOREVER);
    script_say(peer, "x");
    struct client *c = take(p);
    int copy = dup(c->fd);
    drain(c);
    parking_close(p, c);
    int next_peer = admit(p, FOREVER);
    script_say(peer, "stale");
    ck_assert_ptr_null(take_event(p));
    expect_counts(p, 0, 1, 2);
    script_say(next_peer, "x");
    c = take(p);
    script_say(peer, "stale again");
    ck_assert_ptr_null(take_event(p));
    drain(c);
    ck_assert(parking_park(p, c, PARKING_IDLE, FOREVER)); /* the stale event is not one of C's */
    close(copy);
    close(peer);
    close(next_peer);
    parking_delete(p);
}
END_TEST

START_TEST(wants_to_know_when_it_can_write)
{
    struct parking *p = parking_new(4, 0);
    static char bytes[1 << 20];
    int peer = admit(p, FOREVER);
    script_say(peer, "x");
    struct client *c = take(p);
    drain(c);
    while (send(c->fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL) > 0) {
    }
    ck_assert(parking_want_writable(p, c, true));
    c->outbox = some_outbox;
    while (!parking_park(p, c, PARKING_WRITING, FOREVER)) {
    }
    ck_assert(!parking_is_ready(p, PARKING_ALL));
    while (recv(peer, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
    ck_assert_ptr_eq(take(p), c);
    c->outbox = NULL;
    ck_assert(parking_want_writable(p, c, false));
    drain(c);
    while (!parking_park(p, c, PARKING_IDLE, FOREVER)) {
        drain(c);
    }
    while (recv(peer, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
    ck_assert(!parking_is_ready(p, PARKING_ALL));
    script_say(peer, "x");
    ck_assert_ptr_eq(take(p), c);
    parking_close(p, c);
    close(peer);
    parking_delete(p);
}
END_TEST

START_TEST(a_released_descriptor_stays_open_and_makes_no_events)
{
    struct parking *p = parking_new(1, 0);
    int peer = admit(p, FOREVER);
    script_say(peer, "x");
    int fd = parking_release(p, take(p));
    expect_counts(p, 0, 0, 1);
    script_say(peer, "y");
    ck_assert(!parking_is_ready(p, PARKING_ALL));
    char bytes[8];
    ck_assert_int_eq(recv(fd, bytes, sizeof bytes, 0), 2);
    int next_peer = admit(p, FOREVER); /* the slot is free */
    close(fd);
    close(peer);
    close(next_peer);
    parking_delete(p);
}
END_TEST

/* ---- Capacity ---- */

START_TEST(slots_are_bounded_and_used_again)
{
    enum { CAPACITY = 5 };
    struct parking *p = parking_new(CAPACITY, 0);
    int peers[CAPACITY];
    int ends[2];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < CAPACITY; i++) {
            peers[i] = admit(p, FOREVER);
        }
        script_pair(SOCK_STREAM, ends);
        ck_assert_int_eq(parking_admit(p, ends[0], &somebody, false, FOREVER), PARKING_FULL);
        ck_assert(!is_closed(ends[0])); /* still the caller's */
        close(ends[0]);
        close(ends[1]);
        expect_counts(p, 0, CAPACITY, (uint64_t)(round + 1) * CAPACITY);
        for (int i = 0; i < CAPACITY; i++) {
            script_say(peers[i], "x");
            struct client *c = take(p);
            ck_assert_uint_lt(c->slot, CAPACITY);
            parking_close(p, c);
            close(peers[i]);
        }
        expect_counts(p, 0, 0, (uint64_t)(round + 1) * CAPACITY);
    }
    parking_delete(p);
}
END_TEST

/* epoll refuses a regular file: the slot must come back, and the connection was none. */
START_TEST(what_epoll_refuses_is_not_admitted)
{
    struct parking *p = parking_new(1, 1);
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(parking_admit(p, file, &somebody, false, FOREVER), PARKING_FULL);
        ck_assert(!is_closed(file));
        expect_counts(p, 0, 0, 0);
    }
    int peer = admit(p, FOREVER);
    expect_counts(p, 0, 1, 1);
    close(peer);
    close(file);
    parking_delete(p);
}
END_TEST

/* Tries to admit a connection of CLIENT; its peer's end, or -1. */
static int admit_client(struct parking *p, uint32_t client, bool awaits_proxy_header)
{
    union net_address a = {.in = {.sin_family = AF_INET, .sin_addr = {client}}};
    int ends[2];
    script_pair(SOCK_STREAM, ends);
    enum parking_admission admission = parking_admit(p, ends[0], &a, awaits_proxy_header, FOREVER);
    if (admission == PARKING_ADMITTED) {
        return ends[1];
    }
    ck_assert_int_eq(admission, PARKING_CLIENT_HAS_MANY);
    close(ends[0]);
    close(ends[1]);
    return -1;
}

START_TEST(one_client_has_so_many_and_no_more)
{
    struct parking *p = parking_new(16, 2);
    int first = admit_client(p, 1, false);
    int second = admit_client(p, 1, false);
    ck_assert_int_ne(first, -1);
    ck_assert_int_ne(second, -1);
    ck_assert_int_eq(admit_client(p, 1, false), -1);
    expect_counts(p, 0, 2, 2);
    int other = admit_client(p, 2, false);
    ck_assert_int_ne(other, -1);
    script_say(first, "x");
    parking_close(p, take(p));
    int third = admit_client(p, 1, false);
    ck_assert_int_ne(third, -1);
    ck_assert_int_eq(admit_client(p, 1, false), -1);
    script_say(third, "x"); /* a tunnel is no connection here any more */
    close(parking_release(p, take(p)));
    int fourth = admit_client(p, 1, false);
    ck_assert_int_ne(fourth, -1);

    /* Behind a load balancer the address comes later. */
    int late = admit_client(p, 2, true);
    int later = admit_client(p, 2, true);
    ck_assert_int_ne(late, -1);
    ck_assert_int_ne(later, -1);
    script_say(late, "x");
    struct client *c = take(p);
    ck_assert(c->awaits_proxy_header);
    ck_assert(parking_count_client(p, c));
    script_say(later, "x");
    struct client *too_many = take(p);
    ck_assert(!parking_count_client(p, too_many));
    parking_close(p, too_many); /* takes back nothing that was not counted */
    ck_assert_int_eq(admit_client(p, 2, false), -1);
    parking_close(p, c);
    int peers[] = {first, second, other, third, fourth, late, later, admit_client(p, 2, false)};
    for (int i = 0; i < ROWS(peers); i++) {
        ck_assert_int_ne(peers[i], -1);
        close(peers[i]);
    }
    parking_delete(p);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("parking");
    TCase *way = tcase_create("way");
    tcase_add_test(way, a_connection_is_taken_when_bytes_come);
    tcase_add_test(way, bytes_that_came_before_admission);
    tcase_add_test(way, each_phase_keeps_what_it_is_for);
    tcase_add_test(way, wants_to_know_when_it_can_write);
    tcase_add_test(way, a_released_descriptor_stays_open_and_makes_no_events);
    suite_add_tcase(suite, way);
    TCase *events = tcase_create("events");
    tcase_add_test(events, bytes_that_come_meanwhile_are_not_lost);
    tcase_add_test(events, bytes_that_nobody_has_seen_are_an_event_after_parking);
    tcase_add_test(events, an_end_is_told_with_the_event);
    tcase_add_test(events, an_end_that_came_meanwhile_is_told_too);
    tcase_add_test(events, a_stale_event_does_not_touch_the_next_tenant);
    suite_add_tcase(suite, events);
    TCase *capacity = tcase_create("capacity");
    tcase_add_test(capacity, slots_are_bounded_and_used_again);
    tcase_add_test(capacity, what_epoll_refuses_is_not_admitted);
    tcase_add_test(capacity, one_client_has_so_many_and_no_more);
    suite_add_tcase(suite, capacity);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
