/* SPDX-License-Identifier: MIT
 * Which backend may be asked beside one that hangs. */
#include "proxy/chooser.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

enum { BACKENDS = 3 };

static struct proxy proxy;
static struct chooser chooser;
static struct choice choice;

/* Three backends in rotation, of which the last takes one request at a time. The first one was asked. */
static void set_up(void)
{
    static struct config config;
    config = (struct config){.backend_count = BACKENDS};
    for (int i = 0; i < BACKENDS; i++) {
        snprintf(config.backends[i].name, sizeof config.backends[i].name, "b%d", i);
        config.backends[i].weight = 1;
    }
    config.backends[2].max_in_flight = 1;
    struct plan *plan = plan_make(&config, NULL, 0);
    ck_assert_ptr_nonnull(plan);
    proxy.plans = plans_new(plan, PROXY_READERS);
    proxy.ledger = ledger_new(BACKENDS, &(struct ledger_policy){.eject_after = 0});
    ck_assert(proxy.plans != NULL && proxy.ledger != NULL);
    balancer_init(&proxy.balancer);
    queue_init(&proxy.queue, proxy.ledger);
    chooser =
        (struct chooser){.proxy = &proxy, .plan = plan, .deadline = DEADLINE_NO, .tried = ~plan->members | 1};
}

static void tear_down(void)
{
    ledger_delete(proxy.ledger);
    plans_delete(proxy.plans);
}

static struct attempt_ticket begin(uint32_t backend)
{
    struct attempt_ticket ticket;
    ck_assert(ledger_begin(proxy.ledger, backend, true, &ticket));
    return ticket;
}

static void eject(uint32_t backend)
{
    struct attempt_ticket ticket = begin(backend);
    ck_assert(ledger_end(proxy.ledger, &ticket,
                         &(struct attempt_outcome){.end = ATTEMPT_CONNECT, .failure = true}));
}

START_TEST(each_one_in_rotation_is_spare_once)
{
    uint64_t found = 0;
    for (int i = 1; i < BACKENDS; i++) {
        ck_assert(chooser_has_spare(&chooser));
        ck_assert(chooser_spare(&chooser, &choice));
        ck_assert(choice.end == CHOICE_MADE && choice.up && choice.ticket.backend == choice.backend);
        ck_assert_uint_eq(ledger_in_flight(proxy.ledger, choice.backend), 1);
        found |= UINT64_C(1) << choice.backend;
    }
    ck_assert_uint_eq(found, 6);
    ck_assert_uint_eq(chooser.tried, UINT64_MAX);
    ck_assert(!chooser_has_spare(&chooser));
    ck_assert(!chooser_spare(&chooser, &choice));
}
END_TEST

START_TEST(one_that_is_out_is_no_last_resort)
{
    eject(1);
    eject(2);
    ck_assert(!chooser_has_spare(&chooser));
    ck_assert(!chooser_spare(&chooser, &choice));
    ck_assert(chooser_has_more(&chooser)); /* which it is for the next attempt */
}
END_TEST

START_TEST(a_full_one_is_not_waited_for)
{
    eject(1);
    struct attempt_ticket ticket = begin(2);
    ck_assert(!chooser_has_spare(&chooser));
    ck_assert(!chooser_spare(&chooser, &choice));
    ledger_end(proxy.ledger, &ticket, &(struct attempt_outcome){.end = ATTEMPT_CANCELLED});
    ck_assert(chooser_spare(&chooser, &choice));
    ck_assert_uint_eq(choice.backend, 2);
}
END_TEST

START_TEST(a_place_that_is_waited_for_is_left_to_who_waits)
{
    eject(1);
    struct queue_place place = {.tried = ~UINT64_C(4)};
    queue_join(&proxy.queue, &place);
    ck_assert(!chooser_has_spare(&chooser));
    ck_assert(!chooser_spare(&chooser, &choice));
    queue_leave(&proxy.queue, &place);
    ck_assert(chooser_spare(&chooser, &choice));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("chooser");
    TCase *spare = tcase_create("spare");
    tcase_add_checked_fixture(spare, set_up, tear_down);
    tcase_add_test(spare, each_one_in_rotation_is_spare_once);
    tcase_add_test(spare, one_that_is_out_is_no_last_resort);
    tcase_add_test(spare, a_full_one_is_not_waited_for);
    tcase_add_test(spare, a_place_that_is_waited_for_is_left_to_who_waits);
    suite_add_tcase(suite, spare);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
