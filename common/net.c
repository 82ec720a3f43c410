/* SPDX-License-Identifier: MIT
 * A connect with a deadline needs a non-blocking socket for its three steps (connect, poll, SO_ERROR);
 * afterwards the socket blocks again, as everything else in the program expects. */
#include "common/net.h"

#include "common/writer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { TOGETHER_BYTES_MAX = 2048 };

socklen_t net_address_length(const union net_address *a)
{
    return a->base.sa_family == AF_INET6 ? sizeof a->in6 : sizeof a->in;
}

struct in6_addr net_address_ip(const union net_address *a)
{
    struct in6_addr ip = IN6ADDR_ANY_INIT;
    if (a->base.sa_family == AF_INET6) {
        ip = a->in6.sin6_addr;
    } else if (a->base.sa_family == AF_INET) {
        ip.s6_addr[10] = 0xff;
        ip.s6_addr[11] = 0xff;
        memcpy(&ip.s6_addr[12], &a->in.sin_addr, sizeof a->in.sin_addr);
    }
    return ip;
}

bool net_address_in(const union net_address *a, const struct cidr_set *set)
{
    if (set->count == 0) {
        return false;
    }
    struct in6_addr ip = net_address_ip(a);
    return cidr_set_has(set, &ip);
}

void net_format_ip(const union net_address *a, char text[static NET_TEXT_BYTES])
{
    text[0] = '\0';
    if (a->base.sa_family == AF_INET) {
        inet_ntop(AF_INET, &a->in.sin_addr, text, NET_TEXT_BYTES);
    } else if (a->base.sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&a->in6.sin6_addr)) {
        inet_ntop(AF_INET, &a->in6.sin6_addr.s6_addr[12], text, NET_TEXT_BYTES);
    } else if (a->base.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &a->in6.sin6_addr, text, NET_TEXT_BYTES);
    }
}

void net_format(const union net_address *a, char text[static NET_TEXT_BYTES])
{
    char ip[NET_TEXT_BYTES];
    net_format_ip(a, ip);
    unsigned port = ntohs(a->base.sa_family == AF_INET6 ? a->in6.sin6_port : a->in.sin_port);
    if (strchr(ip, ':') != NULL) {
        snprintf(text, NET_TEXT_BYTES, "[%.*s]:%u", INET6_ADDRSTRLEN, ip, port);
    } else {
        snprintf(text, NET_TEXT_BYTES, "%.*s:%u", INET6_ADDRSTRLEN, ip, port);
    }
}

static int compare_numbers(uint32_t a, uint32_t b)
{
    return a < b ? -1 : a > b;
}

int net_compare(const union net_address *a, const union net_address *b)
{
    int order = compare_numbers(a->base.sa_family, b->base.sa_family);
    if (order == 0 && a->base.sa_family == AF_INET6) {
        order = memcmp(&a->in6.sin6_addr, &b->in6.sin6_addr, sizeof a->in6.sin6_addr);
        order = order != 0 ? order : compare_numbers(ntohs(a->in6.sin6_port), ntohs(b->in6.sin6_port));
        return order != 0 ? order : compare_numbers(a->in6.sin6_scope_id, b->in6.sin6_scope_id);
    }
    if (order == 0) {
        order = compare_numbers(ntohl(a->in.sin_addr.s_addr), ntohl(b->in.sin_addr.s_addr));
        order = order != 0 ? order : compare_numbers(ntohs(a->in.sin_port), ntohs(b->in.sin_port));
    }
    return order;
}

bool net_same(const struct net_addresses *a, const struct net_addresses *b)
{
    bool same = a->count == b->count;
    for (uint32_t i = 0; same && i < a->count; i++) {
        same = net_compare(&a->list[i], &b->list[i]) == 0;
    }
    return same;
}

/* Puts ADDRESS where it belongs in the sorted ADDRESSES, unless it is there; the last one leaves a full list.
 */
static void insert(struct net_addresses *addresses, const union net_address *address)
{
    uint32_t at = addresses->count;
    while (at > 0 && net_compare(&addresses->list[at - 1], address) > 0) {
        at--;
    }
    if (at == NET_ADDRESSES_MAX || (at > 0 && net_compare(&addresses->list[at - 1], address) == 0)) {
        return;
    }
    addresses->count += addresses->count < NET_ADDRESSES_MAX ? 1 : 0;
    memmove(&addresses->list[at + 1], &addresses->list[at],
            (addresses->count - at - 1) * sizeof addresses->list[0]);
    addresses->list[at] = *address;
}

