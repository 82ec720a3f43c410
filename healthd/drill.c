/* SPDX-License-Identifier: MIT
 * A drill that runs is a stage: a socket on 127.0.0.1 with a port from the system. To refuse, it is bound but
 * does not listen. A black hole listens with the shortest queue there is, which one connection of our own
 * fills: then the kernel drops every SYN. The other modes are played by one thread for all stages.
 *
 * Stages are put up by whoever begins a drill, so that a failure can be told to him, but only the thread
 * takes them down: so no descriptor that it looks at is closed, and its number reused, under its hand. */
#include "healthd/drill.h"

#include "common/clock.h"
#include "common/config.h"
#include "common/lock.h"
#include "common/log.h"
#include "common/panic.h"
#include "common/thread.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    VISITORS_MAX = 512,
    BACKLOG = 1024,
    REQUEST_WAIT_MS = 5000,
    LINGER_MS = 1000,
    REST_MS = 100,
    STACK_BYTES = 128 << 10
};

struct stage {
    struct drill_order order;
    mono_ns until;
    union net_address address;
    int fd;
    int filler; /* of a black hole; -1 for none */
    struct stage *next_down;
};

/* A connection that met a fault. */
struct visitor {
    int fd;
    enum drill_mode mode;
    unsigned status;
    bool served; /* what it still sends is dropped, so that the end is no reset */
    mono_ns deadline;
};

struct drills {
    _Atomic uint64_t running; /* slots with a stage, as a set: changed under the lock only */
    struct lock lock;
    struct {
        struct stage *stages[CONFIG_BACKENDS_MAX];
        struct stage *down; /* over: to be taken down by the thread */
        bool ending;
    } shared; /* under the lock */
    int wake_fd;
    pthread_t thread;
    mono_ns accept_after; /* this and what follows: the thread's. Out of descriptors, it rests */
    uint32_t visitor_count;
    struct visitor visitors[VISITORS_MAX];
};

const char *drill_mode_name(enum drill_mode mode)
{
    static const char *const names[DRILL_MODES] = {"refuse", "blackhole", "reset", "truncate", "status"};
    MUST(mode < DRILL_MODES);
    return names[mode];
}

static void close_stage(struct stage *s)
{
    if (s->fd != -1) {
        close(s->fd);
    }
    if (s->filler != -1) {
        close(s->filler);
    }
    free(s);
}

/* Makes S's sockets. 0 or an errno value. */
static int open_stage(struct stage *s)
{
    s->address = (union net_address){
        .in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)},
    };
    socklen_t length = sizeof s->address.in;
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (s->fd == -1 || bind(s->fd, &s->address.base, length) == -1 ||
        getsockname(s->fd, &s->address.base, &length) == -1) {
        return errno;
    }
    bool hole = s->order.mode == DRILL_BLACKHOLE;
    if (s->order.mode != DRILL_REFUSE && listen(s->fd, hole ? 0 : BACKLOG) == -1) {
        return errno;
    }
    if (hole) {
        s->filler = net_connect(&s->address, deadline_after_ms(clock_mono(), REQUEST_WAIT_MS));
        return s->filler == -1 ? errno : 0;
    }
    return 0;
}

/* Takes the stage of SLOT, if there is one, out of use. The thread must be woken then. */
static bool retire(struct drills *d, uint32_t slot) requires_lock(&d->lock)
{
    struct stage *s = d->shared.stages[slot];
    if (s == NULL) {
        return false;
    }
    atomic_fetch_and_explicit(&d->running, ~(UINT64_C(1) << slot), memory_order_relaxed);
    d->shared.stages[slot] = NULL;
    s->next_down = d->shared.down;
    d->shared.down = s;
    return true;
}

static void wake(const struct drills *d)
{
    MUST_0(eventfd_write(d->wake_fd, 1));
}

int drill_begin(struct drills *d, uint32_t slot, const struct drill_order *order)
{
    MUST(slot < CONFIG_BACKENDS_MAX);
    struct stage *s = malloc(sizeof *s);
    if (s == NULL) {
        return ENOMEM;
    }
    *s = (struct stage){.order = *order, .fd = -1, .filler = -1};
    int failure = open_stage(s);
    if (failure != 0) {
        close_stage(s);
        return failure;
    }
    s->until = deadline_after_ms(clock_mono(), order->for_ms);
    lock_take(&d->lock);
    retire(d, slot);
    d->shared.stages[slot] = s;
    atomic_fetch_or_explicit(&d->running, UINT64_C(1) << slot, memory_order_relaxed);
    lock_free(&d->lock);
    wake(d);
    return 0;
}

