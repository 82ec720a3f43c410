/* SPDX-License-Identifier: MIT
 * How long bytes have waited, asked of the kernel over loopback. */
#include "proxy/waited.h"

#include "tests/unit/script.h"

#include <stdlib.h>

enum { LONG_MS = 60, TICK_MS = 10 };

static struct client client;
static int peer;

static void set_up(void)
{
    int ends[2];
    script_tcp_pair(ends);
    client = (struct client){.fd = ends[0]};
    peer = ends[1];
}

static void tear_down(void)
{
    close(client.fd);
    close(peer);
}

static int64_t ms_since(mono_ns begun)
{
    return (clock_mono() - begun) / NS_PER_MS;
}

/* Lets time pass until the kernel says that the bytes are LONG_MS old. It must never say more than is true.
 */
static void grow_old(mono_ns before)
{
    for (int64_t waited = 0; waited < LONG_MS;) {
        waited = waited_for_worker_ms(&client, clock_mono());
        ck_assert_int_le(waited, ms_since(before) + TICK_MS);
        ck_assert_int_lt(ms_since(before), LONG_MS + 20000);
    }
    ck_assert_int_ge(ms_since(before), LONG_MS - TICK_MS);
}

START_TEST(the_last_byte_counts)
{
    for (int i = 0; i < 3; i++) {
        mono_ns before = clock_mono();
        ck_assert_int_eq(send(peer, "x", 1, 0), 1);
        grow_old(before);
    }
}
END_TEST

START_TEST(who_yields_waits_from_then_on)
{
    mono_ns before = clock_mono();
    ck_assert_int_eq(send(peer, "x", 1, 0), 1);
    grow_old(before);
    client.yielded_at = clock_mono();
    ck_assert_int_lt(waited_for_worker_ms(&client, client.yielded_at + 5 * NS_PER_MS), 6);
    client.yielded_at = 1; /* long ago: then its bytes are younger than that */
    ck_assert_int_lt(waited_for_worker_ms(&client, clock_mono()), ms_since(before) + TICK_MS);
}
END_TEST

START_TEST(who_asks_nothing_waits_for_nothing)
{
    mono_ns before = clock_mono();
    ck_assert_int_eq(send(peer, "x", 1, 0), 1);
    grow_old(before);
    client.linger_until = DEADLINE_NO;
    ck_assert_int_eq(waited_for_worker_ms(&client, clock_mono()), 0);
    client.linger_until = 0;
    client.outbox = (struct outbox *)&client; /* not looked into */
    ck_assert_int_eq(waited_for_worker_ms(&client, clock_mono()), 0);
    client.outbox = NULL;
    ck_assert_int_ge(waited_for_worker_ms(&client, clock_mono()), LONG_MS);
}
END_TEST

START_TEST(what_is_not_tcp_has_not_waited)
{
    int ends[2];
    script_pair(SOCK_STREAM, ends);
    ck_assert_int_eq(waited_for_worker_ms(&(struct client){.fd = ends[0]}, clock_mono()), 0);
    close(ends[0]);
    close(ends[1]);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("waited");
    TCase *tcase = tcase_create("waited");
    tcase_add_checked_fixture(tcase, set_up, tear_down);
    tcase_add_test(tcase, the_last_byte_counts);
    tcase_add_test(tcase, who_yields_waits_from_then_on);
    tcase_add_test(tcase, who_asks_nothing_waits_for_nothing);
    tcase_add_test(tcase, what_is_not_tcp_has_not_waited);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
