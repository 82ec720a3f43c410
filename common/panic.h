/* SPDX-License-Identifier: MIT
 * What must be true. A panic is a programmer's error: it prints where and what, and aborts. What may happen
 * (a full disk, a hostile peer) is never a panic but a returned error. */
#ifndef HOLDFAST_COMMON_PANIC_H
#define HOLDFAST_COMMON_PANIC_H

#include "common/compiler.h"

/* Prints "panic: FILE:LINE: WHAT" on standard error and aborts. Any thread; does not return. */
_Noreturn void panic_at(const char *file, int line, const char *what);

/* Panics unless CONDITION holds. Kept in release builds: a wrong state must not go on. */
#define MUST(condition) ((condition) ? (void)0 : panic_at(__FILE__, __LINE__, #condition))

/* Panics unless the pthread call (or other call that returns an error number) gives 0. */
#define MUST_0(call) ((call) == 0 ? (void)0 : panic_at(__FILE__, __LINE__, #call))

/* A place that can't be reached. */
#define UNREACHABLE() panic_at(__FILE__, __LINE__, "reached the unreachable")

#endif
