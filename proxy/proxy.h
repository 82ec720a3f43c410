/* SPDX-License-Identifier: MIT
 * The front end as a whole: what all its threads share, and its life from start to stop. */
#ifndef HOLDFAST_PROXY_PROXY_H
#define HOLDFAST_PROXY_PROXY_H

#include "common/plan.h"
#include "healthd/drill.h"
#include "healthd/evidence.h"
#include "healthd/ledger.h"
#include "healthd/traffic.h"
#include "proxy/access_log.h"
#include "proxy/balancer.h"
#include "proxy/budget.h"
#include "proxy/parking.h"
#include "proxy/queue.h"
#include "proxy/request.h"
#include "proxy/seats.h"
#include "proxy/spares.h"
#include "proxy/tunnel.h"
#include "proxy/upstream.h"
#include "proxy/watchdog.h"

#include <stdatomic.h>

struct stragglers; /* stragglers.h */

/* The readers of the plan behind the workers, whose numbers are 0 to WORKERS - 1: add WORKERS to these. */
enum proxy_reader { READER_LISTENER, READER_KEEPER, READER_ADMIN, READER_WATCHDOG, PROXY_READERS };

/* Read-only after start, but for what says otherwise. Every part does its own locking. What is kept of a
 * backend stands at its slot: see common/plan.h. */
struct proxy {
    struct plans *plans;
    uint32_t workers;
    struct access_log access_log;
    struct ledger *ledger;
    struct evidence *evidence;
    struct traffic *traffic; /* one shard for each worker, then the listener's and the gate keeper's */
    struct parking *parking;
    struct watchdog *watchdog;
    struct tunnels *tunnels;
    struct stragglers *stragglers;
    struct drills *drills; /* NULL: admin.drill is off */
    struct queue queue;    /* requests that wait for a place on a backend */
    struct seats seats;    /* one for each worker */
    struct depot requests; /* request objects that no worker uses */
    struct depot courses;  /* the same of courses (course.h) */
    struct balancer balancer;
    struct budget budget; /* of retries; used when retry.budget_percent is set */
    struct upstream upstreams[CONFIG_BACKENDS_MAX];
    _Atomic bool draining; /* connections are closed after their response */
    _Atomic bool crowded;  /* the same: others wait to be let in, and there is no room */
};

/* The watch that bounds the wait for FD, a backend's connection that the epoll set waits for. */
static inline struct watch *proxy_watch_of_descriptor(const struct proxy *p, int fd)
{
    return watchdog_watch(p->watchdog, p->workers + (uint32_t)fd);
}

struct proxy_error {
    char text[512]; /* one line: what failed, and the mend */
};

struct running_proxy; /* opaque: the proxy and its threads */

/* Binds the listening sockets, waits up to 3 seconds for the backends' names and starts all threads. CONFIG
 * is copied. NULL with *ERROR_ filled. All signals that the caller wants for itself must be blocked before.
 */
struct running_proxy *proxy_start(const struct config *config, struct proxy_error *error_);

/* Puts CONFIG, which is copied, in force, but for keys that need a restart: those keep their values, and a
 * line of the log names each that differs. Backends that stay keep all that is known of them; to those that
 * leave nothing new is sent. No connection and no request is lost. False with *ERROR_, and nothing is
 * changed. Blocks while names of new backends are resolved. On the thread that started the proxy. */
must_check bool proxy_reload(struct running_proxy *r, const struct config *config,
                             struct proxy_error *error_);

/* Opens the access log's file once more, if there is one. The same thread. */
void proxy_reopen_log(struct running_proxy *r);

/* Frees what earlier reloads replaced and nobody uses any more. False when there is more to free later. The
 * same thread. */
bool proxy_tidy(struct running_proxy *r);

/* From now on the proxy says that it is not ready, so that whoever sends clients here stops doing so; nothing
 * else changes. Returns when its grace (drain_grace_ms of the configuration) is over. The same thread. */
mono_ns proxy_leave(struct running_proxy *r);

/* Drains and stops: stops accepting, closes idle connections, lets requests in flight finish until drain_ms
 * of the configuration have passed, cuts what is left, ends all threads and frees everything. The same
 * thread. */
void proxy_stop(struct running_proxy *r);

#endif
