/* SPDX-License-Identifier: MIT
 * Networks: what may be written, and which addresses are in them. */
#include "common/cidr.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <string.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

/* The address TEXT, IPv4 as IPv4-mapped IPv6. */
static struct in6_addr address(const char *text)
{
    struct in6_addr a = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
    if (inet_pton(AF_INET, text, &a.s6_addr[12]) != 1) {
        ck_assert_int_eq(inet_pton(AF_INET6, text, &a), 1);
    }
    return a;
}

static const struct {
    const char *text, *network;
    uint8_t prefix_bits;
} good[] = {
    {"192.0.2.1", "192.0.2.1", 128},
    {"192.0.2.1/32", "192.0.2.1", 128},
    {"10.0.0.0/8", "10.0.0.0", 104},
    {"10.128.0.0/9", "10.128.0.0", 105},
    {"0.0.0.0/0", "0.0.0.0", 96},
    {"255.255.255.254/31", "255.255.255.254", 127},
    {"2001:db8::/32", "2001:db8::", 32},
    {"2001:DB8:0:0::/33", "2001:db8::", 33},
    {"::1", "::1", 128},
    {"::1/128", "::1", 128},
    {"::/0", "::", 0},
    {"8000::/1", "8000::", 1},
    {"::ffff:10.0.0.0/104", "10.0.0.0", 104},
    {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 128},
};

START_TEST(reads_a_network)
{
    struct cidr c;
    const char *why = NULL;
    memset(&c, 0xa5, sizeof c);
    ck_assert_msg(cidr_parse(good[_i].text, &c, &why), "%s: %s", good[_i].text, why);
    struct in6_addr network = address(good[_i].network);
    ck_assert_mem_eq(&c.network, &network, sizeof network);
    ck_assert_uint_eq(c.prefix_bits, good[_i].prefix_bits);
}
END_TEST

#define SHAPE "expected an address or ADDRESS/BITS"
#define BITS4 "expected 0 to 32 bits after an IPv4 address"
#define BITS6 "expected 0 to 128 bits after an IPv6 address"
#define ZEROS "expected zeros in the address behind its first BITS bits"

static const struct {
    const char *text, *why;
} bad[] = {
    {"", SHAPE},
    {"/", SHAPE},
    {"/8", SHAPE},
    {" 10.0.0.1", SHAPE},
    {"10.0.0.1 ", SHAPE},
    {"10.0.0", SHAPE},
    {"10.0.0/8", SHAPE},
    {"10", SHAPE},
    {"10.0.0.256", SHAPE},
    {"10.0.0.01", SHAPE},
    {"0x0a.0.0.1", SHAPE},
    {"10.0.0.1:80", SHAPE},
    {"[::1]", SHAPE},
    {"[::1]/128", SHAPE},
    {"::1%lo", SHAPE},
    {":::", SHAPE},
    {"1:2:3:4:5:6:7", SHAPE},
    {"1:2:3:4:5:6:7:8:9", SHAPE},
    {"::g", SHAPE},
    {"localhost", SHAPE},
    {"ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.2555", SHAPE},
    {"10.0.0.0/", BITS4},
    {"10.0.0.0/33", BITS4},
    {"10.0.0.0/08", BITS4},
    {"10.0.0.0/00", BITS4},
    {"10.0.0.0/+8", BITS4},
    {"10.0.0.0/-1", BITS4},
    {"10.0.0.0/ 8", BITS4},
    {"10.0.0.0/8 ", BITS4},
    {"10.0.0.0/8/8", BITS4},
    {"10.0.0.0/255.0.0.0", BITS4},
    {"10.0.0.0/4294967304", BITS4},
    {"10.0.0.0/18446744073709551624", BITS4},
    {"::/", BITS6},
    {"::/129", BITS6},
    {"::/x", BITS6},
    {"10.0.0.1/8", ZEROS},
    {"10.0.0.1/31", ZEROS},
    {"128.0.0.0/0", ZEROS},
    {"10.64.0.0/9", ZEROS},
    {"2001:db8::1/32", ZEROS},
    {"::1/0", ZEROS},
    {"::1/127", ZEROS},
};

START_TEST(refuses_what_is_no_network)
{
    struct cidr c;
    const char *why = NULL;
    ck_assert_msg(!cidr_parse(bad[_i].text, &c, &why), "not refused: %s", bad[_i].text);
    ck_assert_str_eq(why, bad[_i].why);
}
END_TEST

