/* SPDX-License-Identifier: MIT
 * Workers inside the gate take connections and serve them; the others sleep outside. A worker looks at the
 * gate between two connections and leaves when there are more inside than the limit says. The keeper, a
 * thread of its own, looks at the flow every few milliseconds while there is work, and sleeps when there is
 * none: the worker that leaves nobody waiting wakes it.
 *
 * FLOW holds two counters in one word, so that a worker touches the shared cache line twice for each
 * connection: workers that wait for a connection (low half), and connections taken (high half). */
#include "proxy/pool.h"

#include "common/cpus.h"
#include "common/lock.h"
#include "common/panic.h"
#include "common/thread.h"
#include "proxy/gate.h"
#include "proxy/usher.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>

enum { STACK_BYTES = 512 << 10 };

#define FLOW_WAITING       UINT64_C(1)
#define FLOW_TAKEN         (UINT64_C(1) << 32)
#define FLOW_WAITERS(flow) ((uint32_t)(flow))
#define FLOW_TAKES(flow)   ((uint32_t)((flow) >> 32))

struct worker {
    cache_aligned pthread_t thread;
    struct pool *pool;
    struct session_worker session;
    struct parking_batch batch;
    _Atomic uint32_t seats; /* that it has and does not use right now; its own to write */
    uint32_t index;
};

struct pool {
    cache_aligned _Atomic uint64_t flow;
    cache_aligned _Atomic uint32_t limit; /* workers that may be inside; written by the keeper */
    _Atomic uint32_t inside;              /* written under GATE_LOCK */
    _Atomic bool keeper_sleeps;
    pthread_mutex_t gate_lock;
    pthread_cond_t gate_open; /* with GATE_LOCK: there is room inside */
    sem_t keeper_wake;
    struct proxy *proxy;
    struct usher usher; /* looked at by the keeper */
    struct gate gate;   /* the keeper's own */
    pthread_t keeper;
    bool keeper_runs;
    _Atomic uint32_t count; /* running threads; written by the thread that starts and joins them */
    uint32_t made;          /* workers whose memory is made */
    struct worker *workers;
};

static void pass_gate(struct pool *p, bool inside)
{
    MUST_0(pthread_mutex_lock(&p->gate_lock));
    if (inside) {
        atomic_fetch_sub_explicit(&p->inside, 1, memory_order_relaxed);
    }
    while (atomic_load(&p->inside) >= atomic_load(&p->limit) && !parking_stopped(p->proxy->parking)) {
        MUST_0(pthread_cond_wait(&p->gate_open, &p->gate_lock));
    }
    atomic_fetch_add_explicit(&p->inside, 1, memory_order_relaxed);
    MUST_0(pthread_mutex_unlock(&p->gate_lock));
}

static void wake_keeper(struct pool *p)
{
    if (atomic_load(&p->keeper_sleeps) && atomic_exchange(&p->keeper_sleeps, false)) {
        MUST(sem_post(&p->keeper_wake) == 0);
    }
}

static uint32_t seats_of(const struct worker *w)
{
    return atomic_load_explicit(&w->seats, memory_order_relaxed);
}

static void set_seats(struct worker *w, uint32_t count)
{
    atomic_store_explicit(&w->seats, count, memory_order_relaxed);
}

/* Gives all but KEPT of the worker's seats to others. */
static void keep_seats(struct worker *w, uint32_t kept)
{
    uint32_t count = seats_of(w);
    if (count > kept) {
        set_seats(w, kept);
        if (seats_give(&w->pool->proxy->seats, count - kept)) {
            parking_nudge(w->pool->proxy->parking);
        }
    }
}

/* Takes a few seats when the worker has none. False when there are no more. */
static bool has_seat(struct worker *w)
{
    if (seats_of(w) == 0) {
        set_seats(w, seats_take(&w->pool->proxy->seats, PARKING_BATCH_MAX));
    }
    return seats_of(w) > 0;
}

/* Waits for answers only: until one comes, or a seat is free. */
static void stand(struct worker *w)
{
    struct proxy *proxy = w->pool->proxy;
    if (seats_stand(&proxy->seats)) {
        parking_fetch(proxy->parking, &w->batch, PARKING_ANSWERS, PARKING_BATCH_MAX, true);
        seats_stood(&proxy->seats);
    }
}

/* Waits for what comes first, with a seat. */
static void wait_for_events(struct worker *w)
{
    struct pool *p = w->pool;
    keep_seats(w, 1);
    atomic_fetch_add_explicit(&p->flow, FLOW_WAITING, memory_order_relaxed);
    parking_fetch(p->proxy->parking, &w->batch, PARKING_ALL, PARKING_BATCH_MAX, true);
    /* Ordered before the look at keeper_sleeps, as the keeper orders its note that it sleeps before its look
     * at FLOW. */
    uint64_t flow = atomic_fetch_sub(&p->flow, FLOW_WAITING);
    if (FLOW_WAITERS(flow) == 1) {
        wake_keeper(p);
    }
}

/* Fetches events into the worker's batch, which is empty; only answers when there is no seat for a request.
 * May wait. */
