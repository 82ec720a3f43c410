/* SPDX-License-Identifier: MIT
 * Out of descriptors or memory, accept(2) fails while the connection stays in the backlog: to try again at
 * once would spin. The thread pauses for one tick instead, or until a connection closes by itself.
 *
 * A close of the listening socket resets the connections in its backlog, and those whose handshake is under
 * way: their clients believe that they are connected, and may have sent a request. So the kernel is told to
 * ignore new ones first. */
#include "proxy/listener.h"

#include "common/descriptors.h"
#include "common/http_offence.h"
#include "common/log.h"
#include "common/net.h"
#include "common/panic.h"
#include "proxy/refusal.h"
#include "proxy/session.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    TICK_MS = 100,          /* how late a deadline of a parked connection may be noticed */
    DRAIN_TICK_MS = 10,     /* the same while draining */
    SETTLE_MS = 250,        /* a handshake under way has so long to end: one round trip, and some */
    LAST_REQUEST_MS = 1000, /* an idle connection has so long for one more request when draining begins */
    UPSTREAM_REST_S = 30,   /* an idle backend connection is closed after this long */
    ACCEPT_BATCH = 64,      /* connections taken between two looks at the clock */
    LEAVING_MAX = 256,      /* connections that were turned away and are not closed yet */
    LEAVING_MS = 1000,
    COMPLAINT_REST_S = 10,
    CROWD_REST_S = 60,
    REST = 64, /* descriptors for neither clients nor backends */
};

/* A connection that was turned away: told why, and closed a moment later, so that the close does not turn
 * into a reset that destroys the answer (RFC 9112, 9.6). */
struct leaving {
    int fd;
    mono_ns until;
};

struct listener {
    struct proxy *proxy;
    const struct plan *plan; /* held while the thread is awake */
    pthread_t thread;
    int fd;      /* -1 once closed; the thread's own */
    int wake_fd; /* eventfd: look at DRAIN and STOP */
    _Atomic bool drain;
    mono_ns settled;    /* since DRAIN: by then those are in who had begun to connect */
    mono_ns idle_until; /* since DRAIN: later no connection rests between two requests */
    mono_ns close_at;   /* when the listening socket is closed, 0 before DRAIN; the thread's own */
    _Atomic bool closed;
    _Atomic bool stop;
    bool paused; /* accept waits */
    uint32_t leaving_first, leaving_count;
    struct leaving leaving[LEAVING_MAX]; /* a ring, the oldest first */
    uint32_t open_max;                   /* connections that the descriptors allow; beyond it, accept waits */
    int reserved_from;                   /* descriptors_reserved_from(), as of the last tick */
    bool starved;                        /* of descriptors or memory: accept waits too */
    mono_ns complain_from;               /* about a failing accept: not before */
    mono_ns crowd_from;                  /* the same, about a crowd at the door */
};

/* Closes the connection that was turned away first. What it sent is read first: unread bytes make a close a
 * reset. */
static void let_go_oldest(struct listener *l)
{
    char dropped[16 << 10];
    int fd = l->leaving[l->leaving_first].fd;
    for (int reads = 0; reads < 16 && net_recv(fd, dropped, sizeof dropped, MSG_DONTWAIT) > 0; reads++) {
    }
    close(fd);
    l->leaving_first = (l->leaving_first + 1) % LEAVING_MAX;
    l->leaving_count--;
}

static void let_go(struct listener *l, mono_ns now)
{
    while (l->leaving_count > 0 && l->leaving[l->leaving_first].until <= now) {
        let_go_oldest(l);
    }
}

/* Tells a connection that there is no room for it. */
static void turn_away(struct listener *l, int fd, const union net_address *peer,
                      const struct http_offence *offence)
{
    refusal_send(l->proxy, l->proxy->workers, fd, peer, NULL, offence);
    shutdown(fd, SHUT_WR);
    if (l->leaving_count == LEAVING_MAX || l->leaving_count > l->open_max / 16) {
        let_go_oldest(l);
    }
    uint32_t last = (l->leaving_first + l->leaving_count++) % LEAVING_MAX;
    l->leaving[last] = (struct leaving){.fd = fd, .until = deadline_after_ms(clock_mono(), LEAVING_MS)};
}

