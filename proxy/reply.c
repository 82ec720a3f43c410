/* SPDX-License-Identifier: MIT */
#include "proxy/reply.h"

#include "common/panic.h"

struct slice reply_phrase(int status)
{
    switch (status) {
    case 400:
        return SLICE("Bad Request");
    case 405:
        return SLICE("Method Not Allowed");
    case 408:
        return SLICE("Request Timeout");
    case 413:
        return SLICE("Content Too Large");
    case 414:
        return SLICE("URI Too Long");
    case 417:
        return SLICE("Expectation Failed");
    case 429:
        return SLICE("Too Many Requests");
    case 431:
        return SLICE("Request Header Fields Too Large");
    case 501:
        return SLICE("Not Implemented");
    case 502:
        return SLICE("Bad Gateway");
    case 503:
        return SLICE("Service Unavailable");
    case 504:
        return SLICE("Gateway Timeout");
    case 505:
        return SLICE("HTTP Version Not Supported");
    default:
        return SLICE("Error");
    }
}

static const struct slice allow = {"Allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n", 53};

static void put_persistence(struct writer *w, bool keep_alive, unsigned client_minor)
{
    if (!keep_alive) {
        writer_put(w, SLICE("Connection: close\r\n"));
    } else if (client_minor == 0) {
        writer_put(w, SLICE("Connection: keep-alive\r\n"));
    }
}

void reply_write_options(struct writer *w, bool keep_alive, unsigned client_minor, struct slice date)
{
    writer_put(w, SLICE("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"));
    writer_put(w, allow);
    writer_put_field(w, SLICE("Date"), date);
    put_persistence(w, keep_alive, client_minor);
    writer_put(w, SLICE("\r\n"));
}

enum { BODY_BYTES_MAX = 512 };

static void put_body(struct writer *body, const struct http_offence *offence)
{
    writer_put(body, SLICE("{\"status\": "));
    writer_put_number(body, (uint64_t)offence->status);
    writer_put(body, SLICE(", \"error\": \""));
    writer_put(body, slice_of(offence->name));
    writer_put(body, SLICE("\", \"reason\": \""));
    writer_put(body, slice_of(offence->reason));
    writer_put(body, SLICE("\"}\n"));
    MUST(writer_ok(body)); /* names and reasons are constants of the program */
}

size_t reply_body_bytes(const struct http_offence *offence)
{
    char text[BODY_BYTES_MAX];
    struct writer body = {.at = text, .capacity = sizeof text};
    put_body(&body, offence);
    return body.length;
}

void reply_write(struct writer *w, const struct reply *reply)
{
    char body_text[BODY_BYTES_MAX];
    struct writer body = {.at = body_text, .capacity = sizeof body_text};
    put_body(&body, reply->offence);

    writer_put(w, SLICE("HTTP/1.1 "));
    writer_put_number(w, (uint64_t)reply->offence->status);
    writer_put(w, SLICE(" "));
    writer_put(w, reply_phrase(reply->offence->status));
    writer_put(w, SLICE("\r\nContent-Type: application/json\r\nContent-Length: "));
    writer_put_number(w, body.length);
    writer_put(w, SLICE("\r\n"));
    writer_put_field(w, SLICE("Date"), reply->date);
    if (reply->offence->status == 503) {
        writer_put(w, SLICE("Retry-After: 1\r\n"));
    } else if (reply->offence->status == 405) {
        writer_put(w, allow);
    }
    put_persistence(w, reply->keep_alive, reply->client_minor);
    writer_put(w, SLICE("\r\n"));
    if (!reply->without_body) {
        writer_put(w, (struct slice){body.at, body.length});
    }
}
