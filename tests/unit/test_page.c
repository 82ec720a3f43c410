/* SPDX-License-Identifier: MIT
 * The route of the dashboard page. That its policy names the right hashes is shown by flow/page. */
#include "healthd/page.h"

#include "tests/unit/admin_ask.h"

/* Sends METHOD TARGET with AUTHORIZATION (NULL for none) and HOST. The caller frees the body. */
static struct admin_response page_ask(const char *method, const char *target, const char *authorization,
                                      const char *host)
{
    struct admin_request request = {.method = slice_of(method),
                                    .target = slice_of(target),
                                    .authorization = slice_of(authorization),
                                    .host = slice_of(host)};
    struct admin_response response;
    admin_answer(&context, &request, &response);
    return response;
}

/* RESPONSE is the page with STATUS and WWW_AUTHENTICATE (NULL: none). Frees its body. */
static void expect_page(struct admin_response response, int status, const char *www_authenticate)
{
    ck_assert_int_eq(response.status, status);
    ck_assert_str_eq(response.content_type, "text/html; charset=utf-8");
    ck_assert_ptr_eq(response.fields, page_fields);
    ck_assert_pstr_eq(response.www_authenticate, www_authenticate);
    ck_assert_uint_eq(response.body_bytes, page_html_bytes);
    ck_assert_mem_eq(response.body, page_html, page_html_bytes);
    free(response.body);
}

/* RESPONSE is an error in JSON with STATUS. Frees its body. */
static void expect_no_page(struct admin_response response, int status)
{
    ck_assert_int_eq(response.status, status);
    ck_assert_str_eq(response.content_type, "application/json");
    ck_assert_ptr_null(response.fields);
    free(response.body);
}

START_TEST(is_got)
{
    expect_page(page_ask("GET", "/", NULL, "127.0.0.1:8081"), 200, NULL);
    expect_page(page_ask("GET", "/?backend=gcp", NULL, "localhost:9000"), 200, NULL);
    expect_page(page_ask("HEAD", "/", NULL, NULL), 200, NULL);
    expect_no_page(page_ask("GET", "/index.html", NULL, NULL), 404);
    expect_no_page(page_ask("GET", "/admin/stats", NULL, "evil.example"), 403);
    expect_no_page(page_ask("GET", "/", NULL, "evil.example"), 403);
}
END_TEST

START_TEST(takes_no_other_method)
{
    static const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "get"};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        struct admin_response response = page_ask(methods[i], "/", NULL, NULL);
        ck_assert_str_eq(response.allow, "GET, HEAD");
        expect_no_page(response, 405);
    }
}
END_TEST

START_TEST(without_the_token_the_refusal_is_the_page)
{
    static const char missing[] = "Bearer realm=\"holdfast\"";
    static const char wrong[] = "Bearer realm=\"holdfast\", error=\"invalid_token\"";
    context.token = "s3cret";
    expect_page(page_ask("GET", "/", NULL, "front-7.example"), 401, missing);
    expect_page(page_ask("HEAD", "/", NULL, NULL), 401, missing);
    expect_page(page_ask("GET", "/", "Bearer s3cre", NULL), 401, wrong);
    expect_page(page_ask("GET", "/", "Bearer s3cret", NULL), 200, NULL);
    expect_no_page(page_ask("POST", "/", NULL, NULL), 401);
    expect_no_page(page_ask("POST", "/", "Bearer s3cret", NULL), 405);
    expect_no_page(page_ask("GET", "/admin/stats", NULL, NULL), 401);
    expect_no_page(page_ask("GET", "/nowhere", NULL, NULL), 401);
}
END_TEST

START_TEST(is_small_and_uses_nothing_of_others)
{
    static const char *const never[] = {"innerHTML", "outerHTML", "insertAdjacent", "document.write",
                                        "eval(",     "http:",     "https:",         "localStorage",
                                        "cookie",    " style=",   " onclick="};
    char text[20 * 1024];
    ck_assert_uint_lt(page_html_bytes, sizeof text);
    memcpy(text, page_html, page_html_bytes);
    text[page_html_bytes] = '\0';
    ck_assert_uint_eq(strlen(text), page_html_bytes);
    for (size_t i = 0; i < sizeof never / sizeof never[0]; i++) {
        ck_assert_msg(strstr(text, never[i]) == NULL, "the page has %s", never[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("page");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_test(all, is_got);
    tcase_add_test(all, takes_no_other_method);
    tcase_add_test(all, without_the_token_the_refusal_is_the_page);
    tcase_add_test(all, is_small_and_uses_nothing_of_others);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
