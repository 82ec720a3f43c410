/* SPDX-License-Identifier: MIT
 * The config file: every wrong one has its line, every right one its values. */
#include "common/config.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROOT_KEYS                                                                                            \
    "\"listen\", \"workers\", \"user\", \"trusted_proxies\", \"proxy_protocol\", \"drain_grace_ms\", "       \
    "\"drain_ms\", "                                                                                         \
    "\"admin\", "                                                                                            \
    "\"backends\", \"balance\", \"hash_on\", \"resolve_ms\", \"health\", \"retry\", \"timeouts\", "          \
    "\"limits\", \"access_log\", "                                                                           \
    "\"log_level\" or \"log_format\""
#define NETWORKS "expected an array of up to 64 addresses or ADDRESS/BITS"
#define NETWORK  "expected an address or ADDRESS/BITS"
#define MS       "expected a whole number from 1 to 86400000"
#define SHAPE    "expected ADDR:PORT, [IPv6]:PORT or :PORT"
#define BALANCES "\"round-robin\", \"least-in-flight\", \"two-choices\" or \"hash\""
#define HASH_ON  "expected \"client\" or \"header:NAME\""
#define PERCENT  "expected a whole number from 0 to 100, or null"
#define A10      "aaaaaaaaaa"
#define A60      A10 A10 A10 A10 A10 A10
#define UMLAUT   "\xc3\xa4"

struct wrong {
    const char *text;
    const char *error; /* without the file name */
};

