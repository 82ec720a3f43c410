/* SPDX-License-Identifier: MIT
 * The table, and what can be done with one row of it. Defaults stand in the table as text and are read the
 * way a user's text is read: a default that its own key would refuse stops the program at once, in every
 * test. */
#include "common/config_key.h"

#include "common/http_head.h"
#include "common/panic.h"
#include "common/user.h"

#include <inttypes.h>
#include <stdio.h>

enum { DAY_MS = 86400000 };

static const char *const balance_words[] = {"round-robin", "least-in-flight", "two-choices", "hash", NULL};
static const char *const failure_words[] = {"non-200", "non-2xx", "5xx", NULL};
static const char *const blame_words[] = {"every", "second-opinion", NULL};
static const char *const readmit_words[] = {"manual", "probe", NULL};
static const char *const methods_words[] = {"all", "idempotent", NULL};
static const char *const level_words[] = {"error", "warn", "info", "debug", NULL};
static const char *const format_words[] = {"logfmt", "json", NULL};

/* Words are set as unsigned: every enum of struct config must be stored like one. */
_Static_assert(sizeof(enum config_balance) == sizeof(unsigned) &&
                   sizeof(enum config_failure) == sizeof(unsigned) &&
                   sizeof(enum config_readmit) == sizeof(unsigned) &&
                   sizeof(enum config_methods) == sizeof(unsigned) &&
                   sizeof(enum config_log_level) == sizeof(unsigned) &&
                   sizeof(enum config_log_format) == sizeof(unsigned),
               "an enum of struct config is not an unsigned");

#define NUMBER_IN(type, field, fallback_, min_, max_)                                                        \
    .kind = CONFIG_KIND_NUMBER, .fallback = (fallback_), .min = (min_), .max = (max_),                       \
    .offset = offsetof(struct type, field), .bytes = sizeof(((struct type *)0)->field)
#define NUMBER(field, fallback_, min_, max_) .path = #field, NUMBER_IN(config, field, fallback_, min_, max_)
#define NUMBER_OR_NULL(field, min_, max_)                                                                    \
    .path = #field, .kind = CONFIG_KIND_NUMBER_OR_NULL, .min = (min_), .max = (max_),                        \
    .offset = offsetof(struct config, field), .bytes = sizeof(uint32_t)
#define BOOLEAN(field, fallback_)                                                                            \
    .path = #field, .kind = CONFIG_KIND_BOOLEAN, .fallback = (fallback_),                                    \
    .offset = offsetof(struct config, field)
#define WORD(field, fallback_, words_)                                                                       \
    .path = #field, .kind = CONFIG_KIND_WORD, .fallback = (fallback_), .words = (words_),                    \
    .offset = offsetof(struct config, field)

