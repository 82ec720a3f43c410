/* SPDX-License-Identifier: MIT */
#include "proxy/log_buffers.h"

#include "common/panic.h"

void log_buffers_init(struct log_buffers *b, char *first, char *second, size_t capacity, int64_t age_ns)
{
    *b = (struct log_buffers){.capacity = capacity, .age_ns = age_ns};
    b->at[0] = first;
    b->at[1] = second;
}

/* The one that fills is the writer's from now on; lines go to the other one, which is empty. */
static void swap(struct log_buffers *b)
{
    MUST(!b->full && b->length[b->filling ^ 1] == 0);
    b->full = true;
    b->filling ^= 1;
}

/* Clears the note that the writer sleeps. Whether it was there. */
static bool wake(struct log_buffers *b)
{
    bool slept = b->sleeps;
    b->sleeps = false;
    return slept;
}

bool log_buffers_add(struct log_buffers *b, struct slice line, mono_ns now)
{
    bool has_become_full = false;
    if (line.length > b->capacity - b->length[b->filling]) {
        if (b->full || line.length > b->capacity) {
            b->dropped++;
            return false;
        }
        swap(b);
        has_become_full = true;
    }
    if (b->length[b->filling] == 0) {
        b->filling_at = now;
    }
    memcpy(b->at[b->filling] + b->length[b->filling], line.at, line.length);
    b->length[b->filling] += line.length;
    b->lines++;
    return wake(b) || has_become_full;
}

mono_ns log_buffers_take(struct log_buffers *b, mono_ns now, bool everything, struct slice *taken_)
{
    *taken_ = (struct slice){NULL, 0};
    mono_ns due = b->filling_at + b->age_ns;
    if (!b->full) {
        if (b->length[b->filling] == 0) {
            b->sleeps = true;
            return DEADLINE_NO;
        }
        if (!everything && now < due) {
            return due;
        }
        swap(b);
    }
    b->sleeps = false;
    *taken_ = (struct slice){b->at[b->filling ^ 1], b->length[b->filling ^ 1]};
    return now;
}

void log_buffers_written(struct log_buffers *b, uint64_t lost)
{
    MUST(b->full);
    b->length[b->filling ^ 1] = 0;
    b->full = false;
    b->dropped += lost;
}
