/* SPDX-License-Identifier: MIT
 * Active probing: one thread for each backend asks it at regular times how it is, and tells the ledger. */
#ifndef HOLDFAST_HEALTHD_PROBE_H
#define HOLDFAST_HEALTHD_PROBE_H

#include "common/config.h"
#include "common/net.h"
#include "healthd/ledger.h"

#include <stdbool.h>

struct probes; /* opaque */

/* Fills *ADDRESSES_ with where BACKEND is now. Called from any of the threads, before each probe. */
typedef void probe_addresses(void *owner, uint32_t backend, struct net_addresses *addresses_);

/* Whether CONFIG asks for probes: it names a path, or backends come back by them. */
bool probes_wanted(const struct config *config);

/* Starts the threads, with every signal blocked. CONFIG, LEDGER and OWNER must outlive them. NULL with errno
 * set when a thread can't be started or there is no memory. */
struct probes *probes_start(const struct config *config, struct ledger *ledger, probe_addresses *addresses,
                            void *owner);

/* Ends the threads, whatever they wait for, and frees P; NULL is fine. */
void probes_stop(struct probes *p);

#endif
