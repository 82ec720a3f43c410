/* SPDX-License-Identifier: MIT
 * Start goes from the bottom up and stop from the top down: each step of proxy_start() has its undoing in
 * undo(), which takes a half-made proxy too. */
#include "proxy/proxy.h"

#include "common/config_change.h"
#include "common/log.h"
#include "common/net.h"
#include "common/pages.h"
#include "common/panic.h"
#include "common/user.h"
#include "healthd/admin_server.h"
#include "healthd/probe.h"
#include "proxy/judge.h"
#include "proxy/lifetime.h"
#include "proxy/listener.h"
#include "proxy/pool.h"
#include "proxy/request.h"
#include "proxy/resolver.h"
#include "proxy/session.h"
#include "proxy/startup.h"
#include "proxy/stragglers.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { DRAIN_POLL_MS = 5, CUT_MS = 1000, FIRST_RESOLVE_MS = 3000 };

struct running_proxy {
    struct proxy proxy;
    struct pool *pool;
    struct listener *listener;
    _Atomic bool leaving; /* not ready any more */
    struct admin_server *admin;
    struct probes *probes;
    struct admin_context admin_context;
    char token[STARTUP_TOKEN_BYTES];
    uint64_t upstreams_made;                         /* slots */
    struct resolver *resolvers[CONFIG_BACKENDS_MAX]; /* by slot; NULL for an IP address */
};

/* Makes what PLAN's backend in SLOT is reached by. */
static bool make_upstream(struct running_proxy *r, const struct plan *plan, uint32_t slot,
                          struct proxy_error *error_)
{
    const struct config_backend *backend = plan_backend(plan, slot);
    struct upstream *upstream = &r->proxy.upstreams[slot];
    struct net_addresses addresses;
    bool named = !net_resolve_numeric(&backend->address, &addresses);
    if (!upstream_init(upstream, &addresses, r->proxy.workers, lifetime_mean_ms(r->proxy.workers))) {
        startup_fail(error_, "out of memory for backend connections");
        return false;
    }
    r->upstreams_made |= UINT64_C(1) << slot;
    r->resolvers[slot] =
        named ? resolver_start(backend, upstream, plan->config.resolve_ms, net_resolve) : NULL;
    if (named && r->resolvers[slot] == NULL) {
        startup_fail(error_, "--backend %s: can't start the thread that resolves %s: %s", backend->name,
                     backend->address.host, strerror(errno));
        return false;
    }
    return true;
}

static void release_upstreams(struct running_proxy *r, uint64_t slots)
{
    for (uint64_t rest = slots & r->upstreams_made; rest != 0; rest &= rest - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(rest);
        resolver_stop(r->resolvers[slot]);
        r->resolvers[slot] = NULL;
        upstream_release(&r->proxy.upstreams[slot]);
    }
    r->upstreams_made &= ~slots;
}

/* Waits a little for the first addresses of the names in SLOTS. A name that does not resolve is no reason not
 * to serve: the other backends may be well. */
static void await_names(struct running_proxy *r, const struct plan *plan, uint64_t slots)
{
    mono_ns deadline = deadline_after_ms(clock_mono(), FIRST_RESOLVE_MS);
    for (uint64_t rest = slots; rest != 0; rest &= rest - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(rest);
        if (r->resolvers[slot] != NULL && !resolver_wait(r->resolvers[slot], deadline)) {
            plog(CONFIG_LOG_WARN, "the name of backend %s does not resolve in time: it has no address yet",
                 plan_backend(plan, slot)->name);
        }
    }
}

/* Makes those of SLOTS, all or none. */
static bool make_upstreams(struct running_proxy *r, const struct plan *plan, uint64_t slots,
                           struct proxy_error *error_)
{
    for (uint64_t rest = slots; rest != 0; rest &= rest - 1) {
        if (!make_upstream(r, plan, (uint32_t)__builtin_ctzll(rest), error_)) {
            release_upstreams(r, slots);
            return false;
        }
    }
    await_names(r, plan, slots);
    return true;
}

static void rotation_changed(void *owner)
{
    struct proxy *p = owner;
    queue_changed(&p->queue);
}

