/* SPDX-License-Identifier: MIT
 * Is anybody there? A client that has ended its side of the connection either waits for its answer (RFC 9112,
 * 9.6), or has closed it and is gone: TCP tells the two apart only when something is sent. Whatever the
 * answer will be, it begins with the same byte. So that byte is sent ahead: one who waits gets the rest
 * later, and from one who is gone comes a reset, which gives up what is done for him.
 *
 * The watchdog knocks, for it sees every wait, whoever waits. The answer may begin at the same time: the two
 * go by one atomic word of the client, so that the byte is sent once. */
#ifndef HOLDFAST_PROXY_KNOCK_H
#define HOLDFAST_PROXY_KNOCK_H

#include "common/slice.h"
#include "proxy/parking.h"

enum knock_state {
    KNOCK_OVER,    /* no answer is awaited, or it has begun */
    KNOCK_DUE,     /* an answer is awaited */
    KNOCK_SENDING, /* the byte is being sent */
    KNOCK_SENT,    /* the answer goes on behind the byte */
};

/* From now on an answer is awaited for C, which has none of it yet. By C's owner. */
void knock_may_come(struct client *c);

/* Knocks at C, if that is due; once for each answer. Does not wait. By a thread for which C's owner waits, so
 * that the descriptor is C's. No lock held. */
void knock(struct client *c);

/* What of TEXT, with which an answer to C begins, is still to be sent. From then on nobody knocks. To be
 * called once for each TEXT that is sent. By C's owner. */
struct slice knock_rest(struct client *c, struct slice text);

/* Whether C has had the byte, and nothing behind it. By C's owner, with no watch armed for it. */
bool knock_was_heard(const struct client *c);

#endif
