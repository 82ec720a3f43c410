/* SPDX-License-Identifier: MIT
 * Requests that are refused before they are exchanged: the answer, and its lines in both logs. */
#ifndef HOLDFAST_PROXY_REFUSAL_H
#define HOLDFAST_PROXY_REFUSAL_H

#include "common/http_offence.h"
#include "common/slice.h"
#include "proxy/parking.h"
#include "proxy/proxy.h"

/* Logs that CLIENT's request, which began with BYTES, was refused for OFFENCE; not more than 1000 in a
 * second. Any thread, no lock held. */
void refusal_log(const struct client *client, const struct http_offence *offence, struct slice bytes);

/* Answers PEER on FD, whose connection ends with that, with OFFENCE; counts it in SHARD, which belongs to the
 * calling thread, and makes its line in the access log. REQUEST is what was read, NULL for nothing. Never
 * blocks. */
void refusal_send(struct proxy *proxy, uint32_t shard, int fd, const union net_address *peer,
                  const struct request *request, const struct http_offence *offence);

#endif
