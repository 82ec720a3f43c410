/* SPDX-License-Identifier: MIT
 * A line of a log: both forms, cuts, and that nothing in a value ends its pair. What values look like when
 * they are escaped, and lines that are full, is in test_log.c. */
#include "common/log_line.h"

#include <check.h>
#include <jansson.h>
#include <stdlib.h>

static char text[512];
static struct log_line line;

/* Ends the line; its text without the newline. */
static const char *ended(void)
{
    struct slice whole = log_line_end(&line);
    ck_assert_ptr_eq(whole.at, text);
    ck_assert_uint_le(whole.length, sizeof text - 1);
    ck_assert_int_eq(text[whole.length - 1], '\n');
    text[whole.length - 1] = '\0';
    ck_assert_uint_eq(strlen(text), whole.length - 1);
    return text;
}

static void begin(bool json)
{
    memset(text, 'x', sizeof text);
    log_line_begin(&line, text, sizeof text, json);
}

static void put_some(void)
{
    log_line_text(&line, "method", SLICE("GET"));
    log_line_text(&line, "target", SLICE("/a b?c=\"d\""));
    log_line_number(&line, "status", 200);
    log_line_number(&line, "bytes", UINT64_MAX);
    log_line_ms(&line, "duration_ms", 1234567);
}

START_TEST(both_forms)
{
    begin(false);
    put_some();
    ck_assert_str_eq(ended(), "method=GET target=\"/a b?c=\\\"d\\\"\" status=200 bytes=18446744073709551615 "
                              "duration_ms=1.234");
    begin(true);
    put_some();
    ck_assert_str_eq(ended(), "{\"method\":\"GET\",\"target\":\"/a b?c=\\\"d\\\"\",\"status\":200,"
                              "\"bytes\":18446744073709551615,\"duration_ms\":1.234}");
    begin(false);
    ck_assert_str_eq(ended(), "");
    begin(true);
    ck_assert_str_eq(ended(), "{}");
}
END_TEST

START_TEST(milliseconds)
{
    static const struct {
        int64_t ns;
        const char *want;
    } rows[] = {{0, "ms=0.000"},
                {999, "ms=0.000"},
                {1000, "ms=0.001"},
                {10000, "ms=0.010"},
                {999999, "ms=0.999"},
                {1000000, "ms=1.000"},
                {60000000000, "ms=60000.000"},
                {-5, "ms=0.000"},
                {INT64_MAX, "ms=9223372036854.775"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        begin(false);
        log_line_ms(&line, "ms", rows[i].ns);
        ck_assert_str_eq(ended(), rows[i].want);
    }
}
END_TEST

START_TEST(a_value_up_to_a_length)
{
    begin(false);
    log_line_text_up_to(&line, "a", SLICE("12345678"), 8);
    log_line_text_up_to(&line, "b", SLICE("123456789"), 8);
    log_line_text_up_to(&line, "c", SLICE("\n\n"), 8);
    log_line_text_up_to(&line, "d", SLICE("\n\n\n"), 8);
    log_line_text_up_to(&line, "e", SLICE("1 345678"), 8);
    log_line_text_up_to(&line, "f", SLICE("1234\"67"), 8);
    log_line_text_up_to(&line, "g", SLICE("1234\"6789"), 8);
    log_line_text_up_to(&line, "h", SLICE(""), 8);
    ck_assert_str_eq(ended(), "a=12345678 b=12345... c=\"\\x0a\\x0a\" d=\"\\x0a...\" e=\"1 345678\" "
                              "f=\"1234\\\"67\" g=1234... h=\"\"");
    begin(true);
    log_line_text_up_to(&line, "a", SLICE("12345678"), 8);
    log_line_text_up_to(&line, "b", SLICE("123456789"), 8);
    log_line_text_up_to(&line, "c", SLICE("\n\n"), 8);
    ck_assert_str_eq(ended(), "{\"a\":\"12345678\",\"b\":\"12345...\",\"c\":\"...\"}");
}
END_TEST

/* Wherever the cut falls, what was asked for is not exceeded, and JSON can be read. */
START_TEST(every_length_holds)
{
    for (size_t bytes_max = 8; bytes_max < 60; bytes_max++) {
        for (size_t length = 0; length < 40; length++) {
            char value[40];
            for (size_t i = 0; i < length; i++) {
                value[i] = "a\"\n\\\x80 ="[(i * 3 + bytes_max) % 7];
            }
            begin(true);
            log_line_text_up_to(&line, "v", (struct slice){value, length}, bytes_max);
            log_line_number(&line, "n", 1);
            const char *whole = ended();
            ck_assert_uint_le(strlen(whole), bytes_max + strlen("{\"v\":\"\",\"n\":1}"));
            json_t *json = json_loads(whole, JSON_REJECT_DUPLICATES, NULL);
            ck_assert_msg(json != NULL, "%s", whole);
            ck_assert_int_eq(json_integer_value(json_object_get(json, "n")), 1);
            json_decref(json);
        }
    }
}
END_TEST

START_TEST(pairs_of_another_line)
{
    for (int json = 0; json < 2; json++) {
        char middle[256];
        struct log_line pairs;
        log_line_begin_pairs(&pairs, middle, sizeof middle, json);
        log_line_text(&pairs, "b", SLICE("2"));
        log_line_number(&pairs, "c", 3);
        begin(json);
        log_line_text(&line, "a", SLICE("1"));
        log_line_pairs(&line, (struct slice){pairs.at, pairs.length});
        log_line_number(&line, "d", 4);
        ck_assert_str_eq(ended(), json ? "{\"a\":\"1\",\"b\":\"2\",\"c\":3,\"d\":4}" : "a=1 b=2 c=3 d=4");
    }
}
END_TEST

START_TEST(pairs_that_do_not_fit_are_left_out)
{
    char middle[512];
    struct log_line pairs;
    memset(middle, 'm', sizeof middle);
    log_line_begin_pairs(&pairs, middle, sizeof middle, true);
    log_line_text(&pairs, "b", (struct slice){middle, 400});
    begin(true);
    log_line_text(&line, "a", (struct slice){middle, 200});
    log_line_pairs(&line, (struct slice){pairs.at, pairs.length});
    log_line_number(&line, "c", 1);
    json_t *json = json_loads(ended(), 0, NULL);
    ck_assert_ptr_nonnull(json);
    ck_assert_uint_eq(json_object_size(json), 2);
    json_decref(json);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("log_line");
    tcase_add_test(tests, both_forms);
    tcase_add_test(tests, milliseconds);
    tcase_add_test(tests, a_value_up_to_a_length);
    tcase_add_test(tests, every_length_holds);
    tcase_add_test(tests, pairs_of_another_line);
    tcase_add_test(tests, pairs_that_do_not_fit_are_left_out);
    Suite *suite = suite_create("log_line");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
