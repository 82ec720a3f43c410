/* SPDX-License-Identifier: MIT */
#include "proxy/verdict.h"

#include "common/panic.h"

bool verdict_is_failure(enum config_failure policy, unsigned status)
{
    switch (policy) {
    case CONFIG_FAILURE_NON_200:
        return status != 200;
    case CONFIG_FAILURE_NON_2XX:
        return status < 200 || status > 299;
    case CONFIG_FAILURE_5XX:
        return status >= 500;
    }
    UNREACHABLE();
}

bool verdict_is_requests_fault(const struct verdict_opinions *o)
{
    if (o->good) {
        return false;
    }
    return o->given_up || (o->answers >= 2 ? !o->disagree : o->all_asked);
}

int verdict_rank(unsigned status)
{
    if (status < 400) {
        return 3;
    }
    return status < 500 ? 2 : 1;
}

bool verdict_may_replay(enum config_methods methods, struct slice method)
{
    static const struct slice idempotent[] = {
        {"GET", 3}, {"HEAD", 4}, {"OPTIONS", 7}, {"TRACE", 5}, {"PUT", 3}, {"DELETE", 6},
    };
    if (methods == CONFIG_METHODS_ALL) {
        return true;
    }
    for (size_t i = 0; i < sizeof idempotent / sizeof idempotent[0]; i++) {
        if (slice_equal(method, idempotent[i])) {
            return true;
        }
    }
    return false;
}
