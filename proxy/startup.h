/* SPDX-License-Identifier: MIT
 * What a start takes from the system before there are threads: ports, files, the user. Each failure is one
 * line that names the option or the key, and the mend where there is one. */
#ifndef HOLDFAST_PROXY_STARTUP_H
#define HOLDFAST_PROXY_STARTUP_H

#include "common/compiler.h"
#include "proxy/proxy.h"

enum { STARTUP_TOKEN_BYTES = 1024 };

/* Writes *ERROR_ as printf does. */
void startup_fail(struct proxy_error *error_, const char *format, ...) printf_like(2, 3);

/* Every connection needs a descriptor, and so may its backend connection: takes as many as the system allows.
 */
void startup_raise_descriptors(void);

/* Binds ADDRESS, which OPTION names, and listens. Returns the descriptor, or -1 with *ERROR_. */
int startup_listen(const struct config_address *address, const char *option, struct proxy_error *error_);

/* Reads the first line of the file at PATH, the admin endpoint's token, to TOKEN_. False with *ERROR_, also
 * when it is empty, too long, has bytes that are not visible ASCII, or spaces around it. */
must_check bool startup_read_token(const char *path, char token_[static STARTUP_TOKEN_BYTES],
                                   struct proxy_error *error_);

/* Gives up root for the user called NAME; for "" does nothing. What only root may read has been read, and the
 * ports are bound. False with *ERROR_. */
must_check bool startup_become(const char *name, struct proxy_error *error_);

/* Opens what CONFIG's access log is to be written to, as access_log_open() does. Also for a reload. False
 * with *ERROR_. */
must_check bool startup_open_log(struct access_log *log, const struct config *config, int *fd_,
                                 struct proxy_error *error_);

#endif