static const struct wrong wrongs[] = {
    /* not JSON: jansson's place, the end of what it could not take */
    {"", "1:1: not valid JSON: '[' or '{' expected near end of file"},
    {"5", "1:1: not valid JSON: '[' or '{' expected near '5'"},
    {"{\n  \"workers\": 1,\n}", "3:1: not valid JSON: string or '}' expected near '}'"},
    {"{\"workers\": 1 \"drain_ms\": 2}", "1:24: not valid JSON: '}' expected near '\"drain_ms\"'"},
    {"{\"workers\": 01}", "1:13: not valid JSON: invalid token near '0'"},
    {"{} {}", "1:4: not valid JSON: end of file expected near '{'"},
    {"{\"workers\": 1,\n \"workers\": 2}", "2:10: not valid JSON: duplicate object key near '\"workers\"'"},
    {"{\"admin\": {\"a\": 1, \"a\": 1}}", "1:22: not valid JSON: duplicate object key near '\"a\"'"},
    {"{\"\x1b\"}", "1:2: not valid JSON: control character 0x1b near '\"'"},
    {"{\x7f}", "1:2: not valid JSON: string or '}' expected near '?'"},
    {"{\"user\": \"a\\u0000b\"}", "1:19: not valid JSON: a text holds \\u0000, expected none there"},
    {"{\n", "2:1: not valid JSON: string or '}' expected near end of file"},
    /* the root */
    {" [1]", "1:2: the file is an array, expected an object"},
    /* unknown keys */
    {"{ \"admin\": {\n    \"token_file\": null,\n    \"lissten\": \":1\" } }",
     "3:5: unknown key \"lissten\" in \"admin\", did you mean \"listen\"?"},
    {"{\"worker\": 1}", "1:2: unknown key \"worker\", did you mean \"workers\"?"},
    {"{\"Listen\": \":80\"}", "1:2: unknown key \"Listen\", did you mean \"listen\"?"},
    {"{\"wor\\u006bes\": 1}", "1:2: unknown key \"wor\\u006bes\", did you mean \"workers\"?"},
    {"{\"\": null}", "1:2: unknown key \"\", expected " ROOT_KEYS},
    {"{\"colour\": \"off\"}", "1:2: unknown key \"colour\", expected " ROOT_KEYS},
    {"{\"admin.listen\": \"off\"}", "1:2: unknown key \"admin.listen\", expected " ROOT_KEYS},
    {"{\"backends[]\": 1}", "1:2: unknown key \"backends[]\", did you mean \"backends\"?"},
    {"{\"admin\": {\"peers\": null}}",
     "1:12: unknown key \"peers\" in \"admin\", expected \"listen\", \"token_file\" or \"drill\""},
    {"{\"health\": {\"colour\": 0}}",
     "1:13: unknown key \"colour\" in \"health\", expected "
     "\"failure\", \"blame\", \"eject_after\", \"window_ms\", \"readmit\", \"slow_start_ms\" or \"probe\""},
    {"{\"health\": {\"probe\": {\"pth\": null}}}",
     "1:23: unknown key \"pth\" in \"health.probe\", did you mean \"path\"?"},
    {"{\"backends\": [{\"url\": \"h:1\"}, {\"ulr\": \"h:2\"}]}",
     "1:32: unknown key \"ulr\" in \"backends[1]\", did you mean \"url\"?"},
    {"{\"backends\": [{\"url\": \"h:1\", \"colour\": 0}]}",
     "1:30: unknown key \"colour\" in \"backends[0]\", expected \"name\", \"url\", \"weight\" or "
     "\"max_in_flight\""},
    {"{\"" UMLAUT UMLAUT "\": 1}", "1:2: unknown key \"" UMLAUT UMLAUT "\", expected " ROOT_KEYS},
    {"{\"" A60 A60 "\": 1}", "1:2: unknown key \"" A10 A10 A10 A10 A10 "aaaaaaaaa..., expected " ROOT_KEYS},
    /* numbers */
    {"{\"workers\": 0}", "1:13: \"workers\" is 0, expected a whole number from 1 to 4096"},
    {"{\"workers\": 4097}", "1:13: \"workers\" is 4097, expected a whole number from 1 to 4096"},
    {"{\"workers\": -1}", "1:13: \"workers\" is -1, expected a whole number from 1 to 4096"},
    {"{\"workers\": 2.5}", "1:13: \"workers\" is 2.5, expected a whole number from 1 to 4096"},
    {"{\"workers\": 2.0}", "1:13: \"workers\" is 2.0, expected a whole number from 1 to 4096"},
    {"{\"workers\": 1e2}", "1:13: \"workers\" is 1e2, expected a whole number from 1 to 4096"},
    {"{\"workers\": 99999999999999999999}",
     "1:13: \"workers\" is 99999999999999999999, expected a whole number from 1 to 4096"},
    {"{\"workers\": 1000000000000000000000000000000000000000000000000000000000000000000000}",
     "1:13: \"workers\" is 100000000000000000000000000000000000000000000000000000000000..., "
     "expected a whole number from 1 to 4096"},
    {"{\"workers\": \"256\"}", "1:13: \"workers\" is \"256\", expected a whole number from 1 to 4096"},
    {"{\"workers\": null}", "1:13: \"workers\" is null, expected a whole number from 1 to 4096"},
    {"{\"workers\": true}", "1:13: \"workers\" is true, expected a whole number from 1 to 4096"},
    {"{\"workers\": [1]}", "1:13: \"workers\" is an array, expected a whole number from 1 to 4096"},
    {"{\"drain_grace_ms\": 3600001}",
     "1:20: \"drain_grace_ms\" is 3600001, expected a whole number from 0 to 3600000"},
    {"{\"drain_ms\": 3600001}", "1:14: \"drain_ms\" is 3600001, expected a whole number from 0 to 3600000"},
    {"{\"health\": {\"eject_after\": 1000001}}",
     "1:28: \"health.eject_after\" is 1000001, expected a whole number from 0 to 1000000"},
    {"{\"health\": {\"probe\": {\"interval_ms\": 9}}}",
     "1:38: \"health.probe.interval_ms\" is 9, expected a whole number from 10 to 3600000"},
    {"{\"health\": {\"probe\": {\"rise\": 0}}}",
     "1:31: \"health.probe.rise\" is 0, expected a whole number from 1 to 100"},
    {"{\"retry\": {\"attempts\": 65}}",
     "1:24: \"retry.attempts\" is 65, expected a whole number from 0 to 64"},
    {"{\"retry\": {\"hold_bytes\": 67108865}}",
     "1:26: \"retry.hold_bytes\" is 67108865, expected a whole number from 0 to 67108864"},
    {"{\"retry\": {\"hold_ms\": 60001}}",
     "1:23: \"retry.hold_ms\" is 60001, expected a whole number from 0 to 60000"},
    {"{\"timeouts\": {\"connect_ms\": 0}}", "1:29: \"timeouts.connect_ms\" is 0, " MS},
    {"{\"timeouts\": {\"client_idle_ms\": 86400001}}", "1:33: \"timeouts.client_idle_ms\" is 86400001, " MS},
    {"{\"limits\": {\"header_bytes\": 1023}}",
     "1:29: \"limits.header_bytes\" is 1023, expected a whole number from 1024 to 65536"},
    {"{\"limits\": {\"body_bytes\": 1099511627777}}",
     "1:27: \"limits.body_bytes\" is 1099511627777, expected a whole number from 0 to 1099511627776"},
    {"{\"limits\": {\"connections\": 0}}",
     "1:28: \"limits.connections\" is 0, expected a whole number from 1 to 1000000"},
    {"{\"limits\": {\"connections_per_client\": 1000001}}",
     "1:39: \"limits.connections_per_client\" is 1000001, expected a whole number from 0 to 1000000"},
    {"{\"limits\": {\"body_bytes_per_second\": 1000000001}}",
     "1:38: \"limits.body_bytes_per_second\" is 1000000001, expected a whole number from 0 to 1000000000"},
    {"{\"limits\": {\"tunnels\": 1000001}}",
     "1:24: \"limits.tunnels\" is 1000001, expected a whole number from 0 to 1000000"},
    {"{\"timeouts\": {\"tunnel_idle_ms\": 0}}", "1:33: \"timeouts.tunnel_idle_ms\" is 0, " MS},
    /* true and false */
    {"{\"proxy_protocol\": 1}", "1:20: \"proxy_protocol\" is 1, expected true or false"},
    {"{\"proxy_protocol\": \"true\"}", "1:20: \"proxy_protocol\" is \"true\", expected true or false"},
    {"{\"proxy_protocol\": null}", "1:20: \"proxy_protocol\" is null, expected true or false"},
    {"{\"proxy_protocol\": {}}", "1:20: \"proxy_protocol\" is an object, expected true or false"},
    /* networks */
    {"{\"trusted_proxies\": \"10.0.0.0/8\"}", "1:21: \"trusted_proxies\" is \"10.0.0.0/8\", " NETWORKS},
    {"{\"trusted_proxies\": null}", "1:21: \"trusted_proxies\" is null, " NETWORKS},
    {"{\"trusted_proxies\": {}}", "1:21: \"trusted_proxies\" is an object, " NETWORKS},
    {"{\"trusted_proxies\": [\"[]\"]}", "1:22: \"trusted_proxies[0]\" is \"[]\", " NETWORK},
    {"{\"trusted_proxies\": [\"::1\",\n 7]}", "2:2: \"trusted_proxies[1]\" is 7, " NETWORK},
    {"{\"trusted_proxies\": [[]]}", "1:22: \"trusted_proxies[0]\" is an array, " NETWORK},
    {"{\"trusted_proxies\": [\"proxy.example\"]}",
     "1:22: \"trusted_proxies[0]\" is \"proxy.example\", " NETWORK},
    {"{\"trusted_proxies\": [\"10.0.0.1/8\"]}", "1:22: \"trusted_proxies[0]\" is \"10.0.0.1/8\", expected "
                                                "zeros in the address behind its first BITS bits"},
    {"{\"trusted_proxies\": [\"10.0.0.0/33\"]}", "1:22: \"trusted_proxies[0]\" is \"10.0.0.0/33\", expected "
                                                 "0 to 32 bits after an IPv4 address"},
    {"{\"proxy_protocl\": true}", "1:2: unknown key \"proxy_protocl\", did you mean \"proxy_protocol\"?"},
    /* words */
    {"{\"log_level\": \"inf\"}",
     "1:15: \"log_level\" is \"inf\", expected \"error\", \"warn\", \"info\" or \"debug\""},
    {"{\"log_level\": \"Info\"}",
     "1:15: \"log_level\" is \"Info\", expected \"error\", \"warn\", \"info\" or \"debug\""},
    {"{\"log_format\": 1}", "1:16: \"log_format\" is 1, expected \"logfmt\" or \"json\""},
    {"{\"hash_on\": \"peer\"}", "1:13: \"hash_on\" is \"peer\", " HASH_ON},
    {"{\"hash_on\": \"header:\"}", "1:13: \"hash_on\" is \"header:\", " HASH_ON},
    {"{\"hash_on\": \"header:X User\"}", "1:13: \"hash_on\" is \"header:X User\", " HASH_ON},
    {"{\"hash_on\": \"header:x" A60 "xxx\"}",
     "1:13: \"hash_on\" is \"header:x" A10 A10 A10 A10 "aaaaaaaaaaa..., " HASH_ON},
    {"{\"hash_on\": null}", "1:13: \"hash_on\" is null, " HASH_ON},
    {"{\"retry\": {\"budget_percent\": 101}}", "1:30: \"retry.budget_percent\" is 101, " PERCENT},
    {"{\"retry\": {\"budget_percent\": 1.5}}", "1:30: \"retry.budget_percent\" is 1.5, " PERCENT},
    {"{\"retry\": {\"budget_percent\": \"5\"}}", "1:30: \"retry.budget_percent\" is \"5\", " PERCENT},
    {"{\"retry\": {\"budget_percent\": false}}", "1:30: \"retry.budget_percent\" is false, " PERCENT},
    {"{\"balance\": \"random\"}", "1:13: \"balance\" is \"random\", expected " BALANCES},
    {"{\"retry\": {\"methods\": null}}",
     "1:23: \"retry.methods\" is null, expected \"all\" or \"idempotent\""},
    {"{\"health\": {\"failure\": {}}}",
     "1:24: \"health.failure\" is an object, expected \"non-200\", \"non-2xx\" or \"5xx\""},
    {"{\"health\": {\"readmit\": \"auto\"}}",
     "1:24: \"health.readmit\" is \"auto\", expected \"manual\" or \"probe\""},
    /* paths of probes */
    {"{\"health\": {\"probe\": {\"path\": \"healthz\"}}}",
     "1:31: \"health.probe.path\" is \"healthz\", expected a path that begins with '/', or null"},
    {"{\"health\": {\"probe\": {\"path\": \"/a b\"}}}",
     "1:31: \"health.probe.path\" is \"/a b\", expected a path that begins with '/', or null"},
    {"{\"health\": {\"probe\": {\"path\": \"/a\\r\\nX: y\"}}}",
     "1:31: \"health.probe.path\" is \"/a\\r\\nX: y\", expected a path that begins with '/', or null"},
    {"{\"health\": {\"probe\": {\"path\": \"/a#b\"}}}",
     "1:31: \"health.probe.path\" is \"/a#b\", expected a path that begins with '/', or null"},
    /* addresses and files */
    {"{\"listen\": \"80\"}", "1:12: \"listen\" is \"80\", " SHAPE},
    {"{\"listen\": 80}", "1:12: \"listen\" is 80, " SHAPE},
    {"{\"listen\": null}", "1:12: \"listen\" is null, " SHAPE},
    {"{\"listen\": \"off\"}", "1:12: \"listen\" is \"off\", " SHAPE},
    {"{\"listen\": \":0\"}", "1:12: \"listen\" is \":0\", expected a port from 1 to 65535"},
    {"{\"listen\": \"::1:80\"}",
     "1:12: \"listen\" is \"::1:80\", expected brackets around the IPv6 address: [IPv6]:PORT"},
    {"{\"admin\": {\"listen\": null}}", "1:22: \"admin.listen\" is null, " SHAPE ", or \"off\""},
    {"{\"admin\": {\"listen\": false}}", "1:22: \"admin.listen\" is false, " SHAPE ", or \"off\""},
    {"{\"admin\": {\"listen\": \"OFF\"}}", "1:22: \"admin.listen\" is \"OFF\", " SHAPE ", or \"off\""},
    {"{\"admin\": {\"token_file\": \"\"}}",
     "1:26: \"admin.token_file\" is \"\", expected a file name or null"},
    {"{\"admin\": {\"token_file\": 1}}", "1:26: \"admin.token_file\" is 1, expected a file name or null"},
    {"{\"user\": \"no-such-user\"}",
     "1:10: \"user\" is \"no-such-user\", expected the name of a user of this system, or null"},
    {"{\"user\": 0}", "1:10: \"user\" is 0, expected the name of a user of this system, or null"},
    {"{\"admin\": \"off\"}", "1:11: \"admin\" is \"off\", expected an object"},
    {"{\"timeouts\": null}", "1:14: \"timeouts\" is null, expected an object"},
    {"{\"limits\": []}", "1:12: \"limits\" is an array, expected an object"},
    /* backends */
    {"{\"backends\": {}}", "1:14: \"backends\" is an object, expected an array of 1 to 64 objects"},
    {"{\"backends\": null}", "1:14: \"backends\" is null, expected an array of 1 to 64 objects"},
    {"{\"backends\": [\n\"http://h\"]}",
     "2:1: \"backends[0]\" is \"http://h\", expected an object with a \"url\""},
    {"{\"backends\": [{\"url\": \"h:1\"},\n  {\"name\": \"b\"}]}",
     "2:3: \"backends[1]\" has no \"url\", expected \"url\": \"http://host[:port]\""},
    {"{\"backends\": [{\"url\": null}]}",
     "1:23: \"backends[0].url\" is null, expected http://host[:port] or host:port"},
    {"{\"backends\": [{\"url\": \"https://h\"}]}",
     "1:23: \"backends[0].url\" is \"https://h\", expected http://, for https to backends is not supported"},
    {"{\"backends\": [{\"url\": \"http://h/x\"}]}",
     "1:23: \"backends[0].url\" is \"http://h/x\", expected no path, query or fragment after host[:port]"},
    {"{\"backends\": [{\"url\": \"http://u:p@h\"}]}",
     "1:23: \"backends[0].url\" is \"http://u:p@h\", expected no user name or password in the URL"},
    {"{\"backends\": [{\"url\": \"h:1\", \"weight\": 0}]}",
     "1:40: \"backends[0].weight\" is 0, expected a whole number from 1 to 256"},
    {"{\"backends\": [{\"url\": \"h:1\", \"weight\": 257}]}",
     "1:40: \"backends[0].weight\" is 257, expected a whole number from 1 to 256"},
    {"{\"backends\": [{\"name\": \"a b\", \"url\": \"h:1\"}]}",
     "1:24: \"backends[0].name\" is \"a b\", expected a name of 1 to 63 letters, digits, '-', '_' and '.'"},
    {"{\"backends\": [{\"name\": null, \"url\": \"h:1\"}]}",
     "1:24: \"backends[0].name\" is null, expected 1 to 63 letters, digits, '-', '_' and '.'"},
    {"{\"backends\": [{\"name\": \"a\", \"url\": \"h:1\"},\n{\"url\": \"h:2\", \"name\": \"a\"}]}",
     "2:24: \"backends[1].name\" is \"a\", expected a name that no other backend has"},
    {"{\"backends\": [{\"name\": \"backend2\", \"url\": \"h:1\"},\n {\"url\": \"h:2\"}]}",
     "2:2: \"backends[1]\" has no \"name\" and \"backend2\" is taken, expected a name that no other backend "
     "has"},
    /* columns are characters, and a long value is cut between two of them */
    {"{\"log_format\": \"json\", \"log_level\": \"" UMLAUT "\", \"listen\": 1}",
     "1:37: \"log_level\" is \"" UMLAUT "\", expected \"error\", \"warn\", \"info\" or \"debug\""},
    {"{\"admin\": {\"token_file\": \"/" UMLAUT "\"}, \"listen\": 1}", "1:43: \"listen\" is 1, " SHAPE},
    {"{\"balance\": \"" A10 A10 A10 A10 A10 "aaaaaaaa" UMLAUT "\"}",
     "1:13: \"balance\" is \"" A10 A10 A10 A10 A10 "aaaaaaaa..., expected " BALANCES},
    /* the first of two errors is the one in front */
    {"{\"log_level\": 1, \"workers\": 0}",
     "1:15: \"log_level\" is 1, expected \"error\", \"warn\", \"info\" or \"debug\""},
};

