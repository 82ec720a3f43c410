/* SPDX-License-Identifier: MIT
 * getaddrinfo(3) may hold its thread for half a minute, and nothing ends it. So a stop does not wait for it:
 * whoever comes last, the stop or the thread, frees the resolver. */
#include "proxy/resolver.h"

#include "common/condition.h"
#include "common/log.h"
#include "common/panic.h"
#include "common/thread.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { STACK_BYTES = 512 << 10, UNKNOWN_MS = 1000 };

struct resolver {
    struct config_backend backend;
    resolver_lookup *lookup;
    struct upstream *upstream;     /* moved under the mutex, and only while not stopped */
    _Atomic(const char *) trouble; /* static text */
    pthread_t thread;
    pthread_mutex_t mutex; /* for what follows */
    pthread_cond_t changed;
    uint32_t resolve_ms;
    bool answered; /* once, at least */
    bool asking;   /* the thread is in a look-up */
    bool stopped;
    struct net_addresses last; /* of the thread: the last good ones */
    struct net_addresses found;
};

static void set_free(struct resolver *r)
{
    MUST_0(pthread_cond_destroy(&r->changed));
    MUST_0(pthread_mutex_destroy(&r->mutex));
    free(r);
}

static void log_trouble(const struct resolver *r, const char *why)
{
    const char *message = r->last.count > 0 ? "name does not resolve any more: its last addresses are kept"
                                            : "name does not resolve: its backend has no address yet";
    const struct plog_pair pairs[] = {
        {"backend", slice_of(r->backend.name)},
        {"host", slice_of(r->backend.address.host)},
        {"reason", slice_of(why)},
        {NULL, {NULL, 0}},
    };
    plog_pairs(CONFIG_LOG_WARN, message, pairs);
}

static void log_addresses(const struct resolver *r, const char *message)
{
    char text[16];
    int n = snprintf(text, sizeof text, "%u", r->last.count);
    const struct plog_pair pairs[] = {
        {"backend", slice_of(r->backend.name)},
        {"host", slice_of(r->backend.address.host)},
        {"addresses", {text, (size_t)n}},
        {NULL, {NULL, 0}},
    };
    plog_pairs(CONFIG_LOG_INFO, message, pairs);
}

/* Moves the upstream, unless it is too late for that. */
static void move(struct resolver *r)
{
    MUST_0(pthread_mutex_lock(&r->mutex));
    if (!r->stopped) {
        upstream_move(r->upstream, &r->found);
    }
    MUST_0(pthread_mutex_unlock(&r->mutex));
}

/* What follows from the look-up that found R->found, or failed because of WHY. Says only what is new. */
static void conclude(struct resolver *r, const char *why)
{
    bool had_trouble = atomic_load_explicit(&r->trouble, memory_order_relaxed) != NULL;
    if (why != NULL) {
        if (!had_trouble) {
            log_trouble(r, why);
        }
    } else if (!net_same(&r->found, &r->last)) {
        move(r);
        r->last = r->found;
        log_addresses(r, "name resolved: addresses changed");
    } else if (had_trouble) {
        log_addresses(r, "name resolves again: addresses unchanged");
    }
    atomic_store_explicit(&r->trouble, why, memory_order_relaxed);
}

/* When to ask again, after an answer at ANSWERED; under the mutex. */
static mono_ns due_after(const struct resolver *r, mono_ns answered)
{
    bool soon = r->last.count == 0 && r->resolve_ms > UNKNOWN_MS;
    return deadline_after_ms(answered, soon ? UNKNOWN_MS : r->resolve_ms);
}

/* Waits until it is time to ask again. False when R is stopped; whoever stopped it during a look-up has left
 * it behind, and it is freed here. */
static bool rest(struct resolver *r)
{
    mono_ns answered = clock_mono();
    MUST_0(pthread_mutex_lock(&r->mutex));
    if (r->stopped) { /* by one who did not wait */
        MUST_0(pthread_mutex_unlock(&r->mutex));
        set_free(r);
        return false;
    }
    r->answered = true;
    r->asking = false;
    pthread_cond_broadcast(&r->changed);
    mono_ns due = due_after(r, answered);
    while (!r->stopped && clock_mono() < due) {
        condition_wait(&r->changed, &r->mutex, due);
        due = due_after(r, answered); /* it may be another one now */
    }
    bool goes_on = !r->stopped;
    r->asking = goes_on;
    MUST_0(pthread_mutex_unlock(&r->mutex));
    return goes_on;
}

static bool is_stopped(struct resolver *r)
{
    MUST_0(pthread_mutex_lock(&r->mutex));
    bool stopped = r->stopped;
    MUST_0(pthread_mutex_unlock(&r->mutex));
    return stopped;
}

static void *resolver_main(void *argument)
{
    struct resolver *r = argument;
    pthread_setname_np(pthread_self(), "hf-resolver");
    do {
        const char *why = r->lookup(&r->backend.address, &r->found);
        if (!is_stopped(r)) {
            conclude(r, why);
        }
    } while (rest(r));
    return NULL;
}

struct resolver *resolver_start(const struct config_backend *backend, struct upstream *u, uint32_t resolve_ms,
                                resolver_lookup *lookup)
{
    struct resolver *r = calloc(1, sizeof *r);
    if (r == NULL) {
        return NULL;
    }
    r->backend = *backend;
    r->upstream = u;
    r->resolve_ms = resolve_ms;
    r->lookup = lookup;
    r->asking = true;
    condition_init(&r->changed);
    MUST_0(pthread_mutex_init(&r->mutex, NULL));
    int error = thread_start(&r->thread, STACK_BYTES, resolver_main, r);
    if (error != 0) {
        set_free(r);
        errno = error;
        return NULL;
    }
    return r;
}

bool resolver_wait(struct resolver *r, mono_ns deadline)
{
    bool in_time = true;
    MUST_0(pthread_mutex_lock(&r->mutex));
    while (!r->answered && in_time) {
        in_time = condition_wait(&r->changed, &r->mutex, deadline);
    }
    bool answered = r->answered;
    MUST_0(pthread_mutex_unlock(&r->mutex));
    return answered;
}

void resolver_set_interval(struct resolver *r, uint32_t resolve_ms)
{
    MUST_0(pthread_mutex_lock(&r->mutex));
    r->resolve_ms = resolve_ms;
    pthread_cond_broadcast(&r->changed);
    MUST_0(pthread_mutex_unlock(&r->mutex));
}

const char *resolver_trouble(const struct resolver *r)
{
    return atomic_load_explicit(&r->trouble, memory_order_relaxed);
}

void resolver_stop(struct resolver *r)
{
    if (r == NULL) {
        return;
    }
    MUST_0(pthread_mutex_lock(&r->mutex));
    pthread_t thread = r->thread;
    bool asking = r->asking;
    r->stopped = true;
    pthread_cond_broadcast(&r->changed);
    MUST_0(pthread_mutex_unlock(&r->mutex)); /* from here on, if it is asking, R may be gone */
    if (asking) {
        MUST_0(pthread_detach(thread));
    } else {
        MUST_0(pthread_join(thread, NULL));
        set_free(r);
    }
}
