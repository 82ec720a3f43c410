/* SPDX-License-Identifier: MIT */
/*
 * Keep-alive clients that see a backend die. Each sends GET / and, when it has the whole answer, the next
 * one. After --before ms the process --pid gets SIGKILL; after --after ms more the figures are printed as one
 * line of JSON. One thread, one epoll set.
 *
 *   usage: mourner --port N --clients N --pid N --before MS --after MS
 *
 * A request failed when its answer has another status than 200, when the connection ends before the answer is
 * whole, or when no whole answer is there after LATE_NS; the client then goes on with a new connection.
 * Latencies and the longest gap are taken from good answers alone, so to fail fast earns nothing.
 *
 *   failed      requests of the whole run that failed
 *   gap_ms      after the kill: the longest time in which no client at all had a good answer
 *   dip_ms      after the kill: the time, in slots of SLOT_NS, in which there were less than half as many
 * good answers as in the mean slot before it worst_ms    after the kill: the longest that one client waited
 * for a good answer, over failures p999_ms     of the good answers of the first AFTERMATH_NS after the kill
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 1024, ANSWER_BYTES = 4096, BATCH = 256, SLOTS_MAX = 6000, SAMPLES_MAX = 1 << 20 };

static const int64_t MS_NS = 1000000;
static const int64_t SLOT_NS = 10 * (int64_t)1000000;
static const int64_t LATE_NS = 5000 * (int64_t)1000000;
static const int64_t AFTERMATH_NS = 500 * (int64_t)1000000;

struct client {
    int fd;
    size_t len;         /* Of the answer, as far as it is here. */
    int64_t sent_ns;    /* When its request was sent. */
    int64_t wanting_ns; /* Since when it has had no good answer: sent_ns, or that of the first that failed. */
    char answer[ANSWER_BYTES + 1];
};

static struct {
    int epoll_fd;
    struct sockaddr_in address;
    int64_t began_ns, killed_ns; /* killed_ns is 0 before the kill. */
    int64_t last_good_ns;
    int64_t gap_ns, worst_ns;
    uint64_t good, failed, good_before;
    uint32_t slots[SLOTS_MAX]; /* Good answers after the kill. */
    uint32_t *samples_us;
    size_t samples;
} run;

static const char request[] = "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";

