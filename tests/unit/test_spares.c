/* SPDX-License-Identifier: MIT
 * Spares that wander: one worker takes what the other keeps. */
#include "proxy/spares.h"

#include <check.h>
#include <stdlib.h>

static uint32_t made, discarded;

static void discard(void *object)
{
    discarded++;
    free(object);
}

/* As callers do. */
static void *take(struct spares *s)
{
    void *object = spares_take(s);
    if (object == NULL) {
        object = malloc(1);
        ck_assert_ptr_nonnull(object);
        made++;
    }
    return object;
}

static struct depot depot;
static struct spares here, there;

static void set_up(void)
{
    made = discarded = 0;
    depot_init(&depot, discard);
    here = there = (struct spares){.depot = &depot};
}

/* Nothing is lost: what was made is discarded at the end, by whoever has it. */
static void tear_down(void)
{
    spares_release(&here);
    spares_release(&there);
    depot_release(&depot);
    ck_assert_uint_eq(discarded, made);
}

START_TEST(what_was_kept_last_is_taken_first)
{
    ck_assert_ptr_null(spares_take(&here));
    void *first = take(&here), *second = take(&here);
    spares_keep(&here, first);
    spares_keep(&here, second);
    ck_assert_ptr_eq(spares_take(&here), second);
    ck_assert_ptr_eq(spares_take(&here), first);
    ck_assert_ptr_null(spares_take(&here));
    spares_keep(&here, first);
    spares_keep(&here, second);
}
END_TEST

START_TEST(nothing_is_made_while_the_load_is_steady)
{
    enum { AT_ONCE = 100 };
    void *lent[AT_ONCE];
    for (int round = 0; round < 50; round++) {
        for (int i = 0; i < AT_ONCE; i++) {
            lent[i] = take(&here);
        }
        for (int i = 0; i < AT_ONCE; i++) {
            spares_keep(&there, lent[i]);
        }
    }
    /* Those that are with the other one when they are wanted are the only ones that are made besides. */
    ck_assert_uint_le(made, AT_ONCE + SPARES_MAX);
    ck_assert_uint_eq(discarded, 0);
}
END_TEST

START_TEST(there_is_a_bound)
{
    enum { MANY = 2 * DEPOT_MAX };
    static void *lent[MANY];
    for (int i = 0; i < MANY; i++) {
        lent[i] = take(&here);
    }
    for (int i = 0; i < MANY; i++) {
        spares_keep(&there, lent[i]);
        ck_assert_uint_gt(there.count, 0);
    }
    ck_assert_uint_ge(discarded, MANY - DEPOT_MAX - SPARES_MAX);
    ck_assert_uint_le(depot.count, DEPOT_MAX);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spares");
    TCase *all = tcase_create("spares");
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_test(all, what_was_kept_last_is_taken_first);
    tcase_add_test(all, nothing_is_made_while_the_load_is_steady);
    tcase_add_test(all, there_is_a_bound);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
