/* SPDX-License-Identifier: MIT */
#include "proxy/waited.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

int64_t waited_for_worker_ms(const struct client *c, mono_ns now)
{
    if (c->outbox != NULL || c->linger_until != 0) {
        return 0;
    }
    struct tcp_info info = {.tcpi_last_data_recv = 0};
    socklen_t size = sizeof info;
    if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) {
        return 0;
    }
    int64_t since_last_byte = info.tcpi_last_data_recv;
    if (c->yielded_at == 0) {
        return since_last_byte;
    }
    /* Its bytes may be older than its wait: it let others go first of its own accord. */
    int64_t since_yielded = (now - c->yielded_at) / NS_PER_MS;
    return since_yielded < since_last_byte ? since_yielded : since_last_byte;
}
