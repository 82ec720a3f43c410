/* SPDX-License-Identifier: MIT */
#include "proxy/knock.h"

#include "common/panic.h"

#include <sched.h>
#include <stdatomic.h>
#include <sys/socket.h>

static const char first[] = {'H'}; /* of "HTTP/1.1" */

void knock_may_come(struct client *c)
{
    atomic_store_explicit(&c->knock, KNOCK_DUE, memory_order_relaxed);
}

void knock(struct client *c)
{
    uint8_t due = KNOCK_DUE;
    if (atomic_compare_exchange_strong(&c->knock, &due, KNOCK_SENDING)) {
        bool sent = send(c->fd, first, sizeof first, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof first;
        atomic_store(&c->knock, sent ? KNOCK_SENT : KNOCK_DUE);
    }
}

struct slice knock_rest(struct client *c, struct slice text)
{
    uint8_t state = atomic_load(&c->knock);
    while (state == KNOCK_SENDING ||
           (state != KNOCK_OVER && !atomic_compare_exchange_strong(&c->knock, &state, KNOCK_OVER))) {
        sched_yield(); /* the watchdog is inside one send(2) */
        state = atomic_load(&c->knock);
    }
    if (state != KNOCK_SENT) {
        return text;
    }
    MUST(text.length > sizeof first && text.at[0] == first[0]);
    return (struct slice){text.at + sizeof first, text.length - sizeof first};
}

bool knock_was_heard(const struct client *c)
{
    return atomic_load_explicit(&c->knock, memory_order_relaxed) == KNOCK_SENT;
}
