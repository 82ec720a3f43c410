/* SPDX-License-Identifier: MIT
 * Of a descriptor that is no socket nothing is under way: what was sent has been taken. Stories show the
 * rest. */
#include "proxy/pace.h"

#include <check.h>
#include <stdlib.h>

enum { WINDOW_MS = 2000, RATE = 500, NO_SOCKET = -1 };

static const mono_ns start = 1000 * NS_PER_S;
static const mono_ns window = WINDOW_MS * NS_PER_MS;
static struct pace pace;

static mono_ns deadline(uint64_t sent_bytes, mono_ns now, uint32_t rate)
{
    return pace_deadline(&pace, NO_SOCKET, sent_bytes, now, WINDOW_MS, rate);
}

START_TEST(who_takes_enough_has_another_window)
{
    pace_begin(&pace, NO_SOCKET, 70000, start);
    ck_assert_int_eq(deadline(70000, start + 1, RATE), start + window);
    ck_assert_int_eq(deadline(70999, start + 2, RATE), start + window);
    ck_assert_int_eq(deadline(71000, start + 3, RATE), start + 3 + window);
    ck_assert_int_eq(deadline(71999, start + window, RATE), start + 3 + window);
    ck_assert_int_eq(deadline(72000, start + window + 2, RATE), start + window + 2 + window);
}
END_TEST

START_TEST(who_does_not_is_too_late)
{
    pace_begin(&pace, NO_SOCKET, 0, start);
    ck_assert_int_le(deadline(999, start + window, RATE), start + window);
}
END_TEST

START_TEST(without_a_rate_anything_will_do_but_nothing)
{
    pace_begin(&pace, NO_SOCKET, 0, start);
    ck_assert_int_eq(deadline(0, start + 1, 0), start + window);
    ck_assert_int_eq(deadline(1, start + 2, 0), start + 2 + window);
    ck_assert_int_eq(deadline(1, start + 3, 0), start + 2 + window);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("pace");
    tcase_add_test(tests, who_takes_enough_has_another_window);
    tcase_add_test(tests, who_does_not_is_too_late);
    tcase_add_test(tests, without_a_rate_anything_will_do_but_nothing);
    Suite *suite = suite_create("pace");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
