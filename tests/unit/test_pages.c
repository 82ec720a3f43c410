/* SPDX-License-Identifier: MIT */
#include "common/pages.h"

#include <check.h>
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

START_TEST(zeros_that_can_be_written)
{
    size_t bytes = (size_t)1 << 30; /* most of it is never touched */
    unsigned char *at = pages_new(bytes);
    ck_assert_ptr_nonnull(at);
    ck_assert_uint_eq((uintptr_t)at % CACHE_LINE_BYTES, 0);
    ck_assert_uint_eq(at[0] | at[bytes / 2] | at[bytes - 1], 0);
    at[0] = at[bytes - 1] = 1;
    pages_free(at, bytes);
}
END_TEST

START_TEST(there_may_be_none)
{
    ck_assert_ptr_null(pages_new(SIZE_MAX / 2));
    ck_assert_int_eq(errno, ENOMEM);
    pages_free(NULL, 1);
}
END_TEST

int main(void)
{
    TCase *pages = tcase_create("pages");
    tcase_add_test(pages, zeros_that_can_be_written);
    tcase_add_test(pages, there_may_be_none);
    Suite *suite = suite_create("pages");
    suite_add_tcase(suite, pages);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