bool drill_end(struct drills *d, uint32_t slot)
{
    MUST(slot < CONFIG_BACKENDS_MAX);
    lock_take(&d->lock);
    bool ended = retire(d, slot);
    lock_free(&d->lock);
    if (ended) {
        wake(d);
    }
    return ended;
}

/* Whether there may be a drill of SLOT. */
static bool may_run(const struct drills *d, uint32_t slot)
{
    return d != NULL && (atomic_load_explicit(&d->running, memory_order_relaxed) >> slot & 1) != 0;
}

bool drill_diverts(struct drills *d, uint32_t slot, union net_address *address_)
{
    if (!may_run(d, slot)) {
        return false;
    }
    mono_ns now = clock_mono();
    lock_take(&d->lock);
    const struct stage *s = d->shared.stages[slot];
    bool diverts = s != NULL && now < s->until;
    if (diverts) {
        *address_ = s->address;
    }
    lock_free(&d->lock);
    return diverts;
}

bool drill_view(struct drills *d, uint32_t slot, struct drill_view *view_)
{
    if (!may_run(d, slot)) {
        return false;
    }
    mono_ns now = clock_mono();
    lock_take(&d->lock);
    const struct stage *s = d->shared.stages[slot];
    bool runs = s != NULL && now < s->until;
    if (runs) {
        *view_ = (struct drill_view){.mode = s->order.mode,
                                     .status = s->order.mode == DRILL_STATUS ? s->order.status : 0,
                                     .remaining_ms = (uint32_t)deadline_poll_ms(s->until, now)};
    }
    lock_free(&d->lock);
    return runs;
}

static void send_text(int fd, const char *text, size_t length)
{
    struct iovec iov = {.iov_base = (char *)text, .iov_len = length};
    int failure = net_send_all(fd, &iov, 1, MSG_DONTWAIT);
    (void)failure; /* a new socket takes so little at once; and if not, that is a fault too */
    shutdown(fd, SHUT_WR);
}

/* Plays the fault to V, whose request has begun to come. */
static void play(struct visitor *v, bool to_head)
{
    static const char half[] = "HTTP/1.1 200 OK\r\nContent-Length: 64\r\nConnection: close\r\n\r\n"
                               "this response is broken off by a ";
    enum { HALF_A_HEAD = 26 };
    char text[96];
    int length = 0;
    switch (v->mode) {
    case DRILL_REFUSE:
    case DRILL_BLACKHOLE:
    case DRILL_MODES:
        UNREACHABLE();
    case DRILL_RESET:
        net_reset_on_close(v->fd);
        v->deadline = 0;
        return;
    case DRILL_TRUNCATE:
        send_text(v->fd, half, to_head ? HALF_A_HEAD : sizeof half - 1);
        break;
    case DRILL_STATUS:
        length = snprintf(text, sizeof text,
                          "HTTP/1.1 %u Drill\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", v->status);
        send_text(v->fd, text, (size_t)length);
        break;
    }
    v->served = true;
    v->deadline = deadline_after_ms(clock_mono(), LINGER_MS);
}

/* Something came from V. */
static void attend(struct visitor *v)
{
    char bytes[4096];
    ssize_t got = net_recv(v->fd, bytes, sizeof bytes, MSG_DONTWAIT);
    if (got == 0 || (got == -1 && errno != EAGAIN)) {
        v->deadline = 0;
    } else if (got > 0 && !v->served) {
        play(v, got >= 5 && memcmp(bytes, "HEAD ", 5) == 0);
    }
}

static void admit(struct drills *d, const struct stage *s)
{
    while (d->visitor_count < VISITORS_MAX) {
        int fd = accept4(s->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd == -1) {
            if (errno != EAGAIN && errno != ECONNABORTED) {
                d->accept_after = deadline_after_ms(clock_mono(), REST_MS);
            }
            return;
        }
        d->visitors[d->visitor_count++] =
            (struct visitor){.fd = fd,
                             .mode = s->order.mode,
                             .status = s->order.status,
                             .deadline = deadline_after_ms(clock_mono(), REQUEST_WAIT_MS)};
    }
}

/* Closes the connections whose time is up. */
static void dismiss_visitors(struct drills *d, mono_ns now)
{
    uint32_t left = 0;
    for (uint32_t i = 0; i < d->visitor_count; i++) {
        if (d->visitors[i].deadline <= now) {
            close(d->visitors[i].fd);
        } else {
            d->visitors[left++] = d->visitors[i];
        }
    }
    d->visitor_count = left;
}

