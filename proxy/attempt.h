/* SPDX-License-Identifier: MIT
 * One attempt: one request, sent to one backend, and what comes back. Between the two, when all is sent and
 * nothing has come yet, the attempt may be left: no thread is needed until the backend answers. Whatever else
 * takes time (a connect, a request that the backend takes slowly, a response that comes in pieces) is waited
 * for by the worker. */
#ifndef HOLDFAST_PROXY_ATTEMPT_H
#define HOLDFAST_PROXY_ATTEMPT_H

#include "proxy/identity.h"
#include "proxy/proxy.h"
#include "proxy/response.h"
#include "proxy/sender.h"

enum { ATTEMPT_SIZE_LINE_BYTES = 20 };

struct trial; /* trial.h */

/* Filled by the exchange: the first part once for all attempts of a request, the second one for each. */
struct attempt {
    struct proxy *proxy;
    const struct plan *plan;
    struct watch *worker_watch; /* this and OUT are the worker's: another's, maybe, when it goes on */
    char *out;                  /* room for one head that is being written */
    size_t out_bytes;
    struct client *client;
    const struct request *request;
    struct identity identity;
    bool trusted;         /* the client may speak for others */
    struct slice upgrade; /* protocols offered; empty for none */
    bool takes_trailers;  /* the client does */
    bool may_replay;      /* the request may reach a backend more than once */
    mono_ns deadline;     /* of the whole request */
    struct trial *trial;  /* the request's, where the attempt has begun */
    /* Begins an attempt on another backend in the ledger and the trial, beside this one, whose connect hangs,
     * and adds it to TRIED. False when no other one may be asked. */
    bool (*begin_beside)(void *owner);
    void *owner; /* of BEGIN_BESIDE */

    uint32_t backend;          /* after a race of two connects, that of the one which is gone on with */
    uint64_t tried;            /* set of backends, this one too */
    bool may_park;             /* may be left until the backend answers */
    bool may_leave;            /* may be given up when its backend is taken out of rotation */
    struct response *response; /* cleared; what comes goes there */

    int fd;                  /* the connection of an attempt that is pending, */
    struct upstream_tag tag; /* and its tag */
    bool reused;             /* it has carried requests before */
    struct watch *watch;     /* what bounds its wait */
    mono_ns sent_at;

    int connect_error; /* with ATTEMPT_CONNECT: errno */
    bool empty;        /* the connection ended before the first byte of a response */

    struct sender sender;                     /* what of the request is still to be sent */
    char chunk_size[ATTEMPT_SIZE_LINE_BYTES]; /* its chunk-size line */

    bool client_broken; /* an early response could not be sent whole: nothing may follow */
    bool client_gone;   /* the client has reset its connection: nobody waits for an answer */
    bool starved; /* in the last attempt: we have no descriptor or memory for a connection: no backend's fault
                   */
    bool stopped; /* the program ends */
};

enum attempt_progress {
    ATTEMPT_PENDING, /* the request is sent, nothing has come: park its client AWAITING, or look again */
    ATTEMPT_ENDED,   /* *end_ says how */
};

/* Sends the request and receives the response into A->response, within response_ms and A->deadline. An idle
 * connection that turns out to be stale is replaced by a fresh one. While a connect hangs, one to another
 * backend is begun beside it (hedge.h): then the attempt may end as that of the other backend. A cancelled
 * attempt says why in the last four flags. Blocks, but for what MAY_PARK lets it leave; no lock held. While
 * it is pending the request's bytes must stay, and A->response is free. */
must_check enum attempt_progress attempt_begin(struct attempt *a, enum attempt_end *end_);

/* Goes on with a pending attempt, on any worker: its fields are the worker's that calls, its response is
 * clear. */
must_check enum attempt_progress attempt_continue(struct attempt *a, enum attempt_end *end_);

/* Gives a pending attempt up: its connection is closed. */
void attempt_abandon(struct attempt *a);

/* Makes A->out free for another head. A request whose own head the backend has not taken yet, though it
 * answers already, is sent no further. */
void attempt_free_out(struct attempt *a);

/* For whom is waited in A, since NOW. */
struct watch_subject attempt_subject(const struct attempt *a, mono_ns now);

#endif
