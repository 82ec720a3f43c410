/* SPDX-License-Identifier: MIT
 * A page and a lock for each backend, as in the ledger. The record is made before the lock is taken, so that
 * under it there is only copying. */
#include "healthd/evidence.h"

#include "common/lock.h"
#include "common/panic.h"

#include <stdlib.h>
#include <string.h>

struct shelf {
    cache_aligned struct lock lock;
    uint64_t epoch; /* of all that is on the page */
    struct evidence_page page;
};

struct evidence {
    uint32_t count;
    struct shelf shelves[];
};

struct evidence *evidence_new(uint32_t count)
{
    size_t bytes = sizeof(struct evidence) + count * sizeof(struct shelf);
    struct evidence *e = aligned_alloc(CACHE_LINE_BYTES, bytes);
    if (e == NULL) {
        return NULL;
    }
    memset(e, 0, bytes);
    e->count = count;
    for (uint32_t i = 0; i < count; i++) {
        lock_init(&e->shelves[i].lock);
    }
    return e;
}

void evidence_delete(struct evidence *e)
{
    if (e == NULL) {
        return;
    }
    for (uint32_t i = 0; i < e->count; i++) {
        lock_destroy(&e->shelves[i].lock);
    }
    free(e);
}

static struct shelf *shelf_of(struct evidence *e, uint32_t backend)
{
    MUST(backend < e->count);
    return &e->shelves[backend];
}

/* Copies what fits of FROM into the ROOM (at most 255) bytes at TO. Returns how many. */
static uint8_t copy(char *to, size_t room, struct slice from)
{
    size_t length = from.length < room ? from.length : room;
    if (length > 0) {
        memcpy(to, from.at, length);
    }
    return (uint8_t)length;
}

/* Begins EPOCH on SHELF, unless that or a later one has begun. The ledger's reset and ours are two steps: the
 * first failure of the new epoch may come between them. False when EPOCH is over. */
static bool enter_epoch(struct shelf *shelf, uint64_t epoch) requires_lock(&shelf->lock)
{
    if (epoch > shelf->epoch) {
        memset(&shelf->page, 0, sizeof shelf->page);
        shelf->epoch = epoch;
    }
    return epoch == shelf->epoch;
}

void evidence_keep(struct evidence *e, uint32_t backend, const struct evidence_note *note)
{
    struct shelf *shelf = shelf_of(e, backend);
    struct evidence_failure f = {
        .cause = note->cause,
        .status = note->status,
        .attempt = note->attempt,
        .duration_ns = note->duration_ns,
    };
    f.method_bytes = copy(f.method, sizeof f.method, note->method);
    f.path_bytes = copy(f.path, sizeof f.path, note->path);
    f.request_id_bytes = copy(f.request_id, sizeof f.request_id, note->request_id);
    clock_gettime(CLOCK_REALTIME, &f.when);
    MUST(note->cause < EVIDENCE_CAUSES);
    lock_take(&shelf->lock);
    if (enter_epoch(shelf, note->epoch)) {
        struct evidence_page *page = &shelf->page;
        page->counts[f.cause]++;
        page->last[f.cause] = f.when;
        page->failures[page->total++ % EVIDENCE_FAILURES] = f;
        if (note->ejected) {
            page->has_ejected = true;
            page->ejected = f;
        }
    }
    lock_free(&shelf->lock);
}

void evidence_reset(struct evidence *e, uint32_t backend, uint64_t epoch)
{
    struct shelf *shelf = shelf_of(e, backend);
    lock_take(&shelf->lock);
    (void)enter_epoch(shelf, epoch);
    lock_free(&shelf->lock);
}

void evidence_read(struct evidence *e, uint32_t backend, struct evidence_page *page_)
{
    struct shelf *shelf = shelf_of(e, backend);
    lock_take(&shelf->lock);
    *page_ = shelf->page;
    lock_free(&shelf->lock);
}

const char *evidence_cause_name(enum evidence_cause cause)
{
    static const char *const names[EVIDENCE_CAUSES] = {
        "dns",         "refused",      "unreachable", "connect_timeout",
        "reset_fresh", "closed_early", "malformed",   "response_timeout",
        "truncated",   "2xx",          "3xx",         "4xx",
        "5xx",
    };
    MUST(cause < EVIDENCE_CAUSES);
    return names[cause];
}
