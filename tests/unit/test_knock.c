/* SPDX-License-Identifier: MIT
 * Who is still there behind the end of its side. */
#include "proxy/knock.h"

#include "tests/unit/script.h"

#include <check.h>
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

START_TEST(one_who_sends_hears_nothing_ahead)
{
    knock(&client);
    client.ended = true; /* for all we know: it has not */
    knock(&client);
    ck_assert(!client.knocked && !client.half_closed && !client.gone);
    expect_answer("HTTP/1.1 200 OK\r\n");
}
END_TEST

START_TEST(one_who_waits_hears_the_first_byte_once)
{
    shutdown(peer, SHUT_WR);
    client.ended = true;
    knock(&client);
    knock(&client);
    ck_assert(client.knocked && client.half_closed && !client.gone);
    char first;
    ck_assert_int_eq(recv(peer, &first, 1, MSG_PEEK), 1);
    ck_assert_int_eq(first, 'H');
    expect_answer("HTTP/1.1 200 OK\r\n");
    knock(&client); /* for the next answer */
    expect_answer("HTTP/1.1 404 No\r\n");
    expect_answer("the body is nobody's beginning");
}
END_TEST

START_TEST(one_who_is_gone_is_found_out)
{
    close(peer);
    client.half_closed = true;
    knock(&client);
    ck_assert(client.gone);
    peer = -1;
}
END_TEST

int main(void)
{
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_test(all, one_who_sends_hears_nothing_ahead);
    tcase_add_test(all, one_who_waits_hears_the_first_byte_once);
    tcase_add_test(all, one_who_is_gone_is_found_out);
    Suite *suite = suite_create("knock");
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
