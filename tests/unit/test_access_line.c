/* SPDX-License-Identifier: MIT
 * A line of the access log: its fields, and that nothing a client sends makes another line of it or takes the
 * place of a field. */
#include "proxy/access_line.h"

#include <arpa/inet.h>
#include <check.h>
#include <jansson.h>
#include <stdlib.h>

static struct request request;
static union net_address client;
static char pairs_text[ACCESS_PAIRS_BYTES], text[ACCESS_LINE_BYTES];

static const struct access_result result = {.body_bytes = 1234567890123,
                                            .duration_ns = 2500000,
                                            .end = ACCESS_WHOLE};

static void begin(void)
{
    request =
        (struct request){.has_head = true,
                         .head = {.method = SLICE("POST"), .target = SLICE("/a?b"), .version_minor = 1}};
    client = (union net_address){.in = {.sin_family = AF_INET, .sin_port = htons(5678)}};
    ck_assert_int_eq(inet_pton(AF_INET, "192.0.2.7", &client.in.sin_addr), 1);
}

/* The line of ENTRY, without its newline. */
static const char *line_of(const struct access_entry *entry, bool json, const struct access_result *ended)
{
    struct log_line pairs;
    access_line_begin(&pairs, pairs_text, json, entry);
    struct slice line = access_line_write(text, SLICE("NOW"), &pairs, ended);
    ck_assert_uint_le(line.length, ACCESS_LINE_BYTES);
    ck_assert_ptr_eq(memchr(line.at, '\n', line.length), line.at + line.length - 1);
    text[line.length - 1] = '\0';
    return text;
}

START_TEST(all_fields)
{
    struct access_entry entry = {.client = &client,
                                 .request = &request,
                                 .status = 200,
                                 .backend = "gcp",
                                 .attempts = 2,
                                 .request_id = SLICE("abc-1")};
    ck_assert_str_eq(
        line_of(&entry, false, &result),
        "time=NOW client=192.0.2.7:5678 method=POST target=/a?b version=1.1 status=200 backend=gcp "
        "attempts=2 request_id=abc-1 bytes=1234567890123 duration_ms=2.500 end=whole");
    ck_assert_str_eq(
        line_of(&entry, true, &result),
        "{\"time\":\"NOW\",\"client\":\"192.0.2.7:5678\",\"method\":\"POST\",\"target\":\"/a?b\","
        "\"version\":\"1.1\",\"status\":200,\"backend\":\"gcp\",\"attempts\":2,"
        "\"request_id\":\"abc-1\",\"bytes\":1234567890123,\"duration_ms\":2.500,\"end\":\"whole\"}");
}
END_TEST

START_TEST(what_is_not_known_is_a_dash)
{
    struct access_entry entry = {.client = &client, .status = 429};
    const char *want = "time=NOW client=192.0.2.7:5678 method=- target=- version=- status=429 backend=- "
                       "attempts=0 request_id=- bytes=0 duration_ms=0.000 end=client_gone";
    ck_assert_str_eq(line_of(&entry, false, &(struct access_result){.end = ACCESS_CLIENT_GONE}), want);
    request.has_head = false; /* a head that was not decoded is another request's */
    entry.request = &request;
    ck_assert_str_eq(line_of(&entry, false, &(struct access_result){.end = ACCESS_CLIENT_GONE}), want);
}
END_TEST

START_TEST(every_end_has_a_name)
{
    struct access_entry entry = {.client = &client};
    for (int end = 0; end < ACCESS_ENDS; end++) {
        const char *line = line_of(&entry, false, &(struct access_result){.end = (enum access_end)end});
        const char *name = strstr(line, " end=");
        ck_assert_ptr_nonnull(name);
        ck_assert_uint_gt(strlen(name), strlen(" end="));
    }
}
END_TEST

/* However long and strange, no client can push a field out of the line, or make one. */
START_TEST(hostile_values)
{
    static char target[70000], id[128];
    static const char *const fillers[] = {
        "x", "\"", "\\", "\n", "\xff", " status=200", "\",\"status\":200,\""};
    const char *filler = fillers[_i];
    for (size_t i = 0; i < sizeof target; i++) {
        target[i] = filler[i % strlen(filler)];
    }
    memset(id, _i % 2 == 0 ? '"' : '=', sizeof id);
    request.head.target = (struct slice){target, sizeof target};
    request.head.method = (struct slice){target, 100};
    struct access_entry entry = {.client = &client,
                                 .request = &request,
                                 .status = 404,
                                 .backend =
                                     "a-backend-with-a-name-of-63-bytes-which-is-as-long-as-it-may-be.",
                                 .attempts = 64,
                                 .request_id = {id, sizeof id}};
    struct access_result slowest = {.body_bytes = UINT64_MAX,
                                    .duration_ns = INT64_MAX,
                                    .end = ACCESS_BACKEND_BROKE};
    json_t *json =
        json_loads(line_of(&entry, true, &slowest), JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
    ck_assert_msg(json != NULL, "%s", text);
    ck_assert_uint_eq(json_object_size(json), 12);
    ck_assert(json_real_value(json_object_get(json, "status")) == 404);
    ck_assert_str_eq(json_string_value(json_object_get(json, "end")), "backend_broke");
    ck_assert_uint_eq(json_string_length(json_object_get(json, "request_id")), sizeof id);
    size_t shown = json_string_length(json_object_get(json, "target"));
    const char *value = json_string_value(json_object_get(json, "target"));
    ck_assert_uint_gt(shown, 300);
    ck_assert_str_eq(value + shown - 3, "...");
    json_decref(json);

    const char *line = line_of(&entry, false, &slowest);
    ck_assert_ptr_nonnull(strstr(line, " attempts=64 request_id=\""));
    ck_assert_ptr_nonnull(strstr(line, " end=backend_broke"));
    bool quoted = false;
    size_t bare_statuses = 0;
    for (const char *c = line; *c != '\0'; c++) {
        ck_assert(*c >= ' ' && *c < 0x7f);
        if (quoted && *c == '\\') {
            c++;
        } else if (*c == '"') {
            quoted = !quoted;
        } else if (!quoted && strncmp(c, " status=", 8) == 0) {
            bare_statuses++;
        }
    }
    ck_assert(!quoted);
    ck_assert_uint_eq(bare_statuses, 1);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("access_line");
    tcase_add_checked_fixture(tests, begin, NULL);
    tcase_add_test(tests, all_fields);
    tcase_add_test(tests, what_is_not_known_is_a_dash);
    tcase_add_test(tests, every_end_has_a_name);
    tcase_add_loop_test(tests, hostile_values, 0, 7);
    Suite *suite = suite_create("access_line");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
