/* SPDX-License-Identifier: MIT
 * Which backend a request is sent to: among those in rotation that it was not sent to yet; when there is none
 * left, rather than let the client down, among those that are out. The balancer picks; the ledger decides, in
 * one step with the count, whether the pick still stands. When all that would do have max_in_flight requests,
 * the request waits in line for a place. */
#ifndef HOLDFAST_PROXY_CHOOSER_H
#define HOLDFAST_PROXY_CHOOSER_H

#include "common/http_decode.h"
#include "proxy/proxy.h"

/* One request's. */
struct chooser {
    struct proxy *proxy;
    const struct plan *plan;
    struct watch *watch; /* the worker's own */
    const struct client *client;
    mono_ns deadline; /* of the whole request */
    uint64_t tried;   /* set of backends, with all that are not the plan's */
    uint64_t key;     /* with balance "hash": what stands for the client or the field */
    bool waited;      /* it was in line, at least once */
    int64_t queue_ns; /* how much longer it may be */
};

enum choice_end {
    CHOICE_MADE,
    CHOICE_NONE_LEFT, /* it was sent to all that may be asked */
    CHOICE_FULL,      /* no place became free in time */
    CHOICE_STOPPED,   /* the program ended meanwhile */
    CHOICE_UNWANTED,  /* the client has reset its connection meanwhile */
};

/* What chooser_next() found; all but the end only with CHOICE_MADE. */
struct choice {
    enum choice_end end;
    uint32_t backend;
    bool up; /* it was in rotation, not a last resort */
    struct attempt_ticket ticket;
};

/* Makes C, whose first five members are set, ready for the request HEAD. */
void chooser_begin(struct chooser *c, const struct http_head *head);

/* Whether there is a backend left to choose; lock-free, a moment's picture. */
bool chooser_has_more(const struct chooser *c);

/* Chooses the next backend and begins an attempt on it in the ledger. Waits in line, up to queue_ms for all
 * calls on C together and up to C's deadline; C's watch is off before and after. No lock held. */
must_check struct choice chooser_next(struct chooser *c);

/* Whether chooser_spare() may find a backend; lock-free, a moment's picture. */
bool chooser_has_spare(const struct chooser *c);

/* Begins an attempt on a second backend, beside one that hangs. As chooser_next(), but it never waits, and
 * takes none that is out of rotation. False when there is none. No lock held. */
must_check bool chooser_spare(struct chooser *c, struct choice *choice_);

#endif
