/* SPDX-License-Identifier: MIT
 * The loop of attempts. Each picks a backend that was not tried yet, first among those in rotation, then,
 * rather than let the client down, among those that are out. A response is good when the policy does not call
 * it a failure; a failing one is kept while others are tried, connection and all, and the best one kept is
 * delivered when nothing better came.
 *
 * What makes an attempt exact: ledger_begin() decides, in one step with the count, whether the backend may
 * still be used; every attempt that began is ended once, by its trial. */
#include "proxy/exchange.h"

#include "common/http_offence.h"
#include "common/net.h"
#include "proxy/answer.h"
#include "proxy/attempt.h"
#include "proxy/chooser.h"
#include "proxy/course.h"
#include "proxy/deliver.h"
#include "proxy/forward.h"
#include "proxy/knock.h"
#include "proxy/trial.h"
#include "proxy/verdict.h"

#include <stdlib.h>
#include <unistd.h>

bool exchange_init(struct exchange *x, struct proxy *proxy, struct watch *watch, uint32_t shard)
{
    *x = (struct exchange){.proxy = proxy, .watch = watch, .shard = shard};
    for (int i = 0; i < 2; i++) {
        x->responses[i] = (struct response){.fd = -1};
    }
    bool made = course_shelf_init(&x->shelf, &proxy->courses) && exchange_hold_plan(x);
    exchange_let_plan_go(x);
    if (!made) {
        exchange_release(x);
    }
    return made;
}

/* Makes the room for heads: enough for those that were let in under an earlier plan too. */
static bool fit_out(struct exchange *x)
{
    size_t wanted = 4 * (size_t)x->plan->header_bytes_max + 4096; /* Host is told up to four times */
    if (wanted <= x->out_bytes) {
        return true;
    }
    free(x->out);
    x->out = malloc(wanted);
    x->out_bytes = x->out == NULL ? 0 : wanted;
    return x->out != NULL;
}

/* Makes the room for responses, which must be cleared. */
static bool fit_responses(struct exchange *x)
{
    size_t header_bytes = x->plan->config.limits.header_bytes;
    size_t hold_bytes = x->plan->config.retry.hold_bytes;
    if (header_bytes == x->header_bytes && hold_bytes == x->hold_bytes) {
        return true;
    }
    bool made = true;
    for (int i = 0; i < 2; i++) {
        response_release(&x->responses[i]);
        made = response_init(&x->responses[i], header_bytes, hold_bytes) && made;
    }
    x->header_bytes = made ? header_bytes : 0; /* 0: nothing is made for; next time again */
    x->hold_bytes = hold_bytes;
    return made;
}

bool exchange_hold_plan(struct exchange *x)
{
    x->plan = plans_hold(x->proxy->plans, x->shard);
    return fit_out(x) && fit_responses(x);
}

void exchange_let_plan_go(struct exchange *x)
{
    x->plan = NULL;
    plans_let_go(x->proxy->plans, x->shard);
}

void exchange_release(struct exchange *x)
{
    free(x->out);
    x->out = NULL;
    course_shelf_release(&x->shelf);
    response_release(&x->responses[0]);
    response_release(&x->responses[1]);
}

/* A connection at rest goes back to its pool at once, so that others may use it while the client is written
 * to. */
static void settle_connection(const struct course *c, struct response *r, uint32_t backend)
{
    if (r->fd != -1 && r->whole && r->head.status != 101) {
        if (response_connection_reusable(r)) {
            upstream_give_back(&c->x->proxy->upstreams[backend], r->fd, r->tag, clock_mono_coarse());
        } else {
            close(r->fd);
        }
        r->fd = -1;
    }
}

/* Keeps a failing response when it is better than the one kept so far; the other one is thrown away. */
static void keep_best(struct course *c)
{
    if (!c->have_best ||
        verdict_rank(c->attempt.response->head.status) > verdict_rank(c->best->head.status)) {
        struct response *worse = c->best;
        c->best = c->attempt.response;
        c->best_backend = c->attempt.backend;
        c->attempt.response = worse;
        c->have_best = true;
        response_give_up_request(c->best); /* the sender is the next attempt's from now on */
    }
    response_clear(c->attempt.response);
}

