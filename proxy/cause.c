/* SPDX-License-Identifier: MIT */
#include "proxy/cause.h"

#include "common/http_framing.h"
#include "common/panic.h"
#include "proxy/dial.h"

#include <errno.h>

static enum evidence_cause cause_of_status(unsigned status)
{
    return status < 300 ? CAUSE_2XX : status < 400 ? CAUSE_3XX : status < 500 ? CAUSE_4XX : CAUSE_5XX;
}

static enum evidence_cause cause_of_connect(int error)
{
    return error == ECONNREFUSED      ? CAUSE_REFUSED
           : error == ETIMEDOUT       ? CAUSE_CONNECT_TIMEOUT
           : error == DIAL_NO_ADDRESS ? CAUSE_DNS
                                      : CAUSE_UNREACHABLE;
}

enum evidence_cause cause_of(const struct attempt_outcome *outcome, const struct cause_detail *detail)
{
    switch (outcome->end) {
    case ATTEMPT_ANSWERED:
        return cause_of_status(outcome->status);
    case ATTEMPT_CONNECT:
        return cause_of_connect(detail->connect_error);
    case ATTEMPT_TIMEOUT:
        return CAUSE_RESPONSE_TIMEOUT;
    case ATTEMPT_RESET:
        return !detail->empty ? CAUSE_TRUNCATED : detail->reset ? CAUSE_RESET_FRESH : CAUSE_CLOSED_EARLY;
    case ATTEMPT_PROTOCOL:
        return CAUSE_MALFORMED;
    case ATTEMPT_CANCELLED:
        break;
    }
    UNREACHABLE();
}

struct slice cause_path(struct slice target)
{
    struct slice authority, path;
    if (!http_target_split(target, &authority, &path)) {
        path = target;
    }
    const char *query = path.length == 0 ? NULL : memchr(path.at, '?', path.length);
    return query == NULL ? path : (struct slice){.at = path.at, .length = (size_t)(query - path.at)};
}
