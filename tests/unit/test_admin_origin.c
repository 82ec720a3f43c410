/* SPDX-License-Identifier: MIT
 * Who may send admin requests without a token. */
#include "healthd/admin_origin.h"

#include <check.h>
#include <stdlib.h>

static const struct {
    const char *host;
    bool near;
} hosts[] = {
    {"", true},
    {"127.0.0.1:8081", true},
    {"127.0.0.1", true},
    {"127.8.9.10:1", true},
    {"localhost", true},
    {"LocalHost:8081", true},
    {"[::1]:8081", true},
    {"[::1]", true},
    {"admin.internal:8081", true}, /* what it was told to listen on */
    {"evil.example", false},
    {"127.0.0.1.evil.example", false},
    {"localhost.evil.example:8081", false},
    {"10.0.0.1:8081", false},
    {"128.0.0.1", false},
    {"[::2]:8081", false},
    {"[::1", false},
    {"[]", false},
    {":8081", false},
    {"2130706433", false}, /* 127.0.0.1 to some readers */
    {"0x7f.1", false},
};

START_TEST(near_hosts)
{
    ck_assert(admin_host_is_near(slice_of(hosts[_i].host), "admin.internal") == hosts[_i].near);
}
END_TEST

static const struct {
    const char *origin, *host;
    bool own;
} origins[] = {
    {"", "127.0.0.1:8081", true},
    {"http://127.0.0.1:8081", "127.0.0.1:8081", true},
    {"HTTP://LOCALHOST:8081", "localhost:8081", true},
    {"http://localhost:3000", "localhost:8081", false},
    {"http://localhost:8081", "127.0.0.1:8081", false},
    {"https://localhost:8081", "localhost:8081", false},
    {"http://localhost:80811", "localhost:8081", false},
    {"http://evil.example", "127.0.0.1:8081", false},
    {"null", "127.0.0.1:8081", false},
    {"http://", "", false},
};

START_TEST(own_origins)
{
    ck_assert(admin_origin_is_own(slice_of(origins[_i].origin), slice_of(origins[_i].host)) ==
              origins[_i].own);
}
END_TEST

int main(void)
{
    TCase *all = tcase_create("all");
    tcase_add_loop_test(all, near_hosts, 0, (int)(sizeof hosts / sizeof hosts[0]));
    tcase_add_loop_test(all, own_origins, 0, (int)(sizeof origins / sizeof origins[0]));
    Suite *suite = suite_create("admin_origin");
    suite_add_tcase(suite, all);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
