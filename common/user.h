/* SPDX-License-Identifier: MIT
 * The users of the system, and becoming one of them. */
#ifndef HOLDFAST_COMMON_USER_H
#define HOLDFAST_COMMON_USER_H

#include "common/compiler.h"

#include <stdbool.h>
#include <sys/types.h>

struct user {
    uid_t uid;
    gid_t gid; /* of the user's own group */
};

/* Finds the user called NAME (getpwnam(3)). False when there is none, or none can be found out: errno is then
 * 0, or tells. May ask a directory service, so it may take its time. Any thread. */
must_check bool user_find(const char *name, struct user *user_);

/* Gives up what the process is for USER, for good: its real, effective and saved user and group, all further
 * groups, and with root its capabilities. If the process is that user already, nothing changes, and its
 * further groups stay. All threads of the process change. Returns NULL, or the name of what failed, with
 * errno: then the process is half of each and must end. */
must_check const char *user_become(const struct user *user);

#endif
