/* SPDX-License-Identifier: MIT
 * Whether a worker that waits for a backend should wait on. */
#ifndef HOLDFAST_PROXY_JUDGE_H
#define HOLDFAST_PROXY_JUDGE_H

#include "proxy/watchdog.h"

/* For watchdog_set_judge(), OWNER being the struct proxy: a wait is in vain when its client has reset the
 * connection. One that has ended its side is to be asked whether it is there still: judge_ask(). Where the
 * request may be sent again and a backend is in rotation that was not asked, it is given up when its own was
 * ejected or went down and no answer came within connect_ms, or has drained for drain_ms. */
enum watch_cut judge_wait(void *owner, const struct watch_subject *subject, bool *ask_);

/* Asks the client of SUBJECT: knock.h. For watchdog_set_judge() too, which holds the watch meanwhile. */
void judge_ask(void *owner, const struct watch_subject *subject);

#endif
