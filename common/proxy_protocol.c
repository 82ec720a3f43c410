/* SPDX-License-Identifier: MIT
 * The sender is a load balancer that was configured to send this, so every deviation is a mistake or an
 * attack and is refused; there is no guess. A header is judged as early as that is simple: a wrong first byte
 * is bad at once, the line of version 1 when its CRLF is there, the block of version 2 when its first 16
 * bytes are. Nothing is kept between calls: a header nearly always comes in one piece. */
#include "common/proxy_protocol.h"

#include "common/slice.h"

#include <arpa/inet.h>
#include <string.h>

enum { LINE_BYTES_MAX = 107, PORT_DIGITS_MAX = 5 };

static const struct slice line_start = SLICE("PROXY ");
static const struct slice signature = SLICE("\r\n\r\n\0\r\nQUIT\n");

/* ---- Version 1: "PROXY TCP4 SOURCE DESTINATION SOURCE-PORT DESTINATION-PORT" CRLF ---- */

/* Takes what stands before the next space, or all, off the front of *REST; that space goes too. */
static struct slice next_word(struct slice *rest)
{
    const char *space = memchr(rest->at, ' ', rest->length);
    struct slice word = *rest;
    if (space == NULL) {
        *rest = (struct slice){rest->at + rest->length, 0};
        return word;
    }
    word.length = (size_t)(space - rest->at);
    *rest = (struct slice){space + 1, rest->length - word.length - 1};
    return word;
}

/* Reads WORD as an address of FAMILY into *ADDRESS_. */
static bool parse_ip(struct slice word, sa_family_t family, union net_address *address_)
{
    char text[INET6_ADDRSTRLEN];
    if (word.length >= sizeof text || (word.length > 0 && memchr(word.at, '\0', word.length) != NULL)) {
        return false; /* a NUL would end the text early and hide what is behind it */
    }
    memcpy(text, word.at, word.length);
    text[word.length] = '\0';
    *address_ = (union net_address){.in6 = {.sin6_family = family}};
    void *ip = family == AF_INET ? (void *)&address_->in.sin_addr : (void *)&address_->in6.sin6_addr;
    return inet_pton(family, text, ip) == 1;
}

/* Reads WORD as a port: 0 to 65535 without leading zeros. */
static bool parse_port(struct slice word, in_port_t *port_)
{
    unsigned port = 0;
    if (word.length == 0 || word.length > PORT_DIGITS_MAX || (word.length > 1 && word.at[0] == '0')) {
        return false;
    }
    for (size_t i = 0; i < word.length; i++) {
        if (word.at[i] < '0' || word.at[i] > '9') {
            return false;
        }
        port = port * 10 + (unsigned)(word.at[i] - '0');
    }
    *port_ = htons((uint16_t)port);
    return port <= UINT16_MAX;
}

/* Reads LINE, what stands between "PROXY " and CRLF. */
static bool parse_line(struct slice line, struct proxy_protocol *header_)
{
    union net_address destination;
    struct slice protocol = next_word(&line);
    if (slice_equal(protocol, SLICE("UNKNOWN"))) {
        header_->has_source = false;
        return true; /* whatever follows is to be ignored */
    }
    sa_family_t family = slice_equal(protocol, SLICE("TCP4"))   ? AF_INET
                         : slice_equal(protocol, SLICE("TCP6")) ? AF_INET6
                                                                : AF_UNSPEC;
    /* sin_port and sin6_port are at the same place: <netinet/in.h> of every system has it so. */
    _Static_assert(offsetof(struct sockaddr_in, sin_port) == offsetof(struct sockaddr_in6, sin6_port),
                   "the port of IPv4 and IPv6 addresses");
    header_->has_source = true;
    if (family == AF_UNSPEC || !parse_ip(next_word(&line), family, &header_->source) ||
        !parse_ip(next_word(&line), family, &destination) ||
        !parse_port(next_word(&line), &header_->source.in.sin_port)) {
        return false;
    }
    return parse_port(line, &destination.in.sin_port); /* all that is left: a further space is no digit */
}

static enum proxy_protocol_progress parse_v1(struct slice bytes, struct proxy_protocol *header_)
{
    size_t seen = bytes.length < LINE_BYTES_MAX ? bytes.length : LINE_BYTES_MAX;
    const char *cr = memchr(bytes.at, '\r', seen);
    size_t end = cr == NULL ? seen : (size_t)(cr - bytes.at); /* of the text */
    if (memchr(bytes.at, '\n', end) != NULL || end > LINE_BYTES_MAX - 2) {
        return PROXY_PROTOCOL_BAD;
    }
    if (seen < end + 2) {
        return PROXY_PROTOCOL_MORE;
    }
    struct slice line = {bytes.at + line_start.length, end - line_start.length};
    if (bytes.at[end + 1] != '\n' || !parse_line(line, header_)) {
        return PROXY_PROTOCOL_BAD;
    }
    header_->bytes = end + 2;
    return PROXY_PROTOCOL_DONE;
}

