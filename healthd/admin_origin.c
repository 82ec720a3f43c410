/* SPDX-License-Identifier: MIT */
#include "healthd/admin_origin.h"

#include <arpa/inet.h>
#include <string.h>

enum { NAME_BYTES = 256 };

/* Cuts ":PORT" off HOST, and the brackets around IPv6. False when that is malformed. */
static bool name_of(struct slice host, char name[static NAME_BYTES])
{
    const char *at = host.at;
    size_t length = host.length;
    if (length > 0 && at[0] == '[') {
        const char *end = memchr(at, ']', length);
        if (end == NULL) {
            return false;
        }
        at++;
        length = (size_t)(end - at);
    } else {
        const char *colon = length == 0 ? NULL : memchr(at, ':', length);
        length = colon == NULL ? length : (size_t)(colon - at);
    }
    if (length == 0 || length >= NAME_BYTES || memchr(at, '\0', length) != NULL) {
        return false;
    }
    memcpy(name, at, length);
    name[length] = '\0';
    return true;
}

bool admin_host_is_near(struct slice host, const char *listen)
{
    char name[NAME_BYTES];
    struct in_addr v4;
    struct in6_addr v6;
    if (host.length == 0) {
        return true;
    }
    if (!name_of(host, name)) {
        return false;
    }
    if (inet_pton(AF_INET, name, &v4) == 1) {
        return (ntohl(v4.s_addr) >> 24) == 127;
    }
    if (inet_pton(AF_INET6, name, &v6) == 1) {
        return IN6_IS_ADDR_LOOPBACK(&v6);
    }
    struct slice given = slice_of(name);
    return slice_equal_nocase(given, SLICE("localhost")) ||
           (listen[0] != '\0' && slice_equal_nocase(given, slice_of(listen)));
}

bool admin_origin_is_own(struct slice origin, struct slice host)
{
    struct slice scheme = SLICE("http://");
    if (origin.length == 0) {
        return true;
    }
    return origin.length == scheme.length + host.length && host.length > 0 &&
           slice_equal_nocase((struct slice){origin.at, scheme.length}, scheme) &&
           slice_equal_nocase((struct slice){origin.at + scheme.length, host.length}, host);
}
