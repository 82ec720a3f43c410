/* SPDX-License-Identifier: MIT
 * Deadlines for waits, without a timer for each. Who is about to wait for a socket, blocked on it or by the
 * epoll set, arms a watch with the descriptor and a deadline; one watchdog thread looks at all watches every
 * few milliseconds and calls shutdown(2) on a socket whose time is up. The wait ends, and its worker learns
 * why when it disarms.
 *
 * States of a watch: OFF -> ARMED, by its worker; ARMED -> OFF, by its worker; ARMED -> HELD -> CUT, or back
 * to ARMED, by the watchdog; CUT -> OFF, by its worker. While it is HELD its worker can't disarm it, but
 * waits: so no descriptor is closed (and its number reused) under the watchdog's hand.
 *
 * A worker may also wait for another thread instead of a socket: it arms without a descriptor and sleeps. */
#ifndef HOLDFAST_PROXY_WATCHDOG_H
#define HOLDFAST_PROXY_WATCHDOG_H

#include "common/clock.h"
#include "common/compiler.h"

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum watch_cut {
    WATCH_NOT_CUT,
    WATCH_CUT_DEADLINE, /* its time was up */
    WATCH_CUT_STOP,     /* the program ends: watchdog_cut_all() */
    WATCH_CUT_CLIENT,   /* the client it works for has gone */
    WATCH_CUT_BACKEND,  /* the backend it waits for was taken out of rotation */
};

/* For whom a worker waits, so that the judge can say that the wait has become pointless. */
struct watch_subject {
    bool judged;          /* false: only the deadline counts */
    uint32_t client_slot; /* parking.h */
    int client_fd;        /* its socket */
    uint32_t backend;
    bool may_leave; /* another backend may be asked instead */
    uint64_t tried; /* set of backends that were asked already, this one too */
    mono_ns since;  /* when the wait began */
};

struct watch {
    cache_aligned _Atomic uint64_t word; /* arming serial << 2 | state */
    _Atomic int fd;
    _Atomic mono_ns deadline;
    _Atomic int cut;          /* enum watch_cut, valid in state CUT */
    _Atomic uint64_t subject; /* struct watch_subject, packed, but for the next three */
    _Atomic mono_ns since;
    _Atomic int client_fd;
    _Atomic uint64_t tried;
    sem_t alarm; /* ends a sleep */
    void (*before_wait)(void *owner);
    void *owner;
};

struct watchdog; /* opaque; lives from start to exit */

/* Starts the thread over COUNT watches, all off (their memory is touched only as they are used); the first
 * SLEEPERS of them can be slept on. NULL with errno set. */
struct watchdog *watchdog_start(uint32_t sleepers, uint32_t count);

/* Ends a wait before its deadline by any answer but WATCH_NOT_CUT. Where the wait goes on, *ASK_ (false
 * before) says that the subject's client is to be asked something. On the watchdog's thread; the wait may be
 * over meanwhile, and then nothing comes of the answer. */
typedef enum watch_cut watch_judge(void *owner, const struct watch_subject *subject, bool *ask_);

/* Asks the client of SUBJECT, on the watchdog's thread, with the watch HELD: whatever the subject names is
 * there. It must not wait. */
typedef void watch_ask(void *owner, const struct watch_subject *subject);

/* From now on JUDGE is called for each armed watch with a judged subject, and ASK where JUDGE says so. Call
 * it once, before any watch is armed. */
void watchdog_set_judge(struct watchdog *w, watch_judge *judge, watch_ask *ask, void *owner);

/* Ends the thread and frees W; no watch may be armed. NULL is fine. */
void watchdog_stop(struct watchdog *w);

/* Watch INDEX: one for each worker, and one for each descriptor that the epoll set waits for. Any thread. */
struct watch *watchdog_watch(struct watchdog *w, uint32_t index);

/* From now on BEFORE_WAIT is called when the worker of W says that it is about to wait. By its worker, or
 * before that starts. */
void watch_set_waiter(struct watch *w, void (*before_wait)(void *owner), void *owner);

/* The worker of W is about to wait, for longer than a system call takes. */
void watch_note_wait(const struct watch *w);

/* From now on FD, a socket, is shut down when DEADLINE has passed (within WATCHDOG_TICK_MS). W must be off.
 * With FD -1 it guards watch_sleep(). */
void watch_arm(struct watch *w, int fd, mono_ns deadline);

/* The same, for a wait that has a subject. */
void watch_arm_for(struct watch *w, int fd, mono_ns deadline, const struct watch_subject *subject);

/* Sleeps until watch_wake() (true: what is waited for may have come; it may be a false alarm), or until W,
 * which is armed without a descriptor, has been cut (false). */
must_check bool watch_sleep(struct watch *w);

/* Wakes the worker of W from its sleep, or from the next one while W stays armed. Any thread. */
void watch_wake(struct watch *w);

/* Ends the arming, and says whether the watchdog had to cut. */
enum watch_cut watch_disarm(struct watch *w);

/* Cuts every armed watch, now and from now on, with WATCH_CUT_STOP. Any thread. */
void watchdog_cut_all(struct watchdog *w);

enum { WATCHDOG_TICK_MS = 20 };

#endif