/* Takes a retry from the budget, where there is one. */
static bool take_retry(struct course *c)
{
    uint32_t percent = c->x->plan->config.retry.budget_percent;
    return percent == CONFIG_NO_NUMBER || budget_take_retry(&c->x->proxy->budget, clock_mono(), percent);
}

/* Whether the budget allows another attempt, if this would be one: the first is no retry, and where nobody is
 * left to ask none is denied. */
static bool within_budget(struct course *c)
{
    struct proxy *proxy = c->x->proxy;
    if (c->x->plan->config.retry.budget_percent == CONFIG_NO_NUMBER) {
        return true;
    }
    if (c->trial.attempts == 0) {
        budget_count_request(&proxy->budget, clock_mono());
        return true;
    }
    if (!chooser_has_more(&c->chooser) || take_retry(c)) {
        return true;
    }
    traffic_note(proxy->traffic, c->x->shard, TRAFFIC_RETRIES_DENIED);
    return false;
}

/* All that C's plan has were asked: a reload may have brought others meanwhile, or have taken away those that
 * were left. True when there are others. Once for a request, for no more than two plans are held. */
static bool move_on(struct course *c)
{
    if (c->moved) {
        return false;
    }
    const struct plan *newer = plans_hold_newer(c->x->proxy->plans, c->x->shard);
    uint64_t others = newer->members & ~c->x->plan->members;
    if (others == 0) {
        return false;
    }
    c->moved = true;
    c->attempt.plan = newer;
    c->trial.plan = newer;
    c->chooser.plan = newer;
    c->chooser.tried = (c->chooser.tried | ~newer->members) & ~others;
    return true;
}

/* How often the request may be sent. */
static uint32_t attempts_max(const struct course *c)
{
    uint32_t max = c->x->plan->config.retry.attempts;
    return max == 0 ? CONFIG_BACKENDS_MAX : max;
}

/* Begins an attempt beside the one whose connect hangs. Nothing has been sent on that one: so this is allowed
 * also for a request that must not be sent twice. */
static bool begin_beside(void *owner)
{
    struct course *c = owner;
    struct choice choice;
    if (c->trial.attempts >= attempts_max(c) || !chooser_has_spare(&c->chooser) || !take_retry(c) ||
        !chooser_spare(&c->chooser, &choice)) {
        return false;
    }
    trial_begin(&c->trial, &choice.ticket, clock_mono());
    c->attempt.tried = c->chooser.tried;
    return true;
}

/* Parks the client until the backend of the pending attempt says something. False when it has done so
 * already, or the client has: look. */
static bool park(struct course *c)
{
    struct client *client = c->client;
    struct parking *parking = c->x->proxy->parking;
    if (!c->pinned) {
        plan_pin(c->plan, c->shard);
        c->pinned = true;
    }
    client->course = c;
    if (parking_park(parking, client, PARKING_AWAITING, DEADLINE_NO)) {
        return true; /* neither C nor its client is ours any more */
    }
    client->course = NULL;
    return false;
}

/* Whether C, in its next attempt, may be left to its client: it needs nothing of this worker's, as a kept
 * response stands in, nor of a plan that it did not begin with. */
static bool may_park(const struct course *c)
{
    return c != c->x->shelf.reserve && !c->have_best && !c->moved && c->attempt.upgrade.length == 0;
}

/* Chooses a backend and begins an attempt on it. False when there is none, or no time for it. */
static bool next_attempt(struct course *c)
{
    struct choice choice;
    do {
        if (c->trial.attempts >= attempts_max(c) || c->attempt.stopped || c->attempt.client_gone ||
            (c->trial.attempts > 0 && clock_mono() >= c->attempt.deadline) || !within_budget(c)) {
            return false;
        }
        choice = chooser_next(&c->chooser);
    } while (choice.end == CHOICE_NONE_LEFT && move_on(c));
    if (choice.end != CHOICE_MADE) {
        c->attempt.stopped = choice.end == CHOICE_STOPPED;
        c->attempt.client_gone = choice.end == CHOICE_UNWANTED;
        c->full = choice.end == CHOICE_FULL;
        return false;
    }
    c->attempt.backend = choice.backend;
    c->attempt.tried = c->chooser.tried;
    c->attempt.may_leave = choice.up && c->attempt.may_replay;
    c->attempt.may_park = may_park(c);
    bool at_once = c->trial.attempts == 0 && !c->chooser.waited;
    trial_begin(&c->trial, &choice.ticket, at_once ? c->begun : clock_mono());
    return true;
}

