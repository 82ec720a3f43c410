/* SPDX-License-Identifier: MIT
 * One line of a log, as pairs of a key and a value: logfmt (key=value key="a value") or a JSON object. Values
 * are escaped, so that nobody can forge a line or a pair. Pure: the text goes to a buffer of the caller's,
 * and what does not fit is cut so that the line stays well-formed. */
#ifndef HOLDFAST_COMMON_LOG_LINE_H
#define HOLDFAST_COMMON_LOG_LINE_H

#include "common/compiler.h"
#include "common/slice.h"

#include <stdbool.h>
#include <stdint.h>

enum { LOG_LINE_BYTES_MIN = 128 }; /* of the buffer */

struct log_line {
    char *at;
    size_t capacity;
    size_t length;
    bool json;
    bool has_pairs; /* the next pair stands behind another one */
};

/* Begins a line in CAPACITY bytes (LOG_LINE_BYTES_MIN at least) at AT: an object when JSON, else logfmt. */
void log_line_begin(struct log_line *line, char *at, size_t capacity, bool json);

/* The same for pairs that will stand in the middle of another line: log_line_pairs(). */
void log_line_begin_pairs(struct log_line *line, char *at, size_t capacity, bool json);

/* Adds KEY, a constant that needs no escaping, with VALUE, any bytes: in logfmt bare when it can be, in JSON
 * a string. It is cut where the line is full; a pair for which there is hardly room is left out. */
void log_line_text(struct log_line *line, const char *key, struct slice value);

/* The same, but VALUE takes BYTES_MAX (8 at least) of the line at the most, quotes not counted. One that is
 * longer is cut and ends in "...". */
void log_line_text_up_to(struct log_line *line, const char *key, struct slice value, size_t bytes_max);

/* Adds KEY with a NUMBER, bare in both forms. */
void log_line_number(struct log_line *line, const char *key, uint64_t number);

/* Adds KEY with DURATION_NS, at least 0, in milliseconds with three decimals, bare: "12.345". */
void log_line_ms(struct log_line *line, const char *key, int64_t duration_ns);

/* Adds PAIRS, the text of a line that log_line_begin_pairs() began for the same form. Left out when they do
 * not fit. */
void log_line_pairs(struct log_line *line, struct slice pairs);

/* Ends the line. Returns it, newline included. */
struct slice log_line_end(struct log_line *line);

#endif
