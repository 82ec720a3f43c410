/* SPDX-License-Identifier: MIT
 * Keeps the addresses of one backend as its name has them: a thread that asks the system's resolver again and
 * again. A name that stops resolving keeps its last good addresses. Each name has a thread of its own, so
 * that a name server that is silent delays no other name. */
#ifndef HOLDFAST_PROXY_RESOLVER_H
#define HOLDFAST_PROXY_RESOLVER_H

#include "common/clock.h"
#include "common/config.h"
#include "common/net.h"
#include "proxy/upstream.h"

#include <stdbool.h>

struct resolver; /* opaque */

/* Looks ADDRESS up, and may take its time; net_resolve() is one. */
typedef const char *resolver_lookup(const struct config_address *address, struct net_addresses *addresses_);

/* Starts the thread, which asks LOOKUP for BACKEND's addresses, at once and RESOLVE_MS after each answer, and
 * moves U to them when they change. While there are none it asks each second. BACKEND is copied; U must live
 * until resolver_stop(). NULL with errno set. */
must_check struct resolver *resolver_start(const struct config_backend *backend, struct upstream *u,
                                           uint32_t resolve_ms, resolver_lookup *lookup);

/* Waits until the first look-up has ended, well or not, but no longer than until DEADLINE. Whether it has. */
bool resolver_wait(struct resolver *r, mono_ns deadline);

/* From now on R asks RESOLVE_MS after each answer, the last one too: at once, if that is over. Any thread. */
void resolver_set_interval(struct resolver *r, uint32_t resolve_ms);

/* Why the last look-up failed, a static text; NULL when it did not, or none has ended yet. Any thread. */
const char *resolver_trouble(const struct resolver *r);

/* Ends the thread; it will not touch U any more. A look-up can't be broken off: a thread that is in one is
 * left behind, and frees R when it comes out. Nobody may use R any more. NULL is fine. */
void resolver_stop(struct resolver *r);

#endif
