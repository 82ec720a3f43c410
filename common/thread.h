/* SPDX-License-Identifier: MIT
 * Threads that are not to be disturbed by signals. */
#ifndef HOLDFAST_COMMON_THREAD_H
#define HOLDFAST_COMMON_THREAD_H

#include "common/compiler.h"

#include <pthread.h>
#include <stddef.h>

/* Starts a thread with a stack of STACK_BYTES (at least PTHREAD_STACK_MIN; 0: as much as is usual) and every
 * signal blocked, which runs MAIN(ARGUMENT). 0 with *THREAD_ to be joined or detached, or the errno value of
 * pthread_create(3). The caller's own signal mask stays as it was. Any thread. */
must_check int thread_start(pthread_t *thread_, size_t stack_bytes, void *(*main)(void *argument),
                            void *argument);

#endif
