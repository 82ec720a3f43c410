/* SPDX-License-Identifier: MIT
 * The thread alone has the file. It sleeps until a line comes, gives others AGE_MS to follow, and writes them
 * all with one write(2). It waits with poll(2) where a descriptor can be waited for, so that it can be
 * stopped or given another file meanwhile; a write to a disk waits in the kernel. */
#include "proxy/access_writer.h"

#include "common/lock.h"
#include "common/log.h"
#include "common/panic.h"
#include "proxy/log_buffers.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
    BUFFER_BYTES = 1 << 20,
    AGE_MS = 100,         /* how long a line waits for others */
    RETRY_MS = 1000,      /* after a failed write */
    FLUSH_MS = 1000,      /* what waits at the end has so long to be written */
    COMPLAINT_REST_S = 10 /* between two lines of the program's log about the same */
};

struct access_writer {
    pthread_t thread;
    int wake_fd; /* eventfd: look at what follows */
    struct {
        struct lock lock; /* must be held for what follows */
        struct log_buffers buffers;
        bool redirected;
        int next_fd; /* when redirected */
        bool stop;
    } shared;
    char *memory;        /* both buffers; the rest is the thread's own */
    int fd;              /* -1: there is no file */
    bool is_socket;      /* of FD */
    bool may_block;      /* of FD: only what poll(2) has promised room for may be written */
    struct slice taken;  /* the buffer that is being written, */
    struct slice rest;   /* and what of it is still to be written */
    bool wants_room;     /* FD takes no more now */
    bool failing;        /* the last write failed */
    mono_ns complain_at; /* about a failing write, not before */
    mono_ns tell_at;     /* about dropped lines, not before */
    uint64_t told;       /* of those that were dropped */
};

/* ---- The file ---- */

/* A description of our own that does not block: the one that was handed to us may be shared with others, who
 * would be surprised. A file's has the place where the next line goes, which must stay the shared one. */
static int open_standard_output(void)
{
    struct stat kind;
    if (fstat(STDOUT_FILENO, &kind) == 0 && (S_ISFIFO(kind.st_mode) || S_ISCHR(kind.st_mode))) {
        int own = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (own != -1) {
            return own;
        }
    }
    return fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

int access_open(const char *path)
{
    if (strcmp(path, "-") == 0) {
        return open_standard_output();
    }
    return open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0640);
}

static bool is_same_file(int a, int b)
{
    struct stat one, other;
    return a != -1 && b != -1 && fstat(a, &one) == 0 && fstat(b, &other) == 0 && one.st_dev == other.st_dev &&
           one.st_ino == other.st_ino;
}

/* Goes back to the begin of the line that was written in part: who has read that part is not the one who
 * reads what comes now. */
static void rewind_line(struct access_writer *w)
{
    while (w->rest.length > 0 && w->rest.at > w->taken.at && w->rest.at[-1] != '\n') {
        w->rest.at--;
        w->rest.length++;
    }
}

/* From now on W writes to FD, which may be -1. */
static void adopt(struct access_writer *w, int fd)
{
    struct stat kind = {.st_mode = 0};
    if (!is_same_file(w->fd, fd)) {
        rewind_line(w);
    }
    if (w->fd != -1) {
        close(w->fd);
    }
    w->fd = fd;
    w->wants_room = false;
    if (fd != -1) {
        MUST(fstat(fd, &kind) == 0);
        w->is_socket = S_ISSOCK(kind.st_mode);
        w->may_block = !w->is_socket && !S_ISREG(kind.st_mode) && (fcntl(fd, F_GETFL) & O_NONBLOCK) == 0;
    }
}

/* ---- Words ---- */

static void complain(struct access_writer *w, int failure, mono_ns now)
{
    if (!w->failing || now >= w->complain_at) {
        w->complain_at = now + COMPLAINT_REST_S * NS_PER_S;
        plog(CONFIG_LOG_WARN, "access_log can't be written: %s; it is tried again", strerror(failure));
    }
    w->failing = true;
}

static void note_success(struct access_writer *w)
{
    if (w->failing) {
        plog(CONFIG_LOG_INFO, "access_log is written again");
    }
    w->failing = false;
}

