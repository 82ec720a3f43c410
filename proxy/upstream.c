/* SPDX-License-Identifier: MIT
 * The pool is a stack: the connection used last is the one least likely to have been closed by the backend,
 * and the ones below it rest until they are trimmed. One look at the socket before it is lent (a read that
 * does not wait) finds both a closed connection and an answer that nobody asked for; without it, such an
 * answer would be taken for that of the next request. It can't be spared by waiting for the epoll sets' word
 * that something has come: while all workers are busy nobody has fetched that yet. The look and every close
 * happen outside the lock. */
#include "proxy/upstream.h"

#include "proxy/lifetime.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PLACE_BITS = 6, PLACE_MASK = (1 << PLACE_BITS) - 1, BATCH = 64 };

/* A bit of a version that no list reaches which lives as long as a connection with the old tag. */
#define VERSION_OF_NONE (UINT32_C(1) << (31 - PLACE_BITS))

_Static_assert(NET_ADDRESSES_MAX == 1 << PLACE_BITS, "a place does not fit into its bits of a tag");

static uint32_t word_of(uint32_t version, uint32_t place)
{
    return version << PLACE_BITS | place;
}

/* Whether TAG names an address of the list VERSION. */
static bool is_of_version(const struct upstream_tag *tag, uint32_t version)
{
    return ((word_of(version, 0) ^ tag->address) & ~(uint32_t)PLACE_MASK) == 0;
}

bool upstream_init(struct upstream *u, const struct net_addresses *addresses, uint32_t idle_max,
                   uint32_t life_ms)
{
    memset(u, 0, sizeof *u);
    u->idle_max = idle_max;
    u->life_ms = life_ms;
    address_book_publish(&u->book, addresses);
    u->trimmed_version = address_book_version(&u->book);
    lock_init(&u->shared.lock);
    u->shared.idle = calloc(idle_max, sizeof *u->shared.idle);
    return u->shared.idle != NULL || idle_max == 0;
}

void upstream_release(struct upstream *u)
{
    for (uint32_t i = 0; i < u->shared.count; i++) {
        close(u->shared.idle[i].fd);
    }
    free(u->shared.idle);
    u->shared.idle = NULL;
    u->shared.count = 0;
    lock_destroy(&u->shared.lock);
}

void upstream_move(struct upstream *u, const struct net_addresses *addresses)
{
    address_book_publish(&u->book, addresses);
    for (uint32_t i = 0; i < NET_ADDRESSES_MAX; i++) {
        atomic_store_explicit(&u->shunned_until[i], 0, memory_order_relaxed);
    }
}

void upstream_choose(struct upstream *u, struct upstream_route *route_)
{
    route_->version = address_book_read(&u->book, &route_->addresses);
    uint32_t count = route_->addresses.count;
    route_->order[0] = 0;
    if (count < 2) {
        return;
    }
    uint32_t turn = atomic_fetch_add_explicit(&u->turn, 1, memory_order_relaxed);
    mono_ns now = clock_mono();
    uint32_t at = 0, shunned = 0;
    uint8_t last[NET_ADDRESSES_MAX];
    for (uint32_t i = 0; i < count; i++) {
        uint32_t place = (turn + i) % count;
        if (atomic_load_explicit(&u->shunned_until[place], memory_order_relaxed) > now) {
            last[shunned++] = (uint8_t)place;
        } else {
            route_->order[at++] = (uint8_t)place;
        }
    }
    memcpy(route_->order + at, last, shunned);
}

void upstream_divert(struct upstream_route *route, const union net_address *address)
{
    route->version ^= VERSION_OF_NONE;
    route->order[0] = 0;
    route->addresses.count = 1;
    route->addresses.list[0] = *address;
}

struct upstream_tag upstream_tag(const struct upstream_route *route, uint32_t i)
{
    return (struct upstream_tag){.address = word_of(route->version, route->order[i])};
}

void upstream_note_open(struct upstream *u, struct upstream_tag *tag, mono_ns now)
{
    _Atomic mono_ns *until = &u->shunned_until[tag->address & PLACE_MASK];
    if (atomic_load_explicit(until, memory_order_relaxed) != 0) {
        atomic_store_explicit(until, 0, memory_order_relaxed);
    }
    uint32_t nth = atomic_fetch_add_explicit(&u->opened, 1, memory_order_relaxed);
    tag->retire_at = deadline_after_ms(now, lifetime_ms(u->life_ms, nth));
}

