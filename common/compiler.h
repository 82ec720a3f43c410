/* SPDX-License-Identifier: MIT
 * Names for the few compiler attributes the project uses; nothing else belongs here. */
#ifndef HOLDFAST_COMMON_COMPILER_H
#define HOLDFAST_COMMON_COMPILER_H

/* The caller must look at the result: it may be a failure. */
#define must_check __attribute__((warn_unused_result))

/* Argument POSITION is a printf format, its values start at argument FIRST. */
#define printf_like(position, first) __attribute__((format(printf, position, first)))

/* Size of a cache line: data written by one thread is kept off the lines that others write. */
#define CACHE_LINE_BYTES 64
#define cache_aligned    _Alignas(CACHE_LINE_BYTES)

/* Clang's thread safety analysis, in C: which lock a function takes, frees or needs. Empty under gcc. */
#if defined(__clang__)
#define lock_type          __attribute__((capability("mutex")))
#define acquires_lock(...) __attribute__((acquire_capability(__VA_ARGS__)))
#define releases_lock(...) __attribute__((release_capability(__VA_ARGS__)))
#define requires_lock(...) __attribute__((requires_capability(__VA_ARGS__)))
#define no_lock_analysis   __attribute__((no_thread_safety_analysis))
#else
#define lock_type
#define acquires_lock(...)
#define releases_lock(...)
#define requires_lock(...)
#define no_lock_analysis
#endif

#endif
