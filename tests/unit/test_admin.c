/* SPDX-License-Identifier: MIT */
#include "healthd/admin.h"

#include "tests/unit/admin_ask.h"

/* The contract's example, to the letter. */
static const char contract[] =
    "{\"version\": \"0.1.0\", \"uptime_seconds\": 12.5, \"ready\": true, \"all_ejected\": false,"
    " \"policy\": {\"failure\": \"non-200\", \"eject_after\": 10, \"window_ms\": 0, \"readmit\": \"manual\"},"
    " \"requests\": {\"total\": 0, \"status_2xx\": 0, \"status_3xx\": 0, \"status_4xx\": 0, \"status_5xx\": "
    "0,"
    "   \"retried\": 0, \"rescued\": 0},"
    " \"connections\": {\"active\": 0, \"idle\": 0, \"accepted\": 0},"
    " \"workers\": {\"total\": 256, \"busy\": 0},"
    " \"backends\": ["
    "   {\"name\": \"gcp\", \"url\": \"http://10.0.0.1:80\", \"state\": \"up\","
    "     \"attempts\": 0, \"status_200\": 0, \"non_200\": 0, \"failures\": 0,"
    "     \"errors\": {\"connect\": 0, \"timeout\": 0, \"reset\": 0, \"protocol\": 0},"
    "     \"in_flight\": 0, \"ejections\": 0, \"ejected_at\": null, \"latency_ms\": {\"p50\": 0, \"p99\": "
    "0}},"
    "   {\"name\": \"azure\", \"url\": \"http://10.0.0.2:80\", \"state\": \"up\","
    "     \"attempts\": 0, \"status_200\": 0, \"non_200\": 0, \"failures\": 0,"
    "     \"errors\": {\"connect\": 0, \"timeout\": 0, \"reset\": 0, \"protocol\": 0},"
    "     \"in_flight\": 0, \"ejections\": 0, \"ejected_at\": null, \"latency_ms\": {\"p50\": 0, \"p99\": 0}}"
    " ]}";

START_TEST(fresh_stats_are_the_contract)
{
    json_t *want = json_loads(contract, 0, NULL);
    json_t *got = ask("GET", "/admin/stats", NULL, 200, NULL);
    expect_shape(want, got, "");
    /* Apart from the uptime the values are those of the example too. */
    ck_assert_double_ge(json_number_value(at(got, "uptime_seconds")), 12.5);
    ck_assert_double_lt(json_number_value(at(got, "uptime_seconds")), 60);
    json_object_del(want, "uptime_seconds");
    json_object_del(got, "uptime_seconds");
    ck_assert(json_equal(want, got));
    json_decref(want);
    json_decref(got);
}
END_TEST

START_TEST(text_is_readable)
{
    char *text = stats_json(&context, false);
    ck_assert_ptr_nonnull(text);
    ck_assert(text[strlen(text) - 1] == '\n');
    ck_assert_ptr_nonnull(strstr(text, "\"state\": \"up\""));
    ck_assert_ptr_nonnull(strstr(text, "\"ejected_at\": null"));
    free(text);
}
END_TEST

