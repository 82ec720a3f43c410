/* SPDX-License-Identifier: MIT */
/*
 * A scripted HTTP/1.1 origin for benchmarks and load tests. It must cost next to nothing, so that what a
 * benchmark sees is the proxy, and it must never be the one that fails.
 *
 *   /bytes/N     answers N bytes with Content-Length
 *   /delay/MS    answers after MS milliseconds
 *   /echo/TEXT   answers TEXT (at most 512 bytes), so that a load test can tell whose response it got
 *   other        answers 100 bytes
 *
 * Any method is taken; a request body (Content-Length or chunked) is read and dropped. HEAD gets the head
 * alone.
 *
 * Shape: one epoll set per thread, all of them watching one listening socket. A connection stays with the
 * thread that accepted it and is registered once, edge-triggered, so a small exchange is three system calls:
 * epoll_wait, recv, send. `drained` remembers that the socket held no more bytes when last read; a new edge
 * clears it. A dropped body is never copied out of the kernel (MSG_TRUNC). Answers that wait stand in a list
 * ordered by the time they are due.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum {
    IN_BYTES = 40960, /* The longest head taken. Pages never touched cost nothing. */
    OUT_BYTES = 1024,
    ECHO_BYTES = 512,
    FILL_BYTES = 262144,
    SMALL_BODY_BYTES = 100,
    MAX_THREADS = 64,
    BATCH = 256,
};

enum stage { STAGE_HEAD, STAGE_BODY, STAGE_CHUNKED, STAGE_DELAY, STAGE_ANSWER };

/* Where the reader of a chunked body is. The line end after a chunk's data is dropped with the data. */
enum chunk_at { CHUNK_SIZE, CHUNK_SIZE_REST, CHUNK_DATA, TRAILER_START, TRAILER_REST };

struct conn {
    int fd;
    enum stage stage;
    enum chunk_at chunk_at;
    bool drained;   /* The socket had no more bytes when last read. */
    bool peer_done; /* The peer has sent its FIN: a short read proves nothing, read on to the end. */
    bool close_after;
    bool is_head;
    bool wants_continue;
    uint64_t body_left; /* Of the request body, or of the current chunk. */
    int64_t delay_ns;
    int64_t due_ns;
    struct conn *earlier, *later; /* In the worker's list of waiting answers. */
    uint64_t answer_left;         /* Body bytes still to be sent. */
    size_t out_len, out_sent;
    size_t in_pos, in_len;
    char out[OUT_BYTES];
    char in[IN_BYTES];
};

struct worker {
    int epoll_fd;
    int listen_fd;
    struct conn *first_due, *last_due;
};

/* What a call on a connection says to do next. */
enum step { STEP_ON, STEP_WAIT, STEP_CLOSE };

static char fill[FILL_BYTES];

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "origin: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* ---- Waiting answers ---- */

/* Delays are nearly always equal, so the place of a new one is at or near the end. */
static void delay_add(struct worker *worker, struct conn *conn)
{
    conn->due_ns = now_ns() + conn->delay_ns;
    struct conn *before = worker->last_due;
    while (before && before->due_ns > conn->due_ns) {
        before = before->earlier;
    }
    struct conn *after = before ? before->later : worker->first_due;
    conn->earlier = before;
    conn->later = after;
    *(before ? &before->later : &worker->first_due) = conn;
    *(after ? &after->earlier : &worker->last_due) = conn;
}

static void delay_remove(struct worker *worker, struct conn *conn)
{
    *(conn->earlier ? &conn->earlier->later : &worker->first_due) = conn->later;
    *(conn->later ? &conn->later->earlier : &worker->last_due) = conn->earlier;
    conn->earlier = conn->later = NULL;
}

/* ---- The answer ---- */

