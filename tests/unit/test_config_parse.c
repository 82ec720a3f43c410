/* SPDX-License-Identifier: MIT */
#include "common/config.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

#define SHAPE      "expected ADDR:PORT, [IPv6]:PORT or :PORT"
#define URL_SHAPE  "expected http://host[:port] or host:port"
#define PORT_RANGE "expected a port from 1 to 65535"
#define BRACKETS   "expected brackets around the IPv6 address: [IPv6]:PORT"
#define HOST_SHAPE "expected an IPv4 address, a host name, or an IPv6 address in brackets"
#define IPV4_SHAPE "expected an IPv4 address of four numbers from 0 to 255"
#define IPV6_SHAPE "expected an IPv6 address inside the brackets"
#define NO_BRACKET "expected a ']' after the IPv6 address"
#define AFTER_V6   "expected nothing but :PORT after the IPv6 address"
#define NO_HTTPS   "expected http://, for https to backends is not supported"
#define NO_USER    "expected no user name or password in the URL"
#define NO_PATH    "expected no path, query or fragment after host[:port]"
#define NAME_SHAPE "expected a name of 1 to 63 letters, digits, '-', '_' and '.'"
#define NAME_TAKEN "expected a name that no other backend has"
#define A10        "aaaaaaaaaa"
#define A60        A10 A10 A10 A10 A10 A10
#define A250       A60 A60 A60 A60 A10

/* One text and what it is read as: HOST and PORT (and URL), or WHY not. */
struct row {
    const char *text, *host, *url, *why;
    uint16_t port;
};

static const struct row addresses[] = {
    {.text = ":80", .host = "", .port = 80},
    {.text = "127.0.0.1:8081", .host = "127.0.0.1", .port = 8081},
    {.text = "0.0.0.0:1", .host = "0.0.0.0", .port = 1},
    {.text = "[::]:65535", .host = "::", .port = 65535},
    {.text = "[::1]:080", .host = "::1", .port = 80},
    {.text = "[::ffff:10.0.0.1]:80", .host = "::ffff:10.0.0.1", .port = 80},
    {.text = "localhost:8080", .host = "localhost", .port = 8080},
    {.text = "my_host-1.example.org:80", .host = "my_host-1.example.org", .port = 80},
    {.text = A250 "aaaaa:80", .host = A250 "aaaaa", .port = 80},
    {.text = A250 "aaaaaa:80", .why = "expected a host of at most 255 characters"},
    {.text = "", .why = SHAPE},
    {.text = "80", .why = SHAPE},
    {.text = "localhost", .why = SHAPE},
    {.text = "[::1]", .why = SHAPE},
    {.text = ":", .why = PORT_RANGE},
    {.text = ":0", .why = PORT_RANGE},
    {.text = ":65536", .why = PORT_RANGE},
    {.text = ":http", .why = PORT_RANGE},
    {.text = ":-1", .why = PORT_RANGE},
    {.text = ":+80", .why = PORT_RANGE},
    {.text = ":80 ", .why = PORT_RANGE},
    {.text = ":8 0", .why = PORT_RANGE},
    {.text = ":99999999999999999999", .why = PORT_RANGE},
    {.text = "127.0.0.1:", .why = PORT_RANGE},
    {.text = "::1:80", .why = BRACKETS},
    {.text = "::", .why = BRACKETS},
    {.text = "[::1:80", .why = NO_BRACKET},
    {.text = "[", .why = NO_BRACKET},
    {.text = "[::1]80", .why = AFTER_V6},
    {.text = "[]:80", .why = IPV6_SHAPE},
    {.text = "[::g]:80", .why = IPV6_SHAPE},
    {.text = "[127.0.0.1]:80", .why = IPV6_SHAPE},
    {.text = "256.0.0.1:80", .why = IPV4_SHAPE},
    {.text = "1.2.3:80", .why = IPV4_SHAPE},
    {.text = "*:80", .why = HOST_SHAPE},
    {.text = "a b:80", .why = HOST_SHAPE},
    {.text = "a\xc3\xa4:80", .why = HOST_SHAPE},
    {.text = "http://host:80", .why = BRACKETS},
};

