/* SPDX-License-Identifier: MIT
 * Brings a response to the client: at once when it is held whole, piece by piece when it streams. */
#ifndef HOLDFAST_PROXY_DELIVER_H
#define HOLDFAST_PROXY_DELIVER_H

#include "common/writer.h"
#include "proxy/response.h"
#include "proxy/watchdog.h"

struct delivery {
    struct response *response; /* held whole, or its head and the first bytes of its body */
    int client_fd;
    unsigned client_minor; /* the client speaks HTTP/1.0 or 1.1 */
    bool keep_alive;       /* the client and we would like to go on */
    bool to_head;          /* the request was HEAD */
    struct watch *watch;   /* the calling worker's */
    uint32_t read_ms;      /* longest wait for a piece from the backend */
    uint32_t write_ms;     /* longest wait for the client to take a piece */
    struct writer out;     /* empty, room for the head */
};

/* Delivers. Returns true when the client got a whole response and its connection may go on, false when it
 * must be closed. A stream that breaks ends without its last chunk or short of its length, so that the client
 * can't take it for whole. */
must_check bool deliver(struct delivery *d);

/* Sends a reply of our own on FD, without waiting when the client does not read. */
void deliver_reply(int fd, const struct http_offence *offence, bool keep_alive, unsigned client_minor,
                   bool without_body);

/* "Sun, 06 Nov 1994 08:49:37 GMT", now; valid until the thread's next call. */
struct slice deliver_date(void);

#endif
