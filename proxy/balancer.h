/* SPDX-License-Identifier: MIT
 * Which backend next. Four ways, each a pure function of what it is given; all that is kept from one choice
 * to the next are the turns of the round robin.
 *
 *   round-robin      smooth weighted round robin: with weights 5, 1, 1 the order is a a b a c a a, not five
 * in a row; a backend that is left out for a while neither saves up turns nor loses its place least-in-flight
 * the one with the least in flight for its weight; of equal ones, by round robin two-choices      two are
 * drawn at random, by weight; of these the one with less in flight for its weight hash             weighted
 * rendezvous: every backend draws a lot for the key, the best lot wins. When a backend leaves, only its own
 * keys move, and they spread over all others by weight
 *
 * Weights may change from one choice to the next (a backend that warms up, a new configuration): they are
 * part of the question, not of the balancer. */
#ifndef HOLDFAST_PROXY_BALANCER_H
#define HOLDFAST_PROXY_BALANCER_H

#include "common/config.h"
#include "common/lock.h"

#include <stdint.h>

enum { BALANCER_WEIGHT_MAX = 256 * 1024 }; /* so that the sum of CONFIG_BACKENDS_MAX weights fits 31 bits */

/* One question. Arrays are by backend; only the entries of candidates are looked at. */
struct balancer_question {
    enum config_balance balance;
    uint64_t candidates;                     /* bit I for backend I */
    int32_t weights[CONFIG_BACKENDS_MAX];    /* 1 to BALANCER_WEIGHT_MAX */
    uint64_t in_flight[CONFIG_BACKENDS_MAX]; /* for least-in-flight and two-choices */
    uint64_t ids[CONFIG_BACKENDS_MAX];       /* for hash: what stands for a backend, whatever its index */
    uint64_t key;                            /* for hash: what stands for the client */
};

struct balancer {
    struct {
        cache_aligned struct lock lock; /* must be held for what follows */
        int32_t current[CONFIG_BACKENDS_MAX];
    } shared;
};

/* Makes B ready: nobody has had a turn. */
void balancer_init(struct balancer *b);

/* Answers Q: one of its candidates, or -1 when there is none. Any thread, no lock held. */
int balancer_pick(struct balancer *b, const struct balancer_question *q);

/* The step of the round robin: adds each candidate's weight to its CURRENT, takes the largest (the first of
 * equals) and subtracts the candidates' total from it. The sum of all CURRENT stays what it was. -1 when
 * CANDIDATES is empty. Pure, as are the next ones. */
int balancer_step(const int32_t weights[static CONFIG_BACKENDS_MAX],
                  int32_t current[static CONFIG_BACKENDS_MAX], uint64_t candidates);

/* The set of Q's candidates that have the least in flight for their weight; empty when there are none. */
uint64_t balancer_least(const struct balancer_question *q);

/* Of two different candidates of Q, drawn by their weights with the random number RANDOM, the one that has
 * less in flight for its weight; of equal ones the first drawn. -1 when there are none. */
int balancer_two_choices(const struct balancer_question *q, uint64_t random);

/* The candidate of Q with the best lot for Q's key; -1 when there are none. */
int balancer_rendezvous(const struct balancer_question *q);

/* Stirs VALUE: every bit of it changes half of the bits of the result. */
uint64_t balancer_mix(uint64_t value);

/* Something that stands for LENGTH bytes at AT: the same for the same bytes, on every machine. Not meant to
 * withstand somebody who looks for two texts with the same result. */
uint64_t balancer_hash(const void *at, size_t length);

#endif
