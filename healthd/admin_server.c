/* SPDX-License-Identifier: MIT
 * One thread, one poll(2) set, a fixed table of connections. Each connection goes through phases, each with a
 * deadline, and serves one request:
 *
 *   HEAD    reads the request's head               -> BODY, ANSWER
 *   BODY    reads and drops the request's body     -> ANSWER
 *   ANSWER  writes the answer                      -> DRAIN
 *   DRAIN   our side is shut; reads and drops until the client shuts its own, then closes
 *
 * DRAIN is there because close() with unread bytes resets the connection, and a reset can destroy an answer
 * that the client has not read yet.
 *
 * Nothing here can be held up: sockets are non-blocking, every phase ends at its deadline, and when the table
 * is full the oldest connection gives way. Somebody who holds connections open can thus not lock an operator
 * out. */
#include "healthd/admin_server.h"

#include "common/clock.h"
#include "common/http_decode.h"
#include "common/http_framing.h"
#include "common/http_head.h"
#include "common/log.h"
#include "common/panic.h"
#include "common/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum {
    CONNECTIONS_MAX = 64,
    ACCEPTS_PER_ROUND =
        16, /* fewer than the table holds: one that has just come is looked at before it gives way */
    HEAD_BYTES_MAX = 16 * 1024,
    BODY_BYTES_MAX = 64 * 1024,
    ANSWER_HEAD_BYTES = 1024,
    REQUEST_MS = 5000, /* for the head; the body gets as much again */
    ANSWER_MS = 5000,
    DRAIN_MS = 1000,
    STOP_MS = 100,
    ACCEPT_PAUSE_MS = 100,
    POLL_RETRY_MS = 10,
};

enum phase { PHASE_FREE, PHASE_HEAD, PHASE_BODY, PHASE_ANSWER, PHASE_DRAIN };

struct connection {
    enum phase phase;
    int fd;
    uint64_t number; /* connections accepted before it: the lowest is the oldest */
    mono_ns deadline;
    struct http_head_scan scan;
    struct admin_request request; /* from BODY on; points into head */
    size_t head_bytes;            /* bytes read into head */
    uint64_t body_left_bytes;
    struct admin_response response; /* from ANSWER on */
    bool body_left_out;             /* the request was HEAD */
    size_t answer_head_bytes, sent_bytes;
    char answer_head[ANSWER_HEAD_BYTES];
    char head[HEAD_BYTES_MAX];
};

struct admin_server {
    pthread_t thread;
    const struct admin_context *context;
    int listen_fd, stop_fd;
    /* From here on the thread's own. */
    bool stopping;
    mono_ns stop_deadline; /* while stopping: everything is closed by then */
    mono_ns accept_after;  /* 0, or no accept before this point: descriptors had run out */
    bool starved;          /* descriptors had run out and none was accepted since: it is logged once */
    uint64_t accepted;
    size_t open;
    struct connection connections[CONNECTIONS_MAX];
};

static const struct http_offence no_length = {411, "length_required",
                                              "a request body needs a Content-Length here"};
static const struct http_offence body_too_long = {413, "body_too_long",
                                                  "the request's body is over 65536 bytes"};
static const struct http_offence two_tokens = {400, "repeated_authorization",
                                               "Authorization may be given once"};
static const struct http_offence too_slow = {408, "request_timeout",
                                             "the request was not whole after 5 seconds"};

/* The reason phrase of STATUS. Clients ignore it; people read it. */
static const char *reason_phrase(int status)
{
    static const struct {
        int status;
        const char *phrase;
    } known[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {411, "Length Required"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {431, "Request Header Fields Too Large"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {505, "HTTP Version Not Supported"},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].status == status) {
            return known[i].phrase;
        }
    }
    return "";
}

static void connection_open(struct admin_server *s, struct connection *c, int fd)
{
    c->phase = PHASE_HEAD;
    c->fd = fd;
    c->number = s->accepted++;
    c->deadline = deadline_after_ms(clock_mono(), REQUEST_MS);
    c->scan = (struct http_head_scan){.kind = HTTP_KIND_REQUEST, .limit_bytes = HEAD_BYTES_MAX};
    c->request = (struct admin_request){.method = {0}};
    c->head_bytes = 0;
    c->body_left_bytes = 0;
    c->response = (struct admin_response){.status = 0};
    c->body_left_out = false;
    c->answer_head_bytes = 0;
    c->sent_bytes = 0;
    s->open++;
}

static void connection_close(struct admin_server *s, struct connection *c)
{
    close(c->fd);
    free(c->response.body);
    c->response.body = NULL;
    c->phase = PHASE_FREE;
    s->open--;
    s->accept_after = 0; /* there is a descriptor again */
}

/* Whether errno tells only that there is nothing to do now. */
static bool would_block(void)
{
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
}

