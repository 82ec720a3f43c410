/* SPDX-License-Identifier: MIT
 * The PROXY protocol. Each good header is fed byte by byte: every truncated one is not whole yet, and what
 * stands behind a whole one is not looked at. Each bad one must be refused as soon as its row says and stay
 * refused. */
#include "common/proxy_protocol.h"

#include "common/slice.h"

#include <arpa/inet.h>
#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define RAW(literal)                                                                                         \
    {                                                                                                        \
        (literal), sizeof(literal) - 1                                                                       \
    }

/* Parses BYTES out of memory that ends where they end, for AddressSanitizer. */
static enum proxy_protocol_progress parse(struct slice bytes, struct proxy_protocol *header_)
{
    char *copy = malloc(bytes.length + 1);
    ck_assert_ptr_nonnull(copy);
    if (bytes.length > 0) {
        memcpy(copy + 1, bytes.at, bytes.length);
    }
    memset(header_, 0xa5, sizeof *header_);
    enum proxy_protocol_progress progress = proxy_protocol_parse(copy + 1, bytes.length, header_);
    free(copy);
    return progress;
}

static struct slice first(struct slice bytes, size_t length)
{
    return (struct slice){bytes.at, length};
}

/* ---- Good headers ---- */

#define SIGNATURE "\r\n\r\n\0\r\nQUIT\n"
#define A4                                                                                                   \
    "\xc0\x00\x02\x01"                                                                                       \
    "\x0a\x00\x00\x01"                                                                                       \
    "\xff\xfe"                                                                                               \
    "\x00\x50" /* 192.0.2.1:65534 to 10.0.0.1:80 */
#define DB8_1 "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01"
#define A6                                                                                                   \
    DB8_1 "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01"                                                               \
          "\x30\x39"                                                                                         \
          "\x00\x50" /* [2001:db8::1]:12345 to [::1]:80 */
#define Z12   "\0\0\0\0\0\0\0\0\0\0\0\0"
#define Z36   Z12 Z12 Z12
#define Z216  Z36 Z36 Z36 Z36 Z36 Z36
#define FULL6 "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

static const struct {
    const char *rule;
    struct slice bytes;
    const char *source; /* as net_format() writes it; NULL for none */
} good[] = {
    {"v1: IPv4", RAW("PROXY TCP4 192.0.2.1 10.0.0.1 65534 80\r\n"), "192.0.2.1:65534"},
    {"v1: the longest IPv4", RAW("PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n"),
     "255.255.255.255:65535"},
    {"v1: port 0 is a port", RAW("PROXY TCP4 0.0.0.0 0.0.0.0 0 0\r\n"), "0.0.0.0:0"},
    {"v1: IPv6", RAW("PROXY TCP6 2001:db8::1 ::1 12345 80\r\n"), "[2001:db8::1]:12345"},
    {"v1: IPv6 in upper case and long", RAW("PROXY TCP6 2001:0DB8:0:0:0:0:0:0001 :: 12345 80\r\n"),
     "[2001:db8::1]:12345"},
    {"v1: the longest IPv6", RAW("PROXY TCP6 " FULL6 " " FULL6 " 65535 65535\r\n"), "[" FULL6 "]:65535"},
    {"v1: IPv4-mapped IPv6", RAW("PROXY TCP6 ::ffff:192.0.2.1 ::ffff:10.0.0.1 1 80\r\n"), "192.0.2.1:1"},
    {"v1: unknown", RAW("PROXY UNKNOWN\r\n"), NULL},
    {"v1: unknown with addresses, 107 bytes", RAW("PROXY UNKNOWN " FULL6 " " FULL6 " 65535 65535\r\n"), NULL},
    {"v1: unknown with anything", RAW("PROXY UNKNOWN  \t\0x \r\n"), NULL},
    {"v2: IPv4", RAW(SIGNATURE "\x21\x11\x00\x0c" A4), "192.0.2.1:65534"},
    {"v2: IPv6", RAW(SIGNATURE "\x21\x21\x00\x24" A6), "[2001:db8::1]:12345"},
    {"v2: IPv4 with TLVs", RAW(SIGNATURE "\x21\x11\x00\x13" A4 "\x03\x00\x04\x01\x02\x03\x04"),
     "192.0.2.1:65534"},
    {"v2: TLVs are skipped, not read", RAW(SIGNATURE "\x21\x21\x00\x26" A6 "\xff\xff"),
     "[2001:db8::1]:12345"},
    {"v2: LOCAL", RAW(SIGNATURE "\x20\x00\x00\x00"), NULL},
    {"v2: LOCAL with an address, which does not count", RAW(SIGNATURE "\x20\x11\x00\x0c" A4), NULL},
    {"v2: LOCAL with less than an address",
     RAW(SIGNATURE "\x20\x11\x00\x01"
                   "\0"),
     NULL},
    {"v2: LOCAL with a family that does not exist", RAW(SIGNATURE "\x20\xff\x00\x00"), NULL},
    {"v2: unspecified family", RAW(SIGNATURE "\x21\x00\x00\x00"), NULL},
    {"v2: unspecified family with data", RAW(SIGNATURE "\x21\x00\x00\x0c" A4), NULL},
    {"v2: UDP over IPv4", RAW(SIGNATURE "\x21\x12\x00\x0c" A4), NULL},
    {"v2: UDP over IPv6", RAW(SIGNATURE "\x21\x22\x00\x24" A6), NULL},
    {"v2: AF_UNIX stream", RAW(SIGNATURE "\x21\x31\x00\xd8" Z216), NULL},
    {"v2: AF_UNIX datagram", RAW(SIGNATURE "\x21\x32\x00\xd8" Z216), NULL},
};

