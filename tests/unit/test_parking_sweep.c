/* SPDX-License-Identifier: MIT
 * The parking place: deadlines, stopping, and many threads at once. */
#include "proxy/parking.h"

#include "tests/unit/parked.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>

/* ---- The sweep ---- */

struct swept {
    struct parking *parking;
    int count;
    enum parking_phase phases[8];
    uint32_t slots[8];
    enum { CLOSE, PARK_AGAIN, REQUEUE } then;
    int peer; /* with REQUEUE: says something while the sweep has the connection */
};

static void note_overdue(void *owner, struct client *c, enum parking_phase phase)
{
    struct swept *swept = owner;
    ck_assert_int_lt(swept->count, 8);
    swept->phases[swept->count] = phase;
    swept->slots[swept->count++] = c->slot;
    c->request = NULL;
    c->outbox = NULL;
    if (swept->then == CLOSE) {
        parking_close(swept->parking, c);
    } else if (swept->then == PARK_AGAIN) {
        ck_assert(parking_park(swept->parking, c, PARKING_IDLE, FOREVER));
    } else {
        script_say(swept->peer, "x");
        ck_assert_ptr_null(take_event(swept->parking));
        parking_requeue(swept->parking, c, PARKING_IDLE, FOREVER);
    }
}

static int sweep(struct parking *p, mono_ns now, bool every_idle)
{
    struct swept swept = {.parking = p, .then = CLOSE};
    parking_sweep(p, now, every_idle, note_overdue, &swept);
    return swept.count;
}

START_TEST(the_sweep_takes_what_is_overdue)
{
    struct parking *p = parking_new(8, 0);
    int peers[4];
    for (int i = 0; i < 4; i++) {
        peers[i] = admit(p, i < 3 ? 100 * (i + 1) : FOREVER);
    }
    ck_assert_int_eq(sweep(p, 99, false), 0);
    expect_counts(p, 0, 4, 4);
    ck_assert_int_eq(sweep(p, 101, false), 1);
    char byte;
    ck_assert_int_eq(recv(peers[0], &byte, 1, 0), 0);
    ck_assert_int_eq(recv(peers[1], &byte, 1, MSG_DONTWAIT), -1);
    ck_assert_int_eq(sweep(p, 101, false), 0);
    ck_assert_int_eq(sweep(p, 1000000, false), 2);
    expect_counts(p, 0, 1, 4);
    for (int i = 0; i < 4; i++) {
        close(peers[i]);
    }
    parking_delete(p);
}
END_TEST

/* Busy connections are their owner's, whatever the time; a parked one has the deadline of its last parking.
 */
START_TEST(the_sweep_leaves_busy_ones_alone)
{
    struct parking *p = parking_new(8, 0);
    int peer = admit(p, 100 * NS_PER_MS);
    script_say(peer, "x");
    struct client *c = take(p);
    ck_assert_int_eq(sweep(p, 1000 * NS_PER_MS, true), 0);
    script_say(peer, "y");
    ck_assert_ptr_null(take_event(p)); /* AGAIN */
    ck_assert_int_eq(sweep(p, 1000 * NS_PER_MS, true), 0);
    ck_assert(!parking_park(p, c, PARKING_IDLE, 5000 * NS_PER_MS));
    drain(c);
    ck_assert(parking_park(p, c, PARKING_IDLE, 5000 * NS_PER_MS));
    ck_assert_int_eq(sweep(p, 1000 * NS_PER_MS, false), 0);
    ck_assert_int_eq(sweep(p, 5001 * NS_PER_MS, false), 1);
    close(peer);
    parking_delete(p);
}
END_TEST

