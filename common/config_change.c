/* SPDX-License-Identifier: MIT
 * Texts and addresses are compared as texts: what stands behind their final NUL is left over from something
 * else. */
#include "common/config_change.h"

#include "common/config_key.h"
#include "common/panic.h"

#include <string.h>

static bool same_address(const struct config_address *a, const struct config_address *b)
{
    return a->port == b->port && strcmp(a->host, b->host) == 0;
}

/* Sets SIZE bytes at TO to those at FROM. Returns whether they differed. */
static bool set_back(void *to, const void *from, size_t size)
{
    bool differs = memcmp(to, from, size) != 0;
    memcpy(to, from, size);
    return differs;
}

static bool set_address_back(struct config_address *to, const struct config_address *from)
{
    bool differs = !same_address(to, from);
    *to = *from;
    return differs;
}

static bool set_address_or_off_back(const struct config_key *key, char *next, const char *running)
{
    bool was_on;
    memcpy(&was_on, running + key->flag_offset, sizeof was_on);
    bool switched = set_back(next + key->flag_offset, running + key->flag_offset, sizeof(bool));
    const struct config_address *from = (const struct config_address *)(running + key->offset);
    bool moved = set_address_back((struct config_address *)(next + key->offset), from);
    return switched || (was_on && moved); /* where nothing listens does not matter */
}

/* Sets KEY of NEXT to its value in RUNNING. Returns whether it had another one. */
static bool set_key_back(const struct config_key *key, char *next, const char *running)
{
    char *to = next + key->offset;
    const char *from = running + key->offset;
    switch (key->kind) {
    case CONFIG_KIND_NUMBER:
    case CONFIG_KIND_NUMBER_OR_NULL:
        return set_back(to, from, key->bytes);
    case CONFIG_KIND_BOOLEAN:
        return set_back(to, from, sizeof(bool));
    case CONFIG_KIND_WORD:
        return set_back(to, from, sizeof(unsigned));
    case CONFIG_KIND_ADDRESS:
        return set_address_back((struct config_address *)to, (const struct config_address *)from);
    case CONFIG_KIND_ADDRESS_OR_OFF:
        return set_address_or_off_back(key, next, running);
    case CONFIG_KIND_FILE:
    case CONFIG_KIND_USER: {
        bool differs = strcmp(to, from) != 0;
        memcpy(to, from, strlen(from) + 1);
        return differs;
    }
    default:
        break;
    }
    UNREACHABLE(); /* no key of another kind is fixed: every reload shows it */
}

void config_keep_fixed(struct config *next, const struct config *running,
                       void (*differs)(void *owner, const char *path), void *owner)
{
    size_t count;
    const struct config_key *keys = config_keys(&count);
    for (size_t i = 0; i < count; i++) {
        if (keys[i].fixed && set_key_back(&keys[i], (char *)next, (const char *)running)) {
            differs(owner, keys[i].path);
        }
    }
}