static _Noreturn void die(const char *what)
{
    (void)fprintf(stderr, "mourner: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static void client_send(struct client *client, int64_t now)
{
    client->len = 0;
    client->sent_ns = now;
    if (client->wanting_ns == 0) {
        client->wanting_ns = now;
    }
    /* What can't be sent shows as the end of the connection, in the next event. */
    (void)send(client->fd, request, sizeof request - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static void client_open(struct client *client, int64_t now)
{
    int on = 1;
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (client->fd < 0 || setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) < 0 ||
        connect(client->fd, (struct sockaddr *)&run.address, sizeof run.address) < 0) {
        die("connect"); /* The proxy itself must not go away. */
    }
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(run.epoll_fd, EPOLL_CTL_ADD, client->fd, &event) < 0) {
        die("epoll_ctl");
    }
    client_send(client, now);
}

static void client_failed(struct client *client, int64_t now)
{
    run.failed++;
    (void)close(client->fd);
    client_open(client, now);
}

/* Counts are the waits that were there at the kill, and those that began soon after it, however long they
 * took. */
static void sample_add(const struct client *client, int64_t waited)
{
    if (client->wanting_ns - run.killed_ns < AFTERMATH_NS && run.samples < SAMPLES_MAX) {
        run.samples_us[run.samples++] = (uint32_t)(waited / 1000);
    }
}

static void count_after_kill(struct client *client, int64_t now)
{
    int64_t gap = now - (run.last_good_ns > run.killed_ns ? run.last_good_ns : run.killed_ns);
    int64_t waited = now - client->wanting_ns;
    int64_t slot = (now - run.killed_ns) / SLOT_NS;
    run.gap_ns = gap > run.gap_ns ? gap : run.gap_ns;
    run.worst_ns = waited > run.worst_ns ? waited : run.worst_ns;
    if (slot < SLOTS_MAX) {
        run.slots[slot]++;
    }
    sample_add(client, waited);
}

static void client_good(struct client *client, int64_t now)
{
    if (run.killed_ns) {
        count_after_kill(client, now);
    } else {
        run.good_before++;
    }
    run.good++;
    run.last_good_ns = now;
    client->wanting_ns = 0;
}

/* Is the answer here whole? Its body has a Content-Length; 0 when more must come. */
static bool whole(const struct client *client)
{
    const char *end = strstr(client->answer, "\r\n\r\n");
    const char *length = end ? strcasestr(client->answer, "\r\nContent-Length:") : NULL;
    if (!length || length > end) {
        return false; /* Without a length (an error page in chunks, say) the 5 seconds decide. */
    }
    size_t body = strtoul(length + strlen("\r\nContent-Length:"), NULL, 10);
    return client->len >= (size_t)(end - client->answer) + 4 + body;
}

static void client_event(struct client *client)
{
    ssize_t got = recv(client->fd, client->answer + client->len, ANSWER_BYTES - client->len, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    int64_t now = now_ns();
    if (got <= 0) {
        client_failed(client, now);
        return;
    }
    client->len += (size_t)got;
    client->answer[client->len] = '\0';
    bool good = strncmp(client->answer, "HTTP/1.1 200 ", 13) == 0;
    if ((!good && client->len >= 13) || (!whole(client) && client->len == ANSWER_BYTES)) {
        client_failed(client, now);
    } else if (whole(client)) {
        client_good(client, now);
        client_send(client, now);
    }
}

static void serve_until(struct client *clients, int count, int64_t until)
{
    struct epoll_event events[BATCH];
    int64_t looked = now_ns();
    for (int64_t now = looked; now < until; now = now_ns()) {
        int ready = epoll_wait(run.epoll_fd, events, BATCH, (int)((until - now) / MS_NS / 16) + 1);
        for (int i = 0; i < ready; i++) {
            client_event(events[i].data.ptr);
        }
        for (int i = 0; now - looked > LATE_NS / 10 && i < count; i++) {
            if (now - clients[i].sent_ns > LATE_NS) {
                client_failed(&clients[i], now);
            }
        }
        looked = now - looked > LATE_NS / 10 ? now : looked;
    }
}

/* Clients that still wait at the end have had their gap, too. A request in flight is neither good nor failed.
 */
static void count_those_who_wait(const struct client *clients, int count)
{
    int64_t now = now_ns();
    int64_t gap = now - run.last_good_ns;
    run.gap_ns = gap > run.gap_ns ? gap : run.gap_ns;
    for (int i = 0; i < count; i++) {
        int64_t waited = now - clients[i].wanting_ns;
        run.worst_ns = waited > run.worst_ns ? waited : run.worst_ns;
        sample_add(&clients[i], waited);
    }
}

static int by_size(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

static double percentile_ms(double part)
{
    qsort(run.samples_us, run.samples, sizeof *run.samples_us, by_size);
    size_t at = (size_t)(part * (double)run.samples);
    return run.samples ? run.samples_us[at < run.samples ? at : run.samples - 1] / 1e3 : 0;
}

static long number_of(const char *text)
{
    char *end = NULL;
    long number = strtol(text, &end, 10);
    if (end == text || *end != '\0' || number < 1) {
        (void)fprintf(stderr, "usage: mourner --port N --clients N --pid N --before MS --after MS\n");
        exit(2);
    }
    return number;
}

static void print_figures(int64_t before_ms, int64_t after_ms)
{
    double usual = (double)run.good_before / (double)(before_ms * MS_NS) * (double)SLOT_NS;
    int64_t slots = after_ms * MS_NS / SLOT_NS, low = 0;
    for (int64_t i = 0; i < slots && i < SLOTS_MAX; i++) {
        low += run.slots[i] < usual / 2;
    }
    (void)printf("{\"good\": %llu, \"failed\": %llu, \"rps\": %.1f, \"gap_ms\": %.3f, \"dip_ms\": %lld, "
                 "\"worst_ms\": %.3f, \"p999_ms\": %.3f}\n",
                 (unsigned long long)run.good, (unsigned long long)run.failed,
                 (double)run.good * 1e3 / (double)(before_ms + after_ms), (double)run.gap_ns / 1e6,
                 (long long)(low * SLOT_NS / MS_NS), (double)run.worst_ns / 1e6, percentile_ms(0.999));
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"port", required_argument, NULL, 0},  {"clients", required_argument, NULL, 1},
        {"pid", required_argument, NULL, 2},   {"before", required_argument, NULL, 3},
        {"after", required_argument, NULL, 4}, {NULL, 0, NULL, 0},
    };
    static struct client clients[CLIENTS_MAX];
    long values[5] = {0};
    int option = 0;
    while ((option = getopt_long(argc, argv, "", options, NULL)) >= 0 && option < 5) {
        values[option] = number_of(optarg);
    }
    for (int i = 0; i < 5; i++) {
        (void)(values[i] ? 0 : number_of(""));
    }
    int count = values[1] < CLIENTS_MAX ? (int)values[1] : CLIENTS_MAX;
    run.address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)values[0])};
    run.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    run.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    run.samples_us = calloc(SAMPLES_MAX, sizeof *run.samples_us);
    if (run.epoll_fd < 0 || !run.samples_us) {
        die("start");
    }
    run.began_ns = now_ns();
    for (int i = 0; i < count; i++) {
        client_open(&clients[i], now_ns());
    }
    serve_until(clients, count, run.began_ns + values[3] * MS_NS);
    if (kill((pid_t)values[2], SIGKILL) < 0) {
        die("kill");
    }
    run.killed_ns = now_ns();
    serve_until(clients, count, run.killed_ns + values[4] * MS_NS);
    count_those_who_wait(clients, count);
    print_figures(values[3], values[4]);
    return 0;
}
