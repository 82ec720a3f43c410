/* SPDX-License-Identifier: MIT
 * The loop of attempts. Each picks a backend that was not tried yet, first among those in rotation, then,
 * rather than let the client down, among those that are out. A response is good when the policy does not call
 * it a failure; a failing one is kept while others are tried, connection and all, and the best one kept is
 * delivered when nothing better came.
 *
 * What makes an attempt exact: ledger_begin() decides, in one step with the count, whether the backend may
 * still be used; every attempt that began is ended once, by attempt_end(). */
#include "proxy/exchange.h"

#include "common/http_offence.h"
#include "common/log.h"
#include "common/net.h"
#include "common/panic.h"
#include "proxy/attempt.h"
#include "proxy/cause.h"
#include "proxy/deliver.h"
#include "proxy/forward.h"
#include "proxy/verdict.h"

#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { LONG_WAIT_MS = 100 };

/* The state of one exchange across its attempts. */
struct trial {
    struct exchange *x;
    struct client *client;
    struct request *request;
    struct attempt attempt; /* its response is free for the next one */
    uint64_t tried;         /* set of backends */
    uint32_t attempts;
    uint32_t failures;
    bool timed_out; /* some attempt ran out of time */
    struct attempt_ticket ticket;
    mono_ns begun; /* this and the next two: of the last attempt */
    int64_t latency_ns;
    bool open;             /* its response is good so far and still streams: it ends with the delivery */
    struct response *best; /* the best failing response, or an empty one */
    bool have_best;
    uint32_t best_backend;
};

bool exchange_init(struct exchange *x, struct proxy *proxy, struct watch *watch, uint32_t shard)
{
    const struct config *config = proxy->config;
    *x = (struct exchange){.proxy = proxy, .watch = watch, .shard = shard};
    x->out_bytes = 4 * (size_t)config->limits.header_bytes + 4096; /* Host is told up to four times */
    x->out = malloc(x->out_bytes);
    bool made = true;
    for (int i = 0; i < 2; i++) {
        made = response_init(&x->responses[i], config->limits.header_bytes, config->retry.hold_bytes) && made;
    }
    if (x->out == NULL || !made) {
        exchange_release(x);
        return false;
    }
    return true;
}

void exchange_release(struct exchange *x)
{
    free(x->out);
    x->out = NULL;
    response_release(&x->responses[0]);
    response_release(&x->responses[1]);
}

/* Whether the peer of FD has reset the connection. A worker learns that from the epoll set, but when all of
 * them wait, none looks there. FD may be closed, and its number another's, by now: then the watch has been
 * disarmed, and is not cut. */
static bool is_reset(int fd)
{
    struct pollfd look = {.fd = fd, .events = 0};
    return poll(&look, 1, 0) == 1 && (look.revents & (POLLERR | POLLHUP)) != 0;
}

enum watch_cut exchange_judge(void *owner, const struct watch_subject *subject)
{
    const struct proxy *proxy = owner;
    bool long_wait = clock_mono() > subject->since + LONG_WAIT_MS * NS_PER_MS;
    if (parking_client_is_gone(proxy->parking, subject->client_slot) ||
        (long_wait && is_reset(subject->client_fd))) {
        return WATCH_CUT_CLIENT;
    }
    /* A backend that was ejected for what it answers still answers, and soon; one that hangs is not waited
     * for. What is in flight on one that drains may finish. */
    uint64_t rotation = ledger_rotation(proxy->ledger);
    bool out = ((rotation | ledger_drained(proxy->ledger)) >> subject->backend & 1) == 0;
    bool hangs = clock_mono() > deadline_after_ms(subject->since, proxy->config->timeouts.connect_ms);
    return subject->may_leave && out && hangs && rotation != 0 ? WATCH_CUT_BACKEND : WATCH_NOT_CUT;
}

static const char *end_name(enum attempt_end end)
{
    switch (end) {
    case ATTEMPT_ANSWERED:
        return "status";
    case ATTEMPT_CONNECT:
        return "connect";
    case ATTEMPT_TIMEOUT:
        return "timeout";
    case ATTEMPT_RESET:
        return "reset";
    case ATTEMPT_PROTOCOL:
        return "protocol";
    case ATTEMPT_CANCELLED:
        return "cancelled";
    }
    UNREACHABLE();
}

static void log_ejection(const struct proxy *proxy, uint32_t backend, const struct attempt_outcome *outcome)
{
    char text[16] = "";
    struct writer w = {.at = text, .capacity = sizeof text};
    writer_put_number(&w, outcome->status);
    const struct plog_pair pairs[] = {
        {"backend", slice_of(proxy->config->backends[backend].name)},
        {"last_failure", slice_of(end_name(outcome->end))},
        {"status", {text, w.length}},
        {NULL, {NULL, 0}},
    };
    plog_pairs(CONFIG_LOG_WARN, "backend ejected: its failures went over eject_after", pairs);
}

