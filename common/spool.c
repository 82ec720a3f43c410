/* SPDX-License-Identifier: MIT
 * Memory is counted against one budget of the process, so that thousands of half-sent bodies can't eat the
 * machine: past it, bodies go to files from their first byte. When a body outgrows memory, what memory held
 * is written to the file first, so that a body is always in one place.
 *
 * The memory of a large body goes to a shelf when the body is over, and the next large body takes what was
 * put there last: that is still in the CPU's cache. With the memory left to the request objects, of which
 * each worker keeps some, 16 clients that upload 1 MiB each went through 100 MiB in turn.
 *
 * The directory is $TMPDIR or /tmp;
 * O_TMPFILE gives a file that never had a name, mkostemp and unlink stand in where the file system can't do
 * that (open(2)). */
#include "common/spool.h"

#include "common/descriptors.h"
#include "common/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FIRST_BYTES = 16 << 10, SHELF_MAX = 32 };

struct block {
    char *memory;
    size_t capacity;
};

static struct {
    struct lock lock; /* must be held for the others */
    uint32_t count;
    struct block blocks[SHELF_MAX]; /* they count against the budget */
} shelf = {.lock = LOCK_INIT};

static _Atomic size_t budget_used;
static _Atomic uint64_t file_budget_used;

void spool_init(struct spool *s)
{
    *s = (struct spool){.file = -1};
}

static void drop_memory(struct spool *s)
{
    free(s->memory);
    atomic_fetch_sub_explicit(&budget_used, s->capacity, memory_order_relaxed);
    s->memory = NULL;
    s->capacity = 0;
}

/* Puts the memory on the shelf. */
static void put_away(struct spool *s)
{
    lock_take(&shelf.lock);
    bool kept = shelf.count < SHELF_MAX;
    if (kept) {
        shelf.blocks[shelf.count++] = (struct block){.memory = s->memory, .capacity = s->capacity};
    }
    lock_free(&shelf.lock);
    if (kept) {
        s->memory = NULL;
        s->capacity = 0;
    } else {
        drop_memory(s);
    }
}

/* Moves the body to a block of the shelf that holds at least CAPACITY bytes. False when none came to hand. */
static bool take_block(struct spool *s, size_t capacity)
{
    struct spool larger = {.capacity = 0};
    lock_take(&shelf.lock);
    if (shelf.count > 0) {
        const struct block *last = &shelf.blocks[--shelf.count];
        larger.memory = last->memory;
        larger.capacity = last->capacity;
    }
    lock_free(&shelf.lock);
    if (larger.capacity < capacity) {
        drop_memory(&larger); /* the shelf is to hold what bodies need now */
        return false;
    }
    if (s->length_bytes > 0) {
        memcpy(larger.memory, s->memory, (size_t)s->length_bytes);
    }
    drop_memory(s);
    s->memory = larger.memory;
    s->capacity = larger.capacity;
    return true;
}

void spool_clear(struct spool *s)
{
    if (s->file != -1) {
        close(s->file);
        s->file = -1;
        atomic_fetch_sub_explicit(&file_budget_used, s->length_bytes, memory_order_relaxed);
    }
    s->length_bytes = 0;
    if (atomic_load_explicit(&budget_used, memory_order_relaxed) > SPOOL_BUDGET_BYTES / 2) {
        drop_memory(s);
    } else if (s->capacity > SPOOL_PIECE_BYTES) {
        put_away(s);
    }
}

void spool_rest(struct spool *s)
{
    if (s->file != -1) {
        drop_memory(s);
    }
}

void spool_release(struct spool *s)
{
    spool_clear(s);
    drop_memory(s);
}

/* Grows the memory to CAPACITY bytes; false (errno ENOMEM) when that is over the budget, unless FORCED. */
static bool grow(struct spool *s, size_t capacity, bool forced)
{
    size_t more = capacity - s->capacity;
    size_t used = atomic_fetch_add_explicit(&budget_used, more, memory_order_relaxed);
    char *memory = NULL;
    if (forced || used + more <= SPOOL_BUDGET_BYTES) {
        memory = realloc(s->memory, capacity);
    }
    if (memory == NULL) {
        atomic_fetch_sub_explicit(&budget_used, more, memory_order_relaxed);
        errno = ENOMEM;
        return false;
    }
    s->memory = memory;
    s->capacity = capacity;
    return true;
}

