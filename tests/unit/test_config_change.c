/* SPDX-License-Identifier: MIT
 * What a reload may change, and what it sets back. */
#include "common/config_change.h"
#include "common/config_key.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

/* The paths that were said to differ. */
struct said {
    size_t count;
    const char *paths[32];
};

static void say(void *owner, const char *path)
{
    struct said *said = owner;
    ck_assert_uint_lt(said->count, sizeof said->paths / sizeof said->paths[0]);
    said->paths[said->count++] = path;
}

static void read_config(struct config *c, const char *text)
{
    struct config_error error;
    config_defaults(c);
    ck_assert_msg(config_read_text(c, text, strlen(text), "test", &error), "%s", error.text);
}

/* Of what BEFORE says to what AFTER says; the rest is backends. NEXT_ is what comes in force. */
static struct said change(const char *before, const char *after, struct config *next_)
{
    static struct config running; /* large */
    struct said said = {.count = 0};
    read_config(&running, before);
    read_config(next_, after);
    config_keep_fixed(next_, &running, say, &said);
    return said;
}

START_TEST(what_is_the_same_is_not_told)
{
    static struct config next;
    static const char text[] = "{\"listen\": \":81\", \"admin\": {\"token_file\": \"/t\", \"drill\": true}}";
    ck_assert_uint_eq(change("{}", "{}", &next).count, 0);
    ck_assert_uint_eq(change(text, text, &next).count, 0);
}
END_TEST

/* Every fixed key, with another value than the default's. */
static const char all_fixed[] =
    "{\"listen\": \"[::1]:81\", \"workers\": 3, \"user\": \"daemon\", \"proxy_protocol\": true,"
    " \"admin\": {\"listen\": \"127.0.0.1:82\", \"token_file\": \"/token\", \"drill\": true},"
    " \"limits\": {\"connections\": 5, \"connections_per_client\": 6, \"tunnels\": 7}}";

START_TEST(every_fixed_key_is_told_and_set_back)
{
    static struct config next, defaults;
    struct said said = change("{}", all_fixed, &next);
    size_t count, fixed = 0;
    const struct config_key *keys = config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        if (keys[i].fixed) {
            ck_assert_uint_lt(fixed, said.count);
            ck_assert_str_eq(said.paths[fixed], keys[i].path);
            fixed++;
        }
    }
    ck_assert_uint_eq(said.count, fixed);
    config_defaults(&defaults);
    ck_assert_str_eq(next.listen.host, defaults.listen.host);
    ck_assert_uint_eq(next.listen.port, defaults.listen.port);
    ck_assert_uint_eq(next.workers, defaults.workers);
    ck_assert_uint_eq(next.admin.listen.port, defaults.admin.listen.port);
    ck_assert_str_eq(next.admin.token_file, "");
    ck_assert(!next.proxy_protocol && !next.admin.drill);
    ck_assert_uint_eq(next.limits.connections, defaults.limits.connections);
    ck_assert_uint_eq(next.limits.tunnels, defaults.limits.tunnels);
    /* and the other way: what is no longer there does not fall back to its default */
    said = change(all_fixed, "{}", &next);
    ck_assert_uint_eq(said.count, fixed);
    ck_assert_str_eq(next.listen.host, "::1");
    ck_assert_str_eq(next.admin.token_file, "/token");
    ck_assert_uint_eq(next.workers, 3);
    ck_assert(next.proxy_protocol && next.admin.drill);
}
END_TEST

START_TEST(an_endpoint_that_is_off_stays_off)
{
    static struct config next;
    struct said said = change("{\"admin\": {\"listen\": \"off\"}}", "{}", &next);
    ck_assert_uint_eq(said.count, 1);
    ck_assert_str_eq(said.paths[0], "admin.listen");
    ck_assert(!next.admin.enabled);
    said = change("{}", "{\"admin\": {\"listen\": \"off\"}}", &next);
    ck_assert_uint_eq(said.count, 1);
    ck_assert(next.admin.enabled);
    ck_assert_uint_eq(
        change("{\"admin\": {\"listen\": \"off\"}}", "{\"admin\": {\"listen\": \"off\"}}", &next).count, 0);
}
END_TEST

START_TEST(all_others_change)
{
    static struct config next;
    struct said said = change(
        "{}",
        "{\"drain_ms\": 1, \"resolve_ms\": 101, \"balance\": \"hash\", \"trusted_proxies\": [\"192.0.2.1\"],"
        " \"health\": {\"eject_after\": 2, \"probe\": {\"path\": \"/up\"}},"
        " \"retry\": {\"attempts\": 3, \"budget_percent\": 4},"
        " \"timeouts\": {\"request_ms\": 5}, \"limits\": {\"header_bytes\": 1024},"
        " \"log_level\": \"debug\"}",
        &next);
    ck_assert_uint_eq(said.count, 0);
    ck_assert_uint_eq(next.drain_ms, 1);
    ck_assert_uint_eq(next.resolve_ms, 101);
    ck_assert_int_eq(next.balance, CONFIG_BALANCE_HASH);
    ck_assert_uint_eq(next.health.eject_after, 2);
    ck_assert_str_eq(next.health.probe.path, "/up");
    ck_assert_uint_eq(next.retry.attempts, 3);
    ck_assert_uint_eq(next.retry.budget_percent, 4);
    ck_assert_uint_eq(next.timeouts.request_ms, 5);
    ck_assert_uint_eq(next.limits.header_bytes, 1024);
    ck_assert_int_eq(next.log_level, CONFIG_LOG_DEBUG);
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("config_change");
    tcase_add_test(tests, what_is_the_same_is_not_told);
    tcase_add_test(tests, every_fixed_key_is_told_and_set_back);
    tcase_add_test(tests, an_endpoint_that_is_off_stays_off);
    tcase_add_test(tests, all_others_change);
    Suite *suite = suite_create("config_change");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
