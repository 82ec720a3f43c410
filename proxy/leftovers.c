/* SPDX-License-Identifier: MIT */
#include "proxy/leftovers.h"

#include "common/pages.h"
#include "common/panic.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool leftovers_init(struct leftovers *l)
{
    *l = (struct leftovers){.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
                            .events = pages_new(LEFTOVERS_MAX * sizeof *l->events)};
    lock_init(&l->lock);
    return l->wake_fd != -1 && l->events != NULL;
}

void leftovers_release(struct leftovers *l)
{
    if (l->wake_fd != -1) {
        close(l->wake_fd);
    }
    pages_free(l->events, LEFTOVERS_MAX * sizeof *l->events);
    lock_destroy(&l->lock);
}

void leftovers_wake(const struct leftovers *l)
{
    uint64_t one = 1;
    ssize_t written = write(l->wake_fd, &one, sizeof one);
    MUST(written == sizeof one);
}

void leftovers_add(struct leftovers *l, const struct parking_event *events, uint32_t count)
{
    lock_take(&l->lock);
    uint32_t before = atomic_load_explicit(&l->count, memory_order_relaxed);
    MUST(before + count <= LEFTOVERS_MAX);
    memcpy(l->events + before, events, count * sizeof *events);
    atomic_store(&l->count, before + count);
    lock_free(&l->lock);
    leftovers_wake(l);
}

uint32_t leftovers_take(struct leftovers *l, struct parking_event *events_, uint32_t max)
{
    if (atomic_load(&l->count) == 0) {
        return 0;
    }
    lock_take(&l->lock);
    uint32_t count = atomic_load_explicit(&l->count, memory_order_relaxed);
    uint32_t taken = count < max ? count : max;
    memcpy(events_, l->events, taken * sizeof *events_);
    memmove(l->events, l->events + taken, (count - taken) * sizeof *events_);
    atomic_store(&l->count, count - taken);
    lock_free(&l->lock);
    if (count > taken) {
        leftovers_wake(l);
    }
    return taken;
}

uint32_t leftovers_count(const struct leftovers *l)
{
    return atomic_load(&l->count);
}
