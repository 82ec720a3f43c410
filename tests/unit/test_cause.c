/* SPDX-License-Identifier: MIT
 * Each end of an attempt and the name of its cause. */
#include "proxy/cause.h"

#include <check.h>
#include <errno.h>
#include <stdlib.h>

static const struct {
    enum attempt_end end;
    unsigned status;
    struct cause_detail detail;
    const char *name;
} causes[] = {
    {ATTEMPT_ANSWERED, 204, {0}, "2xx"},
    {ATTEMPT_ANSWERED, 299, {0}, "2xx"},
    {ATTEMPT_ANSWERED, 300, {0}, "3xx"},
    {ATTEMPT_ANSWERED, 399, {0}, "3xx"},
    {ATTEMPT_ANSWERED, 404, {0}, "4xx"},
    {ATTEMPT_ANSWERED, 500, {0}, "5xx"},
    {ATTEMPT_ANSWERED, 599, {0}, "5xx"},
    {ATTEMPT_CONNECT, 0, {.connect_error = ECONNREFUSED}, "refused"},
    {ATTEMPT_CONNECT, 0, {.connect_error = ETIMEDOUT}, "connect_timeout"},
    {ATTEMPT_CONNECT, 0, {.connect_error = EHOSTUNREACH}, "unreachable"},
    {ATTEMPT_CONNECT, 0, {.connect_error = ENETUNREACH}, "unreachable"},
    {ATTEMPT_TIMEOUT, 0, {.empty = true}, "response_timeout"},
    {ATTEMPT_RESET, 0, {.empty = true, .reset = true}, "reset_fresh"},
    {ATTEMPT_RESET, 0, {.empty = true}, "closed_early"},
    {ATTEMPT_RESET, 200, {.reset = true}, "truncated"},
    {ATTEMPT_RESET, 200, {0}, "truncated"},
    {ATTEMPT_PROTOCOL, 0, {0}, "malformed"},
};

START_TEST(each_end_has_its_cause)
{
    struct attempt_outcome outcome = {.end = causes[_i].end, .status = causes[_i].status, .failure = true};
    ck_assert_str_eq(evidence_cause_name(cause_of(&outcome, &causes[_i].detail)), causes[_i].name);
}
END_TEST

START_TEST(a_path_has_no_query_and_no_authority)
{
    static const char *const targets[][2] = {
        {"/", "/"}, {"/a/b?token=1?2", "/a/b"}, {"/?", "/"}, {"http://h:1/a?b", "/a"}, {"http://h", ""},
        {"*", "*"},
    };
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        struct slice path = cause_path(slice_of(targets[i][0]));
        ck_assert_msg(slice_equal(path, slice_of(targets[i][1])), "%s: %.*s", targets[i][0], (int)path.length,
                      path.at);
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("cause");
    tcase_add_loop_test(tests, each_end_has_its_cause, 0, sizeof causes / sizeof causes[0]);
    tcase_add_test(tests, a_path_has_no_query_and_no_authority);
    Suite *suite = suite_create("cause");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
