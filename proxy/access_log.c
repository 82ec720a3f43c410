/* SPDX-License-Identifier: MIT
 * A line is put together on the stack of whoever made the answer, and copied into the writer's buffer under a
 * lock that is held for just that. */
#include "proxy/access_log.h"

#include "common/clock.h"
#include "common/log.h"
#include "proxy/outbox.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct access_pending {
    struct access_log *log;
    mono_ns begun;
    uint64_t body_bytes;
    bool json; /* its pairs are written so, whatever log_format says meanwhile */
    size_t pairs_length;
    char pairs[];
};

static struct access_writer *writer_of(const struct access_log *l)
{
    return atomic_load_explicit(&l->writer, memory_order_acquire);
}

bool access_log_open(struct access_log *l, const char *path, int *fd_)
{
    *fd_ = -1;
    if (path[0] == '\0') {
        return true;
    }
    if (writer_of(l) == NULL) {
        atomic_store_explicit(&l->writer, access_writer_start(), memory_order_release);
    }
    if (writer_of(l) != NULL) {
        *fd_ = access_open(path);
    }
    return *fd_ != -1;
}

void access_log_direct(struct access_log *l, int fd)
{
    if (fd == -1) {
        atomic_store_explicit(&l->on, false, memory_order_relaxed);
    }
    if (writer_of(l) != NULL) {
        access_writer_direct(writer_of(l), fd);
    }
    if (fd != -1) {
        atomic_store_explicit(&l->on, true, memory_order_release);
    }
}

void access_log_reopen(struct access_log *l, const char *path)
{
    int fd;
    if (path[0] == '\0' || strcmp(path, "-") == 0) {
        plog(CONFIG_LOG_WARN, "signal ignored: there is no log file to reopen");
    } else if (!access_log_open(l, path, &fd)) {
        plog(CONFIG_LOG_ERROR, "access_log %s not reopened, the old file stays in use: %s", path,
             strerror(errno));
    } else {
        access_log_direct(l, fd);
        plog(CONFIG_LOG_INFO, "access_log reopened");
    }
}

void access_log_stop(struct access_log *l)
{
    access_writer_stop(writer_of(l));
    atomic_store_explicit(&l->writer, NULL, memory_order_relaxed);
}

/* The wall clock as in every log. Only its second costs anything to write: that is kept. */
static struct slice stamp_now(void)
{
    enum { MS_AT = CLOCK_ISO8601_BYTES - 5 }; /* "NNNZ" and the final NUL */
    static _Thread_local time_t shown = -1;
    static _Thread_local char text[CLOCK_ISO8601_BYTES];
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (now.tv_sec != shown) {
        shown = now.tv_sec;
        clock_iso8601(now, text);
    }
    unsigned ms = (unsigned)(now.tv_nsec / NS_PER_MS);
    text[MS_AT] = (char)('0' + ms / 100);
    text[MS_AT + 1] = (char)('0' + ms / 10 % 10);
    text[MS_AT + 2] = (char)('0' + ms % 10);
    return (struct slice){text, CLOCK_ISO8601_BYTES - 1};
}

static void write_line(struct access_log *l, const struct log_line *pairs, mono_ns begun, uint64_t body_bytes,
                       enum access_end end)
{
    char text[ACCESS_LINE_BYTES];
    mono_ns now = clock_mono();
    struct access_result result = {.body_bytes = body_bytes,
                                   .duration_ns = begun == 0 ? 0 : now - begun,
                                   .end = end};
    access_writer_add(writer_of(l), access_line_write(text, stamp_now(), pairs, &result), now);
}

static bool writes_json(void)
{
    return plog_format() == CONFIG_LOG_JSON;
}

static mono_ns begun_of(const struct access_entry *entry)
{
    return entry->request == NULL ? 0 : entry->request->begun;
}

void access_log_note(struct access_log *l, const struct access_entry *entry, uint64_t body_bytes,
                     enum access_end end)
{
    char text[ACCESS_PAIRS_BYTES];
    struct log_line pairs;
    access_line_begin(&pairs, text, writes_json(), entry);
    write_line(l, &pairs, begun_of(entry), body_bytes, end);
}

/* The line of an answer that is handed over, but not sent. NULL without memory: then it was made at once. */
static struct access_pending *hold(struct access_log *l, const struct access_entry *entry,
                                   uint64_t body_bytes)
{
    char text[ACCESS_PAIRS_BYTES];
    struct log_line pairs;
    access_line_begin(&pairs, text, writes_json(), entry);
    struct access_pending *p = malloc(sizeof *p + pairs.length);
    if (p == NULL) {
        write_line(l, &pairs, begun_of(entry), body_bytes, ACCESS_WHOLE);
        return NULL;
    }
    *p = (struct access_pending){.log = l,
                                 .begun = begun_of(entry),
                                 .body_bytes = body_bytes,
                                 .json = pairs.json,
                                 .pairs_length = pairs.length};
    memcpy(p->pairs, text, pairs.length);
    return p;
}

void access_log_answer(struct access_log *l, const struct access_entry *entry, uint64_t body_bytes,
                       enum access_end end, struct outbox *outbox)
{
    if (outbox == NULL) {
        access_log_note(l, entry, body_bytes, end);
    } else {
        outbox->access = hold(l, entry, body_bytes);
    }
}

void access_pending_end(struct access_pending *p, uint64_t unsent_bytes, enum access_end end)
{
    if (p == NULL) {
        return;
    }
    struct log_line pairs = {.at = p->pairs, .length = p->pairs_length, .json = p->json};
    uint64_t sent = p->body_bytes > unsent_bytes ? p->body_bytes - unsent_bytes : 0;
    write_line(p->log, &pairs, p->begun, sent, end);
    free(p);
}

void access_log_count(const struct access_log *l, struct access_counts *counts_)
{
    *counts_ = (struct access_counts){.lines = 0};
    if (writer_of(l) != NULL) {
        access_writer_count(writer_of(l), counts_);
    }
}
