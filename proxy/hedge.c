/* SPDX-License-Identifier: MIT */
#include "proxy/hedge.h"

#include "proxy/dial.h"
#include "proxy/proxy.h"
#include "proxy/stragglers.h"
#include "proxy/trial.h"

#include <poll.h>

enum { LEGS = 2 };

/* The connect of one attempt. */
struct leg {
    struct trial_entry entry;
    bool may_leave; /* as in the attempt */
    mono_ns since;  /* when the connect began */
    struct dial dial;
};

struct race {
    struct attempt *a;
    mono_ns hedge_at;        /* when a second one is begun */
    struct straggler *place; /* for the one that loses; NULL before there are two */
    uint32_t count;          /* of legs that have not lost */
    struct leg legs[LEGS];   /* the first one is that of A */
};

mono_ns hedge_due(mono_ns begun, uint32_t hedge_ms)
{
    return hedge_ms == 0 ? DEADLINE_NO : deadline_after_ms(begun, hedge_ms);
}

void hedge_route(struct proxy *proxy, uint32_t slot, struct upstream_route *route_)
{
    union net_address diverted;
    upstream_choose(&proxy->upstreams[slot], route_);
    if (drill_diverts(proxy->drills, slot, &diverted)) {
        upstream_divert(route_, &diverted);
    }
}

bool hedge_take_idle(const struct attempt *a, const struct upstream_route *route, struct hedge_link *link_)
{
    *link_ = (struct hedge_link){.fd = -1, .idle = true};
    if (a->may_replay) {
        link_->fd = upstream_take_idle(&a->proxy->upstreams[a->backend], route, &link_->tag);
    }
    return link_->fd != -1;
}

/* Begins the connect of LEG. */
static void begin_dial(const struct race *r, struct leg *leg, const struct upstream_route *route)
{
    const struct attempt *a = r->a;
    leg->since = clock_mono();
    mono_ns connect = deadline_after_ms(leg->since, a->plan->config.timeouts.connect_ms);
    dial_begin(&leg->dial, &a->proxy->upstreams[leg->entry.ticket.backend], route,
               deadline_earlier(connect, a->deadline));
}

/* A is the attempt of the first leg from now on. */
static void adopt(struct race *r)
{
    const struct leg *leg = &r->legs[0];
    r->a->backend = leg->entry.ticket.backend;
    r->a->may_leave = leg->may_leave;
    trial_pick(r->a->trial, &leg->entry);
}

/* Ends the attempt of leg I as what its dial says, or as given up; the other one is the first leg then. */
static void lose(struct race *r, uint32_t i)
{
    struct attempt *a = r->a;
    struct leg *leg = &r->legs[i];
    struct dial *d = &leg->dial;
    if (d->state == DIAL_PENDING) {
        r->place->dial = *d;
        trial_make_late(a->trial, a, &leg->entry, &r->place->late);
        stragglers_add(a->proxy->stragglers, r->place);
        r->place = NULL;
    } else if (d->state == DIAL_OPEN) {
        parking_fresh(a->proxy->parking, d->fd);
        upstream_give_back(d->upstream, d->fd, d->tag, clock_mono());
        trial_end_beside(a->trial, a, &leg->entry, ATTEMPT_CANCELLED, 0);
    } else {
        bool fault = d->error != ECANCELED && !dial_is_starvation(d->error);
        trial_end_beside(a->trial, a, &leg->entry, fault ? ATTEMPT_CONNECT : ATTEMPT_CANCELLED, d->error);
    }
    if (i == 0) {
        r->legs[0] = r->legs[1];
    }
    r->count = 1;
    adopt(r);
}

/* Begins the second connect, if another backend may be asked. True when that one has an idle connection,
 * which wins: *LINK_. */
static bool begin_second(struct race *r, struct hedge_link *link_)
{
    struct attempt *a = r->a;
    struct upstream_route route;
    r->hedge_at = DEADLINE_NO;
    if (r->place == NULL) {
        r->place = stragglers_reserve(a->proxy->stragglers);
    }
    if (r->place == NULL || !a->begin_beside(a->owner)) {
        return false;
    }
    struct leg *leg = &r->legs[1];
    leg->entry = a->trial->last;
    leg->may_leave = a->may_replay;
    r->count = 2;
    uint32_t first = a->backend;
    a->backend = leg->entry.ticket.backend;
    hedge_route(a->proxy, a->backend, &route);
    if (hedge_take_idle(a, &route, link_)) {
        leg->dial.route = route;
        lose(r, 0);
        return true;
    }
    a->backend = first;
    trial_pick(a->trial, &r->legs[0].entry);
    begin_dial(r, leg, &route);
    return false;
}

