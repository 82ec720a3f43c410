/* SPDX-License-Identifier: MIT
 * A hash table with open addressing, twice as large as the number of connections, so that it never fills up
 * and needs no allocation after start. Linear probing; a removal moves the entries behind it up, so that no
 * gravestones gather. The hash is seeded, so that nobody can choose addresses that meet in one place. */
#include "proxy/tally.h"

#include "common/lock.h"
#include "common/random.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    uint64_t key[2];
    uint32_t count; /* 0: free */
};

struct tally {
    uint32_t max_each;
    uint32_t mask;
    uint64_t seed[2];
    struct {
        struct lock lock; /* must be held for what follows */
        struct entry *entries;
    } shared;
};

struct tally *tally_new(uint32_t connections, uint32_t max_each)
{
    struct tally *t = calloc(1, sizeof *t);
    uint64_t size = 16;
    while (size < (uint64_t)connections * 2) {
        size *= 2;
    }
    if (t == NULL) {
        return NULL;
    }
    t->shared.entries = calloc(size, sizeof *t->shared.entries);
    if (t->shared.entries == NULL) {
        free(t);
        return NULL;
    }
    t->max_each = max_each;
    t->mask = (uint32_t)(size - 1);
    lock_init(&t->shared.lock);
    random_bytes((unsigned char *)t->seed, sizeof t->seed);
    return t;
}

void tally_delete(struct tally *t)
{
    if (t != NULL) {
        lock_destroy(&t->shared.lock);
        free(t->shared.entries);
        free(t);
    }
}

static void key_of(const struct in6_addr *ip, uint64_t key_[2])
{
    memcpy(key_, ip->s6_addr, sizeof ip->s6_addr);
    if (!IN6_IS_ADDR_V4MAPPED(ip)) {
        key_[1] = 0;
    }
}

static uint32_t home_of(const struct tally *t, const uint64_t key[2])
{
    uint64_t h = (key[0] ^ t->seed[0]) * UINT64_C(0x9e3779b97f4a7c15);
    h = (h ^ (h >> 32) ^ key[1] ^ t->seed[1]) * UINT64_C(0xbf58476d1ce4e5b9);
    return (uint32_t)(h >> 32) & t->mask;
}

/* The entry of KEY, or the free one where it belongs. Call with the lock held. */
static uint32_t find_locked(const struct tally *t, const uint64_t key[2])
{
    uint32_t i = home_of(t, key);
    while (t->shared.entries[i].count > 0 && memcmp(t->shared.entries[i].key, key, 2 * sizeof key[0]) != 0) {
        i = (i + 1) & t->mask;
    }
    return i;
}

bool tally_add(struct tally *t, const struct in6_addr *ip)
{
    uint64_t key[2];
    key_of(ip, key);
    lock_take(&t->shared.lock);
    struct entry *entry = &t->shared.entries[find_locked(t, key)];
    bool fits = entry->count < t->max_each;
    if (fits) {
        memcpy(entry->key, key, sizeof key);
        entry->count++;
    }
    lock_free(&t->shared.lock);
    return fits;
}

/* Closes the gap at I: entries behind it that probing could no longer reach move up. Call with the lock held.
 */
static void close_gap_locked(struct tally *t, uint32_t i)
{
    struct entry *entries = t->shared.entries;
    for (uint32_t j = (i + 1) & t->mask; entries[j].count > 0; j = (j + 1) & t->mask) {
        uint32_t home = home_of(t, entries[j].key);
        if (((j - home) & t->mask) >= ((j - i) & t->mask)) {
            entries[i] = entries[j];
            entries[j].count = 0;
            i = j;
        }
    }
}

void tally_remove(struct tally *t, const struct in6_addr *ip)
{
    uint64_t key[2];
    key_of(ip, key);
    lock_take(&t->shared.lock);
    uint32_t i = find_locked(t, key);
    MUST(t->shared.entries[i].count > 0);
    if (--t->shared.entries[i].count == 0) {
        close_gap_locked(t, i);
    }
    lock_free(&t->shared.lock);
}