/* Each parking moves the deadline by a moment: it may stay behind, but by 8 ms at the most. */
START_TEST(a_deadline_is_never_late_and_hardly_early)
{
    struct parking *p = parking_new(8, 0);
    int peer = admit(p, 100 * NS_PER_MS);
    mono_ns deadline = 0;
    for (int i = 1; i <= 30; i++) {
        deadline = (100 + i) * NS_PER_MS;
        script_say(peer, "x");
        struct client *c = take(p);
        drain(c);
        ck_assert(parking_park(p, c, PARKING_IDLE, deadline));
        ck_assert_int_eq(sweep(p, deadline - 8 * NS_PER_MS - 1, false), 0);
    }
    ck_assert_int_eq(sweep(p, deadline, false), 1);
    close(peer);
    peer = admit(p, 100 * NS_PER_MS);
    script_say(peer, "x");
    struct client *c = take(p);
    drain(c);
    ck_assert(parking_park(p, c, PARKING_IDLE, 99 * NS_PER_MS)); /* an earlier one counts */
    ck_assert_int_eq(sweep(p, 99 * NS_PER_MS, false), 1);
    close(peer);
    parking_delete(p);
}
END_TEST

START_TEST(a_drain_takes_every_idle_one_and_no_other)
{
    static const enum parking_phase all[] = {PARKING_IDLE, PARKING_READING, PARKING_WRITING,
                                             PARKING_LINGERING};
    struct parking *p = parking_new(8, 0);
    int peers[4];
    for (int i = 0; i < 4; i++) {
        peers[i] = admit(p, FOREVER);
        script_say(peers[i], "x");
        struct client *c = take(p);
        drain(c);
        c->request = all[i] == PARKING_READING ? some_request : NULL;
        c->outbox = all[i] == PARKING_WRITING ? some_outbox : NULL;
        ck_assert(parking_park(p, c, all[i], 500));
    }
    struct swept swept = {.parking = p, .then = CLOSE};
    parking_sweep(p, 100, true, note_overdue, &swept);
    ck_assert_int_eq(swept.count, 1);
    ck_assert_int_eq(swept.phases[0], PARKING_IDLE);
    parking_sweep(p, 501, true, note_overdue, &swept);
    ck_assert_int_eq(swept.count, 4);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(swept.phases[i], all[i]);
        close(peers[i]);
    }
    expect_counts(p, 0, 0, 4);
    parking_delete(p);
}
END_TEST

START_TEST(what_the_sweep_takes_may_be_parked_again)
{
    struct parking *p = parking_new(8, 0);
    int peer = admit(p, 100);
    struct swept swept = {.parking = p, .then = PARK_AGAIN};
    parking_sweep(p, 200, false, note_overdue, &swept);
    parking_sweep(p, 200, false, note_overdue, &swept);
    ck_assert_int_eq(swept.count, 1);
    expect_counts(p, 0, 1, 1);
    script_say(peer, "x");
    parking_close(p, take(p));
    close(peer);
    parking_delete(p);
}
END_TEST

/* Bytes come while the sweep has the connection, and the worker that gets their event can't have it: the
 * event must be made again, or the bytes would wait for the next ones. */
START_TEST(requeue_makes_the_event_again)
{
    struct parking *p = parking_new(8, 0);
    int peer = admit(p, 100);
    struct swept swept = {.parking = p, .then = REQUEUE, .peer = peer};
    parking_sweep(p, 200, false, note_overdue, &swept);
    ck_assert_int_eq(swept.count, 1);
    struct client *c = take(p);
    ck_assert_int_eq(drain(c), 1);
    ck_assert(parking_park(p, c, PARKING_IDLE, FOREVER));
    ck_assert(!parking_is_ready(p, PARKING_ALL));
    ck_assert_int_eq(sweep(p, 1000, false), 0); /* the new deadline holds */
    close(peer);
    parking_delete(p);
}
END_TEST

/* ---- Stopping ---- */