/* Accept must wait, for want of what FAILURE says. */
static void starve(struct listener *l, int failure)
{
    mono_ns now = clock_mono();
    l->starved = true;
    if (now >= l->complain_from) {
        l->complain_from = now + COMPLAINT_REST_S * NS_PER_S;
        plog(CONFIG_LOG_WARN, "accept: %s; new connections wait", strerror(failure));
    }
}

/* Somebody waits at the door, who is in no count, because as many are open as may be. */
static void complain_of_crowd(struct listener *l)
{
    mono_ns now = clock_mono();
    if (now >= l->crowd_from) {
        l->crowd_from = now + CROWD_REST_S * NS_PER_S;
        plog(CONFIG_LOG_WARN,
             "%u connections are open, as many as RLIMIT_NOFILE is enough for; new ones wait", l->open_max);
    }
}

/* Accepts one connection. False when there is none, or when accept must wait. */
static bool accept_one(struct listener *l)
{
    struct proxy *proxy = l->proxy;
    union net_address peer = {.base = {.sa_family = AF_UNSPEC}};
    socklen_t size = sizeof peer;
    int fd = accept4(l->fd, &peer.base, &size, SOCK_CLOEXEC);
    if (fd == -1) {
        /* ECONNABORTED and the network errors of accept(2) concern one connection, which is gone. */
        int failure = errno;
        if (failure == EMFILE || failure == ENFILE || failure == ENOBUFS || failure == ENOMEM) {
            starve(l, failure);
        }
        return failure != EAGAIN && failure != EWOULDBLOCK && !l->starved;
    }
    if (fd >= l->reserved_from) {
        starve(l, EMFILE); /* this one is let in, it has come so far */
    }
    const struct config *config = &l->plan->config;
    mono_ns deadline = deadline_after_ms(clock_mono(), config->timeouts.client_idle_ms);
    switch (parking_admit(proxy->parking, fd, &peer, config->proxy_protocol, deadline)) {
    case PARKING_ADMITTED:
        break;
    case PARKING_FULL:
        turn_away(l, fd, &peer, &http_offence_too_many_connections);
        break;
    case PARKING_CLIENT_HAS_MANY:
        turn_away(l, fd, &peer, &http_offence_client_has_many);
        break;
    }
    return true;
}

static void sweep(struct listener *l, mono_ns now)
{
    let_go(l, now);
    l->reserved_from = descriptors_reserved_from();
    struct proxy *proxy = l->proxy;
    bool every_idle = atomic_load(&l->drain) && now >= l->idle_until;
    struct session_sweep session_sweep = {.proxy = proxy, .plan = l->plan};
    parking_sweep(proxy->parking, now, every_idle, session_overdue, &session_sweep);
    mono_ns since = l->starved ? DEADLINE_NO : now - UPSTREAM_REST_S * NS_PER_S;
    for (size_t i = 0; i < l->plan->config.backend_count; i++) {
        upstream_trim(&proxy->upstreams[l->plan->slots[i]], since);
        upstream_trim_gone(&proxy->upstreams[l->plan->slots[i]]);
    }
}

/* Descriptors are needed for clients, for backends (one for each worker, and as many at rest), and for the
 * rest: accept stops before they run out. Where they are few, each client still finds one for a backend. */
static uint32_t open_max_of(const struct config *config)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > UINT32_MAX) {
        return UINT32_MAX;
    }
    uint32_t descriptors = (uint32_t)limit.rlim_cur;
    uint32_t rest = descriptors / 4 < REST ? descriptors / 4 : REST;
    uint32_t others = 2 * config->workers + rest;
    uint32_t half = (descriptors + rest) / 2;
    others = others < half ? others : half;
    uint32_t open_max = descriptors - others;
    if (open_max < config->limits.connections) {
        plog(CONFIG_LOG_WARN,
             "RLIMIT_NOFILE %u is enough for %u client connections, limits.connections is %u", descriptors,
             open_max, config->limits.connections);
    }
    return open_max;
}

/* Whether accept must wait: as many are open as may be, or there are too few descriptors. */
static bool must_pause(struct listener *l)
{
    l->starved = l->starved && descriptors_are_short();
    return l->starved || parking_open(l->proxy->parking) >= l->open_max;
}

/* Takes some of those who wait. Returns whether all are taken, or none can be. */
static bool accept_some(struct listener *l)
{
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        l->paused = must_pause(l);
        if (l->paused || !accept_one(l)) {
            return true;
        }
    }
    return false;
}

