/* SPDX-License-Identifier: MIT
 * The text of a line of the access log. Its first pairs are known when the answer is chosen, its last ones
 * when the client has it all, or is gone. Pure. */
#ifndef HOLDFAST_PROXY_ACCESS_LINE_H
#define HOLDFAST_PROXY_ACCESS_LINE_H

#include "common/clock.h"
#include "common/log_line.h"
#include "common/net.h"
#include "proxy/request.h"

/* A line is no longer, so that one write(2) to a pipe keeps it whole (PIPE_BUF). */
enum { ACCESS_LINE_BYTES = 4096, ACCESS_PAIRS_BYTES = ACCESS_LINE_BYTES - 512, ACCESS_TARGET_BYTES = 2048 };

/* How an answer ended for its client. */
enum access_end {
    ACCESS_WHOLE,         /* it got all of it */
    ACCESS_UPGRADED,      /* 101: the connection is a tunnel from now on */
    ACCESS_CLIENT_GONE,   /* it went away before it had all of it */
    ACCESS_CLIENT_SLOW,   /* it took its time, and was cut */
    ACCESS_BACKEND_BROKE, /* the backend broke off a response of which a part had gone to the client */
    ACCESS_STOPPED,       /* the program stopped */
    ACCESS_NO_MEMORY,     /* there was no memory to go on */
    ACCESS_ENDS
};

/* A request and its answer, as far as that is known before it is sent. */
struct access_entry {
    const union net_address *client;
    const struct request *request; /* NULL: none was read */
    unsigned status;               /* 0: nothing was answered */
    const char *backend;           /* whose answer it is; NULL: our own */
    uint32_t attempts;
    struct slice request_id; /* empty: it has none */
};

/* What can be told of it afterwards. */
struct access_result {
    uint64_t body_bytes; /* of the response's body, given to the kernel for the client */
    int64_t duration_ns;
    enum access_end end;
};

/* Begins PAIRS in TEXT and adds ENTRY's. They always fit. */
void access_line_begin(struct log_line *pairs, char text[static ACCESS_PAIRS_BYTES], bool json,
                       const struct access_entry *entry);

/* Writes a whole line to TEXT: STAMP, what PAIRS hold, and RESULT. */
struct slice access_line_write(char text[static ACCESS_LINE_BYTES], struct slice stamp,
                               const struct log_line *pairs, const struct access_result *result);

#endif
