/* SPDX-License-Identifier: MIT
 * The word of a slot in the parking place: generation, serial and state (parking.h tells what these mean),
 * and how one follows the other. Pure.
 *
 * Why it has a generation: epoll_wait may hand worker A an event for a connection that worker B closes before
 * A looks at it, and the slot may have a new tenant by then. The event carries the generation that it was
 * registered with; a compare-and-swap on the word then fails, and A lets go. The serial counts parkings, so
 * that the sweep, which reads a deadline between two looks at the word, can't take a connection that was
 * served and parked again in between. */
#ifndef HOLDFAST_PROXY_SLOT_WORD_H
#define HOLDFAST_PROXY_SLOT_WORD_H

#include "proxy/parking.h"

#include <stdbool.h>
#include <stdint.h>

enum slot_state {
    SLOT_FREE,
    SLOT_IDLE,
    SLOT_READING,
    SLOT_WRITING,
    SLOT_LINGERING,
    SLOT_AWAITING,
    SLOT_AWAITING_MORE, /* the client has sent more, or ended its side */
    SLOT_BUSY,
    SLOT_AGAIN,
    SLOT_GONE
};

/* Generation (32 bits), serial (28), state (4). */
#define SLOT_STATE_MASK      UINT64_C(0xf)
#define SLOT_SERIAL_ONE      UINT64_C(0x10)
#define SLOT_SERIAL_MASK     UINT64_C(0xfffffff0)
#define SLOT_GENERATION_ONE  (UINT64_C(1) << 32)
#define SLOT_GENERATION_MASK UINT64_C(0xffffffff00000000)

/* Whether it waits for an event. */
static inline bool slot_is_parked(enum slot_state state)
{
    return state >= SLOT_IDLE && state <= SLOT_AWAITING_MORE;
}

/* Whether it waits for a backend. */
static inline bool slot_is_awaiting(enum slot_state state)
{
    return state == SLOT_AWAITING || state == SLOT_AWAITING_MORE;
}

/* The state in which a connection is parked in PHASE. */
static inline enum slot_state slot_state_of(enum parking_phase phase)
{
    return (enum slot_state)((int)phase - (int)PARKING_IDLE + (int)SLOT_IDLE);
}

/* The phase of a parked connection in STATE. */
static inline enum parking_phase slot_phase_of(enum slot_state state)
{
    if (state == SLOT_AWAITING_MORE) {
        return PARKING_AWAITING;
    }
    return (enum parking_phase)((int)state - (int)SLOT_IDLE + (int)PARKING_IDLE);
}

/* The state in WORD. */
static inline enum slot_state slot_word_state(uint64_t word)
{
    return (enum slot_state)(word & SLOT_STATE_MASK);
}

/* The generation in WORD, where events carry it. */
static inline uint64_t slot_word_generation(uint64_t word)
{
    return word & SLOT_GENERATION_MASK;
}

/* WORD with another state. */
static inline uint64_t slot_word_with(uint64_t word, enum slot_state state)
{
    return (word & ~SLOT_STATE_MASK) | (uint64_t)state;
}

/* What WORD becomes when its connection is parked: the next serial. */
static inline uint64_t slot_word_parked(uint64_t word, enum slot_state state)
{
    return slot_word_generation(word) | ((word + SLOT_SERIAL_ONE) & SLOT_SERIAL_MASK) | (uint64_t)state;
}

/* What WORD becomes when its connection is gone: the next generation. */
static inline uint64_t slot_word_freed(uint64_t word)
{
    return slot_word_generation(word) + SLOT_GENERATION_ONE;
}

/* What becomes of a slot in STATE by an event, of its backend's connection or of its own, which says that the
 * client has GONE or not. The same state: nothing. */
static inline enum slot_state slot_state_after(enum slot_state state, bool of_backend, bool gone)
{
    if (slot_is_awaiting(state) && !of_backend && !gone) {
        return SLOT_AWAITING_MORE;
    }
    if (slot_is_parked(state)) {
        return of_backend && !slot_is_awaiting(state) ? state : SLOT_BUSY;
    }
    if (state == SLOT_FREE || state == SLOT_GONE) {
        return state;
    }
    return gone ? SLOT_GONE : SLOT_AGAIN;
}

#endif