static const struct row urls[] = {
    {.text = "http://10.0.0.1", .host = "10.0.0.1", .port = 80, .url = "http://10.0.0.1:80"},
    {.text = "http://10.0.0.1/", .host = "10.0.0.1", .port = 80, .url = "http://10.0.0.1:80"},
    {.text = "HTTP://Host:8000/", .host = "Host", .port = 8000, .url = "http://Host:8000"},
    {.text = "http://[::1]", .host = "::1", .port = 80, .url = "http://[::1]:80"},
    {.text = "http://[fe80::2]:8080", .host = "fe80::2", .port = 8080, .url = "http://[fe80::2]:8080"},
    {.text = "host:8000", .host = "host", .port = 8000, .url = "http://host:8000"},
    {.text = "[::1]:81", .host = "::1", .port = 81, .url = "http://[::1]:81"},
    {.text = "http://" A250 "aaaaa:65535",
     .host = A250 "aaaaa",
     .port = 65535,
     .url = "http://" A250 "aaaaa:65535"},
    {.text = "", .why = URL_SHAPE},
    {.text = "host", .why = URL_SHAPE},
    {.text = "http://", .why = URL_SHAPE},
    {.text = "http://:80", .why = URL_SHAPE},
    {.text = ":80", .why = URL_SHAPE},
    {.text = "[::1]", .why = URL_SHAPE},
    {.text = "ftp://host", .why = URL_SHAPE},
    {.text = "https://host", .why = NO_HTTPS},
    {.text = "HTTPS://host:443/x", .why = NO_HTTPS},
    {.text = "http://host/path", .why = NO_PATH},
    {.text = "http://host//", .why = NO_PATH},
    {.text = "http://host?q", .why = NO_PATH},
    {.text = "http://host:80/#f", .why = NO_PATH},
    {.text = "host:80/", .why = NO_PATH},
    {.text = "http://user@host", .why = NO_USER},
    {.text = "http://user:secret@host:80/", .why = NO_USER},
    {.text = "http://host:0", .why = PORT_RANGE},
    {.text = "http://host:65536", .why = PORT_RANGE},
    {.text = "http://host:", .why = PORT_RANGE},
    {.text = "http://::1:80", .why = BRACKETS},
    {.text = "http://[::1", .why = NO_BRACKET},
    {.text = "http://[x]:80", .why = IPV6_SHAPE},
    {.text = "http://10.0.0.256", .why = IPV4_SHAPE},
    {.text = "http://a\r\nb", .why = HOST_SHAPE},
};

enum {
    ADDRESS_COUNT = sizeof(addresses) / sizeof(addresses[0]),
    URL_COUNT = sizeof(urls) / sizeof(urls[0]),
};

START_TEST(an_address_is_read_or_refused_with_a_reason)
{
    const struct row *row = &addresses[_i];
    struct config_address address;
    const char *why = NULL;
    bool read = config_parse_address(row->text, &address, &why);
    if (row->why != NULL) {
        ck_assert_msg(!read, "%s was not refused", row->text);
        ck_assert_str_eq(why, row->why);
    } else {
        ck_assert_msg(read, "%s was refused: %s", row->text, why);
        ck_assert_str_eq(address.host, row->host);
        ck_assert_uint_eq(address.port, row->port);
    }
}
END_TEST

START_TEST(a_url_is_read_or_refused_with_a_reason)
{
    const struct row *row = &urls[_i];
    struct config_backend b = {.name = "kept", .weight = 7};
    const char *why = NULL;
    bool read = config_parse_backend_url(row->text, &b, &why);
    ck_assert_str_eq(b.name, "kept");
    ck_assert_uint_eq(b.weight, 7);
    if (row->why != NULL) {
        ck_assert_msg(!read, "%s was not refused", row->text);
        ck_assert_str_eq(why, row->why);
    } else {
        ck_assert_msg(read, "%s was refused: %s", row->text, why);
        ck_assert_str_eq(b.address.host, row->host);
        ck_assert_uint_eq(b.address.port, row->port);
        ck_assert_str_eq(b.url, row->url);
    }
}
END_TEST

START_TEST(a_number_is_whole_and_in_range)
{
    uint64_t n = 0;
    ck_assert(config_parse_number("0", 0, 0, &n) && n == 0);
    ck_assert(config_parse_number("007", 1, 7, &n) && n == 7);
    ck_assert(config_parse_number("18446744073709551615", 0, UINT64_MAX, &n) && n == UINT64_MAX);
    static const char *const wrong[] = {"",
                                        " ",
                                        "-1",
                                        "+1",
                                        " 1",
                                        "1 ",
                                        "1.0",
                                        "1e3",
                                        "0x1",
                                        "one",
                                        "6",
                                        "11",
                                        "18446744073709551616",
                                        "99999999999999999999999"};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        ck_assert_msg(!config_parse_number(wrong[i], 7, 10, &n), "\"%s\" was not refused", wrong[i]);
    ck_assert(!config_parse_number("18446744073709551616", 0, UINT64_MAX, &n));
}
END_TEST