/* Writes the head and, for /echo, the body, too; any other body is `body_bytes` of filling. */
static void answer_write(struct conn *conn, const char *status, uint64_t body_bytes, const char *echo)
{
    int echo_len = echo && !conn->is_head ? (int)body_bytes : 0;
    int len = snprintf(conn->out, sizeof conn->out,
                       "HTTP/1.1 %s\r\nServer: origin\r\nContent-Length: %llu\r\n%s\r\n%.*s", status,
                       (unsigned long long)body_bytes, conn->close_after ? "Connection: close\r\n" : "",
                       echo_len, echo ? echo : "");
    conn->out_len = (size_t)len;
    conn->out_sent = 0;
    conn->answer_left = conn->is_head || echo ? 0 : body_bytes;
}

static bool begins_with(const char *target, const char *prefix)
{
    return strncmp(target, prefix, strlen(prefix)) == 0;
}

static void answer_choose(struct conn *conn, const char *target, size_t target_len)
{
    const char *number = target + strlen("/bytes/"); /* "/delay/" is as long. */
    conn->delay_ns = 0;
    if (begins_with(target, "/echo/")) {
        size_t len = target_len - strlen("/echo/");
        answer_write(conn, "200 OK", len < ECHO_BYTES ? len : ECHO_BYTES, target + strlen("/echo/"));
    } else if (begins_with(target, "/bytes/")) {
        answer_write(conn, "200 OK", strtoull(number, NULL, 10), NULL);
    } else {
        answer_write(conn, "200 OK", SMALL_BODY_BYTES, NULL);
    }
    if (begins_with(target, "/delay/")) {
        conn->delay_ns = (int64_t)(strtoull(number, NULL, 10) % 3600000) * 1000000;
    }
}

/* A request this origin can't read: say so and close, so that a fault of the proxy's shows. */
static enum step refuse(struct conn *conn, const char *status)
{
    conn->close_after = true;
    answer_write(conn, status, 0, NULL);
    conn->stage = STAGE_ANSWER;
    return STEP_ON;
}

static enum step answer_send(struct conn *conn)
{
    while (conn->out_sent < conn->out_len || conn->answer_left > 0) {
        size_t head = conn->out_len - conn->out_sent;
        struct iovec parts[2] = {
            {.iov_base = conn->out + conn->out_sent, .iov_len = head},
            {.iov_base = fill, .iov_len = conn->answer_left < FILL_BYTES ? conn->answer_left : FILL_BYTES},
        };
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        ssize_t sent = sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            return errno == EAGAIN ? STEP_WAIT : STEP_CLOSE;
        }
        size_t of_head = (size_t)sent < head ? (size_t)sent : head;
        conn->out_sent += of_head;
        conn->answer_left -= (size_t)sent - of_head;
    }
    if (conn->close_after) {
        return STEP_CLOSE;
    }
    conn->stage = STAGE_HEAD;
    return STEP_ON;
}

static enum step request_done(struct worker *worker, struct conn *conn)
{
    if (conn->delay_ns > 0) {
        conn->stage = STAGE_DELAY;
        delay_add(worker, conn);
        return STEP_WAIT;
    }
    conn->stage = STAGE_ANSWER;
    return STEP_ON;
}

/* ---- Reading ---- */

/* A read of `asked` bytes gave `got`: does it end the connection, the wait, or neither? */
static enum step read_outcome(struct conn *conn, ssize_t got, size_t asked)
{
    if (got == 0 || (got < 0 && errno != EAGAIN)) {
        return STEP_CLOSE;
    }
    if (got < 0) {
        conn->drained = true;
        return STEP_WAIT;
    }
    conn->drained = (size_t)got < asked && !conn->peer_done;
    return STEP_ON;
}

