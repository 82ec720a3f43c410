/* SPDX-License-Identifier: MIT
 * For LD_PRELOAD: a name that ends in ".test" is looked up in the file that FLOW_NAMES names, one "NAME
 * ADDRESS..." in each line, read anew each time. A name that is not there does not resolve. All others go to
 * the real resolver. */
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int resolve(const char *, const char *, const struct addrinfo *, struct addrinfo **);

/* Puts what REAL makes of the addresses in WORDS, the rest of a line, one behind the other. */
static int resolve_all(resolve *real, char *words, const char *service, const struct addrinfo *hints,
                       struct addrinfo **found_)
{
    struct addrinfo **end = found_;
    char *rest = NULL;
    *found_ = NULL;
    for (char *word = strtok_r(words, " \n", &rest); word != NULL; word = strtok_r(NULL, " \n", &rest)) {
        if (real(word, service, hints, end) != 0) {
            return EAI_NONAME;
        }
        while (*end != NULL) {
            end = &(*end)->ai_next;
        }
    }
    return *found_ == NULL ? EAI_NONAME : 0;
}

__attribute__((visibility("default"))) int getaddrinfo(const char *restrict name,
                                                       const char *restrict service,
                                                       const struct addrinfo *restrict hints,
                                                       struct addrinfo **restrict found_)
{
    resolve *real = NULL;
    void *symbol = dlsym(RTLD_NEXT, "getaddrinfo");
    memcpy(&real, &symbol, sizeof real);
    size_t length = name == NULL ? 0 : strlen(name);
    if (length < 5 || strcmp(name + length - 5, ".test") != 0 ||
        (hints != NULL && (hints->ai_flags & AI_NUMERICHOST) != 0)) {
        return real(name, service, hints, found_);
    }
    int result = EAI_NONAME;
    char line[4096];
    FILE *file = fopen(getenv("FLOW_NAMES"), "re");
    while (file != NULL && result == EAI_NONAME && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, length) == 0 && line[length] == ' ') {
            result = resolve_all(real, line + length, service, hints, found_);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return result;
}
