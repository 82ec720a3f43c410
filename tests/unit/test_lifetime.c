/* SPDX-License-Identifier: MIT */
#include "proxy/lifetime.h"

#include <check.h>
#include <stdlib.h>

START_TEST(the_mean_is_longer_only_with_very_many)
{
    static const struct {
        uint32_t connections, mean_ms;
    } cases[] = {{0, 10000},
                 {1, 10000},
                 {256, 10000},
                 {1000, 10000},
                 {1001, 10010},
                 {4096, 40960},
                 {UINT32_MAX, UINT32_MAX}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ck_assert_uint_eq(lifetime_mean_ms(cases[i].connections), cases[i].mean_ms);
    }
}
END_TEST

START_TEST(a_life_is_half_to_one_and_a_half_of_the_mean)
{
    static const uint32_t numbers[] = {0, 1, 2, 1000000, UINT32_C(1) << 31, UINT32_MAX};
    static const uint32_t means_ms[] = {0, 1, 2, 3, 1000, 10000, 40960};
    ck_assert_uint_eq(lifetime_ms(10000, 0), 5000);
    for (size_t n = 0; n < sizeof numbers / sizeof numbers[0]; n++) {
        for (size_t m = 0; m < sizeof means_ms / sizeof means_ms[0]; m++) {
            uint32_t life_ms = lifetime_ms(means_ms[m], numbers[n]);
            ck_assert_uint_ge(life_ms, means_ms[m] / 2);
            ck_assert_uint_le(life_ms, means_ms[m] + means_ms[m] / 2);
        }
        ck_assert_uint_ge(lifetime_ms(UINT32_MAX, numbers[n]), UINT32_MAX / 2); /* no overflow */
    }
}
END_TEST

/* Of connections opened together, wherever the numbers stand, each tenth of the range gets its tenth. */
START_TEST(lives_are_spread_evenly)
{
    enum { TOGETHER = 256, PARTS = 10, MEAN_MS = 10000 };
    static const uint32_t firsts[] = {0, 1, 255, 123456789, UINT32_MAX - 100};
    for (size_t f = 0; f < sizeof firsts / sizeof firsts[0]; f++) {
        int parts[PARTS] = {0};
        for (uint32_t i = 0; i < TOGETHER; i++) {
            parts[(lifetime_ms(MEAN_MS, firsts[f] + i) - MEAN_MS / 2) * PARTS / MEAN_MS]++;
        }
        for (int i = 0; i < PARTS; i++) {
            ck_assert_int_ge(parts[i], TOGETHER / PARTS - 3);
            ck_assert_int_le(parts[i], TOGETHER / PARTS + 4);
        }
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("lifetime");
    TCase *tcase = tcase_create("lifetime");
    tcase_add_test(tcase, the_mean_is_longer_only_with_very_many);
    tcase_add_test(tcase, a_life_is_half_to_one_and_a_half_of_the_mean);
    tcase_add_test(tcase, lives_are_spread_evenly);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
