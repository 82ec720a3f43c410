/* SPDX-License-Identifier: MIT
 * What becomes of a request when its limits change while it comes. */
#include "proxy/request.h"

#include "common/http_offence.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* Gives TEXT to R in one piece, under LIMITS. */
static enum request_progress give(struct request *r, const struct request_limits *limits, const char *text,
                                  const struct http_offence **offence_)
{
    size_t room = 0;
    char *to = request_room(r, limits, &room);
    ck_assert_uint_ge(room, strlen(text));
    memcpy(to, text, strlen(text));
    return request_received(r, limits, strlen(text), 1, offence_);
}

/* A reload may lower the limit while a body comes: what held at its head holds to its end. */
START_TEST(a_lower_limit_holds_for_the_next)
{
    static const char head[] = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    const struct request_limits before = {32768, 8}, after = {32768, 2};
    const struct http_offence *offence = NULL;
    struct request *r = request_new();
    ck_assert_ptr_nonnull(r);
    ck_assert_int_eq(give(r, &before, head, &offence), REQUEST_MORE);
    ck_assert_int_eq(give(r, &before, "5\r\nhello\r\n", &offence), REQUEST_MORE);
    ck_assert_int_eq(give(r, &after, "3\r\nyou\r\n", &offence), REQUEST_MORE);
    ck_assert_uint_eq(request_body_received(r), 8);
    ck_assert_int_eq(give(r, &after, "0\r\n\r\n", &offence), REQUEST_READY);
    request_next(r);
    ck_assert_int_eq(give(r, &after, head, &offence), REQUEST_MORE);
    ck_assert_int_eq(give(r, &after, "3\r\n", &offence), REQUEST_REFUSED);
    ck_assert_ptr_eq(offence, &http_offence_body_too_large);
    request_delete(r);
}
END_TEST

/* It bounded nothing once: what had come was subtracted from less than that. */
START_TEST(a_lower_limit_does_not_lift_the_first)
{
    static const char head[] = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    const struct request_limits before = {32768, 8}, after = {32768, 2};
    const struct http_offence *offence = NULL;
    struct request *r = request_new();
    ck_assert_ptr_nonnull(r);
    ck_assert_int_eq(give(r, &before, head, &offence), REQUEST_MORE);
    ck_assert_int_eq(give(r, &before, "5\r\nhello\r\n", &offence), REQUEST_MORE);
    ck_assert_int_eq(give(r, &after, "4\r\nyou!\r\n", &offence), REQUEST_REFUSED);
    ck_assert_ptr_eq(offence, &http_offence_body_too_large);
    request_delete(r);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("request_limits");
    TCase *all = tcase_create("all");
    tcase_add_test(all, a_lower_limit_holds_for_the_next);
    tcase_add_test(all, a_lower_limit_does_not_lift_the_first);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
