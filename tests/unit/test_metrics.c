/* SPDX-License-Identifier: MIT */
#include "healthd/metrics.h"

#include "tests/unit/admin_ask.h"

/* What GET /metrics says of gcp alone after some_of_everything(), but for the uptime. */
static const char everything[] =
    "# HELP holdfast_build_info The version of the program; always 1.\n"
    "# TYPE holdfast_build_info gauge\n"
    "holdfast_build_info{version=\"0.1.0\"} 1\n"
    "# HELP holdfast_uptime_seconds Time since start.\n"
    "# TYPE holdfast_uptime_seconds gauge\n"
    "# HELP holdfast_ready Whether it is fit for traffic; 0 while draining.\n"
    "# TYPE holdfast_ready gauge\n"
    "holdfast_ready 1\n"
    "# HELP holdfast_all_ejected Whether no backend is in rotation.\n"
    "# TYPE holdfast_all_ejected gauge\n"
    "holdfast_all_ejected 1\n"
    "# HELP holdfast_requests_total Requests that were answered, by class of status.\n"
    "# TYPE holdfast_requests_total counter\n"
    "holdfast_requests_total{code=\"2xx\"} 11\n"
    "holdfast_requests_total{code=\"3xx\"} 12\n"
    "holdfast_requests_total{code=\"4xx\"} 13\n"
    "holdfast_requests_total{code=\"5xx\"} 14\n"
    "# HELP holdfast_requests_retried_total Requests that needed more than one attempt.\n"
    "# TYPE holdfast_requests_retried_total counter\n"
    "holdfast_requests_retried_total 20\n"
    "# HELP holdfast_requests_rescued_total Requests that were answered 200 after at least one failed "
    "attempt.\n"
    "# TYPE holdfast_requests_rescued_total counter\n"
    "holdfast_requests_rescued_total 4\n"
    "# HELP holdfast_requests_unmasked_total Requests whose response broke when a part of it had gone to the "
    "client.\n"
    "# TYPE holdfast_requests_unmasked_total counter\n"
    "holdfast_requests_unmasked_total 46\n"
    "# HELP holdfast_request_faults_total Requests that were answered with a failing status which was "
    "charged to themselves.\n"
    "# TYPE holdfast_request_faults_total counter\n"
    "holdfast_request_faults_total 45\n"
    "# HELP holdfast_connections Open client connections.\n"
    "# TYPE holdfast_connections gauge\n"
    "holdfast_connections{state=\"active\"} 31\n"
    "holdfast_connections{state=\"idle\"} 32\n"
    "# HELP holdfast_connections_accepted_total Client connections accepted since start.\n"
    "# TYPE holdfast_connections_accepted_total counter\n"
    "holdfast_connections_accepted_total 5000000000\n"
    "# HELP holdfast_workers Worker threads.\n"
    "# TYPE holdfast_workers gauge\n"
    "holdfast_workers 34\n"
    "# HELP holdfast_workers_busy Worker threads that serve a connection right now.\n"
    "# TYPE holdfast_workers_busy gauge\n"
    "holdfast_workers_busy 35\n"
    "# HELP holdfast_overload_waiting Requests that wait right now for a place on a backend.\n"
    "# TYPE holdfast_overload_waiting gauge\n"
    "holdfast_overload_waiting 36\n"
    "# HELP holdfast_overload_waited_total Requests that had to wait for a place on a backend.\n"
    "# TYPE holdfast_overload_waited_total counter\n"
    "holdfast_overload_waited_total 41\n"
    "# HELP holdfast_overload_backends_full_total Requests for which no place on a backend became free in "
    "time.\n"
    "# TYPE holdfast_overload_backends_full_total counter\n"
    "holdfast_overload_backends_full_total 42\n"
    "# HELP holdfast_overload_workers_busy_total Requests for which no worker became free in time.\n"
    "# TYPE holdfast_overload_workers_busy_total counter\n"
    "holdfast_overload_workers_busy_total 43\n"
    "# HELP holdfast_overload_retries_denied_total Requests that failed and were not sent again, for the "
    "budget was spent.\n"
    "# TYPE holdfast_overload_retries_denied_total counter\n"
    "holdfast_overload_retries_denied_total 44\n"
    "# HELP holdfast_access_log_lines_total Lines of the access log since start.\n"
    "# TYPE holdfast_access_log_lines_total counter\n"
    "holdfast_access_log_lines_total 37\n"
    "# HELP holdfast_access_log_dropped_total Lines of the access log that were lost.\n"
    "# TYPE holdfast_access_log_dropped_total counter\n"
    "holdfast_access_log_dropped_total 38\n"
    "# HELP holdfast_backend_up Whether the backend is in rotation.\n"
    "# TYPE holdfast_backend_up gauge\n"
    "holdfast_backend_up{backend=\"gcp\"} 0\n"
    "# HELP holdfast_backend_attempts_total Attempts that have ended, with any outcome.\n"
    "# TYPE holdfast_backend_attempts_total counter\n"
    "holdfast_backend_attempts_total{backend=\"gcp\"} 23\n"
    "# HELP holdfast_backend_responses_total Whole, well-formed responses, by status.\n"
    "# TYPE holdfast_backend_responses_total counter\n"
    "holdfast_backend_responses_total{backend=\"gcp\",result=\"200\"} 5\n"
    "holdfast_backend_responses_total{backend=\"gcp\",result=\"other\"} 8\n"
    "# HELP holdfast_backend_errors_total Attempts that brought no usable response.\n"
    "# TYPE holdfast_backend_errors_total counter\n"
    "holdfast_backend_errors_total{backend=\"gcp\",kind=\"connect\"} 1\n"
    "holdfast_backend_errors_total{backend=\"gcp\",kind=\"timeout\"} 2\n"
    "holdfast_backend_errors_total{backend=\"gcp\",kind=\"reset\"} 3\n"
    "holdfast_backend_errors_total{backend=\"gcp\",kind=\"protocol\"} 4\n"
    "# HELP holdfast_backend_request_faults_total Responses with a failing status that was charged to the "
    "request.\n"
    "# TYPE holdfast_backend_request_faults_total counter\n"
    "holdfast_backend_request_faults_total{backend=\"gcp\"} 7\n"
    "# HELP holdfast_backend_failures Failures that count toward ejection.\n"
    "# TYPE holdfast_backend_failures gauge\n"
    "holdfast_backend_failures{backend=\"gcp\"} 11\n"
    "# HELP holdfast_backend_ejections_total Times the backend was ejected.\n"
    "# TYPE holdfast_backend_ejections_total counter\n"
    "holdfast_backend_ejections_total{backend=\"gcp\"} 1\n"
    "# HELP holdfast_backend_in_flight Attempts right now.\n"
    "# TYPE holdfast_backend_in_flight gauge\n"
    "holdfast_backend_in_flight{backend=\"gcp\"} 9\n"
    "# HELP holdfast_backend_max_in_flight The limit of attempts at one time; 0: none.\n"
    "# TYPE holdfast_backend_max_in_flight gauge\n"
    "holdfast_backend_max_in_flight{backend=\"gcp\"} 61\n"
    "# HELP holdfast_backend_state The state of the backend: 1 for that one, 0 for the others.\n"
    "# TYPE holdfast_backend_state gauge\n"
    "holdfast_backend_state{backend=\"gcp\",state=\"up\"} 0\n"
    "holdfast_backend_state{backend=\"gcp\",state=\"ejected\"} 0\n"
    "holdfast_backend_state{backend=\"gcp\",state=\"down\"} 0\n"
    "holdfast_backend_state{backend=\"gcp\",state=\"draining\"} 1\n"
    "# HELP holdfast_backend_failure_causes_total Failures of the backend, by their cause.\n"
    "# TYPE holdfast_backend_failure_causes_total counter\n"
    "holdfast_backend_failure_causes_total{backend=\"gcp\",cause=\"dns\"} 71\n"
    "holdfast_backend_failure_causes_total{backend=\"gcp\",cause=\"refused\"} 72\n"
    "holdfast_backend_failure_causes_total{backend=\"gcp\",cause=\"unreachable\"} 73\n"
    "holdfast_backend_failure_causes_total{backend=\"gcp\",cause=\"connect_timeout\"} 74\n"
    "holdfast_backend_failure_causes_total{backend=\"gcp\",cause=\"reset_fresh\"} 75\n"
    "holdfast_backend_failure_causes_total{backend=\"gcp\",cause=\"closed_early\"} 76\n"
    "holdfast_backend_failure_causes_total{backend=\"gcp\",cause=\"malformed\"} 77\n"
    "holdfast_backend_failure_causes_total{backend=\"gcp\",cause=\"response_timeout\"} 78\n"
    "holdfast_backend_failure_causes_total{backend=\"gcp\",cause=\"truncated\"} 79\n"
    "holdfast_backend_failure_causes_total{backend=\"gcp\",cause=\"2xx\"} 80\n"
    "holdfast_backend_failure_causes_total{backend=\"gcp\",cause=\"3xx\"} 81\n"
    "holdfast_backend_failure_causes_total{backend=\"gcp\",cause=\"4xx\"} 82\n"
    "holdfast_backend_failure_causes_total{backend=\"gcp\",cause=\"5xx\"} 83\n"
    "# HELP holdfast_backend_latency_seconds From the begin of an attempt to its whole response, or to the "
    "point from which it streams.\n"
    "# TYPE holdfast_backend_latency_seconds histogram\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"0.000262144\"} 7\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"0.000524288\"} 7\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"0.001048576\"} 7\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"0.002097152\"} 7\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"0.004194304\"} 7\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"0.008388608\"} 12\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"0.016777216\"} 12\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"0.033554432\"} 12\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"0.067108864\"} 12\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"0.134217728\"} 12\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"0.268435456\"} 12\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"0.536870912\"} 12\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"1.073741824\"} 12\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"2.147483648\"} 12\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"4.294967296\"} 12\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"8.589934592\"} 12\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"17.179869184\"} 12\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"34.359738368\"} 12\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"68.719476736\"} 12\n"
    "holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"+Inf\"} 13\n"
    "holdfast_backend_latency_seconds_sum{backend=\"gcp\"} 70.035000000\n"
    "holdfast_backend_latency_seconds_count{backend=\"gcp\"} 13\n";

