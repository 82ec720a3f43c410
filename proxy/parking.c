/* SPDX-License-Identifier: MIT
 * Slots are never freed, so a slot's word (slot_word.h) is always safe to read. Deadlines stand in an array
 * of their own, so that the sweep reads 8 bytes for each connection and not a cache line. */
#include "proxy/parking.h"

#include "common/lock.h"
#include "common/pages.h"
#include "common/panic.h"
#include "proxy/awaited.h"
#include "proxy/leftovers.h"
#include "proxy/slot_word.h"
#include "proxy/tally.h"

#include <errno.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* What events carry: generation and slot of a client; this bit and the descriptor of a backend's connection;
 * or one of the last two. */
#define BACKEND_EVENT UINT64_C(0x80000000)
#define STOP_EVENT    UINT64_MAX
#define WAKE_EVENT    (UINT64_MAX - 1)

#define DEADLINE_SLACK_NS (8 * NS_PER_MS)

/* Lines of its own: neighbours are served on other CPUs. */
struct slot {
    cache_aligned _Atomic uint64_t word;
    struct client client;
};

struct parking {
    int all_fd;     /* the epoll set of all connections, to clients and to backends */
    int answers_fd; /* that of connections to backends only */
    int nudge_fd;   /* an eventfd in the latter */
    int room_fd;    /* an eventfd in none: a connection was closed while ROOM_WANTED */
    int stop_fd;
    _Atomic bool room_wanted;
    _Atomic bool stopped;
    struct awaited *awaited;
    uint32_t capacity;
    struct slot *slots;
    /* By slot; read by the sweep, written by the slot's owner; of no meaning while it is AWAITING. Neighbours
     * share lines, so a deadline is not moved by less than DEADLINE_SLACK_NS. */
    _Atomic mono_ns *deadlines;
    _Atomic uint32_t ever_used; /* slots below it have had a tenant */
    _Atomic uint64_t accepted;
    struct {
        struct lock lock; /* must be held for the two below */
        uint32_t *free_slots;
        uint32_t free_count;
    } shared;
    struct leftovers asking, answering; /* events of clients' own connections, and of those to backends */
    _Atomic bool passed_over;           /* there may be events in ANSWERS_FD that ALL_FD gives no more */
    _Atomic uint32_t open;
    struct tally *tally; /* NULL: no limit for one client */
};

static bool is_of_backend(const struct parking_event *event)
{
    return (event->what & BACKEND_EVENT) != 0;
}

/* The descriptor whose event it is. */
static uint32_t backend_of(const struct parking_event *event)
{
    return (uint32_t)(event->what & ~BACKEND_EVENT);
}

