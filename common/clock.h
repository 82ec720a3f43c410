/* SPDX-License-Identifier: MIT
 * Time in one type: nanoseconds of CLOCK_MONOTONIC. A deadline is a point in time, never a duration, so that
 * nobody subtracts at a call site. */
#ifndef HOLDFAST_COMMON_CLOCK_H
#define HOLDFAST_COMMON_CLOCK_H

#include <stddef.h>
#include <stdint.h>
#include <time.h>

typedef int64_t mono_ns; /* a point in time */

#define NS_PER_MS   INT64_C(1000000)
#define NS_PER_S    INT64_C(1000000000)
#define DEADLINE_NO INT64_MAX /* never */

/* What CLOCK shows. */
static inline mono_ns clock_read(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

/* Now. Any thread; no system call (vDSO). */
static inline mono_ns clock_mono(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

/* Now, as of the kernel's last tick, which is up to 10 ms ago (clock_gettime(2), CLOCK_MONOTONIC_COARSE): for
 * deadlines of seconds. It does not read the hardware, which takes most of the time of clock_mono(). */
static inline mono_ns clock_mono_coarse(void)
{
    return clock_read(CLOCK_MONOTONIC_COARSE);
}

/* The point MS milliseconds after NOW; MS is at least 0 and below 2^43. */
static inline mono_ns deadline_after_ms(mono_ns now, int64_t ms)
{
    return now + ms * NS_PER_MS;
}

/* The earlier of two points. */
static inline mono_ns deadline_earlier(mono_ns a, mono_ns b)
{
    return a < b ? a : b;
}

/* Milliseconds from NOW to DEADLINE, rounded up, for poll(2): 0 when it has passed, -1 for DEADLINE_NO,
 * INT32_MAX at most. */
static inline int deadline_poll_ms(mono_ns deadline, mono_ns now)
{
    if (deadline == DEADLINE_NO) {
        return -1;
    }
    if (deadline <= now) {
        return 0;
    }
    int64_t ms = (deadline - now + NS_PER_MS - 1) / NS_PER_MS;
    return ms > INT32_MAX ? INT32_MAX : (int)ms;
}

/* Bytes that clock_http_date() and clock_iso8601() need, the final NUL included. */
enum { CLOCK_HTTP_DATE_BYTES = 30, CLOCK_ISO8601_BYTES = 25 };

/* Writes WHEN as an IMF-fixdate (RFC 9110, 5.6.7): "Sun, 06 Nov 1994 08:49:37 GMT". Any thread. */
void clock_http_date(time_t when, char text[static CLOCK_HTTP_DATE_BYTES]);

/* Writes the wall clock WHEN in UTC with milliseconds (RFC 3339): "1994-11-06T08:49:37.123Z". Any thread. */
void clock_iso8601(struct timespec when, char text[static CLOCK_ISO8601_BYTES]);

#endif
