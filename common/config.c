/* SPDX-License-Identifier: MIT
 * The parts of the configuration that know neither the table's rows nor JSON: the file, the whole's check,
 * backends of the command line. The other parts: config_key.c has the table of keys, config_parse.c reads
 * addresses and the like, config_json.c reads the text (the only one that knows jansson), config_locate.c
 * finds the place of an error. */
#include "common/config.h"

#include "common/config_key.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Far more than 64 backends need; so a wrong file name (a device, a log) can't fill the memory. */
enum { FILE_BYTES_MAX = 1 << 20 };

void config_error_set(struct config_error *error_, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsnprintf(error_->text, sizeof(error_->text), format, values);
    va_end(values);
    for (char *c = error_->text; *c != '\0'; c++) {
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    }
}

/* Reads what FD holds into TEXT, up to SIZE bytes. Returns how many, or -1 with errno set. */
static ssize_t read_whole(int fd, char *text, size_t size)
{
    size_t length = 0;
    while (length < size) {
        ssize_t n = read(fd, text + length, size - length);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        length += (size_t)n;
    }
    return (ssize_t)length;
}

bool config_read_file(struct config *c, const char *path, struct config_error *error_)
{
    bool read_well = false;
    char *text = malloc(FILE_BYTES_MAX + 1);
    int fd = text == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read_whole(fd, text, FILE_BYTES_MAX + 1);
    if (length < 0)
        config_error_set(error_, "%s: can't be read (%m), expected a JSON file", path);
    else if (length > FILE_BYTES_MAX)
        config_error_set(error_, "%s: too long, expected at most %d bytes", path, FILE_BYTES_MAX);
    else
        read_well = config_read_text(c, text, (size_t)length, path, error_);
    if (fd >= 0)
        close(fd);
    free(text);
    return read_well;
}

/* Whether only this machine can reach A. A name other than localhost may resolve to anything: it is not. */
static bool is_loopback(const struct config_address *a)
{
    struct in_addr v4;
    struct in6_addr v6;
    if (strcasecmp(a->host, "localhost") == 0)
        return true;
    if (inet_pton(AF_INET, a->host, &v4) == 1)
        return ntohl(v4.s_addr) >> 24 == IN_LOOPBACKNET;
    if (inet_pton(AF_INET6, a->host, &v6) == 1)
        return IN6_IS_ADDR_LOOPBACK(&v6) || (IN6_IS_ADDR_V4MAPPED(&v6) && v6.s6_addr[12] == IN_LOOPBACKNET);
    return false;
}

bool config_check(const struct config *c, const char *place, struct config_error *error_)
{
    const struct config_address *admin = &c->admin.listen;
    if (c->backend_count == 0) {
        config_error_set(error_,
                         "%s: no backend, expected at least one: --backend URL or the key \"backends\"",
                         place);
        return false;
    }
    if (c->admin.enabled && c->admin.token_file[0] == '\0' && !is_loopback(admin)) {
        bool v6 = strchr(admin->host, ':') != NULL;
        config_error_set(error_,
                         "%s: the admin address %s%s%s:%u is open to others without a token, expected "
                         "--admin 127.0.0.1:%u or the key \"admin.token_file\"",
                         place, v6 ? "[" : "", admin->host, v6 ? "]" : "", (unsigned)admin->port,
                         (unsigned)admin->port);
        return false;
    }
    return true;
}

bool config_add_backend(struct config *c, const char *text, const char **why_)
{
    struct config_backend b;
    config_backend_defaults(&b);
    *why_ = "expected at most 64 backends";
    if (c->backend_count == CONFIG_BACKENDS_MAX)
        return false;
    size_t name_length = strcspn(text, "=:/?#@[");
    if (text[name_length] == '=') {
        char name[CONFIG_NAME_BYTES + 1]; /* one more than fits, so that a name too long is seen as such */
        snprintf(name, sizeof(name), "%.*s",
                 (int)(name_length > CONFIG_NAME_BYTES ? CONFIG_NAME_BYTES : name_length), text);
        if (!config_parse_name(name, b.name, why_))
            return false;
        text += name_length + 1;
    }
    if (!config_parse_backend_url(text, &b, why_))
        return false;
    *why_ = "expected a name that no other backend has";
    return config_append_backend(c, &b);
}
