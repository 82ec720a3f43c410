/* SPDX-License-Identifier: MIT
 * A line is put together on the caller's stack and written with one write(2): pipes and files keep lines of
 * up to PIPE_BUF bytes whole, so no lock is needed and a slow disk holds up only the thread that logs. */
#include "common/log.h"

#include "common/clock.h"

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

struct line {
    size_t length;
    char text[LINE_BYTES];
};

void plog_configure(enum config_log_level level, enum config_log_format format)
{
    atomic_store_explicit(&configured_level, (int)level, memory_order_relaxed);
    atomic_store_explicit(&configured_format, (int)format, memory_order_relaxed);
}

bool plog_enabled(enum config_log_level level)
{
    return (int)level <= atomic_load_explicit(&configured_level, memory_order_relaxed);
}

/* Room is kept for the closing quote, brace and newline. */
static void put_byte(struct line *line, char byte)
{
    if (line->length < LINE_BYTES - 8) {
        line->text[line->length++] = byte;
    }
}

static void put_text(struct line *line, const char *text)
{
    for (; *text != '\0'; text++) {
        put_byte(line, *text);
    }
}

/* One byte inside quotes. logfmt shows a strange byte as \xNN, JSON as \u00NN; neither can end the line
 * early. False when it does not fit whole: half an escape would swallow the closing quote. */
static bool put_escaped(struct line *line, unsigned char byte, bool json)
{
    char code[8] = {(char)byte, '\0'};
    if (byte == '"' || byte == '\\') {
        snprintf(code, sizeof code, "\\%c", byte);
    } else if (byte < 0x20 || byte >= 0x7f) {
        snprintf(code, sizeof code, json ? "\\u%04x" : "\\x%02x", byte);
    }
    if (line->length + strlen(code) > LINE_BYTES - 8) {
        return false;
    }
    put_text(line, code);
    return true;
}

static void put_quoted(struct line *line, struct slice value, bool json)
{
    put_byte(line, '"');
    for (size_t i = 0; i < value.length && put_escaped(line, (unsigned char)value.at[i], json); i++) {
    }
    line->text[line->length++] = '"';
}

static bool needs_quotes(struct slice value)
{
    for (size_t i = 0; i < value.length; i++) {
        unsigned char byte = (unsigned char)value.at[i];
        if (byte <= ' ' || byte >= 0x7f || byte == '"' || byte == '=' || byte == '\\') {
            return true;
        }
    }
    return value.length == 0;
}

static void put_pair(struct line *line, const char *key, struct slice value, bool json)
{
    if (line->length > LINE_BYTES - 64) {
        return;
    }
    if (json) {
        put_text(line, line->length > 1 ? ",\"" : "\"");
        put_text(line, key);
        put_text(line, "\":");
        put_quoted(line, value, true);
        return;
    }
    if (line->length > 0) {
        put_byte(line, ' ');
    }
    put_text(line, key);
    put_byte(line, '=');
    if (needs_quotes(value)) {
        put_quoted(line, value, false);
    } else {
        for (size_t i = 0; i < value.length; i++) {
            put_byte(line, value.at[i]);
        }
    }
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
 * to say so) until there is room again. */
static void write_line(const struct line *line)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    static _Atomic bool stuck;
    pthread_once(&once, open_log);
    struct pollfd room = {.fd = log_fd, .events = POLLOUT};
    int ready = poll(&room, 1, atomic_load_explicit(&stuck, memory_order_relaxed) ? 0 : ROOM_WAIT_MS);
    atomic_store_explicit(&stuck, ready == 0, memory_order_relaxed);
    if (ready == 1 && (room.revents & POLLOUT) != 0) {
        ssize_t written = write(log_fd, line->text, line->length);
        (void)written;
    }
}

void plog_pairs(enum config_log_level level, const char *message, const struct plog_pair *pairs)
{
    static const char *const names[] = {"error", "warn", "info", "debug"};
    if (!plog_enabled(level)) {
        return;
    }
    bool json = atomic_load_explicit(&configured_format, memory_order_relaxed) == CONFIG_LOG_JSON;
    struct line line = {.length = 0};
    struct timespec now;
    char stamp[CLOCK_ISO8601_BYTES];
    clock_gettime(CLOCK_REALTIME, &now);
    clock_iso8601(now, stamp);
    if (json) {
        put_byte(&line, '{');
    }
    put_pair(&line, "time", slice_of(stamp), json);
    put_pair(&line, "level", slice_of(names[level]), json);
    put_pair(&line, "msg", slice_of(message), json);
    for (; pairs != NULL && pairs->key != NULL; pairs++) {
        put_pair(&line, pairs->key, pairs->value, json);
    }
    if (json) {
        line.text[line.length++] = '}';
    }
    line.text[line.length++] = '\n';
    write_line(&line);
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
