/* SPDX-License-Identifier: MIT */
#include "proxy/pool.h"

#include "common/panic.h"
#include "proxy/session.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

enum { STACK_BYTES = 512 << 10 };

struct worker {
    cache_aligned pthread_t thread;
    struct proxy *proxy;
    struct session_worker session;
    _Atomic bool busy;
    uint32_t index;
};

struct pool {
    uint32_t count; /* running threads */
    uint32_t made;  /* workers whose memory is made */
    struct worker *workers;
};

static void *worker_main(void *argument)
{
    struct worker *w = argument;
    char name[16];
    snprintf(name, sizeof name, "hf-worker-%u", w->index % 100000);
    pthread_setname_np(pthread_self(), name);
    while (!parking_stopped(w->proxy->parking)) {
        struct client *client = parking_take(w->proxy->parking);
        if (client != NULL) {
            atomic_store_explicit(&w->busy, true, memory_order_relaxed);
            session_serve(&w->session, client);
            atomic_store_explicit(&w->busy, false, memory_order_relaxed);
        }
    }
    return NULL;
}

static bool worker_init(struct worker *w, struct proxy *proxy, uint32_t index)
{
    *w = (struct worker){.proxy = proxy, .index = index};
    return exchange_init(&w->session.exchange, proxy, watchdog_watch(proxy->watchdog, index), index);
}

struct pool *pool_start(struct proxy *proxy)
{
    uint32_t wanted = proxy->config->workers;
    struct pool *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    p->workers = aligned_alloc(CACHE_LINE_BYTES, wanted * sizeof *p->workers);
    if (p->workers == NULL) {
        free(p);
        return NULL;
    }
    pthread_attr_t attributes;
    MUST_0(pthread_attr_init(&attributes));
    MUST_0(pthread_attr_setstacksize(&attributes, STACK_BYTES));
    int failure = 0;
    for (uint32_t i = 0; i < wanted && failure == 0; i++) {
        if (!worker_init(&p->workers[i], proxy, i)) {
            failure = ENOMEM;
            break;
        }
        p->made++;
        failure = pthread_create(&p->workers[i].thread, &attributes, worker_main, &p->workers[i]);
        p->count += failure == 0;
    }
    MUST_0(pthread_attr_destroy(&attributes));
    if (failure != 0) {
        parking_stop(proxy->parking);
        pool_join(p);
        errno = failure;
        return NULL;
    }
    return p;
}

uint32_t pool_busy(const struct pool *p)
{
    uint32_t busy = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        busy += atomic_load_explicit(&p->workers[i].busy, memory_order_relaxed);
    }
    return busy;
}

void pool_join(struct pool *p)
{
    if (p == NULL) {
        return;
    }
    for (uint32_t i = 0; i < p->count; i++) {
        MUST_0(pthread_join(p->workers[i].thread, NULL));
    }
    for (uint32_t i = 0; i < p->made; i++) {
        exchange_release(&p->workers[i].session.exchange);
        request_delete(p->workers[i].session.spare);
    }
    free(p->workers);
    free(p);
}
