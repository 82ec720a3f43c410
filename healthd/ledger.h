/* SPDX-License-Identifier: MIT
 * The health ledger: what each backend got wrong, and whether it is in rotation. Every attempt is written
 * here twice, when it begins and when it ends; both under the backend's mutex, so that counts, sums and the
 * transition to `ejected` are exact however many workers write at once. The counters are atomic, so that the
 * balancer and the stats may look without the mutex.
 *
 * Three facts are kept of a backend, each with its own cause and its own mend: an operator drains it, it was
 * ejected for its answers, its probes fail. Its state is the first of these that holds:
 *   draining nothing new is sent to it, not even as a last resort; what is in flight goes on. Ends by
 *            ledger_drain() or ledger_reset(); what it was before shows again. A backend that has left the
 *            configuration drains for good
 *   ejected  its failures went over eject_after. Ends by ledger_reset(); where probes readmit, also by `rise`
 *            good probes that began after the ejection: then the failures are counted from zero again
 *   down     `fall` probes in a row failed. Ends by `rise` good ones in a row, or by ledger_reset()
 *   up       in rotation; only now do failures count. -> ejected, -> down
 */
#ifndef HOLDFAST_HEALTHD_LEDGER_H
#define HOLDFAST_HEALTHD_LEDGER_H

#include "common/clock.h"
#include "common/compiler.h"
#include "common/config.h"
#include "healthd/histogram.h"

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct ledger; /* opaque; lives from start to exit */

enum backend_state { BACKEND_UP, BACKEND_EJECTED, BACKEND_DOWN, BACKEND_DRAINING };

/* How an attempt ended. */
enum attempt_end {
    ATTEMPT_ANSWERED,  /* a complete, well-formed response with some status */
    ATTEMPT_CONNECT,   /* no connection: refused, unreachable, timed out */
    ATTEMPT_TIMEOUT,   /* no usable response in time */
    ATTEMPT_RESET,     /* the connection was reset or closed before the response was whole */
    ATTEMPT_PROTOCOL,  /* what came was not a well-formed response */
    ATTEMPT_CANCELLED, /* nobody's failure: the client went away, or the program stops; the attempt is taken
                          back */
};

struct attempt_outcome {
    enum attempt_end end;
    unsigned status; /* with ATTEMPT_ANSWERED: 200 to 599 */
    bool failure;    /* the policy's verdict; true for every end but ANSWERED and CANCELLED */
    bool undecided;  /* a failure of which it is not known yet whose fault it is: ledger_charge() or
                        ledger_excuse() must follow */
    int64_t
        latency_ns; /* with ATTEMPT_ANSWERED: from begin to the whole response (or its head, when streamed) */
};

/* What ledger_begin() hands out and ledger_end() takes back. */
struct attempt_ticket {
    uint32_t backend;
    uint64_t epoch;    /* resets seen by the backend when the attempt began */
    uint64_t readmits; /* readmissions seen then */
};

/* The rules of the configuration; all zeros but eject_after: nothing is probed. */
struct ledger_policy {
    uint32_t eject_after;
    uint32_t window_ms; /* the count of failures slides over so much time; 0: it does not */
    bool probed;        /* read by ledger_set_policy() alone: without probes nobody is `down` */
    bool readmit_by_probes;
    uint32_t rise, fall;  /* good or failed probes in a row that change the state */
    uint32_t interval_ms; /* from one probe to the next: what pauses are counted in */
};

/* What ledger_probe_begin() hands out and ledger_probe_end() takes back. */
struct probe_ticket {
    uint32_t backend;
    uint64_t changes; /* of the backend's state, seen when the probe began */
};

/* What a probe found: a good answer, one that is not (a refusal is one), or none at all. */
enum probe_finding { PROBE_GOOD, PROBE_BAD, PROBE_SILENT };

/* What a probe did to its backend. */
enum probe_effect { PROBE_NO_EFFECT, PROBE_TOOK_DOWN, PROBE_BROUGHT_BACK };

/* A consistent copy of one backend's page: attempts == status_200 + non_200 + the errors + in flight since
 * reset. */
struct ledger_page {
    enum backend_state state;
    uint64_t attempts, status_200, non_200, failures;
    uint64_t request_faults; /* of NON_200: charged to the request, ledger_excuse() */
    uint64_t error_connect, error_timeout, error_reset, error_protocol;
    uint64_t in_flight;                    /* all of them, those begun before the last reset too */
    uint64_t ejections;                    /* since start or reset */
    bool ejected_at_known;                 /* false: never ejected since start or reset */
    struct timespec ejected_at;            /* wall clock */
    struct histogram latency;              /* of answered attempts since start or reset */
    double latency_p50_ms, latency_p99_ms; /* of these; 0 without any */
};

/* Makes a ledger with a page for each of the slots 0 to CONFIG_BACKENDS_MAX - 1. There are backends in the
 * first COUNT slots, all up. It goes by POLICY, which is copied. NULL when there is no memory. */
struct ledger *ledger_new(uint32_t count, const struct ledger_policy *policy);

/* Frees L, which nobody may use any more; NULL is fine. */
void ledger_delete(struct ledger *l);

/* From now on L goes by POLICY, which is copied. Counts and states stay, but for backends that are down when
 * nobody probes any more: they are up. More failures than the new eject_after eject with the next one.
 * Probes that began before must have ended. Any thread, no lock held. */