static void log_failure(const struct trial *t, uint32_t backend, const struct attempt_outcome *outcome)
{
    if (!plog_enabled(CONFIG_LOG_DEBUG)) {
        return;
    }
    const struct http_offence *offence = t->attempt.response->offence;
    const struct plog_pair pairs[] = {
        {"backend", slice_of(t->x->proxy->config->backends[backend].name)},
        {"failure", slice_of(end_name(outcome->end))},
        {"offence", slice_of(offence != NULL ? offence->name : "-")},
        {"method", t->request->head.method},
        {"target", t->request->head.target},
        {NULL, {NULL, 0}},
    };
    plog_pairs(CONFIG_LOG_DEBUG, "attempt failed", pairs);
}

/* Keeps the failure OUTCOME, which EJECTED the backend or not, as evidence. */
static void keep_evidence(const struct trial *t, const struct attempt_outcome *outcome, bool ejected)
{
    const struct http_head *head = &t->request->head;
    const struct identity *identity = &t->attempt.identity;
    struct cause_detail detail = {
        .connect_error = t->attempt.connect_error,
        .empty = t->attempt.empty,
        .reset = t->attempt.response->reset,
    };
    struct evidence_note note = {
        .cause = cause_of(outcome, &detail),
        .status = outcome->end == ATTEMPT_ANSWERED ? outcome->status : 0,
        .method = head->method,
        .path = cause_path(head->target),
        .request_id = {identity->request_id, identity->request_id_length},
        .attempt = t->attempts,
        .duration_ns = clock_mono() - t->begun,
        .ejected = ejected,
    };
    evidence_keep(t->x->proxy->evidence, t->ticket.backend, &note);
}

/* Writes the end of the attempt in CURRENT into the ledger, the evidence and the log. */
static void record(struct trial *t, const struct attempt_outcome *outcome)
{
    struct proxy *proxy = t->x->proxy;
    if (outcome->failure) {
        t->failures++;
        log_failure(t, t->ticket.backend, outcome);
    }
    bool ejected = ledger_end(proxy->ledger, &t->ticket, outcome);
    if (outcome->failure) {
        keep_evidence(t, outcome, ejected);
    }
    if (ejected) {
        log_ejection(proxy, t->ticket.backend, outcome);
    }
}

/* Judges the attempt that ended with END. True when its response is good. One that is good but streams stays
 * open in the ledger until it has been delivered: it may still break. */
static bool judge_attempt(struct trial *t, enum attempt_end end)
{
    const struct response *r = t->attempt.response;
    struct attempt_outcome outcome = {.end = end, .failure = end != ATTEMPT_CANCELLED};
    if (end == ATTEMPT_ANSWERED) {
        outcome.status = r->head.status;
        outcome.failure = outcome.status != 101 && /* an upgrade that was asked for is what was wanted */
                          verdict_is_failure(t->x->proxy->config->health.failure, outcome.status);
        outcome.latency_ns = clock_mono() - t->begun;
        t->open = !outcome.failure && !r->whole && outcome.status != 101;
        t->latency_ns = outcome.latency_ns;
    }
    if (!t->open) {
        record(t, &outcome);
    }
    return end == ATTEMPT_ANSWERED && !outcome.failure;
}

/* Ends the attempt whose response was delivered as it came. BROKE says how the backend broke it,
 * ATTEMPT_ANSWERED that it did not. A client that went away meanwhile is not the backend's failure. */
static void end_streamed_attempt(struct trial *t, enum attempt_end broke)
{
    struct attempt_outcome outcome = {
        .end = broke,
        .status = t->attempt.response->head.status,
        .failure = broke != ATTEMPT_ANSWERED && broke != ATTEMPT_CANCELLED,
        .latency_ns = t->latency_ns,
    };
    record(t, &outcome);
    t->open = false;
}

/* A connection at rest goes back to its pool at once, so that others may use it while the client is written
 * to. */
static void settle_connection(const struct trial *t, struct response *r, uint32_t backend)
{
    if (r->fd != -1 && r->whole && r->head.status != 101) {
        if (response_connection_reusable(r)) {
            upstream_give_back(&t->x->proxy->upstreams[backend], r->fd, clock_mono());
        } else {
            close(r->fd);
        }
        r->fd = -1;
    }
}

/* Keeps a failing response when it is better than the one kept so far; the other one is thrown away. */
static void keep_best(struct trial *t)
{
    if (!t->have_best ||
        verdict_rank(t->attempt.response->head.status) > verdict_rank(t->best->head.status)) {
        struct response *worse = t->best;
        t->best = t->attempt.response;
        t->best_backend = t->attempt.backend;
        t->attempt.response = worse;
        t->have_best = true;
        response_give_up_request(t->best); /* the sender is the next attempt's from now on */
    }
    response_clear(t->attempt.response);
}

