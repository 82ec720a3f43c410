/* SPDX-License-Identifier: MIT
 * Plans: who keeps which slot, and that a plan lives as long as somebody goes by it. */
#include "common/panic.h"
#include "common/plan.h"

#include <check.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* A configuration with a backend for each letter of NAMES. */
static void configure(struct config *c, const char *names)
{
    *c = (struct config){.limits = {.header_bytes = 1024}};
    for (; *names != '\0'; names++) {
        struct config_backend *b = &c->backends[c->backend_count++];
        snprintf(b->name, sizeof b->name, "%c", *names);
        snprintf(b->url, sizeof b->url, "http://%c:80", *names);
    }
}

static struct plan *make(const char *names, const struct plan *before, uint64_t taken)
{
    static struct config config; /* large */
    configure(&config, names);
    return plan_make(&config, before, taken);
}

START_TEST(slots_begin_in_order)
{
    struct plan *plan = make("abc", NULL, 0);
    ck_assert_uint_eq(plan->members, 7);
    for (uint32_t i = 0; i < 3; i++) {
        ck_assert_uint_eq(plan->slots[i], i);
        ck_assert_ptr_eq(plan_backend(plan, i), &plan->config.backends[i]);
    }
    plan_delete(plan);
    plan_delete(NULL);
}
END_TEST

START_TEST(who_stays_keeps_its_slot)
{
    struct plan *first = make("abc", NULL, 0);
    struct plan *second = make("dca", first, 0);
    ck_assert_uint_eq(second->slots[0], 3); /* d: slot 1 is still b's */
    ck_assert_uint_eq(second->slots[1], 2);
    ck_assert_uint_eq(second->slots[2], 0);
    ck_assert_uint_eq(second->members, 0xd);
    ck_assert_str_eq(plan_backend(second, 3)->name, "d");
    struct plan *third = make("de", second, 0);
    ck_assert_uint_eq(third->slots[1], 1); /* nobody names b any more */
    struct plan *fourth = make("de", second, 2);
    ck_assert_uint_eq(fourth->slots[1], 4); /* somebody does */
    plan_delete(first);
    plan_delete(second);
    plan_delete(third);
    plan_delete(fourth);
}
END_TEST

START_TEST(another_url_is_another_backend)
{
    struct plan *first = make("ab", NULL, 0);
    static struct config config;
    configure(&config, "ab");
    snprintf(config.backends[0].url, sizeof config.backends[0].url, "http://a:81");
    struct plan *second = plan_make(&config, first, 0);
    ck_assert_uint_eq(second->slots[0], 2);
    ck_assert_uint_eq(second->slots[1], 1);
    plan_delete(first);
    plan_delete(second);
}
END_TEST

START_TEST(slots_may_run_out)
{
    struct plan *first = make("a", NULL, 0);
    errno = 0;
    ck_assert_ptr_null(make("ab", first, UINT64_MAX));
    ck_assert_int_eq(errno, ENOSPC);
    struct plan *same = make("a", first, UINT64_MAX);
    ck_assert_ptr_nonnull(same);
    struct plan *last = make("ab", first, UINT64_MAX >> 1);
    ck_assert_uint_eq(last->slots[1], 63);
    plan_delete(first);
    plan_delete(same);
    plan_delete(last);
}
END_TEST

START_TEST(the_largest_head_is_remembered)
{
    static struct config config;
    configure(&config, "a");
    config.limits.header_bytes = 4096;
    struct plan *first = plan_make(&config, NULL, 0);
    config.limits.header_bytes = 2048;
    struct plan *second = plan_make(&config, first, 0);
    ck_assert_uint_eq(second->header_bytes_max, 4096);
    config.limits.header_bytes = 8192;
    struct plan *third = plan_make(&config, second, 0);
    ck_assert_uint_eq(third->header_bytes_max, 8192);
    plan_delete(first);
    plan_delete(second);
    plan_delete(third);
}
END_TEST

START_TEST(a_plan_that_is_held_stays)
{
    struct plan *first = make("a", NULL, 0);
    struct plans *plans = plans_new(first, 2);
    ck_assert_ptr_eq(plans_hold(plans, 0), first);
    struct plan *second = make("b", first, plans_sweep(plans));
    plans_publish(plans, second);
    ck_assert_ptr_eq(plans_current(plans), second);
    ck_assert_uint_eq(plans_sweep(plans), 3);
    ck_assert_uint_eq(plans_waiting(plans), 1);
    ck_assert_str_eq(first->config.backends[0].name, "a");
    ck_assert_ptr_eq(plans_hold(plans, 1), second);
    plans_let_go(plans, 0);
    ck_assert_uint_eq(plans_sweep(plans), 2);
    ck_assert_uint_eq(plans_waiting(plans), 0);
    plans_let_go(plans, 1);
    plans_delete(plans);
    plans_delete(NULL);
}
END_TEST

