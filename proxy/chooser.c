/* SPDX-License-Identifier: MIT */
#include "proxy/chooser.h"

#include "common/slice.h"
#include "proxy/slow_start.h"

_Static_assert(SLOW_START_FULL * 256 <= BALANCER_WEIGHT_MAX, "the balancer's weights are too small");

/* What stands for the request when the balance goes by a field: a hash of its first value; without such a
 * field, the client. */
static uint64_t key_of(const char *field, const struct client *client, const struct http_head *head)
{
    for (size_t i = 0; field[0] != '\0' && i < head->field_count; i++) {
        if (slice_equal_nocase(head->fields[i].name, slice_of(field))) {
            return balancer_hash(head->fields[i].value.at, head->fields[i].value.length);
        }
    }
    struct in6_addr ip = net_address_ip(&client->peer);
    return balancer_hash(&ip, sizeof ip);
}

void chooser_begin(struct chooser *c, const struct http_head *head)
{
    const struct config *config = &c->plan->config;
    c->tried = ~c->plan->members;
    c->queue_ns = config->timeouts.queue_ms * NS_PER_MS;
    if (config->balance == CONFIG_BALANCE_HASH) {
        c->key = key_of(config->hash_on, c->client, head);
    }
}

/* The question for the balancer, with what it must know of each of CANDIDATES. */
static void ask(const struct chooser *c, uint64_t candidates, struct balancer_question *q_)
{
    const struct proxy *proxy = c->proxy;
    const struct config *config = &c->plan->config;
    uint32_t slow_start_ms = config->health.slow_start_ms;
    mono_ns now = slow_start_ms > 0 ? clock_mono() : 0;
    bool by_load =
        config->balance == CONFIG_BALANCE_LEAST_IN_FLIGHT || config->balance == CONFIG_BALANCE_TWO_CHOICES;
    q_->balance = config->balance;
    q_->candidates = candidates;
    q_->key = c->key;
    for (uint64_t rest = candidates; rest != 0; rest &= rest - 1) {
        uint32_t i = (uint32_t)__builtin_ctzll(rest);
        const struct config_backend *backend = plan_backend(c->plan, i);
        int32_t share = slow_start_share(ledger_up_since(proxy->ledger, i), now, slow_start_ms);
        q_->weights[i] = (int32_t)backend->weight * share;
        if (by_load) { /* else this would fetch a line that other CPUs write */
            q_->in_flight[i] = ledger_in_flight(proxy->ledger, i);
        }
        if (config->balance == CONFIG_BALANCE_HASH) {
            q_->ids[i] = balancer_hash(backend->name, strlen(backend->name));
        }
    }
}

/* Those of FIT that look full. */
static uint64_t full_now(const struct chooser *c, uint64_t fit)
{
    uint64_t full = 0;
    for (uint64_t rest = fit; rest != 0; rest &= rest - 1) {
        uint32_t i = (uint32_t)__builtin_ctzll(rest);
        uint32_t max = plan_backend(c->plan, i)->max_in_flight;
        if (max > 0 && ledger_in_flight(c->proxy->ledger, i) >= max) {
            full |= rest & -rest;
        }
    }
    return full;
}

/* Begins an attempt on one of CANDIDATES, which are in rotation (UP) or not, and fills *CHOICE_. False when
 * none has a place, or those that had one are in rotation, or as they were, no more. */
static bool begin_one(struct chooser *c, uint64_t candidates, bool up, struct choice *choice_)
{
    struct proxy *proxy = c->proxy;
    struct balancer_question q; /* some 1.5 KB, of which only the candidates' part is filled */
    while (candidates != 0) {
        ask(c, candidates, &q);
        uint32_t picked = (uint32_t)balancer_pick(&proxy->balancer, &q);
        if (ledger_begin_within(proxy->ledger, picked, up, plan_backend(c->plan, picked)->max_in_flight,
                                &choice_->ticket) == LEDGER_BEGUN) {
            choice_->end = CHOICE_MADE;
            choice_->backend = picked;
            choice_->up = up;
            c->tried |= UINT64_C(1) << picked;
            return true;
        }
        candidates &= ~(UINT64_C(1) << picked);
    }
    return false;
}

/* Why a wait in line was cut. */
static enum choice_end end_of_cut(enum watch_cut cut)
{
    switch (cut) {
    case WATCH_CUT_STOP:
        return CHOICE_STOPPED;
    case WATCH_CUT_CLIENT:
        return CHOICE_UNWANTED;
    case WATCH_NOT_CUT:
    case WATCH_CUT_DEADLINE:
    case WATCH_CUT_BACKEND:
        break;
    }
    return CHOICE_FULL;
}

/* Waits in line until there is something to choose, nothing left that could be waited for, or the time is
 * over. */
static struct choice wait_in_line(struct chooser *c)
{
    struct queue *queue = &c->proxy->queue;
    struct choice choice = {.end = CHOICE_FULL};
    struct queue_place place = {.watch = c->watch, .tried = c->tried};
    queue_join(queue, &place);
    do {
        struct queue_turn turn = queue_turn(queue, &place);
        if (turn.claims == 0) {
            choice.end = CHOICE_NONE_LEFT;
            break;
        }
        if (begin_one(c, turn.open, turn.up, &choice)) {
            break;
        }
    } while (watch_sleep(c->watch));
    queue_leave(queue, &place);
    return choice;
}

/* Guards the wait in line by the watch. */
static struct choice wait_for_place(struct chooser *c)
{
    mono_ns begun = clock_mono();
    struct watch_subject subject = {.judged = true,
                                    .client_slot = c->client->slot,
                                    .client_fd = c->client->fd,
                                    .since = begun};
    if (c->queue_ns <= 0) {
        return (struct choice){.end = CHOICE_FULL};
    }
    c->waited = true;
    watch_note_wait(c->watch);
    watch_arm_for(c->watch, -1, deadline_earlier(begun + c->queue_ns, c->deadline), &subject);
    struct choice choice = wait_in_line(c);
    enum watch_cut cut = watch_disarm(c->watch);
    c->queue_ns -= clock_mono() - begun;
    if (choice.end == CHOICE_FULL) {
        choice.end = end_of_cut(cut);
    }
    return choice;
}

bool chooser_has_more(const struct chooser *c)
{
    bool up;
    return ledger_fit(c->proxy->ledger, c->tried, &up) != 0;
}

struct choice chooser_next(struct chooser *c)
{
    const struct proxy *proxy = c->proxy;
    for (;;) {
        struct choice choice = {.end = CHOICE_NONE_LEFT};
        bool up;
        uint64_t fit = ledger_fit(proxy->ledger, c->tried, &up);
        uint64_t open = fit & ~queue_claimed(&proxy->queue) & ~full_now(c, fit);
        if (fit == 0 || begin_one(c, open, up, &choice)) {
            return choice;
        }
        if (open == 0) {
            return wait_for_place(c);
        }
    }
}

/* Those in rotation that C's request was not sent to, and that have a place nobody waits for. */
static uint64_t spare_now(const struct chooser *c)
{
    uint64_t fit = ledger_rotation(c->proxy->ledger) & ~c->tried;
    return fit & ~queue_claimed(&c->proxy->queue) & ~full_now(c, fit);
}

bool chooser_has_spare(const struct chooser *c)
{
    return spare_now(c) != 0;
}

bool chooser_spare(struct chooser *c, struct choice *choice_)
{
    return begin_one(c, spare_now(c), true, choice_);
}
