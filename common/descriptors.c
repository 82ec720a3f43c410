/* SPDX-License-Identifier: MIT */
#include "common/descriptors.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/resource.h>
#include <unistd.h>

enum { RESERVE_MAX = 64 };

int descriptors_reserved_from(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return INT_MAX;
    }
    rlim_t reserve = limit.rlim_cur / 8 < RESERVE_MAX ? limit.rlim_cur / 8 : RESERVE_MAX;
    rlim_t from = limit.rlim_cur - reserve;
    return from < INT_MAX ? (int)from : INT_MAX;
}

bool descriptor_is_reserved(int fd)
{
    return fd >= descriptors_reserved_from();
}

bool descriptors_are_short(void)
{
    int fd = open("/", O_PATH | O_CLOEXEC);
    bool reserved = fd == -1 || descriptor_is_reserved(fd);
    if (fd != -1) {
        close(fd);
    }
    return reserved;
}