enum { WRONG_COUNT = sizeof(wrongs) / sizeof(wrongs[0]) };

/* Reads TEXT over C. The text is in memory of its own without a NUL, so that the sanitizer sees a step beyond
 * it. */
static bool read_text(struct config *c, const char *text, struct config_error *error_)
{
    size_t length = strlen(text);
    char *copy = malloc(length + (length == 0));
    ck_assert_ptr_nonnull(copy);
    memcpy(copy, text, length); /* NOLINT(bugprone-not-null-terminated-result): that is the point */
    bool read = config_read_text(c, copy, length, "hf.json", error_);
    free(copy);
    return read;
}

static void must_read(struct config *c, const char *text)
{
    struct config_error error;
    ck_assert_msg(read_text(c, text, &error), "refused: %s", error.text);
}

START_TEST(a_wrong_config_has_its_line)
{
    static struct config c;
    struct config_error error = {.text = ""};
    char wanted[1024];
    config_defaults(&c);
    snprintf(wanted, sizeof(wanted), "hf.json:%s", wrongs[_i].error);
    ck_assert_msg(!read_text(&c, wrongs[_i].text, &error), "not refused: %s", wrongs[_i].text);
    ck_assert_str_eq(error.text, wanted);
}
END_TEST

START_TEST(every_key_has_the_default_of_the_contract)
{
    static struct config c;
    memset(&c, 0xff, sizeof(c));
    config_defaults(&c);
    ck_assert_str_eq(c.listen.host, "");
    ck_assert_uint_eq(c.listen.port, 80);
    ck_assert_uint_eq(c.workers, 256);
    ck_assert_str_eq(c.user, "");
    ck_assert_uint_eq(c.drain_grace_ms, 0);
    ck_assert_uint_eq(c.drain_ms, 10000);
    ck_assert(c.admin.enabled);
    ck_assert_str_eq(c.admin.listen.host, "127.0.0.1");
    ck_assert_uint_eq(c.admin.listen.port, 8081);
    ck_assert_str_eq(c.admin.token_file, "");
    ck_assert_uint_eq(c.backend_count, 0);
    ck_assert_int_eq(c.balance, CONFIG_BALANCE_ROUND_ROBIN);
    ck_assert_str_eq(c.hash_on, "");
    ck_assert_uint_eq(c.health.slow_start_ms, 0);
    ck_assert_int_eq(c.health.failure, CONFIG_FAILURE_NON_200);
    ck_assert_uint_eq(c.health.eject_after, 10);
    ck_assert_uint_eq(c.health.window_ms, 0);
    ck_assert_int_eq(c.health.readmit, CONFIG_READMIT_MANUAL);
    ck_assert_str_eq(c.health.probe.path, "");
    ck_assert_uint_eq(c.health.probe.interval_ms, 2000);
    ck_assert_uint_eq(c.health.probe.timeout_ms, 1000);
    ck_assert_uint_eq(c.health.probe.rise, 2);
    ck_assert_uint_eq(c.health.probe.fall, 3);
    ck_assert_uint_eq(c.retry.attempts, 0);
    ck_assert_int_eq(c.retry.methods, CONFIG_METHODS_ALL);
    ck_assert_uint_eq(c.retry.hold_bytes, 262144);
    ck_assert_uint_eq(c.retry.hold_ms, 500);
    ck_assert_uint_eq(c.retry.budget_percent, CONFIG_NO_NUMBER);
    ck_assert_uint_eq(c.timeouts.connect_ms, 1000);
    ck_assert_uint_eq(c.timeouts.connect_hedge_ms, 250);
    ck_assert_uint_eq(c.timeouts.response_ms, 30000);
    ck_assert_uint_eq(c.timeouts.request_ms, 60000);
    ck_assert_uint_eq(c.timeouts.queue_ms, 5000);
    ck_assert_uint_eq(c.timeouts.client_header_ms, 10000);
    ck_assert_uint_eq(c.timeouts.client_body_ms, 30000);
    ck_assert_uint_eq(c.timeouts.client_idle_ms, 60000);
    ck_assert_uint_eq(c.timeouts.client_write_ms, 30000);
    ck_assert_uint_eq(c.limits.header_bytes, 32768);
    ck_assert_uint_eq(c.limits.body_bytes, 16777216);
    ck_assert_uint_eq(c.limits.connections, 16384);
    ck_assert_uint_eq(c.limits.connections_per_client, 0);
    ck_assert_uint_eq(c.limits.body_bytes_per_second, 500);
    ck_assert_uint_eq(c.limits.tunnels, 1024);
    ck_assert_uint_eq(c.timeouts.tunnel_idle_ms, 600000);
    ck_assert_uint_eq(c.trusted_proxies.count, 0);
    ck_assert(!c.proxy_protocol);
    ck_assert_int_eq(c.log_level, CONFIG_LOG_INFO);
    ck_assert_int_eq(c.log_format, CONFIG_LOG_LOGFMT);
}
END_TEST

