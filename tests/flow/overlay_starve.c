/* SPDX-License-Identifier: MIT
 * For LD_PRELOAD: while there is a file of the name that FLOW_STARVE gives, no descriptor is left for a new
 * connection. Descriptors that accept(2) and others make are not touched. */
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

typedef int make_socket(int, int, int);

__attribute__((visibility("default"))) int socket(int domain, int type, int protocol)
{
    make_socket *real = NULL;
    void *symbol = dlsym(RTLD_NEXT, "socket");
    memcpy(&real, &symbol, sizeof real);
    const char *mark = getenv("FLOW_STARVE");
    if (mark != NULL && access(mark, F_OK) == 0) {
        errno = EMFILE;
        return -1;
    }
    return real(domain, type, protocol);
}
