/* SPDX-License-Identifier: MIT
 * From a JSON text to struct config. jansson judges the syntax and decodes strings; the table of config_key.c
 * judges everything else. Numbers are not taken from jansson but from the text itself, as it is written
 * there: so 1e3, 2.5, -1 and one of a hundred digits all get the same message with the range. The reader
 * walks the tree in the order of the text and remembers the way to where it is: the first error in the file
 * is the one reported, with its place. */
#include "common/config.h"
#include "common/config_key.h"
#include "common/config_locate.h"
#include "common/panic.h"
#include "common/suggest.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

enum {
    DEPTH_MAX = 4,     /* root, backends, one of them, its key */
    PATH_BYTES = 64,   /* a key's path, as in the table or as shown */
    SHOWN_BYTES = 60,  /* of a wrong value at most so many bytes are shown */
    DIGITS_BYTES = 32, /* of a number; a longer one is outside every range */
};

struct reader {
    struct config *config;
    struct slice text;
    const char *name; /* of the file, for errors */
    struct config_error *error;
    size_t steps[DEPTH_MAX]; /* the way from the root to where the reader is */
    size_t depth;
};

/* An object of keys: its path in the table, the same for people (with an index in place of []), and where its
 * fields are. */
struct section {
    const char *path, *shown;
    void *base;
};

static void go_in(struct reader *r, size_t step)
{
    MUST(r->depth < DEPTH_MAX);
    r->steps[r->depth++] = step;
}

static void go_out(struct reader *r)
{
    r->depth--;
}

static struct config_found here(const struct reader *r)
{
    return config_locate(r->text, r->steps, r->depth);
}

/* How many bytes of WRITTEN to show: not too many, and no half character. */
static int shown_bytes(struct slice written)
{
    size_t n = written.length;
    if (n <= SHOWN_BYTES)
        return (int)n;
    for (n = SHOWN_BYTES; n > 0 && ((unsigned char)written.at[n] & 0xc0) == 0x80; n--)
        continue;
    return (int)n;
}

/* Reports what is at R, a value of the key SHOWN ("" for the root), as not EXPECTED. */
static bool refuse_value(struct reader *r, const char *shown, const char *expected)
{
    struct slice value = here(r).value;
    struct config_position p = config_position(r->text, value.at);
    if (value.length > 0 && value.at[0] == '{')
        value = SLICE("an object");
    else if (value.length > 0 && value.at[0] == '[')
        value = SLICE("an array");
    bool cut = value.length > SHOWN_BYTES;
    const char *quote = shown[0] == '\0' ? "" : "\"";
    config_error_set(r->error, "%s:%zu:%zu: %s%s%s is %.*s%s, %s", r->name, p.line, p.column, quote,
                     shown[0] == '\0' ? "the file" : shown, quote, shown_bytes(value), value.at,
                     cut ? "..." : "", expected);
    return false;
}

/* Reports the key at R, KEY when decoded, as none of CHILDREN. */
static bool refuse_key(struct reader *r, const struct section *s, const char *key,
                       const struct slice *children, size_t count)
{
    char mend[SUGGEST_MEND_BYTES];
    suggest_mend(slice_of(key), children, count, "\"", "\"", mend);
    struct slice written = here(r).key;
    struct config_position p = config_position(r->text, written.at);
    bool root = s->shown[0] == '\0';
    config_error_set(r->error, "%s:%zu:%zu: unknown key %.*s%s%s%s%s, %s", r->name, p.line, p.column,
                     shown_bytes(written), written.at, written.length > SHOWN_BYTES ? "..." : "",
                     root ? "" : " in \"", s->shown, root ? "" : "\"", mend);
    return false;
}

/* Reads VALUE, of any type, as the field of KEY. */
static bool read_field(struct reader *r, const struct config_key *key, const struct section *s,
                       const char *shown, const json_t *value)
{
    char expected[CONFIG_EXPECTED_BYTES], digits[DIGITS_BYTES];
    const char *text = NULL;
    bool read = false;
    bool number = key->kind == CONFIG_KIND_NUMBER || key->kind == CONFIG_KIND_NUMBER_OR_NULL;
    if (number && json_is_number(value)) {
        struct slice written = here(r).value;
        snprintf(digits, sizeof(digits), "%.*s", (int)written.length, written.at);
        text = digits;
    } else if (key->kind == CONFIG_KIND_BOOLEAN && json_is_boolean(value)) {
        text = json_is_true(value) ? "true" : "false";
    } else if (!number && key->kind != CONFIG_KIND_BOOLEAN) {
        text = json_string_value(value); /* NULL when it is none */
    }
    config_key_expected(key, expected);
    if (text != NULL || json_is_null(value))
        read = config_key_set(key, s->base, text, expected);
    return read || refuse_value(r, shown, expected);
}

/* Reports what is at R, the item SHOWN of an array, as one more than EXPECTED. */
static bool refuse_one_more(struct reader *r, const char *shown, const char *expected)
{
    struct config_position p = config_position(r->text, here(r).value.at);
    config_error_set(r->error, "%s:%zu:%zu: \"%s\" is one too many, %s", r->name, p.line, p.column, shown,
                     expected);
    return false;
}

/* Reads ARRAY, of any type, as the array of networks KEY. */
static bool read_networks(struct reader *r, const struct config_key *key, void *base, json_t *array)
{
    char shown[PATH_BYTES], expected[CONFIG_EXPECTED_BYTES];
    size_t index;
    json_t *item;
    config_key_expected(key, expected);
    if (!json_is_array(array))
        return refuse_value(r, key->path, expected);
    MUST(config_key_set(key, base, "[]", expected));
    json_array_foreach(array, index, item)
    {
        go_in(r, index);
        snprintf(shown, sizeof(shown), "%s[%zu]", key->path, index);
        if (index == CIDR_SET_MAX)
            return refuse_one_more(r, shown, expected);
        if (!config_key_append(key, base, json_string_value(item), expected))
            return refuse_value(r, shown, expected);
        go_out(r);
    }
    return true;
}

