/* SPDX-License-Identifier: MIT
 * The thread polls all of its connects: there are few, and none of them lives long. */
#include "proxy/stragglers.h"

#include "common/descriptors.h"
#include "common/lock.h"
#include "common/panic.h"
#include "common/thread.h"
#include "proxy/proxy.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { STACK_BYTES = 128 << 10 };

struct stragglers {
    _Atomic uint32_t places;                       /* taken */
    _Atomic uint32_t running[CONFIG_BACKENDS_MAX]; /* handed over and not ended, by slot */
    int wake_fd;                                   /* eventfd: look at what is shared */
    pthread_t thread;
    struct {
        struct lock lock; /* must be held for what follows */
        struct straggler *added;
        bool ending;
    } shared;
    struct straggler *list; /* this and what follows: the thread's own */
    struct pollfd polls[1 + STRAGGLERS_MAX];
};

/* What one connect came to, or CANCELLED when it is pending still. */
static void finish(struct stragglers *s, struct straggler *one)
{
    struct dial *d = &one->dial;
    enum attempt_end end = ATTEMPT_CANCELLED;
    if (d->state == DIAL_PENDING) {
        dial_abandon(d);
    } else if (d->state == DIAL_OPEN) {
        parking_fresh(one->late.proxy->parking, d->fd);
        upstream_give_back(d->upstream, d->fd, d->tag, clock_mono());
    } else if (!dial_is_starvation(d->error)) {
        end = ATTEMPT_CONNECT;
    }
    uint32_t slot = one->late.entry.ticket.backend;
    trial_end_late(&one->late, end, d->error);
    atomic_fetch_sub(&s->running[slot], 1); /* from now on the slot may be another backend's */
    stragglers_release(s, one);
}

/* Goes on with those for which a poll said so, or whose time has come. REVENTS of the Ith in the list stands
 * at I + 1; those that were added since the poll are behind COUNT. */
static void step(struct stragglers *s, uint32_t count)
{
    mono_ns now = clock_mono();
    struct straggler **link = &s->list;
    for (uint32_t i = 0; *link != NULL && i < count; i++) {
        struct straggler *one = *link;
        if (s->polls[1 + i].revents != 0 || one->dial.until <= now) {
            dial_step(&one->dial);
        }
        if (one->dial.state == DIAL_PENDING) {
            link = &one->next;
        } else {
            *link = one->next;
            finish(s, one);
        }
    }
}

/* Fills the poll set. How many there are; *UNTIL_ is when the first of them must be stepped. */
static uint32_t prepare(struct stragglers *s, mono_ns *until_)
{
    uint32_t count = 0;
    *until_ = DEADLINE_NO;
    s->polls[0] = (struct pollfd){.fd = s->wake_fd, .events = POLLIN};
    for (const struct straggler *one = s->list; one != NULL; one = one->next) {
        MUST(count < STRAGGLERS_MAX);
        s->polls[1 + count++] = (struct pollfd){.fd = one->dial.fd, .events = POLLOUT};
        *until_ = deadline_earlier(*until_, one->dial.until);
    }
    return count;
}

/* Takes what was added over. False at the end. */
static bool take_added(struct stragglers *s)
{
    eventfd_t woken;
    (void)eventfd_read(s->wake_fd, &woken);
    lock_take(&s->shared.lock);
    struct straggler *added = s->shared.added;
    s->shared.added = NULL;
    bool ending = s->shared.ending;
    lock_free(&s->shared.lock);
    while (added != NULL) {
        struct straggler *next = added->next;
        added->next = s->list;
        s->list = added;
        added = next;
    }
    return !ending;
}

static void *stragglers_main(void *argument)
{
    struct stragglers *s = argument;
    pthread_setname_np(pthread_self(), "hf-stragglers");
    do {
        mono_ns until;
        uint32_t count = prepare(s, &until);
        int ready = poll(s->polls, 1 + count, deadline_poll_ms(until, clock_mono()));
        MUST(ready != -1 || errno == EINTR);
        if (ready != -1) {
            step(s, count);
        }
    } while (take_added(s));
    while (s->list != NULL) {
        struct straggler *one = s->list;
        s->list = one->next;
        finish(s, one);
    }
    return NULL;
}

struct stragglers *stragglers_start(void)
{
    struct stragglers *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    lock_init(&s->shared.lock);
    s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int failure = s->wake_fd == -1 ? errno : thread_start(&s->thread, STACK_BYTES, stragglers_main, s);
    if (failure != 0) {
        if (s->wake_fd != -1) {
            close(s->wake_fd);
        }
        lock_destroy(&s->shared.lock);
        free(s);
        errno = failure;
        return NULL;
    }
    return s;
}

static void wake(const struct stragglers *s)
{
    MUST_0(eventfd_write(s->wake_fd, 1));
}

void stragglers_stop(struct stragglers *s)
{
    if (s == NULL) {
        return;
    }
    lock_take(&s->shared.lock);
    s->shared.ending = true;
    lock_free(&s->shared.lock);
    wake(s);
    MUST_0(pthread_join(s->thread, NULL));
    MUST(atomic_load(&s->places) == 0);
    close(s->wake_fd);
    lock_destroy(&s->shared.lock);
    free(s);
}

struct straggler *stragglers_reserve(struct stragglers *s)
{
    struct straggler *place = NULL;
    if (atomic_fetch_add(&s->places, 1) < STRAGGLERS_MAX && !descriptors_are_short()) {
        place = malloc(sizeof *place);
    }
    if (place == NULL) {
        atomic_fetch_sub(&s->places, 1);
    }
    return place;
}

void stragglers_release(struct stragglers *s, struct straggler *place)
{
    if (place != NULL) {
        free(place);
        atomic_fetch_sub(&s->places, 1);
    }
}

void stragglers_add(struct stragglers *s, struct straggler *place)
{
    MUST(place->dial.state == DIAL_PENDING);
    atomic_fetch_add(&s->running[place->late.entry.ticket.backend], 1);
    lock_take(&s->shared.lock);
    place->next = s->shared.added;
    s->shared.added = place;
    lock_free(&s->shared.lock);
    wake(s);
}

uint64_t stragglers_slots(const struct stragglers *s)
{
    uint64_t slots = 0;
    for (uint32_t i = 0; i < CONFIG_BACKENDS_MAX; i++) {
        slots |= (uint64_t)(atomic_load(&s->running[i]) > 0) << i;
    }
    return slots;
}