void ledger_set_policy(struct ledger *l, const struct ledger_policy *policy);

/* A new backend in SLOT, whose last one nobody works with any more: an empty page, up. Returns its epoch, as
 * ledger_reset() does. Any thread, no lock held. */
uint64_t ledger_admit(struct ledger *l, uint32_t slot);

/* The backend in SLOT leaves: from now on no ledger_begin() succeeds, and it counts among those that drain,
 * whatever becomes of it. What is in flight ends as usual. Any thread, no lock held. */
void ledger_dismiss(struct ledger *l, uint32_t slot);

/* From now on CHANGED is called after each change of a backend's state, on the thread that made it, which
 * holds no lock then. To be called once, before other threads use L. */
void ledger_on_change(struct ledger *l, void (*changed)(void *owner), void *owner);

/* Begins an attempt on BACKEND: counts it and one in flight, and fills *TICKET_. When REQUIRE_UP is set and
 * the backend is not up (any more), nothing is counted and the result is false: nothing may be sent to it.
 * With REQUIRE_UP unset (all backends are out, so all are tried) only a draining one is refused. Any thread,
 * no lock held. The decision and the count are one step: after the failure that ejects, no ledger_begin(..,
 * true, ..) succeeds. */
must_check bool ledger_begin(struct ledger *l, uint32_t backend, bool require_up,
                             struct attempt_ticket *ticket_);

enum ledger_answer {
    LEDGER_BEGUN,
    LEDGER_OUT, /* not up, or draining */
    LEDGER_FULL /* it has MAX_IN_FLIGHT attempts in flight */
};

/* The same, but with at most MAX_IN_FLIGHT attempts on BACKEND at one time; 0 for no limit. That too is
 * decided in the same step. */
must_check enum ledger_answer ledger_begin_within(struct ledger *l, uint32_t backend, bool require_up,
                                                  uint32_t max_in_flight, struct attempt_ticket *ticket_);

/* Ends the attempt of TICKET with OUTCOME. Returns true when this very call moved the backend from up to
 * ejected, so that one caller logs it. An attempt that began before the last reset only leaves `in flight`.
 * Failures of a backend that is not up, and of attempts that began before its last readmission, are counted
 * as outcomes but not as `failures`. Any thread, no lock held. */
bool ledger_end(struct ledger *l, const struct attempt_ticket *ticket, const struct attempt_outcome *outcome);

/* The failure of TICKET's attempt, which ended as undecided, is the backend's: counts it as ledger_end()
 * would have, and returns the same. Any thread, no lock held. */
bool ledger_charge(struct ledger *l, const struct attempt_ticket *ticket);

/* It is the request's fault: notes that, and counts no failure. Any thread, no lock held. */
void ledger_excuse(struct ledger *l, const struct attempt_ticket *ticket);

/* The backends that are up, as a set: bit I for backend I. Lock-free: may be stale by the time it is read,
 * which is why ledger_begin() decides. */
uint64_t ledger_rotation(const struct ledger *l);

/* The backends that drain, and the slots that have none, as a set; lock-free, as stale as the above. */
uint64_t ledger_drained(const struct ledger *l);

/* Whether the probes of BACKEND found it dead: it is down, and the last of them got no answer. Lock-free, as
 * stale as the above. */
bool ledger_is_dead(const struct ledger *l, uint32_t backend);

/* Those that a request may be sent to that was sent to TRIED already: the rest of those in rotation (*UP_ is
 * set), or else, as a last resort, the rest of those that do not drain. Lock-free, as stale as the above. */
uint64_t ledger_fit(const struct ledger *l, uint64_t tried, bool *up_);

/* Attempts in flight on BACKEND; lock-free, for balancing. */
uint64_t ledger_in_flight(const struct ledger *l, uint32_t backend);

/* When BACKEND became up for the last time; 0 when it has been up since the start. Lock-free, for balancing.
 */
mono_ns ledger_up_since(const struct ledger *l, uint32_t backend);

/* When BACKEND began to drain, or left; 0 when it does neither. Lock-free. */
mono_ns ledger_drained_since(const struct ledger *l, uint32_t backend);

/* Begins a probe of BACKEND. False when it fell so often that it is to be left alone for now: no probe then.
 * One thread for each backend, no lock held. */
must_check bool ledger_probe_begin(struct ledger *l, uint32_t backend, struct probe_ticket *ticket_);

/* Ends the probe of TICKET with what it FOUND. A probe during which the state changed tells nothing about
 * the backend as it is now, and is not counted. No lock held. */
must_check enum probe_effect ledger_probe_end(struct ledger *l, const struct probe_ticket *ticket,
                                              enum probe_finding found);

/* Drains BACKEND, or ends that: it is then what it was before, or has become since. Any thread, no lock held.
 */
void ledger_drain(struct ledger *l, uint32_t backend, bool drain);

/* Zeroes all counts of BACKEND, at once, and makes it up. Returns the epoch that begins with it, as in the
 * tickets of attempts from now on. Any thread, no lock held. */
uint64_t ledger_reset(struct ledger *l, uint32_t backend);

/* Copies BACKEND's page; the copy is consistent. Any thread, no lock held. */
void ledger_read(struct ledger *l, uint32_t backend, struct ledger_page *page_);

/* "up", "ejected", "down", "draining". */
const char *backend_state_name(enum backend_state state);

#endif
