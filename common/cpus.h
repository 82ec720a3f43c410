/* SPDX-License-Identifier: MIT
 * How many CPUs this process may keep busy. The machine may have many more: a CPU set (taskset(1),
 * AllowedCPUs= of systemd.resource-control(5), a container's) says which of them it may run on, and the quota
 * of a cgroup (the limit of a container, CPUQuota=) for how much of their time. With a quota of two CPUs it
 * may well run on 64, but it stands still when it has done so for a 32nd part of the period. So the quota
 * counts as if it were a number of CPUs, as in other runtimes. Quotas of cgroup v1 are not looked at. */
#ifndef HOLDFAST_COMMON_CPUS_H
#define HOLDFAST_COMMON_CPUS_H

#include <stdint.h>

#define CPUS_UNLIMITED UINT32_MAX

/* The CPUs that the calling thread may run on (sched_getaffinity(2)), or as many as its cgroup's quota lets
 * it keep busy if that is less; 1 at least. A moment's picture. Reads files of /proc and /sys, so it is for
 * the start. Any thread, no lock held. */
uint32_t cpus_usable(void);

/* The CPUs that the least quota of the cgroup at PATH ("/a/b") and of those above it keeps busy, a part of
 * one counted as one. ROOT is where the tree of cgroup v2 is mounted; "" and "/" are the root itself. A group
 * that can't be read has no quota: so has each one whose mount is not there. CPUS_UNLIMITED when none has a
 * quota. Reads files. */
uint32_t cpus_of_cgroup(const char *root, const char *path);

/* The same for the text of one cpu.max: "QUOTA PERIOD" or "max PERIOD", in microseconds (cgroups(7), the
 * kernel's cgroup-v2.rst). CPUS_UNLIMITED for anything else. */
uint32_t cpus_of_quota(const char *text);

#endif