static const struct {
    const char *network, *address;
    bool has;
} members[] = {
    {"10.0.0.0/8", "10.0.0.0", true},
    {"10.0.0.0/8", "10.255.255.255", true},
    {"10.0.0.0/8", "9.255.255.255", false},
    {"10.0.0.0/8", "11.0.0.0", false},
    {"10.0.0.0/9", "10.127.255.255", true},
    {"10.0.0.0/9", "10.128.0.0", false},
    {"192.0.2.254/31", "192.0.2.255", true},
    {"192.0.2.254/31", "192.0.2.253", false},
    {"192.0.2.1", "192.0.2.1", true},
    {"192.0.2.1", "192.0.2.0", false},
    {"192.0.2.1", "192.0.2.2", false},
    {"0.0.0.0/0", "255.255.255.255", true},
    {"0.0.0.0/0", "0.0.0.0", true},
    {"2001:db8::/32", "2001:db8:ffff::1", true},
    {"2001:db8::/32", "2001:db9::", false},
    {"2001:db8::/33", "2001:db8:7fff::", true},
    {"2001:db8::/33", "2001:db8:8000::", false},
    {"::1", "::1", true},
    {"::1", "::2", false},
    {"8000::/1", "ffff::", true},
    {"8000::/1", "7fff::", false},
    {"::/0", "2001:db8::1", true},
    /* the families stay apart */
    {"0.0.0.0/0", "2001:db8::1", false},
    {"0.0.0.0/0", "::1", false},
    {"::/0", "10.0.0.1", false},
    {"::/80", "10.0.0.1", false},
    {"::1", "0.0.0.1", false},
    {"0.0.0.1", "::1", false},
    /* but IPv4-mapped addresses are IPv4 addresses, however they are written */
    {"10.0.0.0/8", "::ffff:10.1.2.3", true},
    {"::ffff:10.0.0.0/104", "10.1.2.3", true},
    {"::ffff:0:0/96", "10.1.2.3", true},
};

START_TEST(knows_its_members)
{
    struct cidr_set set = {.count = 1};
    const char *why;
    struct in6_addr a = address(members[_i].address);
    ck_assert(cidr_parse(members[_i].network, &set.list[0], &why));
    ck_assert_msg(cidr_set_has(&set, &a) == members[_i].has, "%s in %s", members[_i].address,
                  members[_i].network);
}
END_TEST

/* Against arithmetic of another kind: for every length of prefix, the lowest and highest address of a network
 * are in it and their neighbours outside are not. */
START_TEST(every_length_of_prefix_has_its_edges)
{
    for (unsigned bits = 0; bits <= 32; bits++) {
        const char *why;
        struct cidr_set set = {.count = 1};
        const uint32_t mask = bits == 0 ? 0 : UINT32_MAX << (32 - bits);
        const uint32_t low = UINT32_C(0xb5a35ca5) & mask;
        const uint32_t high = low | ~mask;
        char text[32];
        snprintf(text, sizeof text, "%u.%u.%u.%u/%u", low >> 24, low >> 16 & 255, low >> 8 & 255, low & 255,
                 bits);
        ck_assert_msg(cidr_parse(text, &set.list[0], &why), "%s: %s", text, why);
        const uint32_t probes[] = {low, high, low - 1, high + 1};
        for (int i = 0; i < ROWS(probes); i++) {
            struct in6_addr a = {.s6_addr = {[10] = 0xff, [11] = 0xff}};
            const uint32_t wire = htonl(probes[i]);
            memcpy(&a.s6_addr[12], &wire, sizeof wire);
            ck_assert_msg(cidr_set_has(&set, &a) == ((probes[i] & mask) == low), "%08x in %s", probes[i],
                          text);
        }
    }
}
END_TEST

START_TEST(a_set_has_what_any_of_its_networks_has)
{
    struct cidr_set set = {.count = 0};
    const char *why;
    struct in6_addr first = address("10.1.1.1");
    struct in6_addr last = address("2001:db8::1");
    struct in6_addr other = address("192.0.2.1");
    ck_assert(!cidr_set_has(&set, &first));
    for (set.count = 0; set.count < CIDR_SET_MAX - 1; set.count++) {
        ck_assert(cidr_parse("10.0.0.0/8", &set.list[set.count], &why));
    }
    ck_assert(cidr_parse("2001:db8::/32", &set.list[set.count], &why));
    ck_assert(!cidr_set_has(&set, &last)); /* it is there, but does not count yet */
    set.count++;
    ck_assert(cidr_set_has(&set, &first));
    ck_assert(cidr_set_has(&set, &last));
    ck_assert(!cidr_set_has(&set, &other));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("cidr");
    tcase_add_loop_test(tests, reads_a_network, 0, ROWS(good));
    tcase_add_loop_test(tests, refuses_what_is_no_network, 0, ROWS(bad));
    tcase_add_loop_test(tests, knows_its_members, 0, ROWS(members));
    tcase_add_test(tests, every_length_of_prefix_has_its_edges);
    tcase_add_test(tests, a_set_has_what_any_of_its_networks_has);
    Suite *suite = suite_create("cidr");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
