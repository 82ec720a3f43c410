/* SPDX-License-Identifier: MIT */
#include "proxy/budget.h"

#include <string.h>

void budget_init(struct budget *b)
{
    memset(b, 0, sizeof *b);
    lock_init(&b->shared.lock);
}

void budget_count_request(struct budget *b, mono_ns now)
{
    lock_take(&b->shared.lock);
    (void)window_add(&b->shared.requests, now, BUDGET_WINDOW_MS);
    lock_free(&b->shared.lock);
}

bool budget_take_retry(struct budget *b, mono_ns now, uint32_t percent)
{
    lock_take(&b->shared.lock);
    uint64_t allowed = window_sum(&b->shared.requests, now, BUDGET_WINDOW_MS) * percent / 100;
    allowed = allowed > BUDGET_FLOOR ? allowed : BUDGET_FLOOR;
    bool taken = window_sum(&b->shared.retries, now, BUDGET_WINDOW_MS) < allowed;
    if (taken) {
        (void)window_add(&b->shared.retries, now, BUDGET_WINDOW_MS);
    }
    lock_free(&b->shared.lock);
    return taken;
}
