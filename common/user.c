/* SPDX-License-Identifier: MIT
 * Giving up root is done in the only order that works: groups first, for afterwards there is no right to
 * change them. Then it is tried to get root back. That this fails is what shows that all is gone: a process
 * that was not root but had CAP_SETUID would keep it. */
#include "common/user.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <unistd.h>

enum { ENTRY_BYTES_MIN = 1024, ENTRY_BYTES_MAX = 1024 * 1024 };

bool user_find(const char *name, struct user *user_)
{
    int error = ERANGE;
    struct passwd entry, *found = NULL;
    for (size_t bytes = ENTRY_BYTES_MIN; error == ERANGE && bytes <= ENTRY_BYTES_MAX; bytes *= 2) {
        char *text = malloc(bytes);
        if (text == NULL) {
            return false;
        }
        error = getpwnam_r(name, &entry, text, bytes, &found);
        free(text); /* the numbers stand in ENTRY itself */
    }
    errno = error;
    if (error != 0 || found == NULL) {
        return false;
    }
    *user_ = (struct user){.uid = entry.pw_uid, .gid = entry.pw_gid};
    return true;
}

/* Whether the process is USER already, in every respect. */
static bool is_user(const struct user *user)
{
    uid_t uid, effective, saved;
    return getresuid(&uid, &effective, &saved) == 0 && uid == user->uid && effective == user->uid &&
           saved == user->uid;
}

const char *user_become(const struct user *user)
{
    if (is_user(user)) {
        return NULL;
    }
    if (setgroups(0, NULL) != 0) {
        return "setgroups";
    }
    if (setresgid(user->gid, user->gid, user->gid) != 0) {
        return "setresgid";
    }
    if (setresuid(user->uid, user->uid, user->uid) != 0) {
        return "setresuid";
    }
    if (user->uid != 0 && setresuid(0, 0, 0) == 0) {
        errno = EEXIST;
        return "root is still within reach";
    }
    return NULL;
}
