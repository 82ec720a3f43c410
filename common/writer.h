/* SPDX-License-Identifier: MIT
 * Appends text to a buffer of fixed size that somebody else owns. Overflow is remembered, not checked at
 * every call: the one who uses the text asks writer_ok() once. */
#ifndef HOLDFAST_COMMON_WRITER_H
#define HOLDFAST_COMMON_WRITER_H

#include "common/slice.h"

#include <stdint.h>

struct writer {
    char *at;
    size_t capacity;
    size_t length; /* more than capacity after an overflow */
};

/* Whether everything fitted. */
static inline bool writer_ok(const struct writer *w)
{
    return w->length <= w->capacity;
}

/* Appends TEXT. */
static inline void writer_put(struct writer *w, struct slice text)
{
    if (w->length <= w->capacity && text.length <= w->capacity - w->length) {
        if (text.length > 0) {
            memcpy(w->at + w->length, text.at, text.length);
        }
        w->length += text.length;
    } else {
        w->length = w->capacity + 1;
    }
}

/* Appends NUMBER in decimal. */
static inline void writer_put_number(struct writer *w, uint64_t number)
{
    char digits[20];
    size_t count = 0;
    do {
        digits[sizeof digits - ++count] = (char)('0' + number % 10);
        number /= 10;
    } while (number > 0);
    writer_put(w, (struct slice){digits + sizeof digits - count, count});
}

/* Appends a field line: "NAME: VALUE" and CRLF. */
static inline void writer_put_field(struct writer *w, struct slice name, struct slice value)
{
    writer_put(w, name);
    writer_put(w, SLICE(": "));
    writer_put(w, value);
    writer_put(w, SLICE("\r\n"));
}

#endif