START_TEST(takes_a_good_header_as_soon_as_it_is_whole)
{
    const struct slice bytes = good[_i].bytes;
    struct proxy_protocol header;
    char source[NET_TEXT_BYTES];
    for (size_t length = 0; length < bytes.length; length++) {
        ck_assert_msg(parse(first(bytes, length), &header) == PROXY_PROTOCOL_MORE, "%s: %zu bytes",
                      good[_i].rule, length);
    }
    char more[512]; /* what stands behind, even another header, must not matter */
    ck_assert_uint_le(2 * bytes.length, sizeof more);
    memcpy(more, bytes.at, bytes.length);
    memcpy(more + bytes.length, bytes.at, bytes.length);
    for (size_t behind = 0; behind <= bytes.length; behind++) {
        ck_assert_msg(parse((struct slice){more, bytes.length + behind}, &header) == PROXY_PROTOCOL_DONE,
                      "%s, %zu bytes behind it", good[_i].rule, behind);
        ck_assert_uint_eq(header.bytes, bytes.length);
        ck_assert_msg(header.has_source == (good[_i].source != NULL), "%s", good[_i].rule);
        if (header.has_source) {
            net_format(&header.source, source);
            ck_assert_str_eq(source, good[_i].source);
        }
    }
}
END_TEST

/* ---- Bad headers ---- */

#define LATE SIZE_MAX /* refused with its last byte */

