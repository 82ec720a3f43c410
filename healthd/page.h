/* SPDX-License-Identifier: MIT
 * The dashboard page, healthd/page.html, as it is built into the program. It is the same for everybody and
 * holds no data: its script asks the admin endpoint for the stats, and its reader for the token. */
#ifndef HOLDFAST_HEALTHD_PAGE_H
#define HOLDFAST_HEALTHD_PAGE_H

#include <stddef.h>

#define PAGE_CONTENT_TYPE "text/html; charset=utf-8"

/* The file, byte by byte; no NUL behind it. */
extern const unsigned char page_html[];
extern const size_t page_html_bytes;

/* The fields that must go with it, each with its CRLF. The Content-Security-Policy (CSP Level 3) lets the
 * page use its own style and script, known by their hashes, and its own origin, and nothing else. */
extern const char page_fields[];

#endif