/* A number of its own for each sample. */
static void some_of_everything(void)
{
    plan->config.backend_count = 1;
    plan->config.backends[0].max_in_flight = 61;
    gauges = (struct admin_gauges){.connections_active = 31,
                                   .connections_idle = 32,
                                   .connections_accepted = 5000000000,
                                   .workers_total = 34,
                                   .workers_busy = 35,
                                   .queue_waiting = 36,
                                   .access_log_lines = 37,
                                   .access_log_dropped = 38,
                                   .ready = true};
    const unsigned statuses[] = {200, 301, 404, 500};
    for (int i = 0; i < 4; i++) {
        for (int n = 0; n < 11 + i; n++) { /* 11 to 14 of each */
            traffic_count(context.traffic, 0, statuses[i], n < 5, n < 2 && i < 2);
        }
    }
    for (int note = 0; note < TRAFFIC_NOTES; note++) {
        for (int n = 0; n < 41 + note; n++) {
            traffic_note(context.traffic, 0, (enum traffic_note)note);
        }
    }
    const enum attempt_end ends[] = {ATTEMPT_CONNECT, ATTEMPT_TIMEOUT, ATTEMPT_RESET, ATTEMPT_PROTOCOL};
    for (int i = 0; i < 4; i++) {
        for (int n = 0; n <= i; n++) { /* 1, 2, 3, 4 of each */
            attempt(0, ends[i], 0, 0);
        }
    }
    attempt(0, ATTEMPT_ANSWERED, 503, 70 * (int64_t)NS_PER_S);
    for (int i = 0; i < 5; i++) {
        attempt(0, ATTEMPT_ANSWERED, 200, 7 * NS_PER_MS);
    }
    struct attempt_ticket ticket;
    for (int i = 0; i < 7; i++) {
        ck_assert(ledger_begin(context.ledger, 0, false, &ticket));
        ledger_end(context.ledger, &ticket,
                   &(struct attempt_outcome){
                       .end = ATTEMPT_ANSWERED, .status = 404, .failure = true, .undecided = true});
        ledger_excuse(context.ledger, &ticket);
    }
    for (int i = 0; i < 9; i++) {
        ck_assert(ledger_begin(context.ledger, 0, false, &ticket)); /* and not ended */
    }
    for (int cause = 0; cause < EVIDENCE_CAUSES; cause++) {
        for (int n = 0; n < 71 + cause; n++) {
            evidence_keep(context.evidence, 0,
                          &(struct evidence_note){.cause = (enum evidence_cause)cause, .attempt = 1});
        }
    }
}

