/* SPDX-License-Identifier: MIT
 * Brings a response to the client: at once when it is held whole, piece by piece when it streams. */
#ifndef HOLDFAST_PROXY_DELIVER_H
#define HOLDFAST_PROXY_DELIVER_H

#include "common/writer.h"
#include "healthd/ledger.h"
#include "proxy/knock.h"
#include "proxy/outbox.h"
#include "proxy/response.h"
#include "proxy/watchdog.h"

struct delivery {
    struct response *response; /* held whole, or its head and the first bytes of its body */
    struct client *client;
    unsigned client_minor;        /* the client speaks HTTP/1.0 or 1.1 */
    bool keep_alive;              /* the client and we would like to go on */
    bool to_head;                 /* the request was HEAD */
    bool takes_trailers;          /* the client said TE: trailers */
    struct watch *watch;          /* the calling worker's */
    struct watch_subject subject; /* a stream ends when its client has reset the connection */
    uint32_t read_ms;             /* longest wait for a piece from the backend */
    uint32_t write_ms;            /* while the worker waits for the client, it must take in each such time */
    uint32_t write_least;         /* so many bytes a second; at 0: anything */
    uint64_t outbox_bytes;        /* how much may wait in the outbox before the worker waits for the client */
    struct writer out;            /* empty, room for the head */
    enum attempt_end broke;       /* how the backend broke the stream; ATTEMPT_ANSWERED when it did not */
    enum access_end end;          /* ACCESS_WHOLE; set when the client did not get all of it */
    uint64_t body_bytes;          /* 0; set to those of the body that were sent, or stand in OUTBOX */
    uint64_t lost_bytes;          /* 0; of what was to be sent last, not sent */
    struct outbox *outbox;        /* NULL; set when the client did not take all at once: now the caller's */
};

enum delivered {
    DELIVERED_KEEP,  /* the client got a whole response, its connection may go on */
    DELIVERED_CLOSE, /* its connection must be closed */
    DELIVERED_ABORT, /* its connection must be reset: an end would make what it got look whole, or it is too
                        slow to see one */
    DELIVERED_LATER, /* the rest stands in the outbox, which says what comes behind it */
};

/* Delivers. A stream that breaks ends without its last chunk or short of its length, so that the client can't
 * take it for whole. */
must_check enum delivered deliver(struct delivery *d);

/* Sends an interim response (103) to C. False when the client did not take all of it, so that nothing may
 * follow. */
must_check bool deliver_early(struct client *c, const struct http_head *head, struct writer out);

/* Sends the 101 of an upgrade to C. False as above. */
must_check bool deliver_upgrade(struct client *c, const struct http_head *head, struct writer out);

/* Sends a reply of our own to C, without waiting. What the client does not take at once stands in *REST_
 * then (now the caller's), and goes before anything else; KEEP_ALIVE is noted in it. False when the
 * connection is broken. */
must_check bool deliver_reply(struct client *c, const struct http_offence *offence, bool keep_alive,
                              unsigned client_minor, bool without_body, struct outbox **rest_);

/* The same with "Connection: close", on FD, a connection that ends with it. False when the client did not
 * take all of it at once. */
bool deliver_last_reply(int fd, const struct http_offence *offence, bool without_body);

/* Sends the answer to an OPTIONS request that may go no further; as deliver_reply(). */
must_check bool deliver_options(struct client *c, bool keep_alive, unsigned client_minor,
                                struct outbox **rest_);

/* "Sun, 06 Nov 1994 08:49:37 GMT", now; valid until the thread's next call. */
struct slice deliver_date(void);

#endif