START_TEST(a_name_is_made_of_few_characters)
{
    char name[CONFIG_NAME_BYTES];
    const char *why = NULL;
    ck_assert(config_parse_name("a-B_9.", name, &why));
    ck_assert_str_eq(name, "a-B_9.");
    ck_assert(config_parse_name(A60 "aaa", name, &why));
    static const char *const wrong[] = {"", "a b", "a/b", "a=b", "\xc3\xa4", "a\n", A60 "aaaa", A250 A250};
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        why = "";
        ck_assert_msg(!config_parse_name(wrong[i], name, &why), "\"%s\" was not refused", wrong[i]);
        ck_assert_str_eq(why, NAME_SHAPE);
    }
}
END_TEST

/* Adds TEXT to C, which refuses it; returns why. */
static const char *why_not(struct config *c, const char *text)
{
    const char *why = NULL;
    size_t before = c->backend_count;
    ck_assert_msg(!config_add_backend(c, text, &why), "%s was not refused", text);
    ck_assert_uint_eq(c->backend_count, before);
    return why;
}

START_TEST(backends_are_added_with_or_without_a_name)
{
    static struct config c;
    const char *why;
    config_defaults(&c);
    ck_assert(config_add_backend(&c, "gcp=http://10.0.0.1", &why));
    ck_assert(config_add_backend(&c, "10.0.0.2:8000", &why));
    ck_assert(config_add_backend(&c, A60 "aaa=[::1]:8000", &why));
    ck_assert_uint_eq(c.backend_count, 3);
    ck_assert_str_eq(c.backends[0].name, "gcp");
    ck_assert_str_eq(c.backends[0].url, "http://10.0.0.1:80");
    ck_assert_uint_eq(c.backends[0].weight, 1);
    ck_assert_str_eq(c.backends[1].name, "backend2");
    ck_assert_str_eq(c.backends[2].url, "http://[::1]:8000");

    ck_assert_str_eq(why_not(&c, "gcp=http://10.0.0.3"), NAME_TAKEN);
    ck_assert_str_eq(why_not(&c, "=http://10.0.0.3"), NAME_SHAPE);
    ck_assert_str_eq(why_not(&c, "a b=http://10.0.0.3"), NAME_SHAPE);
    ck_assert_str_eq(why_not(&c, A60 "aaaa=http://10.0.0.3"), NAME_SHAPE);
    ck_assert_str_eq(why_not(&c, A250 "=http://10.0.0.3"), NAME_SHAPE);
    ck_assert_str_eq(why_not(&c, "x=https://10.0.0.3"), NO_HTTPS);
    ck_assert_str_eq(why_not(&c, "x="), URL_SHAPE);
    ck_assert_str_eq(why_not(&c, "http://10.0.0.3/?a=b"), NO_PATH);
}
END_TEST

START_TEST(a_given_name_may_be_the_next_automatic_one)
{
    static struct config c;
    const char *why;
    config_defaults(&c);
    ck_assert(config_add_backend(&c, "backend2=10.0.0.1:80", &why));
    ck_assert_str_eq(why_not(&c, "10.0.0.2:80"), NAME_TAKEN);
}
END_TEST

START_TEST(there_is_room_for_64_backends)
{
    static struct config c;
    const char *why;
    config_defaults(&c);
    for (int i = 0; i < CONFIG_BACKENDS_MAX; i++)
        ck_assert(config_add_backend(&c, "10.0.0.1:80", &why));
    ck_assert_str_eq(c.backends[63].name, "backend64");
    ck_assert_str_eq(why_not(&c, "10.0.0.1:80"), "expected at most 64 backends");
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("config_parse");
    tcase_add_loop_test(tests, an_address_is_read_or_refused_with_a_reason, 0, ADDRESS_COUNT);
    tcase_add_loop_test(tests, a_url_is_read_or_refused_with_a_reason, 0, URL_COUNT);
    tcase_add_test(tests, a_number_is_whole_and_in_range);
    tcase_add_test(tests, a_name_is_made_of_few_characters);
    tcase_add_test(tests, backends_are_added_with_or_without_a_name);
    tcase_add_test(tests, a_given_name_may_be_the_next_automatic_one);
    tcase_add_test(tests, there_is_room_for_64_backends);
    Suite *suite = suite_create("config_parse");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
