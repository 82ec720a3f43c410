/* SPDX-License-Identifier: MIT
 * A line is put together on the caller's stack and written with one write(2): pipes and files keep lines of
 * up to PIPE_BUF bytes whole, so no lock is needed and a slow disk holds up only the thread that logs. */
#include "common/log.h"

#include "common/clock.h"
#include "common/log_line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LINE_BYTES = 2048, ROOM_WAIT_MS = 100 };

static _Atomic int configured_level = CONFIG_LOG_INFO;
static _Atomic int configured_format = CONFIG_LOG_LOGFMT;

void plog_configure(enum config_log_level level, enum config_log_format format)
{
    atomic_store_explicit(&configured_level, (int)level, memory_order_relaxed);
    atomic_store_explicit(&configured_format, (int)format, memory_order_relaxed);
}

enum config_log_format plog_format(void)
{
    return (enum config_log_format)atomic_load_explicit(&configured_format, memory_order_relaxed);
}

bool plog_enabled(enum config_log_level level)
{
    return (int)level <= atomic_load_explicit(&configured_level, memory_order_relaxed);
}

/* Standard error, when it is a pipe, by a description of its own that does not block (open(2) on
 * /proc/self/fd): the one that was handed to us may be shared with other programs. */
static int log_fd = STDERR_FILENO;

static void open_log(void)
{
    struct stat kind;
    if (fstat(STDERR_FILENO, &kind) == 0 && S_ISFIFO(kind.st_mode)) {
        int packets = fcntl(STDERR_FILENO, F_GETFL) & O_DIRECT; /* pipe(7): keeps each line apart */
        int own = open("/proc/self/fd/2", O_WRONLY | O_NONBLOCK | O_CLOEXEC | packets);
        log_fd = own == -1 ? STDERR_FILENO : own;
    }
}

/* A full pipe that nobody reads must not stop a worker: after one wait the lines are lost (there is nowhere
 * to say so) until there is room again. Who finds that another thread has taken the room waits on, within the
 * same wait. */
static void write_line(struct slice line)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static _Atomic bool stuck;
    pthread_once(&once, open_log);
    bool was_stuck = atomic_load_explicit(&stuck, memory_order_relaxed);
    mono_ns deadline = deadline_after_ms(clock_mono(), was_stuck ? 0 : ROOM_WAIT_MS);
    bool full;
    do {
        struct pollfd room = {.fd = log_fd, .events = POLLOUT};
        int ready = poll(&room, 1, deadline_poll_ms(deadline, clock_mono()));
        full = ready == 0;
        if (ready == 1 && (room.revents & POLLOUT) != 0) {
            full = write(log_fd, line.at, line.length) == -1 && errno == EAGAIN;
        }
    } while (full && clock_mono() < deadline);
    atomic_store_explicit(&stuck, full, memory_order_relaxed);
}

void plog_pairs(enum config_log_level level, const char *message, const struct plog_pair *pairs)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    if (!plog_enabled(level)) {
        return;
    }
    char text[LINE_BYTES];
    struct log_line line;
    struct timespec now;
    char stamp[CLOCK_ISO8601_BYTES];
    clock_gettime(CLOCK_REALTIME, &now);
    clock_iso8601(now, stamp);
    log_line_begin(&line, text, sizeof text, plog_format() == CONFIG_LOG_JSON);
    log_line_text(&line, "time", slice_of(stamp));
    log_line_text(&line, "level", slice_of(names[level]));
    log_line_text(&line, "msg", slice_of(message));
    for (; pairs != NULL && pairs->key != NULL; pairs++) {
        log_line_text(&line, pairs->key, pairs->value);
    }
    write_line(log_line_end(&line));
}

void plog(enum config_log_level level, const char *format, ...)
{
    if (!plog_enabled(level)) {
        return;
    }
    char message[1024];
    va_list values;
    va_start(values, format);
    vsnprintf(message, sizeof message, format, values);
    va_end(values);
    plog_pairs(level, message, NULL);
}
