/* SPDX-License-Identifier: MIT */
#include "proxy/refusal.h"

#include "common/log.h"
#include "proxy/deliver.h"
#include "proxy/reply.h"

#include <stdatomic.h>

enum { REFUSALS_LOGGED = 1000, SHOWN_BYTES = 200 };

/* A flood of bad requests must not become a flood of lines: REFUSALS_LOGGED in a second, of all threads
 * together. */
static bool may_log_refusal(mono_ns now)
{
    static _Atomic int64_t second;
    static _Atomic uint32_t logged;
    int64_t this_second = now / NS_PER_S;
    if (atomic_exchange_explicit(&second, this_second, memory_order_relaxed) != this_second) {
        atomic_store_explicit(&logged, 0, memory_order_relaxed);
    }
    return atomic_fetch_add_explicit(&logged, 1, memory_order_relaxed) < REFUSALS_LOGGED;
}

void refusal_log(const struct client *client, const struct http_offence *offence, struct slice bytes)
{
    if (!may_log_refusal(clock_mono())) {
        return;
    }
    char ip[NET_TEXT_BYTES];
    net_format(&client->peer, ip);
    if (bytes.length > SHOWN_BYTES) {
        bytes.length = SHOWN_BYTES;
    }
    const struct plog_pair pairs[] = {
        {"client", slice_of(ip)},
        {"offence", slice_of(offence->name)},
        {"bytes", bytes},
        {NULL, {NULL, 0}},
    };
    plog_pairs(CONFIG_LOG_INFO, "request refused", pairs);
}

void refusal_send(struct proxy *proxy, uint32_t shard, int fd, const union net_address *peer,
                  const struct request *request, const struct http_offence *offence)
{
    bool to_head = request != NULL && request->in_bytes >= 5 && memcmp(request->in, "HEAD ", 5) == 0;
    traffic_count(proxy->traffic, shard, (unsigned)offence->status, false, false);
    bool sent = deliver_last_reply(fd, offence, to_head);
    if (access_log_is_on(&proxy->access_log)) {
        struct access_entry entry = {.client = peer, .request = request, .status = (unsigned)offence->status};
        access_log_note(&proxy->access_log, &entry, sent && !to_head ? reply_body_bytes(offence) : 0,
                        sent ? ACCESS_WHOLE : ACCESS_CLIENT_GONE);
    }
}