static void gauges(void *owner, struct admin_gauges *gauges_)
{
    struct running_proxy *r = owner;
    struct parking_counts counts;
    struct access_counts lines;
    access_log_count(&r->proxy.access_log, &lines);
    parking_count(r->proxy.parking, &counts);
    *gauges_ = (struct admin_gauges){
        .connections_active = counts.active + tunnels_open(r->proxy.tunnels),
        .connections_idle = counts.idle,
        .connections_accepted = counts.accepted,
        .workers_total = r->proxy.workers,
        .workers_busy = pool_busy(r->pool),
        .queue_waiting = queue_waiting(&r->proxy.queue),
        .access_log_lines = lines.lines,
        .access_log_dropped = lines.dropped,
        .ready = !atomic_load(&r->leaving),
    };
}

static void places(void *owner, uint32_t slot, struct admin_places *places_)
{
    const struct running_proxy *r = owner;
    const struct resolver *resolver = r->resolvers[slot];
    address_book_read(&r->proxy.upstreams[slot].book, &places_->addresses);
    places_->resolve_error = resolver == NULL ? NULL : resolver_trouble(resolver);
}

static struct ledger_policy policy_of(const struct config *config)
{
    return (struct ledger_policy){
        .eject_after = config->health.eject_after,
        .window_ms = config->health.window_ms,
        .probed = probes_wanted(config),
        .readmit_by_probes = config->health.readmit == CONFIG_READMIT_PROBE,
        .rise = config->health.probe.rise,
        .fall = config->health.probe.fall,
        .interval_ms = config->health.probe.interval_ms,
    };
}

/* What needs no thread. */
static bool make_parts(struct running_proxy *r, struct proxy_error *error_)
{
    struct proxy *p = &r->proxy;
    const struct plan *plan = plans_current(p->plans);
    const struct config *config = &plan->config;
    if (!make_upstreams(r, plan, plan->members, error_)) {
        return false;
    }
    balancer_init(&p->balancer);
    struct ledger_policy policy = policy_of(config);
    p->ledger = ledger_new((uint32_t)config->backend_count, &policy);
    p->evidence = evidence_new(CONFIG_BACKENDS_MAX);
    p->traffic = traffic_new(config->workers + 2);
    p->parking = parking_new(config->limits.connections, config->limits.connections_per_client);
    if (p->ledger == NULL || p->evidence == NULL || p->traffic == NULL || p->parking == NULL) {
        startup_fail(error_, "can't make the tables: %s; lower --workers or limits.connections",
                     strerror(errno));
        return false;
    }
    queue_init(&p->queue, p->ledger);
    budget_init(&p->budget);
    ledger_on_change(p->ledger, rotation_changed, p);
    r->admin_context = (struct admin_context){
        .plans = p->plans,
        .plan_reader = p->workers + READER_ADMIN,
        .ledger = p->ledger,
        .evidence = p->evidence,
        .traffic = p->traffic,
        .gauges = gauges,
        .places = places,
        .owner = r,
        .token = r->token[0] == '\0' ? NULL : r->token,
        .started_ns = clock_mono(),
    };
    return true;
}

static void addresses_of(void *owner, uint32_t backend, struct net_addresses *addresses_)
{
    struct running_proxy *r = owner;
    address_book_read(&r->proxy.upstreams[backend].book, addresses_);
    union net_address diverted;
    if (drill_diverts(r->proxy.drills, backend, &diverted)) { /* probes meet the fault too */
        addresses_->count = 1;
        addresses_->list[0] = diverted;
    }
}

static bool start_drills(struct running_proxy *r, struct proxy_error *error_)
{
    struct proxy *p = &r->proxy;
    if (!plans_current(p->plans)->config.admin.drill) {
        return true;
    }
    p->drills = drills_start();
    if (p->drills == NULL) {
        startup_fail(error_, "admin.drill: can't start its thread: %s", strerror(errno));
    }
    r->admin_context.drills = p->drills;
    return p->drills != NULL;
}

static void fail_pool(const struct proxy *p, struct proxy_error *error_)
{
    startup_fail(error_, "--workers %u: can't start the threads: %s; try fewer", p->workers, strerror(errno));
}

/* Ends all waits, and waits until workers have answered those who waited: soon, for nothing takes long any
 * more. */
