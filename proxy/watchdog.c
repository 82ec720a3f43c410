/* SPDX-License-Identifier: MIT
 * A tick over a few hundred cache lines costs microseconds; a timer for each blocking call would cost a
 * system call for each request. The serial in the word keeps the watchdog, which reads a deadline and then
 * swaps the word, from cutting the next arming instead of the one it looked at. */
#include "proxy/watchdog.h"

#include "common/condition.h"
#include "common/pages.h"
#include "common/panic.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>

/* Fresh pages of zeros are watches that are off. */
enum watch_state { WATCH_OFF, WATCH_ARMED, WATCH_HELD, WATCH_CUT };
#define STATE_MASK UINT64_C(3)

struct watchdog {
    uint32_t sleepers, count;
    _Atomic uint32_t used; /* watches below it have been asked for */
    struct watch *watches;
    pthread_t thread;
    pthread_mutex_t mutex; /* with WAKE: only for the timed wait of the thread */
    pthread_cond_t wake;
    bool ending; /* under MUTEX */
    _Atomic bool cutting_all;
    watch_judge *judge;
    watch_ask *ask;
    void *judge_owner; /* of both */
};

#define SUBJECT_JUDGED    (UINT64_C(1) << 63)
#define SUBJECT_MAY_LEAVE (UINT64_C(1) << 62)

/* Slot in the low half, backend above it, flags on top: one word, so that a look at it is never torn. */
static uint64_t pack(const struct watch_subject *s)
{
    return (s->judged ? SUBJECT_JUDGED : 0) | (s->may_leave ? SUBJECT_MAY_LEAVE : 0) |
           ((uint64_t)(s->backend & 0xffff) << 32) | s->client_slot;
}

static struct watch_subject unpack(uint64_t word)
{
    return (struct watch_subject){.judged = (word & SUBJECT_JUDGED) != 0,
                                  .may_leave = (word & SUBJECT_MAY_LEAVE) != 0,
                                  .backend = (uint32_t)(word >> 32) & 0xffff,
                                  .client_slot = (uint32_t)word};
}

static struct watch_subject subject_of(const struct watch *w)
{
    struct watch_subject subject = unpack(atomic_load_explicit(&w->subject, memory_order_relaxed));
    subject.since = atomic_load_explicit(&w->since, memory_order_relaxed);
    subject.client_fd = atomic_load_explicit(&w->client_fd, memory_order_relaxed);
    subject.tried = atomic_load_explicit(&w->tried, memory_order_relaxed);
    return subject;
}

/* Why the wait of W, for SUBJECT, must end now, if it must; else whether to ask. */
static enum watch_cut reason_to_cut(const struct watchdog *dog, const struct watch *w,
                                    const struct watch_subject *subject, mono_ns now, bool *ask_)
{
    if (atomic_load_explicit(&w->deadline, memory_order_relaxed) <= now) {
        return WATCH_CUT_DEADLINE;
    }
    if (atomic_load(&dog->cutting_all)) {
        return WATCH_CUT_STOP;
    }
    return subject->judged && dog->judge != NULL ? dog->judge(dog->judge_owner, subject, ask_)
                                                 : WATCH_NOT_CUT;
}

static void cut(struct watch *w, int fd, enum watch_cut reason)
{
    atomic_store_explicit(&w->cut, (int)reason, memory_order_relaxed);
    if (fd == -1) {
        watch_wake(w);
    } else {
        shutdown(fd, SHUT_RDWR); /* fails only on a connection that is gone, which wakes the worker too */
    }
}

static void look_at(const struct watchdog *dog, struct watch *w, mono_ns now)
{
    uint64_t word = atomic_load_explicit(&w->word, memory_order_acquire);
    if ((word & STATE_MASK) != WATCH_ARMED) {
        return;
    }
    int fd = atomic_load_explicit(&w->fd, memory_order_relaxed);
    const struct watch_subject subject = subject_of(w);
    bool ask = false;
    enum watch_cut reason = reason_to_cut(dog, w, &subject, now, &ask);
    uint64_t base = word & ~STATE_MASK;
    if ((reason == WATCH_NOT_CUT && !ask) ||
        !atomic_compare_exchange_strong(&w->word, &word, base | WATCH_HELD)) {
        return;
    }
    if (reason == WATCH_NOT_CUT) {
        dog->ask(dog->judge_owner, &subject);
    } else {
        cut(w, fd, reason);
    }
    atomic_store_explicit(&w->word, base | (reason == WATCH_NOT_CUT ? WATCH_ARMED : WATCH_CUT),
                          memory_order_release);
}

static void *watchdog_main(void *argument)
{
    struct watchdog *w = argument;
    pthread_setname_np(pthread_self(), "hf-watchdog");
    MUST_0(pthread_mutex_lock(&w->mutex));
    while (!w->ending) {
        condition_wait(&w->wake, &w->mutex, deadline_after_ms(clock_mono(), WATCHDOG_TICK_MS));
        MUST_0(pthread_mutex_unlock(&w->mutex));
        mono_ns now = clock_mono();
        uint32_t used = atomic_load(&w->used);
        for (uint32_t i = 0; i < used; i++) {
            look_at(w, &w->watches[i], now);
        }
        MUST_0(pthread_mutex_lock(&w->mutex));
    }
    MUST_0(pthread_mutex_unlock(&w->mutex));
    return NULL;
}