static void fetch(struct worker *w)
{
    if (!has_seat(w)) {
        stand(w);
    } else if (parking_fetch(w->pool->proxy->parking, &w->batch, PARKING_ALL, PARKING_BATCH_MAX, false) ==
               0) {
        wait_for_events(w);
    }
    atomic_fetch_add_explicit(&w->pool->flow, w->batch.count * FLOW_TAKEN, memory_order_relaxed);
}

/* Serves CLIENT, which needs a seat of the worker's, or has one. */
static void serve(struct worker *w, struct client *client)
{
    bool seated = client->course != NULL;
    if (!seated) {
        set_seats(w, seats_of(w) - 1);
    }
    bool left = session_serve(&w->session, client, usher_is_alert(&w->pool->usher));
    if (!left) {
        set_seats(w, seats_of(w) + 1);
    }
}

/* Serves what the next event is for; a request that finds no seat waits for one with the others. */
static void serve_next(struct worker *w)
{
    struct parking *parking = w->pool->proxy->parking;
    if (parking_next_may_ask(&w->batch) && !has_seat(w)) {
        parking_leave_next(parking, &w->batch);
        return;
    }
    struct client *client = parking_next(parking, &w->batch);
    if (client != NULL) {
        serve(w, client);
    }
}

/* The worker is about to wait for a backend: what it has fetched, and seats, are for others. */
static void before_wait(void *owner)
{
    struct worker *w = owner;
    keep_seats(w, 0);
    parking_give_back(w->pool->proxy->parking, &w->batch);
}

/* No thread is ever cancelled. The C library makes each call that may block a point where one could be, with
 * two locked instructions; it does not for a thread that it believes may be cancelled anywhere. */
static void spare_cancellation_points(void)
{
    MUST_0(pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL));
    /* Harmless where cancelling is disabled. NOLINTNEXTLINE(concurrency-thread-canceltype-asynchronous) */
    MUST_0(pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL));
}

static void *worker_main(void *argument)
{
    struct worker *w = argument;
    struct pool *p = w->pool;
    struct parking *parking = p->proxy->parking;
    char name[16];
    snprintf(name, sizeof name, "hf-worker-%u", w->index % 100000);
    pthread_setname_np(pthread_self(), name);
    /* A woken worker need not push the one that woke it off its CPU: it is better to let that one finish
     * first. */
    struct sched_param none = {.sched_priority = 0};
    pthread_setschedparam(pthread_self(), SCHED_BATCH, &none);
    spare_cancellation_points();
    pass_gate(p, false);
    while (!parking_stopped(p->proxy->parking)) {
        while (!parking_batch_is_empty(&w->batch)) {
            serve_next(w);
        }
        struct client *held = seats_of(w) > 0 ? usher_take(&p->usher) : NULL;
        if (held != NULL) {
            serve(w, held);
        }
        if (atomic_load_explicit(&p->inside, memory_order_relaxed) >
            atomic_load_explicit(&p->limit, memory_order_relaxed)) {
            keep_seats(w, 0);
            parking_give_back(parking, &w->batch);
            pass_gate(p, true);
        }
        fetch(w);
    }
    return NULL;
}

static void set_limit(struct pool *p, uint32_t limit)
{
    uint32_t before = atomic_load_explicit(&p->limit, memory_order_relaxed);
    MUST_0(pthread_mutex_lock(&p->gate_lock));
    atomic_store_explicit(&p->limit, limit, memory_order_relaxed);
    for (uint32_t i = before; i < limit; i++) {
        MUST_0(pthread_cond_signal(&p->gate_open));
    }
    MUST_0(pthread_mutex_unlock(&p->gate_lock));
}

/* Sleeps until a worker finds that nobody waits any more. Until then no connection waits for a worker. */
static void keeper_rest(struct pool *p)
{
    atomic_store(&p->keeper_sleeps, true);
    if (!parking_stopped(p->proxy->parking) && FLOW_WAITERS(atomic_load(&p->flow)) > 0) {
        while (sem_wait(&p->keeper_wake) == -1 && errno == EINTR) {
        }
        usher_calm(&p->usher, clock_mono());
    }
    atomic_store(&p->keeper_sleeps, false);
}

static void *keeper_main(void *argument)
{
    struct pool *p = argument;
    pthread_setname_np(pthread_self(), "hf-gate");
    mono_ns looked = clock_mono();
    uint64_t flow = atomic_load_explicit(&p->flow, memory_order_relaxed);
    while (!parking_stopped(p->proxy->parking)) {
        if (gate_is_at_rest(&p->gate) && !usher_is_alert(&p->usher)) {
            keeper_rest(p);
            looked = clock_mono();
            flow = atomic_load_explicit(&p->flow, memory_order_relaxed);
        }
        struct timespec pause = {.tv_nsec = GATE_LOOK_MS * NS_PER_MS};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
        uint64_t flow_now = atomic_load_explicit(&p->flow, memory_order_relaxed);
        mono_ns now = clock_mono();
        bool ready = parking_is_ready(p->proxy->parking, PARKING_ALL);
        bool idle = FLOW_WAITERS(flow_now) > 0;
        usher_look(&p->usher, now, ready, idle);
        struct gate_look look = {
            .elapsed_ns = now - looked,
            .takes = FLOW_TAKES(flow_now) - FLOW_TAKES(flow),
            .inside = atomic_load_explicit(&p->inside, memory_order_relaxed),
            .waiting = FLOW_WAITERS(flow_now),
            .ready = !idle && (ready || usher_holds(&p->usher)),
        };
        uint32_t limit = gate_step(&p->gate, &look);
        if (limit != atomic_load_explicit(&p->limit, memory_order_relaxed)) {
            set_limit(p, limit);
        }
        looked = now;
        flow = flow_now;
    }
    return NULL;
}

