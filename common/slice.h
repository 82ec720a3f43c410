/* SPDX-License-Identifier: MIT
 * A view of bytes that somebody else owns. It is valid as long as the owner neither frees nor moves them. */
#ifndef HOLDFAST_COMMON_SLICE_H
#define HOLDFAST_COMMON_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <strings.h>

struct slice {
    const char *at; /* not NUL-terminated; may be NULL when length is 0 */
    size_t length;
};

/* A slice over a string literal. */
#define SLICE(literal) ((struct slice){.at = (literal), .length = sizeof(literal) - 1})

/* A slice over all of TEXT, a NUL-terminated string, or the empty slice for NULL. */
static inline struct slice slice_of(const char *text)
{
    return (struct slice){.at = text, .length = text == NULL ? 0 : strlen(text)};
}

/* Whether A and B hold the same bytes. */
static inline bool slice_equal(struct slice a, struct slice b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.at, b.at, a.length) == 0);
}

/* The same, letters compared without regard to case (ASCII). Neither may hold a NUL. */
static inline bool slice_equal_nocase(struct slice a, struct slice b)
{
    return a.length == b.length && (a.length == 0 || strncasecmp(a.at, b.at, a.length) == 0);
}

#endif
