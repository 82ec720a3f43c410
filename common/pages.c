/* SPDX-License-Identifier: MIT */
#include "common/pages.h"

#include "common/panic.h"

#include <sys/mman.h>

void *pages_new(size_t bytes)
{
    void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

void pages_free(void *at, size_t bytes)
{
    MUST(at == NULL || munmap(at, bytes) == 0);
}
