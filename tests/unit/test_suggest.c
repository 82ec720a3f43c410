/* SPDX-License-Identifier: MIT */
#include "common/suggest.h"

#include <check.h>
#include <stdlib.h>

static const struct slice known[] = {
    {"listen", 6}, {"workers", 7}, {"url", 3}, {"drain_ms", 8}, {"log_level", 9}, {"log_format", 10},
};
enum { KNOWN_COUNT = sizeof(known) / sizeof(known[0]) };

/* The nearest word's text, or "" for none. */
static const char *nearest(const char *word)
{
    size_t i = suggest_nearest(slice_of(word), known, KNOWN_COUNT);
    return i == KNOWN_COUNT ? "" : known[i].at;
}

START_TEST(slips_of_the_pen_are_near)
{
    ck_assert_str_eq(nearest("lissten"), "listen");
    ck_assert_str_eq(nearest("litsen"), "listen");
    ck_assert_str_eq(nearest("LISTEN"), "listen");
    ck_assert_str_eq(nearest("worker"), "workers");
    ck_assert_str_eq(nearest("drain-ms"), "drain_ms");
    ck_assert_str_eq(nearest("drainMs"), "drain_ms");
    ck_assert_str_eq(nearest("ulr"), "url");
    ck_assert_str_eq(nearest("uri"), "url");
    ck_assert_str_eq(nearest("loglevel"), "log_level");
}
END_TEST

START_TEST(other_words_are_not_near)
{
    char long_word[10000];
    memset(long_word, 'l', sizeof(long_word) - 1);
    long_word[sizeof(long_word) - 1] = '\0';
    ck_assert_str_eq(nearest(""), "");
    ck_assert_str_eq(nearest("user"), "");
    ck_assert_str_eq(nearest("access_log"), "");
    ck_assert_str_eq(nearest("u"), "");
    ck_assert_str_eq(nearest(long_word), "");
}
END_TEST

START_TEST(the_nearest_wins_over_the_first)
{
    static const struct slice two[] = {{"log_format", 10}, {"log_forma", 9}};
    ck_assert_uint_eq(suggest_nearest(SLICE("log_forma"), two, 2), 1);
    ck_assert_uint_eq(suggest_nearest(SLICE("log_format"), two, 2), 0);
}
END_TEST

START_TEST(a_mend_names_one_or_all)
{
    char mend[SUGGEST_MEND_BYTES];
    suggest_mend(SLICE("lisen"), known, 3, "\"", "\"", mend);
    ck_assert_str_eq(mend, "did you mean \"listen\"?");
    suggest_mend(SLICE("zzz"), known, 3, "--", "", mend);
    ck_assert_str_eq(mend, "expected --listen, --workers or --url");
    suggest_mend(SLICE("zzz"), known, 1, "", "", mend);
    ck_assert_str_eq(mend, "expected listen");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("suggest");
    tcase_add_test(tests, slips_of_the_pen_are_near);
    tcase_add_test(tests, other_words_are_not_near);
    tcase_add_test(tests, the_nearest_wins_over_the_first);
    tcase_add_test(tests, a_mend_names_one_or_all);
    Suite *suite = suite_create("suggest");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
