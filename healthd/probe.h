/* SPDX-License-Identifier: MIT
 * Active probing: one thread for each backend asks it at regular times how it is, and tells the ledger. */
#ifndef HOLDFAST_HEALTHD_PROBE_H
#define HOLDFAST_HEALTHD_PROBE_H

#include "common/net.h"
#include "common/plan.h"
#include "healthd/ledger.h"

#include <stdbool.h>

struct probes; /* opaque */

/* Fills *ADDRESSES_ with where the backend in SLOT is now. Called from any of the threads, before each probe.
 */
typedef void probe_addresses(void *owner, uint32_t slot, struct net_addresses *addresses_);

/* Whether CONFIG asks for probes: it names a path, or backends come back by them. */
bool probes_wanted(const struct config *config);

/* Starts the threads that PLAN asks for, with every signal blocked; there may be none. LEDGER and OWNER must
 * outlive them, PLAN need not. NULL with errno set when a thread can't be started or there is no memory. */
struct probes *probes_start(const struct plan *plan, struct ledger *ledger, probe_addresses *addresses,
                            void *owner);

/* From now on P probes as PLAN asks: threads of backends that left, or are to be asked otherwise, end, and
 * others start. A thread whose work stays the same goes on, so that a slow probe is not begun anew. False
 * with errno set, and nothing is changed, when a thread can't be started. For the thread that called
 * probes_start(). */
must_check bool probes_change(struct probes *p, const struct plan *plan);

/* Ends the threads, whatever they wait for, and frees P; NULL is fine. */
void probes_stop(struct probes *p);

#endif