/* First nobody may begin to connect any more; when those who had begun are in, the socket is closed. */
static void withdraw(struct listener *l, mono_ns now)
{
    if (l->close_at == 0) {
        bool gently = net_ignore_new(l->fd); /* or else at once: more would come all the time */
        l->close_at = gently ? l->settled : now;
    }
    if (accept_some(l) && now >= l->close_at) {
        close(l->fd);
        l->fd = -1;
        atomic_store(&l->closed, true);
    }
}

/* Waits for somebody to come (while accept must wait: for somebody to leave), or for the next tick, and holds
 * the plan from then on. */
static void await_next(struct listener *l, uint32_t reader)
{
    struct pollfd wait[2] = {{.fd = l->wake_fd, .events = POLLIN}, {.fd = l->fd, .events = POLLIN}};
    bool crowded = false;
    if (l->paused) {
        int room = parking_want_room(l->proxy->parking);
        crowded = must_pause(l) && poll(&wait[1], 1, 0) > 0;
        if (crowded && !l->starved) {
            complain_of_crowd(l);
        }
        wait[1].fd = must_pause(l) ? room : l->fd;
    }
    atomic_store_explicit(&l->proxy->crowded, crowded, memory_order_relaxed);
    plans_let_go(l->proxy->plans, reader);
    int ready = poll(wait, 2, atomic_load(&l->drain) ? DRAIN_TICK_MS : TICK_MS);
    MUST(ready != -1 || errno == EINTR);
    l->plan = plans_hold(l->proxy->plans, reader);
    if (ready > 0 && (wait[0].revents & POLLIN) != 0) {
        uint64_t count;
        ssize_t got = read(l->wake_fd, &count, sizeof count);
        (void)got;
    }
}

static void *listener_main(void *argument)
{
    struct listener *l = argument;
    pthread_setname_np(pthread_self(), "hf-listener");
    /* It need not push a worker off its CPU: those that come meanwhile are accepted at once then, for one
     * sleep and wake-up instead of many. */
    struct sched_param none = {.sched_priority = 0};
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
    uint32_t reader = l->proxy->workers + READER_LISTENER;
    mono_ns swept = clock_mono();
    while (!atomic_load(&l->stop)) {
        await_next(l, reader);
        if (l->fd != -1 && atomic_load(&l->drain)) {
            withdraw(l, clock_mono());
        } else if (l->fd != -1) {
            accept_some(l);
        }
        mono_ns now = clock_mono();
        if (now >= deadline_after_ms(swept, TICK_MS) || atomic_load(&l->drain)) {
            sweep(l, now);
            swept = now;
        }
    }
    plans_let_go(l->proxy->plans, reader);
    let_go(l, DEADLINE_NO);
    if (l->fd != -1) {
        close(l->fd);
    }
    return NULL;
}

struct listener *listener_start(struct proxy *proxy, int listen_fd)
{
    struct listener *l = calloc(1, sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    l->proxy = proxy;
    l->fd = listen_fd;
    l->open_max = open_max_of(&plans_current(proxy->plans)->config);
    l->reserved_from = descriptors_reserved_from();
    l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (l->wake_fd == -1) {
        free(l);
        return NULL;
    }
    int failure = pthread_create(&l->thread, NULL, listener_main, l);
    if (failure != 0) {
        close(l->wake_fd);
        free(l);
        errno = failure;
        return NULL;
    }
    return l;
}

static void wake(struct listener *l)
{
    uint64_t one = 1;
    ssize_t written = write(l->wake_fd, &one, sizeof one);
    MUST(written == sizeof one);
}

void listener_drain(struct listener *l, uint32_t drain_ms)
{
    mono_ns now = clock_mono();
    l->settled = deadline_after_ms(now, drain_ms / 4 < SETTLE_MS ? drain_ms / 4 : SETTLE_MS);
    l->idle_until = deadline_after_ms(now, drain_ms / 2 < LAST_REQUEST_MS ? drain_ms / 2 : LAST_REQUEST_MS);
    atomic_store(&l->drain, true);
    wake(l);
}

bool listener_is_closed(const struct listener *l)
{
    return atomic_load(&l->closed);
}

void listener_stop(struct listener *l)
{
    if (l == NULL) {
        return;
    }
    atomic_store(&l->stop, true);
    wake(l);
    MUST_0(pthread_join(l->thread, NULL));
    close(l->wake_fd);
    free(l);
}