START_TEST(every_key_can_be_set)
{
    static struct config c;
    config_defaults(&c);
    must_read(
        &c,
        "{\"listen\": \"[::1]:81\", \"workers\": 4096, \"drain_grace_ms\": 3600000, \"drain_ms\": 0, "
        "\"proxy_protocol\": true,\n"
        " \"trusted_proxies\": [\"10.0.0.0/8\", \"::1\"],\n"
        " \"admin\": {\"listen\": \"localhost:82\", \"token_file\": \"/etc/token\"},\n"
        " \"backends\": [{\"name\": \"gcp\", \"url\": \"http://10.0.0.1\", \"weight\": 256, "
        "\"max_in_flight\": 1000000},\n"
        "              {\"url\": \"h:8000\"}],\n"
        " \"balance\": \"hash\", \"hash_on\": \"header:X-User\",\n"
        " \"health\": {\"failure\": \"5xx\", \"eject_after\": 3, \"slow_start_ms\": 3600000, "
        "\"window_ms\": 86400000,\n"
        "   \"readmit\": \"probe\", \"probe\": {\"path\": \"/up?x=1\", \"interval_ms\": 10, \"timeout_ms\": "
        "3600000,\n"
        "     \"rise\": 1, \"fall\": 100}},\n"
        " \"retry\": {\"attempts\": 64, \"methods\": \"idempotent\", \"hold_bytes\": 1, \"hold_ms\": 2, "
        "\"budget_percent\": 0},\n"
        " \"timeouts\": {\"connect_ms\": 11, \"connect_hedge_ms\": 0, \"response_ms\": 12,\n"
        "   \"request_ms\": 13, \"queue_ms\": 18, \"client_header_ms\": 14, \"client_body_ms\": 15,\n"
        "   \"client_idle_ms\": 16, \"client_write_ms\": 86400000, \"tunnel_idle_ms\": 17},\n"
        " \"limits\": {\"header_bytes\": 1024, \"body_bytes\": 1099511627776, \"connections\": 1000000,\n"
        "   \"connections_per_client\": 3, \"body_bytes_per_second\": 1000000000, \"tunnels\": 0},\n"
        " \"log_level\": \"de\\u0062ug\", \"log_format\": \"json\"}\n");
    ck_assert_str_eq(c.listen.host, "::1");
    ck_assert_uint_eq(c.listen.port, 81);
    ck_assert_uint_eq(c.workers, 4096);
    ck_assert_uint_eq(c.drain_grace_ms, 3600000);
    ck_assert_uint_eq(c.drain_ms, 0);
    ck_assert(c.admin.enabled);
    ck_assert_str_eq(c.admin.listen.host, "localhost");
    ck_assert_uint_eq(c.admin.listen.port, 82);
    ck_assert_str_eq(c.admin.token_file, "/etc/token");
    ck_assert_uint_eq(c.backend_count, 2);
    ck_assert_str_eq(c.backends[0].name, "gcp");
    ck_assert_str_eq(c.backends[0].url, "http://10.0.0.1:80");
    ck_assert_uint_eq(c.backends[0].weight, 256);
    ck_assert_uint_eq(c.backends[0].max_in_flight, 1000000);
    ck_assert_str_eq(c.backends[1].name, "backend2");
    ck_assert_str_eq(c.backends[1].address.host, "h");
    ck_assert_uint_eq(c.backends[1].address.port, 8000);
    ck_assert_uint_eq(c.backends[1].weight, 1);
    ck_assert_uint_eq(c.backends[1].max_in_flight, 0);
    ck_assert_int_eq(c.balance, CONFIG_BALANCE_HASH);
    ck_assert_str_eq(c.hash_on, "X-User");
    ck_assert_uint_eq(c.health.slow_start_ms, 3600000);
    ck_assert_int_eq(c.health.failure, CONFIG_FAILURE_5XX);
    ck_assert_uint_eq(c.health.eject_after, 3);
    ck_assert_uint_eq(c.health.window_ms, 86400000);
    ck_assert_int_eq(c.health.readmit, CONFIG_READMIT_PROBE);
    ck_assert_str_eq(c.health.probe.path, "/up?x=1");
    ck_assert_uint_eq(c.health.probe.interval_ms, 10);
    ck_assert_uint_eq(c.health.probe.timeout_ms, 3600000);
    ck_assert_uint_eq(c.health.probe.rise, 1);
    ck_assert_uint_eq(c.health.probe.fall, 100);
    ck_assert_uint_eq(c.retry.attempts, 64);
    ck_assert_int_eq(c.retry.methods, CONFIG_METHODS_IDEMPOTENT);
    ck_assert_uint_eq(c.retry.hold_bytes, 1);
    ck_assert_uint_eq(c.retry.hold_ms, 2);
    ck_assert_uint_eq(c.retry.budget_percent, 0);
    must_read(&c, "{\"retry\": {\"budget_percent\": null}}");
    ck_assert_uint_eq(c.retry.budget_percent, CONFIG_NO_NUMBER);
    ck_assert_uint_eq(c.timeouts.connect_ms, 11);
    ck_assert_uint_eq(c.timeouts.connect_hedge_ms, 0);
    ck_assert_uint_eq(c.timeouts.response_ms, 12);
    ck_assert_uint_eq(c.timeouts.queue_ms, 18);
    ck_assert_uint_eq(c.timeouts.request_ms, 13);
    ck_assert_uint_eq(c.timeouts.client_header_ms, 14);
    ck_assert_uint_eq(c.timeouts.client_body_ms, 15);
    ck_assert_uint_eq(c.timeouts.client_idle_ms, 16);
    ck_assert_uint_eq(c.timeouts.client_write_ms, 86400000);
    ck_assert_uint_eq(c.limits.header_bytes, 1024);
    ck_assert_uint_eq(c.limits.body_bytes, UINT64_C(1) << 40);
    ck_assert_uint_eq(c.limits.connections, 1000000);
    ck_assert_uint_eq(c.limits.connections_per_client, 3);
    ck_assert_uint_eq(c.limits.body_bytes_per_second, 1000000000);
    ck_assert_uint_eq(c.limits.tunnels, 0);
    ck_assert_uint_eq(c.timeouts.tunnel_idle_ms, 17);
    ck_assert(c.proxy_protocol);
    ck_assert_uint_eq(c.trusted_proxies.count, 2);
    ck_assert_uint_eq(c.trusted_proxies.list[0].prefix_bits, 104);
    ck_assert_uint_eq(c.trusted_proxies.list[1].prefix_bits, 128);
    ck_assert_int_eq(c.log_level, CONFIG_LOG_DEBUG);
    ck_assert_int_eq(c.log_format, CONFIG_LOG_JSON);
}
END_TEST

