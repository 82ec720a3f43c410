/* SPDX-License-Identifier: MIT
 * The verdict, for every status there is. */
#include "proxy/verdict.h"

#include <check.h>
#include <stdlib.h>

START_TEST(judges_every_status)
{
    for (unsigned status = 200; status <= 599; status++) {
        ck_assert_msg(verdict_is_failure(CONFIG_FAILURE_NON_200, status) == (status != 200), "%u", status);
        ck_assert_msg(verdict_is_failure(CONFIG_FAILURE_NON_2XX, status) == (status / 100 != 2), "%u",
                      status);
        ck_assert_msg(verdict_is_failure(CONFIG_FAILURE_5XX, status) == (status / 100 == 5), "%u", status);
    }
}
END_TEST

/* 2xx and 3xx before 4xx before 5xx; within a class none is better. */
START_TEST(ranks_every_status)
{
    static const int place[] = {0, 0, 1, 1, 2, 3}; /* by hundreds; smaller is better */
    for (unsigned a = 200; a <= 599; a++) {
        for (unsigned b = 200; b <= 599; b++) {
            int wanted = place[b / 100] - place[a / 100];
            int found = verdict_rank(a) - verdict_rank(b);
            ck_assert_msg((found > 0) == (wanted > 0) && (found < 0) == (wanted < 0), "%u and %u", a, b);
        }
    }
}
END_TEST

static const struct {
    const char *method;
    bool idempotent; /* RFC 9110, 9.2.2 */
} methods[] = {
    {"GET", true},   {"HEAD", true},      {"OPTIONS", true}, {"TRACE", true},
    {"PUT", true},   {"DELETE", true},    {"POST", false},   {"PATCH", false},
    {"LOCK", false}, {"PROPFIND", false}, {"get", false}, /* RFC 9110, 9.1: methods have case */
    {"GETS", false}, {"GE", false},       {"", false},
};

START_TEST(replays_methods)
{
    struct slice method = slice_of(methods[_i].method);
    ck_assert(verdict_may_replay(CONFIG_METHODS_ALL, method));
    ck_assert(verdict_may_replay(CONFIG_METHODS_IDEMPOTENT, method) == methods[_i].idempotent);
}
END_TEST

static const struct {
    struct verdict_opinions said;
    bool requests_fault;
} opinions[] = {
    {{.answers = 1, .good = true}, false},
    {{.answers = 2, .good = true, .all_asked = true}, false},
    {{.answers = 2}, true},
    {{.answers = 3, .all_asked = true}, true},
    {{.answers = 2, .disagree = true}, false},
    {{.answers = 3, .disagree = true, .all_asked = true}, false},
    {{.answers = 1, .all_asked = true}, true}, /* the last one that answers */
    {{.answers = 1}, false},                   /* others were there to be asked */
    {{.answers = 1, .given_up = true}, true},
    {{.answers = 2, .disagree = true, .given_up = true}, true},
};

START_TEST(blames_the_request_by_second_opinion)
{
    ck_assert(verdict_is_requests_fault(&opinions[_i].said) == opinions[_i].requests_fault);
}
END_TEST

int main(void)
{
    TCase *verdict = tcase_create("verdict");
    tcase_add_test(verdict, judges_every_status);
    tcase_add_test(verdict, ranks_every_status);
    tcase_add_loop_test(verdict, replays_methods, 0, (int)(sizeof methods / sizeof methods[0]));
    tcase_add_loop_test(verdict, blames_the_request_by_second_opinion, 0,
                        (int)(sizeof opinions / sizeof opinions[0]));
    Suite *suite = suite_create("verdict");
    suite_add_tcase(suite, verdict);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
