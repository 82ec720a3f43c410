/* SPDX-License-Identifier: MIT
 * A request needs about 40 random bytes, and a system call for each would cost more than all the rest of
 * making its identifiers. So every thread has a batch of its own: no lock, and no byte is given out twice. */
#include "common/random.h"

#include "common/panic.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

enum { BATCH_BYTES = 1024, ONCE_BYTES_MAX = 64 };

static _Thread_local struct {
    unsigned char bytes[BATCH_BYTES];
    size_t left; /* the last so many bytes were not given out yet */
} batch;

/* Fills the whole batch. getrandom(2) may bring less than asked when a signal comes. There is nothing
 * sensible to do without random bytes, and on a kernel that has the call it can't fail otherwise. */
static void refill(void)
{
    size_t filled = 0;
    while (filled < BATCH_BYTES) {
        ssize_t n = getrandom(batch.bytes + filled, BATCH_BYTES - filled, 0);
        MUST(n > 0 || (n < 0 && errno == EINTR));
        filled += n > 0 ? (size_t)n : 0;
    }
    batch.left = BATCH_BYTES;
}

void random_bytes(unsigned char *bytes, size_t count)
{
    MUST(count <= ONCE_BYTES_MAX);
    if (batch.left < count) {
        refill();
    }
    memcpy(bytes, batch.bytes + BATCH_BYTES - batch.left, count);
    batch.left -= count;
}

void random_hex(char *text, size_t count)
{
    static const char digits[] = "0123456789abcdef";
    unsigned char bytes[ONCE_BYTES_MAX];
    random_bytes(bytes, count);
    for (size_t i = 0; i < count; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
}
