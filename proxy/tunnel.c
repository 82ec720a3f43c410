/* SPDX-License-Identifier: MIT
 * Each direction is a pipe: what one side sent is read into one scratch buffer of the thread and passed on at
 * once; only what the other side does not take is kept, and while something is kept nothing more is read. So
 * a tunnel at rest costs no buffer, and a slow reader slows its sender instead of filling memory.
 *
 * Descriptors are registered once, edge-triggered: a tunnel is pumped until neither side moves, or until its
 * turn is over; then it comes again before the thread sleeps. */
#include "proxy/tunnel.h"

#include "common/clock.h"
#include "common/lock.h"
#include "common/net.h"
#include "common/panic.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    SCRATCH_BYTES = 64 << 10,
    TURN_READS = 16, /* reads of one direction before others get their turn */
    TICK_MS = 1000,  /* how late an idle tunnel may be noticed */
    EVENTS_MAX = 64,
};

enum side { CLIENT, BACKEND };

/* From one side to the other. */
struct pipe {
    char *kept; /* what the other side did not take; NULL for nothing */
    size_t kept_bytes, kept_sent;
    bool ended; /* nothing more comes; the other side was told once nothing is kept */
};

struct tunnel {
    struct tunnel *next, *prev; /* in the thread's list; NEXT also in the inbox */
    struct tunnel *next_due;    /* in the list of those whose turn it is */
    int fds[2];                 /* by enum side */
    struct pipe pipes[2];       /* by the side that sends */
    mono_ns moved;              /* when bytes last went either way */
    bool due;                   /* in that list: an event came, or its last turn ended before it was dry */
};

struct tunnels {
    uint32_t max;
    _Atomic uint32_t idle_ms;
    int epoll_fd;
    int wake_fd;
    pthread_t thread;
    _Atomic bool stop;
    _Atomic uint32_t reserved; /* places taken, open tunnels included */
    _Atomic uint32_t open;
    struct {
        struct lock lock; /* must be held for what follows */
        struct tunnel *inbox;
    } shared;
    struct tunnel *list; /* this and the next: the thread's own */
    struct tunnel *due;
    char scratch[SCRATCH_BYTES];
};

static void tunnel_free(struct tunnels *t, struct tunnel *tunnel)
{
    close(tunnel->fds[CLIENT]);
    close(tunnel->fds[BACKEND]);
    free(tunnel->pipes[CLIENT].kept);
    free(tunnel->pipes[BACKEND].kept);
    free(tunnel);
    atomic_fetch_sub(&t->open, 1);
    atomic_fetch_sub(&t->reserved, 1);
}

static void make_due(struct tunnels *t, struct tunnel *tunnel)
{
    if (!tunnel->due) {
        tunnel->due = true;
        tunnel->next_due = t->due;
        t->due = tunnel;
    }
}

static void unlink_and_free(struct tunnels *t, struct tunnel *tunnel)
{
    if (tunnel->prev != NULL) {
        tunnel->prev->next = tunnel->next;
    } else {
        t->list = tunnel->next;
    }
    if (tunnel->next != NULL) {
        tunnel->next->prev = tunnel->prev;
    }
    tunnel_free(t, tunnel);
}

static bool keep(struct pipe *pipe, const char *bytes, size_t count)
{
    if (count == 0) {
        return true;
    }
    pipe->kept = malloc(count);
    if (pipe->kept == NULL) {
        return false;
    }
    memcpy(pipe->kept, bytes, count);
    pipe->kept_bytes = count;
    pipe->kept_sent = 0;
    return true;
}

