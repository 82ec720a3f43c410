/* SPDX-License-Identifier: MIT
 * How long a backend connection is used again. One address may stand for many servers: a load balancer, or
 * the Service of a cluster, picks one when a connection is opened, and the connection stays there as long as
 * it lives. Connections that live for ever would leave servers without work that were added later. Pure. */
#ifndef HOLDFAST_PROXY_LIFETIME_H
#define HOLDFAST_PROXY_LIFETIME_H

#include <stdint.h>

enum {
    LIFETIME_MS = 10000,         /* on average, unless there are very many connections */
    LIFETIME_CLOSES_PER_S = 100, /* so many end by their age at the most, on average */
};

/* How long the connections of a backend live on average, in ms, when there are up to CONNECTIONS of them.
 * Each that we close leaves a local port unusable for a minute (TIME-WAIT, RFC 9293, 3.3.2). Of the 28000
 * that Linux has for one address, LIFETIME_CLOSES_PER_S takes less than a quarter, whatever CONNECTIONS is.
 */
uint32_t lifetime_mean_ms(uint32_t connections);

/* The life in ms of the connection number NTH, any number: from half of MEAN_MS up to, but not with, one and
 * a half of it. Connections whose numbers follow each other get lives that lie far apart and fill this range
 * evenly, so that those opened together do not end together. */
uint32_t lifetime_ms(uint32_t mean_ms, uint32_t nth);

#endif
