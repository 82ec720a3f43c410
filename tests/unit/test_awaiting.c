/* SPDX-License-Identifier: MIT
 * Clients that wait for a backend in the parking place, and the seats they keep. */
#include "proxy/parking.h"
#include "proxy/seats.h"

#include "tests/unit/parked.h"

#include <stdlib.h>

static struct course *const some_course = (struct course *)&(char){0};

/* A parking place with one client, whose request is sent on a connection to a backend. */
struct scene {
    struct parking *parking;
    struct client *client;
    int peer;    /* the client's end */
    int backend; /* our end of the backend's connection, and the backend's */
    int origin;
};

static struct scene begin(void)
{
    struct scene s = {.parking = parking_new(4, 0)};
    int ends[2];
    s.peer = admit(s.parking, 100 * NS_PER_MS);
    script_say(s.peer, "request");
    s.client = take(s.parking);
    drain(s.client);
    s.client->request = some_request;
    script_pair(SOCK_STREAM, ends);
    s.backend = ends[0];
    s.origin = ends[1];
    parking_fresh(s.parking, s.backend);
    ck_assert(parking_expect(s.parking, s.client, s.backend));
    return s;
}

static bool park(const struct scene *s)
{
    s->client->course = some_course;
    return parking_park(s->parking, s->client, PARKING_AWAITING, FOREVER);
}

static void finish(struct scene *s)
{
    parking_settle(s->parking, s->backend);
    s->client->course = NULL;
    s->client->request = NULL;
    parking_close(s->parking, s->client);
    close(s->backend);
    close(s->origin);
    close(s->peer);
    parking_delete(s->parking);
}

/* What the next event of SOURCE takes, if there is one. */
static struct client *look(struct parking *p, enum parking_source source)
{
    struct parking_batch one = {.next = 0};
    return parking_fetch(p, &one, source, 1, false) == 1 ? parking_next(p, &one) : NULL;
}

START_TEST(an_answer_takes_its_client)
{
    struct scene s = begin();
    ck_assert(park(&s));
    struct parking_counts counts;
    parking_count(s.parking, &counts);
    ck_assert_uint_eq(counts.active, 1);
    ck_assert_uint_eq(counts.awaiting, 1);
    ck_assert_ptr_null(look(s.parking, PARKING_ANSWERS));
    script_say(s.origin, "answer");
    ck_assert(parking_is_ready(s.parking, PARKING_ANSWERS));
    ck_assert(parking_is_ready(s.parking, PARKING_ALL));
    ck_assert_ptr_eq(look(s.parking, _i), s.client);
    ck_assert(s.client->drained && !s.client->gone && !s.client->ended);
    finish(&s);
}
END_TEST

static void count_taken(void *owner, struct client *c, enum parking_phase phase)
{
    ck_assert_int_eq(phase, PARKING_AWAITING);
    ck_assert_ptr_eq(c->course, some_course);
    ++*(int *)owner;
}

/* What bounds the wait is the watch, not the deadline that the connection had before. At the end all go. */
START_TEST(who_waits_for_a_backend_is_not_overdue)
{
    struct scene s = begin();
    int taken = 0;
    ck_assert(park(&s));
    parking_sweep(s.parking, 1000 * NS_PER_MS, true, count_taken, &taken);
    ck_assert_int_eq(taken, 0);
    parking_sweep(s.parking, FOREVER, false, count_taken, &taken);
    ck_assert_int_eq(taken, 1);
    finish(&s);
}
END_TEST

START_TEST(who_looks_for_answers_only_gets_no_request)
{
    struct scene s = begin();
    int other = admit(s.parking, FOREVER);
    script_say(other, "request");
    ck_assert(!parking_is_ready(s.parking, PARKING_ANSWERS));
    ck_assert(park(&s));
    script_say(s.origin, "answer");
    ck_assert_ptr_eq(look(s.parking, PARKING_ANSWERS), s.client);
    ck_assert_ptr_null(look(s.parking, PARKING_ANSWERS));
    struct parking_batch both = {.next = 0};
    ck_assert_uint_eq(parking_fetch(s.parking, &both, PARKING_ALL, 2, false), 2);
    ck_assert(parking_next_may_ask(&both));
    parking_leave_next(s.parking, &both);
    ck_assert(!parking_next_may_ask(&both));
    ck_assert_ptr_null(parking_next(s.parking, &both)); /* the client is BUSY */
    struct client *asks = look(s.parking, PARKING_ALL);
    ck_assert_msg(asks != NULL && asks != s.client, "the request that was left is lost");
    drain(asks);
    ck_assert(parking_park(s.parking, asks, PARKING_IDLE, FOREVER));
    close(other);
    finish(&s);
}
END_TEST

START_TEST(who_takes_clients_only_loses_no_answer)
{
    struct scene s = begin();
    int other = admit(s.parking, FOREVER);
    ck_assert(park(&s));
    script_say(s.origin, "answer");
    ck_assert_ptr_null(parking_take_now(s.parking));
    script_say(other, "request");
    struct client *asks = parking_take_now(s.parking);
    ck_assert(asks != NULL && asks != s.client);
    ck_assert(parking_is_ready(s.parking, PARKING_ALL)); /* somebody is woken */
    ck_assert_ptr_eq(look(s.parking, PARKING_ALL), s.client);
    drain(asks);
    ck_assert(parking_park(s.parking, asks, PARKING_IDLE, FOREVER));
    close(other);
    finish(&s);
}
END_TEST