START_TEST(absent_keys_keep_their_values_and_backends_are_replaced)
{
    static struct config c;
    config_defaults(&c);
    must_read(&c, "{\"workers\": 7, \"admin\": {\"token_file\": \"t\"}, \"backends\": [{\"url\": \"a:1\"}, "
                  "{\"url\": \"b:1\"}]}");
    must_read(&c, "{}");
    ck_assert_uint_eq(c.workers, 7);
    ck_assert_uint_eq(c.backend_count, 2);
    must_read(&c,
              "{\"admin\": {\"listen\": \"off\", \"token_file\": null}, \"backends\": [{\"url\": \"c:1\"}]}");
    ck_assert_uint_eq(c.workers, 7);
    ck_assert(!c.admin.enabled);
    ck_assert_str_eq(c.admin.token_file, "");
    ck_assert_uint_eq(c.backend_count, 1);
    ck_assert_str_eq(c.backends[0].url, "http://c:1");
    ck_assert_str_eq(c.backends[0].name, "backend1");
}
END_TEST

START_TEST(there_is_room_for_64_backends_in_a_file)
{
    static struct config c;
    struct config_error error;
    char text[2048] = "{\"backends\": [{\"url\": \"h:1\"}";
    size_t used = strlen(text);
    config_defaults(&c);
    for (int i = 1; i < CONFIG_BACKENDS_MAX; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, ",{\"url\": \"h:1\"}");
    snprintf(text + used, sizeof(text) - used, "]}");
    must_read(&c, text);
    ck_assert_uint_eq(c.backend_count, 64);
    ck_assert_str_eq(c.backends[63].name, "backend64");
    snprintf(text + used, sizeof(text) - used, ",\n {\"url\": \"h:1\"}]}");
    ck_assert(!read_text(&c, text, &error));
    ck_assert_str_eq(error.text,
                     "hf.json:2:2: \"backends[64]\" is one too many, expected an array of 1 to 64 objects");
}
END_TEST

