/* SPDX-License-Identifier: MIT
 * CPUs: those of the set, as the kernel keeps it for this thread; those of a quota, in a tree of cgroups that
 * the test makes. */
#include "common/cpus.h"

#include <check.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))

static const struct {
    const char *text;
    uint32_t cpus;
} quotas[] = {
    {"max 100000\n", CPUS_UNLIMITED},
    {"100000 100000\n", 1},
    {"200000 100000\n", 2},
    {"150000 100000\n", 2}, /* a part of one counts as one */
    {"1000 100000\n", 1},
    {"20000 5000\n", 4},
    {"6400000 100000", 64},
    {"200000", CPUS_UNLIMITED}, /* what follows is none of the kernel's forms */
    {"200000 0\n", CPUS_UNLIMITED},
    {"0 100000\n", CPUS_UNLIMITED},
    {"18446744073709551615 1\n", CPUS_UNLIMITED},
    {"two 100000\n", CPUS_UNLIMITED},
    {"", CPUS_UNLIMITED},
};

START_TEST(a_quota_is_a_number_of_cpus)
{
    ck_assert_msg(cpus_of_quota(quotas[_i].text) == quotas[_i].cpus, "%s", quotas[_i].text);
}
END_TEST

static char root[] = "/tmp/test_cpus.XXXXXX";

static void make_group(const char *path)
{
    char folder[256];
    snprintf(folder, sizeof folder, "%s%s", root, path);
    ck_assert_int_eq(mkdir(folder, 0700), 0);
}

static void set_quota(const char *path, const char *text)
{
    char name[256];
    snprintf(name, sizeof name, "%s%s/cpu.max", root, path);
    FILE *file = fopen(name, "w");
    ck_assert_ptr_nonnull(file);
    fputs(text, file);
    ck_assert_int_eq(fclose(file), 0);
}

static void remove_tree(void)
{
    static const char *const made[] = {"/a/b/cpu.max", "/a/cpu.max", "/cpu.max", "/a/b", "/a", ""};
    for (int i = 0; i < ROWS(made); i++) {
        char name[256];
        snprintf(name, sizeof name, "%s%s", root, made[i]);
        ck_assert_int_eq(remove(name), 0);
    }
}

START_TEST(the_least_quota_above_counts)
{
    ck_assert_ptr_nonnull(mkdtemp(root));
    make_group("/a");
    make_group("/a/b");
    ck_assert_uint_eq(cpus_of_cgroup(root, "/a/b"), CPUS_UNLIMITED); /* the real root has no such file */
    set_quota("/a/b", "max 100000\n");
    ck_assert_uint_eq(cpus_of_cgroup(root, "/a/b"), CPUS_UNLIMITED);
    set_quota("/a", "300000 100000\n");
    ck_assert_uint_eq(cpus_of_cgroup(root, "/a/b"), 3);
    ck_assert_uint_eq(cpus_of_cgroup(root, "/a/b/"), 3);
    ck_assert_uint_eq(cpus_of_cgroup(root, "/a/gone"), 3);
    ck_assert_uint_eq(cpus_of_cgroup(root, "/"), CPUS_UNLIMITED);
    set_quota("/a/b", "400000 100000\n");
    ck_assert_uint_eq(cpus_of_cgroup(root, "/a/b"), 3);
    set_quota("/a/b", "150000 100000\n");
    ck_assert_uint_eq(cpus_of_cgroup(root, "/a/b"), 2);
    ck_assert_uint_eq(cpus_of_cgroup(root, "/a"), 3);
    set_quota("", "50000 100000\n"); /* as in a container, whose own group is mounted as the root */
    ck_assert_uint_eq(cpus_of_cgroup(root, "/a/b"), 1);
    ck_assert_uint_eq(cpus_of_cgroup(root, "/"), 1);
    ck_assert_uint_eq(cpus_of_cgroup(root, ""), 1);
    remove_tree();
    ck_assert_uint_eq(cpus_of_cgroup(root, "/a/b"), CPUS_UNLIMITED); /* nothing is mounted there */
}
END_TEST

START_TEST(a_cpu_set_counts)
{
    cpu_set_t before, one;
    ck_assert_int_eq(sched_getaffinity(0, sizeof before, &before), 0);
    ck_assert_uint_ge(cpus_usable(), 1);
    ck_assert_uint_le(cpus_usable(), (uint32_t)CPU_COUNT(&before));
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &before)) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
            ck_assert_uint_eq(cpus_usable(), 1);
        }
    }
    ck_assert_int_eq(sched_setaffinity(0, sizeof before, &before), 0);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("cpus");
    TCase *tcase = tcase_create("cpus");
    tcase_add_loop_test(tcase, a_quota_is_a_number_of_cpus, 0, ROWS(quotas));
    tcase_add_test(tcase, the_least_quota_above_counts);
    tcase_add_test(tcase, a_cpu_set_counts);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