/* clang-format off */
static const struct config_key keys[] = {
    {.path = "listen", .kind = CONFIG_KIND_ADDRESS, .fallback = ":80", .offset = offsetof(struct config, listen),
     .fixed = true},
    {NUMBER(workers, "256", 1, 4096), .fixed = true},
    {.path = "user", .kind = CONFIG_KIND_USER, .offset = offsetof(struct config, user), .fixed = true},
    {.path = "trusted_proxies", .kind = CONFIG_KIND_NETWORKS, .fallback = "[]",
     .offset = offsetof(struct config, trusted_proxies)},
    {BOOLEAN(proxy_protocol, "false"), .fixed = true},
    {NUMBER(drain_grace_ms, "0", 0, 3600000)},
    {NUMBER(drain_ms, "10000", 0, 3600000)},
    {.path = "admin.listen", .kind = CONFIG_KIND_ADDRESS_OR_OFF, .fallback = "127.0.0.1:8081",
     .offset = offsetof(struct config, admin.listen), .flag_offset = offsetof(struct config, admin.enabled),
     .fixed = true},
    {.path = "admin.token_file", .kind = CONFIG_KIND_FILE, .offset = offsetof(struct config, admin.token_file),
     .fixed = true},
    {BOOLEAN(admin.drill, "false"), .fixed = true},
    {.path = "backends", .kind = CONFIG_KIND_BACKENDS},
    {.path = "backends[].name", .kind = CONFIG_KIND_NAME, .offset = offsetof(struct config_backend, name)},
    {.path = "backends[].url", .kind = CONFIG_KIND_URL},
    {.path = "backends[].weight", NUMBER_IN(config_backend, weight, "1", 1, 256)},
    {.path = "backends[].max_in_flight", NUMBER_IN(config_backend, max_in_flight, "0", 0, 1000000)},
    {WORD(balance, "round-robin", balance_words)},
    {.path = "hash_on", .kind = CONFIG_KIND_HASH_ON, .fallback = "client", .offset = offsetof(struct config, hash_on)},
    {NUMBER(resolve_ms, "30000", 100, DAY_MS)},
    {WORD(health.failure, "non-200", failure_words)},
    {WORD(health.blame, "every", blame_words)},
    {NUMBER(health.eject_after, "10", 0, 1000000)},
    {NUMBER(health.window_ms, "0", 0, DAY_MS)},
    {WORD(health.readmit, "manual", readmit_words)},
    {NUMBER(health.slow_start_ms, "0", 0, 3600000)},
    {.path = "health.probe.path", .kind = CONFIG_KIND_TARGET, .offset = offsetof(struct config, health.probe.path)},
    {NUMBER(health.probe.interval_ms, "2000", 10, 3600000)},
    {NUMBER(health.probe.timeout_ms, "1000", 1, 3600000)},
    {NUMBER(health.probe.rise, "2", 1, 100)},
    {NUMBER(health.probe.fall, "3", 1, 100)},
    {NUMBER(retry.attempts, "0", 0, CONFIG_BACKENDS_MAX)},
    {WORD(retry.methods, "all", methods_words)},
    {NUMBER(retry.hold_bytes, "262144", 0, UINT32_C(64) << 20)},
    {NUMBER(retry.hold_ms, "500", 0, 60000)},
    {NUMBER_OR_NULL(retry.budget_percent, 0, 100)},
    {NUMBER(timeouts.connect_ms, "1000", 1, DAY_MS)},
    {NUMBER(timeouts.connect_hedge_ms, "250", 0, DAY_MS)},
    {NUMBER(timeouts.response_ms, "30000", 1, DAY_MS)},
    {NUMBER(timeouts.request_ms, "60000", 1, DAY_MS)},
    {NUMBER(timeouts.queue_ms, "5000", 1, DAY_MS)},
    {NUMBER(timeouts.client_header_ms, "10000", 1, DAY_MS)},
    {NUMBER(timeouts.client_body_ms, "30000", 1, DAY_MS)},
    {NUMBER(timeouts.client_idle_ms, "60000", 1, DAY_MS)},
    {NUMBER(timeouts.client_write_ms, "30000", 1, DAY_MS)},
    {NUMBER(timeouts.tunnel_idle_ms, "600000", 1, DAY_MS)},
    {NUMBER(limits.header_bytes, "32768", 1024, 65536)},
    {NUMBER(limits.body_bytes, "16777216", 0, UINT64_C(1) << 40)},
    {NUMBER(limits.connections, "16384", 1, 1000000), .fixed = true},
    {NUMBER(limits.connections_per_client, "0", 0, 1000000), .fixed = true},
    {NUMBER(limits.body_bytes_per_second, "500", 0, 1000000000)},
    {NUMBER(limits.tunnels, "1024", 0, 1000000), .fixed = true},
    {.path = "access_log", .kind = CONFIG_KIND_LOG, .fallback = "off", .offset = offsetof(struct config, access_log)},
    {WORD(log_level, "info", level_words)},
    {WORD(log_format, "logfmt", format_words)},
};
/* clang-format on */

enum { KEY_COUNT = sizeof(keys) / sizeof(keys[0]) };