struct watchdog *watchdog_start(uint32_t sleepers, uint32_t count)
{
    struct watchdog *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return NULL;
    }
    w->count = count;
    w->watches = pages_new(count * sizeof *w->watches);
    if (w->watches == NULL) {
        free(w);
        return NULL;
    }
    w->sleepers = sleepers;
    for (uint32_t i = 0; i < sleepers; i++) {
        MUST(sem_init(&w->watches[i].alarm, 0, 0) == 0);
    }
    condition_init(&w->wake);
    MUST_0(pthread_mutex_init(&w->mutex, NULL));
    int failure = pthread_create(&w->thread, NULL, watchdog_main, w);
    if (failure != 0) {
        pages_free(w->watches, w->count * sizeof *w->watches);
        free(w);
        errno = failure;
        return NULL;
    }
    return w;
}

void watchdog_stop(struct watchdog *w)
{
    if (w == NULL) {
        return;
    }
    MUST_0(pthread_mutex_lock(&w->mutex));
    w->ending = true;
    MUST_0(pthread_cond_signal(&w->wake));
    MUST_0(pthread_mutex_unlock(&w->mutex));
    MUST_0(pthread_join(w->thread, NULL));
    MUST_0(pthread_cond_destroy(&w->wake));
    MUST_0(pthread_mutex_destroy(&w->mutex));
    for (uint32_t i = 0; i < w->sleepers; i++) {
        sem_destroy(&w->watches[i].alarm);
    }
    pages_free(w->watches, w->count * sizeof *w->watches);
    free(w);
}

struct watch *watchdog_watch(struct watchdog *w, uint32_t index)
{
    MUST(index < w->count);
    uint32_t used = atomic_load_explicit(&w->used, memory_order_relaxed);
    while (used <= index && !atomic_compare_exchange_weak(&w->used, &used, index + 1)) {
    }
    return &w->watches[index];
}

void watchdog_set_judge(struct watchdog *w, watch_judge *judge, watch_ask *ask, void *owner)
{
    MUST_0(pthread_mutex_lock(&w->mutex)); /* which publishes all three to the thread */
    w->judge = judge;
    w->ask = ask;
    w->judge_owner = owner;
    MUST_0(pthread_mutex_unlock(&w->mutex));
}

void watch_arm(struct watch *w, int fd, mono_ns deadline)
{
    static const struct watch_subject nobody = {.judged = false};
    watch_arm_for(w, fd, deadline, &nobody);
}

void watch_arm_for(struct watch *w, int fd, mono_ns deadline, const struct watch_subject *subject)
{
    uint64_t word = atomic_load_explicit(&w->word, memory_order_relaxed);
    MUST((word & STATE_MASK) == WATCH_OFF);
    while (fd == -1 && sem_trywait(&w->alarm) == 0) {
        /* an alarm for an earlier sleep */
    }
    atomic_store_explicit(&w->fd, fd, memory_order_relaxed);
    atomic_store_explicit(&w->deadline, deadline, memory_order_relaxed);
    atomic_store_explicit(&w->subject, pack(subject), memory_order_relaxed);
    atomic_store_explicit(&w->since, subject->since, memory_order_relaxed);
    atomic_store_explicit(&w->client_fd, subject->client_fd, memory_order_relaxed);
    atomic_store_explicit(&w->tried, subject->tried, memory_order_relaxed);
    atomic_store_explicit(&w->word, (word & ~STATE_MASK) + 4 + WATCH_ARMED, memory_order_release);
}

bool watch_sleep(struct watch *w)
{
    while (sem_wait(&w->alarm) == -1) {
        MUST(errno == EINTR);
    }
    return (atomic_load_explicit(&w->word, memory_order_acquire) & STATE_MASK) == WATCH_ARMED;
}

void watch_wake(struct watch *w)
{
    MUST(sem_post(&w->alarm) == 0);
}

enum watch_cut watch_disarm(struct watch *w)
{
    uint64_t word = atomic_load_explicit(&w->word, memory_order_acquire);
    uint64_t off = word & ~STATE_MASK;
    while ((word & STATE_MASK) != WATCH_CUT) {
        if ((word & STATE_MASK) == WATCH_HELD) {
            sched_yield(); /* the watchdog is inside one shutdown(2) or send(2) */
            word = atomic_load_explicit(&w->word, memory_order_acquire);
        } else if (atomic_compare_exchange_strong_explicit(&w->word, &word, off | WATCH_OFF,
                                                           memory_order_acq_rel, memory_order_acquire)) {
            return WATCH_NOT_CUT;
        }
    }
    enum watch_cut cut = (enum watch_cut)atomic_load_explicit(&w->cut, memory_order_relaxed);
    atomic_store_explicit(&w->word, off | WATCH_OFF, memory_order_relaxed);
    return cut;
}

void watchdog_cut_all(struct watchdog *w)
{
    atomic_store(&w->cutting_all, true);
}

void watch_set_waiter(struct watch *w, void (*before_wait)(void *owner), void *owner)
{
    w->before_wait = before_wait;
    w->owner = owner;
}

void watch_note_wait(const struct watch *w)
{
    if (w->before_wait != NULL) {
        w->before_wait(w->owner);
    }
}
