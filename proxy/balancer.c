/* SPDX-License-Identifier: MIT */
#include "proxy/balancer.h"

void balancer_init(struct balancer *b, uint32_t count, const uint32_t weights[])
{
    *b = (struct balancer){.count = count};
    lock_init(&b->shared.lock);
    for (uint32_t i = 0; i < count; i++) {
        b->weights[i] = (int32_t)weights[i];
    }
}

int balancer_step(uint32_t count, const int32_t weights[], int32_t current[], uint64_t candidates)
{
    int best = -1;
    int32_t total = 0;
    for (uint32_t i = 0; i < count; i++) {
        if ((candidates >> i & 1) == 0) {
            continue;
        }
        current[i] += weights[i];
        total += weights[i];
        if (best == -1 || current[i] > current[best]) {
            best = (int)i;
        }
    }
    if (best != -1) {
        current[best] -= total;
    }
    return best;
}

int balancer_pick(struct balancer *b, uint64_t candidates)
{
    lock_take(&b->shared.lock);
    int picked = balancer_step(b->count, b->weights, b->shared.current, candidates);
    lock_free(&b->shared.lock);
    return picked;
}