static void cut_waits(const struct proxy *p)
{
    mono_ns deadline = deadline_after_ms(clock_mono(), CUT_MS);
    struct parking_counts counts;
    watchdog_cut_all(p->watchdog);
    parking_count(p->parking, &counts);
    while (counts.awaiting > 0 && clock_mono() < deadline) {
        poll(NULL, 0, DRAIN_POLL_MS);
        parking_count(p->parking, &counts);
    }
}

/* The threads. The sockets become theirs as each is started. Most of the workers come last: until then the
 * first few serve. */
static bool start_threads(struct running_proxy *r, int *listen_fd, int *admin_fd, struct proxy_error *error_)
{
    struct proxy *p = &r->proxy;
    const struct config *config = &plans_current(p->plans)->config;
    p->watchdog = watchdog_start(p->workers, p->workers + parking_descriptors(p->parking));
    p->tunnels = tunnels_start(config->limits.tunnels, config->timeouts.tunnel_idle_ms);
    p->stragglers = stragglers_start();
    if (p->watchdog != NULL && p->tunnels != NULL && p->stragglers != NULL) {
        watchdog_set_judge(p->watchdog, judge_wait, judge_ask, p);
        r->pool = pool_start(p);
    }
    if (r->pool == NULL) {
        fail_pool(p, error_);
        return false;
    }
    if (!start_drills(r, error_)) {
        return false;
    }
    if (*admin_fd != -1) {
        r->admin = admin_server_start(*admin_fd, &r->admin_context);
        if (r->admin == NULL) {
            startup_fail(error_, "--admin: can't start its thread: %s", strerror(errno));
            return false;
        }
        *admin_fd = -1;
    }
    r->probes = probes_start(plans_current(p->plans), p->ledger, addresses_of, r);
    if (r->probes == NULL) {
        startup_fail(error_, "health.probe: can't start the threads: %s", strerror(errno));
        return false;
    }
    r->listener = listener_start(p, *listen_fd);
    if (r->listener == NULL) {
        startup_fail(error_, "--listen: can't start its thread: %s", strerror(errno));
        return false;
    }
    *listen_fd = -1;
    if (!pool_complete(r->pool)) {
        fail_pool(p, error_);
        atomic_store(&p->draining, true);
        cut_waits(p); /* clients may be served already, and a stream, say, may have no end */
        return false;
    }
    return true;
}

/* Ends what runs and frees what was made, in the reverse order of the start. */
static void undo(struct running_proxy *r)
{
    struct proxy *p = &r->proxy;
    listener_stop(r->listener);
    admin_server_stop(r->admin); /* it looks at what goes next */
    probes_stop(r->probes);
    if (r->pool != NULL) {
        parking_stop(p->parking);
        pool_join(r->pool);
    }
    tunnels_stop(p->tunnels);
    stragglers_stop(p->stragglers); /* they end in the ledger and the evidence */
    drills_stop(p->drills);         /* workers and probes look at it */
    if (p->parking != NULL) {
        parking_sweep(p->parking, DEADLINE_NO, true, session_abandon, p);
    }
    watchdog_stop(p->watchdog); /* it looks at the parking place; who was left there had a watch */
    parking_delete(p->parking);
    traffic_delete(p->traffic);
    ledger_delete(p->ledger);
    evidence_delete(p->evidence);
    release_upstreams(r, UINT64_MAX);
    access_log_stop(&p->access_log);
    plans_delete(p->plans);
    depot_release(&p->requests);
    depot_release(&p->courses);
    pages_free(r, sizeof *r);
}

/* Puts CONFIG in force. */
static bool make_plans(struct proxy *p, const struct config *config)
{
    struct plan *first = plan_make(config, NULL, 0);
    p->workers = config->workers;
    p->plans = first == NULL ? NULL : plans_new(first, config->workers + PROXY_READERS);
    if (p->plans == NULL) {
        plan_delete(first);
    }
    return p->plans != NULL;
}

static void discard_request(void *request)
{
    request_delete(request);
}

