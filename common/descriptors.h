/* SPDX-License-Identifier: MIT
 * How many descriptors are left. Some are kept for what matters most: connections to backends, and the admin
 * endpoint. Who takes descriptors for strangers, in any number, stops before these. */
#ifndef HOLDFAST_COMMON_DESCRIPTORS_H
#define HOLDFAST_COMMON_DESCRIPTORS_H

#include <stdbool.h>

/* The first of the descriptors that are kept: see below. One system call. */
int descriptors_reserved_from(void);

/* Whether FD, which was opened just now, is one of the last eighth that RLIMIT_NOFILE allows, 64 at most. A
 * new descriptor is the lowest one that is free (POSIX, 2.6), so its number tells. One system call. */
bool descriptor_is_reserved(int fd);

/* Whether a descriptor that is opened now would be one of these, or none could be had. Three system calls. */
bool descriptors_are_short(void);

#endif
