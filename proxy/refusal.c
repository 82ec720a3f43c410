/* SPDX-License-Identifier: MIT */
#include "proxy/refusal.h"

#include "common/log.h"

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