/* Steps to OBJECT's member KEY, when it has one. Returns whether it has. */
static bool go_in_member(struct reader *r, json_t *object, const char *key)
{
    const char *name;
    json_t *value;
    size_t nth = 0;
    json_object_foreach(object, name, value)
    {
        if (strcmp(name, key) == 0) {
            go_in(r, nth);
            return true;
        }
        nth++;
    }
    return false;
}

static bool read_object(struct reader *r, const struct section *s, json_t *object);

/* Reads OBJECT as the next backend; SHOWN is its path for people. */
static bool read_backend(struct reader *r, const char *shown, json_t *object)
{
    struct config_backend b;
    config_backend_defaults(&b);
    struct section s = {.path = "backends[]", .shown = shown, .base = &b};
    if (!json_is_object(object))
        return refuse_value(r, shown, "expected an object with a \"url\"");
    if (!read_object(r, &s, object))
        return false;
    if (b.url[0] == '\0') {
        struct config_position p = config_position(r->text, here(r).value.at);
        config_error_set(r->error,
                         "%s:%zu:%zu: \"%s\" has no \"url\", expected \"url\": \"http://host[:port]\"",
                         r->name, p.line, p.column, shown);
        return false;
    }
    if (config_append_backend(r->config, &b))
        return true;
    if (go_in_member(r, object, "name")) {
        char shown_name[PATH_BYTES + sizeof(".name")];
        snprintf(shown_name, sizeof(shown_name), "%s.name", shown);
        return refuse_value(r, shown_name, "expected a name that no other backend has");
    }
    struct config_position p = config_position(r->text, here(r).value.at);
    config_error_set(
        r->error,
        "%s:%zu:%zu: \"%s\" has no \"name\" and \"%s\" is taken, expected a name that no other backend has",
        r->name, p.line, p.column, shown, b.name);
    return false;
}

static bool read_backends(struct reader *r, const struct config_key *key, json_t *array)
{
    char shown[PATH_BYTES], expected[CONFIG_EXPECTED_BYTES];
    size_t index;
    json_t *item;
    config_key_expected(key, expected);
    if (!json_is_array(array))
        return refuse_value(r, key->path, expected);
    r->config->backend_count = 0;
    json_array_foreach(array, index, item)
    {
        go_in(r, index);
        snprintf(shown, sizeof(shown), "backends[%zu]", index);
        if (index == CONFIG_BACKENDS_MAX)
            return refuse_one_more(r, shown, expected);
        if (!read_backend(r, shown, item))
            return false;
        go_out(r);
    }
    return true;
}

/* Reads VALUE, the member KEY of the object S. */
static bool read_member(struct reader *r, const struct section *s, const char *key, json_t *value)
{
    char path[PATH_BYTES], shown[PATH_BYTES];
    struct slice children[CONFIG_CHILDREN_MAX];
    size_t count = config_key_children(s->path, children), i = 0;
    while (i < count && !slice_equal(children[i], slice_of(key)))
        i++;
    if (i == count)
        return refuse_key(r, s, key, children, count);
    const char *dot = s->path[0] == '\0' ? "" : ".";
    snprintf(path, sizeof(path), "%s%s%s", s->path, dot, key);
    snprintf(shown, sizeof(shown), "%s%s%s", s->shown, dot, key);
    const struct config_key *found = config_key_find(path);
    struct section inner = {.path = path, .shown = shown, .base = s->base};
    if (found != NULL && found->kind == CONFIG_KIND_BACKENDS)
        return read_backends(r, found, value);
    if (found != NULL && found->kind == CONFIG_KIND_NETWORKS)
        return read_networks(r, found, s->base, value);
    if (found != NULL)
        return read_field(r, found, s, shown, value);
    return json_is_object(value) ? read_object(r, &inner, value)
                                 : refuse_value(r, shown, "expected an object");
}

/* Reads all members of OBJECT, the object S. */
static bool read_object(struct reader *r, const struct section *s, json_t *object)
{
    const char *key;
    json_t *value;
    size_t nth = 0;
    json_object_foreach(object, key, value)
    {
        go_in(r, nth++);
        if (!read_member(r, s, key, value))
            return false;
        go_out(r);
    }
    return true;
}

bool config_read_text(struct config *c, const char *text, size_t length, const char *name,
                      struct config_error *error_)
{
    json_error_t wrong;
    struct section root = {.path = "", .shown = "", .base = c};
    struct reader r = {.config = c, .text = {.at = text, .length = length}, .name = name, .error = error_};
    json_t *tree = json_loadb(text, length, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, &wrong);
    if (tree == NULL) {
        /* jansson counts from the line's start, so that a text that ends with its last line is at column 0 */
        bool nul =
            json_error_code(&wrong) == json_error_null_character; /* its text names a flag of jansson */
        config_error_set(error_, "%s:%d:%d: not valid JSON: %s", name, wrong.line > 0 ? wrong.line : 1,
                         wrong.column > 0 ? wrong.column : 1,
                         nul ? "a text holds \\u0000, expected none there" : wrong.text);
        return false;
    }
    bool read =
        json_is_object(tree) ? read_object(&r, &root, tree) : refuse_value(&r, "", "expected an object");
    json_decref(tree);
    return read;
}
