/* SPDX-License-Identifier: MIT
 * The pool is a stack: the connection used last is the one least likely to have been closed by the backend,
 * and the ones below it rest until they are trimmed. One look at the socket before it is lent (a read that
 * does not wait) finds both a closed connection and an answer that nobody asked for; without it, such an
 * answer would be taken for that of the next request. The look and every close happen outside the lock. */
#include "proxy/upstream.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

bool upstream_init(struct upstream *u, const struct net_addresses *addresses, uint32_t idle_max)
{
    *u = (struct upstream){.addresses = *addresses, .idle_max = idle_max};
    lock_init(&u->shared.lock);
    u->shared.idle = calloc(idle_max, sizeof *u->shared.idle);
    return u->shared.idle != NULL;
}

void upstream_release(struct upstream *u)
{
    for (uint32_t i = 0; i < u->shared.count; i++) {
        close(u->shared.idle[i].fd);
    }
    free(u->shared.idle);
    u->shared.idle = NULL;
    lock_destroy(&u->shared.lock);
}

static bool is_quiet(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == -1 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

int upstream_take_idle(struct upstream *u)
{
    for (;;) {
        int fd = -1;
        lock_take(&u->shared.lock);
        if (u->shared.count > 0) {
            fd = u->shared.idle[--u->shared.count].fd;
        }
        lock_free(&u->shared.lock);
        if (fd == -1 || is_quiet(fd)) {
            return fd;
        }
        close(fd);
    }
}

/* One connect, which the watchdog may end. The socket, or -1 with errno set. */
static int connect_guarded(const union net_address *a, mono_ns deadline, struct upstream_guard *guard)
{
    if (guard == NULL) {
        return net_connect(a, deadline);
    }
    guard->cut = WATCH_NOT_CUT;
    int fd = net_connect_begin(a);
    if (fd == -1) {
        return -1;
    }
    watch_arm_for(guard->watch, fd, DEADLINE_NO, guard->subject);
    int failure = net_connect_end(fd, deadline);
    guard->cut = watch_disarm(guard->watch);
    if (failure != 0 || guard->cut != WATCH_NOT_CUT) {
        close(fd);
        errno = failure != 0 ? failure : ECONNABORTED;
        return -1;
    }
    return fd;
}

int upstream_connect(struct upstream *u, mono_ns deadline, struct upstream_guard *guard)
{
    uint32_t first = atomic_load_explicit(&u->preferred, memory_order_relaxed);
    for (uint32_t i = 0; i < u->addresses.count; i++) {
        uint32_t index = (first + i) % u->addresses.count;
        mono_ns now = clock_mono();
        mono_ns share =
            (deadline - now) / (u->addresses.count - i); /* a silent address leaves time for the next */
        int fd = connect_guarded(&u->addresses.list[index], now + share, guard);
        if (fd != -1 && i > 0) {
            atomic_store_explicit(&u->preferred, index, memory_order_relaxed);
        }
        if (fd != -1 || (guard != NULL && guard->cut != WATCH_NOT_CUT)) {
            return fd;
        }
    }
    return -1;
}

void upstream_give_back(struct upstream *u, int fd, mono_ns now)
{
    MUST(fd >= 0);
    bool kept = false;
    lock_take(&u->shared.lock);
    if (u->shared.count < u->idle_max) {
        u->shared.idle[u->shared.count++] = (struct upstream_idle){.fd = fd, .since = now};
        kept = true;
    }
    lock_free(&u->shared.lock);
    if (!kept) {
        close(fd);
    }
}

void upstream_trim(struct upstream *u, mono_ns since)
{
    enum { BATCH = 64 };
    uint32_t count;
    do {
        int old[BATCH];
        count = 0;
        lock_take(&u->shared.lock);
        while (count < BATCH && count < u->shared.count && u->shared.idle[count].since < since) {
            old[count] = u->shared.idle[count].fd;
            count++;
        }
        u->shared.count -= count;
        memmove(u->shared.idle, u->shared.idle + count, u->shared.count * sizeof *u->shared.idle);
        lock_free(&u->shared.lock);
        for (uint32_t i = 0; i < count; i++) {
            close(old[i]);
        }
    } while (count == BATCH);
}
