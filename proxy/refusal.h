/* SPDX-License-Identifier: MIT
 * The log line of a request that was refused. */
#ifndef HOLDFAST_PROXY_REFUSAL_H
#define HOLDFAST_PROXY_REFUSAL_H

#include "common/http_offence.h"
#include "common/slice.h"
#include "proxy/parking.h"

/* Logs that CLIENT's request, which began with BYTES, was refused for OFFENCE; not more than 1000 in a
 * second. Any thread, no lock held. */
void refusal_log(const struct client *client, const struct http_offence *offence, struct slice bytes);

#endif