static enum step fill_in(struct conn *conn)
{
    if (conn->in_pos > 0) {
        memmove(conn->in, conn->in + conn->in_pos, conn->in_len - conn->in_pos);
        conn->in_len -= conn->in_pos;
        conn->in_pos = 0;
    }
    if (conn->drained) {
        return STEP_WAIT;
    }
    size_t room = IN_BYTES - conn->in_len;
    ssize_t got = recv(conn->fd, conn->in + conn->in_len, room, MSG_DONTWAIT);
    enum step step = read_outcome(conn, got, room);
    if (step == STEP_ON) {
        conn->in_len += (size_t)got;
    }
    return step;
}

/* Is this line the field `name`? If `token` is not NULL, its value must contain that word, too. */
static bool is_field(const char *line, size_t len, const char *name, const char *token)
{
    size_t name_len = strlen(name);
    if (len <= name_len || line[name_len] != ':' || strncasecmp(line, name, name_len) != 0) {
        return false;
    }
    size_t token_len = token ? strlen(token) : 0;
    size_t at = name_len + 1;
    while (token && at + token_len <= len && strncasecmp(line + at, token, token_len) != 0) {
        at++;
    }
    return at + token_len <= len;
}

static void header_line(struct conn *conn, const char *line, size_t len)
{
    if (is_field(line, len, "content-length", NULL)) {
        conn->body_left = strtoull(line + sizeof "content-length", NULL, 10);
    } else if (is_field(line, len, "connection", "close")) {
        conn->close_after = true;
    } else if (is_field(line, len, "transfer-encoding", "chunked")) {
        conn->stage = STAGE_CHUNKED;
        conn->chunk_at = CHUNK_SIZE;
    } else if (is_field(line, len, "expect", "100-continue")) {
        conn->wants_continue = true;
    }
}

/* Reads the head that stands whole from `head` up to `end`, its last line's end, and decides the answer. */
static enum step head_parse(struct conn *conn, char *head, const char *end)
{
    const char *line_end = memmem(head, (size_t)(end - head) + 2, "\r\n", 2);
    const char *target = memchr(head, ' ', (size_t)(line_end - head));
    const char *target_end = target ? memchr(target + 1, ' ', (size_t)(line_end - target - 1)) : NULL;
    conn->wants_continue = false;
    if (!target_end) {
        return refuse(conn, "400 Bad Request");
    }
    conn->stage = STAGE_BODY;
    conn->body_left = 0;
    conn->is_head = strncmp(head, "HEAD ", 5) == 0;
    conn->close_after = line_end[-1] == '0'; /* HTTP/1.0: one answer, then close. */
    while (line_end < end) {
        const char *line = line_end + 2;
        line_end = memmem(line, (size_t)(end - line) + 2, "\r\n", 2);
        header_line(conn, line, (size_t)(line_end - line));
    }
    if (conn->stage == STAGE_CHUNKED) {
        conn->body_left = 0; /* Whatever a Content-Length said. */
    }
    answer_choose(conn, target + 1, (size_t)(target_end - target - 1));
    return STEP_ON;
}

static enum step take_head(struct conn *conn)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    char *head = conn->in + conn->in_pos;
    const char *end = memmem(head, conn->in_len - conn->in_pos, "\r\n\r\n", 4);
    if (!end) {
        if (conn->in_len - conn->in_pos == IN_BYTES) {
            return refuse(conn, "431 Request Header Fields Too Large");
        }
        return fill_in(conn);
    }
    conn->in_pos = (size_t)(end - conn->in) + 4;
    enum step step = head_parse(conn, head, end);
    if (step == STEP_ON && conn->wants_continue && conn->in_pos == conn->in_len) {
        (void)send(conn->fd, go_on, sizeof go_on - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    }
    return step;
}

