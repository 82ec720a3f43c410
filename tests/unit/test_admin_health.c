/* SPDX-License-Identifier: MIT
 * What the admin endpoint tells of the health of backends beside the stats, and what it lets an operator do
 * to it. */
#include "tests/unit/admin_ask.h"

static void keep(uint32_t backend, enum evidence_cause cause, unsigned status, uint32_t attempt_number,
                 bool ejected)
{
    evidence_keep(context.evidence, backend,
                  &(struct evidence_note){.cause = cause,
                                          .status = status,
                                          .method = SLICE("GET"),
                                          .path = SLICE("/a\"b"),
                                          .request_id = SLICE("id-1"),
                                          .attempt = attempt_number,
                                          .duration_ns = 12 * NS_PER_MS,
                                          .ejected = ejected});
}

START_TEST(evidence_only_when_asked_for)
{
    keep(1, CAUSE_REFUSED, 0, 1, false);
    keep(1, CAUSE_5XX, 503, 2, true);
    json_t *json = ask("GET", "/admin/stats?evidence=0&x", NULL, 200, NULL);
    ck_assert_ptr_null(json_object_get(at(json, "backends.1"), "evidence"));
    json_decref(json);
    json = ask("GET", "/admin/stats?x=y&evidence=1", NULL, 200, NULL);
    ck_assert_int_eq(count_at(json, "backends.0.evidence.causes.refused.count"), 0);
    ck_assert(json_is_null(at(json, "backends.0.evidence.causes.refused.last")));
    ck_assert(json_is_null(at(json, "backends.0.evidence.ejected_by")));
    ck_assert_uint_eq(json_array_size(at(json, "backends.0.evidence.failures")), 0);
    ck_assert_int_eq(count_at(json, "backends.1.evidence.causes.refused.count"), 1);
    ck_assert_int_eq(count_at(json, "backends.1.evidence.causes.5xx.count"), 1);
    ck_assert_uint_eq(json_object_size(at(json, "backends.1.evidence.causes")), EVIDENCE_CAUSES);
    ck_assert_uint_eq(strlen(text_at(json, "backends.1.evidence.causes.5xx.last")), CLOCK_ISO8601_BYTES - 1);
    ck_assert_uint_eq(json_array_size(at(json, "backends.1.evidence.failures")), 2);
    ck_assert_str_eq(text_at(json, "backends.1.evidence.failures.0.cause"), "5xx"); /* the newest first */
    ck_assert_int_eq(count_at(json, "backends.1.evidence.failures.0.status"), 503);
    ck_assert_str_eq(text_at(json, "backends.1.evidence.failures.1.cause"), "refused");
    ck_assert(json_is_null(at(json, "backends.1.evidence.failures.1.status")));
    ck_assert_str_eq(text_at(json, "backends.1.evidence.failures.1.method"), "GET");
    ck_assert_str_eq(text_at(json, "backends.1.evidence.failures.1.path"), "/a\"b");
    ck_assert_int_eq(count_at(json, "backends.1.evidence.failures.1.attempt"), 1);
    ck_assert_int_eq(count_at(json, "backends.1.evidence.failures.1.ms"), 12);
    ck_assert_str_eq(text_at(json, "backends.1.evidence.failures.1.request_id"), "id-1");
    ck_assert(
        json_equal(at(json, "backends.1.evidence.ejected_by"), at(json, "backends.1.evidence.failures.0")));
    json_decref(json);
    json_decref(ask("POST", "/admin/reset?backend=azure", NULL, 200, NULL));
    json = ask("GET", "/admin/stats?evidence=1", NULL, 200, NULL);
    ck_assert(json_equal(at(json, "backends.1.evidence"), at(json, "backends.0.evidence")));
    json_decref(json);
}
END_TEST

START_TEST(overload_stands_beside_the_evidence)
{
    plan->config.backends[1].max_in_flight = 7;
    gauges.queue_waiting = 3;
    gauges.access_log_lines = 4;
    gauges.access_log_dropped = 5;
    traffic_note(context.traffic, 0, TRAFFIC_WAITED);
    traffic_note(context.traffic, 0, TRAFFIC_WAITED);
    traffic_note(context.traffic, 0, TRAFFIC_BACKENDS_FULL);
    traffic_note(context.traffic, 0, TRAFFIC_RETRIES_DENIED);
    json_t *json = ask("GET", "/admin/stats", NULL, 200, NULL);
    ck_assert_ptr_null(json_object_get(json, "overload"));
    ck_assert_ptr_null(json_object_get(json, "access_log"));
    json_decref(json);
    json = ask("GET", "/admin/stats?evidence=1", NULL, 200, NULL);
    ck_assert_int_eq(count_at(json, "overload.waiting"), 3);
    ck_assert_int_eq(count_at(json, "overload.waited"), 2);
    ck_assert_int_eq(count_at(json, "overload.backends_full"), 1);
    ck_assert_int_eq(count_at(json, "overload.retries_denied"), 1);
    ck_assert_int_eq(count_at(json, "access_log.lines"), 4);
    ck_assert_int_eq(count_at(json, "access_log.dropped"), 5);
    ck_assert_int_eq(count_at(json, "backends.0.max_in_flight"), 0);
    ck_assert_int_eq(count_at(json, "backends.1.max_in_flight"), 7);
    json_decref(json);
}
END_TEST

START_TEST(drain_and_undrain)
{
    json_t *json = ask("POST", "/admin/backends/%61zure/drain?why=update", NULL, 200, NULL);
    ck_assert_str_eq(text_at(json, "name"), "azure");
    ck_assert_str_eq(text_at(json, "state"), "draining");
    json_t *stats = ask("GET", "/admin/stats", NULL, 200, NULL);
    ck_assert(json_equal(json, at(stats, "backends.1"))); /* the very object of the stats */
    ck_assert_str_eq(text_at(stats, "backends.0.state"), "up");
    ck_assert_uint_eq(ledger_rotation(context.ledger), 1);
    json_decref(stats);
    json_decref(json);
    json = ask("POST", "/admin/backends/azure/undrain", NULL, 200, NULL);
    ck_assert_str_eq(text_at(json, "state"), "up");
    ck_assert_uint_eq(ledger_rotation(context.ledger), 3);
    json_decref(json);
    expect_error("POST", "/admin/backends/nobody/drain", 404, "unknown_backend");
    expect_error("POST", "/admin/backends/%zz/drain", 400, "bad_escape");
    expect_error("GET", "/admin/backends/azure/drain", 405, "method_not_allowed");
    expect_error("POST", "/admin/backends//drain", 404, "unknown_path");
    expect_error("POST", "/admin/backends/drain", 404, "unknown_path");
    expect_error("POST", "/admin/backends/azure", 404, "unknown_path");
    expect_error("POST", "/admin/backends/azure/drains", 404, "unknown_path");
    expect_error("POST", "/admin/backends/a/b/drain", 404, "unknown_path");
    ck_assert_uint_eq(ledger_rotation(context.ledger), 3);
    context.token = "secret";
    expect_error("POST", "/admin/backends/azure/drain", 401, "token_missing");
    ck_assert_uint_eq(ledger_rotation(context.ledger), 3);
}
END_TEST

int main(void)
{
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_add_test(all, evidence_only_when_asked_for);
    tcase_add_test(all, overload_stands_beside_the_evidence);
    tcase_add_test(all, drain_and_undrain);
    Suite *suite = suite_create("admin_health");
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
