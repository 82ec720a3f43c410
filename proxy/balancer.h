/* SPDX-License-Identifier: MIT
 * Which backend next: smooth weighted round robin. With weights 5, 1, 1 the order is a a b a c a a, not five
 * in a row; a backend that is left out for a while neither saves up turns nor loses its place. */
#ifndef HOLDFAST_PROXY_BALANCER_H
#define HOLDFAST_PROXY_BALANCER_H

#include "common/config.h"
#include "common/lock.h"

#include <stdint.h>

struct balancer {
    uint32_t count;
    int32_t weights[CONFIG_BACKENDS_MAX];
    struct {
        struct lock lock; /* must be held for what follows */
        int32_t current[CONFIG_BACKENDS_MAX];
    } shared;
};

/* Makes B ready for COUNT backends with WEIGHTS of 1 or more. */
void balancer_init(struct balancer *b, uint32_t count, const uint32_t weights[]);

/* Picks one of CANDIDATES (bit I for backend I), or -1 when the set is empty. Any thread, no lock held. */
int balancer_pick(struct balancer *b, uint64_t candidates);

/* The step itself, pure: adds each candidate's weight to its CURRENT, takes the largest (the first of equals)
 * and subtracts the candidates' total from it. -1 when CANDIDATES is empty. */
int balancer_step(uint32_t count, const int32_t weights[], int32_t current[], uint64_t candidates);

#endif
