/* SPDX-License-Identifier: MIT
 * Addresses: as text, in order, and looked up. */
#include "common/net.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

static struct config_address address_of(const char *host, uint16_t port)
{
    struct config_address address = {.port = port};
    snprintf(address.host, sizeof address.host, "%s", host);
    return address;
}

static union net_address numeric(const char *host, uint16_t port)
{
    union net_address a = {.in = {.sin_family = AF_INET, .sin_port = htons(port)}};
    if (inet_pton(AF_INET, host, &a.in.sin_addr) != 1) {
        a = (union net_address){.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)}};
        ck_assert_int_eq(inet_pton(AF_INET6, host, &a.in6.sin6_addr), 1);
    }
    return a;
}

static const struct {
    const char *host;
    uint16_t port;
    const char *ip, *whole;
} texts[] = {
    {"127.0.0.1", 80, "127.0.0.1", "127.0.0.1:80"},
    {"255.255.255.255", 65535, "255.255.255.255", "255.255.255.255:65535"},
    {"::", 0, "::", "[::]:0"},
    {"::1", 8080, "::1", "[::1]:8080"},
    {"2001:db8::8:800:200c:417a", 443, "2001:db8::8:800:200c:417a", "[2001:db8::8:800:200c:417a]:443"},
    {"fedc:ba98:7654:3210:fedc:ba98:7654:3210", 65535, "fedc:ba98:7654:3210:fedc:ba98:7654:3210",
     "[fedc:ba98:7654:3210:fedc:ba98:7654:3210]:65535"},
    {"::ffff:10.1.2.3", 80, "10.1.2.3", "10.1.2.3:80"}, /* RFC 4291, 2.5.5.2: IPv4 on a socket for both */
    {"::ffff:0:10.1.2.3", 80, "::ffff:0:a01:203", "[::ffff:0:a01:203]:80"}, /* not a mapped one */
};

START_TEST(writes_addresses)
{
    char text[NET_TEXT_BYTES];
    union net_address a = numeric(texts[_i].host, texts[_i].port);
    net_format_ip(&a, text);
    ck_assert_str_eq(text, texts[_i].ip);
    net_format(&a, text);
    ck_assert_str_eq(text, texts[_i].whole);
    ck_assert_uint_eq(net_address_length(&a),
                      a.base.sa_family == AF_INET ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6));
}
END_TEST

/* What the sets of networks are asked with: one form for both families. */
START_TEST(gives_addresses_as_ipv6)
{
    static const struct {
        const char *host, *ip6;
    } rows[] = {{"10.1.2.3", "::ffff:10.1.2.3"},
                {"::ffff:10.1.2.3", "::ffff:10.1.2.3"},
                {"2001:db8::1", "2001:db8::1"}};
    for (int i = 0; i < ROWS(rows); i++) {
        union net_address a = numeric(rows[i].host, 80);
        union net_address want = numeric(rows[i].ip6, 0);
        struct in6_addr ip = net_address_ip(&a);
        ck_assert_msg(IN6_ARE_ADDR_EQUAL(&ip, &want.in6.sin6_addr), "%s", rows[i].host);
    }
    union net_address other = {.base = {.sa_family = AF_UNIX}};
    struct in6_addr none = net_address_ip(&other);
    ck_assert(IN6_IS_ADDR_UNSPECIFIED(&none));
}
END_TEST

START_TEST(resolves)
{
    static const struct {
        const char *host, *text;
    } rows[] = {{"127.0.0.1", "127.0.0.1:7"}, {"::1", "[::1]:7"}, {"::ffff:1.2.3.4", "1.2.3.4:7"}};
    for (int i = 0; i < ROWS(rows); i++) {
        struct config_address address = address_of(rows[i].host, 7);
        struct net_addresses found;
        char text[NET_TEXT_BYTES];
        ck_assert_ptr_null(net_resolve(&address, &found));
        ck_assert_uint_eq(found.count, 1);
        net_format(&found.list[0], text);
        ck_assert_str_eq(text, rows[i].text);
    }
}
END_TEST

START_TEST(numbers_are_told_from_names)
{
    static const char *const names[] = {"localhost", "gcp.example", "127.0.0.1.example"};
    struct net_addresses found;
    struct config_address address = address_of("::1", 7);
    ck_assert(net_resolve_numeric(&address, &found));
    ck_assert_uint_eq(found.count, 1);
    for (int i = 0; i < ROWS(names); i++) {
        address = address_of(names[i], 7);
        ck_assert(!net_resolve_numeric(&address, &found));
    }
}
END_TEST

START_TEST(compares_addresses)
{
    static const char *const ascending[] = {"9.0.0.1", "10.0.0.1", "10.0.1.0", "::1", "::2"};
    struct net_addresses all = {.count = 0}, one;
    for (int i = 0; i < ROWS(ascending); i++) {
        struct config_address address = address_of(ascending[i], 7);
        ck_assert(net_resolve_numeric(&address, &one));
        for (uint32_t k = 0; k < all.count; k++) {
            ck_assert_int_lt(net_compare(&all.list[k], &one.list[0]), 0);
            ck_assert_int_gt(net_compare(&one.list[0], &all.list[k]), 0);
        }
        all.list[all.count++] = one.list[0];
        ck_assert(net_same(&one, &one) && (i == 0 || !net_same(&all, &one)));
    }
    struct config_address other_port = address_of("9.0.0.1", 8);
    ck_assert(net_resolve_numeric(&other_port, &one));
    ck_assert_int_gt(net_compare(&one.list[0], &all.list[0]), 0);
}
END_TEST

/* RFC 1035, 2.3.4: a label of more than 63 bytes; no name server is asked. */
START_TEST(says_why_a_name_has_no_address)
{
    struct config_address address = {.port = 7};
    struct net_addresses found;
    memset(address.host, 'a', 70);
    const char *why = net_resolve(&address, &found);
    ck_assert_ptr_nonnull(why);
    ck_assert_str_ne(why, "");
    errno = 0;
    const char *why_not = NULL;
    ck_assert_int_eq(net_listen(&address, 1, &why_not), -1);
    ck_assert_int_ne(errno, 0);
    ck_assert_ptr_nonnull(why_not);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("net_addresses");
    TCase *text = tcase_create("text");
    tcase_add_loop_test(text, writes_addresses, 0, ROWS(texts));
    tcase_add_test(text, gives_addresses_as_ipv6);
    tcase_add_test(text, resolves);
    tcase_add_test(text, numbers_are_told_from_names);
    tcase_add_test(text, compares_addresses);
    tcase_add_test(text, says_why_a_name_has_no_address);
    suite_add_tcase(suite, text);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
