/* SPDX-License-Identifier: MIT
 * An IPv4 network is kept as the IPv4-mapped IPv6 one, so that a network and an address are each 16 bytes and
 * a prefix is a count of bits. The families stay apart all the same: "::/0" is all of IPv6 and none of IPv4,
 * because that is what people who write it expect. "::ffff:10.0.0.0/104" is another way to write 10.0.0.0/8.
 */
#include "common/cidr.h"

#include <arpa/inet.h>
#include <string.h>

enum { BITS_IPV4 = 32, BITS_IPV6 = 128, BITS_MAPPED = BITS_IPV6 - BITS_IPV4 };

static const unsigned char mapped_prefix[BITS_MAPPED / 8] = {[10] = 0xff, [11] = 0xff};

/* Reads DIGITS, a number of 0 to MAX without leading zeros. False when it is anything else. */
static bool parse_bits(const char *digits, unsigned max, unsigned *bits_)
{
    unsigned bits = 0;
    if (*digits == '\0' || (digits[0] == '0' && digits[1] != '\0')) {
        return false;
    }
    for (; *digits != '\0'; digits++) {
        if (*digits < '0' || *digits > '9') {
            return false;
        }
        bits = bits * 10 + (unsigned)(*digits - '0');
        if (bits > max) {
            return false;
        }
    }
    *bits_ = bits;
    return true;
}

/* Whether all bits of ADDRESS behind the first BITS are zero. */
static bool is_network(const struct in6_addr *address, unsigned bits)
{
    for (unsigned i = bits; i < BITS_IPV6; i++) {
        if ((address->s6_addr[i / 8] >> (7 - i % 8) & 1) != 0) {
            return false;
        }
    }
    return true;
}

bool cidr_parse(const char *text, struct cidr *cidr_, const char **why_)
{
    char address[INET6_ADDRSTRLEN];
    size_t length = strcspn(text, "/");
    *why_ = "expected an address or ADDRESS/BITS";
    if (length >= sizeof address) {
        return false;
    }
    memcpy(address, text, length);
    address[length] = '\0';

    unsigned char *bytes = cidr_->network.s6_addr;
    bool ipv4 = inet_pton(AF_INET, address, bytes + sizeof mapped_prefix) == 1;
    if (ipv4) {
        memcpy(bytes, mapped_prefix, sizeof mapped_prefix);
    } else if (inet_pton(AF_INET6, address, bytes) != 1) {
        return false;
    }
    unsigned width = ipv4 ? BITS_IPV4 : BITS_IPV6;
    unsigned bits = width;
    if (text[length] == '/' && !parse_bits(text + length + 1, width, &bits)) {
        *why_ = ipv4 ? "expected 0 to 32 bits after an IPv4 address"
                     : "expected 0 to 128 bits after an IPv6 address";
        return false;
    }
    bits += BITS_IPV6 - width;
    if (!is_network(&cidr_->network, bits)) {
        *why_ = "expected zeros in the address behind its first BITS bits";
        return false;
    }
    cidr_->prefix_bits = (uint8_t)bits;
    return true;
}

/* Whether the first BITS bits of A and B are the same. */
static bool same_prefix(const unsigned char *a, const unsigned char *b, unsigned bits)
{
    unsigned whole = bits / 8;
    unsigned rest = bits % 8;
    return memcmp(a, b, whole) == 0 && (rest == 0 || (a[whole] ^ b[whole]) >> (8 - rest) == 0);
}

bool cidr_set_has(const struct cidr_set *set, const struct in6_addr *address)
{
    bool ipv4 = IN6_IS_ADDR_V4MAPPED(address);
    for (uint32_t i = 0; i < set->count; i++) {
        const struct cidr *c = &set->list[i];
        if (ipv4 && c->prefix_bits < BITS_MAPPED) {
            continue;
        }
        if (same_prefix(c->network.s6_addr, address->s6_addr, c->prefix_bits)) {
            return true;
        }
    }
    return false;
}
