/* SPDX-License-Identifier: MIT
 * The thread that writes the access log. Others put lines into a buffer and never wait for the disk: a line
 * for which there is no room is dropped and counted. What can't be written now (a full disk, a pipe that
 * nobody reads) is kept and tried again, so that the log goes on by itself when the reason is gone. */
#ifndef HOLDFAST_PROXY_ACCESS_WRITER_H
#define HOLDFAST_PROXY_ACCESS_WRITER_H

#include "common/clock.h"
#include "common/compiler.h"
#include "common/slice.h"

#include <stdint.h>

struct access_writer; /* opaque */

struct access_counts {
    uint64_t lines;   /* that were taken in since start */
    uint64_t dropped; /* others that were not, and of those taken in the ones that could not be written */
};

/* Opens the file at PATH to append to it, and makes it when it is not there (mode 0640); "-" is standard
 * output. A FIFO must have a reader. Returns a descriptor, or -1 with errno set. */
int access_open(const char *path);

/* Starts the thread; it has no file yet. NULL with errno set. */
struct access_writer *access_writer_start(void);

/* From now on lines go to FD, which becomes W's, those that wait too; the file before is closed. No line is
 * lost, and none is torn: one that was written in part is written whole to the new file. -1: what waits is
 * written within a second if it can be, and then there is no file. */
void access_writer_direct(struct access_writer *w, int fd);

/* Adds LINE, newline included, at NOW. Any thread, no lock held; never waits. */
void access_writer_add(struct access_writer *w, struct slice line, mono_ns now);

/* Counts since start. Any thread. */
void access_writer_count(struct access_writer *w, struct access_counts *counts_);

/* Writes what waits within a second if it can be, ends the thread, closes the file and frees W; NULL is fine.
 * Nobody may add a line any more. */
void access_writer_stop(struct access_writer *w);

#endif
