/* SPDX-License-Identifier: MIT
 * Dates as text. strftime is not used: its day and month names follow the locale, those of HTTP do not. */
#include "common/clock.h"

#include <stdio.h>

void clock_http_date(time_t when, char text[static CLOCK_HTTP_DATE_BYTES])
{
    static const char days[7][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[12][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                       "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    struct tm t;
    gmtime_r(&when, &t);
    snprintf(text, CLOCK_HTTP_DATE_BYTES, "%s, %02u %s %04u %02u:%02u:%02u GMT", days[t.tm_wday % 7],
             (unsigned)t.tm_mday % 32, months[t.tm_mon % 12], (unsigned)(t.tm_year + 1900) % 10000,
             (unsigned)t.tm_hour % 24, (unsigned)t.tm_min % 60, (unsigned)t.tm_sec % 61);
}

void clock_iso8601(struct timespec when, char text[static CLOCK_ISO8601_BYTES])
{
    struct tm t;
    gmtime_r(&when.tv_sec, &t);
    snprintf(text, CLOCK_ISO8601_BYTES, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
             (unsigned)(t.tm_year + 1900) % 10000, (unsigned)(t.tm_mon + 1) % 13, (unsigned)t.tm_mday % 32,
             (unsigned)t.tm_hour % 24, (unsigned)t.tm_min % 60, (unsigned)t.tm_sec % 61,
             (unsigned)(when.tv_nsec / NS_PER_MS) % 1000);
}
