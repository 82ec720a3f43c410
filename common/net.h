/* SPDX-License-Identifier: MIT
 * Sockets: listen, connect with a deadline, addresses as text. Returns errno values, never logs. */
#ifndef HOLDFAST_COMMON_NET_H
#define HOLDFAST_COMMON_NET_H

#include "common/cidr.h"
#include "common/clock.h"
#include "common/compiler.h"
#include "common/config.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

/* An IPv4 or IPv6 address with a port. */
union net_address {
    struct sockaddr base;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
};

enum {
    NET_ADDRESSES_MAX = 64,                    /* addresses of one name that are used */
    NET_TEXT_BYTES = INET6_ADDRSTRLEN + 8 + 3, /* "[address]:port" and the final NUL */
};

struct net_addresses {
    uint32_t count;
    union net_address list[NET_ADDRESSES_MAX];
};

/* Length of A for the socket calls. */
socklen_t net_address_length(const union net_address *a);

/* Whether A is in one of the networks of SET. */
bool net_address_in(const union net_address *a, const struct cidr_set *set);

/* A's IP address; an IPv4 one is given as IPv4-mapped IPv6. All zeros for another family. */
struct in6_addr net_address_ip(const union net_address *a);

/* Writes A's IP address without port; an IPv4-mapped IPv6 address is written as IPv4. */
void net_format_ip(const union net_address *a, char text[static NET_TEXT_BYTES]);

/* Writes A as "address:port" or "[address]:port". */
void net_format(const union net_address *a, char text[static NET_TEXT_BYTES]);

/* Resolves ADDRESS (getaddrinfo(3): blocks for as long as the resolver does) into *ADDRESSES_, in the order
 * of net_compare(), each address once; of more than NET_ADDRESSES_MAX the first ones. Returns NULL, or a
 * static text that says why not. */
must_check const char *net_resolve(const struct config_address *address, struct net_addresses *addresses_);

/* The same for a host that is an IP address and no name: asks nobody, never blocks. False when it is a name.
 */
must_check bool net_resolve_numeric(const struct config_address *address, struct net_addresses *addresses_);

/* Orders addresses: by family, IP address, port and scope. Less than, equal to or greater than 0. */
int net_compare(const union net_address *a, const union net_address *b);

/* Whether A and B, both from net_resolve(), hold the same addresses. */
bool net_same(const struct net_addresses *a, const struct net_addresses *b);

/* Opens a TCP socket, binds it to ADDRESS (a host "" is [::] that takes IPv4 too, or 0.0.0.0 where there is
 * no IPv6) and listens with BACKLOG. Returns the descriptor (close-on-exec, non-blocking so that accept never
 * hangs), or -1 with errno set and *WHY_ a static text. */
must_check int net_listen(const struct config_address *address, int backlog, const char **why_);

/* From now on the kernel drops what would begin a new connection to FD, which listens, as if it were lost on
 * the way; who began before is let in as ever. Its client tries again a second later. So a socket can be
 * closed without resetting a connection that its client believes is made: first this, a little later accept
 * all, then close. (A filter on the socket: socket(7), SO_ATTACH_FILTER.) False with errno set where the
 * system has no such filters. */
must_check bool net_ignore_new(int fd);

/* Connects to A, waiting until DEADLINE at most. Returns a blocking, close-on-exec socket with TCP_NODELAY,
 * or -1 with errno set (ETIMEDOUT when the deadline passed). */
must_check int net_connect(const union net_address *a, mono_ns deadline);

/* The halves of it, for those who wait otherwise. Begins the connect, and returns the socket, which does not
 * block, or -1 with errno set. */
must_check int net_connect_begin(const union net_address *a);

/* How the connect on FD stands, without waiting: EINPROGRESS; 0, and the socket is ready, and blocks from now
 * on; or the errno value of its failure. FD stays the caller's. */
must_check int net_connect_check(int fd);

/* Sends all bytes of the COUNT pieces at IOV, which are changed on the way. FLAGS are those of sendmsg(2);
 * MSG_NOSIGNAL is added. Returns 0, or an errno value, with IOV then standing at the first byte that was not
 * sent (EAGAIN with MSG_DONTWAIT means: the rest would have to wait). */
must_check int net_send_all(int fd, struct iovec *iov, int count, int flags);

/* Reads once into ROOM bytes at BYTES; FLAGS are those of recv(2). Like recv(2), but not interrupted by
 * signals. */
ssize_t net_recv(int fd, char *bytes, size_t room, int flags);

/* Makes the coming close of FD a reset: what is not sent yet is dropped, and the peer can't take the end for
 * a regular one. */
void net_reset_on_close(int fd);

/* The port that FD is bound to, or 0 on failure. */
uint16_t net_local_port(int fd);

#endif
