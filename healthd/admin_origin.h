/* SPDX-License-Identifier: MIT
 * Whether an admin request comes from where one without a token may come from. Pure.
 *
 * An admin endpoint on loopback without a token trusts the machine. A browser on that machine carries out
 * what any web page says: a page may let it send a POST anywhere, and names its own site in Origin then (RFC
 * 6454, 7); or it may have its own name resolved to 127.0.0.1, and then the browser sends that name as Host.
 */
#ifndef HOLDFAST_HEALTHD_ADMIN_ORIGIN_H
#define HOLDFAST_HEALTHD_ADMIN_ORIGIN_H

#include "common/slice.h"

#include <stdbool.h>

/* Whether HOST, a Host field's value, is "localhost" or an address of loopback, or the host LISTEN that the
 * admin endpoint was told to listen on; with any port, for it may be forwarded. Empty (none was sent) is:
 * every browser sends it. */
bool admin_host_is_near(struct slice host, const char *listen);

/* Whether ORIGIN is that of the endpoint itself under the name HOST, or empty: none was sent. */
bool admin_origin_is_own(struct slice origin, struct slice host);

#endif
