/* SPDX-License-Identifier: MIT
 * Replies of our own: each offence there is, in each shape, read back with our own decoder and a JSON parser.
 */
#include "proxy/reply.h"

#include "common/http_decode.h"
#include "common/http_offence.h"

#include <check.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define DATE        "Sun, 06 Nov 1994 08:49:37 GMT"

#define OFFENCE_POINTER(name, status, reason) &http_offence_##name,
static const struct http_offence *const offences[] = {HTTP_OFFENCES(OFFENCE_POINTER)};

static const struct http_offence sample = {418, "a_name", "A reason."};

#define BODY "{\"status\": 418, \"error\": \"a_name\", \"reason\": \"A reason.\"}\n"
#define HEAD                                                                                                 \
    "HTTP/1.1 418 Error\r\nContent-Type: application/json\r\nContent-Length: 58\r\nDate: " DATE "\r\n"

static const struct {
    bool keep_alive;
    unsigned client_minor;
    bool without_body;
    const char *text;
} shapes[] = {
    {true, 1, false, HEAD "\r\n" BODY},
    {false, 1, false, HEAD "Connection: close\r\n\r\n" BODY},
    {true, 0, false, HEAD "Connection: keep-alive\r\n\r\n" BODY}, /* RFC 9112, 9.3 */
    {false, 0, false, HEAD "Connection: close\r\n\r\n" BODY},
    {true, 1, true, HEAD "\r\n"}, /* RFC 9110, 9.3.2: what GET would have had is announced */
    {false, 0, true, HEAD "Connection: close\r\n\r\n"},
};

START_TEST(writes_every_shape)
{
    char text[REPLY_BYTES_MAX];
    struct writer w = {.at = text, .capacity = sizeof text};
    struct reply reply = {.offence = &sample,
                          .keep_alive = shapes[_i].keep_alive,
                          .client_minor = shapes[_i].client_minor,
                          .without_body = shapes[_i].without_body,
                          .date = SLICE(DATE)};
    reply_write(&w, &reply);
    ck_assert(writer_ok(&w));
    ck_assert_msg(slice_equal((struct slice){w.at, w.length}, slice_of(shapes[_i].text)), "%.*s",
                  (int)w.length, w.at);
}
END_TEST

/* Asserts that the body, LENGTH bytes at BODY, says what OFFENCE is. */
static void expect_json(const char *body, size_t length, const struct http_offence *offence)
{
    json_t *json = json_loadb(body, length, 0, NULL);
    ck_assert_msg(json != NULL, "%s: not JSON: %.*s", offence->name, (int)length, body);
    ck_assert_uint_eq(json_object_size(json), 3);
    ck_assert_int_eq(json_integer_value(json_object_get(json, "status")), offence->status);
    ck_assert_str_eq(json_string_value(json_object_get(json, "error")), offence->name);
    ck_assert_str_eq(json_string_value(json_object_get(json, "reason")), offence->reason);
    json_decref(json);
}

START_TEST(every_offence_fits_and_reads_back)
{
    const struct http_offence *offence = offences[_i];
    char text[REPLY_BYTES_MAX];
    struct writer w = {.at = text, .capacity = sizeof text};
    struct reply reply = {.offence = offence, .client_minor = 0, .keep_alive = true, .date = SLICE(DATE)};
    reply_write(&w, &reply);
    ck_assert(writer_ok(&w));

    struct http_head_scan scan = {.kind = HTTP_KIND_RESPONSE, .limit_bytes = sizeof text};
    const struct http_offence *bad = NULL;
    struct http_head head;
    ck_assert_int_eq(http_head_scan(&scan, w.at, w.length, &bad), HTTP_HEAD_DONE);
    ck_assert_ptr_null(http_decode(&head, HTTP_KIND_RESPONSE, w.at, scan.seen));
    ck_assert_uint_eq(head.status, (unsigned)offence->status);
    ck_assert(slice_equal(head.reason, reply_phrase(offence->status)));
    ck_assert_msg(!slice_equal(head.reason, SLICE("Error")), "%d has no phrase", offence->status);
    char length[24];
    snprintf(length, sizeof length, "%zu", w.length - scan.seen);
    ck_assert(slice_equal(http_head_find(&head, HTTP_FIELD_CONTENT_LENGTH)->value, slice_of(length)));
    ck_assert(slice_equal(http_head_find(&head, HTTP_FIELD_DATE)->value, SLICE(DATE)));
    expect_json(w.at + scan.seen, w.length - scan.seen, offence);
}
END_TEST

/* Fields that go with one status: RFC 9110, 15.5.6 (Allow) and 10.2.3 (Retry-After). */
START_TEST(fields_of_a_status)
{
    static const struct {
        int status;
        const char *field;
    } rows[] = {
        {405, "\r\nAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"},
        {503, "\r\nRetry-After: 1\r\n"},
    };
    for (int status = 400; status <= 599; status++) {
        struct http_offence offence = {.status = status, .name = "x", .reason = "y"};
        char text[REPLY_BYTES_MAX];
        struct writer w = {.at = text, .capacity = sizeof text};
        struct reply reply = {.offence = &offence, .client_minor = 1, .date = SLICE(DATE)};
        reply_write(&w, &reply);
        for (int i = 0; i < ROWS(rows); i++) {
            bool found = memmem(w.at, w.length, rows[i].field, strlen(rows[i].field)) != NULL;
            ck_assert_msg(found == (status == rows[i].status), "%d: %s", status, rows[i].field);
        }
    }
}
END_TEST

START_TEST(overflow_is_reported)
{
    char text[64];
    struct writer w = {.at = text, .capacity = sizeof text};
    struct reply reply = {.offence = &sample, .client_minor = 1, .date = SLICE(DATE)};
    reply_write(&w, &reply);
    ck_assert(!writer_ok(&w));
}
END_TEST

START_TEST(phrases)
{
    static const struct {
        int status;
        const char *phrase; /* RFC 9110, 15; RFC 6585 */
    } rows[] = {
        {400, "Bad Request"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {417, "Expectation Failed"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {501, "Not Implemented"},
        {502, "Bad Gateway"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
        {299, "Error"},
    };
    for (int i = 0; i < ROWS(rows); i++) {
        ck_assert(slice_equal(reply_phrase(rows[i].status), slice_of(rows[i].phrase)));
    }
}
END_TEST

int main(void)
{
    TCase *reply = tcase_create("reply");
    tcase_add_loop_test(reply, writes_every_shape, 0, ROWS(shapes));
    tcase_add_loop_test(reply, every_offence_fits_and_reads_back, 0, ROWS(offences));
    tcase_add_test(reply, fields_of_a_status);
    tcase_add_test(reply, overflow_is_reported);
    tcase_add_test(reply, phrases);
    Suite *suite = suite_create("reply");
    suite_add_tcase(suite, reply);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
