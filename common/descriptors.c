/* SPDX-License-Identifier: MIT */
#include "common/descriptors.h"

#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

enum { RESERVE_MAX = 64 };

bool descriptor_is_reserved(int fd)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return false;
    }
    rlim_t reserve = limit.rlim_cur / 8 < RESERVE_MAX ? limit.rlim_cur / 8 : RESERVE_MAX;
    return (rlim_t)fd >= limit.rlim_cur - reserve;
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
