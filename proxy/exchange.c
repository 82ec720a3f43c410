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
#include "proxy/deliver.h"
#include "proxy/forward.h"
#include "proxy/verdict.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The state of one exchange across its attempts. */
struct trial {
    struct exchange *x;
    struct client *client;
    struct request *request;
    struct identity identity;
    bool trusted;         /* the client may speak for others */
    struct slice upgrade; /* protocols offered; empty for none */
    bool takes_trailers;  /* the client does */
    bool client_broken;   /* an early response could not be sent whole: nothing may follow */
    mono_ns deadline;     /* of the whole request */
    uint64_t tried;       /* set of backends */
    uint32_t attempts;
    uint32_t failures;
    bool timed_out;   /* some attempt ran out of time */
    bool stopped;     /* the program ends */
    bool client_gone; /* it has reset its connection: nobody waits for an answer */
    bool may_replay;
    struct response *current; /* free for the next attempt */
    struct response *best;    /* the best failing response, or an empty one */
    bool have_best;
    uint32_t best_backend, current_backend;
    struct attempt_ticket ticket; /* of the attempt in CURRENT */
    mono_ns attempt_begun;
    int64_t attempt_latency_ns;
    bool attempt_was_fit; /* its backend was in rotation when it began */
    bool attempt_open;    /* its response is good so far and still streams: it ends with the delivery */
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

/* Whether the body is sent chunked, which only trailers need. */
static bool sends_trailers(const struct trial *t)
{
    return t->takes_trailers && t->request->chunk.trailers_bytes > 0;
}

/* Writes the request's head for BACKEND into the worker's buffer. */
static struct slice request_head(const struct trial *t, uint32_t backend)
{
    static const size_t scheme_bytes = sizeof "http://" - 1;
    struct forward_request forward = {
        .head = &t->request->head,
        .identity = &t->identity,
        .client = &t->client->peer,
        .trusted = t->trusted,
        .has_body = t->request->framing.body != HTTP_BODY_NONE,
        .chunked = sends_trailers(t),
        .body_bytes = request_body_bytes(t->request),
        .authority = slice_of(t->x->proxy->config->backends[backend].url + scheme_bytes),
        .upgrade = t->upgrade,
        .te_trailers = t->takes_trailers,
    };
    struct writer w = {.at = t->x->out, .capacity = t->x->out_bytes};
    forward_request_head(&w, &forward);
    MUST(writer_ok(&w)); /* made for the longest head that is let in */
    return (struct slice){w.at, w.length};
}

static struct iovec piece(const void *at, size_t length)
{
    return (struct iovec){.iov_base = (void *)(uintptr_t)at, .iov_len = length};
}

/* Sends head and body. 0 or an errno value. A body with trailers goes as one chunk (RFC 9112, 7.1). */
static int send_request(const struct trial *t, int fd, struct slice head)
{
    const struct request *r = t->request;
    bool chunked = sends_trailers(t);
    char size[20];
    int size_bytes = 0;
    struct iovec tail[3] = {piece("\r\n0\r\n", 7), piece(r->chunk.trailers, r->chunk.trailers_bytes),
                            piece("\r\n", 2)};
    if (chunked && request_body_bytes(r) > 0) {
        size_bytes = snprintf(size, sizeof size, "%" PRIx64 "\r\n", request_body_bytes(r));
    } else if (chunked) {
        tail[0] = piece("0\r\n", 3);
    }
    struct iovec iov[3] = {piece(head.at, head.length), piece(size, (size_t)size_bytes)};
    int failure;
    if (r->body.at == NULL && r->spool.file != -1) {
        failure = net_send_all(fd, iov, 2, MSG_MORE);
        failure = failure != 0 ? failure : net_send_file(fd, r->spool.file, r->spool.length_bytes);
    } else {
        iov[2] = r->body.at != NULL ? piece(r->body.at, r->body.length)
                                    : piece(r->spool.memory, (size_t)r->spool.length_bytes);
        failure = net_send_all(fd, iov, 3, chunked ? MSG_MORE : 0);
    }
    return failure != 0 || !chunked ? failure : net_send_all(fd, tail, 3, 0);
}

/* Passes a backend's 103 (RFC 8297) on at once. */
static void pass_early(void *owner, const struct http_head *head)
{
    struct trial *t = owner;
    struct writer out = {.at = t->x->out, .capacity = t->x->out_bytes};
    if (!t->client_broken && !deliver_early(t->client->fd, head, out)) {
        t->client_broken = true;
    }
}

/* What it means for the attempt that its connection ended under CUT. */
static enum attempt_end end_of_cut(struct trial *t, enum watch_cut cut)
{
    switch (cut) {
    case WATCH_NOT_CUT:
        return ATTEMPT_RESET;
    case WATCH_CUT_DEADLINE:
        return ATTEMPT_TIMEOUT;
    case WATCH_CUT_STOP:
        t->stopped = true;
        return ATTEMPT_CANCELLED;
    case WATCH_CUT_CLIENT:
        t->client_gone = true;
        return ATTEMPT_CANCELLED;
    case WATCH_CUT_BACKEND:
        t->failures++; /* of nobody, but an answer that comes now is a rescue */
        return ATTEMPT_CANCELLED;
    }
    UNREACHABLE();
}

enum watch_cut exchange_judge(void *owner, const struct watch_subject *subject)
{
    const struct proxy *proxy = owner;
    if (parking_client_is_gone(proxy->parking, subject->client_slot)) {
        return WATCH_CUT_CLIENT;
    }
    uint64_t rotation = ledger_rotation(proxy->ledger);
    bool out = (rotation >> subject->backend & 1) == 0;
    return subject->may_leave && out && rotation != 0 ? WATCH_CUT_BACKEND : WATCH_NOT_CUT;
}

/* One request and response on FD, which the response owns from now on. *UNTOUCHED_ is set when the connection
 * ended before the first byte of a response and nobody cut it: on a reused one, that is not the backend's
 * fault. */
static enum attempt_end converse(struct trial *t, int fd, struct slice head, bool *untouched_)
{
    struct exchange *x = t->x;
    const struct config *config = x->proxy->config;
    struct response_rules rules = {
        .method = t->request->head.method,
        .hold_bytes = config->retry.hold_bytes,
        .hold_ms = config->retry.hold_ms,
        .upgrade_asked = t->upgrade.length > 0,
        .early = t->request->head.version_minor > 0 ? pass_early : NULL,
        .owner = t,
    };
    mono_ns deadline = deadline_after_ms(clock_mono(), config->timeouts.response_ms);
    *untouched_ = false;
    struct watch_subject subject = {.judged = true,
                                    .client_slot = t->client->slot,
                                    .backend = t->current_backend,
                                    .may_leave = t->may_replay && t->attempt_was_fit};
    watch_arm_for(x->watch, fd, deadline_earlier(deadline, t->deadline), &subject);
    int unsent = send_request(t, fd, head);
    /* A backend may answer and hang up without reading the whole body: what it said is looked at all the
     * same. */
    enum response_end end = response_receive(t->current, fd, &rules);
    enum watch_cut cut = watch_disarm(x->watch);
    if (cut != WATCH_NOT_CUT || unsent != 0) {
        t->current->excess = true;
    }
    switch (end) {
    case RESPONSE_HELD:
        return ATTEMPT_ANSWERED;
    case RESPONSE_STREAM:
        if (cut == WATCH_NOT_CUT) {
            return ATTEMPT_ANSWERED;
        }
        break;
    case RESPONSE_MALFORMED:
        return ATTEMPT_PROTOCOL;
    case RESPONSE_EMPTY:
        *untouched_ = cut == WATCH_NOT_CUT;
        break;
    case RESPONSE_BROKEN:
        break;
    }
    return end_of_cut(t, cut);
}

static int connect_to(const struct trial *t, uint32_t backend)
{
    struct proxy *proxy = t->x->proxy;
    mono_ns deadline = deadline_after_ms(clock_mono(), proxy->config->timeouts.connect_ms);
    return upstream_connect(&proxy->upstreams[backend], deadline_earlier(deadline, t->deadline));
}

/* One attempt on BACKEND. An idle connection that turns out to be stale is replaced by a fresh one, once. */
static enum attempt_end attempt_run(struct trial *t, uint32_t backend)
{
    bool untouched = false;
    int fd = upstream_take_idle(&t->x->proxy->upstreams[backend]);
    if (fd != -1) {
        enum attempt_end end = converse(t, fd, request_head(t, backend), &untouched);
        if (!untouched || end != ATTEMPT_RESET) {
            return end;
        }
        response_clear(t->current);
    }
    fd = connect_to(t, backend);
    if (fd == -1) {
        return ATTEMPT_CONNECT;
    }
    return converse(t, fd, request_head(t, backend), &untouched);
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
    const struct http_offence *offence = t->current->offence;
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

/* Writes the end of the attempt in CURRENT into the ledger and the log. */
static void record(struct trial *t, const struct attempt_outcome *outcome)
{
    struct proxy *proxy = t->x->proxy;
    if (outcome->failure) {
        t->failures++;
        log_failure(t, t->ticket.backend, outcome);
    }
    if (ledger_end(proxy->ledger, &t->ticket, outcome)) {
        log_ejection(proxy, t->ticket.backend, outcome);
    }
}

/* Judges the attempt that ended with END. True when its response is good. One that is good but streams stays
 * open in the ledger until it has been delivered: it may still break. */
static bool judge_attempt(struct trial *t, enum attempt_end end)
{
    const struct response *r = t->current;
    struct attempt_outcome outcome = {.end = end, .failure = end != ATTEMPT_CANCELLED};
    if (end == ATTEMPT_ANSWERED) {
        outcome.status = r->head.status;
        outcome.failure = outcome.status != 101 && /* an upgrade that was asked for is what was wanted */
                          verdict_is_failure(t->x->proxy->config->health.failure, outcome.status);
        outcome.latency_ns = clock_mono() - t->attempt_begun;
        t->attempt_open = !outcome.failure && !r->whole && outcome.status != 101;
        t->attempt_latency_ns = outcome.latency_ns;
    }
    if (!t->attempt_open) {
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
        .status = t->current->head.status,
        .failure = broke != ATTEMPT_ANSWERED && broke != ATTEMPT_CANCELLED,
        .latency_ns = t->attempt_latency_ns,
    };
    record(t, &outcome);
    t->attempt_open = false;
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
    if (!t->have_best || verdict_rank(t->current->head.status) > verdict_rank(t->best->head.status)) {
        struct response *worse = t->best;
        t->best = t->current;
        t->best_backend = t->current_backend;
        t->current = worse;
        t->have_best = true;
    }
    response_clear(t->current);
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
        int backend = balancer_pick(&proxy->balancer, require_up ? fit : all & ~t->tried);
        if (backend == -1 || ledger_begin(proxy->ledger, (uint32_t)backend, require_up, ticket_)) {
            t->attempt_was_fit = require_up;
            return backend;
        }
    }
}

/* Runs attempts until one is good (true: it stands in CURRENT) or nothing is left to try. */
static bool try_backends(struct trial *t)
{
    const struct config *config = t->x->proxy->config;
    uint32_t max = config->retry.attempts == 0 ? CONFIG_BACKENDS_MAX : config->retry.attempts;
    while (t->attempts < max && !t->stopped && !t->client_gone &&
           (t->attempts == 0 || clock_mono() < t->deadline)) {
        int backend = next_backend(t, &t->ticket);
        if (backend == -1) {
            return false;
        }
        t->tried |= UINT64_C(1) << backend;
        t->attempts++;
        t->current_backend = (uint32_t)backend;
        t->attempt_begun = clock_mono();
        enum attempt_end end = attempt_run(t, (uint32_t)backend);
        if (judge_attempt(t, end)) {
            settle_connection(t, t->current, (uint32_t)backend);
            return true;
        }
        t->timed_out = t->timed_out || end == ATTEMPT_TIMEOUT;
        if (end == ATTEMPT_ANSWERED) {
            settle_connection(t, t->current, (uint32_t)backend);
            keep_best(t);
        } else {
            response_clear(t->current);
        }
        if (end != ATTEMPT_CONNECT && !t->may_replay) {
            return false;
        }
    }
    return false;
}

/* An answer of our own. */
static enum exchange_end answer(const struct trial *t, const struct http_offence *offence, bool keep_alive)
{
    const struct http_head *head = &t->request->head;
    traffic_count(t->x->proxy->traffic, t->x->shard, (unsigned)offence->status, t->attempts > 1, false);
    if (t->client_broken) {
        return EXCHANGE_CLOSE;
    }
    deliver_reply(t->client->fd, offence, keep_alive, head->version_minor,
                  slice_equal(head->method, SLICE("HEAD")));
    return keep_alive ? EXCHANGE_KEEP : EXCHANGE_CLOSE;
}

/* Nothing usable came. */
static enum exchange_end answer_failure(const struct trial *t, bool keep_alive)
{
    if (t->client_gone) {
        return EXCHANGE_CLOSE;
    }
    if (t->stopped) {
        return answer(t, &http_offence_stopping, false);
    }
    return answer(t, t->timed_out ? &http_offence_no_backend_in_time : &http_offence_no_backend_answered,
                  keep_alive);
}

/* The backend switched protocols: tells the client. */
static enum exchange_end begin_tunnel(struct trial *t)
{
    struct writer out = {.at = t->x->out, .capacity = t->x->out_bytes};
    response_clear(t->best);
    if (t->client_broken || !deliver_upgrade(t->client->fd, &t->current->head, out)) {
        tunnels_cancel(t->x->proxy->tunnels);
        response_clear(t->current);
        return EXCHANGE_CLOSE;
    }
    t->x->switched = t->current;
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
    struct delivery delivery = {
        .response = chosen,
        .client_fd = t->client->fd,
        .client_minor = t->request->head.version_minor,
        .keep_alive = keep_alive,
        .to_head = slice_equal(t->request->head.method, SLICE("HEAD")),
        .takes_trailers = t->takes_trailers,
        .watch = x->watch,
        .read_ms = config->timeouts.response_ms,
        .write_ms = config->timeouts.client_write_ms,
        .outbox_bytes = config->limits.body_bytes,
        .out = {.at = x->out, .capacity = x->out_bytes},
        .broke = ATTEMPT_ANSWERED,
    };
    enum delivered delivered = t->client_broken ? DELIVERED_CLOSE : deliver(&delivery);
    if (t->attempt_open) {
        end_streamed_attempt(t, delivery.broke);
    }
    settle_connection(t, chosen, backend);
    if (delivered == DELIVERED_LATER) {
        t->client->outbox = delivery.outbox;
        return EXCHANGE_LATER;
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
        .trusted = net_address_in(&client->peer, &config->trusted_proxies),
        .upgrade = forward_upgrade_of(head),
        .takes_trailers =
            head->version_minor > 0 && http_head_list_has(head, HTTP_FIELD_TE, SLICE("trailers")),
        .deadline = deadline_after_ms(clock_mono(), config->timeouts.request_ms),
        .may_replay = verdict_may_replay(config->retry.methods, head->method),
        .current = &x->responses[0],
        .best = &x->responses[1],
    };
    identity_fill(&t.identity, head);
    return t;
}

enum exchange_end exchange_run(struct exchange *x, struct client *client, struct request *request)
{
    struct trial t = trial_of(x, client, request);
    if (t.upgrade.length > 0 && !tunnels_reserve(x->proxy->tunnels)) {
        return answer(&t, &http_offence_too_many_tunnels, request->head.keep_alive);
    }
    bool good = try_backends(&t);
    bool keep_alive =
        request->head.keep_alive && !atomic_load_explicit(&x->proxy->draining, memory_order_relaxed);
    if (good && t.current->head.status == 101) {
        traffic_count(x->proxy->traffic, x->shard, 200, t.attempts > 1, t.failures > 0);
        return begin_tunnel(&t);
    }
    if (t.upgrade.length > 0) {
        tunnels_cancel(x->proxy->tunnels);
    }
    if ((!good && !t.have_best) || t.client_gone) {
        response_clear(t.best);
        return answer_failure(&t, keep_alive);
    }
    struct response *chosen = good ? t.current : t.best;
    unsigned status = chosen->head.status;
    traffic_count(x->proxy->traffic, x->shard, status, t.attempts > 1, status == 200 && t.failures > 0);
    enum exchange_end end =
        deliver_chosen(&t, chosen, good ? t.current_backend : t.best_backend, keep_alive && !t.stopped);
    response_clear(&x->responses[0]);
    response_clear(&x->responses[1]);
    return end;
}