/* Writes what is left of the answer. When all is written, shuts our side and begins to drain. */
static void write_answer(struct admin_server *s, struct connection *c)
{
    size_t body_bytes = c->body_left_out ? 0 : c->response.body_bytes;
    size_t head_sent = c->sent_bytes < c->answer_head_bytes ? c->sent_bytes : c->answer_head_bytes;
    size_t body_sent = c->sent_bytes - head_sent;
    struct iovec parts[2] = {
        {.iov_base = c->answer_head + head_sent, .iov_len = c->answer_head_bytes - head_sent},
        {.iov_base = body_bytes == 0 ? NULL : c->response.body + body_sent,
         .iov_len = body_bytes - body_sent},
    };
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    ssize_t n = sendmsg(c->fd, &message, MSG_NOSIGNAL);
    if (n < 0) {
        if (!would_block()) {
            connection_close(s, c);
        }
        return;
    }
    c->sent_bytes += (size_t)n;
    if (c->sent_bytes < c->answer_head_bytes + body_bytes) {
        return;
    }
    if (shutdown(c->fd, SHUT_WR) != 0) {
        connection_close(s, c);
        return;
    }
    c->phase = PHASE_DRAIN;
    c->deadline = deadline_after_ms(clock_mono(), DRAIN_MS);
}

/* Begins to write C's response, whose fields are set. */
static void begin_answer(struct admin_server *s, struct connection *c)
{
    const struct admin_response *r = &c->response;
    char date[CLOCK_HTTP_DATE_BYTES];
    clock_http_date(time(NULL), date);
    int n = snprintf(c->answer_head, sizeof c->answer_head,
                     "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n"
                     "Cache-Control: no-store\r\n%s%s%s%s%s%s%sConnection: close\r\n\r\n",
                     r->status, reason_phrase(r->status), date, r->content_type, r->body_bytes,
                     r->allow == NULL ? "" : "Allow: ", r->allow == NULL ? "" : r->allow,
                     r->allow == NULL ? "" : "\r\n", r->www_authenticate == NULL ? "" : "WWW-Authenticate: ",
                     r->www_authenticate == NULL ? "" : r->www_authenticate,
                     r->www_authenticate == NULL ? "" : "\r\n", r->fields == NULL ? "" : r->fields);
    MUST(n > 0 && (size_t)n < sizeof c->answer_head);
    c->answer_head_bytes = (size_t)n;
    c->phase = PHASE_ANSWER;
    c->deadline = deadline_after_ms(clock_mono(), ANSWER_MS);
    write_answer(s, c);
}

static void refuse(struct admin_server *s, struct connection *c, const struct http_offence *offence)
{
    admin_refuse(offence->status, offence->name, offence->reason, &c->response);
    if (offence->status == 405) { /* CONNECT, which is refused before there is a path */
        c->response.allow = "GET, HEAD, POST";
    }
    begin_answer(s, c);
}

/* The request is whole. */
static void answer(struct admin_server *s, struct connection *c)
{
    c->body_left_out = slice_equal(c->request.method, SLICE("HEAD"));
    struct admin_context context = *s->context;
    context.plan = plans_hold(context.plans, context.plan_reader);
    admin_answer(&context, &c->request, &c->response);
    plans_let_go(context.plans, context.plan_reader);
    begin_answer(s, c);
}

/* Fills REQUEST from HEAD. Returns NULL, or the offence. */
static const struct http_offence *read_request(const struct http_head *head, struct admin_request *request_)
{
    *request_ = (struct admin_request){.method = head->method, .target = head->target};
    const struct http_field *host = http_head_find(head, HTTP_FIELD_HOST);
    request_->host = host == NULL ? (struct slice){0} : host->value;
    struct slice authority, path;
    if (http_target_split(head->target, &authority, &path)) {
        request_->target = path; /* absolute-form: a server must take it, and ignore Host (RFC 9112, 3.2.2) */
        request_->host = authority;
    }
    bool seen = false;
    for (size_t i = 0; i < head->field_count; i++) {
        if (slice_equal_nocase(head->fields[i].name, SLICE("Authorization"))) {
            if (seen) {
                return &two_tokens;
            }
            seen = true;
            request_->authorization = head->fields[i].value;
        }
        if (slice_equal_nocase(head->fields[i].name, SLICE("Origin"))) {
            request_->origin = head->fields[i].value;
        }
    }
    return NULL;
}

