/* SPDX-License-Identifier: MIT */
#include "proxy/startup.h"

#include "common/net.h"
#include "common/user.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

enum { BACKLOG = 4096 };

void startup_fail(struct proxy_error *error_, const char *format, ...)
{
    va_list values;
    va_start(values, format);
    vsnprintf(error_->text, sizeof error_->text, format, values);
    va_end(values);
}

void startup_raise_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int startup_listen(const struct config_address *address, const char *option, struct proxy_error *error_)
{
    const char *why = "";
    int fd = net_listen(address, BACKLOG, &why);
    if (fd != -1) {
        return fd;
    }
    bool privileged = errno == EACCES && address->port < 1024;
    bool v6 = strchr(address->host, ':') != NULL;
    startup_fail(error_, "%s %s%s%s:%u: %s: %s%s", option, v6 ? "[" : "", address->host, v6 ? "]" : "",
                 address->port, why, strerror(errno),
                 privileged ? "; ports below 1024 need root or CAP_NET_BIND_SERVICE: try --listen :8080"
                            : "");
    return -1;
}

bool startup_read_token(const char *path, char token_[static STARTUP_TOKEN_BYTES], struct proxy_error *error_)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = fd == -1 ? -1 : read(fd, token_, STARTUP_TOKEN_BYTES - 1);
    int kept = errno;
    if (fd != -1) {
        close(fd);
    }
    if (got == -1) {
        startup_fail(error_, "admin.token_file %s: %s", path, strerror(kept));
        return false;
    }
    token_[got] = '\0';
    size_t length = 0;
    while (token_[length] >= ' ' && token_[length] < 0x7f) {
        length++;
    }
    /* Anything else can't be sent, or would leave a token that is shorter than its owner thinks. Spaces
     * around the value of a field are not part of it (RFC 9110, 5.5). */
    bool ends = length < (size_t)got ? token_[length] == '\n' || token_[length] == '\r'
                                     : got < STARTUP_TOKEN_BYTES - 1;
    bool empty = got == 0 || token_[0] == '\n' || token_[0] == '\r';
    if (length == 0 || !ends || token_[0] == ' ' || token_[length - 1] == ' ') {
        startup_fail(error_,
                     "admin.token_file %s: the first line is %s, expected the token: 1 to %d visible ASCII "
                     "characters, without spaces around it",
                     path, empty ? "empty" : "no token", STARTUP_TOKEN_BYTES - 2);
        return false;
    }
    token_[length] = '\0';
    return true;
}

bool startup_become(const char *name, struct proxy_error *error_)
{
    struct user user;
    if (name[0] == '\0') {
        return true;
    }
    if (!user_find(name, &user)) {
        startup_fail(error_, "user: there is no user %s any more", name);
        return false;
    }
    const char *failed = user_become(&user);
    if (failed != NULL) {
        startup_fail(error_,
                     "user: can't become %s: %s: %s; start as root or as that user, or leave the key out",
                     name, failed, strerror(errno));
    }
    return failed == NULL;
}

bool startup_open_log(struct access_log *log, const struct config *config, int *fd_,
                      struct proxy_error *error_)
{
    bool opened = access_log_open(log, config->access_log, fd_);
    if (!opened) {
        startup_fail(error_, "access_log %s: %s%s", config->access_log, strerror(errno),
                     errno == ENOENT  ? "; its folder must be there"
                     : errno == ENXIO ? "; a FIFO needs somebody who reads it"
                                      : "");
    }
    return opened;
}
