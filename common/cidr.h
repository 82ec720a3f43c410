/* SPDX-License-Identifier: MIT
 * Sets of IP addresses in CIDR notation (RFC 4632, RFC 4291): "10.0.0.0/8", "2001:db8::/32", "192.0.2.1".
 * Pure. */
#ifndef HOLDFAST_COMMON_CIDR_H
#define HOLDFAST_COMMON_CIDR_H

#include "common/compiler.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cidr {
    struct in6_addr network; /* IPv4 as IPv4-mapped IPv6, so that one comparison serves both */
    uint8_t prefix_bits;     /* of the 128: an IPv4 /8 is 104 */
};

enum { CIDR_SET_MAX = 64 };

struct cidr_set {
    uint32_t count;
    struct cidr list[CIDR_SET_MAX];
};

/* Parses TEXT into *CIDR_. An address without a prefix is itself alone; bits behind the prefix must be zero.
 * False with *WHY_ set to a static sentence part ("expected an address or ADDRESS/BITS"). */
must_check bool cidr_parse(const char *text, struct cidr *cidr_, const char **why_);

/* Whether ADDRESS (IPv4-mapped for IPv4) is in one of SET's networks. */
bool cidr_set_has(const struct cidr_set *set, const struct in6_addr *address);

#endif
