/* SPDX-License-Identifier: MIT */
#include "healthd/histogram.h"

#include <check.h>
#include <stdlib.h>

static const int64_t us = 1000;
static const int64_t ms = INT64_C(1000) * 1000;
static const int64_t s = INT64_C(1000) * 1000 * 1000;
static const int64_t hour = INT64_C(3600) * 1000 * 1000 * 1000;

/* The quantile of a histogram that holds VALUE alone. */
static int64_t through(int64_t value)
{
    struct histogram h = {0};
    histogram_record(&h, value);
    return histogram_quantile_ns(&h, 50);
}

/* |A - B|. */
static int64_t distance(int64_t a, int64_t b)
{
    return a < b ? b - a : a - b;
}

START_TEST(empty_is_zero)
{
    struct histogram h = {0};
    ck_assert_int_eq(histogram_quantile_ns(&h, 50), 0);
    ck_assert_int_eq(histogram_quantile_ns(&h, 99), 0);
}
END_TEST

START_TEST(error_stays_below_3_2_percent)
{
    for (int64_t value = us; value < 2 * hour; value += 1 + value / 997) {
        ck_assert_int_le(distance(through(value), value) * 1000, value * 32);
    }
}
END_TEST

START_TEST(grows_with_the_value)
{
    int64_t last = 0;
    for (int64_t value = 0; value < 2 * hour; value += 1 + value / 331) {
        int64_t seen = through(value);
        ck_assert_int_ge(seen, last);
        last = seen;
    }
}
END_TEST

START_TEST(edges_of_buckets)
{
    /* On both sides of each doubling, where an index that is off by one would show. */
    for (unsigned bit = 10; bit < HISTOGRAM_VALUE_BITS; bit++) {
        for (int64_t value = (INT64_C(1) << bit) - 1; value <= (INT64_C(1) << bit) + 1; value++) {
            ck_assert_int_le(distance(through(value), value) * 1000, value * 33);
        }
    }
}
END_TEST

START_TEST(out_of_range_is_clamped)
{
    ck_assert_int_eq(through(-5), through(0));
    ck_assert_int_lt(through(0), us);
    ck_assert_int_eq(through(INT64_MAX), through((INT64_C(1) << HISTOGRAM_VALUE_BITS) - 1));
    ck_assert_int_gt(through(INT64_MAX), 2 * hour);
}
END_TEST

START_TEST(quantiles_of_known_data)
{
    /* 1 ms to 1000 ms, one each: the quantile of P per cent is 10 * P ms. */
    struct histogram h = {0};
    for (int64_t i = 1; i <= 1000; i++) {
        histogram_record(&h, i * ms);
    }
    for (unsigned percent = 1; percent <= 100; percent++) {
        int64_t want = (int64_t)percent * 10 * ms;
        ck_assert_int_le(distance(histogram_quantile_ns(&h, percent), want) * 1000, want * 33);
    }
}
END_TEST

START_TEST(rank_is_rounded_up)
{
    /* 99 fast and one slow: p99 is fast, p100 is the slow one. 98 and two: p99 is slow. */
    struct histogram h = {0};
    for (int i = 0; i < 98; i++) {
        histogram_record(&h, ms);
    }
    histogram_record(&h, ms);
    histogram_record(&h, s);
    ck_assert_int_lt(histogram_quantile_ns(&h, 99), 2 * ms);
    ck_assert_int_gt(histogram_quantile_ns(&h, 100), 900 * ms);

    h = (struct histogram){0};
    for (int i = 0; i < 98; i++) {
        histogram_record(&h, ms);
    }
    histogram_record(&h, s);
    histogram_record(&h, s);
    ck_assert_int_gt(histogram_quantile_ns(&h, 99), 900 * ms);
    ck_assert_int_lt(histogram_quantile_ns(&h, 98), 2 * ms);
}
END_TEST

START_TEST(huge_counts_do_not_overflow)
{
    struct histogram h = {0};
    histogram_record(&h, ms);
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) {
        h.counts[i] *= UINT64_MAX / 2;
    }
    h.total *= UINT64_MAX / 2;
    ck_assert_int_lt(distance(histogram_quantile_ns(&h, 99), ms), 40 * us);
}
END_TEST

START_TEST(counts_below_a_power_of_two_are_exact)
{
    /* One just under each power of two and one on it: the first is below, the second is not. */
    struct histogram h = {0};
    uint64_t below = 0;
    for (unsigned bit = HISTOGRAM_UNIT_BITS; bit < HISTOGRAM_VALUE_BITS; bit++) {
        histogram_record(&h, (INT64_C(1) << bit) - 1);
        histogram_record(&h, INT64_C(1) << bit);
    }
    for (unsigned bit = HISTOGRAM_UNIT_BITS; bit < HISTOGRAM_VALUE_BITS; bit++) {
        below++;
        ck_assert_uint_eq(histogram_count_below(&h, bit), below);
        below++;
    }
    ck_assert_uint_eq(h.total, below);
}
END_TEST

START_TEST(the_sum_is_exact)
{
    struct histogram h = {0};
    histogram_record(&h, 3 * hour);
    histogram_record(&h, 17);
    histogram_record(&h, -5);
    ck_assert_uint_eq(h.sum_ns, 3 * (uint64_t)hour + 17);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("histogram");
    TCase *all = tcase_create("all");
    tcase_set_timeout(all, 60);
    tcase_add_test(all, empty_is_zero);
    tcase_add_test(all, error_stays_below_3_2_percent);
    tcase_add_test(all, grows_with_the_value);
    tcase_add_test(all, edges_of_buckets);
    tcase_add_test(all, out_of_range_is_clamped);
    tcase_add_test(all, quantiles_of_known_data);
    tcase_add_test(all, rank_is_rounded_up);
    tcase_add_test(all, huge_counts_do_not_overflow);
    tcase_add_test(all, counts_below_a_power_of_two_are_exact);
    tcase_add_test(all, the_sum_is_exact);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
