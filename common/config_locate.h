/* SPDX-License-Identifier: MIT
 * Where in a JSON text a key or a value stands, and how it is written there. */
#ifndef HOLDFAST_COMMON_CONFIG_LOCATE_H
#define HOLDFAST_COMMON_CONFIG_LOCATE_H

#include "common/slice.h"

#include <stddef.h>

/* A value as it is written in the text; the slices point into the text. */
struct config_found {
    struct slice key; /* with its quotes; empty for the root and for items of an array */
    struct slice value;
};

/* Both from 1. A column is a character (UTF-8), not a byte. */
struct config_position {
    size_t line, column;
};

/* Finds a value in TEXT, which must be valid JSON, by COUNT steps from the root: STEPS[i] is the number, from
 * 0, of a member of an object or an item of an array. No steps: the root. A step that leads nowhere gives
 * empty slices at the end of TEXT. */
struct config_found config_locate(struct slice text, const size_t *steps, size_t count);

/* The position of AT, a pointer into TEXT or to its end. */
struct config_position config_position(struct slice text, const char *at);

#endif