/* Takes out of the race what has lost it. True when it is over: the first leg is the one that counts. */
static bool settle(struct race *r)
{
    for (uint32_t i = 0; i < r->count; i++) {
        if (r->legs[i].dial.state == DIAL_OPEN) {
            if (r->count > 1) {
                lose(r, 1 - i);
            }
            return true;
        }
    }
    for (uint32_t i = r->count; r->count > 1 && i-- > 0;) {
        const struct dial *d = &r->legs[i].dial;
        if (d->state == DIAL_FAILED) {
            bool starved = dial_is_starvation(d->error);
            lose(r, i);
            mono_ns begun = r->legs[0].since;
            r->hedge_at =
                starved ? DEADLINE_NO : hedge_due(begun, r->a->plan->config.timeouts.connect_hedge_ms);
        }
    }
    return r->legs[0].dial.state == DIAL_FAILED;
}

/* Waits until a leg can go on, a second one is due, or the watchdog cuts, which one watch on any of the
 * sockets does for all of them. Two that race are cut only when nobody waits for them any more. */
static enum watch_cut wait_for_any(struct race *r)
{
    const struct attempt *a = r->a;
    struct pollfd polls[LEGS] = {{.fd = -1}};
    mono_ns until = r->hedge_at;
    for (uint32_t i = 0; i < r->count; i++) {
        polls[i] = (struct pollfd){.fd = r->legs[i].dial.fd, .events = POLLOUT};
        until = deadline_earlier(until, r->legs[i].dial.until);
    }
    struct watch_subject subject = attempt_subject(a, r->legs[0].since);
    subject.may_leave = subject.may_leave && r->count == 1;
    watch_arm_for(a->worker_watch, polls[0].fd, DEADLINE_NO, &subject);
    poll(polls, r->count, deadline_poll_ms(until, clock_mono()));
    enum watch_cut cut = watch_disarm(a->worker_watch);
    mono_ns now = clock_mono();
    for (uint32_t i = 0; i < r->count && cut == WATCH_NOT_CUT; i++) {
        if (polls[i].revents != 0 || r->legs[i].dial.until <= now) {
            dial_step(&r->legs[i].dial);
        }
    }
    return cut;
}

/* Gives all connects up. */
static void abandon(struct race *r)
{
    for (uint32_t i = 0; i < r->count; i++) {
        dial_abandon(&r->legs[i].dial);
    }
    if (r->count > 1) {
        lose(r, 1);
    }
}

/* Runs the race to its end. */
static struct hedge_link run(struct race *r)
{
    struct hedge_link link;
    while (!settle(r)) {
        if (clock_mono() >= r->hedge_at) {
            if (begin_second(r, &link)) {
                return link;
            }
            continue;
        }
        enum watch_cut cut = wait_for_any(r);
        if (cut != WATCH_NOT_CUT) {
            abandon(r);
            return (struct hedge_link){.fd = -1, .cut = cut};
        }
    }
    const struct dial *d = &r->legs[0].dial;
    return (struct hedge_link){.fd = d->fd, .tag = d->tag, .error = d->error};
}

/* One race. */
static struct hedge_link connect_once(struct attempt *a, struct upstream_route *route)
{
    struct race r = {.a = a, .count = 1}; /* some 4 KB */
    r.legs[0].entry = a->trial->last;
    r.legs[0].may_leave = a->may_leave;
    begin_dial(&r, &r.legs[0], route);
    r.hedge_at = hedge_due(r.legs[0].since, a->plan->config.timeouts.connect_hedge_ms);
    struct hedge_link link = run(&r);
    stragglers_release(a->proxy->stragglers, r.place);
    *route = r.legs[0].dial.route;
    return link;
}

struct hedge_link hedge_connect(struct attempt *a, struct upstream_route *route)
{
    struct hedge_link link = connect_once(a, route);
    if (link.fd == -1 && link.cut == WATCH_NOT_CUT && dial_is_starvation(link.error)) {
        for (size_t i = 0; i < a->plan->config.backend_count; i++) {
            upstream_trim(&a->proxy->upstreams[a->plan->slots[i]], DEADLINE_NO);
        }
        link = connect_once(a, route);
    }
    return link;
}
