/* SPDX-License-Identifier: MIT */
#include "common/thread.h"

#include "common/panic.h"

#include <signal.h>

int thread_start(pthread_t *thread_, size_t stack_bytes, void *(*main)(void *argument), void *argument)
{
    sigset_t every, before;
    pthread_attr_t attributes;
    sigfillset(&every);
    MUST_0(pthread_attr_init(&attributes));
    if (stack_bytes > 0) {
        MUST_0(pthread_attr_setstacksize(&attributes, stack_bytes));
    }
    MUST_0(pthread_sigmask(SIG_SETMASK, &every, &before));
    int failure = pthread_create(thread_, &attributes, main, argument);
    MUST_0(pthread_sigmask(SIG_SETMASK, &before, NULL));
    MUST_0(pthread_attr_destroy(&attributes));
    return failure;
}
