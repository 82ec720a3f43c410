/* SPDX-License-Identifier: MIT
 * A wait for something under a mutex, until a deadline of clock.h. The usual condition goes by a clock that
 * somebody may set. */
#ifndef HOLDFAST_COMMON_CONDITION_H
#define HOLDFAST_COMMON_CONDITION_H

#include "common/clock.h"
#include "common/panic.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>

/* Makes C ready for condition_wait(). To be destroyed by pthread_cond_destroy(3). */
static inline void condition_init(pthread_cond_t *c)
{
    pthread_condattr_t attributes;
    MUST_0(pthread_condattr_init(&attributes));
    MUST_0(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC));
    MUST_0(pthread_cond_init(c, &attributes));
    MUST_0(pthread_condattr_destroy(&attributes));
}

/* Waits for a signal to C with MUTEX, which the caller holds before and after. False when DEADLINE has passed
 * instead. May return without either: look again at what is waited for. */
static inline bool condition_wait(pthread_cond_t *c, pthread_mutex_t *mutex, mono_ns deadline)
{
    struct timespec until = {.tv_sec = deadline / NS_PER_S, .tv_nsec = deadline % NS_PER_S};
    int failure = pthread_cond_timedwait(c, mutex, &until);
    MUST(failure == 0 || failure == ETIMEDOUT);
    return failure == 0;
}

#endif
