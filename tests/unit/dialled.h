/* SPDX-License-Identifier: MIT
 * For tests of the connections to a backend: listeners of the test's own, and how to get a connection to one.
 */
#ifndef HOLDFAST_TESTS_UNIT_DIALLED_H
#define HOLDFAST_TESTS_UNIT_DIALLED_H

#include "proxy/dial.h"
#include "proxy/upstream.h"

#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

/* A listener on HOST with a BACKLOG, whose address is *A_. */
static inline int listen_on(const char *host, int backlog, union net_address *a_)
{
    socklen_t size = sizeof a_->in;
    *a_ = (union net_address){.in = {.sin_family = AF_INET}};
    ck_assert_int_eq(inet_pton(AF_INET, host, &a_->in.sin_addr), 1);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(fd, &a_->base, size), 0);
    ck_assert_int_eq(getsockname(fd, &a_->base, &size), 0);
    ck_assert(backlog < 0 || listen(fd, backlog) == 0);
    return fd;
}

enum { LIFE_MS = 1000000 };

/* Of the first COUNT addresses of LIST. */
static inline struct upstream upstream_of(uint32_t idle_max, uint32_t count, const union net_address list[])
{
    struct net_addresses addresses = {.count = count};
    struct upstream u;
    for (uint32_t i = 0; i < count; i++) {
        addresses.list[i] = list[i];
    }
    ck_assert(upstream_init(&u, &addresses, idle_max, LIFE_MS));
    return u;
}

static inline mono_ns in_ms(int64_t ms)
{
    return deadline_after_ms(clock_mono(), ms);
}

/* A new connection of U, or -1 with errno set. */
static inline int dial(struct upstream *u, mono_ns deadline, struct upstream_tag *tag_)
{
    struct upstream_route route;
    struct dial d;
    upstream_choose(u, &route);
    dial_begin(&d, u, &route, deadline);
    while (d.state == DIAL_PENDING) {
        struct pollfd wait = {.fd = d.fd, .events = POLLOUT};
        poll(&wait, 1, deadline_poll_ms(d.until, clock_mono()));
        dial_step(&d);
    }
    ck_assert((d.state == DIAL_OPEN) == (d.fd != -1));
    *tag_ = d.tag;
    errno = d.error;
    return d.fd;
}

/* Of a connection to U's next address, as if one was open. */
static inline struct upstream_tag first_tag(struct upstream *u)
{
    struct upstream_route route;
    upstream_choose(u, &route);
    return upstream_tag(&route, 0);
}

/* An idle connection to U's next address, or -1. */
static inline int take(struct upstream *u)
{
    struct upstream_route route;
    struct upstream_tag tag;
    upstream_choose(u, &route);
    return upstream_take_idle(u, &route, &tag);
}

static inline bool is_closed(int fd)
{
    return fcntl(fd, F_GETFD) == -1 && errno == EBADF;
}

#endif
