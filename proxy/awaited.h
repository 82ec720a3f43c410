/* SPDX-License-Identifier: MIT
 * Who waits for which backend connection: a table by descriptor, so that an event on a backend's connection
 * finds the client whose response it brings. A connection is registered in two epoll sets when it is first
 * waited for there, edge-triggered, and stays in them while it rests in its pool: the next wait costs no
 * system call. A worker that is about to block on it takes it out, lest each piece wake others for nothing.
 *
 * An event may be late: the connection may be closed by then, and its number another's. It then finds the
 * wrong client, who looks, finds nothing, and goes on waiting. */
#ifndef HOLDFAST_PROXY_AWAITED_H
#define HOLDFAST_PROXY_AWAITED_H

#include "common/compiler.h"

#include <stdbool.h>
#include <stdint.h>

struct awaited; /* opaque */

#define AWAITED_NOBODY UINT64_MAX

/* Makes a table for all descriptors that the process may have (RLIMIT_NOFILE; memory is touched only as it is
 * used), whose events go to the epoll sets A and B. NULL with errno set. */
struct awaited *awaited_new(int a, int b);

/* Frees T; NULL is fine. */
void awaited_delete(struct awaited *t);

/* Descriptors below this number can be waited for. */
uint32_t awaited_capacity(const struct awaited *t);

/* FD is a new connection: whatever was known of its number is forgotten. Its owner calls this, once. */
void awaited_fresh(struct awaited *t, int fd);

/* From now on, events on FD, which the caller owns, are for CLIENT; in them, DATA stands for FD. False when
 * epoll refuses: nothing has changed then. */
must_check bool awaited_expect(struct awaited *t, int fd, uint64_t data, uint64_t client);

/* Nobody waits for FD any more; its owner calls this before FD is closed or lent to somebody else. */
void awaited_settle(struct awaited *t, int fd);

/* Takes FD out of the epoll sets; the caller owns it, and nobody waits for it there. */
void awaited_leave(struct awaited *t, int fd);

/* The client who waits for FD, or AWAITED_NOBODY. Any thread. */
uint64_t awaited_by(const struct awaited *t, uint32_t fd);

#endif