/* Takes down what is over. */
static void take_down(struct stage *down, bool quietly)
{
    while (down != NULL) {
        struct stage *s = down;
        down = s->next_down;
        if (!quietly) {
            plog_pairs(CONFIG_LOG_INFO, "drill is over",
                       (const struct plog_pair[]){{"backend", slice_of(s->order.name)},
                                                  {"mode", slice_of(drill_mode_name(s->order.mode))},
                                                  {.key = NULL}});
        }
        close_stage(s);
    }
}

/* What the thread looks at for one round. */
struct round {
    struct stage *open[CONFIG_BACKENDS_MAX]; /* that have visitors */
    uint32_t open_count;
    mono_ns until; /* the end of the next drill */
    bool ending;
    struct stage *down;
};

/* Ends the drills whose time is up, and lists the others. */
static void look(struct drills *d, struct round *round)
{
    mono_ns now = clock_mono();
    *round = (struct round){.until = DEADLINE_NO};
    lock_take(&d->lock);
    for (uint32_t i = 0; i < CONFIG_BACKENDS_MAX; i++) {
        struct stage *s = d->shared.stages[i];
        if (s != NULL && s->until <= now) {
            retire(d, i);
        } else if (s != NULL) {
            round->until = deadline_earlier(round->until, s->until);
            if (s->order.mode != DRILL_REFUSE && s->order.mode != DRILL_BLACKHOLE) {
                round->open[round->open_count++] = s;
            }
        }
    }
    round->ending = d->shared.ending;
    round->down = d->shared.down;
    d->shared.down = NULL;
    lock_free(&d->lock);
}

/* Waits until something happens, and does what is to be done. */
static void serve(struct drills *d, const struct round *round)
{
    struct pollfd waits[1 + CONFIG_BACKENDS_MAX + VISITORS_MAX] = {{.fd = d->wake_fd, .events = POLLIN}};
    nfds_t count = 1;
    uint32_t visitors = d->visitor_count;
    mono_ns until = round->until;
    for (uint32_t i = 0; i < visitors; i++) {
        waits[count++] = (struct pollfd){.fd = d->visitors[i].fd, .events = POLLIN};
        until = deadline_earlier(until, d->visitors[i].deadline);
    }
    bool rests = clock_mono() < d->accept_after;
    until = rests ? deadline_earlier(until, d->accept_after) : until;
    for (uint32_t i = 0; i < round->open_count && visitors < VISITORS_MAX && !rests; i++) {
        waits[count++] = (struct pollfd){.fd = round->open[i]->fd, .events = POLLIN};
    }
    poll(waits, count, deadline_poll_ms(until, clock_mono()));
    eventfd_t drop;
    if (waits[0].revents != 0 && eventfd_read(d->wake_fd, &drop) == -1) {
        MUST(errno == EAGAIN);
    }
    for (uint32_t i = 0; i < visitors; i++) {
        if (waits[1 + i].revents != 0) {
            attend(&d->visitors[i]);
        }
    }
    for (nfds_t i = 1 + visitors; i < count; i++) {
        if (waits[i].revents != 0) {
            admit(d, round->open[i - 1 - visitors]);
        }
    }
    dismiss_visitors(d, clock_mono());
}

static void *run(void *argument)
{
    struct drills *d = argument;
    MUST_0(pthread_setname_np(pthread_self(), "hf-drill"));
    for (;;) {
        struct round round;
        look(d, &round);
        take_down(round.down, round.ending);
        if (round.ending) {
            return NULL;
        }
        serve(d, &round);
    }
}

struct drills *drills_start(void)
{
    struct drills *d = calloc(1, sizeof *d);
    if (d == NULL) {
        return NULL;
    }
    lock_init(&d->lock);
    d->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = d->wake_fd == -1 ? errno : thread_start(&d->thread, STACK_BYTES, run, d);
    if (error != 0) {
        if (d->wake_fd != -1) {
            close(d->wake_fd);
        }
        lock_destroy(&d->lock);
        free(d);
        errno = error;
        return NULL;
    }
    return d;
}

void drills_stop(struct drills *d)
{
    if (d == NULL) {
        return;
    }
    lock_take(&d->lock);
    for (uint32_t i = 0; i < CONFIG_BACKENDS_MAX; i++) {
        retire(d, i);
    }
    d->shared.ending = true;
    lock_free(&d->lock);
    wake(d);
    MUST_0(pthread_join(d->thread, NULL));
    dismiss_visitors(d, DEADLINE_NO);
    close(d->wake_fd);
    lock_destroy(&d->lock);
    free(d);
}
