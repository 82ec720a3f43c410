/* SPDX-License-Identifier: MIT */
/*
 * Laid over a program by LD_PRELOAD, counts how often it asks for memory: malloc, calloc, realloc and the
 * aligned ones. The count stands in the file $ALLOCATIONS, as one number of 8 bytes in the machine's order,
 * and can be read there at any time. The functions behind are glibc's own.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static atomic_uint_least64_t unseen; /* What is asked for before the file is there. */
static atomic_uint_least64_t *count = &unseen;

__attribute__((constructor)) static void start(void)
{
    const char *path = getenv("ALLOCATIONS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd >= 0) {
        void *page = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        count = page == MAP_FAILED ? count : page;
        (void)close(fd);
    }
}

static void seen(void)
{
    (void)atomic_fetch_add_explicit(count, 1, memory_order_relaxed);
}

void *malloc(size_t size)
{
    seen();
    return __libc_malloc(size);
}

void *calloc(size_t members, size_t size)
{
    seen();
    return __libc_calloc(members, size);
}

void *realloc(void *old, size_t size)
{
    seen();
    return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size)
{
    seen();
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    seen();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size)
{
    seen();
    void *memory = __libc_memalign(alignment, size);
    if (memory) {
        *result = memory;
    }
    return memory ? 0 : ENOMEM;
}
