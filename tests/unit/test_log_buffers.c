/* SPDX-License-Identifier: MIT
 * The two buffers of the access log: when the writer gets one, when it must be woken, and that what does not
 * fit is dropped and counted, and nothing else is. */
#include "proxy/log_buffers.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

enum { CAPACITY = 16, AGE_NS = 100 };
#define T 1000

static char first[CAPACITY], second[CAPACITY];
static struct log_buffers b;

static void begin(void)
{
    log_buffers_init(&b, first, second, CAPACITY, AGE_NS);
}

static bool add(const char *line, mono_ns now)
{
    return log_buffers_add(&b, slice_of(line), now);
}

/* The writer looks at NOW: WANT is what it gets, "" for nothing before DUE. */
static void expect_take(mono_ns now, bool everything, const char *want, mono_ns due)
{
    struct slice taken;
    mono_ns next = log_buffers_take(&b, now, everything, &taken);
    ck_assert_msg(slice_equal(taken, slice_of(want)), "got %.*s", (int)taken.length, taken.at);
    if (want[0] == '\0') {
        ck_assert_int_eq(next, due);
    }
}

START_TEST(a_writer_that_sleeps_is_woken_by_the_first_line_only)
{
    expect_take(T, false, "", DEADLINE_NO);
    ck_assert(add("a\n", T));
    ck_assert(!add("b\n", T + 1));
    expect_take(T + 2, false, "", T + AGE_NS); /* it sets its own alarm */
    ck_assert(!add("c\n", T + 3));
    expect_take(T + AGE_NS - 1, false, "", T + AGE_NS);
    expect_take(T + AGE_NS, false, "a\nb\nc\n", 0);
    ck_assert(!add("d\n", T + AGE_NS + 1)); /* it is at work, and looks afterwards */
    log_buffers_written(&b, 0);
    expect_take(T + AGE_NS + 2, false, "", T + AGE_NS + 1 + AGE_NS);
    expect_take(T + AGE_NS + 2, true, "d\n", 0);
    log_buffers_written(&b, 0);
    expect_take(T + AGE_NS + 3, true, "", DEADLINE_NO);
    ck_assert(add("e\n", T + AGE_NS + 4));
    ck_assert_uint_eq(b.lines, 5);
    ck_assert_uint_eq(b.dropped, 0);
}
END_TEST

START_TEST(a_full_buffer_wakes_at_once)
{
    expect_take(T, false, "", DEADLINE_NO);
    ck_assert(add("0123456\n", T));
    expect_take(T, false, "", T + AGE_NS);
    ck_assert(!add("1123456\n", T)); /* it is full to the brim, but the next line may never come */
    ck_assert(add("2\n", T));
    ck_assert(!add("3\n", T));
    expect_take(T, false, "0123456\n1123456\n", 0);
    log_buffers_written(&b, 0);
    expect_take(T, false, "", T + AGE_NS);
    expect_take(T + AGE_NS, false, "2\n3\n", 0);
}
END_TEST

START_TEST(when_both_are_full_lines_are_dropped_and_counted)
{
    ck_assert(!add("0123456\n", T)); /* the writer has not slept yet */
    ck_assert(!add("1123456\n", T));
    ck_assert(add("2123456\n", T));
    ck_assert(!add("3123456\n", T));
    ck_assert(!add("4\n", T));
    ck_assert(!add("5\n", T));
    ck_assert_uint_eq(b.dropped, 2);
    expect_take(T, false, "0123456\n1123456\n", 0);
    ck_assert(!add("6\n", T)); /* while it is written there is no room either */
    log_buffers_written(&b, 0);
    ck_assert(add("7\n", T));
    expect_take(T, false, "2123456\n3123456\n", 0);
    log_buffers_written(&b, 0);
    expect_take(T, true, "7\n", 0);
    log_buffers_written(&b, 0);
    ck_assert_uint_eq(b.dropped, 3);
    ck_assert_uint_eq(b.lines, 5);
}
END_TEST

START_TEST(a_line_longer_than_a_buffer_is_dropped)
{
    ck_assert(!add("0123456789abcdef\n", T));
    ck_assert_uint_eq(b.dropped, 1);
    ck_assert(!add("0123456789abcde\n", T));
    ck_assert(!add("0123456789abcdef\n", T));
    ck_assert_uint_eq(b.dropped, 2);
    expect_take(T, true, "0123456789abcde\n", 0);
}
END_TEST

START_TEST(what_the_writer_gives_up_is_counted)
{
    ck_assert(!add("a\n", T));
    ck_assert(!add("b\n", T));
    expect_take(T, true, "a\nb\n", 0);
    log_buffers_written(&b, 2);
    ck_assert_uint_eq(b.dropped, 2);
    expect_take(T, true, "", DEADLINE_NO);
}
END_TEST

/* However adders and the writer take turns: what goes in comes out, in order, or is counted as dropped. */
START_TEST(any_order_of_turns_loses_nothing)
{
    unsigned seed = (unsigned)_i + 1;
    uint64_t number = 0, seen = 0;
    int64_t last = -1;
    bool taken_now = false;
    struct slice taken = {NULL, 0};
    for (int turn = 0; turn < 20000; turn++) {
        seed = seed * 1103515245 + 12345;
        unsigned dice = seed >> 16 & 15;
        if (dice < 11) {
            char line[8];
            snprintf(line, sizeof line, "%05u\n", (unsigned)number++);
            (void)!add(line, turn);
        } else if (!taken_now) {
            mono_ns next = log_buffers_take(&b, turn, dice == 15, &taken);
            taken_now = taken.length > 0;
            ck_assert(taken_now || next > turn);
        } else {
            for (size_t at = 0; at < taken.length; at += 6) {
                long value = strtol(taken.at + at, NULL, 10);
                ck_assert_int_gt(value, last);
                last = value;
                seen++;
            }
            log_buffers_written(&b, 0);
            taken_now = false;
        }
    }
    if (taken_now) {
        seen += taken.length / 6;
        log_buffers_written(&b, 0);
    }
    while (log_buffers_take(&b, 30000, true, &taken) != DEADLINE_NO) {
        seen += taken.length / 6;
        log_buffers_written(&b, 0);
    }
    ck_assert_uint_eq(seen, b.lines);
    ck_assert_uint_eq(b.lines + b.dropped, number);
    ck_assert_uint_gt(b.dropped, 0);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("log_buffers");
    tcase_add_checked_fixture(tests, begin, NULL);
    tcase_add_test(tests, a_writer_that_sleeps_is_woken_by_the_first_line_only);
    tcase_add_test(tests, a_full_buffer_wakes_at_once);
    tcase_add_test(tests, when_both_are_full_lines_are_dropped_and_counted);
    tcase_add_test(tests, a_line_longer_than_a_buffer_is_dropped);
    tcase_add_test(tests, what_the_writer_gives_up_is_counted);
    tcase_add_loop_test(tests, any_order_of_turns_loses_nothing, 0, 20);
    Suite *suite = suite_create("log_buffers");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
