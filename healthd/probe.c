/* SPDX-License-Identifier: MIT
 * A thread for each backend, so that one that hangs delays no other. Whatever a thread waits for, it waits
 * for its stop as well: an eventfd that nobody reads, so that it stays that way. What a thread is to do is
 * fixed when it starts; when it is to do something else, it ends and another one starts.
 *
 * A probe is a new connection each time: a kept one would tell nothing about a backend that no longer
 * accepts. What keeps us from probing (no descriptor, no local port) says nothing about the backend, and is
 * not counted. */
#include "healthd/probe.h"

#include "common/http_decode.h"
#include "common/http_head.h"
#include "common/log.h"
#include "common/panic.h"
#include "common/random.h"
#include "common/thread.h"
#include "healthd/probe_track.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum { STACK_BYTES = 128 << 10, HEAD_BYTES_MAX = 16 << 10, REQUEST_BYTES = CONFIG_TARGET_BYTES + 640 };

/* What a thread is to do. Compared as bytes: all zeros before it is filled. */
struct errand {
    char name[CONFIG_NAME_BYTES];
    char request[REQUEST_BYTES]; /* empty: connecting is all */
    uint32_t slot;
    uint32_t interval_ms, timeout_ms;
};

struct prober {
    struct probes *probes;
    struct errand errand;
    pthread_t thread;
    int stop_fd;
    char head[HEAD_BYTES_MAX];
};

struct probes {
    struct ledger *ledger;
    probe_addresses *addresses;
    void *owner;
    struct prober *list[CONFIG_BACKENDS_MAX]; /* by slot; NULL where nobody probes */
};

/* What a probe found: NULL for all good, else why not, for the log. These are compared by pointer. */
static const char *const all_good = NULL;
static const char untold[] = "stopped, or out of means";
static const char not_200[] = "status not 200";
static const char malformed[] = "malformed response";
static const char closed_early[] = "connection closed early";
static const char no_name[] = "its name does not resolve";
static const char connect_failed[] = "connect failed";
static const char no_way[] = "connect failed"; /* for want of a way there */
static const char connect_late[] = "connect timed out";
static const char answer_late[] = "no response in time";

bool probes_wanted(const struct config *config)
{
    return config->health.probe.path[0] != '\0' || config->health.readmit == CONFIG_READMIT_PROBE;
}

enum waited { WAIT_READY, WAIT_LATE, WAIT_STOPPED };

/* Waits until FD (-1 for none) is ready for EVENTS. */
static enum waited wait_for(const struct prober *p, int fd, short events, mono_ns deadline)
{
    struct pollfd entries[2] = {{.fd = p->stop_fd, .events = POLLIN}, {.fd = fd, .events = events}};
    for (;;) {
        int ready = poll(entries, 2, deadline_poll_ms(deadline, clock_mono()));
        if (ready > 0) {
            return entries[0].revents != 0 ? WAIT_STOPPED : WAIT_READY;
        }
        if (ready == 0 && clock_mono() >= deadline) {
            return WAIT_LATE;
        }
    }
}

/* Whether ERROR tells of us, not of the backend. */
static bool out_of_means(int error)
{
    return error == EMFILE || error == ENFILE || error == ENOBUFS || error == ENOMEM || error == EAGAIN ||
           error == EADDRNOTAVAIL; /* no local port is left */
}

static const char *found_by_connect(int error)
{
    if (out_of_means(error)) {
        return untold;
    }
    switch (error) {
    case ETIMEDOUT:
        return connect_late;
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENETUNREACH:
    case ENETDOWN:
        return no_way;
    default:
        return connect_failed;
    }
}

/* Connects to A. Returns what it found; when all is good *FD_ is the socket, which does not block. */
static const char *connect_to(const struct prober *p, const union net_address *a, mono_ns deadline, int *fd_)
{
    int fd = socket(a->base.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1) {
        return untold;
    }
    int failure = connect(fd, &a->base, net_address_length(a)) == -1 ? errno : 0;
    if (failure == EINPROGRESS) {
        socklen_t size = sizeof failure;
        switch (wait_for(p, fd, POLLOUT, deadline)) {
        case WAIT_READY:
            failure = getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) == -1 ? errno : failure;
            break;
        case WAIT_LATE:
            failure = ETIMEDOUT;
            break;
        case WAIT_STOPPED:
            failure = EAGAIN;
            break;
        }
    }
    if (failure == 0) {
        *fd_ = fd;
        return all_good;
    }
    close(fd);
    return found_by_connect(failure);
}

/* Judges the head of P's response, LENGTH bytes at BYTES. *INTERIM_ when it is one of those before the real
 * one (RFC 9110, 15.2). */