/* The head is whole: bytes scan.start to scan.seen of c->head. Answers, or goes on to the body. */
static void take_head(struct admin_server *s, struct connection *c)
{
    struct http_head head;
    struct http_framing framing;
    const struct http_offence *offence =
        http_decode(&head, HTTP_KIND_REQUEST, c->head + c->scan.start, c->scan.seen - c->scan.start);
    if (offence == NULL) {
        offence = http_framing_request(&head, &framing);
    }
    if (offence == NULL) {
        offence = read_request(&head, &c->request);
    }
    if (offence == NULL && framing.body == HTTP_BODY_CHUNKED) {
        offence = &no_length;
    }
    if (offence == NULL && framing.body == HTTP_BODY_LENGTH && framing.length_bytes > BODY_BYTES_MAX) {
        offence = &body_too_long;
    }
    if (offence != NULL) {
        refuse(s, c, offence);
        return;
    }
    uint64_t body_bytes = framing.body == HTTP_BODY_LENGTH ? framing.length_bytes : 0;
    uint64_t have_bytes = c->head_bytes - c->scan.seen;
    /* No body means anything here, so a client that asks first ("Expect: 100-continue") is answered without
     * it. */
    if (body_bytes <= have_bytes || http_head_find(&head, HTTP_FIELD_EXPECT) != NULL) {
        answer(s, c);
        return;
    }
    c->body_left_bytes = body_bytes - have_bytes;
    c->phase = PHASE_BODY;
    c->deadline = deadline_after_ms(clock_mono(), REQUEST_MS);
}

/* Reads up to ROOM bytes to AT. Returns how many; 0 when there are none now, or when C was closed because the
 * client went away. */
static size_t receive(struct admin_server *s, struct connection *c, char *at, size_t room)
{
    ssize_t n = recv(c->fd, at, room, 0);
    if (n > 0) {
        return (size_t)n;
    }
    if (n == 0 || !would_block()) {
        connection_close(s, c);
    }
    return 0;
}

static void read_head(struct admin_server *s, struct connection *c)
{
    size_t n = receive(s, c, c->head + c->head_bytes, sizeof c->head - c->head_bytes);
    if (n == 0) {
        return;
    }
    c->head_bytes += n;
    const struct http_offence *offence;
    switch (http_head_scan(&c->scan, c->head, c->head_bytes, &offence)) {
    case HTTP_HEAD_DONE:
        take_head(s, c);
        return;
    case HTTP_HEAD_BAD:
        refuse(s, c, offence);
        return;
    case HTTP_HEAD_MORE:
        MUST(c->head_bytes < sizeof c->head); /* the scan has the same limit */
        return;
    }
    UNREACHABLE();
}

static void read_body(struct admin_server *s, struct connection *c)
{
    char dropped[4096];
    size_t room = c->body_left_bytes < sizeof dropped ? (size_t)c->body_left_bytes : sizeof dropped;
    size_t n = receive(s, c, dropped, room);
    if (n == 0) {
        return;
    }
    c->body_left_bytes -= n;
    if (c->body_left_bytes == 0) {
        answer(s, c);
    }
}

/* Does what C's phase asks for: its socket is ready. */
static void serve(struct admin_server *s, struct connection *c)
{
    char dropped[4096];
    switch (c->phase) {
    case PHASE_FREE:
        return;
    case PHASE_HEAD:
        read_head(s, c);
        return;
    case PHASE_BODY:
        read_body(s, c);
        return;
    case PHASE_ANSWER:
        write_answer(s, c);
        return;
    case PHASE_DRAIN:
        (void)receive(s, c, dropped, sizeof dropped); /* closes at the client's end */
        return;
    }
    UNREACHABLE();
}

/* C's deadline has passed. A client that has begun a request is told so. */
static void expire(struct admin_server *s, struct connection *c)
{
    bool begun = (c->phase == PHASE_HEAD && c->head_bytes > 0) || c->phase == PHASE_BODY;
    if (begun && !s->stopping) {
        refuse(s, c, &too_slow);
    } else {
        connection_close(s, c);
    }
}

/* A place for one more connection: a free one, or that of the oldest, which is closed. */
static struct connection *make_place(struct admin_server *s)
{
    struct connection *oldest = &s->connections[0];
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *c = &s->connections[i];
        if (c->phase == PHASE_FREE) {
            return c;
        }
        if (c->number < oldest->number) {
            oldest = c;
        }
    }
    connection_close(s, oldest);
    return oldest;
}

/* accept(2) failed for want of something. Not to spin on a socket that stays ready, it is left alone for a
 * while. */
static void pause_accepting(struct admin_server *s)
{
    s->accept_after = deadline_after_ms(clock_mono(), ACCEPT_PAUSE_MS);
    if (!s->starved) {
        s->starved = true;
        plog(CONFIG_LOG_WARN, "admin: cannot accept connections (errno %d); will go on trying", errno);
    }
}

static void accept_connections(struct admin_server *s)
{
    for (int i = 0; i < ACCEPTS_PER_ROUND; i++) {
        int fd = accept4(s->listen_fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            s->starved = false;
            connection_open(s, make_place(s), fd);
        } else if (would_block()) {
            return;
        } else if (errno != ECONNABORTED) {
            pause_accepting(s);
            return;
        }
    }
}