/* Sends what FD takes without waiting. The count, or -1 when the connection is broken. */
static ssize_t send_some(int fd, const char *bytes, size_t count)
{
    ssize_t sent;
    do {
        sent = send(fd, bytes, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (sent == -1 && errno == EINTR);
    return sent == -1 && (errno == EAGAIN || errno == EWOULDBLOCK) ? 0 : sent;
}

/* Passes on what was kept. False when the tunnel is broken; *MOVED_ says whether bytes went. */
static bool flush_kept(struct pipe *pipe, int to, bool *moved_)
{
    if (pipe->kept == NULL) {
        return true;
    }
    ssize_t sent = send_some(to, pipe->kept + pipe->kept_sent, pipe->kept_bytes - pipe->kept_sent);
    if (sent == -1) {
        return false;
    }
    *moved_ = *moved_ || sent > 0;
    pipe->kept_sent += (size_t)sent;
    if (pipe->kept_sent == pipe->kept_bytes) {
        free(pipe->kept);
        pipe->kept = NULL;
        if (pipe->ended) {
            shutdown(to, SHUT_WR);
        }
    }
    return true;
}

/* Moves bytes from side FROM to the other one, for one turn. False when the tunnel is broken. */
static bool pump_one_way(struct tunnels *t, struct tunnel *tunnel, enum side from, bool *moved_)
{
    struct pipe *pipe = &tunnel->pipes[from];
    int to = tunnel->fds[from == CLIENT ? BACKEND : CLIENT];
    if (!flush_kept(pipe, to, moved_)) {
        return false;
    }
    for (int reads = 0; pipe->kept == NULL && !pipe->ended; reads++) {
        if (reads == TURN_READS) {
            make_due(t, tunnel);
            return true;
        }
        ssize_t got = net_recv(tunnel->fds[from], t->scratch, sizeof t->scratch, MSG_DONTWAIT);
        if (got == -1) {
            return errno == EAGAIN || errno == EWOULDBLOCK;
        }
        *moved_ = true;
        if (got == 0) {
            pipe->ended = true;
            shutdown(to, SHUT_WR);
            return true;
        }
        ssize_t sent = send_some(to, t->scratch, (size_t)got);
        if (sent == -1 || !keep(pipe, t->scratch + sent, (size_t)(got - sent))) {
            return false;
        }
    }
    return true;
}

/* False when the tunnel is over. */
static bool pump(struct tunnels *t, struct tunnel *tunnel, mono_ns now)
{
    bool moved = false;
    if (!pump_one_way(t, tunnel, CLIENT, &moved) || !pump_one_way(t, tunnel, BACKEND, &moved)) {
        return false;
    }
    if (moved) {
        tunnel->moved = now;
    }
    const struct pipe *up = &tunnel->pipes[CLIENT];
    const struct pipe *down = &tunnel->pipes[BACKEND];
    return !(up->ended && down->ended && up->kept == NULL && down->kept == NULL);
}

/* Registers what tunnels_begin() left in the inbox. */
static void take_inbox(struct tunnels *t)
{
    lock_take(&t->shared.lock);
    struct tunnel *inbox = t->shared.inbox;
    t->shared.inbox = NULL;
    lock_free(&t->shared.lock);
    while (inbox != NULL) {
        struct tunnel *tunnel = inbox;
        inbox = tunnel->next;
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = tunnel};
        if (epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, tunnel->fds[CLIENT], &event) == -1 ||
            epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, tunnel->fds[BACKEND], &event) == -1) {
            tunnel_free(t, tunnel);
            continue;
        }
        tunnel->next = t->list;
        if (t->list != NULL) {
            t->list->prev = tunnel;
        }
        t->list = tunnel;
        make_due(t, tunnel);
    }
}

/* Gives every due tunnel its turn, and ends those that are over. */
static void serve_due(struct tunnels *t, mono_ns now)
{
    struct tunnel *due = t->due;
    t->due = NULL;
    while (due != NULL) {
        struct tunnel *tunnel = due;
        due = tunnel->next_due;
        tunnel->due = false;
        if (!pump(t, tunnel, now)) {
            if (tunnel->due) {
                t->due = tunnel->next_due; /* one way put it there in this very turn, the other one failed */
            }
            unlink_and_free(t, tunnel);
        }
    }
}

/* Ends the tunnels on which nothing moved for the idle limit. */
static void end_idle(struct tunnels *t, mono_ns now)
{
    struct tunnel *next;
    uint32_t idle_ms = atomic_load_explicit(&t->idle_ms, memory_order_relaxed);
    for (struct tunnel *tunnel = t->list; tunnel != NULL; tunnel = next) {
        next = tunnel->next;
        if (!tunnel->due && now > deadline_after_ms(tunnel->moved, idle_ms)) {
            unlink_and_free(t, tunnel);
        }
    }
}