static const struct {
    const char *rule;
    struct slice bytes;
    size_t at; /* refused from so many bytes on, and not before */
} bad[] = {
    {"HTTP", RAW("GET / HTTP/1.1\r\n"), 1},
    {"HTTP with a method in P", RAW("POST / HTTP/1.1\r\n"), 2},
    {"HTTP/2", RAW("PRI * HTTP/2.0\r\n"), 3},
    {"TLS", RAW("\x16\x03\x01"), 1},
    {"an empty line", RAW("\r\n\r\nGET"), 5},
    {"a space in front", RAW(" PROXY UNKNOWN\r\n"), 1},
    {"v1: lower case", RAW("proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n"), 1},
    {"v1: mixed case", RAW("Proxy TCP4 1.2.3.4 1.2.3.4 1 2\r\n"), 2},
    {"v1: tab for a space", RAW("PROXY\tTCP4 1.2.3.4 1.2.3.4 1 2\r\n"), 6},
    {"v1: nothing", RAW("PROXY \r\n"), LATE},
    {"v1: lower-case protocol", RAW("PROXY tcp4 1.2.3.4 1.2.3.4 1 2\r\n"), LATE},
    {"v1: lower-case unknown", RAW("PROXY unknown\r\n"), LATE},
    {"v1: almost unknown", RAW("PROXY UNKNOWNS\r\n"), LATE},
    {"v1: another protocol", RAW("PROXY UDP4 1.2.3.4 1.2.3.4 1 2\r\n"), LATE},
    {"v1: TCP", RAW("PROXY TCP 1.2.3.4 1.2.3.4 1 2\r\n"), LATE},
    {"v1: protocol alone", RAW("PROXY TCP4\r\n"), LATE},
    {"v1: protocol and spaces", RAW("PROXY TCP4     \r\n"), LATE},
    {"v1: one address", RAW("PROXY TCP4 1.2.3.4\r\n"), LATE},
    {"v1: no ports", RAW("PROXY TCP4 1.2.3.4 1.2.3.4\r\n"), LATE},
    {"v1: one port", RAW("PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n"), LATE},
    {"v1: one port and a space", RAW("PROXY TCP4 1.2.3.4 1.2.3.4 1 \r\n"), LATE},
    {"v1: a third port", RAW("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n"), LATE},
    {"v1: a space at the end", RAW("PROXY TCP4 1.2.3.4 1.2.3.4 1 2 \r\n"), LATE},
    {"v1: two spaces after PROXY", RAW("PROXY  TCP4 1.2.3.4 1.2.3.4 1 2\r\n"), LATE},
    {"v1: two spaces after the protocol", RAW("PROXY TCP4  1.2.3.4 1.2.3.4 1 2\r\n"), LATE},
    {"v1: two spaces between the addresses", RAW("PROXY TCP4 1.2.3.4  1.2.3.4 1 2\r\n"), LATE},
    {"v1: two spaces before the ports", RAW("PROXY TCP4 1.2.3.4 1.2.3.4  1 2\r\n"), LATE},
    {"v1: two spaces between the ports", RAW("PROXY TCP4 1.2.3.4 1.2.3.4 1  2\r\n"), LATE},
    {"v1: tab between the ports", RAW("PROXY TCP4 1.2.3.4 1.2.3.4 1\t2\r\n"), LATE},
    {"v1: an IPv6 source for TCP4", RAW("PROXY TCP4 ::1 1.2.3.4 1 2\r\n"), LATE},
    {"v1: an IPv6 destination for TCP4", RAW("PROXY TCP4 1.2.3.4 ::1 1 2\r\n"), LATE},
    {"v1: an IPv4 source for TCP6", RAW("PROXY TCP6 1.2.3.4 ::1 1 2\r\n"), LATE},
    {"v1: an IPv4 destination for TCP6", RAW("PROXY TCP6 ::1 1.2.3.4 1 2\r\n"), LATE},
    {"v1: a number too large", RAW("PROXY TCP4 1.2.3.256 1.2.3.4 1 2\r\n"), LATE},
    {"v1: three numbers", RAW("PROXY TCP4 1.2.3 1.2.3.4 1 2\r\n"), LATE},
    {"v1: a leading zero in the source", RAW("PROXY TCP4 1.2.3.04 1.2.3.4 1 2\r\n"), LATE},
    {"v1: a leading zero in the destination", RAW("PROXY TCP4 1.2.3.4 01.2.3.4 1 2\r\n"), LATE},
    {"v1: a host name", RAW("PROXY TCP4 localhost 1.2.3.4 1 2\r\n"), LATE},
    {"v1: brackets", RAW("PROXY TCP6 [::1] ::1 1 2\r\n"), LATE},
    {"v1: a zone", RAW("PROXY TCP6 fe80::1%lo ::1 1 2\r\n"), LATE},
    {"v1: IPv6 twice shortened", RAW("PROXY TCP6 1::2::3 ::1 1 2\r\n"), LATE},
    {"v1: IPv6 of nine groups", RAW("PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2\r\n"), LATE},
    {"v1: a NUL behind an address", RAW("PROXY TCP4 1.2.3.4\0 1.2.3.4 1 2\r\n"), LATE},
    {"v1: a NUL and more behind an address", RAW("PROXY TCP4 1.2.3.4\0.5 1.2.3.4 1 2\r\n"), LATE},
    {"v1: a source port too large", RAW("PROXY TCP4 1.2.3.4 1.2.3.4 65536 2\r\n"), LATE},
    {"v1: a destination port too large", RAW("PROXY TCP4 1.2.3.4 1.2.3.4 1 65536\r\n"), LATE},
    {"v1: a port of 2^32 + 1", RAW("PROXY TCP4 1.2.3.4 1.2.3.4 4294967297 2\r\n"), LATE},
    {"v1: a leading zero in the source port", RAW("PROXY TCP4 1.2.3.4 1.2.3.4 01 2\r\n"), LATE},
    {"v1: a leading zero in the destination port", RAW("PROXY TCP4 1.2.3.4 1.2.3.4 1 00\r\n"), LATE},
    {"v1: a sign", RAW("PROXY TCP4 1.2.3.4 1.2.3.4 +1 2\r\n"), LATE},
    {"v1: a negative port", RAW("PROXY TCP4 1.2.3.4 1.2.3.4 1 -2\r\n"), LATE},
    {"v1: a hex port", RAW("PROXY TCP4 1.2.3.4 1.2.3.4 1 0x2\r\n"), LATE},
    {"v1: a letter in a port", RAW("PROXY TCP4 1.2.3.4 1.2.3.4 1a 2\r\n"), LATE},
    {"v1: LF alone", RAW("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n"), LATE},
    {"v1: CR and something else", RAW("PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\r\n"), 32},
    {"v1: CR in the middle", RAW("PROXY UNKNOWN \rx\r\n"), 16},
    {"v1: LF in what is to be ignored", RAW("PROXY UNKNOWN \nx\r\n"), 15},
    {"v1: 108 bytes", RAW("PROXY UNKNOWN " FULL6 " " FULL6 " 65535 655355\r\n"), 106},
    {"v1: 107 bytes without CRLF", RAW("PROXY UNKNOWN " FULL6 " " FULL6 " 65535 65535  "), 106},
    {"v2: a signature with another letter", RAW("\r\n\r\n\0\r\nQUIt\n"), 11},
    {"v2: a signature with another NUL", RAW("\r\n\r\n0"), 5},
    {"v2: version 1", RAW(SIGNATURE "\x11"), LATE},
    {"v2: version 3", RAW(SIGNATURE "\x31"), LATE},
    {"v2: version 0", RAW(SIGNATURE "\x01"), LATE},
    {"v2: command 2", RAW(SIGNATURE "\x22"), LATE},
    {"v2: command 15", RAW(SIGNATURE "\x2f"), LATE},
    {"v2: family 4", RAW(SIGNATURE "\x21\x41"), LATE},
    {"v2: family 15", RAW(SIGNATURE "\x21\xf0"), LATE},
    {"v2: protocol 3", RAW(SIGNATURE "\x21\x13"), LATE},
    {"v2: protocol 15", RAW(SIGNATURE "\x21\x0f"), LATE},
    {"v2: IPv4 without room for it", RAW(SIGNATURE "\x21\x11\x00\x0b"), LATE},
    {"v2: IPv4 without anything", RAW(SIGNATURE "\x21\x11\x00\x00"), LATE},
    {"v2: IPv6 without room for it", RAW(SIGNATURE "\x21\x21\x00\x23"), LATE},
    {"v2: 1025 bytes", RAW(SIGNATURE "\x21\x11\x03\xf1"), LATE},
    {"v2: 1025 bytes of LOCAL", RAW(SIGNATURE "\x20\x00\x03\xf1"), LATE},
    {"v2: the longest there could be", RAW(SIGNATURE "\x21\x00\xff\xff"), LATE},
};