/* Whose readers pin and unpin does not matter, only how often. */
START_TEST(a_plan_that_is_pinned_stays)
{
    struct plan *first = make("a", NULL, 0);
    struct plans *plans = plans_new(first, 2);
    plan_pin(first, 0);
    plan_pin(first, 1);
    plan_pin(first, PLAN_SHARDS);
    struct plan *second = make("b", first, plans_sweep(plans));
    plans_publish(plans, second);
    for (uint32_t reader = 3; reader > 0; reader--) {
        ck_assert_uint_eq(plans_sweep(plans), 3);
        plan_unpin(first, reader);
    }
    ck_assert_uint_eq(plans_sweep(plans), 2);
    ck_assert_uint_eq(plans_waiting(plans), 0);
    plans_delete(plans);
}
END_TEST

START_TEST(two_may_be_held)
{
    struct plan *first = make("a", NULL, 0);
    struct plans *plans = plans_new(first, 1);
    plans_hold(plans, 0);
    ck_assert_ptr_eq(plans_hold_newer(plans, 0), first);
    struct plan *second = make("b", first, plans_sweep(plans));
    plans_publish(plans, second);
    ck_assert_ptr_eq(plans_hold_newer(plans, 0), second);
    struct plan *third = make("c", second, plans_sweep(plans));
    plans_publish(plans, third);
    ck_assert_uint_eq(plans_sweep(plans), 7);
    ck_assert_uint_eq(plans_waiting(plans), 2);
    ck_assert_ptr_eq(plans_hold(plans, 0), third); /* lets go of both */
    ck_assert_uint_eq(plans_sweep(plans), 4);
    plans_let_go(plans, 0);
    plans_delete(plans);
}
END_TEST

enum { READERS = 8, RELOADS = 3000 };

struct crowd {
    struct plans *plans;
    _Atomic bool stop;
    _Atomic uint32_t next_reader;
    _Atomic uint64_t looks;
};

/* Takes plans and looks whether what stands in them is of one piece: a freed one is not, and the sanitizers
 * see it too. */
static void *read_plans(void *argument)
{
    struct crowd *crowd = argument;
    uint32_t reader = atomic_fetch_add(&crowd->next_reader, 1);
    while (!atomic_load(&crowd->stop)) {
        const struct plan *plan = plans_hold(crowd->plans, reader);
        uint32_t serial = plan->config.drain_ms;
        MUST(plan->config.workers == serial && plan->config.backend_count == 1);
        if (reader % 2 == 0) {
            const struct plan *newer = plans_hold_newer(crowd->plans, reader);
            MUST(newer->config.workers == newer->config.drain_ms && newer->config.drain_ms >= serial);
        }
        MUST(plan->config.workers == serial && plan->config.drain_ms == serial);
        if (reader % 3 != 0) {
            plans_let_go(crowd->plans, reader);
        }
        atomic_fetch_add_explicit(&crowd->looks, 1, memory_order_relaxed);
    }
    plans_let_go(crowd->plans, reader);
    return NULL;
}

START_TEST(nobody_reads_a_freed_plan)
{
    static struct config config;
    configure(&config, "a");
    struct crowd crowd = {.plans = plans_new(plan_make(&config, NULL, 0), READERS)};
    pthread_t threads[READERS];
    for (int i = 0; i < READERS; i++) {
        ck_assert_int_eq(pthread_create(&threads[i], NULL, read_plans, &crowd), 0);
    }
    while (atomic_load(&crowd.looks) < READERS) {
        sched_yield();
    }
    for (uint32_t i = 1; i <= RELOADS; i++) {
        config.workers = i;
        config.drain_ms = i;
        struct plan *plan = plan_make(&config, plans_current(crowd.plans), plans_sweep(crowd.plans));
        ck_assert_ptr_nonnull(plan);
        plans_publish(crowd.plans, plan);
        plans_sweep(crowd.plans);
        ck_assert_uint_le(plans_waiting(crowd.plans), 2 * READERS);
        if (i % 16 == 0) {
            sched_yield();
        }
    }
    atomic_store(&crowd.stop, true);
    for (int i = 0; i < READERS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
    }
    plans_sweep(crowd.plans);
    ck_assert_uint_eq(plans_waiting(crowd.plans), 0);
    plans_delete(crowd.plans);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("plan");
    TCase *all = tcase_create("all");
    tcase_add_test(all, slots_begin_in_order);
    tcase_add_test(all, who_stays_keeps_its_slot);
    tcase_add_test(all, another_url_is_another_backend);
    tcase_add_test(all, slots_may_run_out);
    tcase_add_test(all, the_largest_head_is_remembered);
    tcase_add_test(all, a_plan_that_is_held_stays);
    tcase_add_test(all, a_plan_that_is_pinned_stays);
    tcase_add_test(all, two_may_be_held);
    tcase_add_test(all, nobody_reads_a_freed_plan);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
