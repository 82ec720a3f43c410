/* SPDX-License-Identifier: MIT
 * ALERT is only a hint: nobody is refused for it. It goes by when the line was last seen empty, which is an
 * upper bound of what anybody has waited; how long each one has waited tells the kernel. */
#include "proxy/usher.h"

#include "proxy/waited.h"

enum { ANSWERS_MAX = 256 /* in one look: the looker has other things to do */ };

void usher_init(struct usher *u, struct proxy *proxy, uint32_t shard, mono_ns now)
{
    *u = (struct usher){.calm_at = now,
                        .session = {.exchange = {.proxy = proxy, .shard = shard},
                                    .spares = {.depot = &proxy->requests}}};
}

/* Answers those at the head of the line that have waited too long, and holds the first that has not. Those
 * that are there for something else than a request are tended at once: they need no worker. */
static void turn_away_late(struct usher *u, mono_ns now)
{
    struct exchange *x = &u->session.exchange;
    for (int i = 0; i < ANSWERS_MAX; i++) {
        struct client *client = atomic_exchange(&u->held, NULL);
        client = client != NULL ? client : parking_take_now(x->proxy->parking);
        if (client == NULL) {
            return;
        }
        if (client->course != NULL) { /* it has gone, and does not wait for its backend any more */
            session_abandon(x->proxy, client, PARKING_AWAITING);
            if (seats_give(&x->proxy->seats, 1)) {
                parking_nudge(x->proxy->parking);
            }
            continue;
        }
        bool asks = client->outbox == NULL && client->linger_until == 0;
        bool late = asks && waited_for_worker_ms(client, now) > x->plan->config.timeouts.queue_ms;
        if (asks && !late) {
            atomic_store(&u->held, client);
            return;
        }
        session_turn_away(&u->session, client, late);
    }
}

/* Puts the one that is held back into the line. */
static void put_back(struct usher *u, mono_ns now)
{
    const struct exchange *x = &u->session.exchange;
    struct client *client = atomic_exchange(&u->held, NULL);
    if (client != NULL) {
        session_put_back(x->proxy, client, deadline_after_ms(now, x->plan->config.timeouts.client_header_ms));
    }
}

void usher_look(struct usher *u, mono_ns now, bool ready, bool idle)
{
    struct exchange *x = &u->session.exchange;
    if (!ready && !usher_holds(u)) {
        u->calm_at = now;
    }
    x->plan = plans_hold(x->proxy->plans, x->shard);
    bool alert = now > deadline_after_ms(u->calm_at, x->plan->config.timeouts.queue_ms);
    if (alert != usher_is_alert(u)) {
        atomic_store_explicit(&u->alert, alert, memory_order_relaxed);
    }
    if (!ready && idle) {
        put_back(u, now); /* where it is the only one, for a worker that waits there */
    } else if (alert) {
        turn_away_late(u, now);
    }
    exchange_let_plan_go(x);
}

void usher_calm(struct usher *u, mono_ns now)
{
    u->calm_at = now;
}

void usher_release(struct usher *u)
{
    struct exchange *x = &u->session.exchange;
    x->plan = plans_hold(x->proxy->plans, x->shard);
    put_back(u, clock_mono());
    exchange_let_plan_go(x);
    spares_release(&u->session.spares);
}
