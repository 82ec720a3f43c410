/* SPDX-License-Identifier: MIT
 * The stats for machines: the same numbers as stats_json(), in the text format of Prometheus, version 0.0.4
 * (https://prometheus.io/docs/instrumenting/exposition_formats/). */
#ifndef HOLDFAST_HEALTHD_METRICS_H
#define HOLDFAST_HEALTHD_METRICS_H

#include "healthd/admin.h"

#define METRICS_CONTENT_TYPE "text/plain; version=0.0.4; charset=utf-8"

/* All metrics, malloc'ed and ended by a NUL, or NULL without memory. Each family stands there once, with its
 * HELP and TYPE. Between two resets no counter goes back. On the admin thread, no lock held. */
char *metrics_text(const struct admin_context *context);

#endif
