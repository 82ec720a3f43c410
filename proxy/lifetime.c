/* SPDX-License-Identifier: MIT */
#include "proxy/lifetime.h"

uint32_t lifetime_mean_ms(uint32_t connections)
{
    uint64_t wanted_ms = UINT64_C(1000) * connections / LIFETIME_CLOSES_PER_S;
    if (wanted_ms < LIFETIME_MS) {
        return LIFETIME_MS;
    }
    return wanted_ms < UINT32_MAX ? (uint32_t)wanted_ms : UINT32_MAX;
}

uint32_t lifetime_ms(uint32_t mean_ms, uint32_t nth)
{
    /* Multiples of 2^32 over the golden ratio, modulo 2^32: each lies in one of the widest gaps that the ones
     * before it have left. */
    uint32_t share = nth * UINT32_C(0x9e3779b9);
    uint64_t life_ms = mean_ms / 2 + ((uint64_t)mean_ms * share >> 32);
    return life_ms < UINT32_MAX ? (uint32_t)life_ms : UINT32_MAX;
}
