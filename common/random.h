/* SPDX-License-Identifier: MIT
 * Random bytes for identifiers, from the kernel (getrandom(2)), fetched in batches for each thread. */
#ifndef HOLDFAST_COMMON_RANDOM_H
#define HOLDFAST_COMMON_RANDOM_H

#include <stddef.h>

/* Fills COUNT bytes (at most 64) at BYTES with unpredictable ones. Any thread; a system call about every 60th
 * time. After fork(2) the child must not call it (the program never forks). */
void random_bytes(unsigned char *bytes, size_t count);

/* Writes COUNT random bytes (at most 64) as 2 * COUNT lower-case hex digits at TEXT, without a final NUL. */
void random_hex(char *text, size_t count);

#endif
