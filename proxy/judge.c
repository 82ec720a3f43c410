/* SPDX-License-Identifier: MIT */
#include "proxy/judge.h"

#include "proxy/knock.h"
#include "proxy/proxy.h"

#include <poll.h>

enum { LONG_WAIT_MS = 100 };

/* Whether the peer of FD has reset the connection, and whether it has ENDED its side. A worker learns of a
 * reset from the epoll set, but when all of them wait, none looks there. FD may be closed, and its number
 * another's, by now: then the watch has been disarmed, and nothing comes of it. */
static bool is_reset(int fd, bool *ended_)
{
    struct pollfd look = {.fd = fd, .events = POLLRDHUP};
    bool told = poll(&look, 1, 0) == 1;
    *ended_ = told && (look.revents & POLLRDHUP) != 0;
    return told && (look.revents & (POLLERR | POLLHUP)) != 0;
}

/* Whether the backend of SUBJECT is no longer worth the wait. One that probes get no answer from will give
 * none. One that was ejected, or is down, for what it answers still answers, and soon; one that hangs is not
 * waited for. What is in flight on one that drains may finish, for drain_ms. */
static bool is_to_be_left(const struct ledger *l, const struct watch_subject *subject,
                          const struct config *config)
{
    mono_ns now = clock_mono();
    mono_ns drained = ledger_drained_since(l, subject->backend);
    if (drained != 0) {
        return now > deadline_after_ms(drained, config->drain_ms);
    }
    bool out = (ledger_rotation(l) >> subject->backend & 1) == 0;
    return out && (ledger_is_dead(l, subject->backend) ||
                   now > deadline_after_ms(subject->since, config->timeouts.connect_ms));
}

enum watch_cut judge_wait(void *owner, const struct watch_subject *subject, bool *ask_)
{
    const struct proxy *proxy = owner;
    bool long_wait = clock_mono() > subject->since + LONG_WAIT_MS * NS_PER_MS, ended = false;
    if (parking_client_is_gone(proxy->parking, subject->client_slot) ||
        (long_wait && is_reset(subject->client_fd, &ended))) {
        return WATCH_CUT_CLIENT;
    }
    *ask_ = ended;
    uint64_t others = ledger_rotation(proxy->ledger) & ~subject->tried;
    if (!subject->may_leave || others == 0) {
        return WATCH_NOT_CUT;
    }
    uint32_t reader = proxy->workers + READER_WATCHDOG;
    const struct config *config = &plans_hold(proxy->plans, reader)->config;
    bool leave = is_to_be_left(proxy->ledger, subject, config);
    plans_let_go(proxy->plans, reader);
    return leave ? WATCH_CUT_BACKEND : WATCH_NOT_CUT;
}

void judge_ask(void *owner, const struct watch_subject *subject)
{
    const struct proxy *proxy = owner;
    knock(parking_client(proxy->parking, subject->client_slot));
}