START_TEST(an_answer_that_comes_before_the_parking_is_not_lost)
{
    struct scene s = begin();
    script_say(s.origin, "answer");
    ck_assert_ptr_null(look(s.parking, PARKING_ANSWERS)); /* another worker: the client is BUSY */
    ck_assert(!park(&s));
    finish(&s);
}
END_TEST

START_TEST(an_answer_that_nobody_has_seen_is_an_event_after_parking)
{
    struct scene s = begin();
    script_say(s.origin, "answer");
    ck_assert(park(&s));
    ck_assert_ptr_eq(look(s.parking, PARKING_ANSWERS), s.client);
    finish(&s);
}
END_TEST

START_TEST(what_the_client_sends_meanwhile_is_noted)
{
    struct scene s = begin();
    ck_assert(park(&s));
    script_say(s.peer, "next request");
    ck_assert_ptr_null(look(s.parking, PARKING_ALL));
    script_say(s.origin, "answer");
    ck_assert_ptr_eq(look(s.parking, PARKING_ANSWERS), s.client);
    ck_assert_msg(!s.client->drained, "nobody would read the next request");
    ck_assert(!s.client->gone);
    finish(&s);
}
END_TEST

START_TEST(a_client_that_has_gone_waits_no_longer)
{
    struct scene s = begin();
    ck_assert(park(&s));
    close(s.peer);
    ck_assert_ptr_eq(look(s.parking, PARKING_ALL), s.client);
    ck_assert(s.client->gone);
    s.peer = dup(s.origin);
    finish(&s);
}
END_TEST

START_TEST(a_connection_that_nobody_awaits_wakes_nobody)
{
    struct scene s = begin();
    ck_assert(park(&s));
    script_say(s.origin, "answer");
    ck_assert_ptr_eq(look(s.parking, PARKING_ANSWERS), s.client);
    parking_settle(s.parking, s.backend);
    s.client->course = NULL;
    s.client->request = NULL;
    ck_assert(parking_park(s.parking, s.client, PARKING_IDLE, FOREVER));
    script_say(s.origin, "late");
    ck_assert_ptr_null(look(s.parking, PARKING_ANSWERS));
    script_say(s.peer, "again");
    ck_assert_ptr_null(look(s.parking, PARKING_ALL)); /* what was late */
    ck_assert_ptr_eq(look(s.parking, PARKING_ALL), s.client);
    parking_leave(s.parking, s.backend);
    script_say(s.origin, "later");
    ck_assert(!parking_is_ready(s.parking, PARKING_ANSWERS) && !parking_is_ready(s.parking, PARKING_ALL));
    finish(&s);
}
END_TEST

START_TEST(what_is_given_back_goes_to_another_worker)
{
    struct scene s = begin();
    ck_assert(park(&s));
    script_say(s.origin, "answer");
    struct parking_batch mine = {.next = 0};
    ck_assert_uint_eq(parking_fetch(s.parking, &mine, PARKING_ANSWERS, 1, true), 1);
    parking_give_back(s.parking, &mine);
    ck_assert(parking_batch_is_empty(&mine));
    ck_assert(parking_is_ready(s.parking, PARKING_ANSWERS)); /* somebody is woken */
    ck_assert_ptr_eq(look(s.parking, PARKING_ANSWERS), s.client);
    finish(&s);
}
END_TEST

START_TEST(seats_are_bounded_and_who_stands_is_told)
{
    struct seats seats = {.free = 3};
    ck_assert_uint_eq(seats_take(&seats, 2), 2);
    ck_assert(!seats_stand(&seats)); /* there is one */
    ck_assert_uint_eq(seats_take(&seats, 8), 1);
    ck_assert_uint_eq(seats_take(&seats, 8), 0);
    ck_assert(!seats_give(&seats, 0));
    ck_assert(seats_stand(&seats));
    ck_assert_msg(seats_give(&seats, 2), "the one who stands would not be woken");
    seats_stood(&seats);
    ck_assert(!seats_give(&seats, 1));
    ck_assert_uint_eq(seats_take(&seats, 8), 3);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("awaiting");
    TCase *all = tcase_create("awaiting");
    tcase_add_loop_test(all, an_answer_takes_its_client, PARKING_ALL, PARKING_ANSWERS + 1);
    tcase_add_test(all, who_waits_for_a_backend_is_not_overdue);
    tcase_add_test(all, who_looks_for_answers_only_gets_no_request);
    tcase_add_test(all, who_takes_clients_only_loses_no_answer);
    tcase_add_test(all, an_answer_that_comes_before_the_parking_is_not_lost);
    tcase_add_test(all, an_answer_that_nobody_has_seen_is_an_event_after_parking);
    tcase_add_test(all, what_the_client_sends_meanwhile_is_noted);
    tcase_add_test(all, a_client_that_has_gone_waits_no_longer);
    tcase_add_test(all, a_connection_that_nobody_awaits_wakes_nobody);
    tcase_add_test(all, what_is_given_back_goes_to_another_worker);
    tcase_add_test(all, seats_are_bounded_and_who_stands_is_told);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
