/* SPDX-License-Identifier: MIT
 * One page per backend, each on cache lines of its own and behind a mutex of its own: workers that write to
 * different backends do not meet. What the mutex guards stands in the page's `shared` part. Whether a backend
 * may be used and the count of the attempt are one step under it, and so are a failure and the ejection that
 * follows: that alone makes "more than N" exact.
 *
 * The counters are atomic as well, so that `in flight` and the rotation may be read without the mutex. Nobody
 * else writes while the mutex is held, so a plain load and store is enough. The rotation is the pages' states
 * once more, as one word, changed in the same critical section as the state that it mirrors.
 *
 * A reset starts a new epoch. An attempt from an older epoch was counted in numbers that are gone, so its end
 * must not show in the new ones: it only leaves `in flight`. */
#include "healthd/ledger.h"

#include "common/lock.h"
#include "common/panic.h"
#include "healthd/probe_track.h"
#include "healthd/window.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

struct page_shared {
    /* What every attempt touches stands together, behind the lock: its lines go from CPU to CPU. */
    enum backend_state state; /* follows from dismissed, drained, ejected and down: show_state() */
    uint64_t epoch;           /* resets so far */
    uint64_t readmits;        /* by probes, so far */
    _Atomic uint64_t in_flight, attempts, status_200, non_200;
    struct histogram latency;
    struct ledger_policy policy; /* each page has a copy, so that it changes under the page's lock */
    bool dismissed;              /* it has left, or there never was one */
    bool drained, ejected, down;
    bool silent; /* its last probe got no answer */
    bool ejected_at_known;
    uint64_t changes;              /* of `ejected` and `down`, so far */
    _Atomic mono_ns up_since;      /* 0: from the start */
    _Atomic mono_ns drained_since; /* 0: it does not drain */
    _Atomic uint64_t failures, request_faults;
    _Atomic uint64_t error_connect, error_timeout, error_reset, error_protocol;
    _Atomic uint64_t ejections;
    struct timespec ejected_at;
    struct probe_track probes;
    struct window window; /* where the policy has one: the failures by their time */
};

struct page {
    cache_aligned struct lock lock;
    struct page_shared shared;
};

struct ledger {
    /* read for every request, written on a change of state */
    cache_aligned _Atomic uint64_t rotation;
    _Atomic uint64_t drained;
    _Atomic uint64_t dead;
    cache_aligned void (*changed)(void *owner); /* NULL: nobody wants to know */
    void *changed_owner;
    struct page pages[CONFIG_BACKENDS_MAX];
};

