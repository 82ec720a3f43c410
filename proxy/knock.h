/* SPDX-License-Identifier: MIT
 * Is anybody there? A client that has ended its side of the connection either waits for its answer (RFC 9112,
 * 9.6), or has closed it and is gone: TCP tells the two apart only when something is sent. Whatever the
 * answer will be, it begins with the same byte. So that byte is sent ahead: one who waits gets the rest
 * later, and from one who is gone comes a reset, which gives up what is done for him. */
#ifndef HOLDFAST_PROXY_KNOCK_H
#define HOLDFAST_PROXY_KNOCK_H

#include "common/slice.h"
#include "proxy/parking.h"

/* Knocks at C, whose request is whole and not answered yet, if C has ended its side; once for each answer.
 * Sets C->gone when it is known already that nobody is there; later the reset makes an event. Does not wait.
 * By C's owner, no lock held. */
void knock(struct client *c);

/* What of TEXT, with which an answer to C begins, is still to be sent. To be called once for each TEXT that
 * is sent. By C's owner. */
struct slice knock_rest(struct client *c, struct slice text);

#endif
