/* SPDX-License-Identifier: MIT */
/*
 * The floor: a relay that knows no HTTP. Each client's connection has one to an origin, in turn, and what
 * comes on one goes out on the other. So a small request costs what no proxy can do without: two wake-ups,
 * two reads, two writes. For rows whose clients keep their connections and whose messages fit into a socket's
 * buffer.
 *
 *   usage: relay ADDRESS:PORT ORIGIN:PORT...
 *
 * IPv4 only. One thread for each CPU, with an epoll set of its own.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PIECE_BYTES = 65536, BATCH = 64, ORIGINS_MAX = 8, BACKLOG = 4096 };

static struct sockaddr_in address, origins[ORIGINS_MAX];
static unsigned origin_count;

static _Noreturn void die(const char *what)
{
    perror(what);
    exit(1);
}

static _Noreturn void refuse(void)
{
    fputs("usage: relay ADDRESS:PORT ORIGIN:PORT...\n", stderr);
    exit(2);
}

static struct sockaddr_in parse(const char *text)
{
    struct sockaddr_in parsed = {.sin_family = AF_INET};
    char host[INET_ADDRSTRLEN];
    const char *colon = strrchr(text, ':');
    if (colon == NULL || (size_t)(colon - text) >= sizeof host) {
        refuse();
    }
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    parsed.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &parsed.sin_addr) != 1) {
        refuse();
    }
    return parsed;
}

/* Both descriptors stand in an event: the one that has something to read, and where it goes. */
static void watch(int set, int from, int to)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET,
                                .data.u64 = (uint64_t)(uint32_t)from << 32 | (uint32_t)to};
    if (epoll_ctl(set, EPOLL_CTL_ADD, from, &event) == -1) {
        die("epoll_ctl");
    }
}

static void accept_client(int set, int listener)
{
    static _Atomic unsigned turn;
    int on = 1;
    int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (client == -1) {
        return; /* it has gone again */
    }
    int origin = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(origin, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(origin, (struct sockaddr *)&origins[turn++ % origin_count], sizeof *origins) == -1) {
        die("connect");
    }
    watch(set, client, origin);
    watch(set, origin, client);
}

static int listen_beside_others(void)
{
    int on = 1;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == -1 ||
        setsockopt(listener, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) == -1 ||
        bind(listener, (struct sockaddr *)&address, sizeof address) == -1 ||
        listen(listener, BACKLOG) == -1) {
        die("listen");
    }
    return listener;
}

static void *relay(void *unused)
{
    (void)unused;
    int set = epoll_create1(EPOLL_CLOEXEC), listener = listen_beside_others();
    struct epoll_event events[BATCH] = {{.events = EPOLLIN, .data.u64 = UINT64_MAX}};
    char *piece = malloc(PIECE_BYTES);
    if (set == -1 || piece == NULL || epoll_ctl(set, EPOLL_CTL_ADD, listener, events) == -1) {
        die("start");
    }
    for (;;) {
        int ready = epoll_wait(set, events, BATCH, -1);
        for (int i = 0; i < ready; i++) {
            int from = (int)(events[i].data.u64 >> 32), to = (int)(events[i].data.u64 & UINT32_MAX);
            if (events[i].data.u64 == UINT64_MAX) {
                accept_client(set, listener);
                continue;
            }
            ssize_t got = recv(from, piece, PIECE_BYTES, MSG_DONTWAIT);
            if (got > 0) {
                (void)send(to, piece, (size_t)got, MSG_NOSIGNAL);
            } else if (got == 0) { /* the end of a load */
                close(from);
                close(to);
            }
        }
    }
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--version") == 0) {
        puts("relay 1");
        return 0;
    }
    if (argc < 3 || argc > ORIGINS_MAX + 2) {
        refuse();
    }
    for (int i = 2; i < argc; i++) {
        origins[origin_count++] = parse(argv[i]);
    }
    address = parse(argv[1]);
    cpu_set_t cpus;
    int count = sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
    for (int i = 1; i < count; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, relay, NULL) != 0) {
            die("pthread_create");
        }
    }
    relay(NULL);
}