/* Says how many lines were dropped since it was last said. Returns when it must be said next. */
static mono_ns tell_dropped(struct access_writer *w, mono_ns now)
{
    struct access_counts counts;
    access_writer_count(w, &counts);
    if (counts.dropped == w->told) {
        return DEADLINE_NO;
    }
    if (now < w->tell_at) {
        return w->tell_at;
    }
    plog(CONFIG_LOG_WARN, "access_log: %llu lines were dropped, for they could not be written in time",
         (unsigned long long)(counts.dropped - w->told));
    w->told = counts.dropped;
    w->tell_at = now + COMPLAINT_REST_S * NS_PER_S;
    return DEADLINE_NO;
}

/* ---- Writing ---- */

/* Takes a buffer, if there is one to be written. Otherwise returns when there may be. */
static mono_ns take(struct access_writer *w, mono_ns now, bool everything)
{
    lock_take(&w->shared.lock);
    mono_ns due = log_buffers_take(&w->shared.buffers, now, everything, &w->taken);
    lock_free(&w->shared.lock);
    w->rest = w->taken;
    return due;
}

/* The buffer is done with; what was not written of it is lost. */
static void release(struct access_writer *w)
{
    uint64_t lost = 0;
    for (size_t i = 0; i < w->rest.length; i++) {
        lost += w->rest.at[i] == '\n';
    }
    lock_take(&w->shared.lock);
    log_buffers_written(&w->shared.buffers, lost);
    lock_free(&w->shared.lock);
    w->taken = w->rest = (struct slice){NULL, 0};
}