/* The next backend to try, begun in the ledger, or -1 when none is left. */
static int next_backend(struct trial *t, struct attempt_ticket *ticket_)
{
    struct proxy *proxy = t->x->proxy;
    uint32_t count = ledger_count(proxy->ledger);
    uint64_t all = count == 64 ? UINT64_MAX : (UINT64_C(1) << count) - 1;
    for (;;) {
        uint64_t fit = ledger_rotation(proxy->ledger) & ~t->tried;
        bool require_up = fit != 0;
        uint64_t last_resort = all & ~t->tried & ~ledger_drained(proxy->ledger);
        int backend = balancer_pick(&proxy->balancer, require_up ? fit : last_resort);
        if (backend == -1 || ledger_begin(proxy->ledger, (uint32_t)backend, require_up, ticket_)) {
            t->attempt.may_leave = require_up && t->attempt.may_replay;
            return backend;
        }
    }
}

/* Runs attempts until one is good (true: it stands in CURRENT) or nothing is left to try. */
static bool try_backends(struct trial *t)
{
    const struct config *config = t->x->proxy->config;
    uint32_t max = config->retry.attempts == 0 ? CONFIG_BACKENDS_MAX : config->retry.attempts;
    while (t->attempts < max && !t->attempt.stopped && !t->attempt.client_gone &&
           (t->attempts == 0 || clock_mono() < t->attempt.deadline)) {
        int backend = next_backend(t, &t->ticket);
        if (backend == -1) {
            return false;
        }
        t->tried |= UINT64_C(1) << backend;
        t->attempts++;
        t->attempt.backend = (uint32_t)backend;
        t->begun = clock_mono();
        enum attempt_end end = attempt_run(&t->attempt);
        if (judge_attempt(t, end)) {
            settle_connection(t, t->attempt.response, (uint32_t)backend);
            return true;
        }
        t->timed_out = t->timed_out || end == ATTEMPT_TIMEOUT;
        if (end == ATTEMPT_ANSWERED) {
            settle_connection(t, t->attempt.response, (uint32_t)backend);
            keep_best(t);
        } else {
            response_clear(t->attempt.response);
        }
        if (end != ATTEMPT_CONNECT && !t->attempt.may_replay) {
            return false;
        }
    }
    return false;
}

/* What becomes of the connection after a reply of our own, of which REST is still to be sent. */
static enum exchange_end after_reply(struct client *client, bool sent, bool keep_alive, struct outbox *rest)
{
    if (rest != NULL) {
        client->outbox = rest;
        return EXCHANGE_LATER;
    }
    return sent && keep_alive ? EXCHANGE_KEEP : EXCHANGE_CLOSE;
}

/* An answer of our own. */
static enum exchange_end answer(const struct trial *t, const struct http_offence *offence, bool keep_alive)
{
    const struct http_head *head = &t->request->head;
    struct outbox *rest = NULL;
    traffic_count(t->x->proxy->traffic, t->x->shard, (unsigned)offence->status, t->attempts > 1, false);
    if (t->attempt.client_broken) {
        return EXCHANGE_CLOSE;
    }
    bool sent = deliver_reply(t->client->fd, offence, keep_alive, head->version_minor,
                              slice_equal(head->method, SLICE("HEAD")), &rest);
    return after_reply(t->client, sent, keep_alive, rest);
}

/* An OPTIONS request that may go no further (RFC 9110, 7.6.2). */
static enum exchange_end answer_options(struct exchange *x, struct client *client,
                                        const struct http_head *head)
{
    struct outbox *rest = NULL;
    traffic_count(x->proxy->traffic, x->shard, 200, false, false);
    bool sent = deliver_options(client->fd, head->keep_alive, head->version_minor, &rest);
    return after_reply(client, sent, head->keep_alive, rest);
}

/* Nothing usable came. */
static enum exchange_end answer_failure(const struct trial *t, bool keep_alive)
{
    if (t->attempt.client_gone) {
        return EXCHANGE_CLOSE;
    }
    if (t->attempt.stopped) {
        return answer(t, &http_offence_stopping, false);
    }
    if (t->attempt.starved) {
        return answer(t, &http_offence_starved, keep_alive);
    }
    return answer(t, t->timed_out ? &http_offence_no_backend_in_time : &http_offence_no_backend_answered,
                  keep_alive);
}

/* The backend switched protocols: tells the client. */
static enum exchange_end begin_tunnel(struct trial *t)
{
    struct writer out = {.at = t->x->out, .capacity = t->x->out_bytes};
    response_clear(t->best);
    if (t->attempt.client_broken || !deliver_upgrade(t->client->fd, &t->attempt.response->head, out)) {
        tunnels_cancel(t->x->proxy->tunnels);
        response_clear(t->attempt.response);
        return EXCHANGE_CLOSE;
    }
    t->x->switched = t->attempt.response;
    return EXCHANGE_TUNNEL;
}

