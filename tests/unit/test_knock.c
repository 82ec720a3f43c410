/* SPDX-License-Identifier: MIT
 * Who is still there behind the end of its side. */
#include "proxy/knock.h"

#include "tests/unit/script.h"

#include <check.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static struct client client;
static int peer;

static void set_up(void)
{
    int ends[2];
    script_pair(SOCK_STREAM, ends);
    client = (struct client){.fd = ends[0]};
    peer = ends[1];
}

static void tear_down(void)
{
    close(client.fd);
    close(peer);
}

/* The answer as the peer reads it, of which TEXT is sent now. */
static void expect_answer(const char *text)
{
    char got[64];
    struct slice rest = knock_rest(&client, slice_of(text));
    ck_assert_int_eq(write(client.fd, rest.at, rest.length), (ssize_t)rest.length);
    ssize_t length = read(peer, got, sizeof got);
    ck_assert_int_eq(length, (ssize_t)strlen(text));
    ck_assert_mem_eq(got, text, strlen(text));
}

START_TEST(who_awaits_no_answer_hears_nothing)
{
    knock(&client);
    expect_answer("HTTP/1.1 200 OK\r\n");
}
END_TEST

START_TEST(who_waits_hears_the_first_byte_once)
{
    knock_may_come(&client);
    ck_assert(!knock_was_heard(&client));
    knock(&client);
    knock(&client);
    ck_assert(knock_was_heard(&client));
    char first;
    ck_assert_int_eq(recv(peer, &first, 1, MSG_PEEK), 1);
    ck_assert_int_eq(first, 'H');
    expect_answer("HTTP/1.1 200 OK\r\n");
    ck_assert(!knock_was_heard(&client));
    knock(&client); /* the answer has begun */
    expect_answer("the body is nobody's beginning");
    knock_may_come(&client); /* for the next one */
    knock(&client);
    expect_answer("HTTP/1.1 404 No\r\n");
}
END_TEST

/* Somebody knocks all the time while many answers begin: each comes whole, and begins once. */
static void *knock_on(void *stop)
{
    while (!atomic_load((_Atomic bool *)stop)) {
        knock(&client);
        sched_yield();
    }
    return NULL;
}

START_TEST(an_answer_begins_once_whoever_begins_it)
{
    enum { ANSWERS = 20000 };
    _Atomic bool stop = false;
    pthread_t other;
    ck_assert_int_eq(pthread_create(&other, NULL, knock_on, &stop), 0);
    for (int i = 0; i < ANSWERS; i++) {
        knock_may_come(&client);
        if (i % 2 == 0) {
            sched_yield();
        }
        expect_answer("HTTP/1.1 200 OK\r\n");
    }
    atomic_store(&stop, true);
    pthread_join(other, NULL);
}
END_TEST

int main(void)
{
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_test(all, who_awaits_no_answer_hears_nothing);
    tcase_add_test(all, who_waits_hears_the_first_byte_once);
    tcase_add_test(all, an_answer_begins_once_whoever_begins_it);
    Suite *suite = suite_create("knock");
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