START_TEST(refuses_a_bad_header)
{
    const struct slice bytes = bad[_i].bytes;
    const size_t at = bad[_i].at == LATE ? bytes.length : bad[_i].at;
    struct proxy_protocol header;
    ck_assert_uint_le(at, bytes.length);
    for (size_t length = 0; length <= bytes.length; length++) {
        const enum proxy_protocol_progress progress = parse(first(bytes, length), &header);
        ck_assert_msg(progress == (length < at ? PROXY_PROTOCOL_MORE : PROXY_PROTOCOL_BAD), "%s: %zu bytes",
                      bad[_i].rule, length);
    }
}
END_TEST

/* ---- Lengths ---- */

START_TEST(holds_the_limit_of_version_2)
{
    static const char start[] = SIGNATURE "\x21\x11\x03\xf0" A4;
    char bytes[PROXY_PROTOCOL_BYTES_MAX] = {0};
    struct proxy_protocol header;
    memcpy(bytes, start, sizeof start - 1);
    ck_assert_int_eq(parse((struct slice){bytes, sizeof bytes - 1}, &header), PROXY_PROTOCOL_MORE);
    ck_assert_int_eq(parse((struct slice){bytes, sizeof bytes}, &header), PROXY_PROTOCOL_DONE);
    ck_assert_uint_eq(header.bytes, PROXY_PROTOCOL_BYTES_MAX);
    ck_assert(header.has_source);
}
END_TEST

/* No byte of the signature, the command or the family may be another, but for those that make another good
 * header. */
START_TEST(every_byte_of_the_start_counts)
{
    char bytes[] = SIGNATURE "\x21\x11\x00\x0c" A4;
    struct proxy_protocol header;
    for (size_t at = 0; at < 14; at++) {
        const char right = bytes[at];
        for (int byte = 0; byte < 256; byte++) {
            bytes[at] = (char)byte;
            const bool same = bytes[at] == right;
            const bool local = at == 12 && byte == 0x20;
            const bool known = at == 13 && (byte >> 4) <= 3 && (byte & 15) <= 2;
            /* IPv6 needs more room than there is here */
            const bool fits = at != 13 || byte != 0x21;
            const enum proxy_protocol_progress want =
                (same || local || known) && fits ? PROXY_PROTOCOL_DONE : PROXY_PROTOCOL_BAD;
            ck_assert_msg(parse((struct slice){bytes, sizeof bytes - 1}, &header) == want, "byte %zu is %#x",
                          at, (unsigned)byte);
        }
        bytes[at] = right;
    }
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("proxy_protocol");
    tcase_add_loop_test(tests, takes_a_good_header_as_soon_as_it_is_whole, 0, ROWS(good));
    tcase_add_loop_test(tests, refuses_a_bad_header, 0, ROWS(bad));
    tcase_add_test(tests, holds_the_limit_of_version_2);
    tcase_add_test(tests, every_byte_of_the_start_counts);
    Suite *suite = suite_create("proxy_protocol");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    const int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