/* Drops up to `body_left` bytes: those already in the buffer, then those in the socket. */
static enum step drop(struct conn *conn)
{
    size_t held = conn->in_len - conn->in_pos;
    if (held > 0) {
        size_t bytes = conn->body_left < held ? (size_t)conn->body_left : held;
        conn->in_pos += bytes;
        conn->body_left -= bytes;
        return STEP_ON;
    }
    if (conn->drained) {
        return STEP_WAIT;
    }
    size_t asked = conn->body_left < 1 << 20 ? (size_t)conn->body_left : 1 << 20;
    ssize_t got = recv(conn->fd, NULL, asked, MSG_TRUNC | MSG_DONTWAIT);
    enum step step = read_outcome(conn, got, asked);
    if (step == STEP_ON) {
        conn->body_left -= (uint64_t)got;
    }
    return step;
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* One byte of a chunked body's frame. Returns true when it was the last of the whole body. */
static bool chunk_byte(struct conn *conn, char c)
{
    if (conn->chunk_at == CHUNK_SIZE && hex_digit(c) >= 0) {
        conn->body_left = conn->body_left * 16 + (uint64_t)hex_digit(c);
    } else if (conn->chunk_at == CHUNK_SIZE || conn->chunk_at == CHUNK_SIZE_REST) {
        conn->chunk_at = CHUNK_SIZE_REST;
        if (c == '\n') {
            conn->chunk_at = conn->body_left > 0 ? CHUNK_DATA : TRAILER_START;
            conn->body_left += conn->body_left > 0 ? 2 : 0;
        }
    } else if (conn->chunk_at == TRAILER_START && c == '\n') {
        return true;
    } else if (c != '\r') {
        conn->chunk_at = c == '\n' ? TRAILER_START : TRAILER_REST;
    }
    return false;
}

static enum step take_chunked(struct worker *worker, struct conn *conn)
{
    if (conn->chunk_at == CHUNK_DATA) {
        enum step step = drop(conn);
        if (conn->body_left == 0) {
            conn->chunk_at = CHUNK_SIZE;
        }
        return step;
    }
    if (conn->in_pos == conn->in_len) {
        return fill_in(conn);
    }
    while (conn->in_pos < conn->in_len && conn->chunk_at != CHUNK_DATA) {
        if (chunk_byte(conn, conn->in[conn->in_pos++])) {
            return request_done(worker, conn);
        }
    }
    return STEP_ON;
}

/* ---- Connections and threads ---- */

static void conn_close(struct worker *worker, struct conn *conn)
{
    if (conn->stage == STAGE_DELAY) {
        delay_remove(worker, conn);
    }
    (void)close(conn->fd);
    free(conn);
}

static void drive(struct worker *worker, struct conn *conn)
{
    enum step step = STEP_ON;
    while (step == STEP_ON) {
        switch (conn->stage) {
        case STAGE_HEAD:
            step = take_head(conn);
            break;
        case STAGE_BODY:
            step = conn->body_left > 0 ? drop(conn) : request_done(worker, conn);
            break;
        case STAGE_CHUNKED:
            step = take_chunked(worker, conn);
            break;
        case STAGE_DELAY:
            step = STEP_WAIT;
            break;
        case STAGE_ANSWER:
            step = answer_send(conn);
            break;
        }
    }
    if (step == STEP_CLOSE) {
        conn_close(worker, conn);
    }
}

static void conn_event(struct worker *worker, struct conn *conn, uint32_t events)
{
    if (events & EPOLLRDHUP) {
        conn->peer_done = true;
    }
    if (events & (EPOLLERR | EPOLLHUP)) {
        conn_close(worker, conn);
        return;
    }
    if (events & EPOLLIN) {
        conn->drained = false;
    }
    drive(worker, conn);
}

static void accept_all(struct worker *worker)
{
    int fd = -1;
    /* The epoll set holds the only pointer to a connection, which the analyzer can't see. */
    /* NOLINTNEXTLINE(clang-analyzer-unix.Malloc) */
    while ((fd = accept4(worker->listen_fd, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct conn *conn = malloc(sizeof *conn);
        if (!conn) {
            die("malloc");
        }
        memset(conn, 0, offsetof(struct conn, out));
        conn->fd = fd;
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = conn};
        if (epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
            die("epoll_ctl");
        }
    }
    if (errno != EAGAIN && errno != ECONNABORTED && errno != EINTR) {
        die("accept"); /* Out of descriptors, say: a benchmark's figures would mean nothing. */
    }
}

static int wait_events(struct worker *worker, struct epoll_event *events)
{
    if (!worker->first_due) {
        return epoll_wait(worker->epoll_fd, events, BATCH, -1);
    }
    int64_t left_ns = worker->first_due->due_ns - now_ns();
    left_ns = left_ns > 0 ? left_ns : 0;
    struct timespec timeout = {.tv_sec = left_ns / 1000000000, .tv_nsec = left_ns % 1000000000};
    return epoll_pwait2(worker->epoll_fd, events, BATCH, &timeout, NULL);
}

static void answer_due(struct worker *worker)
{
    int64_t now = worker->first_due ? now_ns() : 0;
    while (worker->first_due && worker->first_due->due_ns <= now) {
        struct conn *conn = worker->first_due;
        delay_remove(worker, conn);
        conn->stage = STAGE_ANSWER;
        drive(worker, conn);
    }
}

static void *worker_main(void *arg)
{
    struct worker *worker = arg;
    struct epoll_event events[BATCH];
    for (;;) {
        int count = wait_events(worker, events);
        if (count < 0 && errno != EINTR) {
            die("epoll_wait");
        }
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) {
                conn_event(worker, events[i].data.ptr, events[i].events);
            } else {
                accept_all(worker);
            }
        }
        answer_due(worker);
    }
    return NULL;
}