void upstream_note_failed(struct upstream *u, const struct upstream_tag *tag)
{
    if (is_of_version(tag, address_book_version(&u->book))) {
        atomic_store_explicit(&u->shunned_until[tag->address & PLACE_MASK],
                              deadline_after_ms(clock_mono(), UPSTREAM_SHUN_MS), memory_order_relaxed);
    }
}

static bool is_quiet(int fd)
{
    char byte;
    return recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == -1 && (errno == EAGAIN || errno == EWOULDBLOCK);
}

/* Takes the topmost connection to the address of *TAG out of the pool, and fills *TAG; -1 without one. */
static int pop(struct upstream *u, struct upstream_tag *tag)
{
    int fd = -1;
    lock_take(&u->shared.lock);
    uint32_t i = u->shared.count;
    while (i > 0 && u->shared.idle[i - 1].tag.address != tag->address) {
        i--;
    }
    if (i > 0) {
        fd = u->shared.idle[i - 1].fd;
        *tag = u->shared.idle[i - 1].tag;
        u->shared.count--;
        memmove(&u->shared.idle[i - 1], &u->shared.idle[i],
                (u->shared.count - (i - 1)) * sizeof *u->shared.idle);
    }
    lock_free(&u->shared.lock);
    return fd;
}

int upstream_take_idle(struct upstream *u, const struct upstream_route *route, struct upstream_tag *tag_)
{
    *tag_ = upstream_tag(route, 0);
    for (;;) {
        int fd = pop(u, tag_);
        if (fd == -1 || is_quiet(fd)) {
            return fd;
        }
        close(fd);
    }
}

/* Makes FD's *TAG, which is void, that of its address in the list that is shown. False when it is not in it.
 */
static bool renew_tag(const struct upstream *u, int fd, struct upstream_tag *tag)
{
    struct net_addresses now;
    uint32_t version = address_book_read(&u->book, &now);
    union net_address peer = {.in6 = {.sin6_family = AF_UNSPEC}};
    socklen_t size = sizeof peer;
    if (getpeername(fd, &peer.base, &size) == -1) {
        return false;
    }
    for (uint32_t i = 0; i < now.count; i++) {
        if (net_compare(&now.list[i], &peer) == 0) {
            tag->address = word_of(version, i);
            return true;
        }
    }
    return false;
}

void upstream_give_back(struct upstream *u, int fd, struct upstream_tag tag, mono_ns now)
{
    MUST(fd >= 0);
    bool kept = false;
    bool known = is_of_version(&tag, address_book_version(&u->book)) || renew_tag(u, fd, &tag);
    if (!known || now >= tag.retire_at) {
        close(fd);
        return;
    }
    lock_take(&u->shared.lock);
    if (u->shared.count < u->idle_max) {
        u->shared.idle[u->shared.count++] = (struct upstream_idle){.fd = fd, .tag = tag, .since = now};
        kept = true;
    }
    lock_free(&u->shared.lock);
    if (!kept) {
        close(fd);
    }
}

void upstream_trim(struct upstream *u, mono_ns since)
{
    uint32_t count;
    do {
        int old[BATCH];
        count = 0;
        lock_take(&u->shared.lock);
        while (count < BATCH && count < u->shared.count && u->shared.idle[count].since < since) {
            old[count] = u->shared.idle[count].fd;
            count++;
        }
        u->shared.count -= count;
        memmove(u->shared.idle, u->shared.idle + count, u->shared.count * sizeof *u->shared.idle);
        lock_free(&u->shared.lock);
        for (uint32_t i = 0; i < count; i++) {
            close(old[i]);
        }
    } while (count == BATCH);
}

/* Takes up to BATCH connections whose tag is void by now out of the pool. How many. */
static uint32_t pop_void(struct upstream *u, uint32_t version, struct upstream_idle found_[static BATCH])
{
    uint32_t count = 0, left = 0;
    lock_take(&u->shared.lock);
    for (uint32_t i = 0; i < u->shared.count; i++) {
        if (count < BATCH && !is_of_version(&u->shared.idle[i].tag, version)) {
            found_[count++] = u->shared.idle[i];
        } else {
            u->shared.idle[left++] = u->shared.idle[i];
        }
    }
    u->shared.count = left;
    lock_free(&u->shared.lock);
    return count;
}

void upstream_trim_gone(struct upstream *u)
{
    uint32_t version = address_book_version(&u->book);
    uint32_t count = version == u->trimmed_version ? 0 : BATCH;
    while (count == BATCH) {
        struct upstream_idle found[BATCH];
        count = pop_void(u, version, found);
        for (uint32_t i = 0; i < count; i++) {
            upstream_give_back(u, found[i].fd, found[i].tag, found[i].since);
        }
    }
    u->trimmed_version = version;
}