START_TEST(there_is_room_for_64_networks_and_an_array_replaces_the_one_before)
{
    static struct config c;
    struct config_error error;
    char text[2048] = "{\"trusted_proxies\": [\"::1\"";
    size_t used = strlen(text);
    config_defaults(&c);
    for (int i = 1; i < CIDR_SET_MAX; i++)
        used += (size_t)snprintf(text + used, sizeof(text) - used, ",\"10.0.0.%d\"", i);
    snprintf(text + used, sizeof(text) - used, "]}");
    must_read(&c, text);
    must_read(&c, text);
    must_read(&c, "{}");
    ck_assert_uint_eq(c.trusted_proxies.count, 64);
    ck_assert_uint_eq(c.trusted_proxies.list[63].network.s6_addr[15], 63);
    snprintf(text + used, sizeof(text) - used, ",\n \"::2\"]}");
    ck_assert(!read_text(&c, text, &error));
    ck_assert_str_eq(error.text, "hf.json:2:2: \"trusted_proxies[64]\" is one too many, " NETWORKS);
    must_read(&c, "{\"trusted_proxies\": [\"::2\"]}");
    ck_assert_uint_eq(c.trusted_proxies.count, 1);
    must_read(&c, "{\"trusted_proxies\": [], \"proxy_protocol\": true}");
    ck_assert_uint_eq(c.trusted_proxies.count, 0);
    must_read(&c, "{\"proxy_protocol\": false}");
    ck_assert(!c.proxy_protocol);
}
END_TEST

