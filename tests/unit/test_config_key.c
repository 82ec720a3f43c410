/* SPDX-License-Identifier: MIT
 * The table of keys: docs/configuration.md says the same. */
#include "common/config_key.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* docs/configuration.md, found from this file's own name; the caller frees it. */
static char *read_docs(void)
{
    static const char self[] = "tests/unit/test_config_key.c";
    static const char page[] = "docs/configuration.md";
    char path[] = __FILE__;
    _Static_assert(sizeof(self) >= sizeof(page), "the page's name must fit where this file's name was");
    char *tail = path + sizeof(path) - sizeof(self);
    ck_assert_str_eq(tail, self);
    memcpy(tail, page, sizeof(page));
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "%s can't be opened", path);
    char *text = calloc(1, 1 << 16);
    ck_assert_ptr_nonnull(text);
    size_t length = fread(text, 1, (1 << 16) - 1, f);
    ck_assert(feof(f) && length > 0);
    ck_assert_int_eq(fclose(f), 0);
    return text;
}

/* KEY's default as the docs write it. */
static void show_default(const struct config_key *key, char text_[static 64])
{
    if (key->kind == CONFIG_KIND_NAME)
        snprintf(text_, 64, "`\"backendN\"`");
    else if (key->kind == CONFIG_KIND_FILE || key->kind == CONFIG_KIND_USER ||
             key->kind == CONFIG_KIND_TARGET || key->kind == CONFIG_KIND_NUMBER_OR_NULL)
        snprintf(text_, 64, "`null`");
    else if (key->fallback == NULL)
        snprintf(text_, 64, "required");
    else if (key->kind == CONFIG_KIND_NUMBER || key->kind == CONFIG_KIND_BOOLEAN ||
             key->kind == CONFIG_KIND_NETWORKS)
        snprintf(text_, 64, "`%s`", key->fallback);
    else
        snprintf(text_, 64, "`\"%s\"`", key->fallback);
}

START_TEST(the_docs_name_every_key_with_its_range_and_default)
{
    char *docs = read_docs();
    size_t count, rows = 0;
    const struct config_key *keys = config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        char expected[CONFIG_EXPECTED_BYTES], shown[64], row[512];
        config_key_expected(&keys[i], expected);
        show_default(&keys[i], shown);
        snprintf(row, sizeof(row), "\n| `%s` | %s | %s | ", keys[i].path, expected + strlen("expected "),
                 shown);
        ck_assert_msg(strstr(docs, row) != NULL, "docs/configuration.md has no row that begins with%s", row);
    }
    /* and no row for a key that is not there: all rows that begin with `key` in a table of four columns */
    for (char *line = strtok(docs, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        size_t bars = 0;
        for (const char *c = line; *c != '\0'; c++)
            bars += *c == '|';
        rows += strncmp(line, "| `", 3) == 0 && bars == 5;
    }
    ck_assert_uint_eq(rows, count);
    free(docs);
}
END_TEST

START_TEST(the_docs_list_the_keys_that_need_a_restart)
{
    char *docs = read_docs();
    char *begin = strstr(docs, "\nThese keys need a restart: ");
    ck_assert_ptr_nonnull(begin);
    char *end = strstr(begin, ".\n");
    ck_assert_ptr_nonnull(end);
    *end = '\0';
    size_t count;
    const struct config_key *keys = config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        char quoted[128];
        snprintf(quoted, sizeof(quoted), "`%s`", keys[i].path);
        ck_assert_msg((strstr(begin, quoted) != NULL) == keys[i].fixed, "%s: the docs say it otherwise",
                      keys[i].path);
    }
    free(docs);
}
END_TEST

START_TEST(the_example_of_the_docs_is_right)
{
    static struct config c;
    struct config_error error;
    char *docs = read_docs();
    char *begin = strstr(docs, "```json\n");
    ck_assert_ptr_nonnull(begin);
    begin += strlen("```json\n");
    char *end = strstr(begin, "```");
    ck_assert_ptr_nonnull(end);
    *end = '\0';
    config_defaults(&c);
    bool read = config_read_text(&c, begin, (size_t)(end - begin), "docs", &error);
    ck_assert_msg(read, "refused: %s", error.text);
    ck_assert(config_check(&c, "docs", &error));
    free(docs);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("config_key");
    tcase_add_test(tests, the_docs_name_every_key_with_its_range_and_default);
    tcase_add_test(tests, the_docs_list_the_keys_that_need_a_restart);
    tcase_add_test(tests, the_example_of_the_docs_is_right);
    Suite *suite = suite_create("config_key");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
