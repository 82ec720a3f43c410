/* SPDX-License-Identifier: MIT
 * The project's mutex. House rules: every lock is a leaf (a thread never holds two), and nothing blocks under
 * one: no I/O, no logging, no allocation. */
#ifndef HOLDFAST_COMMON_LOCK_H
#define HOLDFAST_COMMON_LOCK_H

#include "common/compiler.h"
#include "common/panic.h"

#include <pthread.h>

struct lock_type lock {
    pthread_mutex_t mutex;
};

/* A lock that is free: static initialiser. */
#define LOCK_INIT                                                                                            \
    {                                                                                                        \
        .mutex = PTHREAD_MUTEX_INITIALIZER                                                                   \
    }

/* Makes L a free lock. */
static inline void lock_init(struct lock *l)
{
    MUST_0(pthread_mutex_init(&l->mutex, NULL));
}

/* Destroys L, which must be free. */
static inline void lock_destroy(struct lock *l)
{
    MUST_0(pthread_mutex_destroy(&l->mutex));
}

/* Takes L; the calling thread must hold no lock. */
static inline void lock_take(struct lock *l) acquires_lock(l) no_lock_analysis;
static inline void lock_take(struct lock *l)
{
    MUST_0(pthread_mutex_lock(&l->mutex));
}

/* Frees L, which the calling thread holds. */
static inline void lock_free(struct lock *l) releases_lock(l) no_lock_analysis;
static inline void lock_free(struct lock *l)
{
    MUST_0(pthread_mutex_unlock(&l->mutex));
}

#endif
