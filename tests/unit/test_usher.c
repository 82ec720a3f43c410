/* SPDX-License-Identifier: MIT
 * The usher and a line of clients over loopback: the kernel must know when their bytes came. The test is the
 * keeper, and the workers. Nothing goes by how fast it is: who is late only gets later, and who is not is so
 * by the time that the test says. */
#include "proxy/usher.h"

#include "proxy/waited.h"
#include "tests/unit/script.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

enum { QUEUE_MS = 20, HOUR_MS = 3600000, WAIT_MS = 20000 };

#define GET "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

static struct proxy proxy;
static struct usher usher;
static mono_ns begun;

struct guest {
    int fd;   /* our end, which the parking place owns */
    int peer; /* the client's */
};

static void discard_request(void *request)
{
    request_delete(request);
}

static void set_up_with(uint32_t queue_ms)
{
    static struct config config;
    config_defaults(&config);
    config.timeouts.queue_ms = queue_ms;
    struct plan *plan = plan_make(&config, NULL, 0);
    ck_assert_ptr_nonnull(plan);
    memset(&proxy, 0, sizeof proxy);
    depot_init(&proxy.requests, discard_request);
    proxy.plans = plans_new(plan, PROXY_READERS);
    proxy.traffic = traffic_new(2); /* the listener's and the keeper's, as there are no workers */
    proxy.parking = parking_new(16, 0);
    ck_assert(proxy.plans != NULL && proxy.traffic != NULL && proxy.parking != NULL);
    begun = clock_mono();
    usher_init(&usher, &proxy, READER_KEEPER, begun);
}

static void set_up(void)
{
    set_up_with(QUEUE_MS);
}

/* Where nobody is ever late, but the line is as old as the test says. */
static void set_up_patient(void)
{
    set_up_with(HOUR_MS);
}

static void tear_down(void)
{
    usher_release(&usher);
    parking_sweep(proxy.parking, DEADLINE_NO, true, session_abandon, &proxy);
    parking_delete(proxy.parking);
    traffic_delete(proxy.traffic);
    plans_delete(proxy.plans);
    depot_release(&proxy.requests);
}

static struct guest arrive(void)
{
    static const union net_address somebody = {.in = {.sin_family = AF_INET}};
    int ends[2];
    script_tcp_pair(ends);
    ck_assert_int_eq(parking_admit(proxy.parking, ends[0], &somebody, false, DEADLINE_NO), PARKING_ADMITTED);
    return (struct guest){.fd = ends[0], .peer = ends[1]};
}

/* One that stands in the line with what it says. */
static struct guest arrive_with(const char *text)
{
    struct guest g = arrive();
    script_say(g.peer, text);
    return g;
}

static void leave(const struct guest *g)
{
    close(g->peer);
}

/* Waits until G's bytes are too old. */
static void grow_late(const struct guest *g)
{
    mono_ns end = deadline_after_ms(clock_mono(), WAIT_MS);
    while (waited_for_worker_ms(&(struct client){.fd = g->fd}, clock_mono()) <= QUEUE_MS) {
        ck_assert_msg(clock_mono() < end, "its bytes do not grow older");
    }
}

/* A look of the keeper at NOW, while every worker hangs. */
static void look(mono_ns now)
{
    usher_look(&usher, now, parking_is_ready(proxy.parking, PARKING_ALL), false);
}

static mono_ns hours_later(int hours)
{
    return deadline_after_ms(begun, (int64_t)hours * HOUR_MS + 1);
}

/* What G has been told; "" for nothing. */
static const char *told(const struct guest *g)
{
    static char text[4096];
    ssize_t got = recv(g->peer, text, sizeof text - 1, MSG_DONTWAIT);
    text[got > 0 ? got : 0] = '\0';
    return text;
}

static void expect_busy(const struct guest *g)
{
    const char *text = told(g);
    ck_assert_msg(strncmp(text, "HTTP/1.1 503 ", 13) == 0, "told \"%s\"", text);
    ck_assert_ptr_nonnull(strstr(text, "\r\nRetry-After: "));
    ck_assert_ptr_nonnull(strstr(text, "\"workers_busy\""));
    ck_assert_ptr_null(strstr(text, "Connection: close"));
}

static void expect_counts(uint64_t busy)
{
    struct traffic_totals totals;
    traffic_read(proxy.traffic, &totals);
    ck_assert_uint_eq(totals.notes[TRAFFIC_WORKERS_BUSY], busy);
    ck_assert_uint_eq(totals.status_5xx, busy);
    ck_assert_uint_eq(totals.total, busy);
}

