/* SPDX-License-Identifier: MIT
 * The loop of attempts. Each picks a backend that was not tried yet, first among those in rotation, then,
 * rather than let the client down, among those that are out. A response is good when the policy does not call
 * it a failure; a failing one is kept while others are tried, connection and all, and the best one kept is
 * delivered when nothing better came.
 *
 * What makes an attempt exact: ledger_begin() decides, in one step with the count, whether the backend may
 * still be used; every attempt that began is ended once, by attempt_end(). */
#include "proxy/exchange.h"

#include "common/log.h"
#include "common/net.h"
#include "common/panic.h"
#include "proxy/deliver.h"
#include "proxy/forward.h"
#include "proxy/verdict.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static const struct http_offence no_good_response = {502, "no_backend_answered",
                                                     "No backend gave a usable response."};
static const struct http_offence no_response_in_time = {504, "no_backend_in_time",
                                                        "No backend gave a usable response in time."};
static const struct http_offence stopping = {503, "stopping", "The front end is stopping."};

/* The state of one exchange across its attempts. */
struct trial {
    struct exchange *x;
    const struct client *client;
    struct request *request;
    mono_ns deadline; /* of the whole request */
    uint64_t tried;   /* set of backends */
    uint32_t attempts;
    uint32_t failures;
    bool timed_out; /* some attempt ran out of time */
    bool stopped;   /* the program ends */
    bool may_replay;
    struct response *current; /* free for the next attempt */
    struct response *best;    /* the best failing response, or an empty one */
    bool have_best;
    uint32_t best_backend, current_backend;
};