/* Copies TEXT to BARE_ without the sample of the uptime, which is returned. */
static double take_uptime(const char *text, char *bare_)
{
    const char *sample = strstr(text, "\nholdfast_uptime_seconds ");
    ck_assert_ptr_nonnull(sample);
    sample++;
    const char *end = strchr(sample, '\n');
    ck_assert_ptr_nonnull(end);
    memcpy(bare_, text, (size_t)(sample - text));
    memcpy(bare_ + (sample - text), end + 1, strlen(end + 1) + 1);
    return strtod(sample + strlen("holdfast_uptime_seconds "), NULL);
}

/* Compares line by line, so that a failure shows the line. */
static void expect_lines(const char *got, const char *want)
{
    while (*got != '\0' || *want != '\0') {
        const int got_bytes = (int)strcspn(got, "\n"), want_bytes = (int)strcspn(want, "\n");
        ck_assert_msg(got_bytes == want_bytes && memcmp(got, want, (size_t)got_bytes) == 0,
                      "got \"%.*s\", expected \"%.*s\"", got_bytes, got, want_bytes, want);
        ck_assert(got[got_bytes] == '\n' && want[want_bytes] == '\n');
        got += got_bytes + 1;
        want += want_bytes + 1;
    }
}

/* Whether LINE is one of TEXT. */
static bool has_line(const char *text, const char *line)
{
    const size_t length = strlen(line);
    for (const char *at = strstr(text, line); at != NULL; at = strstr(at + 1, line)) {
        if ((at == text || at[-1] == '\n') && at[length] == '\n') {
            return true;
        }
    }
    return false;
}