/* A worker takes the one that the usher holds, which must be G. It goes away. */
static void expect_held(const struct guest *g)
{
    struct client *client = usher_take(&usher);
    ck_assert_ptr_nonnull(client);
    ck_assert_int_eq(client->fd, g->fd);
    ck_assert(!usher_holds(&usher));
    ck_assert_ptr_null(usher_take(&usher));
    session_abandon(&proxy, client, PARKING_IDLE);
}

/* A worker takes the first of the line, which must be G. It goes away. */
static void expect_first(const struct guest *g)
{
    struct client *client = parking_take_now(proxy.parking);
    ck_assert_ptr_nonnull(client);
    ck_assert_int_eq(client->fd, g->fd);
    session_abandon(&proxy, client, PARKING_IDLE);
}

START_TEST(a_line_that_was_empty_in_time_is_left_alone)
{
    struct guest g = arrive_with(GET);
    look(begun);
    look(deadline_after_ms(begun, HOUR_MS));
    ck_assert(!usher_is_alert(&usher));
    usher_look(&usher, hours_later(5), false, false); /* nobody waits */
    look(hours_later(6) - 2 * NS_PER_MS);
    ck_assert(!usher_is_alert(&usher));
    usher_calm(&usher, hours_later(6));
    look(hours_later(7) - NS_PER_MS);
    ck_assert(!usher_is_alert(&usher));
    ck_assert(!usher_holds(&usher));
    ck_assert_ptr_null(usher_take(&usher));
    expect_first(&g);
    leave(&g);
}
END_TEST

START_TEST(who_waited_too_long_is_told_so)
{
    struct guest guests[3];
    for (int i = 0; i < 3; i++) {
        guests[i] = arrive_with(GET);
    }
    for (int round = 1; round <= 2; round++) {
        grow_late(&guests[2]); /* the last one */
        look(clock_mono());
        ck_assert(usher_is_alert(&usher));
        ck_assert(!usher_holds(&usher));
        for (int i = 0; i < 3; i++) {
            expect_busy(&guests[i]);
            ck_assert_str_eq(told(&guests[i]), "");
        }
        expect_counts((uint64_t)round * 3);
        ck_assert(!parking_is_ready(proxy.parking, PARKING_ALL));
        ck_assert_uint_eq(parking_open(proxy.parking), 3); /* it may ask again */
        for (int i = 0; i < 3; i++) {
            script_say(guests[i].peer, GET);
        }
    }
    for (int i = 0; i < 3; i++) {
        expect_first(&guests[i]);
        leave(&guests[i]);
    }
}
END_TEST

START_TEST(all_that_came_together_is_told_so)
{
    struct guest g = arrive_with(GET GET "GET /half HTTP/1.1\r\n");
    grow_late(&g);
    look(clock_mono());
    const char *text = told(&g);
    const char *second = strstr(text + 1, "HTTP/1.1 503 ");
    ck_assert_msg(second != NULL && strstr(second + 1, "HTTP/1.1 ") == NULL, "told \"%s\"", text);
    expect_counts(2);
    ck_assert_uint_eq(parking_open(proxy.parking), 1); /* it waits for the rest of the third */
    ck_assert(!parking_is_ready(proxy.parking, PARKING_ALL));
    leave(&g);
}
END_TEST

START_TEST(half_a_request_is_not_late)
{
    struct guest g = arrive_with("GET /half HTTP/1.1\r\n");
    grow_late(&g);
    look(clock_mono());
    ck_assert(!usher_holds(&usher));
    ck_assert_str_eq(told(&g), "");
    ck_assert_uint_eq(parking_open(proxy.parking), 1);
    script_say(g.peer, "Host: x\r\n\r\n");
    expect_first(&g);
    expect_counts(0);
    leave(&g);
}
END_TEST

START_TEST(the_line_stays_in_order)
{
    struct guest guests[5];
    for (int i = 0; i < 5; i++) {
        guests[i] = arrive_with(GET);
    }
    for (int i = 0; i < 5; i++) {
        look(hours_later(1 + i));
        look(hours_later(1 + i));
        ck_assert(usher_holds(&usher));
        expect_held(&guests[i]);
        leave(&guests[i]);
    }
    look(hours_later(6));
    ck_assert(!usher_holds(&usher));
    expect_counts(0);
}
END_TEST

