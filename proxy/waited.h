/* SPDX-License-Identifier: MIT
 * How long a client's request has waited for a worker. Nobody writes down when a connection becomes ready:
 * that would cost something for every request. The kernel knows when the last byte came (tcp(7), TCP_INFO);
 * who must know asks it, which is only when workers have been short for long. */
#ifndef HOLDFAST_PROXY_WAITED_H
#define HOLDFAST_PROXY_WAITED_H

#include "proxy/parking.h"

/* For how many milliseconds what C, which was just taken, has sent has been waiting for a worker, to within a
 * tick of the kernel's clock (10 ms at the most); never more than it really was. 0 when it waits for
 * something else: to be written to, or for its end. One system call. */
int64_t waited_for_worker_ms(const struct client *c, mono_ns now);

#endif