static void expect_line(const char *line)
{
    char *text = metrics_text(&context);
    ck_assert_ptr_nonnull(text);
    ck_assert_msg(has_line(text, line), "no line %s in\n%s", line, text);
    free(text);
}

START_TEST(every_sample_is_in_its_place)
{
    some_of_everything();
    ledger_drain(context.ledger, 0, true);
    char *text = metrics_text(&context);
    ck_assert_ptr_nonnull(text);
    char *bare = malloc(strlen(text) + 1);
    ck_assert_ptr_nonnull(bare);
    double uptime = take_uptime(text, bare);
    ck_assert_double_ge(uptime, 12.5);
    ck_assert_double_lt(uptime, 60);
    expect_lines(bare, everything);
    free(bare);
    free(text);
}
END_TEST

START_TEST(each_backend_has_its_samples)
{
    eject(1);
    attempt(0, ATTEMPT_ANSWERED, 200, NS_PER_MS);
    expect_line("holdfast_backend_up{backend=\"gcp\"} 1");
    expect_line("holdfast_backend_up{backend=\"azure\"} 0");
    expect_line("holdfast_backend_state{backend=\"azure\",state=\"ejected\"} 1");
    expect_line("holdfast_backend_state{backend=\"azure\",state=\"up\"} 0");
    expect_line("holdfast_backend_attempts_total{backend=\"gcp\"} 1");
    expect_line("holdfast_backend_attempts_total{backend=\"azure\"} 11");
    expect_line("holdfast_backend_latency_seconds_count{backend=\"azure\"} 11");
    expect_line("holdfast_backend_latency_seconds_sum{backend=\"azure\"} 0.011000000");
    expect_line("holdfast_all_ejected 0");
    eject(0);
    expect_line("holdfast_all_ejected 1");
    expect_line("holdfast_ready 1");
    gauges.ready = false;
    expect_line("holdfast_ready 0");
}
END_TEST