static const char backend_prefix[] = "backends[].";

const struct config_key *config_keys(size_t *count_)
{
    *count_ = KEY_COUNT;
    return keys;
}

const struct config_key *config_key_find(const char *path)
{
    for (size_t i = 0; i < KEY_COUNT; i++) {
        if (strcmp(keys[i].path, path) == 0)
            return &keys[i];
    }
    return NULL;
}

size_t config_key_children(const char *prefix, struct slice children_[static CONFIG_CHILDREN_MAX])
{
    size_t count = 0, length = strlen(prefix);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const char *name = keys[i].path;
        if (length > 0) {
            if (strncmp(name, prefix, length) != 0 || name[length] != '.')
                continue;
            name += length + 1;
        }
        struct slice child = {.at = name, .length = strcspn(name, ".[")};
        if (count > 0 && slice_equal(child, children_[count - 1]))
            continue;
        MUST(count < CONFIG_CHILDREN_MAX);
        children_[count++] = child;
    }
    return count;
}

/* Writes the words of KEY, "a", "b" or "c", into TEXT of SIZE bytes. */
static void list_words(const struct config_key *key, char *text, size_t size)
{
    size_t used = 0;
    for (size_t i = 0; key->words[i] != NULL; i++) {
        const char *before = i == 0 ? "" : key->words[i + 1] == NULL ? " or " : ", ";
        int n = snprintf(text + used, size - used, "%s\"%s\"", before, key->words[i]);
        MUST(n > 0 && used + (size_t)n < size);
        used += (size_t)n;
    }
}

void config_key_expected(const struct config_key *key, char expected_[static CONFIG_EXPECTED_BYTES])
{
    int used = snprintf(expected_, CONFIG_EXPECTED_BYTES, "expected ");
    char *text = expected_ + used;
    size_t size = (size_t)(CONFIG_EXPECTED_BYTES - used);
    switch (key->kind) {
    case CONFIG_KIND_NUMBER:
        snprintf(text, size, "a whole number from %" PRIu64 " to %" PRIu64, key->min, key->max);
        break;
    case CONFIG_KIND_NUMBER_OR_NULL:
        snprintf(text, size, "a whole number from %" PRIu64 " to %" PRIu64 ", or null", key->min, key->max);
        break;
    case CONFIG_KIND_BOOLEAN:
        snprintf(text, size, "true or false");
        break;
    case CONFIG_KIND_WORD:
        list_words(key, text, size);
        break;
    case CONFIG_KIND_ADDRESS:
        snprintf(text, size, "ADDR:PORT, [IPv6]:PORT or :PORT");
        break;
    case CONFIG_KIND_ADDRESS_OR_OFF:
        snprintf(text, size, "ADDR:PORT, [IPv6]:PORT or :PORT, or \"off\"");
        break;
    case CONFIG_KIND_FILE:
        snprintf(text, size, "a file name or null");
        break;
    case CONFIG_KIND_LOG:
        snprintf(text, size, "\"off\", \"-\" or a file name");
        break;
    case CONFIG_KIND_USER:
        snprintf(text, size, "the name of a user of this system, or null");
        break;
    case CONFIG_KIND_TARGET:
        snprintf(text, size, "a path that begins with '/', or null");
        break;
    case CONFIG_KIND_NETWORKS:
        snprintf(text, size, "an array of up to %d addresses or ADDRESS/BITS", CIDR_SET_MAX);
        break;
    case CONFIG_KIND_HASH_ON:
        snprintf(text, size, "\"client\" or \"header:NAME\"");
        break;
    case CONFIG_KIND_NAME:
        snprintf(text, size, "1 to %d letters, digits, '-', '_' and '.'", CONFIG_NAME_BYTES - 1);
        break;
    case CONFIG_KIND_URL:
        snprintf(text, size, "http://host[:port] or host:port");
        break;
    case CONFIG_KIND_BACKENDS:
        snprintf(text, size, "an array of 1 to %d objects", CONFIG_BACKENDS_MAX);
        break;
    }
}