/* Makes FD's events come from EPOLL_FD, with DATA. */
static bool watch_for(int epoll_fd, int fd, uint32_t flags, uint64_t data)
{
    struct epoll_event event = {.events = EPOLLIN | flags, .data.u64 = data};
    return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static bool make_sets(struct parking *p)
{
    p->all_fd = epoll_create1(EPOLL_CLOEXEC);
    p->answers_fd = epoll_create1(EPOLL_CLOEXEC);
    p->nudge_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->room_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool made = leftovers_init(&p->asking);
    made = leftovers_init(&p->answering) && made;
    return made && p->room_fd != -1 && watch_for(p->all_fd, p->asking.wake_fd, EPOLLET, WAKE_EVENT) &&
           watch_for(p->all_fd, p->answering.wake_fd, EPOLLET, WAKE_EVENT) &&
           watch_for(p->answers_fd, p->answering.wake_fd, EPOLLET, WAKE_EVENT) &&
           watch_for(p->answers_fd, p->nudge_fd, EPOLLET, WAKE_EVENT) &&
           watch_for(p->all_fd, p->stop_fd, 0, STOP_EVENT) &&
           watch_for(p->answers_fd, p->stop_fd, 0, STOP_EVENT);
}

struct parking *parking_new(uint32_t capacity, uint32_t per_client)
{
    struct parking *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    lock_init(&p->shared.lock);
    p->capacity = capacity;
    bool made = make_sets(p);
    p->awaited = awaited_new(p->all_fd, p->answers_fd);
    p->slots = pages_new(capacity * sizeof *p->slots);
    p->deadlines = pages_new(capacity * sizeof *p->deadlines);
    p->shared.free_slots = pages_new(capacity * sizeof *p->shared.free_slots);
    p->tally = per_client > 0 ? tally_new(capacity, per_client) : NULL;
    if (!made || p->awaited == NULL || p->slots == NULL || p->deadlines == NULL ||
        p->shared.free_slots == NULL || (per_client > 0 && p->tally == NULL)) {
        parking_delete(p);
        return NULL;
    }
    return p;
}

static void close_if_open(int fd)
{
    if (fd != -1) {
        close(fd);
    }
}

void parking_delete(struct parking *p)
{
    if (p == NULL) {
        return;
    }
    uint32_t used = atomic_load(&p->ever_used);
    for (uint32_t i = 0; i < used; i++) {
        if (slot_word_state(atomic_load(&p->slots[i].word)) != SLOT_FREE) {
            MUST(p->slots[i].client.request == NULL && p->slots[i].client.outbox == NULL &&
                 p->slots[i].client.course == NULL);
            close(p->slots[i].client.fd);
        }
    }
    close_if_open(p->all_fd);
    close_if_open(p->answers_fd);
    close_if_open(p->nudge_fd);
    close_if_open(p->room_fd);
    close_if_open(p->stop_fd);
    leftovers_release(&p->asking);
    leftovers_release(&p->answering);
    pages_free(p->slots, p->capacity * sizeof *p->slots);
    pages_free(p->deadlines, p->capacity * sizeof *p->deadlines);
    pages_free(p->shared.free_slots, p->capacity * sizeof *p->shared.free_slots);
    awaited_delete(p->awaited);
    tally_delete(p->tally);
    lock_destroy(&p->shared.lock);
    free(p);
}

/* A free slot, or the capacity when there is none. Slots that were used before come first: their memory is
 * warm. */
static uint32_t slot_acquire(struct parking *p)
{
    uint32_t slot = p->capacity;
    lock_take(&p->shared.lock);
    if (p->shared.free_count > 0) {
        slot = p->shared.free_slots[--p->shared.free_count];
    } else if (atomic_load(&p->ever_used) < p->capacity) {
        slot = atomic_fetch_add(&p->ever_used, 1);
    }
    lock_free(&p->shared.lock);
    return slot;
}

static void slot_release(struct parking *p, uint32_t slot)
{
    lock_take(&p->shared.lock);
    p->shared.free_slots[p->shared.free_count++] = slot;
    lock_free(&p->shared.lock);
}

bool parking_count_client(struct parking *p, struct client *c)
{
    if (p->tally != NULL) {
        struct in6_addr ip = net_address_ip(&c->peer);
        c->tallied = tally_add(p->tally, &ip);
        return c->tallied;
    }
    return true;
}

/* Gives C's slot up; stale events for it fail from now on. */
static void vacate(struct parking *p, struct client *c)
{
    MUST(c->request == NULL && c->outbox == NULL && c->course == NULL);
    if (c->tallied) {
        struct in6_addr ip = net_address_ip(&c->peer);
        tally_remove(p->tally, &ip);
    }
    struct slot *slot = &p->slots[c->slot];
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_relaxed);
    atomic_store_explicit(&slot->word, slot_word_freed(word), memory_order_release);
    atomic_fetch_sub(&p->open, 1);
}

/* Lets events for the connection come. False when epoll has no memory and the slot is still the caller's. */
static bool begin_events(struct parking *p, struct slot *slot, mono_ns deadline)
{
    uint64_t word = slot_word_with(atomic_load_explicit(&slot->word, memory_order_relaxed), SLOT_IDLE);
    uint32_t index = slot->client.slot;
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET,
                                .data.u64 = slot_word_generation(word) | index};
    atomic_store_explicit(&p->deadlines[index], deadline, memory_order_relaxed);
    atomic_store_explicit(&slot->word, word, memory_order_release);
    if (epoll_ctl(p->all_fd, EPOLL_CTL_ADD, slot->client.fd, &event) == 0) {
        return true;
    }
    /* When this fails, the sweep has taken the connection meanwhile, and closes it. */
    return !atomic_compare_exchange_strong(&slot->word, &word, slot_word_with(word, SLOT_BUSY));
}

enum parking_admission parking_admit(struct parking *p, int fd, const union net_address *peer,
                                     bool awaits_proxy_header, mono_ns deadline)
{
    uint32_t index = slot_acquire(p);
    if (index == p->capacity) {
        return PARKING_FULL;
    }
    struct slot *slot = &p->slots[index];
    slot->client =
        (struct client){.fd = fd, .slot = index, .peer = *peer, .awaits_proxy_header = awaits_proxy_header};
    atomic_fetch_add_explicit(&p->open, 1, memory_order_relaxed);
    bool counted = awaits_proxy_header || parking_count_client(p, &slot->client);
    if (!counted || !begin_events(p, slot, deadline)) {
        vacate(p, &slot->client);
        slot_release(p, index);
        return counted ? PARKING_FULL : PARKING_CLIENT_HAS_MANY;
    }
    atomic_fetch_add_explicit(&p->accepted, 1, memory_order_relaxed);
    return PARKING_ADMITTED;
}

