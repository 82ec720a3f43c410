/* SPDX-License-Identifier: MIT */
#include "proxy/pace.h"

#include <linux/sockios.h>
#include <sys/ioctl.h>

/* Sent, and acknowledged (tcp(7), SIOCOUTQ). Negative while more is under way than was counted. */
static int64_t taken_of(int fd, uint64_t sent_bytes)
{
    int under_way = 0;
    if (ioctl(fd, SIOCOUTQ, &under_way) == -1) {
        under_way = 0;
    }
    return (int64_t)sent_bytes - under_way;
}

void pace_begin(struct pace *p, int fd, uint64_t sent_bytes, mono_ns now)
{
    *p = (struct pace){.begun = now, .taken = taken_of(fd, sent_bytes)};
}

mono_ns pace_deadline(struct pace *p, int fd, uint64_t sent_bytes, mono_ns now, uint32_t window_ms,
                      uint32_t bytes_per_second)
{
    int64_t least = (int64_t)bytes_per_second * window_ms / 1000;
    int64_t taken = taken_of(fd, sent_bytes);
    if (taken > p->taken && taken - p->taken >= least) {
        *p = (struct pace){.begun = now, .taken = taken};
    }
    return deadline_after_ms(p->begun, window_ms);
}