START_TEST(every_number_is_in_its_place)
{
    gauges = (struct admin_gauges){.connections_active = 3,
                                   .connections_idle = 4,
                                   .connections_accepted = 5000000000,
                                   .workers_total = 8,
                                   .workers_busy = 2};
    struct attempt_ticket open;
    ck_assert(ledger_begin(context.ledger, 1, false, &open));
    const enum attempt_end ends[] = {ATTEMPT_CONNECT, ATTEMPT_TIMEOUT, ATTEMPT_RESET, ATTEMPT_PROTOCOL};
    for (int i = 0; i < 4; i++) {
        for (int n = 0; n <= i; n++) {
            attempt(1, ends[i], 0, 0); /* 1, 2, 3, 4 of each */
        }
    }
    for (int i = 0; i < 5; i++) {
        attempt(1, ATTEMPT_ANSWERED, 200, 7 * NS_PER_MS);
    }
    attempt(1, ATTEMPT_ANSWERED, 503, 3 * NS_PER_S);
    const unsigned statuses[] = {200, 301, 301, 404, 404, 404, 500, 500, 500, 500};
    for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++) {
        traffic_count(context.traffic, 0, statuses[i], i < 6, i < 5);
    }

    json_t *json = ask("GET", "/admin/stats", NULL, 200, NULL);
    ck_assert(json_is_false(at(json, "ready")));
    ck_assert(json_is_false(at(json, "all_ejected")));
    ck_assert_int_eq(count_at(json, "requests.total"), 10);
    ck_assert_int_eq(count_at(json, "requests.status_2xx"), 1);
    ck_assert_int_eq(count_at(json, "requests.status_3xx"), 2);
    ck_assert_int_eq(count_at(json, "requests.status_4xx"), 3);
    ck_assert_int_eq(count_at(json, "requests.status_5xx"), 4);
    ck_assert_int_eq(count_at(json, "requests.retried"), 6);
    ck_assert_int_eq(count_at(json, "requests.rescued"), 5);
    ck_assert_int_eq(count_at(json, "connections.active"), 3);
    ck_assert_int_eq(count_at(json, "connections.idle"), 4);
    ck_assert_int_eq(count_at(json, "connections.accepted"), 5000000000);
    ck_assert_int_eq(count_at(json, "workers.total"), 8);
    ck_assert_int_eq(count_at(json, "workers.busy"), 2);
    ck_assert_int_eq(count_at(json, "backends.0.attempts"), 0);
    ck_assert_int_eq(count_at(json, "backends.1.attempts"), 17);
    ck_assert_int_eq(count_at(json, "backends.1.status_200"), 5);
    ck_assert_int_eq(count_at(json, "backends.1.non_200"), 1);
    ck_assert_int_eq(count_at(json, "backends.1.failures"), 11);
    ck_assert_int_eq(count_at(json, "backends.1.errors.connect"), 1);
    ck_assert_int_eq(count_at(json, "backends.1.errors.timeout"), 2);
    ck_assert_int_eq(count_at(json, "backends.1.errors.reset"), 3);
    ck_assert_int_eq(count_at(json, "backends.1.errors.protocol"), 4);
    ck_assert_int_eq(count_at(json, "backends.1.in_flight"), 1);
    ck_assert_int_eq(count_at(json, "backends.1.ejections"), 1);
    ck_assert_str_eq(text_at(json, "backends.1.state"), "ejected");
    ck_assert_double_eq_tol(json_number_value(at(json, "backends.1.latency_ms.p50")), 7, 7 * 0.04);
    ck_assert_double_eq_tol(json_number_value(at(json, "backends.1.latency_ms.p99")), 3000, 3000 * 0.04);
    json_decref(json);
    ledger_end(context.ledger, &open, &(struct attempt_outcome){.end = ATTEMPT_CANCELLED});
}
END_TEST

START_TEST(ejection_has_a_time)
{
    time_t before = time(NULL);
    eject(0);
    json_t *json = ask("GET", "/admin/stats", NULL, 200, NULL);
    const char *text = text_at(json, "backends.0.ejected_at");
    ck_assert_uint_eq(strlen(text), strlen("1994-11-06T08:49:37.123Z"));
    struct tm t = {0};
    const char *end = strptime(text, "%Y-%m-%dT%H:%M:%S", &t);
    ck_assert_ptr_nonnull(end);
    ck_assert(end[0] == '.' && end[4] == 'Z');
    ck_assert_int_ge(timegm(&t), before);
    ck_assert_int_le(timegm(&t), time(NULL));
    ck_assert(json_is_null(at(json, "backends.1.ejected_at")));
    ck_assert(json_is_false(at(json, "all_ejected")));
    json_decref(json);

    eject(1);
    json = ask("GET", "/admin/stats", NULL, 200, NULL);
    ck_assert(json_is_true(at(json, "all_ejected")));
    json_decref(json);
}
END_TEST