/* Tells C, taken in STATE by an event with FLAGS, what is known of its socket. */
static void note_event(struct client *c, enum slot_state state, bool of_backend, uint32_t flags)
{
    c->gone = !of_backend && (flags & (EPOLLHUP | EPOLLERR)) != 0;
    if (!of_backend || state == SLOT_AWAITING_MORE) {
        c->drained = false;
        c->ended = c->gone || state == SLOT_AWAITING_MORE || (flags & EPOLLRDHUP) != 0;
    }
}

/* Takes the slot of the client EVENT, if it is parked; else leaves word to its owner that there is more to
 * look at. */
static struct client *take_slot(struct parking *p, uint64_t event, bool of_backend, uint32_t flags)
{
    struct slot *slot = &p->slots[event & UINT32_MAX];
    bool gone = !of_backend && (flags & (EPOLLHUP | EPOLLERR)) != 0;
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
    for (;;) {
        enum slot_state state = slot_word_state(word);
        enum slot_state next = slot_state_after(state, of_backend, gone);
        if (slot_word_generation(word) != slot_word_generation(event) || next == state) {
            return NULL;
        }
        if (atomic_compare_exchange_weak_explicit(&slot->word, &word, slot_word_with(word, next),
                                                  memory_order_acq_rel, memory_order_acquire)) {
            if (next != SLOT_BUSY) {
                return NULL;
            }
            note_event(&slot->client, state, of_backend, flags);
            return &slot->client;
        }
    }
}

static struct client *take_event(struct parking *p, const struct parking_event *event)
{
    if (event->what >= WAKE_EVENT) {
        return NULL; /* leftovers are looked for before each wait */
    }
    if (!is_of_backend(event)) {
        return take_slot(p, event->what, false, event->flags);
    }
    uint64_t client = awaited_by(p->awaited, backend_of(event));
    return client == AWAITED_NOBODY ? NULL : take_slot(p, client, true, event->flags);
}

static void write_one(int event_fd)
{
    uint64_t one = 1;
    ssize_t written = write(event_fd, &one, sizeof one);
    MUST(written == sizeof one);
}

void parking_nudge(struct parking *p)
{
    write_one(p->nudge_fd);
}

void parking_give_back(struct parking *p, struct parking_batch *b)
{
    while (!parking_batch_is_empty(b)) {
        parking_leave_next(p, b);
    }
    /* An event that woke us for leftovers may have been among those we leave, or that we had. */
    if (leftovers_count(&p->asking) > 0) {
        leftovers_wake(&p->asking);
    }
    if (leftovers_count(&p->answering) > 0) {
        leftovers_wake(&p->answering);
    }
}

bool parking_next_may_ask(const struct parking_batch *b)
{
    return !is_of_backend(&b->events[b->next]);
}

void parking_leave_next(struct parking *p, struct parking_batch *b)
{
    const struct parking_event *event = &b->events[b->next++];
    if (event->what < WAKE_EVENT) {
        leftovers_add(is_of_backend(event) ? &p->answering : &p->asking, event, 1);
    }
}

static int set_of(const struct parking *p, enum parking_source source)
{
    return source == PARKING_ALL ? p->all_fd : p->answers_fd;
}

/* Appends up to MOST events of SOURCE to B, which is empty. Returns how many. */
static uint32_t take_events(struct parking *p, struct parking_batch *b, enum parking_source source,
                            uint32_t most, int timeout_ms)
{
    struct epoll_event events[PARKING_BATCH_MAX];
    int count = epoll_wait(set_of(p, source), events, (int)most, timeout_ms);
    MUST(count != -1 || errno == EINTR);
    for (int i = 0; i < count; i++) {
        b->events[b->count++] = (struct parking_event){.what = events[i].data.u64, .flags = events[i].events};
    }
    return b->count;
}

uint32_t parking_fetch(struct parking *p, struct parking_batch *b, enum parking_source source, uint32_t max,
                       bool wait)
{
    MUST(parking_batch_is_empty(b) && max > 0);
    uint32_t most = max < PARKING_BATCH_MAX ? max : PARKING_BATCH_MAX;
    b->next = 0;
    b->count = leftovers_take(&p->answering, b->events, most);
    if (source == PARKING_ALL && b->count < most) {
        b->count += leftovers_take(&p->asking, b->events + b->count, most - b->count);
    }
    if (b->count > 0) {
        return b->count;
    }
    if (source == PARKING_ALL && atomic_load_explicit(&p->passed_over, memory_order_relaxed) &&
        atomic_exchange(&p->passed_over, false) && take_events(p, b, PARKING_ANSWERS, most, 0) > 0) {
        atomic_store(&p->passed_over, true); /* maybe there are more */
        return b->count;
    }
    return take_events(p, b, source, most, wait ? -1 : 0);
}