START_TEST(a_label_is_escaped)
{
    /* No config lets such a name in today. */
    snprintf(plan->config.backends[0].name, CONFIG_NAME_BYTES, "a\"b\\c\nd");
    expect_line("holdfast_backend_up{backend=\"a\\\"b\\\\c\\nd\"} 1");
    const size_t length = CONFIG_NAME_BYTES - 1;
    memset(plan->config.backends[0].name, '"', length);
    char escaped[2 * CONFIG_NAME_BYTES] = "", line[sizeof escaped + 64];
    for (size_t i = 0; i < length; i++) {
        memcpy(escaped + 2 * i, "\\\"", 3);
    }
    snprintf(line, sizeof line, "holdfast_backend_up{backend=\"%s\"} 1", escaped);
    expect_line(line);
}
END_TEST

START_TEST(no_counter_goes_back_for_a_client_that_went_away)
{
    struct attempt_ticket gone;
    attempt(0, ATTEMPT_ANSWERED, 200, NS_PER_MS);
    expect_line("holdfast_backend_attempts_total{backend=\"gcp\"} 1");
    ck_assert(ledger_begin(context.ledger, 0, true, &gone));
    expect_line("holdfast_backend_attempts_total{backend=\"gcp\"} 1");
    expect_line("holdfast_backend_in_flight{backend=\"gcp\"} 1");
    ledger_end(context.ledger, &gone, &(struct attempt_outcome){.end = ATTEMPT_CANCELLED});
    expect_line("holdfast_backend_attempts_total{backend=\"gcp\"} 1");
    expect_line("holdfast_backend_in_flight{backend=\"gcp\"} 0");
}
END_TEST

START_TEST(a_reset_begins_at_zero)
{
    eject(0);
    traffic_count(context.traffic, 0, 500, true, false);
    json_decref(ask("POST", "/admin/reset", NULL, 200, NULL));
    expect_line("holdfast_backend_attempts_total{backend=\"gcp\"} 0");
    expect_line("holdfast_backend_ejections_total{backend=\"gcp\"} 0");
    expect_line("holdfast_backend_latency_seconds_bucket{backend=\"gcp\",le=\"+Inf\"} 0");
    expect_line("holdfast_backend_latency_seconds_sum{backend=\"gcp\"} 0.000000000");
    expect_line("holdfast_requests_total{code=\"5xx\"} 0");
}
END_TEST

/* Asks for METHOD /metrics with AUTHORIZATION and returns the response. */
static struct admin_response request(const char *method, const char *authorization)
{
    struct admin_request request = {.method = slice_of(method),
                                    .target = SLICE("/metrics?x=y"),
                                    .authorization = slice_of(authorization)};
    struct admin_response response;
    admin_answer(&context, &request, &response);
    return response;
}

START_TEST(the_route)
{
    static const char *const methods[] = {"GET", "HEAD"};
    for (int i = 0; i < 2; i++) {
        struct admin_response response = request(methods[i], NULL);
        ck_assert_int_eq(response.status, 200);
        ck_assert_str_eq(response.content_type, "text/plain; version=0.0.4; charset=utf-8");
        ck_assert_uint_eq(response.body_bytes, strlen(response.body));
        ck_assert(response.body[response.body_bytes - 1] == '\n');
        free(response.body);
    }
    struct admin_response response;
    json_decref(ask("POST", "/metrics", NULL, 405, &response));
    ck_assert_str_eq(response.allow, "GET, HEAD");
}
END_TEST

START_TEST(the_route_needs_the_token)
{
    context.token = "s3cret";
    json_decref(ask("GET", "/metrics", NULL, 401, NULL));
    json_decref(ask("GET", "/metrics", "Bearer s3cre", 401, NULL));
    struct admin_response response = request("GET", "Bearer s3cret");
    ck_assert_int_eq(response.status, 200);
    free(response.body);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("metrics");
    TCase *all = tcase_create("all");
    tcase_add_checked_fixture(all, set_up, tear_down);
    tcase_set_timeout(all, 60);
    tcase_add_test(all, every_sample_is_in_its_place);
    tcase_add_test(all, each_backend_has_its_samples);
    tcase_add_test(all, a_label_is_escaped);
    tcase_add_test(all, no_counter_goes_back_for_a_client_that_went_away);
    tcase_add_test(all, a_reset_begins_at_zero);
    tcase_add_test(all, the_route);
    tcase_add_test(all, the_route_needs_the_token);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
