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
 *   AWAITING   parked until a backend answers: its request is whole, and sent. (Noted beside it: the client
 *              has sent more meanwhile.)
 *   BUSY       one thread owns connection, request and descriptor. -> one of the five above, or FREE, by it
 *   AGAIN      BUSY, and an event came meanwhile: the owner must look at the socket again before it parks
 *   GONE       the same, and the event said that the client has reset the connection
 * Each of the five that are parked has a deadline. -> BUSY, by the worker that gets its event, or by the
 * sweep when the deadline has passed.
 *
 * Descriptors are registered once, edge-triggered: parking costs no system call, but for the wish to write.
 * Edges that arrive while a connection is BUSY are remembered as AGAIN or GONE. Connections to backends that
 * somebody awaits stand in the same set, and in one of their own for workers that may take no new request
 * (awaited.h, seats.h). */
#ifndef HOLDFAST_PROXY_PARKING_H
#define HOLDFAST_PROXY_PARKING_H

#include "common/clock.h"
#include "common/compiler.h"
#include "common/net.h"

#include <stdbool.h>
#include <stdint.h>

struct parking; /* opaque; lives from start to exit */
struct course;
struct outbox;
struct request;

/* Events fetched with one system call: enough to share its cost and a worker's sleep among several. Few
 * enough that other workers find some too, and that little waits with a worker that is taken off its CPU:
 * docs/benchmarks.md, "Choices". */
enum { PARKING_BATCH_MAX = 2 };

/* A client connection. Owned by the thread that admitted or took it, until it is parked or closed. */
struct client {
    int fd;
    uint32_t slot;
    bool drained;          /* the last read emptied the socket: more bytes will make an event */
    bool ended;            /* the event said that the peer has ended its side: read until that is seen */
    _Atomic uint8_t knock; /* enum knock_state: knock.h */
    mono_ns linger_until;  /* not 0: answered for the last time; what comes until then is read and dropped */
    bool gone;             /* it has reset the connection: nobody waits for the answer */
    uint32_t answered;     /* requests of its turn: it lets others go first when they are enough */
    mono_ns yielded_at;    /* not 0: it lets others go first since then, its own requests still in REQUEST */
    bool tallied;          /* counted against limits.connections_per_client, under PEER's address */
    bool awaits_proxy_header; /* nothing but the PROXY protocol's header may come first */
    union net_address peer;   /* where the connection comes from, or what the PROXY protocol says */
    struct request
        *request;          /* begun, not whole; or behind the response that waits in OUTBOX; NULL otherwise */
    struct outbox *outbox; /* what the client has yet to take of a response; NULL otherwise */
    struct course *course; /* while AWAITING, what its request has been through; NULL otherwise */
};

enum parking_phase { PARKING_IDLE, PARKING_READING, PARKING_WRITING, PARKING_LINGERING, PARKING_AWAITING };

/* Which events a worker looks for: those of all connections, or only those of connections to backends. */
enum parking_source { PARKING_ALL, PARKING_ANSWERS };

/* Events that one worker fetched at once and has still to look at. All zeros to begin. */
struct parking_batch {
    uint32_t next, count;
    struct parking_event {
        uint64_t what;
        uint32_t flags;
    } events[PARKING_BATCH_MAX];
};

/* How many connections are open, by what they do; of the active ones, those that wait for a backend. */
struct parking_counts {
    uint64_t active, idle, accepted, awaiting;
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

/* The connection in SLOT. For who knows that it has not been closed: its owner waits for him. */
struct client *parking_client(struct parking *p, uint32_t slot);

/* Registers FD, a connected socket, which the parking place then owns, parked IDLE until DEADLINE. With
 * AWAITS_PROXY_HEADER the client's address is not known yet, and not counted: parking_count_client() must
 * follow. FD stays the caller's unless it was ADMITTED. */
must_check enum parking_admission parking_admit(struct parking *p, int fd, const union net_address *peer,
                                                bool awaits_proxy_header, mono_ns deadline);

/* Counts C, the caller's, under its peer's address. False when that client has as many connections as it may
 * have. */
must_check bool parking_count_client(struct parking *p, struct client *c);

/* Whether all of B has been looked at. */
static inline bool parking_batch_is_empty(const struct parking_batch *b)
{
    return b->next == b->count;
}

/* Fetches up to MAX events of SOURCE into B, which is empty; with WAIT, waits until there is one. Returns how
 * many: 0 also when parking_stop() was called, or when there was nothing after all. Any thread. */
uint32_t parking_fetch(struct parking *p, struct parking_batch *b, enum parking_source source, uint32_t max,
                       bool wait);

/* Whether the next event of B, which is not empty, is of a client's own connection: it may bring a request.
 */
bool parking_next_may_ask(const struct parking_batch *b);

/* Leaves the next event of B, which is not empty, to other workers. */
void parking_leave_next(struct parking *p, struct parking_batch *b);

/* Takes (BUSY) the connection that the next event of B, which is not empty, is for. NULL when it is for
 * nobody after all. */
struct client *parking_next(struct parking *p, struct parking_batch *b);

/* Returns a descriptor that becomes readable when the next connection is closed. For a thread that waits
 * until fewer are open: it looks at parking_open() once more between this and its wait. One thread. */
int parking_want_room(struct parking *p);

/* Wakes a worker that waits for answers only. Any thread. */
void parking_nudge(struct parking *p);

/* Leaves what is in B to other workers: the caller will be busy for a while, or is about to sleep. */
void parking_give_back(struct parking *p, struct parking_batch *b);

/* Descriptors below this number can be waited for with parking_expect(). */
uint32_t parking_descriptors(const struct parking *p);

/* BACKEND_FD is a new connection to a backend; call it once, before the three below. */
void parking_fresh(struct parking *p, int backend_fd);

/* From now on events on BACKEND_FD are for C, which the caller owns: it is to be parked AWAITING. Call it
 * before the request is sent. False when the caller must wait for the response itself. */
must_check bool parking_expect(struct parking *p, const struct client *c, int backend_fd);

/* The response has come, or is waited for no longer; before BACKEND_FD is closed or lent to anyone else. */
void parking_settle(struct parking *p, int backend_fd);

/* No more events on BACKEND_FD, which the caller owns: it will wait for it itself. */
void parking_leave(struct parking *p, int backend_fd);

/* Takes the next connection of a client that has something to read, in order, or NULL when there is none.
 * Answers that come before it are left to workers. */
struct client *parking_take_now(struct parking *p);

/* Whether SOURCE has an event that no thread has fetched yet. Any thread; one system call. */
bool parking_is_ready(const struct parking *p, enum parking_source source);

/* Whether parking_stop() was called. */
bool parking_stopped(const struct parking *p);

/* Parks C, which the caller owns, in PHASE until DEADLINE, or up to 8 ms less; the caller must have read its
 * socket empty (C->drained), but for phase AWAITING, which has no deadline (DEADLINE_NO). Returns true when C
 * is parked and no longer the caller's, false when more bytes came meanwhile: read on. */
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

/* Wakes all threads that wait here, now and later: they get nothing. */
void parking_stop(struct parking *p);

#endif