static uint64_t counter_get(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static void counter_set(_Atomic uint64_t *counter, uint64_t value)
{
    atomic_store_explicit(counter, value, memory_order_relaxed);
}

/* Adds one; the page's lock is held, so no other writer can come between. */
static void counter_up(_Atomic uint64_t *counter)
{
    counter_set(counter, counter_get(counter) + 1);
}

static void counter_down(_Atomic uint64_t *counter)
{
    uint64_t value = counter_get(counter);
    MUST(value > 0);
    counter_set(counter, value - 1);
}

static struct page *page_of(struct ledger *l, uint32_t backend)
{
    MUST(backend < CONFIG_BACKENDS_MAX);
    return &l->pages[backend];
}

static void set_bit(_Atomic uint64_t *word, uint64_t bit, bool on)
{
    if (on) {
        atomic_fetch_or_explicit(word, bit, memory_order_relaxed);
    } else {
        atomic_fetch_and_explicit(word, ~bit, memory_order_relaxed);
    }
}

/* Sets PAGE's state to what its facts make it, and mirrors it in the sets. The page's lock keeps two
 * changes of the same bit apart; the other bits change under other locks, so the words themselves need an
 * atomic step. */
static void show_state(struct ledger *l, struct page *page) requires_lock(&page->lock)
{
    struct page_shared *s = &page->shared;
    uint64_t bit = UINT64_C(1) << (page - l->pages);
    enum backend_state before = s->state;
    s->state = s->drained || s->dismissed ? BACKEND_DRAINING
               : s->ejected               ? BACKEND_EJECTED
               : s->down                  ? BACKEND_DOWN
                                          : BACKEND_UP;
    if (s->state == BACKEND_UP && before != BACKEND_UP) {
        atomic_store_explicit(&s->up_since, clock_mono(), memory_order_relaxed);
    }
    if ((s->state == BACKEND_DRAINING) != (before == BACKEND_DRAINING)) {
        mono_ns since = s->state == BACKEND_DRAINING ? clock_mono() : 0;
        atomic_store_explicit(&s->drained_since, since, memory_order_relaxed);
    }
    set_bit(&l->rotation, bit, s->state == BACKEND_UP);
    set_bit(&l->drained, bit, s->state == BACKEND_DRAINING);
    set_bit(&l->dead, bit, s->down && s->silent);
}

struct ledger *ledger_new(uint32_t count, const struct ledger_policy *policy)
{
    MUST(count >= 1 && count <= CONFIG_BACKENDS_MAX);
    struct ledger *l = aligned_alloc(CACHE_LINE_BYTES, sizeof *l);
    if (l == NULL) {
        return NULL;
    }
    memset(l, 0, sizeof *l);
    for (uint32_t i = 0; i < CONFIG_BACKENDS_MAX; i++) {
        struct page *page = &l->pages[i];
        lock_init(&page->lock);
        lock_take(&page->lock);
        page->shared.policy = *policy;
        page->shared.dismissed = i >= count;
        show_state(l, page);
        lock_free(&page->lock);
    }
    return l;
}

void ledger_delete(struct ledger *l)
{
    if (l == NULL) {
        return;
    }
    for (uint32_t i = 0; i < CONFIG_BACKENDS_MAX; i++) {
        lock_destroy(&l->pages[i].lock);
    }
    free(l);
}

/* Changes what is known of PAGE's health. */
static void set_health(struct ledger *l, struct page *page, bool ejected, bool down)
    requires_lock(&page->lock)
{
    struct page_shared *s = &page->shared;
    bool was_well = !s->ejected && !s->down;
    bool is_well = !ejected && !down;
    s->ejected = ejected;
    s->down = down;
    s->changes++;
    if (was_well && !is_well) {
        probe_track_fell(&s->probes, clock_mono(), s->policy.interval_ms);
    } else if (!was_well && is_well) {
        probe_track_returned(&s->probes, clock_mono());
    }
    show_state(l, page);
}

void ledger_on_change(struct ledger *l, void (*changed)(void *owner), void *owner)
{
    l->changed = changed;
    l->changed_owner = owner;
}

static void tell_change(const struct ledger *l)
{
    if (l->changed != NULL) {
        l->changed(l->changed_owner);
    }
}

bool ledger_begin(struct ledger *l, uint32_t backend, bool require_up, struct attempt_ticket *ticket_)
{
    return ledger_begin_within(l, backend, require_up, 0, ticket_) == LEDGER_BEGUN;
}

enum ledger_answer ledger_begin_within(struct ledger *l, uint32_t backend, bool require_up,
                                       uint32_t max_in_flight, struct attempt_ticket *ticket_)
{
    struct page *page = page_of(l, backend);
    enum ledger_answer answer = LEDGER_OUT;
    lock_take(&page->lock);
    struct page_shared *s = &page->shared;
    if (s->state == BACKEND_UP || (!require_up && s->state != BACKEND_DRAINING)) {
        bool full = max_in_flight > 0 && counter_get(&s->in_flight) >= max_in_flight;
        answer = full ? LEDGER_FULL : LEDGER_BEGUN;
    }
    if (answer == LEDGER_BEGUN) {
        counter_up(&s->attempts);
        counter_up(&s->in_flight);
        *ticket_ = (struct attempt_ticket){.backend = backend, .epoch = s->epoch, .readmits = s->readmits};
    }
    lock_free(&page->lock);
    return answer;
}

/* Counts how an attempt of the current epoch ended. */
static void count_outcome(struct page *page, const struct attempt_outcome *outcome) requires_lock(&page->lock)
{
    struct page_shared *s = &page->shared;
    switch (outcome->end) {
    case ATTEMPT_ANSWERED:
        counter_up(outcome->status == 200 ? &s->status_200 : &s->non_200);
        histogram_record(&s->latency, outcome->latency_ns);
        return;
    case ATTEMPT_CONNECT:
        counter_up(&s->error_connect);
        return;
    case ATTEMPT_TIMEOUT:
        counter_up(&s->error_timeout);
        return;
    case ATTEMPT_RESET:
        counter_up(&s->error_reset);
        return;
    case ATTEMPT_PROTOCOL:
        counter_up(&s->error_protocol);
        return;
    case ATTEMPT_CANCELLED:
        counter_down(&s->attempts);
        return;
    }
    UNREACHABLE();
}

/* Adds a failure to PAGE's, and lets go of those that have left the window. Returns how many there are. The
 * clock is read under the lock, so that time never runs backwards for the window. */
static uint64_t add_failure(struct page *page) requires_lock(&page->lock)
{
    struct page_shared *s = &page->shared;
    uint64_t failures = s->policy.window_ms == 0 ? counter_get(&s->failures) + 1
                                                 : window_add(&s->window, clock_mono(), s->policy.window_ms);
    counter_set(&s->failures, failures);
    return failures;
}

/* Starts to count failures anew. */
static void clear_failures(struct page *page) requires_lock(&page->lock)
{
    counter_set(&page->shared.failures, 0);
    page->shared.window = (struct window){.newest = 0};
}

/* The failures of PAGE that count now. Of an ejected backend it is the count that ejected it: it slides no
 * more. */
static uint64_t failures_now(struct page *page) requires_lock(&page->lock)
{
    struct page_shared *s = &page->shared;
    if (s->policy.window_ms == 0 || s->ejected) {
        return counter_get(&s->failures);
    }
    return window_sum(&s->window, clock_mono(), s->policy.window_ms);
}

/* Counts the failure of TICKET's attempt against the backend, if it is up and has not come back since.
 * Returns whether that failure ejected it. */
static bool count_failure(struct ledger *l, struct page *page, const struct attempt_ticket *ticket)
    requires_lock(&page->lock)
{
    struct page_shared *s = &page->shared;
    if (s->state != BACKEND_UP || ticket->readmits != s->readmits) {
        return false;
    }
    if (add_failure(page) <= s->policy.eject_after) {
        return false;
    }
    set_health(l, page, true, s->down);
    counter_up(&s->ejections);
    clock_gettime(CLOCK_REALTIME, &s->ejected_at);
    s->ejected_at_known = true;
    return true;
}

bool ledger_end(struct ledger *l, const struct attempt_ticket *ticket, const struct attempt_outcome *outcome)
{
    struct page *page = page_of(l, ticket->backend);
    bool ejected = false;
    lock_take(&page->lock);
    counter_down(&page->shared.in_flight);
    if (ticket->epoch == page->shared.epoch) {
        count_outcome(page, outcome);
        if (outcome->failure && !outcome->undecided && outcome->end != ATTEMPT_CANCELLED) {
            ejected = count_failure(l, page, ticket);
        }
    }
    lock_free(&page->lock);
    if (ejected) {
        tell_change(l);
    }
    return ejected;
}

bool ledger_charge(struct ledger *l, const struct attempt_ticket *ticket)
{
    struct page *page = page_of(l, ticket->backend);
    lock_take(&page->lock);
    bool ejected = ticket->epoch == page->shared.epoch && count_failure(l, page, ticket);
    lock_free(&page->lock);
    if (ejected) {
        tell_change(l);
    }
    return ejected;
}

void ledger_excuse(struct ledger *l, const struct attempt_ticket *ticket)
{
    struct page *page = page_of(l, ticket->backend);
    lock_take(&page->lock);
    if (ticket->epoch == page->shared.epoch) {
        counter_up(&page->shared.request_faults);
    }
    lock_free(&page->lock);
}

uint64_t ledger_rotation(const struct ledger *l)
{
    return atomic_load_explicit(&l->rotation, memory_order_relaxed);
}

uint64_t ledger_drained(const struct ledger *l)
{
    return atomic_load_explicit(&l->drained, memory_order_relaxed);
}

bool ledger_is_dead(const struct ledger *l, uint32_t backend)
{
    MUST(backend < CONFIG_BACKENDS_MAX);
    return (atomic_load_explicit(&l->dead, memory_order_relaxed) >> backend & 1) != 0;
}

uint64_t ledger_fit(const struct ledger *l, uint64_t tried, bool *up_)
{
    uint64_t fit = ledger_rotation(l) & ~tried;
    *up_ = fit != 0;
    return *up_ ? fit : ~tried & ~ledger_drained(l);
}

uint64_t ledger_in_flight(const struct ledger *l, uint32_t backend)
{
    MUST(backend < CONFIG_BACKENDS_MAX);
    return counter_get(&l->pages[backend].shared.in_flight);
}

mono_ns ledger_drained_since(const struct ledger *l, uint32_t backend)
{
    MUST(backend < CONFIG_BACKENDS_MAX);
    return atomic_load_explicit(&l->pages[backend].shared.drained_since, memory_order_relaxed);
}

mono_ns ledger_up_since(const struct ledger *l, uint32_t backend)
{
    MUST(backend < CONFIG_BACKENDS_MAX);
    return atomic_load_explicit(&l->pages[backend].shared.up_since, memory_order_relaxed);
}

bool ledger_probe_begin(struct ledger *l, uint32_t backend, struct probe_ticket *ticket_)
{
    struct page *page = page_of(l, backend);
    mono_ns now = clock_mono();
    lock_take(&page->lock);
    const struct page_shared *s = &page->shared;
    bool begun = now >= s->probes.silent_until;
    *ticket_ = (struct probe_ticket){.backend = backend, .changes = s->changes};
    lock_free(&page->lock);
    return begun;
}

/* The probes brought PAGE back: not if it was ejected and somebody must reset it. Its old failures count no
 * more where probes readmit. */
static enum probe_effect bring_back(struct ledger *l, struct page *page) requires_lock(&page->lock)
{
    struct page_shared *s = &page->shared;
    bool readmit = s->policy.readmit_by_probes;
    bool changes = s->down || (s->ejected && readmit);
    if (!changes) {
        return PROBE_NO_EFFECT;
    }
    if (readmit) {
        s->readmits++;
        clear_failures(page);
    }
    set_health(l, page, s->ejected && !readmit, false);
    return s->ejected ? PROBE_NO_EFFECT : PROBE_BROUGHT_BACK;
}

enum probe_effect ledger_probe_end(struct ledger *l, const struct probe_ticket *ticket,
                                   enum probe_finding found)
{
    struct page *page = page_of(l, ticket->backend);
    enum probe_effect effect = PROBE_NO_EFFECT;
    lock_take(&page->lock);
    struct page_shared *s = &page->shared;
    if (ticket->changes == s->changes) {
        enum probe_turn turn =
            probe_track_count(&s->probes, found == PROBE_GOOD, s->policy.rise, s->policy.fall);
        s->silent = found == PROBE_SILENT;
        if (turn == PROBE_RISEN) {
            effect = bring_back(l, page);
        } else if (turn == PROBE_FALLEN && !s->down) {
            effect = s->ejected ? PROBE_NO_EFFECT : PROBE_TOOK_DOWN;
            set_health(l, page, s->ejected, true);
        } else {
            show_state(l, page); /* down as before, but it answers now, or does so no more */
        }
    }
    lock_free(&page->lock);
    if (effect != PROBE_NO_EFFECT) {
        tell_change(l);
    }
    return effect;
}

void ledger_drain(struct ledger *l, uint32_t backend, bool drain)
{
    struct page *page = page_of(l, backend);
    lock_take(&page->lock);
    page->shared.drained = drain;
    show_state(l, page);
    lock_free(&page->lock);
    tell_change(l);
}

/* Zeroes all counts of PAGE and makes it up. */
static void wipe(struct ledger *l, struct page *page) requires_lock(&page->lock)
{
    struct page_shared *s = &page->shared;
    s->epoch++;
    counter_set(&s->attempts, 0);
    counter_set(&s->status_200, 0);
    counter_set(&s->non_200, 0);
    counter_set(&s->request_faults, 0);
    clear_failures(page);
    counter_set(&s->error_connect, 0);
    counter_set(&s->error_timeout, 0);
    counter_set(&s->error_reset, 0);
    counter_set(&s->error_protocol, 0);
    counter_set(&s->ejections, 0);
    s->ejected_at_known = false;
    memset(&s->latency, 0, sizeof s->latency);
    s->drained = false;
    set_health(l, page, false, false);
    s->probes =
        (struct probe_track){.good = 0}; /* a reset is no return: what falls now falls for the first time */
}

/* Makes PAGE go by POLICY. The failures that count now are kept: as if they had all happened just now, when
 * the window is another one. */
static void adopt_policy(struct ledger *l, struct page *page, const struct ledger_policy *policy)
    requires_lock(&page->lock)
{
    struct page_shared *s = &page->shared;
    uint64_t failures = failures_now(page);
    bool other_window = policy->window_ms != s->policy.window_ms;
    s->policy = *policy;
    counter_set(&s->failures, failures);
    if (other_window && policy->window_ms > 0) {
        window_begin(&s->window, clock_mono(), policy->window_ms, failures);
    }
    if (!policy->probed) { /* nobody would bring it back */
        s->probes = (struct probe_track){.good = 0};
        set_health(l, page, s->ejected, false);
    }
}

void ledger_set_policy(struct ledger *l, const struct ledger_policy *policy)
{
    for (uint32_t i = 0; i < CONFIG_BACKENDS_MAX; i++) {
        struct page *page = &l->pages[i];
        lock_take(&page->lock);
        adopt_policy(l, page, policy);
        lock_free(&page->lock);
    }
    tell_change(l);
}

uint64_t ledger_reset(struct ledger *l, uint32_t backend)
{
    struct page *page = page_of(l, backend);
    lock_take(&page->lock);
    wipe(l, page);
    uint64_t epoch = page->shared.epoch;
    lock_free(&page->lock);
    tell_change(l);
    return epoch;
}

uint64_t ledger_admit(struct ledger *l, uint32_t slot)
{
    struct page *page = page_of(l, slot);
    lock_take(&page->lock);
    MUST(counter_get(&page->shared.in_flight) == 0);
    page->shared.dismissed = false;
    wipe(l, page);
    uint64_t epoch = page->shared.epoch;
    lock_free(&page->lock);
    tell_change(l);
    return epoch;
}

void ledger_dismiss(struct ledger *l, uint32_t slot)
{
    struct page *page = page_of(l, slot);
    lock_take(&page->lock);
    page->shared.dismissed = true;
    show_state(l, page);
    lock_free(&page->lock);
    tell_change(l);
}

void ledger_read(struct ledger *l, uint32_t backend, struct ledger_page *page_)
{
    struct page *page = page_of(l, backend);
    lock_take(&page->lock);
    const struct page_shared *s = &page->shared;
    *page_ = (struct ledger_page){
        .state = s->state,
        .attempts = counter_get(&s->attempts),
        .status_200 = counter_get(&s->status_200),
        .non_200 = counter_get(&s->non_200),
        .failures = failures_now(page),
        .request_faults = counter_get(&s->request_faults),
        .error_connect = counter_get(&s->error_connect),
        .error_timeout = counter_get(&s->error_timeout),
        .error_reset = counter_get(&s->error_reset),
        .error_protocol = counter_get(&s->error_protocol),
        .in_flight = counter_get(&s->in_flight),
        .ejections = counter_get(&s->ejections),
        .ejected_at_known = s->ejected_at_known,
        .ejected_at = s->ejected_at,
        .latency = s->latency, /* the quantiles are sought without the lock */
    };
    lock_free(&page->lock);
    page_->latency_p50_ms = (double)histogram_quantile_ns(&page_->latency, 50) / (double)NS_PER_MS;
    page_->latency_p99_ms = (double)histogram_quantile_ns(&page_->latency, 99) / (double)NS_PER_MS;
}

const char *backend_state_name(enum backend_state state)
{
    switch (state) {
    case BACKEND_UP:
        return "up";
    case BACKEND_EJECTED:
        return "ejected";
    case BACKEND_DOWN:
        return "down";
    case BACKEND_DRAINING:
        return "draining";
    }
    UNREACHABLE();
}
