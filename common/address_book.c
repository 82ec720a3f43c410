/* SPDX-License-Identifier: MIT
 * Every word is stored with release and loaded with acquire. So a reader that sees one word of a page that is
 * being written anew also sees that the version has moved on since that page was shown, and copies again. */
#include "common/address_book.h"

#include "common/panic.h"

#include <string.h>

_Static_assert(sizeof(union net_address) == ADDRESS_BOOK_WORDS * sizeof(uint32_t),
               "an address is no whole number of words");

void address_book_publish(struct address_book *b, const struct net_addresses *addresses)
{
    MUST(addresses->count <= NET_ADDRESSES_MAX);
    uint32_t version = atomic_load_explicit(&b->version, memory_order_relaxed) + 1;
    struct address_page *page = &b->pages[version & 1];
    for (uint32_t i = 0; i < addresses->count; i++) {
        uint32_t words[ADDRESS_BOOK_WORDS];
        memcpy(words, &addresses->list[i], sizeof words);
        for (uint32_t w = 0; w < ADDRESS_BOOK_WORDS; w++) {
            atomic_store_explicit(&page->words[i][w], words[w], memory_order_release);
        }
    }
    atomic_store_explicit(&page->count, addresses->count, memory_order_release);
    atomic_store_explicit(&b->version, version, memory_order_release);
}

uint32_t address_book_read(const struct address_book *b, struct net_addresses *addresses_)
{
    for (;;) {
        uint32_t version = address_book_version(b);
        const struct address_page *page = &b->pages[version & 1];
        addresses_->count = atomic_load_explicit(&page->count, memory_order_acquire);
        for (uint32_t i = 0; i < addresses_->count; i++) {
            uint32_t words[ADDRESS_BOOK_WORDS];
            for (uint32_t w = 0; w < ADDRESS_BOOK_WORDS; w++) {
                words[w] = atomic_load_explicit(&page->words[i][w], memory_order_acquire);
            }
            memcpy(&addresses_->list[i], words, sizeof words);
        }
        if (atomic_load_explicit(&b->version, memory_order_relaxed) == version) {
            return version;
        }
    }
}