/* One write, which does not wait for a reader. */
static ssize_t put(const struct access_writer *w)
{
    if (w->is_socket) {
        return send(w->fd, w->rest.at, w->rest.length, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    if (!w->may_block) {
        return write(w->fd, w->rest.at, w->rest.length);
    }
    struct pollfd room = {.fd = w->fd, .events = POLLOUT};
    if (poll(&room, 1, 0) != 1) {
        errno = EAGAIN;
        return -1;
    }
    return write(w->fd, w->rest.at, w->rest.length < PIPE_BUF ? w->rest.length : PIPE_BUF);
}

/* Writes the buffer as far as the file takes it now. Returns when to go on: at NOW when all is written, or
 * not before something changes. */
static mono_ns push(struct access_writer *w, mono_ns now)
{
    w->wants_room = false;
    while (w->rest.length > 0) {
        ssize_t written = put(w);
        if (written >= 0) {
            w->rest.at += written;
            w->rest.length -= (size_t)written;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            w->wants_room = true;
            return deadline_after_ms(now, RETRY_MS);
        } else if (errno != EINTR) {
            int failure = errno;
            complain(w, failure, now);
            if (failure == EPIPE) {
                rewind_line(w);
            }
            return deadline_after_ms(now, RETRY_MS);
        }
    }
    note_success(w);
    release(w);
    return now;
}

/* Does what is to be done at NOW. Returns when there is more to do. */
static mono_ns step(struct access_writer *w, mono_ns now, bool everything)
{
    if (w->fd == -1) {
        return DEADLINE_NO; /* lines of the last moment before it was switched off wait for the next file */
    }
    if (w->rest.length == 0) {
        mono_ns due = take(w, now, everything);
        if (w->rest.length == 0) {
            return due;
        }
    }
    return push(w, now);
}

/* Waits until UNTIL, until there is room again or until somebody wakes it. */
static void wait_until(struct access_writer *w, mono_ns until)
{
    struct pollfd wait[2] = {{.fd = w->wake_fd, .events = POLLIN},
                             {.fd = w->wants_room ? w->fd : -1, .events = POLLOUT}};
    int ready = poll(wait, 2, deadline_poll_ms(until, clock_mono()));
    MUST(ready != -1 || errno == EINTR);
    if (ready > 0 && (wait[0].revents & POLLIN) != 0) {
        uint64_t count;
        ssize_t got = read(w->wake_fd, &count, sizeof count);
        (void)got;
    }
}

/* Writes all that waits, if that can be done in time; the rest is lost. */
static void flush(struct access_writer *w)
{
    mono_ns now = clock_mono(), deadline = deadline_after_ms(now, FLUSH_MS);
    for (;;) {
        mono_ns next = step(w, now, true);
        if (next == DEADLINE_NO) {
            return; /* nothing is left */
        }
        if (next > now && !w->wants_room) {
            break; /* it failed, and nobody will be there for another try */
        }
        if (next > now) {
            struct pollfd room = {.fd = w->fd, .events = POLLOUT};
            poll(&room, 1, deadline_poll_ms(deadline, now));
        }
        now = clock_mono();
        if (now >= deadline) {
            break;
        }
    }
    while (w->rest.length > 0 || take(w, now, true) != DEADLINE_NO) {
        release(w);
    }
}

/* Takes what was ordered meanwhile. False when it must stop. */
static bool obey(struct access_writer *w)
{
    lock_take(&w->shared.lock);
    bool redirected = w->shared.redirected;
    int next_fd = w->shared.next_fd;
    bool stop = w->shared.stop;
    w->shared.redirected = false;
    lock_free(&w->shared.lock);
    if (redirected) {
        if (next_fd == -1 && w->fd != -1) {
            flush(w);
        }
        adopt(w, next_fd);
    }
    return !stop;
}

static void *writer_main(void *argument)
{
    struct access_writer *w = argument;
    pthread_setname_np(pthread_self(), "hf-access");
    while (obey(w)) {
        mono_ns now = clock_mono();
        mono_ns next = step(w, now, false);
        next = deadline_earlier(next, tell_dropped(w, now));
        if (next > now) {
            wait_until(w, next);
        }
    }
    if (w->fd != -1) {
        flush(w);
    }
    w->tell_at = 0;
    tell_dropped(w, clock_mono());
    adopt(w, -1);
    return NULL;
}

/* ---- What others call ---- */

static void wake(struct access_writer *w)
{
    uint64_t one = 1;
    ssize_t written = write(w->wake_fd, &one, sizeof one);
    MUST(written == sizeof one);
}

static void delete (struct access_writer *w)
{
    if (w->wake_fd != -1) {
        close(w->wake_fd);
    }
    lock_destroy(&w->shared.lock);
    free(w->memory);
    free(w);
}

static int start_thread(struct access_writer *w)
{
    enum { STACK_BYTES = 128 << 10 };
    pthread_attr_t attributes;
    MUST_0(pthread_attr_init(&attributes));
    MUST_0(pthread_attr_setstacksize(&attributes, STACK_BYTES));
    int failure = pthread_create(&w->thread, &attributes, writer_main, w);
    MUST_0(pthread_attr_destroy(&attributes));
    return failure;
}

struct access_writer *access_writer_start(void)
{
    struct access_writer *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return NULL;
    }
    lock_init(&w->shared.lock);
    w->fd = -1;
    w->memory = malloc((size_t)2 * BUFFER_BYTES);
    w->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int failure = w->memory == NULL || w->wake_fd == -1 ? errno : 0;
    if (failure == 0) {
        log_buffers_init(&w->shared.buffers, w->memory, w->memory + BUFFER_BYTES, BUFFER_BYTES,
                         AGE_MS * NS_PER_MS);
        failure = start_thread(w);
    }
    if (failure != 0) {
        delete (w);
        errno = failure;
        return NULL;
    }
    return w;
}

void access_writer_direct(struct access_writer *w, int fd)
{
    lock_take(&w->shared.lock);
    int unused = w->shared.redirected ? w->shared.next_fd : -1;
    w->shared.redirected = true;
    w->shared.next_fd = fd;
    lock_free(&w->shared.lock);
    if (unused != -1) {
        close(unused);
    }
    wake(w);
}

void access_writer_add(struct access_writer *w, struct slice line, mono_ns now)
{
    lock_take(&w->shared.lock);
    bool must_wake = log_buffers_add(&w->shared.buffers, line, now);
    lock_free(&w->shared.lock);
    if (must_wake) {
        wake(w);
    }
}

void access_writer_count(struct access_writer *w, struct access_counts *counts_)
{
    lock_take(&w->shared.lock);
    *counts_ = (struct access_counts){.lines = w->shared.buffers.lines, .dropped = w->shared.buffers.dropped};
    lock_free(&w->shared.lock);
}

void access_writer_stop(struct access_writer *w)
{
    if (w == NULL) {
        return;
    }
    lock_take(&w->shared.lock);
    w->shared.stop = true;
    lock_free(&w->shared.lock);
    wake(w);
    MUST_0(pthread_join(w->thread, NULL));
    delete (w);
}
