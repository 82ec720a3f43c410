/* SPDX-License-Identifier: MIT
 * Backends and clients of the tests: the other end of a pair of sockets and what is said on it. */
#ifndef HOLDFAST_TESTS_UNIT_SCRIPT_H
#define HOLDFAST_TESTS_UNIT_SCRIPT_H

#include "common/slice.h"

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROWS(table) ((int)(sizeof(table) / sizeof((table)[0])))
#define RAW(literal)                                                                                         \
    {                                                                                                        \
        (literal), sizeof(literal) - 1                                                                       \
    }

#define OK_200(fields) "HTTP/1.1 200 OK\r\n" fields "\r\n"
#define OK_1_0(fields) "HTTP/1.0 200 OK\r\n" fields "\r\n"
#define LENGTH_5       "Content-Length: 5\r\n"
#define CHUNKED        "Transfer-Encoding: chunked\r\n"

/* Makes a pair of connected sockets of TYPE: ours is ENDS[0], the backend's is ENDS[1]. */
static inline void script_pair(int type, int ends[2])
{
    ck_assert_int_eq(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends), 0);
}

/* Makes a connection over loopback TCP: the side that accepted is ENDS[0]. */
static inline void script_tcp_pair(int ends[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ends[1] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    ck_assert_int_eq(bind(listener, (struct sockaddr *)&address, size), 0);
    ck_assert_int_eq(listen(listener, 1), 0);
    ck_assert_int_eq(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    ck_assert_int_eq(connect(ends[1], (struct sockaddr *)&address, size), 0);
    ends[0] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    ck_assert_int_ge(ends[0], 0);
    close(listener);
}

/* The backend says COUNT bytes in one send(2). */
static inline void script_send(int fd, const char *bytes, size_t count)
{
    ck_assert_int_eq(send(fd, bytes, count, MSG_NOSIGNAL), (ssize_t)count);
}

/* The backend says TEXT. */
static inline void script_say(int fd, const char *text)
{
    script_send(fd, text, strlen(text));
}

#endif
