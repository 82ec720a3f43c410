/* SPDX-License-Identifier: MIT */
#include "proxy/tally.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>

static struct in6_addr ip(const char *text)
{
    struct in6_addr address;
    ck_assert_int_eq(inet_pton(AF_INET6, text, &address), 1);
    return address;
}

static bool add(struct tally *t, const char *text)
{
    struct in6_addr address = ip(text);
    return tally_add(t, &address);
}

static void take_back(struct tally *t, const char *text)
{
    struct in6_addr address = ip(text);
    tally_remove(t, &address);
}

START_TEST(each_client_has_its_own_limit)
{
    struct tally *t = tally_new(100, 2);
    ck_assert(add(t, "::ffff:10.0.0.1"));
    ck_assert(add(t, "::ffff:10.0.0.1"));
    ck_assert(!add(t, "::ffff:10.0.0.1"));
    ck_assert(add(t, "::ffff:10.0.0.2"));
    take_back(t, "::ffff:10.0.0.1");
    ck_assert(add(t, "::ffff:10.0.0.1"));
    ck_assert(!add(t, "::ffff:10.0.0.1"));
    tally_delete(t);
}
END_TEST

START_TEST(an_ipv6_client_is_its_64)
{
    struct tally *t = tally_new(100, 1);
    ck_assert(add(t, "2001:db8:0:1::1"));
    ck_assert(!add(t, "2001:db8:0:1:ffff::2"));
    ck_assert(add(t, "2001:db8:0:2::1"));
    take_back(t, "2001:db8:0:1::77"); /* the same client */
    ck_assert(add(t, "2001:db8:0:1::3"));
    tally_delete(t);
}
END_TEST

/* The table against a plain array, through many additions and removals in a table that is as full as it may
 * be. */
START_TEST(removals_lose_nobody)
{
    enum { CONNECTIONS = 64, CLIENTS = 40, EACH = 3, STEPS = 200000 };
    struct tally *t = tally_new(CONNECTIONS, EACH);
    int counts[CLIENTS] = {0};
    int total = 0;
    unsigned seed = 7;
    for (int step = 0; step < STEPS; step++) {
        int client = rand_r(&seed) % CLIENTS;
        char text[64];
        snprintf(text, sizeof text, "::ffff:10.%d.0.1", client);
        if (rand_r(&seed) % 2 == 0 && total < CONNECTIONS) {
            bool added = add(t, text);
            ck_assert_msg(added == (counts[client] < EACH), "step %d, client %d", step, client);
            counts[client] += added;
            total += added;
        } else if (counts[client] > 0) {
            take_back(t, text);
            counts[client]--;
            total--;
        }
    }
    tally_delete(t);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("tally");
    TCase *tcase = tcase_create("tally");
    tcase_add_test(tcase, each_client_has_its_own_limit);
    tcase_add_test(tcase, an_ipv6_client_is_its_64);
    tcase_add_test(tcase, removals_lose_nobody);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
