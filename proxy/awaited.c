/* SPDX-License-Identifier: MIT */
#include "proxy/awaited.h"

#include "common/pages.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>

enum { CAPACITY_MAX = 1 << 20 };

/* A line of its own: the next descriptor is another worker's. */
struct row {
    cache_aligned _Atomic uint64_t client_plus_one; /* 0: nobody waits */
    _Atomic bool registered; /* its owner's; a number passes to its next owner by the kernel */
};

struct awaited {
    int sets[2];
    uint32_t capacity;
    struct row *rows; /* by descriptor */
};

struct awaited *awaited_new(int a, int b)
{
    struct rlimit limit;
    struct awaited *t = calloc(1, sizeof *t);
    if (t == NULL || getrlimit(RLIMIT_NOFILE, &limit) == -1) {
        free(t);
        return NULL;
    }
    t->sets[0] = a;
    t->sets[1] = b;
    t->capacity = limit.rlim_cur < CAPACITY_MAX ? (uint32_t)limit.rlim_cur : CAPACITY_MAX;
    t->rows = pages_new(t->capacity * sizeof *t->rows);
    if (t->rows == NULL) {
        free(t);
        return NULL;
    }
    return t;
}

void awaited_delete(struct awaited *t)
{
    if (t != NULL) {
        pages_free(t->rows, t->capacity * sizeof *t->rows);
        free(t);
    }
}

uint32_t awaited_capacity(const struct awaited *t)
{
    return t->capacity;
}

static struct row *row_of(struct awaited *t, int fd)
{
    return fd >= 0 && (uint32_t)fd < t->capacity ? &t->rows[fd] : NULL;
}

static bool is_registered(const struct row *row)
{
    return atomic_load_explicit(&row->registered, memory_order_relaxed);
}

void awaited_fresh(struct awaited *t, int fd)
{
    struct row *row = row_of(t, fd);
    if (row != NULL) {
        atomic_store_explicit(&row->registered, false, memory_order_relaxed);
        atomic_store_explicit(&row->client_plus_one, 0, memory_order_relaxed);
    }
}

/* Registers FD in both sets, or in none. */
static bool enrol(const struct awaited *t, int fd, uint64_t data)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET, .data.u64 = data};
    if (epoll_ctl(t->sets[0], EPOLL_CTL_ADD, fd, &event) == -1) {
        return false;
    }
    if (epoll_ctl(t->sets[1], EPOLL_CTL_ADD, fd, &event) == -1) {
        epoll_ctl(t->sets[0], EPOLL_CTL_DEL, fd, &event);
        return false;
    }
    return true;
}

bool awaited_expect(struct awaited *t, int fd, uint64_t data, uint64_t client)
{
    struct row *row = row_of(t, fd);
    if (row == NULL) {
        return false;
    }
    atomic_store_explicit(&row->client_plus_one, client + 1, memory_order_release);
    if (!is_registered(row) && !enrol(t, fd, data)) {
        atomic_store_explicit(&row->client_plus_one, 0, memory_order_release);
        return false;
    }
    atomic_store_explicit(&row->registered, true, memory_order_relaxed);
    return true;
}

void awaited_settle(struct awaited *t, int fd)
{
    struct row *row = row_of(t, fd);
    if (row != NULL) {
        atomic_store_explicit(&row->client_plus_one, 0, memory_order_release);
    }
}

void awaited_leave(struct awaited *t, int fd)
{
    struct row *row = row_of(t, fd);
    if (row != NULL && is_registered(row)) {
        struct epoll_event unused = {.events = 0};
        epoll_ctl(t->sets[0], EPOLL_CTL_DEL, fd, &unused);
        epoll_ctl(t->sets[1], EPOLL_CTL_DEL, fd, &unused);
        atomic_store_explicit(&row->registered, false, memory_order_relaxed);
    }
}

uint64_t awaited_by(const struct awaited *t, uint32_t fd)
{
    if (fd >= t->capacity) {
        return AWAITED_NOBODY;
    }
    return atomic_load_explicit(&t->rows[fd].client_plus_one, memory_order_acquire) - 1;
}
