/* SPDX-License-Identifier: MIT
 * The writer: what fits, what does not, and that nothing is ever written behind the end. */
#include "common/writer.h"

#include <check.h>
#include <stdint.h>
#include <stdlib.h>

enum { GUARD = 0x5a };

/* A writer over exactly CAPACITY bytes of the heap, for AddressSanitizer. */
static struct writer writer_over(size_t capacity)
{
    char *at = malloc(capacity);
    ck_assert(at != NULL || capacity == 0);
    if (capacity > 0) {
        memset(at, GUARD, capacity);
    }
    return (struct writer){.at = at, .capacity = capacity};
}

static void expect(struct writer *w, const char *text)
{
    ck_assert(writer_ok(w));
    ck_assert(slice_equal((struct slice){w->at, w->length}, slice_of(text)));
    free(w->at);
}

START_TEST(appends)
{
    struct writer w = writer_over(64);
    writer_put(&w, SLICE("a"));
    writer_put(&w, (struct slice){NULL, 0});
    writer_put(&w, SLICE(""));
    writer_put_number(&w, 7);
    writer_put_field(&w, SLICE("Name"), SLICE("value"));
    writer_put_field(&w, SLICE("Empty"), (struct slice){NULL, 0});
    expect(&w, "a7Name: value\r\nEmpty: \r\n");
}
END_TEST

START_TEST(writes_numbers)
{
    static const struct {
        uint64_t number;
        const char *text;
    } rows[] = {{0, "0"},
                {9, "9"},
                {10, "10"},
                {1234567890, "1234567890"},
                {INT64_MAX, "9223372036854775807"},
                {UINT64_MAX, "18446744073709551615"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct writer w = writer_over(20);
        writer_put_number(&w, rows[i].number);
        expect(&w, rows[i].text);
    }
}
END_TEST

START_TEST(fits_exactly)
{
    struct writer w = writer_over(5);
    writer_put(&w, SLICE("123"));
    writer_put(&w, SLICE("45"));
    expect(&w, "12345");
    struct writer none = writer_over(0);
    writer_put(&none, SLICE(""));
    ck_assert(writer_ok(&none));
    writer_put(&none, SLICE("x"));
    ck_assert(!writer_ok(&none));
    free(none.at);
}
END_TEST

/* A piece that does not fit is left out whole, and so is all that follows, shorter pieces too: else the text
 * would have a hole that nobody sees. */
START_TEST(remembers_an_overflow)
{
    struct writer w = writer_over(5);
    writer_put(&w, SLICE("123"));
    writer_put(&w, SLICE("456"));
    ck_assert(!writer_ok(&w));
    ck_assert_int_eq(w.at[3], GUARD);
    ck_assert_int_eq(w.at[4], GUARD);
    writer_put(&w, SLICE("x"));
    writer_put(&w, SLICE(""));
    writer_put_number(&w, 1);
    ck_assert(!writer_ok(&w));
    ck_assert_int_eq(memcmp(w.at, "123", 3), 0);
    ck_assert_int_eq(w.at[3], GUARD);
    free(w.at);
}
END_TEST

START_TEST(a_field_that_is_one_byte_too_long)
{
    for (size_t capacity = 0; capacity < 10; capacity++) {
        struct writer w = writer_over(capacity);
        writer_put_field(&w, SLICE("Name"), SLICE("12"));
        ck_assert(!writer_ok(&w));
        free(w.at);
    }
    struct writer w = writer_over(10);
    writer_put_field(&w, SLICE("Name"), SLICE("12"));
    expect(&w, "Name: 12\r\n");
}
END_TEST

int main(void)
{
    TCase *writer = tcase_create("writer");
    tcase_add_test(writer, appends);
    tcase_add_test(writer, writes_numbers);
    tcase_add_test(writer, fits_exactly);
    tcase_add_test(writer, remembers_an_overflow);
    tcase_add_test(writer, a_field_that_is_one_byte_too_long);
    Suite *suite = suite_create("writer");
    suite_add_tcase(suite, writer);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
