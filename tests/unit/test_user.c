/* SPDX-License-Identifier: MIT
 * Check runs each test in a process of its own, so that it may become whom it likes. */
#include "common/user.h"

#include <check.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct user nobody = {.uid = 65534, .gid = 65533};

START_TEST(a_user_is_found)
{
    struct user user = {.uid = 1, .gid = 1};
    ck_assert(user_find("root", &user));
    ck_assert_uint_eq(user.uid, 0);
    ck_assert_uint_eq(user.gid, 0);
    const struct passwd *entry = getpwnam("daemon");
    ck_assert_ptr_nonnull(entry);
    ck_assert(user_find("daemon", &user));
    ck_assert_uint_eq(user.uid, entry->pw_uid);
    ck_assert_uint_eq(user.gid, entry->pw_gid);
}
END_TEST

START_TEST(no_such_user)
{
    struct user user;
    ck_assert(!user_find("no-such-user", &user));
    ck_assert(!user_find("", &user));
    ck_assert(!user_find("0", &user));
}
END_TEST

START_TEST(nothing_of_root_is_left)
{
    if (geteuid() != 0) {
        return; /* flow/user says so where it is skipped */
    }
    const gid_t groups[] = {0, 4, 27};
    ck_assert_int_eq(setgroups(3, groups), 0);
    ck_assert_ptr_null(user_become(&nobody));
    uid_t uids[3];
    gid_t gids[3];
    ck_assert_int_eq(getresuid(&uids[0], &uids[1], &uids[2]), 0);
    ck_assert_int_eq(getresgid(&gids[0], &gids[1], &gids[2]), 0);
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_eq(uids[i], nobody.uid);
        ck_assert_uint_eq(gids[i], nobody.gid);
    }
    ck_assert_int_eq(getgroups(0, NULL), 0);
    ck_assert_int_eq(setuid(0), -1);
    ck_assert_int_eq(seteuid(0), -1);
    ck_assert_int_eq(setgid(0), -1);
    ck_assert_ptr_null(user_become(&nobody)); /* it is that user now */
}
END_TEST

START_TEST(who_is_not_root_becomes_nobody_else)
{
    const struct user other = {.uid = 65532, .gid = 65532};
    if (geteuid() == 0) {
        ck_assert_ptr_null(user_become(&nobody));
    }
    const char *failed = user_become(&other);
    ck_assert_ptr_nonnull(failed);
    ck_assert_str_eq(failed, "setgroups");
    ck_assert_int_eq(errno, EPERM);
}
END_TEST

START_TEST(root_that_stays_root_changes_nothing)
{
    const struct user self = {.uid = getuid(), .gid = getgid()};
    const int before = getgroups(0, NULL);
    ck_assert_ptr_null(user_become(&self));
    ck_assert_int_eq(getgroups(0, NULL), before);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("user");
    TCase *all = tcase_create("all");
    tcase_set_timeout(all, 60);
    tcase_add_test(all, a_user_is_found);
    tcase_add_test(all, no_such_user);
    tcase_add_test(all, nothing_of_root_is_left);
    tcase_add_test(all, who_is_not_root_becomes_nobody_else);
    tcase_add_test(all, root_that_stays_root_changes_nothing);
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
