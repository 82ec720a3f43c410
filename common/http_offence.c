/* SPDX-License-Identifier: MIT */
#include "common/http_offence.h"

/* Parameters can't be named after the members they fill: the preprocessor would replace both. */
#define HTTP_OFFENCE_DEFINE(id, code, text)                                                                  \
    const struct http_offence http_offence_##id = {.status = (code), .name = #id, .reason = (text)};
HTTP_OFFENCES(HTTP_OFFENCE_DEFINE)