static bool write_bytes(int file, const char *bytes, size_t count)
{
    while (count > 0) {
        ssize_t written = write(file, bytes, count);
        if (written == -1 && errno != EINTR) {
            return false;
        }
        if (written > 0) {
            bytes += written;
            count -= (size_t)written;
        }
    }
    return true;
}

/* Writes COUNT bytes to FILE, if the budget of all files has room for them. */
static bool write_all(int file, const char *bytes, size_t count)
{
    uint64_t used = atomic_fetch_add_explicit(&file_budget_used, count, memory_order_relaxed);
    if (used + count > SPOOL_FILE_BUDGET_BYTES || !write_bytes(file, bytes, count)) {
        int failure = used + count > SPOOL_FILE_BUDGET_BYTES ? ENOSPC : errno;
        atomic_fetch_sub_explicit(&file_budget_used, count, memory_order_relaxed);
        errno = failure;
        return false;
    }
    return true;
}

/* A file for a body, or -1 with errno set. The descriptors that are kept for other things are not for bodies.
 */
static int open_unlinked(void)
{
    const char *folder = getenv("TMPDIR");
    if (folder == NULL || folder[0] == '\0') {
        folder = "/tmp";
    }
    int file = open(folder, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (file == -1 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        char name[512];
        snprintf(name, sizeof name, "%s/holdfast-XXXXXX", folder);
        file = mkostemp(name, O_CLOEXEC);
        if (file != -1) {
            unlink(name);
        }
    }
    if (file != -1 && descriptor_is_reserved(file)) {
        close(file);
        errno = EMFILE;
        return -1;
    }
    return file;
}

static bool move_to_file(struct spool *s)
{
    int file = open_unlinked();
    if (file == -1) {
        return false;
    }
    if (!write_all(file, s->memory, (size_t)s->length_bytes)) {
        int kept = errno;
        close(file);
        errno = kept;
        return false;
    }
    s->file = file;
    return s->capacity >= SPOOL_PIECE_BYTES || grow(s, SPOOL_PIECE_BYTES, true);
}

/* In memory: makes sure that the next bytes have room, doubling, or at once to the size that is known to
 * come. */
static bool grow_in_memory(struct spool *s, uint64_t want_bytes)
{
    uint64_t needed = s->length_bytes + (want_bytes < SPOOL_MEMORY_BYTES ? want_bytes : 1);
    size_t capacity = s->capacity * 2 > FIRST_BYTES ? s->capacity * 2 : FIRST_BYTES;
    if (needed > SPOOL_MEMORY_BYTES) {
        needed = SPOOL_MEMORY_BYTES;
    }
    if (capacity < needed) {
        capacity = (size_t)needed;
    }
    if (capacity > SPOOL_MEMORY_BYTES) {
        capacity = SPOOL_MEMORY_BYTES;
    }
    if (capacity > SPOOL_PIECE_BYTES && take_block(s, capacity)) {
        return true;
    }
    return grow(s, capacity, false);
}

char *spool_room(struct spool *s, uint64_t want_bytes, size_t *room_)
{
    size_t used = s->file == -1 ? (size_t)s->length_bytes : 0;
    if (s->file == -1 && used == s->capacity) {
        bool in_memory = s->length_bytes < SPOOL_MEMORY_BYTES && want_bytes <= SPOOL_MEMORY_BYTES &&
                         grow_in_memory(s, want_bytes);
        if (!in_memory && !move_to_file(s)) {
            return NULL;
        }
        used = s->file == -1 ? used : 0;
    }
    if (s->file != -1 && s->capacity == 0 && !grow(s, SPOOL_PIECE_BYTES, true)) {
        return NULL;
    }
    size_t room = s->capacity - used;
    *room_ = room < want_bytes ? room : (size_t)want_bytes;
    return s->memory + used;
}

bool spool_commit(struct spool *s, size_t count)
{
    if (s->file != -1 && !write_all(s->file, s->memory, count)) {
        return false;
    }
    s->length_bytes += count;
    return true;
}

bool spool_append(struct spool *s, const char *bytes, size_t count)
{
    while (count > 0) {
        size_t room = 0;
        char *at = spool_room(s, count, &room);
        if (at == NULL) {
            return false;
        }
        memcpy(at, bytes, room);
        if (!spool_commit(s, room)) {
            return false;
        }
        bytes += room;
        count -= room;
    }
    return true;
}
