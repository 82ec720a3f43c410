/* SPDX-License-Identifier: MIT */
#include "proxy/knock.h"

#include "common/panic.h"

#include <poll.h>
#include <sys/socket.h>

static const char first[] = {'H'}; /* of "HTTP/1.1" */

/* What POLL says of C's socket right now, of EVENTS and of those that are always told. */
static short look(const struct client *c, short events)
{
    struct pollfd entry = {.fd = c->fd, .events = events};
    return poll(&entry, 1, 0) == 1 ? entry.revents : 0;
}

void knock(struct client *c)
{
    if (c->ended && !c->half_closed) {
        c->half_closed = (look(c, POLLRDHUP) & POLLRDHUP) != 0;
    }
    if (!c->half_closed || c->knocked) {
        return;
    }
    c->knocked = send(c->fd, first, sizeof first, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof first;
    c->gone = c->gone || (look(c, 0) & (POLLERR | POLLHUP)) != 0;
}

struct slice knock_rest(struct client *c, struct slice text)
{
    if (!c->knocked) {
        return text;
    }
    MUST(text.length > sizeof first && text.at[0] == first[0]);
    c->knocked = false;
    return (struct slice){text.at + sizeof first, text.length - sizeof first};
}