START_TEST(latencies_are_rounded)
{
    attempt(0, ATTEMPT_ANSWERED, 200, 1234567);
    attempt(1, ATTEMPT_ANSWERED, 200, 123456789);
    char *text = stats_json(&context, false);
    /* At most three digits behind the point below 10 ms, one from there on. */
    for (const char *key = strstr(text, "\"p50\": "); key != NULL; key = strstr(key + 1, "\"p50\": ")) {
        const char *number = key + strlen("\"p50\": ");
        double value = strtod(number, NULL);
        const char *point = strchr(number, '.');
        size_t digits = strspn(point + 1, "0123456789");
        ck_assert_uint_le(digits, value < 10 ? 3 : 1);
    }
    free(text);
    json_t *json = ask("GET", "/admin/stats", NULL, 200, NULL);
    ck_assert_double_eq_tol(json_number_value(at(json, "backends.0.latency_ms.p50")), 1.234567, 0.05);
    ck_assert_double_eq_tol(json_number_value(at(json, "backends.1.latency_ms.p50")), 123.456789, 5);
    json_decref(json);
}
END_TEST

START_TEST(policy_is_that_of_the_configuration)
{
    static const char *const names[] = {"non-200", "non-2xx", "5xx"};
    for (int i = 0; i < 3; i++) {
        plan->config.health.failure = (enum config_failure)i;
        plan->config.health.eject_after = (uint32_t)i + 5;
        plan->config.health.window_ms = (uint32_t)i * 1000;
        plan->config.health.readmit = i == 1 ? CONFIG_READMIT_PROBE : CONFIG_READMIT_MANUAL;
        json_t *json = ask("GET", "/admin/stats", NULL, 200, NULL);
        ck_assert_str_eq(text_at(json, "policy.failure"), names[i]);
        ck_assert_int_eq(count_at(json, "policy.eject_after"), i + 5);
        ck_assert_int_eq(count_at(json, "policy.window_ms"), 1000 * i);
        ck_assert_str_eq(text_at(json, "policy.readmit"), i == 1 ? "probe" : "manual");
        json_decref(json);
    }
}
END_TEST

START_TEST(reset_of_all)
{
    eject(0);
    eject(1);
    traffic_count(context.traffic, 0, 200, true, true);
    json_t *json = ask("POST", "/admin/reset", NULL, 200, NULL);
    json_t *want = json_loads(contract, 0, NULL);
    json_object_del(json, "uptime_seconds");
    json_object_del(want, "uptime_seconds");
    ck_assert(json_equal(json, want));
    ck_assert_uint_eq(ledger_rotation(context.ledger), 3);
    json_decref(want);
    json_decref(json);
}
END_TEST

START_TEST(reset_of_one)
{
    /* All of these are the name "azure", and none of them touches the other backend or the traffic. */
    static const char *const targets[] = {"/admin/reset?backend=azure", "/admin/reset?backend=%61z%75r%65",
                                          "/admin/reset?&b%61ckend=azure&"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        ledger_reset(context.ledger, 0);
        eject(0);
        eject(1);
        traffic_count(context.traffic, 0, 200, false, false);
        json_t *json = ask("POST", targets[i], NULL, 200, NULL);
        ck_assert_str_eq(text_at(json, "backends.0.state"), "ejected");
        ck_assert_int_eq(count_at(json, "backends.0.failures"), 11);
        ck_assert_str_eq(text_at(json, "backends.1.state"), "up");
        ck_assert_int_eq(count_at(json, "backends.1.failures"), 0);
        ck_assert_int_eq(count_at(json, "requests.total"), (json_int_t)i + 1);
        json_decref(json);
    }
}
END_TEST

START_TEST(reset_of_an_unknown_one)
{
    char long_name[512] = "/admin/reset?backend=";
    memset(long_name + strlen(long_name), 'x', 300);
    const char *const targets[] = {"/admin/reset?backend=aws",      "/admin/reset?backend=AZURE",
                                   "/admin/reset?backend=",         "/admin/reset?backend",
                                   "/admin/reset?backend=azure%00", "/admin/reset?backend=azur",
                                   "/admin/reset?backend=azure2",   "/admin/reset?backend=%ff%fe",
                                   "/admin/reset?backend=a=b",      long_name};
    eject(0);
    eject(1);
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        json_t *json = ask("POST", targets[i], NULL, 404, NULL);
        ck_assert_str_eq(text_at(json, "error"), "unknown_backend");
        ck_assert_uint_eq(json_array_size(at(json, "known_backends")), 2);
        ck_assert_str_eq(text_at(json, "known_backends.0"), "gcp");
        ck_assert_str_eq(text_at(json, "known_backends.1"), "azure");
        json_decref(json);
    }
    ck_assert_uint_eq(ledger_rotation(context.ledger), 0);
}
END_TEST

