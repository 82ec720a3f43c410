/* SPDX-License-Identifier: MIT */
#include "healthd/json_text.h"

#include <stdlib.h>
#include <string.h>

/* 15 digits: 0.1 stays 0.1, and milliseconds of uptime survive for a thousand years. */
static const size_t flags = JSON_INDENT(2) | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(15);

char *json_text(json_t *root)
{
    char *text = root == NULL ? NULL : json_dumps(root, flags);
    json_decref(root);
    if (text == NULL) {
        return NULL;
    }
    size_t length = strlen(text);
    char *longer = realloc(text, length + 2);
    if (longer == NULL) {
        free(text);
        return NULL;
    }
    memcpy(longer + length, "\n", 2);
    return longer;
}