/* No new connections, no new requests; what is being answered gets a last moment. */
static void begin_stop(struct admin_server *s)
{
    s->stopping = true;
    s->stop_deadline = deadline_after_ms(clock_mono(), STOP_MS);
    close(s->listen_fd);
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *c = &s->connections[i];
        if (c->phase == PHASE_HEAD || c->phase == PHASE_BODY) {
            connection_close(s, c);
        }
    }
}

enum { POLL_STOP, POLL_LISTEN, POLL_CONNECTIONS, POLLS_MAX = POLL_CONNECTIONS + CONNECTIONS_MAX };

/* What one call of poll(2) looks at: the open connections stand behind POLL_CONNECTIONS in the order of the
 * table. No entry is wasted on a free place, for poll(2) takes no more entries than the process may have
 * descriptors. */
struct poll_set {
    nfds_t count;
    mono_ns wake; /* when it must return */
    struct pollfd entries[POLLS_MAX];
};

/* Fills SET. The first two have fd -1 while they are not to be looked at. */
static void fill_poll_set(const struct admin_server *s, struct poll_set *set)
{
    bool accepting = !s->stopping && s->accept_after <= clock_mono();
    set->wake = s->stopping ? s->stop_deadline : accepting ? DEADLINE_NO : s->accept_after;
    set->entries[POLL_STOP] = (struct pollfd){.fd = s->stopping ? -1 : s->stop_fd, .events = POLLIN};
    set->entries[POLL_LISTEN] = (struct pollfd){.fd = accepting ? s->listen_fd : -1, .events = POLLIN};
    set->count = POLL_CONNECTIONS;
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        const struct connection *c = &s->connections[i];
        if (c->phase != PHASE_FREE) {
            short events = c->phase == PHASE_ANSWER ? POLLOUT : POLLIN;
            set->entries[set->count++] = (struct pollfd){.fd = c->fd, .events = events};
            set->wake = deadline_earlier(set->wake, c->deadline);
        }
    }
}

/* Waits until something in SET is ready or due. When poll(2) fails (the system is short of memory, or
 * somebody has lowered the limit of descriptors) nothing is ready; the short wait keeps the thread from
 * spinning meanwhile. */
static void wait_for(struct poll_set *set)
{
    if (poll(set->entries, set->count, deadline_poll_ms(set->wake, clock_mono())) >= 0) {
        return;
    }
    if (errno != EINTR) {
        (void)poll(NULL, 0, POLL_RETRY_MS);
    }
    for (nfds_t i = 0; i < set->count; i++) {
        set->entries[i].revents = 0;
    }
}

/* One round: waits until something is ready or due, and does it. */
static void serve_round(struct admin_server *s)
{
    struct poll_set set;
    fill_poll_set(s, &set);
    wait_for(&set);
    const mono_ns now = clock_mono();
    const struct pollfd *entry = &set.entries[POLL_CONNECTIONS];
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        struct connection *c = &s->connections[i];
        if (c->phase == PHASE_FREE) {
            continue;
        }
        if (entry->revents != 0) {
            serve(s, c);
        }
        if (c->phase != PHASE_FREE && c->deadline <= now) {
            expire(s, c);
        }
        entry++;
    }
    if (set.entries[POLL_LISTEN].revents != 0) {
        accept_connections(s);
    }
    if (set.entries[POLL_STOP].revents != 0) {
        begin_stop(s);
    }
}

static void *run(void *argument)
{
    struct admin_server *s = argument;
    MUST_0(pthread_setname_np(pthread_self(), "hf-admin"));
    while (!s->stopping || (s->open > 0 && clock_mono() < s->stop_deadline)) {
        serve_round(s);
    }
    for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
        if (s->connections[i].phase != PHASE_FREE) {
            connection_close(s, &s->connections[i]);
        }
    }
    return NULL;
}

struct admin_server *admin_server_start(int listen_fd, const struct admin_context *context)
{
    struct admin_server *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return NULL;
    }
    s->context = context;
    s->listen_fd = listen_fd;
    s->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int flags = fcntl(listen_fd, F_GETFL);
    int error = 0;
    if (s->stop_fd < 0 || flags < 0 || fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) != 0) {
        error = errno;
    } else {
        error = thread_start(&s->thread, 0, run, s);
    }
    if (error != 0) {
        if (s->stop_fd >= 0) {
            close(s->stop_fd);
        }
        free(s);
        errno = error;
        return NULL;
    }
    return s;
}

void admin_server_stop(struct admin_server *s)
{
    if (s == NULL) {
        return;
    }
    MUST_0(eventfd_write(s->stop_fd, 1));
    MUST_0(pthread_join(s->thread, NULL));
    close(s->stop_fd);
    free(s);
}
