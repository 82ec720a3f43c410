/* SPDX-License-Identifier: MIT */
/*
 * For HEALTHCHECK in the images, where there is no curl: asks this machine for a page and tells whether the
 * answer is 200.
 *
 * usage: holdfast-health PORT PATH
 * Exit status: 0 the answer is 200, 1 it is not, or there is none within 2 seconds; then a line says why.
 */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int fail(const char *what)
{
    fprintf(stderr, "holdfast-health: %s: %s\n", what, errno != 0 ? strerror(errno) : "no 200");
    return 1;
}

/* Reads into line, until it is full or the peer has no more. Returns whether nothing went wrong. */
static int read_some(int fd, char *line, size_t size)
{
    size_t have = 0;
    while (have < size) {
        ssize_t got = recv(fd, line + have, size - have, 0);
        if (got < 0 && errno != EINTR) {
            return 0;
        }
        if (got == 0) {
            return 1;
        }
        have += got > 0 ? (size_t)got : 0;
    }
    return 1;
}

int main(int argc, char **argv)
{
    unsigned long port = argc == 3 ? strtoul(argv[1], NULL, 10) : 0;
    char request[256];
    int length =
        argc == 3 ? snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", argv[2])
                  : 0;
    if (port == 0 || port > 65535 || length <= 0 || (size_t)length >= sizeof request) {
        fprintf(stderr, "usage: holdfast-health PORT PATH\n");
        return 1;
    }

    /* Each call gets so long; there are few of them, and whoever runs this has a limit for all. */
    struct timeval patience = {.tv_sec = 2};
    struct sockaddr_in there = {
        .sin_family = AF_INET,
        .sin_port = htons((in_port_t)port),
        .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
    };
    char line[12] = {0}; /* "HTTP/1.1 200" */
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience) != 0 ||
        connect(fd, (const struct sockaddr *)&there, sizeof there) != 0 ||
        send(fd, request, (size_t)length, MSG_NOSIGNAL) != length || !read_some(fd, line, sizeof line)) {
        return fail(argv[2]);
    }
    errno = 0;
    return memcmp(line, "HTTP/1.1 200", sizeof line) == 0 ? 0 : fail(argv[2]);
}
