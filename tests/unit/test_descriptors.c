/* SPDX-License-Identifier: MIT
 * The last descriptors are not for everybody. */
#include "common/descriptors.h"

#include <check.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static const rlim_t limits[] = {64, 100, 256};

START_TEST(the_last_eighth_is_reserved)
{
    int opened[256], count = 0, reserved = 0, inherited = 0;
    struct rlimit before;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit limit = {.rlim_cur = limits[_i], .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    for (int fd = (int)(limits[_i] - limits[_i] / 8); fd < (int)limits[_i]; fd++) {
        inherited += fcntl(fd, F_GETFD) != -1;
    }
    ck_assert(!descriptors_are_short());
    for (;;) {
        bool is_short = descriptors_are_short();
        int fd = dup(STDIN_FILENO);
        if (fd == -1) {
            ck_assert(is_short);
            break;
        }
        ck_assert_int_eq(descriptor_is_reserved(fd), is_short);
        reserved += is_short;
        opened[count++] = fd;
    }
    ck_assert_int_eq(reserved, (int)(limits[_i] / 8) - inherited);
    while (count > 0) {
        close(opened[--count]);
    }
    ck_assert(!descriptors_are_short());
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
}
END_TEST

START_TEST(no_more_than_64_are_reserved)
{
    struct rlimit before;
    ck_assert_int_eq(getrlimit(RLIMIT_NOFILE, &before), 0);
    struct rlimit limit = {.rlim_cur = 1024, .rlim_max = before.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    ck_assert(!descriptor_is_reserved(1024 - 64 - 1));
    ck_assert(descriptor_is_reserved(1024 - 64));
    ck_assert_int_eq(setrlimit(RLIMIT_NOFILE, &before), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("descriptors");
    TCase *tcase = tcase_create("descriptors");
    tcase_add_loop_test(tcase, the_last_eighth_is_reserved, 0, (int)(sizeof limits / sizeof limits[0]));
    tcase_add_test(tcase, no_more_than_64_are_reserved);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
