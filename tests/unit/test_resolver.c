/* SPDX-License-Identifier: MIT
 * The thread that keeps a backend's addresses, with a resolver of our own. */
#include "proxy/resolver.h"

#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

static const struct config_backend backend = {.name = "gcp", .address = {.host = "gcp.test", .port = 80}};
static struct upstream upstream;
static struct resolver *resolver;

/* What the name server says: so many addresses, or it fails, or it hangs. */
static _Atomic int answer_count;
static _Atomic bool failing, hanging;
static _Atomic int asked;

static const char *look_up(const struct config_address *address, struct net_addresses *addresses_)
{
    ck_assert_str_eq(address->host, backend.address.host);
    asked++;
    while (hanging) {
        poll(NULL, 0, 1);
    }
    addresses_->count = 0;
    if (failing) {
        return "the name server has gone";
    }
    for (int i = 0; i < answer_count; i++) {
        addresses_->list[addresses_->count++].in =
            (struct sockaddr_in){.sin_family = AF_INET,
                                 .sin_port = htons(80),
                                 .sin_addr = {htonl(0x7f000001U + (unsigned)i)}};
    }
    return NULL;
}

static uint32_t address_count(void)
{
    struct net_addresses now;
    address_book_read(&upstream.book, &now);
    return now.count;
}

#define UNTIL(condition)                                                                                     \
    for (mono_ns end = deadline_after_ms(clock_mono(), 10000); !(condition); poll(NULL, 0, 1))               \
    ck_assert_msg(clock_mono() < end, "not so in 10 s: " #condition)

static void set_up(void)
{
    static const struct net_addresses none = {.count = 0};
    ck_assert(upstream_init(&upstream, &none, 1, 1000));
}

static void start(uint32_t resolve_ms)
{
    resolver = resolver_start(&backend, &upstream, resolve_ms, look_up);
    ck_assert_ptr_nonnull(resolver);
}

static bool wait_ms(int64_t ms)
{
    return resolver_wait(resolver, deadline_after_ms(clock_mono(), ms));
}

START_TEST(addresses_follow_the_name)
{
    answer_count = 2;
    start(1);
    ck_assert(wait_ms(10000));
    ck_assert_uint_eq(address_count(), 2);
    uint32_t version = address_book_version(&upstream.book);
    int before = asked;
    UNTIL(asked > before + 3);
    ck_assert_uint_eq(address_book_version(&upstream.book), version); /* the same ones: nothing moves */
    answer_count = 3;
    UNTIL(address_count() == 3);
    resolver_stop(resolver);
}
END_TEST

START_TEST(a_name_that_fails_keeps_its_last_addresses)
{
    answer_count = 2;
    start(1);
    ck_assert(wait_ms(10000));
    ck_assert_ptr_null(resolver_trouble(resolver));
    failing = true;
    UNTIL(resolver_trouble(resolver) != NULL);
    ck_assert_str_eq(resolver_trouble(resolver), "the name server has gone");
    ck_assert_uint_eq(address_count(), 2);
    failing = false;
    UNTIL(resolver_trouble(resolver) == NULL);
    ck_assert_uint_eq(address_count(), 2);
    resolver_stop(resolver);
}
END_TEST

/* It is asked each second, whatever resolve_ms says. */
START_TEST(a_name_unknown_at_first_comes_alive)
{
    failing = true;
    answer_count = 1;
    start(3600000);
    ck_assert(wait_ms(10000));
    ck_assert_uint_eq(address_count(), 0);
    failing = false;
    UNTIL(address_count() == 1);
    resolver_stop(resolver);
}
END_TEST

/* The wait that is under way becomes shorter, or longer. */
START_TEST(the_interval_may_change)
{
    answer_count = 1;
    start(3600000);
    ck_assert(wait_ms(10000));
    ck_assert_int_eq(asked, 1);
    resolver_set_interval(resolver, 1);
    UNTIL(asked > 3);
    resolver_set_interval(resolver, 3600000);
    int before;
    do { /* a look-up may still be under way */
        before = asked;
        poll(NULL, 0, 50);
    } while (asked != before);
    answer_count = 2;
    poll(NULL, 0, 50);
    ck_assert_int_le(asked, before + 1);
    resolver_set_interval(resolver, 1);
    UNTIL(address_count() == 2);
    resolver_stop(resolver);
}
END_TEST

START_TEST(a_silent_name_server_holds_up_neither_start_nor_stop)
{
    hanging = true;
    answer_count = 1;
    start(1);
    ck_assert(!wait_ms(20));
    UNTIL(asked == 1);
    mono_ns begun = clock_mono();
    resolver_stop(resolver);
    ck_assert_int_lt(clock_mono() - begun, 5000 * NS_PER_MS);
    hanging = false; /* the thread comes out now, and must not touch the upstream */
    poll(NULL, 0, 50);
    ck_assert_uint_eq(address_count(), 0);
}
END_TEST

/* Stopped at any moment: within the look-up, between two, or in the step from the one to the other. */
START_TEST(a_stop_at_any_time)
{
    answer_count = 1;
    for (int i = 0; i < 300; i++) {
        start(1);
        usleep((useconds_t)(i * 10));
        resolver_stop(resolver);
    }
    upstream_release(&upstream);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("resolver");
    tcase_add_checked_fixture(tests, set_up, NULL);
    tcase_add_test(tests, addresses_follow_the_name);
    tcase_add_test(tests, a_name_that_fails_keeps_its_last_addresses);
    tcase_add_test(tests, a_name_unknown_at_first_comes_alive);
    tcase_add_test(tests, the_interval_may_change);
    tcase_add_test(tests, a_silent_name_server_holds_up_neither_start_nor_stop);
    tcase_add_test(tests, a_stop_at_any_time);
    Suite *suite = suite_create("resolver");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
