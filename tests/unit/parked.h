/* SPDX-License-Identifier: MIT
 * Connections of the tests in a parking place. */
#ifndef HOLDFAST_TESTS_UNIT_PARKED_H
#define HOLDFAST_TESTS_UNIT_PARKED_H

#include "proxy/parking.h"
#include "tests/unit/script.h"

#include <errno.h>
#include <fcntl.h>

#define FOREVER DEADLINE_NO

/* Each thread is a worker. */
static _Thread_local struct parking_batch batch;

static const union net_address somebody = {.in = {.sin_family = AF_INET}};
static struct request *const some_request = (struct request *)&(char){0};
static struct outbox *const some_outbox = (struct outbox *)&(char){0};

/* Admits a new connection to P; returns the peer's end. */
static inline int admit(struct parking *p, mono_ns deadline)
{
    int ends[2];
    script_pair(SOCK_STREAM, ends);
    ck_assert_int_eq(parking_admit(p, ends[0], &somebody, false, deadline), PARKING_ADMITTED);
    return ends[1];
}

/* Waits for an event of a client's connection, and takes it; NULL when it is for nobody. */
static inline struct client *take_event(struct parking *p)
{
    if (parking_fetch(p, &batch, PARKING_ALL, 1, true) == 0) {
        return NULL;
    }
    return parking_next(p, &batch);
}

/* The connection that must be ready in P. */
static inline struct client *take(struct parking *p)
{
    struct client *c = take_event(p);
    ck_assert_ptr_nonnull(c);
    return c;
}

/* Reads all that C's socket holds; how many bytes. */
static inline int drain(struct client *c)
{
    char bytes[64];
    int count = 0;
    for (;;) {
        ssize_t got = recv(c->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got <= 0) {
            c->drained = true;
            return count;
        }
        count += (int)got;
    }
}

static inline void expect_counts(const struct parking *p, uint64_t active, uint64_t idle, uint64_t accepted)
{
    struct parking_counts counts;
    parking_count(p, &counts);
    ck_assert_uint_eq(counts.active, active);
    ck_assert_uint_eq(counts.idle, idle);
    ck_assert_uint_eq(counts.accepted, accepted);
    ck_assert_uint_eq(parking_open(p), active + idle);
}

/* A new pair of the test takes the number of the last descriptor that was closed. */
static inline bool is_closed(int fd)
{
    return fcntl(fd, F_GETFD) == -1 && errno == EBADF;
}

#endif
