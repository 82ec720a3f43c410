/* SPDX-License-Identifier: MIT
 * A share that grows. */
#include "proxy/slow_start.h"

#include <check.h>
#include <stdlib.h>

#define T (INT64_C(5) * NS_PER_S)

START_TEST(the_share_at_a_time)
{
    ck_assert_int_eq(slow_start_share(0, T, 1000), SLOW_START_FULL);      /* never away */
    ck_assert_int_eq(slow_start_share(T, T, 0), SLOW_START_FULL);         /* switched off */
    ck_assert_int_eq(slow_start_share(T, T - 1, 0), SLOW_START_FULL);     /* a clock that stands behind */
    ck_assert_int_eq(slow_start_share(T, T - 1, 1000), SLOW_START_LEAST); /* the same */
    ck_assert_int_eq(slow_start_share(T, T, 1000), SLOW_START_LEAST);
    ck_assert_int_eq(slow_start_share(T, T + NS_PER_S / 2, 1000), (SLOW_START_FULL + SLOW_START_LEAST) / 2);
    ck_assert_int_lt(slow_start_share(T, T + NS_PER_S - NS_PER_MS, 1000), SLOW_START_FULL);
    ck_assert_int_eq(slow_start_share(T, T + NS_PER_S, 1000), SLOW_START_FULL);
    ck_assert_int_eq(slow_start_share(1, INT64_MAX, 3600000), SLOW_START_FULL);
    ck_assert_int_eq(slow_start_share(T, T + 3599 * NS_PER_S, 3600000), SLOW_START_FULL - 1);
}
END_TEST

START_TEST(it_never_shrinks)
{
    int32_t before = 0;
    for (mono_ns now = T; now < T + 4 * NS_PER_S; now += NS_PER_MS) {
        int32_t share = slow_start_share(T, now, 3000);
        ck_assert_int_ge(share, before);
        ck_assert_int_le(share - before, before == 0 ? SLOW_START_LEAST : 1);
        before = share;
    }
    ck_assert_int_eq(before, SLOW_START_FULL);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("slow_start");
    TCase *tcase = tcase_create("slow_start");
    tcase_add_test(tcase, the_share_at_a_time);
    tcase_add_test(tcase, it_never_shrinks);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