START_TEST(a_file_is_read)
{
    static struct config c;
    struct config_error error;
    char path[] = "/tmp/holdfast-test-XXXXXX", wanted[256];
    int fd = mkstemp(path);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, "{\"workers\": 9}", 14), 14);
    config_defaults(&c);
    bool read = config_read_file(&c, path, &error);
    /* a hole of zeros, longer than a config file may be */
    ck_assert_int_eq(ftruncate(fd, (1 << 20) + 1), 0);
    bool read_long = config_read_file(&c, path, &error);
    ck_assert_int_eq(close(fd), 0);
    ck_assert_int_eq(unlink(path), 0);
    ck_assert(read);
    ck_assert_uint_eq(c.workers, 9);
    ck_assert(!read_long);
    snprintf(wanted, sizeof(wanted), "%s: too long, expected at most 1048576 bytes", path);
    ck_assert_str_eq(error.text, wanted);
}
END_TEST

START_TEST(an_unreadable_file_is_named)
{
    static struct config c;
    struct config_error error;
    ck_assert(!config_read_file(&c, "/nowhere/hf.json", &error));
    ck_assert_str_eq(error.text,
                     "/nowhere/hf.json: can't be read (No such file or directory), expected a JSON file");
    ck_assert(!config_read_file(&c, "/", &error));
    ck_assert_str_eq(error.text, "/: can't be read (Is a directory), expected a JSON file");
}
END_TEST