enum trying {
    TRYING_GOOD,   /* a good response stands in the attempt */
    TRYING_FAILED, /* nothing is left to try */
    TRYING_PARKED, /* the course is its client's, who is parked */
};

/* Runs attempts until one is good, nothing is left to try, or the one that is pending can be left. With
 * PENDING, one is already. */
static enum trying try_backends(struct course *c, bool pending)
{
    for (;;) {
        if (!pending && !next_attempt(c)) {
            return TRYING_FAILED;
        }
        enum attempt_end end;
        enum attempt_progress progress =
            pending ? attempt_continue(&c->attempt, &end) : attempt_begin(&c->attempt, &end);
        while (progress == ATTEMPT_PENDING) {
            if (park(c)) {
                return TRYING_PARKED;
            }
            progress = attempt_continue(&c->attempt, &end);
        }
        pending = false;
        if (trial_judge(&c->trial, &c->attempt, end)) {
            settle_connection(c, c->attempt.response, c->attempt.backend);
            return TRYING_GOOD;
        }
        if (end == ATTEMPT_ANSWERED) {
            settle_connection(c, c->attempt.response, c->attempt.backend);
            keep_best(c);
        } else {
            response_clear(c->attempt.response);
        }
        if (end != ATTEMPT_CONNECT && !c->attempt.starved && !c->attempt.may_replay) {
            return TRYING_FAILED;
        }
    }
}

static bool is_draining(const struct proxy *proxy)
{
    return atomic_load_explicit(&proxy->draining, memory_order_relaxed);
}

/* Whether a connection may go on behind its response. */
static bool may_stay(const struct proxy *proxy)
{
    return !is_draining(proxy) && !atomic_load_explicit(&proxy->crowded, memory_order_relaxed);
}

/* An answer of our own. */
static enum exchange_end answer(const struct course *c, const struct http_offence *offence, bool keep_alive)
{
    struct answer own = {.x = c->x,
                         .client = c->client,
                         .request = c->request,
                         .course = c,
                         .offence = offence,
                         .keep_alive = keep_alive};
    return answer_send(&own);
}

/* Nothing usable came. */
static enum exchange_end answer_failure(const struct course *c, bool keep_alive)
{
    if (c->attempt.client_gone) {
        answer_log(c, 0, ANSWER_OURS, 0, ACCESS_CLIENT_GONE);
        return EXCHANGE_CLOSE;
    }
    if (c->attempt.stopped) {
        return answer(c, &http_offence_stopping, false);
    }
    if (c->attempt.starved) {
        return answer(c, &http_offence_starved, keep_alive);
    }
    if (c->full) {
        return answer(c, &http_offence_backends_full, keep_alive);
    }
    return answer(c,
                  c->trial.timed_out ? &http_offence_no_backend_in_time : &http_offence_no_backend_answered,
                  keep_alive);
}

/* Counts what became of a wait for a place. */
static void note_queue(const struct course *c)
{
    if (c->chooser.waited) {
        traffic_note(c->x->proxy->traffic, c->x->shard, TRAFFIC_WAITED);
    }
    if (c->full) {
        traffic_note(c->x->proxy->traffic, c->x->shard, TRAFFIC_BACKENDS_FULL);
    }
}

/* The backend switched protocols: tells the client. */
static enum exchange_end begin_tunnel(struct course *c)
{
    struct writer out = {.at = c->x->out, .capacity = c->x->out_bytes};
    response_clear(c->best);
    bool told = !c->attempt.client_broken && deliver_upgrade(c->client, &c->attempt.response->head, out);
    answer_log(c, 101, c->attempt.backend, 0, told ? ACCESS_UPGRADED : ACCESS_CLIENT_GONE);
    if (!told) {
        tunnels_cancel(c->x->proxy->tunnels);
        response_clear(c->attempt.response);
        return EXCHANGE_CLOSE;
    }
    c->x->switched = c->attempt.response;
    return EXCHANGE_TUNNEL;
}

void exchange_tunnel(struct exchange *x, int client_fd, struct slice to_backend)
{
    struct response *r = x->switched;
    int backend_fd = r->fd;
    r->fd = -1;
    parking_leave(x->proxy->parking, backend_fd);
    tunnels_begin(x->proxy->tunnels, client_fd, backend_fd, response_tunnel_bytes(r), to_backend);
    x->switched = NULL;
    response_clear(r);
}