static const char *judge_head(const char *bytes, size_t length, bool *interim_)
{
    struct http_head head;
    *interim_ = false;
    if (http_decode(&head, HTTP_KIND_RESPONSE, bytes, length) != NULL) {
        return malformed;
    }
    *interim_ = head.status < 200 && head.status != 101;
    return head.status == 200 || *interim_ ? all_good : not_200;
}

/* Reads the head of the response on FD. */
static const char *read_head(struct prober *p, int fd, mono_ns deadline)
{
    size_t length = 0;
    struct http_head_scan scan = {.kind = HTTP_KIND_RESPONSE, .limit_bytes = sizeof p->head};
    for (;;) {
        const struct http_offence *offence;
        enum http_head_progress progress = http_head_scan(&scan, p->head, length, &offence);
        if (progress == HTTP_HEAD_BAD || (progress == HTTP_HEAD_MORE && length == sizeof p->head)) {
            return malformed;
        }
        if (progress == HTTP_HEAD_DONE) {
            bool interim;
            const char *why = judge_head(p->head + scan.start, scan.seen - scan.start, &interim);
            if (!interim) {
                return why;
            }
            length -= scan.seen;
            memmove(p->head, p->head + scan.seen, length);
            scan = (struct http_head_scan){.kind = HTTP_KIND_RESPONSE, .limit_bytes = sizeof p->head};
            continue;
        }
        enum waited waited = wait_for(p, fd, POLLIN, deadline);
        if (waited != WAIT_READY) {
            return waited == WAIT_LATE ? answer_late : untold;
        }
        ssize_t got = net_recv(fd, p->head + length, sizeof p->head - length, 0);
        if (got == 0 || (got == -1 && errno != EAGAIN)) {
            return closed_early;
        }
        length += got == -1 ? 0 : (size_t)got;
    }
}

/* Asks on FD, a new connection. The request is short, so a new socket takes it whole. */
static const char *ask(struct prober *p, int fd, mono_ns deadline)
{
    size_t length = strlen(p->errand.request);
    if (length == 0) {
        return all_good;
    }
    struct iovec request = {.iov_base = p->errand.request, .iov_len = length};
    if (net_send_all(fd, &request, 1, MSG_DONTWAIT) != 0) {
        return closed_early;
    }
    return read_head(p, fd, deadline);
}

/* Probes once. A backend with several addresses is sound when one of them takes the connection and what it
 * then says is good; a silent address leaves time for the next. */
static const char *probe_once(struct prober *p)
{
    const struct probes *all = p->probes;
    struct net_addresses addresses;
    all->addresses(all->owner, p->errand.slot, &addresses);
    mono_ns deadline = deadline_after_ms(clock_mono(), p->errand.timeout_ms);
    const char *found = addresses.count == 0 ? no_name : untold;
    for (uint32_t i = 0; i < addresses.count; i++) {
        mono_ns now = clock_mono();
        int fd = -1;
        const char *why =
            connect_to(p, &addresses.list[i], now + (deadline - now) / (addresses.count - i), &fd);
        if (why == all_good) {
            why = ask(p, fd, deadline);
            close(fd);
            return why;
        }
        found = why == untold ? found : why; /* one that tells nothing does not hide what another one tells */
    }
    return found;
}

static void log_effect(const struct prober *p, enum probe_effect effect, const char *why)
{
    struct slice name = slice_of(p->errand.name);
    if (effect == PROBE_TOOK_DOWN) {
        plog_pairs(CONFIG_LOG_WARN, "backend down: its probes fail",
                   (const struct plog_pair[]){{"backend", name},
                                              {"last_failure", slice_of(why)},
                                              {.key = NULL}});
    } else if (effect == PROBE_BROUGHT_BACK) {
        plog_pairs(CONFIG_LOG_INFO, "backend up: its probes are good",
                   (const struct plog_pair[]){{"backend", name}, {.key = NULL}});
    }
}

/* Only one from which nothing comes back is silent. A backend that says no is there: one that refuses or
 * closes new connections may stop in good order, and finish what it has begun. */
static enum probe_finding finding_of(const char *why)
{
    if (why == all_good) {
        return PROBE_GOOD;
    }
    return why == connect_late || why == no_way || why == answer_late ? PROBE_SILENT : PROBE_BAD;
}

/* One round: probes, unless the backend is to be left alone, and tells the ledger. */
static void probe_round(struct prober *p)
{
    struct probe_ticket ticket;
    if (!ledger_probe_begin(p->probes->ledger, p->errand.slot, &ticket)) {
        return;
    }
    const char *why = probe_once(p);
    if (why != untold) {
        log_effect(p, ledger_probe_end(p->probes->ledger, &ticket, finding_of(why)), why);
    }
}

