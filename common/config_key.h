/* SPDX-License-Identifier: MIT
 * The table of configuration keys: one row tells all about a key, and the reader of JSON, the command line,
 * the defaults and the test of docs/configuration.md go by it. A new key is a new row (and a field, and a
 * line of the docs). */
#ifndef HOLDFAST_COMMON_CONFIG_KEY_H
#define HOLDFAST_COMMON_CONFIG_KEY_H

#include "common/compiler.h"
#include "common/config.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a key takes, and the type of its field. */
enum config_kind {
    CONFIG_KIND_NUMBER,         /* whole number: uint32_t or uint64_t */
    CONFIG_KIND_NUMBER_OR_NULL, /* the same, or null: uint32_t, null is CONFIG_NO_NUMBER */
    CONFIG_KIND_BOOLEAN,        /* true or false: bool */
    CONFIG_KIND_WORD,           /* one of some words: an enum that counts them from 0 */
    CONFIG_KIND_ADDRESS,        /* struct config_address */
    CONFIG_KIND_ADDRESS_OR_OFF, /* the same, or "off"; a bool beside it tells which */
    CONFIG_KIND_FILE,           /* file name or null: char[CONFIG_PATH_BYTES], null is "" */
    CONFIG_KIND_LOG,            /* file name, "-" or "off": char[CONFIG_PATH_BYTES], "off" is "" */
    CONFIG_KIND_USER,     /* name of a user of the system or null: char[CONFIG_USER_BYTES], null is "" */
    CONFIG_KIND_TARGET,   /* path of a request or null: char[CONFIG_TARGET_BYTES], null is "" */
    CONFIG_KIND_NETWORKS, /* array of addresses and ADDRESS/BITS: struct cidr_set */
    CONFIG_KIND_HASH_ON,  /* "client" or "header:NAME": char[CONFIG_FIELD_BYTES], "client" is "" */
    CONFIG_KIND_NAME,     /* a backend's name: char[CONFIG_NAME_BYTES] */
    CONFIG_KIND_URL,      /* a backend's URL: the whole struct config_backend */
    CONFIG_KIND_BACKENDS, /* array of objects, whose keys are the rows "backends[].*"; no field */
};

struct config_key {
    const char *path;         /* "admin.listen"; "backends[].url" for a key of every backend */
    const char *fallback;     /* the default as text, without quotes; NULL when there is none */
    const char *const *words; /* of a word: the allowed ones, in the order of the enum, then NULL */
    uint64_t min, max;        /* of a number: its range */
    enum config_kind kind;    /* what the key takes */
    size_t offset;      /* of the field, in struct config; for "backends[].*" in struct config_backend */
    size_t bytes;       /* of a number: its field's size */
    size_t flag_offset; /* of CONFIG_KIND_ADDRESS_OR_OFF: where the bool is */
    bool fixed;         /* a change needs a restart: see config_change.h */
};

enum {
    CONFIG_EXPECTED_BYTES = 160, /* what config_key_expected() and config_key_set() write at most */
    CONFIG_CHILDREN_MAX = 32,    /* keys of one object at most */
};

/* All keys; *COUNT_ is their number. Keys of one object stand together. */
const struct config_key *config_keys(size_t *count_);

/* The key with exactly this PATH, or NULL: not a key, or an object of keys, such as "admin". */
const struct config_key *config_key_find(const char *path);

/* Lists the names that the object at PREFIX ("" for the root, "admin", "backends[]") may hold. Returns how
 * many. */
size_t config_key_children(const char *prefix, struct slice children_[static CONFIG_CHILDREN_MAX]);

/* Writes what KEY takes, in words: "expected a whole number from 1 to 4096". */
void config_key_expected(const struct config_key *key, char expected_[static CONFIG_EXPECTED_BYTES]);

/* Sets KEY's field in BASE (a struct config or config_backend) from TEXT, which is not quoted; NULL stands
 * for null. Of arrays only the empty one can be set, "[]". False with "expected ..." in EXPECTED_ when KEY
 * does not take TEXT; then the field is unspecified. */
must_check bool config_key_set(const struct config_key *key, void *base, const char *text,
                               char expected_[static CONFIG_EXPECTED_BYTES]);

/* Appends TEXT, one item of the array KEY (CONFIG_KIND_NETWORKS), which must have room, to its field in BASE;
 * NULL stands for an item that is no string. False with "expected ..." in EXPECTED_ when TEXT is not fit. */
must_check bool config_key_append(const struct config_key *key, void *base, const char *text,
                                  char expected_[static CONFIG_EXPECTED_BYTES]);

/* Fills B with the defaults of "backends[].*": weight set, name and url "". */
void config_backend_defaults(struct config_backend *b);

/* Appends B to C; a backend without a name is first named backendN, N its place from 1. False when the name
 * is taken (then B has the name that was). C must have room. */
must_check bool config_append_backend(struct config *c, struct config_backend *b);

#endif