START_TEST(stop_wins_over_events)
{
    struct parking *p = parking_new(8, 0);
    int peers[4];
    for (int i = 0; i < 4; i++) {
        peers[i] = admit(p, FOREVER);
        script_say(peers[i], "x");
    }
    ck_assert(!parking_stopped(p));
    parking_stop(p);
    ck_assert(parking_stopped(p));
    for (int i = 0; i < 20; i++) {
        ck_assert_ptr_null(take_event(p));
    }
    for (int i = 0; i < 4; i++) {
        close(peers[i]);
    }
    parking_delete(p);
}
END_TEST

static void *take_until_stopped(void *argument)
{
    struct parking *p = argument;
    while (!parking_stopped(p)) {
        if (take_event(p) != NULL) {
            return NULL;
        }
    }
    return argument;
}

START_TEST(stop_wakes_all_threads)
{
    struct parking *p = parking_new(8, 0);
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, take_until_stopped, p), 0);
    }
    parking_stop(p);
    for (int i = 0; i < 8; i++) {
        void *woke = NULL;
        ck_assert_int_eq(pthread_join(threads[i], &woke), 0);
        ck_assert_ptr_eq(woke, p);
    }
    parking_delete(p);
}
END_TEST

START_TEST(delete_closes_what_is_open)
{
    struct parking *p = parking_new(8, 0);
    int peer = admit(p, FOREVER);
    int busy_peer = admit(p, FOREVER);
    script_say(busy_peer, "x");
    take(p);
    parking_delete(p);
    char bytes[8];
    ck_assert_int_eq(recv(peer, bytes, sizeof bytes, 0), 0);
    ck_assert_int_le(recv(busy_peer, bytes, sizeof bytes, 0), 0);
    close(peer);
    close(busy_peer);
    parking_delete(NULL);
}
END_TEST

/* ---- Many threads ---- */

enum { WORKERS = 8, SLOTS = 49, CAPACITY = SLOTS + WORKERS, ROUNDS = 420 };

struct crowd {
    struct parking *parking;
    _Atomic bool owned[CAPACITY];   /* by slot: some thread is between taking and parking it */
    _Atomic bool overdue[CAPACITY]; /* by slot: it was parked with a deadline that is over */
    _Atomic int violations;         /* a second owner, a wrong byte, a connection that was refused */
    _Atomic int swept;
};

static void begin_owning(struct crowd *crowd, const struct client *c)
{
    crowd->violations += atomic_exchange(&crowd->owned[c->slot], true);
}

static void end_owning(struct crowd *crowd, const struct client *c)
{
    crowd->owned[c->slot] = false;
}

/* Reads and echoes until the socket is empty. False at the end of the connection. */
static bool echo(struct crowd *crowd, struct client *c)
{
    char bytes[16];
    for (;;) {
        ssize_t got = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got > 0 && send(c->fd, bytes, (size_t)got, MSG_NOSIGNAL) != got) {
            return false; /* the peer has gone away with its echo unread */
        }
        if (got <= 0) {
            c->drained = true;
            crowd->violations += got == -1 && errno != EAGAIN && errno != ECONNRESET;
            return got == -1 && errno == EAGAIN;
        }
    }
}

static void *work(void *argument)
{
    struct crowd *crowd = argument;
    unsigned turn = 0;
    while (!parking_stopped(crowd->parking)) {
        struct client *c = take_event(crowd->parking);
        if (c == NULL) {
            continue;
        }
        begin_owning(crowd, c);
        for (;;) {
            if (!echo(crowd, c)) {
                c->request = NULL;
                end_owning(crowd, c);
                parking_close(crowd->parking, c);
                break;
            }
            /* Half of them with a deadline that is over, so that the sweep takes them from under the next
             * event. */
            bool reading = ++turn % 3 == 0;
            mono_ns deadline = turn % 2 == 0 ? 0 : FOREVER;
            crowd->overdue[c->slot] = deadline == 0;
            c->request = reading ? some_request : NULL;
            end_owning(crowd, c);
            if (parking_park(crowd->parking, c, reading ? PARKING_READING : PARKING_IDLE, deadline)) {
                break;
            }
            begin_owning(crowd, c);
        }
    }
    return NULL;
}

