/* SPDX-License-Identifier: MIT
 * The parking place: every open client connection, and the one epoll set that workers take ready ones from.
 * It is the hand-off between the listener and the pool: no queue, no lock, no wake-up beyond the kernel's
 * own.
 *
 * States of a connection's slot. One atomic word holds generation, serial and state, so that a stale event
 * can't touch the slot's next tenant:
 *   FREE       no connection. -> IDLE, by the listener
 *   IDLE       parked between requests: no request object
 *   READING    parked within a request, which the slot owns
 *   WRITING    parked until the socket takes more: with an outbox, or to let others go first
 *   LINGERING  parked after the last answer: what still comes is dropped
 *   BUSY       one thread owns connection, request and descriptor. -> one of the four above, or FREE, by it
 *   AGAIN      BUSY, and an event came meanwhile: the owner must look at the socket again before it parks
 *   GONE       the same, and the event said that the client has reset the connection
 * Each of the four that are parked has a deadline. -> BUSY, by the worker that gets its event, or by the
 * sweep when the deadline has passed.
 *
 * Descriptors are registered once, edge-triggered: parking costs no system call, but for the wish to write.
 * Edges that arrive while a connection is BUSY are remembered as AGAIN or GONE. */
#ifndef HOLDFAST_PROXY_PARKING_H
#define HOLDFAST_PROXY_PARKING_H

#include "common/clock.h"
#include "common/compiler.h"
#include "common/net.h"

#include <stdbool.h>
#include <stdint.h>

struct parking; /* opaque; lives from start to exit */
struct outbox;
struct request;

/* A client connection. Owned by the thread that admitted or took it, until it is parked or closed. */
struct client {
    int fd;
    uint32_t slot;
    bool drained;         /* the last read emptied the socket: more bytes will make an event */
    bool ended;           /* the event said that the peer has ended its side: read until that is seen */
    mono_ns linger_until; /* not 0: answered for the last time; what comes until then is read and dropped */
    mono_ns yielded_at;   /* not 0: it lets others go first since then, its own requests still in REQUEST */
    bool tallied;         /* counted against limits.connections_per_client, under PEER's address */
    bool awaits_proxy_header; /* nothing but the PROXY protocol's header may come first */
    union net_address peer;   /* where the connection comes from, or what the PROXY protocol says */
    struct request
        *request;          /* begun, not whole; or behind the response that waits in OUTBOX; NULL otherwise */
    struct outbox *outbox; /* what the client has yet to take of a response; NULL otherwise */
};

enum parking_phase { PARKING_IDLE, PARKING_READING, PARKING_WRITING, PARKING_LINGERING };

/* How many connections are open, by what they do. */
struct parking_counts {
    uint64_t active, idle, accepted;
};

/* Makes room for CAPACITY connections (memory is touched only as it is used), PER_CLIENT for one client
 * address; 0 for no such limit. NULL with errno set. */
struct parking *parking_new(uint32_t capacity, uint32_t per_client);

/* Closes what is still open and frees P; no other thread may use it any more. NULL is fine. */
void parking_delete(struct parking *p);

enum parking_admission {
    PARKING_ADMITTED,
    PARKING_FULL,           /* all slots are taken, or epoll has no memory */
    PARKING_CLIENT_HAS_MANY /* as many as one client may have */
};

/* Whether the client in SLOT, which some thread owns, has reset its connection. (A client that only ended its
 * side may still wait for its answer.) Any thread. */
bool parking_client_is_gone(const struct parking *p, uint32_t slot);

/* Registers FD, a connected socket, which the parking place then owns, parked IDLE until DEADLINE. With
 * AWAITS_PROXY_HEADER the client's address is not known yet, and not counted: parking_count_client() must
 * follow. FD stays the caller's unless it was ADMITTED. */
must_check enum parking_admission parking_admit(struct parking *p, int fd, const union net_address *peer,
                                                bool awaits_proxy_header, mono_ns deadline);

/* Counts C, the caller's, under its peer's address. False when that client has as many connections as it may
 * have. */
must_check bool parking_count_client(struct parking *p, struct client *c);

/* Waits for a connection that has something to read, and takes it (BUSY). NULL when parking_stop() was
 * called, or when the event was not for the caller after all: call again. */
struct client *parking_take(struct parking *p);

/* The same, but does not wait: NULL when there is none. */
struct client *parking_take_now(struct parking *p);

/* Whether a connection has something to read and no thread has taken it yet. Any thread; one system call. */
bool parking_is_ready(const struct parking *p);

/* Whether parking_stop() was called. */
bool parking_stopped(const struct parking *p);

/* Parks C, which the caller owns, in PHASE until DEADLINE; the caller must have read its socket empty
 * (C->drained). Returns true when C is parked and no longer the caller's, false when more bytes came
 * meanwhile: read on. */
must_check bool parking_park(struct parking *p, struct client *c, enum parking_phase phase, mono_ns deadline);

/* From now on (WANTED) an event also comes when C's socket takes more bytes, or no longer. C is the caller's.
 * False with errno set when epoll refuses. */
must_check bool parking_want_writable(struct parking *p, struct client *c, bool wanted);

/* Lets C's descriptor, which stays open, go to the caller for good, and frees its slot. Its request and
 * outbox must be gone. Returns the descriptor. */
int parking_release(struct parking *p, struct client *c);

/* Parks C again, which the sweep took, although bytes may have come: they make an event for a worker. */
void parking_requeue(struct parking *p, struct client *c, enum parking_phase phase, mono_ns deadline);

/* Closes C's descriptor and frees its slot. Its request and outbox must be gone. */
void parking_close(struct parking *p, struct client *c);

/* Takes each parked connection whose deadline is before NOW (in phase IDLE: each one, with EVERY_IDLE set)
 * and calls OVERDUE, which owns it then and must close or park it. Runs on one thread at a time. */
void parking_sweep(struct parking *p, mono_ns now, bool every_idle,
                   void (*overdue)(void *owner, struct client *c, enum parking_phase phase), void *owner);

/* Counts connections by state; a moment's picture. Any thread. */
void parking_count(const struct parking *p, struct parking_counts *counts_);

/* Open connections right now. Any thread. */
uint32_t parking_open(const struct parking *p);

/* Wakes all threads in parking_take(), now and later: they get NULL. */
void parking_stop(struct parking *p);

#endif
