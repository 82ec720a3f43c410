/* SPDX-License-Identifier: MIT
 * Addresses, URLs, names and numbers, as people write them in the config file and on the command line. What
 * can be known to be wrong without asking a resolver is refused here: a message at start is better than one
 * at the first request. A reason is a static text, so that nobody has to keep or free it. */
#include "common/config.h"

#include "common/slice.h"

#include <arpa/inet.h>
#include <stdio.h>

enum { HTTP_PORT = 80 };

static const char letters_and_digits[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

bool config_parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *number_)
{
    uint64_t number = 0;
    if (*text == '\0')
        return false;
    for (const char *c = text; *c != '\0'; c++) {
        if (*c < '0' || *c > '9')
            return false;
        uint64_t digit = (uint64_t)(*c - '0');
        if (number > (UINT64_MAX - digit) / 10)
            return false;
        number = number * 10 + digit;
    }
    if (number < min || number > max)
        return false;
    *number_ = number;
    return true;
}

/* Whether TEXT is made of letters, digits and the characters of EXTRA. */
static bool made_of(const char *text, const char *extra)
{
    for (size_t n = 0; text[n] != '\0'; n++) {
        if (strchr(letters_and_digits, text[n]) == NULL && strchr(extra, text[n]) == NULL)
            return false;
    }
    return true;
}

/* Checks HOST, the final part of ADDRESS, which was in brackets or not. */
static bool check_host(const char *host, bool bracketed, const char **why_)
{
    struct in6_addr v6;
    struct in_addr v4;
    if (bracketed) {
        *why_ = "expected an IPv6 address inside the brackets";
        return inet_pton(AF_INET6, host, &v6) == 1;
    }
    if (host[strspn(host, "0123456789.")] == '\0' && host[0] != '\0') {
        *why_ = "expected an IPv4 address of four numbers from 0 to 255";
        return inet_pton(AF_INET, host, &v4) == 1;
    }
    *why_ = "expected an IPv4 address, a host name, or an IPv6 address in brackets";
    return made_of(host, "-._");
}

/* Splits TEXT, "host:port", "[IPv6]:port" or without port, into HOST_ and PORT_ (with its ':', or empty). */
static bool split(struct slice text, struct slice *host_, struct slice *port_, bool *bracketed_,
                  const char **why_)
{
    const char *end = text.at + text.length;
    const char *colon;
    *bracketed_ = text.length > 0 && text.at[0] == '[';
    if (*bracketed_) {
        const char *bracket = memchr(text.at, ']', text.length);
        *why_ = "expected a ']' after the IPv6 address";
        if (bracket == NULL)
            return false;
        *host_ = (struct slice){.at = text.at + 1, .length = (size_t)(bracket - text.at) - 1};
        colon = bracket + 1;
    } else {
        colon = memchr(text.at, ':', text.length);
        if (colon == NULL)
            colon = end;
        else if (memchr(colon + 1, ':', (size_t)(end - colon) - 1) != NULL) {
            *why_ = "expected brackets around the IPv6 address: [IPv6]:PORT";
            return false;
        }
        *host_ = (struct slice){.at = text.at, .length = (size_t)(colon - text.at)};
    }
    *port_ = (struct slice){.at = colon, .length = (size_t)(end - colon)};
    *why_ = "expected nothing but :PORT after the IPv6 address";
    return port_->length == 0 || port_->at[0] == ':';
}

/* Parses TEXT into *ADDRESS_. Without a port it is DEFAULT_PORT; when that is 0, one is needed, and SHAPE is
 * *WHY_. */
static bool parse_host_port(struct slice text, uint16_t default_port, const char *shape,
                            struct config_address *address_, const char **why_)
{
    struct slice host, port;
    bool bracketed;
    uint64_t number = default_port;
    if (!split(text, &host, &port, &bracketed, why_))
        return false;
    *why_ = "expected a host of at most 255 characters";
    if (host.length >= sizeof(address_->host))
        return false;
    *why_ = shape;
    if (port.length == 0 && default_port == 0)
        return false;
    if (port.length > 0) {
        char digits[8];
        *why_ = "expected a port from 1 to 65535";
        if (port.length > sizeof(digits))
            return false;
        memcpy(digits, port.at + 1, port.length - 1);
        digits[port.length - 1] = '\0';
        if (!config_parse_number(digits, 1, UINT16_MAX, &number))
            return false;
    }
    memcpy(address_->host, host.at, host.length);
    address_->host[host.length] = '\0';
    address_->port = (uint16_t)number;
    return check_host(address_->host, bracketed, why_);
}

bool config_parse_address(const char *text, struct config_address *address_, const char **why_)
{
    return parse_host_port(slice_of(text), 0, "expected ADDR:PORT, [IPv6]:PORT or :PORT", address_, why_);
}

/* Whether TEXT begins with SCHEME, in any case. */
static bool has_scheme(const char *text, struct slice scheme)
{
    return strncasecmp(text, scheme.at, scheme.length) == 0;
}

bool config_parse_backend_url(const char *text, struct config_backend *backend_, const char **why_)
{
    static const char shape[] = "expected http://host[:port] or host:port";
    struct slice http = SLICE("http://");
    bool scheme = has_scheme(text, http);
    *why_ = "expected http://, for https to backends is not supported";
    if (has_scheme(text, SLICE("https:")))
        return false;
    *why_ = shape;
    if (!scheme && strstr(text, "://") != NULL)
        return false;
    if (scheme)
        text += http.length;
    struct slice authority = {.at = text, .length = strcspn(text, "/?#")};
    const char *rest = text + authority.length;
    *why_ = "expected no user name or password in the URL";
    if (authority.length > 0 && memchr(authority.at, '@', authority.length) != NULL)
        return false;
    *why_ = "expected no path, query or fragment after host[:port]";
    if (rest[0] != '\0' && (!scheme || strcmp(rest, "/") != 0))
        return false;
    struct config_address *address = &backend_->address;
    if (!parse_host_port(authority, scheme ? HTTP_PORT : 0, shape, address, why_))
        return false;
    *why_ = shape;
    if (address->host[0] == '\0')
        return false;
    bool v6 = strchr(address->host, ':') != NULL;
    snprintf(backend_->url, sizeof(backend_->url), "http://%s%s%s:%u", v6 ? "[" : "", address->host,
             v6 ? "]" : "", (unsigned)address->port);
    return true;
}

bool config_parse_name(const char *text, char name_[static CONFIG_NAME_BYTES], const char **why_)
{
    size_t length = strlen(text);
    *why_ = "expected a name of 1 to 63 letters, digits, '-', '_' and '.'";
    if (length == 0 || length >= CONFIG_NAME_BYTES || !made_of(text, "-_."))
        return false;
    memcpy(name_, text, length + 1);
    return true;
}