/* The one in the middle has waited since now: it let others go first. */
START_TEST(nobody_behind_the_first_in_time_is_looked_at)
{
    mono_ns now = hours_later(1);
    struct guest in_time = arrive_with(GET);
    struct client *client = parking_take_now(proxy.parking);
    ck_assert_ptr_nonnull(client);
    struct guest late = arrive_with(GET);
    client->yielded_at = now;
    session_put_back(&proxy, client, DEADLINE_NO);
    struct guest behind = arrive_with(GET);
    grow_late(&late);
    grow_late(&behind);
    look(now);
    expect_busy(&late);
    ck_assert(usher_holds(&usher));
    ck_assert_str_eq(told(&behind), "");
    look(now);
    ck_assert_str_eq(told(&behind), "");
    expect_counts(1);
    expect_held(&in_time);
    look(now);
    expect_busy(&behind);
    leave(&late);
    leave(&in_time);
    leave(&behind);
}
END_TEST

START_TEST(whom_it_holds_becomes_late_too)
{
    mono_ns now = hours_later(1);
    struct guest g = arrive_with(GET);
    struct client *client = parking_take_now(proxy.parking);
    ck_assert_ptr_nonnull(client);
    client->yielded_at = now;
    session_put_back(&proxy, client, DEADLINE_NO);
    grow_late(&g);
    look(now);
    ck_assert(usher_holds(&usher));
    usher_look(&usher, deadline_after_ms(now, QUEUE_MS + 1), false, false); /* nobody else waits */
    ck_assert(!usher_holds(&usher));
    expect_busy(&g);
    leave(&g);
}
END_TEST

START_TEST(when_a_worker_is_free_it_finds_the_held_one_in_the_line)
{
    struct guest guests[2] = {arrive_with(GET)};
    look(hours_later(1));
    ck_assert(usher_holds(&usher));
    guests[1] = arrive_with(GET);
    usher_look(&usher, hours_later(1), true, true); /* a worker that waits will find the second one */
    ck_assert(usher_holds(&usher));
    expect_held(&guests[0]);
    look(hours_later(1));
    ck_assert(usher_holds(&usher));
    usher_look(&usher, hours_later(1), false, true);
    ck_assert(!usher_holds(&usher));
    expect_first(&guests[1]);
    usher_look(&usher, hours_later(1), false, true);
    ck_assert(!usher_is_alert(&usher));
    leave(&guests[0]);
    leave(&guests[1]);
}
END_TEST

START_TEST(at_the_end_it_gives_back_whom_it_holds)
{
    struct guest g = arrive_with(GET);
    look(hours_later(1));
    ck_assert(usher_holds(&usher));
    usher_release(&usher);
    expect_first(&g);
    leave(&g);
}
END_TEST

/* They need no worker. */
START_TEST(who_asks_nothing_is_tended_at_once)
{
    struct guest ends = arrive_with(GET);
    struct client *client = parking_take_now(proxy.parking);
    ck_assert_ptr_nonnull(client);
    client->linger_until = DEADLINE_NO; /* it had its last answer */
    session_put_back(&proxy, client, DEADLINE_NO);
    struct guest asks = arrive_with(GET);
    leave(&ends);
    look(hours_later(1));
    ck_assert_uint_eq(parking_open(proxy.parking), 1);
    expect_held(&asks);
    expect_counts(0);
    leave(&asks);
}
END_TEST

int main(void)
{
    TCase *late = tcase_create("late");
    tcase_add_checked_fixture(late, set_up, tear_down);
    tcase_add_test(late, who_waited_too_long_is_told_so);
    tcase_add_test(late, all_that_came_together_is_told_so);
    tcase_add_test(late, half_a_request_is_not_late);
    tcase_add_test(late, nobody_behind_the_first_in_time_is_looked_at);
    tcase_add_test(late, whom_it_holds_becomes_late_too);
    TCase *patient = tcase_create("patient");
    tcase_add_checked_fixture(patient, set_up_patient, tear_down);
    tcase_add_test(patient, a_line_that_was_empty_in_time_is_left_alone);
    tcase_add_test(patient, the_line_stays_in_order);
    tcase_add_test(patient, when_a_worker_is_free_it_finds_the_held_one_in_the_line);
    tcase_add_test(patient, at_the_end_it_gives_back_whom_it_holds);
    tcase_add_test(patient, who_asks_nothing_is_tended_at_once);
    Suite *suite = suite_create("usher");
    suite_add_tcase(suite, late);
    suite_add_tcase(suite, patient);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