/* Brings the chosen response to the client. */
static enum exchange_end deliver_chosen(struct course *c, struct response *chosen, uint32_t backend,
                                        bool keep_alive)
{
    struct exchange *x = c->x;
    const struct config *config = &x->plan->config;
    attempt_free_out(&c->attempt);
    struct delivery delivery = {
        .response = chosen,
        .client = c->client,
        .client_minor = c->request->head.version_minor,
        .keep_alive = keep_alive,
        .to_head = slice_equal(c->request->head.method, SLICE("HEAD")),
        .takes_trailers = c->attempt.takes_trailers,
        .watch = x->watch,
        .subject = {.judged = true,
                    .client_slot = c->client->slot,
                    .client_fd = c->client->fd,
                    .backend = backend},
        .read_ms = config->timeouts.response_ms,
        .write_ms = config->timeouts.client_write_ms,
        .write_least = config->limits.body_bytes_per_second,
        .outbox_bytes = OUTBOX_BYTES_MAX,
        .out = {.at = x->out, .capacity = x->out_bytes},
        .broke = ATTEMPT_ANSWERED,
        .end = c->attempt.client_broken ? ACCESS_CLIENT_GONE : ACCESS_WHOLE,
    };
    enum delivered delivered = c->attempt.client_broken ? DELIVERED_CLOSE : deliver(&delivery);
    if (c->trial.open) {
        trial_end_stream(&c->trial, &c->attempt, delivery.broke);
    }
    if (delivery.broke != ATTEMPT_ANSWERED && delivery.broke != ATTEMPT_CANCELLED) {
        traffic_note(x->proxy->traffic, x->shard, TRAFFIC_UNMASKED);
    }
    settle_connection(c, chosen, backend);
    c->client->outbox = delivery.outbox;
    answer_log(c, chosen->head.status, backend, delivery.body_bytes, delivery.end);
    if (delivered == DELIVERED_LATER) {
        return EXCHANGE_LATER;
    }
    if (delivered == DELIVERED_ABORT) {
        return EXCHANGE_ABORT;
    }
    return delivered == DELIVERED_KEEP ? EXCHANGE_KEEP : EXCHANGE_CLOSE;
}

/* Gives C, which is new or was left, to the worker of X. */
static void adopt(struct course *c, struct exchange *x)
{
    c->x = x;
    c->shard = x->shard;
    c->attempt.worker_watch = x->watch;
    c->attempt.out = x->out;
    c->attempt.out_bytes = x->out_bytes;
    c->attempt.response = &x->responses[0];
    c->best = &x->responses[1];
    c->trial.undecided = x->charges;
    c->chooser.watch = x->watch;
}

static struct course *course_of(struct exchange *x, struct client *client, struct request *request,
                                mono_ns now)
{
    const struct config *config = &x->plan->config;
    const struct http_head *head = &request->head;
    mono_ns deadline = deadline_after_ms(now, config->timeouts.request_ms);
    struct course *c = course_take(&x->shelf);
    c->plan = x->plan;
    c->pinned = c->moved = c->full = c->have_best = false;
    c->client = client;
    c->request = request;
    c->begun = now;
    c->trial = (struct trial){.proxy = x->proxy, .plan = x->plan};
    /* Not all at once: the largest of its members are arrays that need no zeros. */
    struct attempt *a = &c->attempt;
    a->proxy = x->proxy;
    a->plan = x->plan;
    a->client = client;
    a->request = request;
    a->trusted = net_address_in(&client->peer, &config->trusted_proxies);
    a->upgrade = forward_upgrade_of(head);
    a->takes_trailers = head->version_minor > 0 && http_head_list_has(head, HTTP_FIELD_TE, SLICE("trailers"));
    a->may_replay = verdict_may_replay(config->retry.methods, head->method);
    a->deadline = deadline;
    a->trial = &c->trial;
    a->begin_beside = begin_beside;
    a->owner = c;
    a->connect_error = 0;
    a->empty = a->client_broken = a->client_gone = a->starved = a->stopped = false;
    identity_fill(&a->identity, head);
    c->chooser = (struct chooser){.proxy = x->proxy, .plan = x->plan, .client = client, .deadline = deadline};
    chooser_begin(&c->chooser, head);
    adopt(c, x);
    knock_may_come(client);
    return c;
}