/* getaddrinfo(3) with FLAGS; 0 or one of its errors. */
static int look_up(const struct config_address *address, int flags, struct net_addresses *addresses_)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | flags};
    struct addrinfo *found = NULL;
    char port[8];
    snprintf(port, sizeof port, "%u", address->port);
    addresses_->count = 0;
    int failed = getaddrinfo(address->host, port, &hints, &found);
    if (failed != 0) {
        return failed;
    }
    for (struct addrinfo *i = found; i != NULL; i = i->ai_next) {
        union net_address one = {.in6 = {.sin6_family = AF_UNSPEC}};
        if (i->ai_addrlen <= sizeof one && (i->ai_family == AF_INET || i->ai_family == AF_INET6)) {
            memcpy(&one, i->ai_addr, i->ai_addrlen);
            insert(addresses_, &one);
        }
    }
    freeaddrinfo(found);
    return 0;
}

const char *net_resolve(const struct config_address *address, struct net_addresses *addresses_)
{
    int failed = look_up(address, 0, addresses_);
    if (failed == EAI_SYSTEM) {
        const char *why = strerrordesc_np(errno);
        return why != NULL ? why : "unknown error";
    }
    if (failed != 0) {
        return gai_strerror(failed);
    }
    return addresses_->count > 0 ? NULL : "the name has no IPv4 or IPv6 address";
}

bool net_resolve_numeric(const struct config_address *address, struct net_addresses *addresses_)
{
    return look_up(address, AI_NUMERICHOST, addresses_) == 0 && addresses_->count > 0;
}

/* Opens, binds and listens on one address. A failure closes the socket and keeps errno. */
static int listen_on(const union net_address *a, bool dual, int backlog, const char **why_)
{
    int fd = socket(a->base.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1) {
        *why_ = "socket";
        return -1;
    }
    int on = 1;
    int v6only = dual ? 0 : 1;
    *why_ = "setsockopt";
    int failed = setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (failed == 0) {
        /* Accepted sockets inherit it (tcp(7)): a small piece of a stream must not wait for the client's ACK.
         */
        failed = setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    }
    if (failed == 0 && a->base.sa_family == AF_INET6) {
        failed = setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof v6only);
    }
    if (failed == 0) {
        *why_ = "bind";
        failed = bind(fd, &a->base, net_address_length(a));
    }
    if (failed == 0) {
        *why_ = "listen";
        failed = listen(fd, backlog);
    }
    if (failed != 0) {
        int kept = errno;
        close(fd);
        errno = kept;
        return -1;
    }
    return fd;
}

int net_listen(const struct config_address *address, int backlog, const char **why_)
{
    if (address->host[0] != '\0') {
        struct net_addresses found = {.count = 0};
        const char *why = net_resolve(address, &found);
        if (why != NULL) {
            *why_ = why;
            errno = EADDRNOTAVAIL;
            return -1;
        }
        return listen_on(&found.list[0], false, backlog, why_);
    }
    union net_address any6 = {.in6 = {.sin6_family = AF_INET6, .sin6_port = htons(address->port)}};
    int fd = listen_on(&any6, true, backlog, why_);
    if (fd == -1 && (errno == EAFNOSUPPORT || errno == EADDRNOTAVAIL)) {
        union net_address any4 = {.in = {.sin_family = AF_INET, .sin_port = htons(address->port)}};
        fd = listen_on(&any4, false, backlog, why_);
    }
    return fd;
}

bool net_ignore_new(int fd)
{
    enum {
        FLAGS_OFFSET = 13,
        FLAG_SYN = 0x02
    }; /* RFC 9293, 3.1; the filter sees a segment from its header on */
    struct sock_filter drop_syn[] = {
        BPF_STMT(BPF_LD | BPF_B | BPF_ABS, FLAGS_OFFSET),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, FLAG_SYN, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, 0),
        BPF_STMT(BPF_RET | BPF_K, UINT32_MAX),
    };
    struct sock_fprog program = {.len = sizeof drop_syn / sizeof drop_syn[0], .filter = drop_syn};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

