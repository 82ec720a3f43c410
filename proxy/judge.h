/* SPDX-License-Identifier: MIT
 * Whether a worker that waits for a backend should wait on. */
#ifndef HOLDFAST_PROXY_JUDGE_H
#define HOLDFAST_PROXY_JUDGE_H

#include "proxy/watchdog.h"

/* For watchdog_set_judge(), OWNER being the struct proxy: a wait is in vain when its client has reset the
 * connection, and is given up when its backend was taken out of rotation (not to drain it), others are in it,
 * and no answer came within connect_ms. */
enum watch_cut judge_wait(void *owner, const struct watch_subject *subject);

#endif