/* The sweep's thread looks whether the socket is empty, too, and makes a new event of what there is. */
static void put_back(void *owner, struct client *c, enum parking_phase phase)
{
    struct crowd *crowd = owner;
    begin_owning(crowd, c);
    crowd->swept++;
    crowd->violations += (phase == PARKING_READING) != (c->request == some_request);
    crowd->violations += !crowd->overdue[c->slot]; /* one that was parked anew meanwhile is not the sweep's */
    crowd->overdue[c->slot] = false;
    end_owning(crowd, c);
    parking_requeue(crowd->parking, c, phase, FOREVER);
}

/* Sends a byte on a connection and waits for its echo, ROUNDS times; then some are closed and made anew, so
 * that slots, generations and descriptors are used again. */
static void drive(struct crowd *crowd)
{
    int peers[SLOTS];
    for (int i = 0; i < SLOTS; i++) {
        peers[i] = admit(crowd->parking, FOREVER);
    }
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < SLOTS; i++) {
            char byte = (char)(round + i);
            script_send(peers[i], &byte, 1);
        }
        parking_sweep(crowd->parking, 1, false, put_back, crowd);
        for (int i = 0; i < SLOTS; i++) {
            char byte = 0;
            ck_assert_int_eq(recv(peers[i], &byte, 1, 0), 1);
            crowd->violations += byte != (char)(round + i);
        }
        for (int i = round % 7; i < SLOTS; i += 7) {
            close(peers[i]);
        }
        while (parking_open(crowd->parking) > SLOTS - SLOTS / 7) {
            parking_sweep(crowd->parking, 1, false, put_back, crowd);
            sched_yield();
        }
        for (int i = round % 7; i < SLOTS; i += 7) {
            peers[i] = admit(crowd->parking, FOREVER);
        }
    }
    for (int i = 0; i < SLOTS; i++) {
        close(peers[i]);
    }
}

START_TEST(no_connection_has_two_owners_and_no_byte_is_lost)
{
    static struct crowd crowd;
    pthread_t threads[WORKERS];
    crowd.parking = parking_new(CAPACITY, 0); /* one that is being closed has its slot for a moment longer */
    for (int i = 0; i < WORKERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, work, &crowd), 0);
    }
    drive(&crowd);
    while (parking_open(crowd.parking) > 0) {
        parking_sweep(crowd.parking, 1, false, put_back, &crowd);
        sched_yield();
    }
    parking_stop(crowd.parking);
    for (int i = 0; i < WORKERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    ck_assert_int_eq(crowd.violations, 0);
    ck_assert_int_gt(crowd.swept, 0);
    expect_counts(crowd.parking, 0, 0, SLOTS + (uint64_t)SLOTS * ROUNDS / 7);
    parking_delete(crowd.parking);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("parking_sweep");
    TCase *sweeping = tcase_create("sweep");
    tcase_add_test(sweeping, the_sweep_takes_what_is_overdue);
    tcase_add_test(sweeping, the_sweep_leaves_busy_ones_alone);
    tcase_add_test(sweeping, a_deadline_is_never_late_and_hardly_early);
    tcase_add_test(sweeping, a_drain_takes_every_idle_one_and_no_other);
    tcase_add_test(sweeping, what_the_sweep_takes_may_be_parked_again);
    tcase_add_test(sweeping, requeue_makes_the_event_again);
    suite_add_tcase(suite, sweeping);
    TCase *stopping = tcase_create("stop");
    tcase_add_test(stopping, stop_wins_over_events);
    tcase_add_test(stopping, stop_wakes_all_threads);
    tcase_add_test(stopping, delete_closes_what_is_open);
    suite_add_tcase(suite, stopping);
    TCase *crowded = tcase_create("crowd");
    tcase_add_test(crowded, no_connection_has_two_owners_and_no_byte_is_lost);
    suite_add_tcase(suite, crowded);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