void exchange_tunnel(struct exchange *x, int client_fd, struct slice to_backend)
{
    struct response *r = x->switched;
    int backend_fd = r->fd;
    r->fd = -1;
    tunnels_begin(x->proxy->tunnels, client_fd, backend_fd, response_tunnel_bytes(r), to_backend);
    x->switched = NULL;
    response_clear(r);
}

/* Brings the chosen response to the client. */
static enum exchange_end deliver_chosen(struct trial *t, struct response *chosen, uint32_t backend,
                                        bool keep_alive)
{
    struct exchange *x = t->x;
    const struct config *config = x->proxy->config;
    attempt_free_out(&t->attempt);
    struct delivery delivery = {
        .response = chosen,
        .client_fd = t->client->fd,
        .client_minor = t->request->head.version_minor,
        .keep_alive = keep_alive,
        .to_head = slice_equal(t->request->head.method, SLICE("HEAD")),
        .takes_trailers = t->attempt.takes_trailers,
        .watch = x->watch,
        .subject = {.judged = true,
                    .client_slot = t->client->slot,
                    .client_fd = t->client->fd,
                    .backend = backend},
        .read_ms = config->timeouts.response_ms,
        .write_ms = config->timeouts.client_write_ms,
        .outbox_bytes = OUTBOX_BYTES_MAX,
        .out = {.at = x->out, .capacity = x->out_bytes},
        .broke = ATTEMPT_ANSWERED,
    };
    enum delivered delivered = t->attempt.client_broken ? DELIVERED_CLOSE : deliver(&delivery);
    if (t->open) {
        end_streamed_attempt(t, delivery.broke);
    }
    settle_connection(t, chosen, backend);
    if (delivered == DELIVERED_LATER) {
        t->client->outbox = delivery.outbox;
        return EXCHANGE_LATER;
    }
    if (delivered == DELIVERED_ABORT) {
        return EXCHANGE_ABORT;
    }
    return delivered == DELIVERED_KEEP ? EXCHANGE_KEEP : EXCHANGE_CLOSE;
}

static struct trial trial_of(struct exchange *x, struct client *client, struct request *request)
{
    const struct config *config = x->proxy->config;
    const struct http_head *head = &request->head;
    struct trial t = {
        .x = x,
        .client = client,
        .request = request,
        .attempt =
            {
                .proxy = x->proxy,
                .watch = x->watch,
                .out = x->out,
                .out_bytes = x->out_bytes,
                .client = client,
                .request = request,
                .trusted = net_address_in(&client->peer, &config->trusted_proxies),
                .upgrade = forward_upgrade_of(head),
                .takes_trailers =
                    head->version_minor > 0 && http_head_list_has(head, HTTP_FIELD_TE, SLICE("trailers")),
                .may_replay = verdict_may_replay(config->retry.methods, head->method),
                .deadline = deadline_after_ms(clock_mono(), config->timeouts.request_ms),
                .response = &x->responses[0],
            },
        .best = &x->responses[1],
    };
    identity_fill(&t.attempt.identity, head);
    return t;
}

enum exchange_end exchange_run(struct exchange *x, struct client *client, struct request *request)
{
    if (forward_hops_left(&request->head) == 0) {
        return answer_options(x, client, &request->head);
    }
    struct trial t = trial_of(x, client, request);
    if (t.attempt.upgrade.length > 0 && !tunnels_reserve(x->proxy->tunnels)) {
        return answer(&t, &http_offence_too_many_tunnels, request->head.keep_alive);
    }
    bool good = try_backends(&t);
    bool keep_alive =
        request->head.keep_alive && !atomic_load_explicit(&x->proxy->draining, memory_order_relaxed);
    if (good && t.attempt.response->head.status == 101) {
        traffic_count(x->proxy->traffic, x->shard, 200, t.attempts > 1, t.failures > 0);
        return begin_tunnel(&t);
    }
    if (t.attempt.upgrade.length > 0) {
        tunnels_cancel(x->proxy->tunnels);
    }
    if ((!good && !t.have_best) || t.attempt.client_gone) {
        response_clear(t.best);
        return answer_failure(&t, keep_alive);
    }
    struct response *chosen = good ? t.attempt.response : t.best;
    unsigned status = chosen->head.status;
    traffic_count(x->proxy->traffic, x->shard, status, t.attempts > 1, status == 200 && t.failures > 0);
    enum exchange_end end = deliver_chosen(&t, chosen, good ? t.attempt.backend : t.best_backend,
                                           keep_alive && !t.attempt.stopped);
    response_clear(&x->responses[0]);
    response_clear(&x->responses[1]);
    return end;
}