enum exchange_end exchange_refuse(const struct exchange *x, struct client *client,
                                  const struct request *request, const struct http_offence *offence)
{
    struct answer refusal = {.x = x,
                             .client = client,
                             .request = request,
                             .offence = offence,
                             .keep_alive = request->head.keep_alive && may_stay(x->proxy)};
    return answer_send(&refusal);
}

/* Brings what came of C to its client. */
static enum exchange_end answer_course(struct course *c, bool good)
{
    struct exchange *x = c->x;
    note_queue(c);
    if (trial_decide(&c->trial, &c->attempt, good, !chooser_has_more(&c->chooser)) &&
        !c->attempt.client_gone) {
        traffic_note(x->proxy->traffic, x->shard, TRAFFIC_REQUEST_FAULTS);
    }
    bool keep_alive = c->request->head.keep_alive && may_stay(x->proxy);
    if (good && c->attempt.response->head.status == 101) {
        traffic_count(x->proxy->traffic, x->shard, 200, c->trial.attempts > 1, c->trial.failures > 0);
        return begin_tunnel(c);
    }
    if (c->attempt.upgrade.length > 0) {
        tunnels_cancel(x->proxy->tunnels);
    }
    if ((!good && !c->have_best) || c->attempt.client_gone) {
        response_clear(c->best);
        return answer_failure(c, keep_alive);
    }
    struct response *chosen = good ? c->attempt.response : c->best;
    unsigned status = chosen->head.status;
    traffic_count(x->proxy->traffic, x->shard, status, c->trial.attempts > 1,
                  status == 200 && c->trial.failures > 0);
    enum exchange_end end = deliver_chosen(c, chosen, good ? c->attempt.backend : c->best_backend,
                                           keep_alive && !c->attempt.stopped);
    response_clear(&x->responses[0]);
    response_clear(&x->responses[1]);
    return end;
}

static enum exchange_end run(struct course *c, bool pending)
{
    struct exchange *x = c->x;
    enum trying trying = try_backends(c, pending);
    if (trying == TRYING_PARKED) {
        return EXCHANGE_PARKED;
    }
    enum exchange_end end = answer_course(c, trying == TRYING_GOOD);
    course_keep(&x->shelf, c);
    return end;
}

enum exchange_end exchange_run(struct exchange *x, struct client *client, struct request *request,
                               mono_ns now)
{
    if (forward_hops_left(&request->head) == 0) { /* OPTIONS that may go no further (RFC 9110, 7.6.2) */
        struct answer options = {.x = x,
                                 .client = client,
                                 .request = request,
                                 .keep_alive = request->head.keep_alive};
        return answer_send(&options);
    }
    struct course *c = course_of(x, client, request, now);
    if (c->attempt.upgrade.length > 0 && !tunnels_reserve(x->proxy->tunnels)) {
        enum exchange_end end = answer(c, &http_offence_too_many_tunnels, request->head.keep_alive);
        course_keep(&x->shelf, c);
        return end;
    }
    return run(c, false);
}

/* Ends the exchange of CLIENT, which waits for its backend, without an answer. */
static void abandon(struct client *client, enum access_end end)
{
    struct course *c = client->course;
    client->course = NULL;
    answer_log(c, 0, ANSWER_OURS, 0, end);
    attempt_abandon(&c->attempt);
    if (knock_was_heard(client)) {
        net_reset_on_close(client->fd); /* what it has of its answer is not to look like all of it */
    }
    trial_abandon(&c->trial);
    course_delete(c);
}

enum exchange_end exchange_resume(struct exchange *x, struct client *client)
{
    struct course *c = client->course;
    const struct plan *held = x->plan;
    client->course = NULL;
    x->plan = c->plan;
    if (x->plan != held && !(fit_out(x) && fit_responses(x))) {
        x->plan = held;
        client->course = c;
        abandon(client, ACCESS_NO_MEMORY);
        return EXCHANGE_CLOSE;
    }
    adopt(c, x);
    enum exchange_end end = run(c, true);
    x->plan = held;
    return end;
}

void exchange_abandon(struct client *client)
{
    abandon(client, is_draining(client->course->attempt.proxy) ? ACCESS_STOPPED : ACCESS_CLIENT_GONE);
}
