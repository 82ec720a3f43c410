/* SPDX-License-Identifier: MIT
 * Memory that costs nothing until it is touched: tables made for as many as there may ever be. */
#ifndef HOLDFAST_COMMON_PAGES_H
#define HOLDFAST_COMMON_PAGES_H

#include "common/compiler.h"

#include <stddef.h>

/* BYTES (at least 1) of zeros, aligned to a page; NULL with errno set (mmap(2)). pages_free() is due. */
must_check void *pages_new(size_t bytes);

/* Frees what pages_new(BYTES) gave; NULL is fine. */
void pages_free(void *at, size_t bytes);

#endif
