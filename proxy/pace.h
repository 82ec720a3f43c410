/* SPDX-License-Identifier: MIT
 * Whether a client takes its response fast enough: it must take so much in each window of time. What its TCP
 * has acknowledged counts, for the kernel's buffers take megabytes before the client has taken anything. */
#ifndef HOLDFAST_PROXY_PACE_H
#define HOLDFAST_PROXY_PACE_H

#include "common/clock.h"
#include "common/compiler.h"

#include <stdint.h>

struct pace {
    mono_ns begun; /* the window */
    int64_t taken; /* bytes that had been taken then */
};

/* Begins a window at NOW for the client on FD, a socket, which was sent SENT_BYTES until then. They may be
 * counted from any point, but always the same: what was sent before it does no harm. */
void pace_begin(struct pace *p, int fd, uint64_t sent_bytes, mono_ns now);

/* When the client's time is up; not after NOW: it has been too slow. A client that has taken BYTES_PER_SECOND
 * for WINDOW_MS (at 0: anything) since its window began has another one from NOW on. FD and SENT_BYTES as
 * above. */
must_check mono_ns pace_deadline(struct pace *p, int fd, uint64_t sent_bytes, mono_ns now, uint32_t window_ms,
                                 uint32_t bytes_per_second);

#endif
