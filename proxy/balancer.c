/* SPDX-License-Identifier: MIT
 * Loads are compared as fractions, in flight over weight, without a division: A/x < B/y is A*y < B*x. In
 * flight is bounded by the number of workers (2^12) and weights by 2^18, so the products are far from 2^64.
 *
 * The lots of the rendezvous are exponentially distributed with the weight as their rate: -ln(u)/weight, u
 * being uniform in (0, 1); the smallest wins. The smallest of several such lots is a backend's with a chance
 * that is exactly its share of the weights, and a lot depends on nothing but its own backend, its weight and
 * the key: so no other backend's coming or going changes the order of those that stay. */
#include "proxy/balancer.h"

#include "common/panic.h"
#include "common/random.h"

#include <math.h>
#include <string.h>

void balancer_init(struct balancer *b)
{
    memset(b, 0, sizeof *b);
    lock_init(&b->shared.lock);
}

/* Takes the lowest member out of SET, which is not empty. */
static uint32_t take_first(uint64_t *set)
{
    uint32_t first = (uint32_t)__builtin_ctzll(*set);
    *set &= *set - 1;
    return first;
}

int balancer_step(const int32_t weights[static CONFIG_BACKENDS_MAX],
                  int32_t current[static CONFIG_BACKENDS_MAX], uint64_t candidates)
{
    int best = -1;
    int32_t total = 0;
    while (candidates != 0) {
        uint32_t i = take_first(&candidates);
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

/* Compares what A and B have in flight for their weights: below 0, 0 or above, as A has less, as much or
 * more. */
static int compare_loads(const struct balancer_question *q, uint32_t a, uint32_t b)
{
    uint64_t of_a = q->in_flight[a] * (uint64_t)q->weights[b];
    uint64_t of_b = q->in_flight[b] * (uint64_t)q->weights[a];
    return (of_a > of_b) - (of_a < of_b);
}

uint64_t balancer_least(const struct balancer_question *q)
{
    uint64_t rest = q->candidates, least = 0;
    uint32_t best = 0;
    while (rest != 0) {
        uint32_t i = take_first(&rest);
        int order = least == 0 ? -1 : compare_loads(q, i, best);
        if (order < 0) {
            best = i;
            least = 0;
        }
        if (order <= 0) {
            least |= UINT64_C(1) << i;
        }
    }
    return least;
}

/* The member of SET, not empty, that RANDOM draws, by the weights of Q. */
static uint32_t draw(const struct balancer_question *q, uint64_t set, uint32_t random)
{
    uint64_t total = 0;
    for (uint64_t rest = set; rest != 0;) {
        total += (uint64_t)q->weights[take_first(&rest)];
    }
    uint64_t at = (random * total) >> 32; /* below the total, which is below 2^31 */
    for (;;) {
        uint32_t i = take_first(&set);
        if (at < (uint64_t)q->weights[i] || set == 0) {
            return i;
        }
        at -= (uint64_t)q->weights[i];
    }
}

int balancer_two_choices(const struct balancer_question *q, uint64_t random)
{
    if (q->candidates == 0) {
        return -1;
    }
    uint32_t first = draw(q, q->candidates, (uint32_t)(random >> 32));
    uint64_t others = q->candidates & ~(UINT64_C(1) << first);
    if (others == 0) {
        return (int)first;
    }
    uint32_t second = draw(q, others, (uint32_t)random);
    return (int)(compare_loads(q, second, first) < 0 ? second : first);
}

int balancer_rendezvous(const struct balancer_question *q)
{
    int best = -1;
    double best_lot = 0;
    for (uint64_t rest = q->candidates; rest != 0;) {
        uint32_t i = take_first(&rest);
        uint64_t mixed = balancer_mix(q->key ^ balancer_mix(q->ids[i]));
        double uniform = ((double)(mixed >> 11) + 0.5) * 0x1p-53; /* never 0, never 1 */
        double lot = -log(uniform) / q->weights[i];
        if (best == -1 || lot < best_lot) {
            best = (int)i;
            best_lot = lot;
        }
    }
    return best;
}

static uint64_t draw_number(void)
{
    uint64_t number;
    unsigned char bytes[sizeof number];
    random_bytes(bytes, sizeof bytes);
    memcpy(&number, bytes, sizeof number);
    return number;
}

static int take_turn(struct balancer *b, const struct balancer_question *q, uint64_t candidates)
{
    lock_take(&b->shared.lock);
    int picked = balancer_step(q->weights, b->shared.current, candidates);
    lock_free(&b->shared.lock);
    return picked;
}

int balancer_pick(struct balancer *b, const struct balancer_question *q)
{
    switch (q->balance) {
    case CONFIG_BALANCE_ROUND_ROBIN:
        return take_turn(b, q, q->candidates);
    case CONFIG_BALANCE_LEAST_IN_FLIGHT:
        return take_turn(b, q, balancer_least(q));
    case CONFIG_BALANCE_TWO_CHOICES:
        return balancer_two_choices(q, draw_number());
    case CONFIG_BALANCE_HASH:
        return balancer_rendezvous(q);
    }
    UNREACHABLE();
}

/* A multiply-and-shift mixer: both steps can be undone, so no two values become one. */
uint64_t balancer_mix(uint64_t value)
{
    value += UINT64_C(0x9e3779b97f4a7c15); /* 2^64 over the golden ratio: 0 is no fixed point */
    value = (value ^ (value >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    value = (value ^ (value >> 32)) * UINT64_C(0xd6e8feb86659fd93);
    return value ^ (value >> 32);
}

uint64_t balancer_hash(const void *at, size_t length)
{
    const unsigned char *bytes = at;
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a, 64 bits */
    for (size_t i = 0; i < length; i++) {
        hash = (hash ^ bytes[i]) * UINT64_C(0x100000001b3);
    }
    return balancer_mix(hash);
}
