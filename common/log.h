/* SPDX-License-Identifier: MIT
 * The program's log: one line per event on standard error, logfmt or JSON, written with one write(2) so that
 * lines of several threads never mix. Only healthd/ and proxy/ log; common/ returns errors. (The prefix is
 * plog_: log() is libm's.) */
#ifndef HOLDFAST_COMMON_LOG_H
#define HOLDFAST_COMMON_LOG_H

#include "common/compiler.h"
#include "common/config.h"
#include "common/slice.h"

/* Sets level and format; before it, level info and logfmt hold. Any thread. */
void plog_configure(enum config_log_level level, enum config_log_format format);

/* The form of lines. Any thread. */
enum config_log_format plog_format(void);

/* Whether a line of LEVEL would be written: to skip the work of making it. */
bool plog_enabled(enum config_log_level level);

/* One key=value of a line. VALUE may hold any bytes: they are escaped, so that nobody can forge a line. */
struct plog_pair {
    const char *key; /* NULL ends a list */
    struct slice value;
};

/* Writes a line: time, level, MESSAGE (for people, constant), and PAIRS, an array ended by a NULL key, or
 * NULL. A line is cut at 2048 bytes. Any thread; never fails. A line that can't be written is lost: also one
 * for which a full pipe has no room within 100 ms, and those behind it until there is room again. */
void plog_pairs(enum config_log_level level, const char *message, const struct plog_pair *pairs);

/* The same with a formatted message and no pairs. */
void plog(enum config_log_level level, const char *format, ...) printf_like(2, 3);

#endif