struct client *parking_next(struct parking *p, struct parking_batch *b)
{
    if (parking_stopped(p)) {
        b->next = b->count;
        return NULL; /* workers must end, not serve a backlog */
    }
    return take_event(p, &b->events[b->next++]);
}

struct client *parking_take_now(struct parking *p)
{
    struct client *client = NULL;
    bool passed_over = false;
    while (client == NULL && !parking_stopped(p)) {
        struct parking_batch one = {.count = leftovers_take(&p->asking, one.events, 1)};
        if (one.count == 0 && take_events(p, &one, PARKING_ALL, 1, 0) == 0) {
            break;
        }
        if (parking_next_may_ask(&one)) {
            client = parking_next(p, &one);
        } else {
            passed_over = true;
        }
    }
    if (passed_over) {
        atomic_store(&p->passed_over, true);
        leftovers_wake(&p->answering);
    }
    return client;
}

uint32_t parking_descriptors(const struct parking *p)
{
    return awaited_capacity(p->awaited);
}

void parking_fresh(struct parking *p, int backend_fd)
{
    awaited_fresh(p->awaited, backend_fd);
}

bool parking_expect(struct parking *p, const struct client *c, int backend_fd)
{
    uint64_t word = atomic_load_explicit(&p->slots[c->slot].word, memory_order_relaxed);
    return awaited_expect(p->awaited, backend_fd, BACKEND_EVENT | (uint32_t)backend_fd,
                          slot_word_generation(word) | c->slot);
}

void parking_settle(struct parking *p, int backend_fd)
{
    awaited_settle(p->awaited, backend_fd);
}

void parking_leave(struct parking *p, int backend_fd)
{
    awaited_leave(p->awaited, backend_fd);
}

bool parking_client_is_gone(const struct parking *p, uint32_t slot)
{
    return slot_word_state(atomic_load_explicit(&p->slots[slot].word, memory_order_relaxed)) == SLOT_GONE;
}

struct client *parking_client(struct parking *p, uint32_t slot)
{
    return &p->slots[slot].client;
}

bool parking_is_ready(const struct parking *p, enum parking_source source)
{
    struct pollfd look = {.fd = set_of(p, source), .events = POLLIN};
    return poll(&look, 1, 0) > 0;
}

bool parking_stopped(const struct parking *p)
{
    return atomic_load_explicit(&p->stopped, memory_order_relaxed);
}

/* Moves *SHOWN to DEADLINE, or leaves it when it is a little earlier. */
static void move_deadline(_Atomic mono_ns *shown, mono_ns deadline)
{
    mono_ns before = atomic_load_explicit(shown, memory_order_relaxed);
    if (deadline < before || deadline - before > DEADLINE_SLACK_NS) {
        atomic_store_explicit(shown, deadline, memory_order_relaxed);
    }
}

bool parking_park(struct parking *p, struct client *c, enum parking_phase phase, mono_ns deadline)
{
    struct slot *slot = &p->slots[c->slot];
    MUST(phase == PARKING_WRITING || c->outbox == NULL);
    MUST(phase == PARKING_READING || phase == PARKING_WRITING || phase == PARKING_AWAITING ||
         c->request == NULL);
    MUST(phase != PARKING_AWAITING || deadline == DEADLINE_NO);
    if (phase != PARKING_AWAITING) {
        move_deadline(&p->deadlines[c->slot], deadline);
    }
    uint64_t busy = slot_word_with(atomic_load_explicit(&slot->word, memory_order_relaxed), SLOT_BUSY);
    uint64_t parked = slot_word_parked(busy, slot_state_of(phase));
    uint64_t word = busy;
    if (atomic_compare_exchange_strong_explicit(&slot->word, &word, parked, memory_order_acq_rel,
                                                memory_order_acquire)) {
        return true;
    }
    MUST(slot_word_state(word) == SLOT_AGAIN || slot_word_state(word) == SLOT_GONE);
    atomic_store_explicit(&slot->word, busy, memory_order_relaxed);
    c->gone = slot_word_state(word) == SLOT_GONE;
    c->drained = false;
    c->ended = true; /* for all we know: what the missed event said was not kept */
    return false;
}