int net_connect_check(int fd)
{
    struct pollfd look = {.fd = fd, .events = POLLOUT};
    int ready = poll(&look, 1, 0);
    if (ready <= 0) {
        return ready == 0 || errno == EINTR ? EINPROGRESS : errno;
    }
    int on = 1;
    int failure = 0;
    socklen_t size = sizeof failure;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &failure, &size) == -1) {
        return errno;
    }
    if (failure == 0 &&
        (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on) == -1 || fcntl(fd, F_SETFL, 0) == -1)) {
        failure = errno;
    }
    return failure;
}

int net_connect_begin(const union net_address *a)
{
    int fd = socket(a->base.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd == -1) {
        return -1;
    }
    if (connect(fd, &a->base, net_address_length(a)) == -1 && errno != EINPROGRESS) {
        int kept = errno;
        close(fd);
        errno = kept;
        return -1;
    }
    return fd;
}

/* Waits until the connect under way on FD has ended; 0, or the errno value of its failure. */
static int await_connect(int fd, mono_ns deadline)
{
    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLOUT};
        int ready = poll(&wait, 1, deadline_poll_ms(deadline, clock_mono()));
        int failure = ready == -1 && errno != EINTR ? errno : net_connect_check(fd);
        if (failure != EINPROGRESS) {
            return failure;
        }
        if (clock_mono() >= deadline) {
            return ETIMEDOUT;
        }
    }
}

int net_connect(const union net_address *a, mono_ns deadline)
{
    int fd = net_connect_begin(a);
    int failure = fd == -1 ? errno : await_connect(fd, deadline);
    if (failure != 0) {
        if (fd != -1) {
            close(fd);
        }
        errno = failure;
        return -1;
    }
    return fd;
}

/* Steps IOV over SENT bytes that are gone; returns how many pieces are left. */
static int advance(struct iovec **iov, int count, size_t sent)
{
    while (count > 0 && sent >= (*iov)->iov_len) {
        sent -= (*iov)->iov_len;
        (*iov)->iov_len = 0;
        (*iov)++;
        count--;
    }
    if (count > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + sent;
        (*iov)->iov_len -= sent;
    }
    return count;
}

/* Sends what the kernel takes of the pieces. Small ones are put together first: to copy a few bytes costs
 * less than to have the kernel walk through a list of them. */
static ssize_t send_pieces(int fd, struct iovec *iov, int count, int flags)
{
    if (count == 1) {
        return send(fd, iov->iov_base, iov->iov_len, flags);
    }
    char bytes[TOGETHER_BYTES_MAX];
    struct writer together = {.at = bytes, .capacity = sizeof bytes};
    for (int i = 0; i < count; i++) {
        writer_put(&together, (struct slice){iov[i].iov_base, iov[i].iov_len});
    }
    if (writer_ok(&together)) {
        return send(fd, bytes, together.length, flags);
    }
    struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)count};
    return sendmsg(fd, &message, flags);
}

int net_send_all(int fd, struct iovec *iov, int count, int flags)
{
    while (count > 0 && iov[count - 1].iov_len == 0) {
        count--;
    }
    count = advance(&iov, count, 0);
    while (count > 0) {
        ssize_t sent = send_pieces(fd, iov, count, flags | MSG_NOSIGNAL);
        if (sent == -1 && errno != EINTR) {
            return errno;
        }
        count = advance(&iov, count, sent == -1 ? 0 : (size_t)sent);
    }
    return 0;
}

ssize_t net_recv(int fd, char *bytes, size_t room, int flags)
{
    ssize_t got;
    do {
        got = recv(fd, bytes, room, flags);
    } while (got == -1 && errno == EINTR);
    return got;
}

void net_reset_on_close(int fd)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once); /* fails only on what is closed */
}

uint16_t net_local_port(int fd)
{
    union net_address a = {.base = {.sa_family = AF_UNSPEC}};
    socklen_t size = sizeof a;
    if (getsockname(fd, &a.base, &size) == -1) {
        return 0;
    }
    return ntohs(a.base.sa_family == AF_INET6 ? a.in6.sin6_port : a.in.sin_port);
}