static void worker_start(struct worker *worker, int listen_fd)
{
    pthread_t thread;
    worker->listen_fd = listen_fd;
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    /* The listening socket is the event without a connection. Exclusive: a new client wakes one thread, not
     * all. */
    struct epoll_event event = {.events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = NULL};
    if (worker->epoll_fd < 0 || epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, listen_fd, &event) < 0) {
        die("epoll");
    }
    errno = pthread_create(&thread, NULL, worker_main, worker);
    if (errno != 0) {
        die("pthread_create");
    }
}

/* ---- Start ---- */

static _Noreturn void usage(void)
{
    (void)
        fputs("usage: origin [--listen IPV4:PORT] [--threads N]\n"
              "Prints its port on a line of its own (useful with port 0), then serves until it is killed.\n",
              stderr);
    exit(2);
}

static int listen_on(char *where)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t len = sizeof address;
    char *port = strchr(where, ':');
    if (port) {
        *port++ = '\0';
        address.sin_port = htons((uint16_t)strtoul(port, NULL, 10));
    }
    if (!port || inet_pton(AF_INET, where, &address.sin_addr) != 1) {
        usage();
    }
    int on = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 || /* What it accepts inherits this. */
        bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, SOMAXCONN) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &len) < 0) {
        die("listen");
    }
    (void)printf("%d\n", ntohs(address.sin_port));
    return fd;
}

static void raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"threads", required_argument, NULL, 't'},
        {NULL, 0, NULL, 0},
    };
    static struct worker workers[MAX_THREADS];
    char anywhere[] = "127.0.0.1:0";
    char *where = anywhere;
    long threads = 1;
    int option = 0;
    while ((option = getopt_long(argc, argv, "l:t:", options, NULL)) != -1) {
        if (option == 'l') {
            where = optarg;
        } else if (option == 't') {
            threads = strtol(optarg, NULL, 10);
        } else {
            usage();
        }
    }
    if (optind != argc || threads < 1 || threads > MAX_THREADS) {
        usage();
    }
    memset(fill, 'x', sizeof fill);
    raise_descriptor_limit();
    int listen_fd = listen_on(where);
    for (long i = 0; i < threads; i++) {
        worker_start(&workers[i], listen_fd);
    }
    (void)fflush(stdout);
    for (;;) {
        (void)pause();
    }
}
