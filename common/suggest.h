/* SPDX-License-Identifier: MIT
 * "Did you mean": the known word that is nearest to a misspelt one. */
#ifndef HOLDFAST_COMMON_SUGGEST_H
#define HOLDFAST_COMMON_SUGGEST_H

#include "common/slice.h"

#include <stddef.h>

enum { SUGGEST_MEND_BYTES = 512 };

/* Returns the index of the word of KNOWN[0..COUNT) that is nearest to WORD, the first of equals; COUNT when
 * none is near enough to be a likely slip of the pen. Case does not matter (ASCII). */
size_t suggest_nearest(struct slice word, const struct slice *known, size_t count);

/* Writes the mend of an unknown WORD: "did you mean X?" where one of KNOWN is near, or else "expected X, Y or
 * Z" with all of them. BEFORE and AFTER stand around each word, such as quotes. COUNT is at least 1. */
void suggest_mend(struct slice word, const struct slice *known, size_t count, const char *before,
                  const char *after, char mend_[static SUGGEST_MEND_BYTES]);

#endif
