/* SPDX-License-Identifier: MIT
 * The evidence of one backend as JSON, for stats.c. */
#ifndef HOLDFAST_HEALTHD_JSON_EVIDENCE_H
#define HOLDFAST_HEALTHD_JSON_EVIDENCE_H

#include "healthd/evidence.h"

#include <jansson.h>

/* A new object of PAGE; NULL without memory. */
json_t *evidence_object(const struct evidence_page *page);

#endif
