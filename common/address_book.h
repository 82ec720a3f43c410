/* SPDX-License-Identifier: MIT
 * The addresses of one name as they are now: written by one thread now and then, read by all at any time
 * without a lock. There are two pages. A new list is written to the page that is not shown, and then the
 * pages change places. A reader copies the page that is shown, and copies again only if they have changed
 * places meanwhile: it never waits for the writer, not even for one that is asleep in the middle. */
#ifndef HOLDFAST_COMMON_ADDRESS_BOOK_H
#define HOLDFAST_COMMON_ADDRESS_BOOK_H

#include "common/compiler.h"
#include "common/net.h"

#include <stdatomic.h>
#include <stdint.h>

enum { ADDRESS_BOOK_WORDS = (sizeof(union net_address) + 3) / 4 };

struct address_page {
    _Atomic uint32_t count;
    _Atomic uint32_t words[NET_ADDRESSES_MAX][ADDRESS_BOOK_WORDS];
};

/* All zeros: no address. */
struct address_book {
    _Atomic uint32_t version; /* lists published so far; its lowest bit says which page is shown */
    struct address_page pages[2];
};

/* Shows ADDRESSES from now on. One thread at a time. */
void address_book_publish(struct address_book *b, const struct net_addresses *addresses);

/* Copies what is shown; returns its version. Any thread. */
uint32_t address_book_read(const struct address_book *b, struct net_addresses *addresses_);

/* The version of what is shown. Any thread. */
static inline uint32_t address_book_version(const struct address_book *b)
{
    return atomic_load_explicit(&b->version, memory_order_acquire);
}

#endif