bool parking_want_writable(struct parking *p, struct client *c, bool wanted)
{
    uint64_t word = atomic_load_explicit(&p->slots[c->slot].word, memory_order_relaxed);
    struct epoll_event event = {.events = EPOLLIN | EPOLLRDHUP | EPOLLET | (wanted ? EPOLLOUT : 0),
                                .data.u64 = slot_word_generation(word) | c->slot};
    return epoll_ctl(p->all_fd, EPOLL_CTL_MOD, c->fd, &event) == 0;
}

void parking_requeue(struct parking *p, struct client *c, enum parking_phase phase, mono_ns deadline)
{
    /* An event that still waits in the epoll set is seen after the parking. One that a worker got meanwhile,
     * and left as AGAIN, must be made anew. */
    while (!parking_park(p, c, phase, deadline)) {
        MUST(parking_want_writable(p, c, phase == PARKING_WRITING));
    }
}

/* A connection less is open. The look at ROOM_WANTED is ordered behind the count, as who wants room looks at
 * the count behind its note. */
static void tell_room(struct parking *p)
{
    if (atomic_load(&p->room_wanted) && atomic_exchange(&p->room_wanted, false)) {
        write_one(p->room_fd);
    }
}

int parking_want_room(struct parking *p)
{
    uint64_t told;
    ssize_t got = read(p->room_fd, &told, sizeof told);
    (void)got; /* nothing to read: nobody has left since */
    atomic_store(&p->room_wanted, true);
    return p->room_fd;
}

int parking_release(struct parking *p, struct client *c)
{
    uint32_t index = c->slot;
    int fd = c->fd;
    struct epoll_event unused = {.events = 0};
    MUST(epoll_ctl(p->all_fd, EPOLL_CTL_DEL, fd, &unused) == 0);
    vacate(p, c);
    slot_release(p, index);
    tell_room(p);
    return fd;
}

void parking_close(struct parking *p, struct client *c)
{
    uint32_t index = c->slot;
    int fd = c->fd;
    vacate(p, c);
    close(fd); /* which takes it out of the epoll set */
    slot_release(p, index);
    tell_room(p);
}

/* Takes slot I if it is parked and, in the same moment, past its deadline or (with EVERY_IDLE) idle. */
static bool take_overdue(struct parking *p, uint32_t i, mono_ns now, bool every_idle,
                         enum parking_phase *phase_)
{
    struct slot *slot = &p->slots[i];
    uint64_t word = atomic_load_explicit(&slot->word, memory_order_acquire);
    enum slot_state state = slot_word_state(word);
    mono_ns deadline =
        slot_is_awaiting(state) ? DEADLINE_NO : atomic_load_explicit(&p->deadlines[i], memory_order_relaxed);
    bool overdue = deadline <= now;
    if (!slot_is_parked(state) || !(overdue || (every_idle && state == SLOT_IDLE))) {
        return false;
    }
    *phase_ = slot_phase_of(state);
    return atomic_compare_exchange_strong_explicit(&slot->word, &word, slot_word_with(word, SLOT_BUSY),
                                                   memory_order_acq_rel, memory_order_relaxed);
}

void parking_sweep(struct parking *p, mono_ns now, bool every_idle,
                   void (*overdue)(void *owner, struct client *c, enum parking_phase phase), void *owner)
{
    uint32_t used = atomic_load_explicit(&p->ever_used, memory_order_relaxed);
    for (uint32_t i = 0; i < used; i++) {
        enum parking_phase phase;
        bool early = atomic_load_explicit(&p->deadlines[i], memory_order_relaxed) > now;
        if ((!early || every_idle) && take_overdue(p, i, now, every_idle, &phase)) {
            overdue(owner, &p->slots[i].client, phase);
        }
    }
}

void parking_count(const struct parking *p, struct parking_counts *counts_)
{
    *counts_ = (struct parking_counts){.accepted = atomic_load(&p->accepted)};
    uint32_t used = atomic_load(&p->ever_used);
    for (uint32_t i = 0; i < used; i++) {
        enum slot_state state =
            slot_word_state(atomic_load_explicit(&p->slots[i].word, memory_order_relaxed));
        if (state == SLOT_IDLE) {
            counts_->idle++;
        } else if (state != SLOT_FREE) {
            counts_->active++;
            counts_->awaiting += slot_is_awaiting(state);
        }
    }
}

uint32_t parking_open(const struct parking *p)
{
    return atomic_load(&p->open);
}

void parking_stop(struct parking *p)
{
    atomic_store(&p->stopped, true);
    write_one(p->stop_fd);
}
