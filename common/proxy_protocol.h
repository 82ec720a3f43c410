/* SPDX-License-Identifier: MIT
 * The PROXY protocol, versions 1 and 2: the line or block with which a load balancer hands the client's
 * address on before the first byte of HTTP. Source: "The PROXY protocol, Versions 1 & 2" of the HAProxy
 * project. Pure. */
#ifndef HOLDFAST_COMMON_PROXY_PROTOCOL_H
#define HOLDFAST_COMMON_PROXY_PROTOCOL_H

#include "common/compiler.h"
#include "common/net.h"

enum proxy_protocol_progress {
    PROXY_PROTOCOL_MORE, /* not whole yet */
    PROXY_PROTOCOL_DONE,
    PROXY_PROTOCOL_BAD, /* not a PROXY header: the connection is to be closed without a word */
};

struct proxy_protocol {
    size_t bytes;    /* length of the header: HTTP begins behind it */
    bool has_source; /* false for UNKNOWN, LOCAL and families that are not IP: the peer's own address holds */
    union net_address source; /* the client's address and port */
};

enum { PROXY_PROTOCOL_BYTES_MAX = 1024 }; /* a longer version 2 block (with its TLVs) is refused */

/* Looks at LENGTH bytes at BYTES, the first that came on the connection. Fills *HEADER_ on DONE. Version 1:
 * at most 107 bytes, ends in CRLF, addresses and ports checked strictly. Version 2: signature, commands LOCAL
 * and PROXY, TCP over IPv4 and IPv6; other families are taken as unknown; TLVs are skipped. */
must_check enum proxy_protocol_progress proxy_protocol_parse(const char *bytes, size_t length,
                                                             struct proxy_protocol *header_);

#endif