START_TEST(an_error_is_one_line)
{
    struct config_error error;
    config_error_set(&error, "%s: %d", "a\nb\x1b[2J\x7f", 5);
    ck_assert_str_eq(error.text, "a?b?[2J?: 5");
}
END_TEST

START_TEST(the_whole_needs_a_backend)
{
    static struct config c;
    struct config_error error;
    config_defaults(&c);
    ck_assert(!config_check(&c, "hf.json:1:1", &error));
    ck_assert_str_eq(error.text,
                     "hf.json:1:1: no backend, expected at least one: --backend URL or the key \"backends\"");
    must_read(&c, "{\"backends\": [{\"url\": \"h:1\"}]}");
    ck_assert(config_check(&c, "hf.json:1:1", &error));
}
END_TEST

struct exposure {
    const char *admin;
    bool needs_token;
    const char *shown; /* of an exposed one */
};

static const struct exposure exposures[] = {
    {"off", false, NULL},
    {"127.0.0.1:81", false, NULL},
    {"127.9.9.9:81", false, NULL},
    {"[::1]:81", false, NULL},
    {"[::ffff:127.0.0.1]:81", false, NULL},
    {"localhost:81", false, NULL},
    {":81", true, ":81"},
    {"0.0.0.0:81", true, "0.0.0.0:81"},
    {"10.0.0.1:81", true, "10.0.0.1:81"},
    {"128.0.0.1:81", true, "128.0.0.1:81"},
    {"[::]:81", true, "[::]:81"},
    {"[::ffff:10.0.0.1]:81", true, "[::ffff:10.0.0.1]:81"},
    {"some.example.org:81", true, "some.example.org:81"},
};

START_TEST(an_exposed_admin_address_needs_a_token)
{
    const struct exposure *row = &exposures[_i];
    static struct config c;
    struct config_error error;
    char text[256], wanted[256];
    config_defaults(&c);
    snprintf(text, sizeof(text), "{\"backends\": [{\"url\": \"h:1\"}], \"admin\": {\"listen\": \"%s\"}}",
             row->admin);
    must_read(&c, text);
    ck_assert_int_eq(config_check(&c, "holdfast", &error), !row->needs_token);
    if (row->needs_token) {
        snprintf(
            wanted, sizeof(wanted),
            "holdfast: the admin address %s is open to others without a token, expected --admin 127.0.0.1:81 "
            "or the key \"admin.token_file\"",
            row->shown);
        ck_assert_str_eq(error.text, wanted);
    }
    must_read(&c, "{\"admin\": {\"token_file\": \"/etc/token\"}}");
    ck_assert(config_check(&c, "holdfast", &error));
}
END_TEST

int main(void)
{
    TCase *tests = tcase_create("config");
    tcase_add_loop_test(tests, a_wrong_config_has_its_line, 0, WRONG_COUNT);
    tcase_add_test(tests, every_key_has_the_default_of_the_contract);
    tcase_add_test(tests, every_key_can_be_set);
    tcase_add_test(tests, absent_keys_keep_their_values_and_backends_are_replaced);
    tcase_add_test(tests, there_is_room_for_64_backends_in_a_file);
    tcase_add_test(tests, there_is_room_for_64_networks_and_an_array_replaces_the_one_before);
    tcase_add_test(tests, a_file_is_read);
    tcase_add_test(tests, an_unreadable_file_is_named);
    tcase_add_test(tests, an_error_is_one_line);
    tcase_add_test(tests, the_whole_needs_a_backend);
    tcase_add_loop_test(tests, an_exposed_admin_address_needs_a_token, 0,
                        sizeof(exposures) / sizeof(exposures[0]));
    Suite *suite = suite_create("config");
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