struct running_proxy *proxy_start(const struct config *config, struct proxy_error *error_)
{
    /* Aligned as its members want it, and most of its backends' slots are never touched. */
    struct running_proxy *r = pages_new(sizeof *r);
    if (r == NULL) {
        startup_fail(error_, "out of memory");
        return NULL;
    }
    if (!make_plans(&r->proxy, config)) {
        startup_fail(error_, "out of memory");
        pages_free(r, sizeof *r);
        return NULL;
    }
    depot_init(&r->proxy.requests, discard_request);
    depot_init(&r->proxy.courses, free);
    startup_raise_descriptors();
    int admin_fd = -1;
    int listen_fd = startup_listen(&config->listen, "--listen", error_);
    bool started = listen_fd != -1;
    if (started && config->admin.enabled) {
        admin_fd = startup_listen(&config->admin.listen, "--admin", error_);
        started = admin_fd != -1;
    }
    if (started && config->admin.token_file[0] != '\0') {
        started = startup_read_token(config->admin.token_file, r->token, error_);
    }
    started = started && startup_become(config->user, error_) && make_parts(r, error_);
    int log_fd;
    if (started && startup_open_log(&r->proxy.access_log, config, &log_fd, error_)) {
        access_log_direct(&r->proxy.access_log, log_fd);
    } else {
        started = false;
    }
    uint16_t port = started ? net_local_port(listen_fd) : 0;
    uint16_t admin_port = admin_fd != -1 ? net_local_port(admin_fd) : 0;
    started = started && start_threads(r, &listen_fd, &admin_fd, error_);
    if (listen_fd != -1) {
        close(listen_fd);
    }
    if (admin_fd != -1) {
        close(admin_fd);
    }
    if (!started) {
        undo(r);
        return NULL;
    }
    plog(CONFIG_LOG_INFO, "listening on port %u, admin on port %u, %u workers, %zu backends", port,
         admin_port, config->workers, config->backend_count);
    return r;
}

static void log_fixed_key(void *owner, const char *path)
{
    (void)owner;
    plog_pairs(CONFIG_LOG_WARN, "a changed key needs a restart: its old value stays in force",
               (const struct plog_pair[]){{"key", slice_of(path)}, {.key = NULL}});
}

/* Ends the drills of backends that leave, or have left. */
static void end_drills(const struct proxy *p, uint64_t slots)
{
    for (uint64_t rest = p->drills == NULL ? 0 : slots; rest != 0; rest &= rest - 1) {
        drill_end(p->drills, (uint32_t)__builtin_ctzll(rest));
    }
}

bool proxy_tidy(struct running_proxy *r)
{
    /* In this order: who hands a connect over to the stragglers holds a plan that names its slot. */
    uint64_t named = plans_sweep(r->proxy.plans);
    uint64_t kept = stragglers_slots(r->proxy.stragglers) & ~named;
    uint64_t over = r->upstreams_made & ~(named | kept);
    /* An admin request may have begun one by the old plan after the dismissal; now no plan names the slot. */
    end_drills(&r->proxy, over);
    release_upstreams(r, over);
    return plans_waiting(r->proxy.plans) == 0 && kept == 0;
}

/* Makes the plan of CONFIG, but with the values in force of what it can't change. NULL with *ERROR_. */
static struct plan *plan_change(struct running_proxy *r, const struct config *config,
                                struct proxy_error *error_)
{
    const struct plan *now = plans_current(r->proxy.plans);
    proxy_tidy(r);
    struct plan *next = plan_make(config, now, r->upstreams_made);
    if (next == NULL) {
        startup_fail(error_, "%s",
                     errno == ENOSPC
                         ? "requests are still in flight on backends that left, and there is room for 64 "
                           "with them; try again when they have ended"
                         : "out of memory");
        return NULL;
    }
    config_keep_fixed(&next->config, &now->config, log_fixed_key, NULL);
    return next;
}

/* Takes backends into SLOTS, or lets those there leave. */
static void admit(struct proxy *p, uint64_t slots)
{
    for (uint64_t rest = slots; rest != 0; rest &= rest - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(rest);
        evidence_reset(p->evidence, slot, ledger_admit(p->ledger, slot));
    }
}

static void dismiss(struct proxy *p, uint64_t slots)
{
    for (uint64_t rest = slots; rest != 0; rest &= rest - 1) {
        uint32_t slot = (uint32_t)__builtin_ctzll(rest);
        ledger_dismiss(p->ledger, slot);
        upstream_trim(&p->upstreams[slot], DEADLINE_NO);
    }
    end_drills(p, slots);
}