/* ---- Version 2: signature, version and command, family and protocol, length, addresses, TLVs ---- */

enum {
    V2_COMMAND = 12,
    V2_FAMILY = 13,
    V2_LENGTH = 14,
    V2_ADDRESSES = 16,
    V2_LOCAL = 0x20, /* version 2 is the upper half of the byte */
    V2_PROXY = 0x21,
    V2_TCP4 = 0x11,
    V2_TCP6 = 0x21,
    V2_FAMILY_MAX = 3,   /* 0 unspecified, 1 IPv4, 2 IPv6, 3 unix */
    V2_PROTOCOL_MAX = 2, /* 0 unspecified, 1 stream, 2 datagram */
    V2_TCP4_BYTES = 12,  /* two addresses and two ports */
    V2_TCP6_BYTES = 36,
};

/* Whether the block may begin like B, as far as its LENGTH bytes tell. The family of a LOCAL block is to be
 * ignored, whatever it says. */
static bool is_good_v2_start(const unsigned char *b, size_t length)
{
    if (length > V2_COMMAND && b[V2_COMMAND] != V2_LOCAL && b[V2_COMMAND] != V2_PROXY) {
        return false;
    }
    return length <= V2_FAMILY || b[V2_COMMAND] == V2_LOCAL ||
           (b[V2_FAMILY] >> 4 <= V2_FAMILY_MAX && (b[V2_FAMILY] & 15) <= V2_PROTOCOL_MAX);
}

/* Reads the source address of the whole block B. */
static void read_v2_source(const unsigned char *b, struct proxy_protocol *header_)
{
    const unsigned char *addresses = b + V2_ADDRESSES;
    if (b[V2_FAMILY] == V2_TCP4) {
        header_->source = (union net_address){.in = {.sin_family = AF_INET}};
        memcpy(&header_->source.in.sin_addr, addresses, 4);
        memcpy(&header_->source.in.sin_port, addresses + 8, 2);
    } else {
        header_->source = (union net_address){.in6 = {.sin6_family = AF_INET6}};
        memcpy(&header_->source.in6.sin6_addr, addresses, 16);
        memcpy(&header_->source.in6.sin6_port, addresses + 32, 2);
    }
}

static enum proxy_protocol_progress parse_v2(struct slice bytes, struct proxy_protocol *header_)
{
    const unsigned char *b = (const unsigned char *)bytes.at;
    if (!is_good_v2_start(b, bytes.length)) {
        return PROXY_PROTOCOL_BAD;
    }
    if (bytes.length < V2_ADDRESSES) {
        return PROXY_PROTOCOL_MORE;
    }
    size_t announced = (size_t)b[V2_LENGTH] << 8 | b[V2_LENGTH + 1];
    bool proxied = b[V2_COMMAND] == V2_PROXY;
    bool tcp4 = proxied && b[V2_FAMILY] == V2_TCP4;
    bool tcp6 = proxied && b[V2_FAMILY] == V2_TCP6;
    size_t needed = tcp4 ? V2_TCP4_BYTES : tcp6 ? V2_TCP6_BYTES : 0;
    if (announced < needed || announced > PROXY_PROTOCOL_BYTES_MAX - V2_ADDRESSES) {
        return PROXY_PROTOCOL_BAD;
    }
    if (bytes.length < V2_ADDRESSES + announced) {
        return PROXY_PROTOCOL_MORE;
    }
    header_->bytes = V2_ADDRESSES + announced;
    header_->has_source = tcp4 || tcp6;
    if (header_->has_source) {
        read_v2_source(b, header_);
    }
    return PROXY_PROTOCOL_DONE;
}

/* Whether BYTES begin with START, as far as both go. */
static bool may_begin_with(struct slice bytes, struct slice start)
{
    size_t length = bytes.length < start.length ? bytes.length : start.length;
    return length == 0 || memcmp(bytes.at, start.at, length) == 0;
}

enum proxy_protocol_progress proxy_protocol_parse(const char *bytes, size_t length,
                                                  struct proxy_protocol *header_)
{
    struct slice all = {bytes, length};
    bool v1 = may_begin_with(all, line_start);
    bool v2 = may_begin_with(all, signature);
    if (!v1 && !v2) {
        return PROXY_PROTOCOL_BAD;
    }
    if (length < (v1 ? line_start.length : signature.length)) {
        return PROXY_PROTOCOL_MORE;
    }
    return v1 ? parse_v1(all, header_) : parse_v2(all, header_);
}