static bool set_number(const struct config_key *key, void *field, const char *text)
{
    uint64_t wide;
    if (!config_parse_number(text, key->min, key->max, &wide))
        return false;
    uint32_t narrow = (uint32_t)wide;
    memcpy(field, key->bytes == sizeof(narrow) ? (const void *)&narrow : (const void *)&wide, key->bytes);
    return true;
}

static bool set_boolean(void *field, const char *text)
{
    bool on = strcmp(text, "true") == 0;
    memcpy(field, &on, sizeof(on));
    return on || strcmp(text, "false") == 0;
}

static bool set_word(const struct config_key *key, void *field, const char *text)
{
    for (unsigned i = 0; key->words[i] != NULL; i++) {
        if (strcmp(key->words[i], text) == 0) {
            memcpy(field, &i, sizeof(i));
            return true;
        }
    }
    return false;
}

static bool set_file(char *field, const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length >= CONFIG_PATH_BYTES)
        return false;
    memcpy(field, text, length + 1);
    return true;
}

static bool set_log(char *field, const char *text)
{
    field[0] = '\0';
    return strcmp(text, "off") == 0 || set_file(field, text);
}

/* That the user exists is checked here, so that the error can say where it stands. */
static bool set_user(char *field, const char *text)
{
    struct user user;
    size_t length = strlen(text);
    if (length == 0 || length >= CONFIG_USER_BYTES || !user_find(text, &user))
        return false;
    memcpy(field, text, length + 1);
    return true;
}

/* A path goes into a request line as it is: nothing may stand in it that could end that line or be more than
 * a path and a query. */
static bool set_target(char *field, const char *text)
{
    size_t length = strlen(text);
    if (text[0] != '/' || length >= CONFIG_TARGET_BYTES)
        return false;
    for (const char *c = text; *c != '\0'; c++) {
        if (*c <= ' ' || *c >= 0x7f || *c == '#')
            return false;
    }
    memcpy(field, text, length + 1);
    return true;
}

/* A field's name is a token (RFC 9110, 5.1). */
static bool set_hash_on(char *field, const char *text)
{
    static const char prefix[] = "header:";
    field[0] = '\0';
    if (strcmp(text, "client") == 0)
        return true;
    if (strncmp(text, prefix, sizeof(prefix) - 1) != 0)
        return false;
    const char *name = text + sizeof(prefix) - 1;
    size_t length = strlen(name);
    if (length == 0 || length >= CONFIG_FIELD_BYTES)
        return false;
    for (const char *c = name; *c != '\0'; c++) {
        if (!http_is_tchar((unsigned char)*c))
            return false;
    }
    memcpy(field, name, length + 1);
    return true;
}

static bool set_address_or_off(const struct config_key *key, char *base, const char *text, const char **why_)
{
    void *address = base + key->offset;
    bool *enabled = (bool *)(base + key->flag_offset);
    *enabled = strcmp(text, "off") != 0;
    return !*enabled || config_parse_address(text, address, why_);
}

static bool empty_networks(struct cidr_set *field, const char *text)
{
    *field = (struct cidr_set){.count = 0};
    return strcmp(text, "[]") == 0;
}

/* Sets KEY's field in BASE from TEXT. False when it is not fit; *WHY_ is set only where more can be said than
 * what KEY takes in general. */
