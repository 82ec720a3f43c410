/* SPDX-License-Identifier: MIT */
#include "common/config_locate.h"

#include <check.h>
#include <stdlib.h>

static const char text[] = " {\n"
                           "  \"a\": 1,\n"
                           "  \"b{\\\"\": {\"c\": [ [], {\"x\": \"]}\"} , -2.5e3, \"\\\\\" ], \"d\":null},\n"
                           "  \"\xc3\xa4\": [true]\n"
                           "}\n";

struct place {
    size_t steps[3];
    size_t depth;
    const char *key, *value;
    size_t line, column; /* of the value */
};

static const struct place places[] = {
    {{0}, 1, "\"a\"", "1", 2, 8},
    {{1, 0}, 2, "\"c\"", "[ [], {\"x\": \"]}\"} , -2.5e3, \"\\\\\" ]", 3, 17},
    {{1, 0, 0}, 3, "", "[]", 3, 19},
    {{1, 0, 1}, 3, "", "{\"x\": \"]}\"}", 3, 23},
    {{1, 0, 2}, 3, "", "-2.5e3", 3, 37},
    {{1, 0, 3}, 3, "", "\"\\\\\"", 3, 45},
    {{1, 1}, 2, "\"d\"", "null", 3, 57},
    {{2}, 1, "\"\xc3\xa4\"", "[true]", 4, 8},
    {{2, 0}, 2, "", "true", 4, 9},
};

static void assert_slice(struct slice got, const char *wanted)
{
    ck_assert_uint_eq(got.length, strlen(wanted));
    ck_assert_mem_eq(got.at, wanted, got.length);
}

START_TEST(every_step_leads_to_its_value)
{
    const struct place *p = &places[_i];
    struct slice whole = {.at = text, .length = sizeof(text) - 1};
    struct config_found found = config_locate(whole, p->steps, p->depth);
    struct config_position at = config_position(whole, found.value.at);
    assert_slice(found.key, p->key);
    assert_slice(found.value, p->value);
    ck_assert_uint_eq(at.line, p->line);
    ck_assert_uint_eq(at.column, p->column);
}
END_TEST

START_TEST(no_steps_lead_to_the_root)
{
    struct slice whole = {.at = text, .length = sizeof(text) - 1};
    struct config_found found = config_locate(whole, NULL, 0);
    ck_assert_ptr_eq(found.value.at, text + 1);
    ck_assert_uint_eq(found.value.length, sizeof(text) - 3);
    ck_assert_uint_eq(found.key.length, 0);
}
END_TEST

START_TEST(a_step_too_far_leads_to_the_end)
{
    static const size_t far[] = {9, 1};
    struct slice whole = {.at = text, .length = sizeof(text) - 1};
    struct config_found found = config_locate(whole, far, 2);
    ck_assert_ptr_eq(found.value.at, text + whole.length);
    ck_assert_uint_eq(found.value.length, 0);
}
END_TEST

/* Not promised, but nothing may be read beyond the end: each cut stands in memory of its own, for the
 * sanitizer. */
START_TEST(a_cut_text_is_not_left)
{
    for (size_t length = 1; length < sizeof(text); length++) {
        char *cut = malloc(length);
        ck_assert_ptr_nonnull(cut);
        memcpy(cut, text, length);
        for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
            struct config_found found =
                config_locate((struct slice){cut, length}, places[i].steps, places[i].depth);
            ck_assert(found.value.at >= cut && found.value.at + found.value.length <= cut + length);
        }
        free(cut);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("config_locate");
    tcase_add_loop_test(tests, every_step_leads_to_its_value, 0, sizeof(places) / sizeof(places[0]));
    tcase_add_test(tests, no_steps_lead_to_the_root);
    tcase_add_test(tests, a_step_too_far_leads_to_the_end);
    tcase_add_test(tests, a_cut_text_is_not_left);
    Suite *suite = suite_create("config_locate");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