static void *tunnels_main(void *argument)
{
    struct tunnels *t = argument;
    pthread_setname_np(pthread_self(), "hf-tunnels");
    mono_ns looked = clock_mono();
    while (!atomic_load(&t->stop)) {
        struct epoll_event events[EVENTS_MAX];
        int timeout_ms = t->list == NULL ? -1 : TICK_MS;
        int count = epoll_wait(t->epoll_fd, events, EVENTS_MAX, t->due != NULL ? 0 : timeout_ms);
        MUST(count != -1 || errno == EINTR);
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr != NULL) {
                make_due(t, events[i].data.ptr);
                continue;
            }
            uint64_t wakes;
            ssize_t got = read(t->wake_fd, &wakes, sizeof wakes);
            (void)got;
            take_inbox(t);
        }
        mono_ns now = clock_mono();
        serve_due(t, now);
        if (now >= deadline_after_ms(looked, TICK_MS)) {
            end_idle(t, now);
            looked = now;
        }
    }
    return NULL;
}

void tunnels_set_idle(struct tunnels *t, uint32_t idle_ms)
{
    atomic_store_explicit(&t->idle_ms, idle_ms, memory_order_relaxed);
}

struct tunnels *tunnels_start(uint32_t max, uint32_t idle_ms)
{
    struct tunnels *t = calloc(1, sizeof *t);
    if (t == NULL) {
        return NULL;
    }
    t->max = max;
    tunnels_set_idle(t, idle_ms);
    lock_init(&t->shared.lock);
    t->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    t->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = NULL};
    int failure = 0;
    if (t->epoll_fd == -1 || t->wake_fd == -1 ||
        epoll_ctl(t->epoll_fd, EPOLL_CTL_ADD, t->wake_fd, &wake) == -1) {
        failure = errno;
    } else {
        failure = pthread_create(&t->thread, NULL, tunnels_main, t);
    }
    if (failure != 0) {
        if (t->epoll_fd != -1) {
            close(t->epoll_fd);
        }
        if (t->wake_fd != -1) {
            close(t->wake_fd);
        }
        free(t);
        errno = failure;
        return NULL;
    }
    return t;
}

static void wake_thread(struct tunnels *t)
{
    uint64_t one = 1;
    ssize_t written = write(t->wake_fd, &one, sizeof one);
    MUST(written == sizeof one);
}

void tunnels_stop(struct tunnels *t)
{
    if (t == NULL) {
        return;
    }
    atomic_store(&t->stop, true);
    wake_thread(t);
    MUST_0(pthread_join(t->thread, NULL));
    take_inbox(t);
    while (t->list != NULL) {
        struct tunnel *tunnel = t->list;
        t->list = tunnel->next;
        tunnel_free(t, tunnel);
    }
    close(t->epoll_fd);
    close(t->wake_fd);
    lock_destroy(&t->shared.lock);
    free(t);
}

bool tunnels_reserve(struct tunnels *t)
{
    if (atomic_fetch_add(&t->reserved, 1) < t->max) {
        return true;
    }
    atomic_fetch_sub(&t->reserved, 1);
    return false;
}

void tunnels_cancel(struct tunnels *t)
{
    atomic_fetch_sub(&t->reserved, 1);
}

void tunnels_begin(struct tunnels *t, int client_fd, int backend_fd, struct slice to_client,
                   struct slice to_backend)
{
    struct tunnel *tunnel = calloc(1, sizeof *tunnel);
    if (tunnel == NULL) {
        close(client_fd);
        close(backend_fd);
        tunnels_cancel(t);
        return;
    }
    tunnel->fds[CLIENT] = client_fd;
    tunnel->fds[BACKEND] = backend_fd;
    tunnel->moved = clock_mono();
    atomic_fetch_add(&t->open, 1);
    if (!keep(&tunnel->pipes[BACKEND], to_client.at, to_client.length) ||
        !keep(&tunnel->pipes[CLIENT], to_backend.at, to_backend.length)) {
        tunnel_free(t, tunnel);
        return;
    }
    lock_take(&t->shared.lock);
    tunnel->next = t->shared.inbox;
    t->shared.inbox = tunnel;
    lock_free(&t->shared.lock);
    wake_thread(t);
}

uint32_t tunnels_open(const struct tunnels *t)
{
    return atomic_load(&t->open);
}
