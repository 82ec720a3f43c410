/* SPDX-License-Identifier: MIT
 * JSON values as text, in the one form that the admin endpoint speaks. */
#ifndef HOLDFAST_HEALTHD_JSON_TEXT_H
#define HOLDFAST_HEALTHD_JSON_TEXT_H

#include <jansson.h>

/* ROOT as text: keys in the order in which they were added, indented, with a newline at the end. Frees ROOT.
 * Returns malloc'ed text, or NULL when there is no memory or ROOT is NULL, which stands for the same. */
char *json_text(json_t *root);

#endif
