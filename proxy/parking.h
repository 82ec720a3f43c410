/* SPDX-License-Identifier: MIT
 * The parking place: every open client connection, and the one epoll set that workers take ready ones from.
 * It is the hand-off between the listener and the pool: no queue, no lock, no wake-up beyond the kernel's
 * own.
 *
 * States of a connection's slot (one atomic word holds generation and state, so that a stale event can't
 * touch the slot's next tenant): FREE     no connection. -> PARKED, by the listener IDLE     parked between
 * requests: no request object, a deadline. -> BUSY, by the worker that gets its event or by the sweep when
 * the deadline has passed READING  parked within a request, which the slot owns. -> BUSY, as above BUSY one
 * thread owns connection, request and descriptor. -> IDLE, READING, FREE, by that thread AGAIN    BUSY, and
 * an event came meanwhile: the owner must look at the socket again before it parks
 *
 * Descriptors are registered once, edge-triggered: parking costs no system call. Edges that arrive while a
 * connection is BUSY are remembered as AGAIN. */
#ifndef HOLDFAST_PROXY_PARKING_H
#define HOLDFAST_PROXY_PARKING_H

#include "common/clock.h"
#include "common/compiler.h"
#include "common/net.h"

#include <stdbool.h>
#include <stdint.h>

struct parking; /* opaque; lives from start to exit */
struct request;

/* A client connection. Owned by the thread that admitted or took it, until it is parked or closed. */
struct client {
    int fd;
    uint32_t slot;
    bool drained;           /* the last read emptied the socket: more bytes will make an event */
    mono_ns linger_until;   /* not 0: answered for the last time; what comes until then is read and dropped */
    union net_address peer; /* where the connection comes from */
    struct request *request; /* begun, not whole; NULL between requests */
};

enum parking_phase { PARKING_IDLE, PARKING_READING };

/* How many connections are open, by what they do. */
struct parking_counts {
    uint64_t active, idle, accepted;
};

/* Makes room for CAPACITY connections (memory is touched only as it is used). NULL with errno set. */
struct parking *parking_new(uint32_t capacity);

/* Closes what is still open and frees P; no other thread may use it any more. NULL is fine. */
void parking_delete(struct parking *p);

/* Registers FD, a connected socket, which the parking place then owns, parked IDLE until DEADLINE. False when
 * all slots are taken or epoll refuses (errno); FD is then still the caller's. */
must_check bool parking_admit(struct parking *p, int fd, const union net_address *peer, mono_ns deadline);

/* Waits for a connection that has something to read, and takes it (BUSY). NULL when parking_stop() was
 * called, or when the event was not for the caller after all: call again. */
struct client *parking_take(struct parking *p);

/* Whether parking_stop() was called. */
bool parking_stopped(const struct parking *p);

/* Parks C, which the caller owns, in PHASE until DEADLINE; the caller must have read its socket empty
 * (C->drained). Returns true when C is parked and no longer the caller's, false when more bytes came
 * meanwhile: read on. */
must_check bool parking_park(struct parking *p, struct client *c, enum parking_phase phase, mono_ns deadline);

/* Closes C's descriptor and frees its slot. C->request must be gone. */
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
