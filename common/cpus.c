/* SPDX-License-Identifier: MIT */
#include "common/cpus.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The kernel refuses a set that is smaller than its own; 8192 CPUs are the most that it is built for. */
enum { SETS = 8192 / CPU_SETSIZE };

static uint32_t smaller(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

/* Reads the file at PATH, its beginning if it is longer. False when there is nothing to read. */
static bool read_text(const char *path, char *text, size_t room)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd == -1) {
        return false;
    }
    ssize_t got = read(fd, text, room - 1);
    close(fd);
    text[got > 0 ? got : 0] = '\0';
    return got > 0;
}

uint32_t cpus_of_quota(const char *text)
{
    char *end;
    unsigned long long quota_us = strtoull(text, &end, 10);
    unsigned long long period_us = end == text ? 0 : strtoull(end, NULL, 10);
    if (quota_us == 0 || period_us == 0) {
        return CPUS_UNLIMITED;
    }
    unsigned long long cpus = quota_us / period_us + (quota_us % period_us != 0);
    return cpus < CPUS_UNLIMITED ? (uint32_t)cpus : CPUS_UNLIMITED;
}

uint32_t cpus_of_cgroup(const char *root, const char *path)
{
    char file[PATH_MAX], text[64];
    uint32_t least = CPUS_UNLIMITED;
    for (size_t length = strlen(path);;) {
        while (length > 0 && path[length - 1] == '/') {
            length--;
        }
        int n = snprintf(file, sizeof file, "%s%.*s/cpu.max", root, (int)length, path);
        if (n > 0 && (size_t)n < sizeof file && read_text(file, text, sizeof text)) {
            least = smaller(least, cpus_of_quota(text));
        }
        if (length == 0) {
            return least;
        }
        while (length > 0 && path[length - 1] != '/') {
            length--;
        }
    }
}

/* The same for the cgroup v2 of this process: the line "0::PATH" (cgroups(7)). */
static uint32_t cpus_of_own_cgroup(void)
{
    char text[PATH_MAX];
    if (!read_text("/proc/self/cgroup", text, sizeof text)) {
        return CPUS_UNLIMITED;
    }
    for (char *rest = text, *line; (line = strsep(&rest, "\n")) != NULL;) {
        if (strncmp(line, "0::/", 4) == 0) {
            return cpus_of_cgroup("/sys/fs/cgroup", line + 3);
        }
    }
    return CPUS_UNLIMITED;
}

uint32_t cpus_usable(void)
{
    cpu_set_t sets[SETS];
    long count = sched_getaffinity(0, sizeof sets, sets) == 0 ? CPU_COUNT_S(sizeof sets, sets)
                                                              : sysconf(_SC_NPROCESSORS_ONLN);
    return smaller(count > 0 ? (uint32_t)count : 1, cpus_of_own_cgroup());
}
