/* SPDX-License-Identifier: MIT */
#include "proxy/dial.h"

#include <unistd.h>

bool dial_is_starvation(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOMEM || error == ENOBUFS;
}

/* The address on the way has failed with ERROR. */
static void fail_address(struct dial *d, int error)
{
    if (d->fd != -1) {
        close(d->fd);
        d->fd = -1;
    }
    d->error = error;
    if (!dial_is_starvation(error)) {
        upstream_note_failed(d->upstream, &d->tag);
    }
}

/* Begins with the next addresses until one is on its way or there is none left. */
static void begin_next(struct dial *d)
{
    uint32_t count = d->route.addresses.count;
    while (d->next < count && !dial_is_starvation(d->error)) {
        mono_ns now = clock_mono();
        uint32_t i = d->next++;
        d->tag = upstream_tag(&d->route, i);
        d->until = now + (d->deadline - now) / (count - i);
        d->fd = net_connect_begin(&d->route.addresses.list[d->route.order[i]]);
        if (d->fd != -1) {
            d->state = DIAL_PENDING;
            return;
        }
        fail_address(d, errno);
    }
    d->state = DIAL_FAILED;
}

void dial_begin(struct dial *d, struct upstream *u, const struct upstream_route *route, mono_ns deadline)
{
    d->state = DIAL_FAILED;
    d->fd = -1;
    d->error = DIAL_NO_ADDRESS;
    d->deadline = deadline;
    d->next = 0;
    d->upstream = u;
    d->route = *route;
    begin_next(d);
}

void dial_step(struct dial *d)
{
    int error = net_connect_check(d->fd);
    if (error == EINPROGRESS && clock_mono() >= d->until) {
        error = ETIMEDOUT;
    }
    if (error == EINPROGRESS) {
        return;
    }
    if (error == 0) {
        d->state = DIAL_OPEN;
        upstream_note_open(d->upstream, &d->tag, clock_mono());
        return;
    }
    fail_address(d, error);
    begin_next(d);
}

void dial_abandon(struct dial *d)
{
    close(d->fd);
    d->fd = -1;
    d->state = DIAL_FAILED;
    d->error = ECANCELED;
}
