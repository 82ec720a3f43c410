/* SPDX-License-Identifier: MIT
 * From the configuration in force to a new one. Most keys change while the program runs; those that are
 * marked `fixed` in the table of keys need a restart. */
#ifndef HOLDFAST_COMMON_CONFIG_CHANGE_H
#define HOLDFAST_COMMON_CONFIG_CHANGE_H

#include "common/config.h"

/* Sets each fixed key of NEXT back to its value in RUNNING. For each that differed, DIFFERS is called with
 * its path ("admin.listen"), in the order of the table. */
void config_keep_fixed(struct config *next, const struct config *running,
                       void (*differs)(void *owner, const char *path), void *owner);

#endif
