/* SPDX-License-Identifier: MIT
 * How many connections each client address has open, for limits.connections_per_client. An IPv6 client is its
 * /64: that is what one customer gets (RFC 6177), and he may use any address in it. */
#ifndef HOLDFAST_PROXY_TALLY_H
#define HOLDFAST_PROXY_TALLY_H

#include "common/compiler.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

struct tally; /* opaque */

/* Makes a tally for at most CONNECTIONS in all, MAX_EACH for one client. NULL without memory. */
struct tally *tally_new(uint32_t connections, uint32_t max_each);

/* Frees T; NULL is fine. */
void tally_delete(struct tally *t);

/* Counts one more connection of IP (IPv4-mapped for IPv4). False, and nothing is counted, when it has
 * MAX_EACH already. Any thread, no lock held. */
must_check bool tally_add(struct tally *t, const struct in6_addr *ip);

/* Takes one connection of IP back, which tally_add() counted. Any thread, no lock held. */
void tally_remove(struct tally *t, const struct in6_addr *ip);

#endif