static void set_resolve_interval(struct running_proxy *r, uint32_t resolve_ms)
{
    for (uint64_t rest = r->upstreams_made; rest != 0; rest &= rest - 1) {
        struct resolver *resolver = r->resolvers[__builtin_ctzll(rest)];
        if (resolver != NULL) {
            resolver_set_interval(resolver, resolve_ms);
        }
    }
}

/* Makes what NEXT's backends in ADDED need. */
static bool prepare(struct running_proxy *r, const struct plan *next, uint64_t added,
                    struct proxy_error *error_)
{
    if (!make_upstreams(r, next, added, error_)) {
        return false;
    }
    admit(&r->proxy, added);
    if (!probes_change(r->probes, next)) {
        startup_fail(error_, "health.probe: can't start the threads: %s", strerror(errno));
        dismiss(&r->proxy, added);
        release_upstreams(r, added);
        return false;
    }
    return true;
}

bool proxy_reload(struct running_proxy *r, const struct config *config, struct proxy_error *error_)
{
    struct proxy *p = &r->proxy;
    const struct plan *now = plans_current(p->plans);
    struct plan *next = plan_change(r, config, error_);
    if (next == NULL) {
        return false;
    }
    uint64_t added = next->members & ~now->members, removed = now->members & ~next->members;
    bool logs_elsewhere = strcmp(next->config.access_log, now->config.access_log) != 0;
    int log_fd = -1;
    if ((logs_elsewhere && !startup_open_log(&p->access_log, &next->config, &log_fd, error_)) ||
        !prepare(r, next, added, error_)) {
        if (log_fd != -1) {
            close(log_fd);
        }
        plan_delete(next);
        return false;
    }
    if (logs_elsewhere) {
        access_log_direct(&p->access_log, log_fd);
    }
    struct ledger_policy policy = policy_of(&next->config);
    ledger_set_policy(p->ledger, &policy);
    tunnels_set_idle(p->tunnels, next->config.timeouts.tunnel_idle_ms);
    set_resolve_interval(r, next->config.resolve_ms);
    plog_configure(next->config.log_level, next->config.log_format);
    plans_publish(p->plans, next);
    dismiss(p, removed);
    queue_changed(&p->queue);
    plog(CONFIG_LOG_INFO, "config reloaded: %zu backends, %d new, %d left", next->config.backend_count,
         __builtin_popcountll(added), __builtin_popcountll(removed));
    return true;
}

void proxy_reopen_log(struct running_proxy *r)
{
    access_log_reopen(&r->proxy.access_log, plans_current(r->proxy.plans)->config.access_log);
}

static uint32_t open_connections(const struct proxy *p)
{
    return parking_open(p->parking) + tunnels_open(p->tunnels);
}

mono_ns proxy_leave(struct running_proxy *r)
{
    uint32_t grace_ms = plans_current(r->proxy.plans)->config.drain_grace_ms;
    atomic_store(&r->leaving, true);
    if (grace_ms > 0) {
        plog(CONFIG_LOG_INFO, "leaving: not ready any more, draining begins in %u ms", grace_ms);
    }
    return deadline_after_ms(clock_mono(), grace_ms);
}

void proxy_stop(struct running_proxy *r)
{
    struct proxy *p = &r->proxy;
    plog(CONFIG_LOG_INFO, "draining: %u connections are open", open_connections(p));
    atomic_store(&r->leaving, true);
    atomic_store(&p->draining, true);
    uint32_t drain_ms = plans_current(p->plans)->config.drain_ms;
    mono_ns deadline = deadline_after_ms(clock_mono(), drain_ms);
    listener_drain(r->listener, drain_ms);
    while ((!listener_is_closed(r->listener) || open_connections(p) > 0) && clock_mono() < deadline) {
        poll(NULL, 0, DRAIN_POLL_MS);
    }
    uint32_t left = open_connections(p);
    if (left > 0) {
        plog(CONFIG_LOG_WARN, "drain_ms is over: cutting %u connections", left);
    }
    cut_waits(p);
    undo(r);
}