static bool set_field(const struct config_key *key, char *base, const char *text, const char **why_)
{
    void *field = base + key->offset;
    switch (key->kind) {
    case CONFIG_KIND_NUMBER:
    case CONFIG_KIND_NUMBER_OR_NULL:
        return set_number(key, field, text);
    case CONFIG_KIND_BOOLEAN:
        return set_boolean(field, text);
    case CONFIG_KIND_WORD:
        return set_word(key, field, text);
    case CONFIG_KIND_ADDRESS:
        return config_parse_address(text, field, why_);
    case CONFIG_KIND_ADDRESS_OR_OFF:
        return set_address_or_off(key, base, text, why_);
    case CONFIG_KIND_FILE:
        return set_file(field, text);
    case CONFIG_KIND_LOG:
        return set_log(field, text);
    case CONFIG_KIND_USER:
        return set_user(field, text);
    case CONFIG_KIND_TARGET:
        return set_target(field, text);
    case CONFIG_KIND_NETWORKS:
        return empty_networks(field, text);
    case CONFIG_KIND_HASH_ON:
        return set_hash_on(field, text);
    case CONFIG_KIND_NAME:
        return config_parse_name(text, field, why_);
    case CONFIG_KIND_URL:
        return config_parse_backend_url(text, field, why_);
    case CONFIG_KIND_BACKENDS:
        break;
    }
    return false;
}

/* Sets FIELD to what null means for KEY. False when it means nothing. */
static bool set_null(const struct config_key *key, char *field)
{
    static const uint32_t none = CONFIG_NO_NUMBER;
    switch (key->kind) {
    case CONFIG_KIND_FILE:
    case CONFIG_KIND_USER:
    case CONFIG_KIND_TARGET:
        *field = '\0';
        return true;
    case CONFIG_KIND_NUMBER_OR_NULL:
        memcpy(field, &none, sizeof(none));
        return true;
    default:
        return false;
    }
}

bool config_key_set(const struct config_key *key, void *base, const char *text,
                    char expected_[static CONFIG_EXPECTED_BYTES])
{
    const char *why = NULL;
    if (text == NULL && set_null(key, (char *)base + key->offset))
        return true;
    if (text != NULL && set_field(key, base, text, &why))
        return true;
    config_key_expected(key, expected_);
    if (why != NULL)
        snprintf(expected_, CONFIG_EXPECTED_BYTES, "%s%s", why,
                 key->kind == CONFIG_KIND_ADDRESS_OR_OFF ? ", or \"off\"" : "");
    return false;
}

bool config_key_append(const struct config_key *key, void *base, const char *text,
                       char expected_[static CONFIG_EXPECTED_BYTES])
{
    struct cidr item;
    struct cidr_set *set = (struct cidr_set *)((char *)base + key->offset);
    const char *why = NULL;
    MUST(key->kind == CONFIG_KIND_NETWORKS && set->count < CIDR_SET_MAX);
    if (!cidr_parse(text == NULL ? "" : text, &item, &why)) {
        snprintf(expected_, CONFIG_EXPECTED_BYTES, "%s", why);
        return false;
    }
    set->list[set->count++] = item;
    return true;
}

/* Sets every key that is a field of BASE to its default. */
static void set_defaults(void *base, bool of_backend)
{
    char expected[CONFIG_EXPECTED_BYTES];
    for (size_t i = 0; i < KEY_COUNT; i++) {
        bool backend_key = strncmp(keys[i].path, backend_prefix, sizeof(backend_prefix) - 1) == 0;
        if (backend_key == of_backend &&
            (keys[i].fallback != NULL || keys[i].kind == CONFIG_KIND_NUMBER_OR_NULL))
            MUST(config_key_set(&keys[i], base, keys[i].fallback, expected));
    }
}

void config_defaults(struct config *c)
{
    *c = (struct config){.backend_count = 0};
    set_defaults(c, false);
}

void config_backend_defaults(struct config_backend *b)
{
    *b = (struct config_backend){.weight = 0};
    set_defaults(b, true);
}

bool config_append_backend(struct config *c, struct config_backend *b)
{
    MUST(c->backend_count < CONFIG_BACKENDS_MAX);
    if (b->name[0] == '\0')
        snprintf(b->name, sizeof(b->name), "backend%zu", c->backend_count + 1);
    for (size_t i = 0; i < c->backend_count; i++) {
        if (strcmp(c->backends[i].name, b->name) == 0)
            return false;
    }
    c->backends[c->backend_count++] = *b;
    return true;
}
