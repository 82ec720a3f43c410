/* SPDX-License-Identifier: MIT
 * The two buffers between those who make lines and the one who writes them: lines go to the one that fills,
 * while the writer has the other. They never grow, and nobody waits: when the one that fills has no room and
 * the writer still has the other, a line is dropped and counted. Pure: the caller has a lock and tells the
 * time. */
#ifndef HOLDFAST_PROXY_LOG_BUFFERS_H
#define HOLDFAST_PROXY_LOG_BUFFERS_H

#include "common/clock.h"
#include "common/compiler.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

struct log_buffers {
    char *at[2];        /* CAPACITY bytes each, the caller's */
    size_t capacity;    /* bytes */
    size_t length[2];   /* bytes */
    unsigned filling;   /* the one that lines go to */
    bool full;          /* the other one is the writer's: to be taken, or taken */
    bool sleeps;        /* the writer knows of nothing to write: the next line must wake it */
    mono_ns filling_at; /* when the first line came into the one that fills */
    uint64_t lines;     /* that were let in, and */
    uint64_t dropped;   /* that were not, or were given up by the writer */
    int64_t age_ns;     /* how old a line may become before the writer takes a buffer that is not full */
};

/* Makes B empty, with two buffers of CAPACITY bytes at FIRST and SECOND. */
void log_buffers_init(struct log_buffers *b, char *first, char *second, size_t capacity, int64_t age_ns);

/* Adds LINE at NOW; drops and counts it when there is no room. True when the writer must be woken. */
must_check bool log_buffers_add(struct log_buffers *b, struct slice line, mono_ns now);

/* What the writer has to do: a buffer to write, when *TAKEN_ is not empty, which it then has until
 * log_buffers_written(); otherwise nothing before the time that is returned, DEADLINE_NO until it is woken.
 * With EVERYTHING, a buffer that is neither full nor old is given too. The writer must have none. */
must_check mono_ns log_buffers_take(struct log_buffers *b, mono_ns now, bool everything,
                                    struct slice *taken_);

/* The writer is done with the buffer that it took: it was written, but for LOST lines. */
void log_buffers_written(struct log_buffers *b, uint64_t lost);

#endif