START_TEST(reset_with_a_query_that_is_not_understood)
{
    eject(0);
    eject(1);
    expect_error("POST", "/admin/reset?backnd=gcp", 400, "unknown_key");
    expect_error("POST", "/admin/reset?backend2=gcp", 400, "unknown_key");
    expect_error("POST", "/admin/reset?=gcp", 400, "unknown_key");
    expect_error("POST", "/admin/reset?backend=gcp&all=1", 400, "unknown_key");
    expect_error("POST", "/admin/reset?%zzbackend=gcp", 400, "unknown_key");
    expect_error("POST", "/admin/reset?backend=gcp&backend=azure", 400, "repeated_key");
    expect_error("POST", "/admin/reset?backend=gcp%", 400, "bad_escape");
    expect_error("POST", "/admin/reset?backend=gcp%4", 400, "bad_escape");
    expect_error("POST", "/admin/reset?backend=%4gcp", 400, "bad_escape");
    ck_assert_uint_eq(ledger_rotation(context.ledger), 0); /* nothing was reset by any of them */
}
END_TEST

START_TEST(health_and_readiness)
{
    json_t *json = ask("GET", "/admin/healthz", NULL, 200, NULL);
    ck_assert_str_eq(text_at(json, "status"), "ok");
    json_decref(json);
    json = ask("GET", "/admin/readyz", NULL, 200, NULL);
    ck_assert_str_eq(text_at(json, "status"), "ready");
    json_decref(json);
    gauges.ready = false;
    json = ask("GET", "/admin/readyz", NULL, 503, NULL);
    ck_assert_str_eq(text_at(json, "status"), "draining");
    json_decref(json);
    json = ask("HEAD", "/admin/healthz?from=probe", NULL, 200, NULL);
    ck_assert_str_eq(text_at(json, "status"), "ok");
    json_decref(json);
}
END_TEST

START_TEST(unknown_paths)
{
    static const char *const targets[] = {"/metrics/",
                                          "/admin",
                                          "/admin/stats/",
                                          "/admin/stat",
                                          "/admin/statss",
                                          "//admin/stats",
                                          "/ADMIN/stats",
                                          "*",
                                          "",
                                          "?backend=gcp",
                                          "/admin/backends/gcp/drained"};
    for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
        json_t *json = ask("GET", targets[i], NULL, 404, NULL);
        ck_assert_str_eq(text_at(json, "error"), "unknown_path");
        ck_assert_uint_eq(json_array_size(at(json, "known_paths")), 9);
        ck_assert_str_eq(text_at(json, "known_paths.0"), "/admin/stats");
        ck_assert_str_eq(text_at(json, "known_paths.1"), "/admin/reset");
        ck_assert_str_eq(text_at(json, "known_paths.2"), "/admin/healthz");
        ck_assert_str_eq(text_at(json, "known_paths.3"), "/admin/readyz");
        json_decref(json);
    }
}
END_TEST

START_TEST(other_methods)
{
    static const struct {
        const char *method, *target, *allow;
    } cases[] = {
        {"POST", "/admin/stats", "GET, HEAD"},
        {"get", "/admin/stats", "GET, HEAD"},
        {"GET", "/admin/reset", "POST"},
        {"HEAD", "/admin/reset", "POST"},
        {"PUT", "/admin/reset?backend=gcp", "POST"},
        {"OPTIONS", "/admin/healthz", "GET, HEAD"},
        {"DELETE", "/admin/readyz", "GET, HEAD"},
    };
    eject(0);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct admin_response response;
        json_decref(ask(cases[i].method, cases[i].target, NULL, 405, &response));
        ck_assert_str_eq(response.allow, cases[i].allow);
    }
    ck_assert_uint_eq(ledger_rotation(context.ledger), 2); /* none of them reset anything */
    struct admin_response response;
    json_decref(ask("GET", "/admin/stats", NULL, 200, &response));
    ck_assert_ptr_null(response.allow);
    ck_assert_ptr_null(response.www_authenticate);
}
END_TEST