bool exchange_init(struct exchange *x, struct proxy *proxy, struct watch *watch, uint32_t shard)
{
    const struct config *config = proxy->config;
    *x = (struct exchange){.proxy = proxy, .watch = watch, .shard = shard};
    x->out_bytes = 2 * (size_t)config->limits.header_bytes + 4096;
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

/* Writes the request's head for BACKEND into the worker's buffer. */
static struct slice request_head(const struct trial *t, uint32_t backend)
{
    static const size_t scheme_bytes = sizeof "http://" - 1;
    char ip[NET_TEXT_BYTES];
    net_format_ip(&t->client->peer, ip);
    struct forward_request forward = {
        .head = &t->request->head,
        .has_body = t->request->framing.body != HTTP_BODY_NONE,
        .body_bytes = request_body_bytes(t->request),
        .client_ip = slice_of(ip),
        .authority = slice_of(t->x->proxy->config->backends[backend].url + scheme_bytes),
    };
    struct writer w = {.at = t->x->out, .capacity = t->x->out_bytes};
    forward_request_head(&w, &forward);
    MUST(writer_ok(&w)); /* twice the longest head that is let in */
    return (struct slice){w.at, w.length};
}

/* Sends head and body. 0 or an errno value. */
static int send_request(const struct trial *t, int fd, struct slice head)
{
    const struct request *r = t->request;
    struct iovec iov[2] = {{.iov_base = t->x->out, .iov_len = head.length}};
    if (r->body.at != NULL) {
        iov[1] = (struct iovec){.iov_base = r->in + (r->body.at - r->in), .iov_len = r->body.length};
    } else if (r->spool.file == -1) {
        iov[1] = (struct iovec){.iov_base = r->spool.memory, .iov_len = (size_t)r->spool.length_bytes};
    } else {
        int failure = net_send_all(fd, iov, 1, MSG_MORE);
        return failure != 0 ? failure : net_send_file(fd, r->spool.file, r->spool.length_bytes);
    }
    return net_send_all(fd, iov, 2, 0);
}

/* One request and response on FD, which the response owns from now on. *UNTOUCHED_ is set when the connection
 * ended before the first byte of a response and nobody cut it: on a reused one, that is not the backend's
 * fault. */
static enum attempt_end converse(struct trial *t, int fd, struct slice head, bool *untouched_)
{
    struct exchange *x = t->x;
    const struct config *config = x->proxy->config;
    struct response_hold hold = {.bytes = config->retry.hold_bytes, .ms = config->retry.hold_ms};
    mono_ns deadline = deadline_after_ms(clock_mono(), config->timeouts.response_ms);
    *untouched_ = false;
    watch_arm(x->watch, fd, deadline_earlier(deadline, t->deadline));
    int unsent = send_request(t, fd, head);
    /* A backend may answer and hang up without reading the whole body: what it said is looked at all the
     * same. */
    enum response_end end = response_receive(t->current, fd, t->request->head.method, &hold);
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
    if (cut == WATCH_CUT_STOP) {
        return ATTEMPT_CANCELLED;
    }
    return cut == WATCH_CUT_DEADLINE ? ATTEMPT_TIMEOUT : ATTEMPT_RESET;
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
    struct slice head = request_head(t, backend);
    bool untouched = false;
    int fd = upstream_take_idle(&t->x->proxy->upstreams[backend]);
    if (fd != -1) {
        enum attempt_end end = converse(t, fd, head, &untouched);
        if (!untouched || end != ATTEMPT_RESET) {
            return end;
        }
        response_clear(t->current);
    }
    fd = connect_to(t, backend);
    if (fd == -1) {
        return ATTEMPT_CONNECT;
    }
    return converse(t, fd, head, &untouched);
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

/* Writes the end of an attempt into the ledger and the log. Whether the attempt was good. */
static bool attempt_end(struct trial *t, const struct attempt_ticket *ticket, enum attempt_end end,
                        mono_ns begun)
{
    struct proxy *proxy = t->x->proxy;
    struct attempt_outcome outcome = {.end = end, .failure = end != ATTEMPT_CANCELLED};
    if (end == ATTEMPT_ANSWERED) {
        outcome.status = t->current->head.status;
        outcome.failure = verdict_is_failure(proxy->config->health.failure, outcome.status);
        outcome.latency_ns = clock_mono() - begun;
    }
    if (outcome.failure) {
        t->failures++;
        log_failure(t, ticket->backend, &outcome);
    }
    if (ledger_end(proxy->ledger, ticket, &outcome)) {
        log_ejection(proxy, ticket->backend, &outcome);
    }
    return end == ATTEMPT_ANSWERED && !outcome.failure;
}

/* A connection at rest goes back to its pool at once, so that others may use it while the client is written
 * to. */
static void settle_connection(const struct trial *t, struct response *r, uint32_t backend)
{
    if (r->whole) {
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
            return backend;
        }
    }
}

/* Runs attempts until one is good (true: it stands in CURRENT) or nothing is left to try. */
static bool try_backends(struct trial *t)
{
    const struct config *config = t->x->proxy->config;
    uint32_t max = config->retry.attempts == 0 ? CONFIG_BACKENDS_MAX : config->retry.attempts;
    while (t->attempts < max && !t->stopped && (t->attempts == 0 || clock_mono() < t->deadline)) {
        struct attempt_ticket ticket;
        int backend = next_backend(t, &ticket);
        if (backend == -1) {
            return false;
        }
        t->tried |= UINT64_C(1) << backend;
        t->attempts++;
        t->current_backend = (uint32_t)backend;
        mono_ns begun = clock_mono();
        enum attempt_end end = attempt_run(t, (uint32_t)backend);
        if (attempt_end(t, &ticket, end, begun)) {
            settle_connection(t, t->current, (uint32_t)backend);
            return true;
        }
        t->timed_out = t->timed_out || end == ATTEMPT_TIMEOUT;
        t->stopped = end == ATTEMPT_CANCELLED;
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

/* Nothing usable came: an answer of our own. */
static bool answer_failure(const struct trial *t, bool keep_alive)
{
    const struct http_offence *offence = &no_good_response;
    if (t->stopped) {
        offence = &stopping;
    } else if (t->timed_out) {
        offence = &no_response_in_time;
    }
    const struct http_head *head = &t->request->head;
    traffic_count(t->x->proxy->traffic, t->x->shard, (unsigned)offence->status, t->attempts > 1, false);
    deliver_reply(t->client->fd, offence, keep_alive, head->version_minor,
                  slice_equal(head->method, SLICE("HEAD")));
    return keep_alive;
}

bool exchange_run(struct exchange *x, const struct client *client, struct request *request)
{
    const struct config *config = x->proxy->config;
    struct trial t = {
        .x = x,
        .client = client,
        .request = request,
        .deadline = deadline_after_ms(clock_mono(), config->timeouts.request_ms),
        .may_replay = verdict_may_replay(config->retry.methods, request->head.method),
        .current = &x->responses[0],
        .best = &x->responses[1],
    };
    bool good = try_backends(&t);
    bool keep_alive = request->head.keep_alive && !t.stopped &&
                      !atomic_load_explicit(&x->proxy->draining, memory_order_relaxed);
    if (!good && !t.have_best) {
        return answer_failure(&t, keep_alive);
    }
    struct response *chosen = good ? t.current : t.best;
    uint32_t backend = good ? t.current_backend : t.best_backend;
    unsigned status = chosen->head.status;
    traffic_count(x->proxy->traffic, x->shard, status, t.attempts > 1, status == 200 && t.failures > 0);
    struct delivery delivery = {
        .response = chosen,
        .client_fd = client->fd,
        .client_minor = request->head.version_minor,
        .keep_alive = keep_alive,
        .to_head = slice_equal(request->head.method, SLICE("HEAD")),
        .watch = x->watch,
        .read_ms = config->timeouts.response_ms,
        .write_ms = config->timeouts.client_write_ms,
        .out = {.at = x->out, .capacity = x->out_bytes},
    };
    keep_alive = deliver(&delivery);
    settle_connection(&t, chosen, backend);
    response_clear(&x->responses[0]);
    response_clear(&x->responses[1]);
    return keep_alive;
}