static bool worker_init(struct worker *w, struct pool *p, uint32_t index)
{
    *w = (struct worker){.pool = p, .index = index, .session.spares.depot = &p->proxy->requests};
    struct watch *watch = watchdog_watch(p->proxy->watchdog, index);
    watch_set_waiter(watch, before_wait, w);
    return exchange_init(&w->session.exchange, p->proxy, watch, index);
}

static struct pool *pool_new(struct proxy *proxy)
{
    uint32_t wanted = proxy->workers;
    struct pool *p = aligned_alloc(CACHE_LINE_BYTES, sizeof *p);
    struct worker *workers = aligned_alloc(CACHE_LINE_BYTES, wanted * sizeof *workers);
    if (p == NULL || workers == NULL) {
        free(p);
        free(workers);
        return NULL;
    }
    *p = (struct pool){.proxy = proxy, .workers = workers};
    atomic_store(&proxy->seats.free, wanted);
    usher_init(&p->usher, proxy, wanted + READER_KEEPER, clock_mono());
    gate_init(&p->gate, gate_least(cpus_usable(), wanted), wanted);
    p->limit = p->gate.limit;
    MUST_0(pthread_mutex_init(&p->gate_lock, NULL));
    MUST_0(pthread_cond_init(&p->gate_open, NULL));
    MUST(sem_init(&p->keeper_wake, 0, 0) == 0);
    return p;
}

/* Starts workers until COUNT run; 0 or an errno value. */
static int start_workers(struct pool *p, uint32_t count)
{
    pthread_attr_t attributes;
    MUST_0(pthread_attr_init(&attributes));
    MUST_0(pthread_attr_setstacksize(&attributes, STACK_BYTES));
    int failure = 0;
    for (uint32_t i = p->made; i < count && failure == 0; i++) {
        if (!worker_init(&p->workers[i], p, i)) {
            failure = ENOMEM;
            break;
        }
        p->made++;
        failure = pthread_create(&p->workers[i].thread, &attributes, worker_main, &p->workers[i]);
        if (failure == 0) {
            atomic_store_explicit(&p->count, i + 1, memory_order_release);
        }
    }
    MUST_0(pthread_attr_destroy(&attributes));
    return failure;
}

struct pool *pool_start(struct proxy *proxy)
{
    struct pool *p = pool_new(proxy);
    if (p == NULL) {
        return NULL;
    }
    int failure = start_workers(p, p->gate.min);
    if (failure == 0) {
        failure = thread_start(&p->keeper, STACK_BYTES, keeper_main, p);
        p->keeper_runs = failure == 0;
    }
    if (failure != 0) {
        parking_stop(proxy->parking);
        pool_join(p);
        errno = failure;
        return NULL;
    }
    return p;
}

bool pool_complete(struct pool *p)
{
    int failure = start_workers(p, p->proxy->workers);
    errno = failure;
    return failure == 0;
}

uint32_t pool_busy(const struct pool *p)
{
    uint32_t idle = atomic_load_explicit(&p->proxy->seats.free, memory_order_relaxed);
    uint32_t count = atomic_load_explicit(&p->count, memory_order_acquire), seats = p->proxy->workers;
    for (uint32_t i = 0; i < count; i++) {
        idle += seats_of(&p->workers[i]);
    }
    return idle < seats ? seats - idle : 0; /* a moment's picture: seats change hands meanwhile */
}

void pool_join(struct pool *p)
{
    if (p == NULL) {
        return;
    }
    MUST_0(pthread_mutex_lock(&p->gate_lock));
    MUST_0(pthread_cond_broadcast(&p->gate_open));
    MUST_0(pthread_mutex_unlock(&p->gate_lock));
    MUST(sem_post(&p->keeper_wake) == 0);
    if (p->keeper_runs) {
        MUST_0(pthread_join(p->keeper, NULL));
    }
    for (uint32_t i = 0; i < p->count; i++) {
        MUST_0(pthread_join(p->workers[i].thread, NULL));
    }
    for (uint32_t i = 0; i < p->made; i++) {
        session_release(&p->workers[i].session);
    }
    usher_release(&p->usher);
    MUST_0(pthread_cond_destroy(&p->gate_open));
    MUST_0(pthread_mutex_destroy(&p->gate_lock));
    sem_destroy(&p->keeper_wake);
    free(p->workers);
    free(p);
}