START_TEST(token_opens)
{
    context.token = "s3cret";
    json_decref(ask("GET", "/admin/stats", "Bearer s3cret", 200, NULL));
    json_decref(ask("GET", "/admin/stats", "bearer s3cret", 200, NULL));
    json_decref(ask("GET", "/admin/stats", "BEARER   s3cret", 200, NULL));
    json_decref(ask("POST", "/admin/reset", "Bearer s3cret", 200, NULL));
    json_decref(ask("GET", "/nowhere", "Bearer s3cret", 404, NULL));
    json_decref(ask("GET", "/admin/healthz", NULL, 200, NULL));
    json_decref(ask("GET", "/admin/readyz", "Bearer wrong", 200, NULL));
    json_decref(ask("POST", "/admin/readyz", NULL, 405, NULL));
}
END_TEST

START_TEST(token_missing_or_wrong)
{
    static const char *const missing[] = {NULL,           "",       "Bearer",       "Bearer ",
                                          "Basic s3cret", "s3cret", "Bearers3cret", "Bearer\ts3cret"};
    static const char *const wrong[] = {"Bearer s3cre",  "Bearer s3crett",  "Bearer S3cret",
                                        "Bearer x3cret", "Bearer s3cret x", "Bearer s"};
    context.token = "s3cret";
    eject(0);
    struct admin_response response;
    for (size_t i = 0; i < sizeof missing / sizeof missing[0]; i++) {
        json_decref(ask("POST", "/admin/reset", missing[i], 401, &response));
        ck_assert_str_eq(response.www_authenticate, "Bearer realm=\"holdfast\"");
    }
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        json_decref(ask("POST", "/admin/reset", wrong[i], 401, &response));
        ck_assert_str_eq(response.www_authenticate, "Bearer realm=\"holdfast\", error=\"invalid_token\"");
    }
    /* Who has no token learns neither which paths there are nor which methods they take. */
    json_decref(ask("GET", "/nowhere", NULL, 401, NULL));
    json_decref(ask("GET", "/admin/reset", NULL, 401, NULL));
    json_decref(ask("GET", "/admin/stats", NULL, 401, NULL));
    ck_assert_uint_eq(ledger_rotation(context.ledger), 2);

    context.token = ""; /* an empty token opens to nobody */
    json_decref(ask("GET", "/admin/stats", "Bearer ", 401, NULL));
    json_decref(ask("GET", "/admin/stats", "Bearer x", 401, NULL));
}
END_TEST

START_TEST(refusals_have_one_form)
{
    struct admin_response response;
    admin_refuse(431, "too_long", "a \"quoted\" reason", &response);
    ck_assert_int_eq(response.status, 431);
    ck_assert_str_eq(response.content_type, "application/json");
    ck_assert_str_eq(response.body,
                     "{\n  \"error\": \"too_long\",\n  \"reason\": \"a \\\"quoted\\\" reason\"\n}\n");
    ck_assert_uint_eq(response.body_bytes, strlen(response.body));
    free(response.body);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("admin");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_set_timeout(all, 60);
    tcase_add_test(all, fresh_stats_are_the_contract);
    tcase_add_test(all, text_is_readable);
    tcase_add_test(all, every_number_is_in_its_place);
    tcase_add_test(all, ejection_has_a_time);
    tcase_add_test(all, latencies_are_rounded);
    tcase_add_test(all, policy_is_that_of_the_configuration);
    tcase_add_test(all, reset_of_all);
    tcase_add_test(all, reset_of_one);
    tcase_add_test(all, reset_of_an_unknown_one);
    tcase_add_test(all, reset_with_a_query_that_is_not_understood);
    tcase_add_test(all, health_and_readiness);
    tcase_add_test(all, unknown_paths);
    tcase_add_test(all, other_methods);
    tcase_add_test(all, token_opens);
    tcase_add_test(all, token_missing_or_wrong);
    tcase_add_test(all, refusals_have_one_form);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