static void *run(void *argument)
{
    struct prober *p = argument;
    MUST_0(pthread_setname_np(pthread_self(), "hf-probe"));
    mono_ns due;
    do {
        uint32_t random;
        random_bytes((unsigned char *)&random, sizeof random);
        due = clock_mono() + probe_interval_ns(p->errand.interval_ms, random);
        probe_round(p);
    } while (wait_for(p, -1, 0, due) != WAIT_STOPPED);
    return NULL;
}

/* What PLAN wants to be done about the backend in SLOT. */
static void errand_init(struct errand *e, const struct plan *plan, uint32_t slot)
{
    const struct config_backend *backend = plan_backend(plan, slot);
    const char *path = plan->config.health.probe.path;
    memset(e, 0, sizeof *e);
    memcpy(e->name, backend->name, strlen(backend->name));
    e->slot = slot;
    e->interval_ms = plan->config.health.probe.interval_ms;
    e->timeout_ms = plan->config.health.probe.timeout_ms;
    if (path[0] != '\0') {
        const char *authority = backend->url + strlen("http://");
        int n = snprintf(e->request, sizeof e->request,
                         "GET %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: holdfast-probe/%s\r\nAccept: */*\r\n"
                         "Connection: close\r\n\r\n",
                         path, authority, HOLDFAST_VERSION);
        MUST(n > 0 && (size_t)n < sizeof e->request);
    }
}

/* Ends P's thread, whatever it waits for, and frees P; NULL is fine. */
static void prober_stop(struct prober *p)
{
    if (p != NULL) {
        MUST_0(eventfd_write(p->stop_fd, 1));
        MUST_0(pthread_join(p->thread, NULL));
        close(p->stop_fd);
        free(p);
    }
}

/* Starts a thread for ERRAND. NULL with errno. */
static struct prober *prober_start(struct probes *probes, const struct errand *errand)
{
    struct prober *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    p->probes = probes;
    p->errand = *errand;
    p->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = p->stop_fd == -1 ? errno : thread_start(&p->thread, STACK_BYTES, run, p);
    if (error != 0) {
        if (p->stop_fd != -1) {
            close(p->stop_fd);
        }
        free(p);
        errno = error;
        return NULL;
    }
    return p;
}

/* Who is to probe the backend in SLOT by PLAN: the one who does already, when the errand is the same, or a
 * new one. NULL with errno. */
static struct prober *prober_for(struct probes *p, const struct plan *plan, uint32_t slot)
{
    struct prober *now = p->list[slot];
    struct errand errand;
    errand_init(&errand, plan, slot);
    bool goes_on = now != NULL && memcmp(&now->errand, &errand, sizeof errand) == 0;
    return goes_on ? now : prober_start(p, &errand);
}

/* Stops those of LIST that are not in OTHERS too. */
static void stop_all_but(struct prober *const list[static CONFIG_BACKENDS_MAX],
                         struct prober *const others[static CONFIG_BACKENDS_MAX])
{
    for (uint32_t slot = 0; slot < CONFIG_BACKENDS_MAX; slot++) {
        prober_stop(list[slot] == others[slot] ? NULL : list[slot]);
    }
}

bool probes_change(struct probes *p, const struct plan *plan)
{
    struct prober *next[CONFIG_BACKENDS_MAX] = {NULL};
    uint64_t wanted = probes_wanted(&plan->config) ? plan->members : 0;
    for (uint32_t slot = 0; slot < CONFIG_BACKENDS_MAX; slot++) {
        if ((wanted >> slot & 1) == 0) {
            continue;
        }
        next[slot] = prober_for(p, plan, slot);
        if (next[slot] == NULL) {
            int error = errno;
            stop_all_but(next, p->list);
            errno = error;
            return false;
        }
    }
    stop_all_but(p->list, next);
    memcpy(p->list, next, sizeof next);
    return true;
}

struct probes *probes_start(const struct plan *plan, struct ledger *ledger, probe_addresses *addresses,
                            void *owner)
{
    struct probes *p = calloc(1, sizeof *p);
    if (p == NULL) {
        return NULL;
    }
    p->ledger = ledger;
    p->addresses = addresses;
    p->owner = owner;
    if (!probes_change(p, plan)) {
        int error = errno;
        free(p);
        errno = error;
        return NULL;
    }
    return p;
}

void probes_stop(struct probes *p)
{
    for (uint32_t i = 0; p != NULL && i < CONFIG_BACKENDS_MAX; i++) {
        prober_stop(p->list[i]);
    }
    free(p);
}
