/* SPDX-License-Identifier: MIT
 * Every way in which a message can be refused, in one table: what the client is told, the stable name for
 * logs and tests, and a sentence for people. http_offence_NAME is the static struct itself; names are
 * identifiers, so none can be used twice. For a backend's response the status says nothing: it is a protocol
 * error of that backend. */
#ifndef HOLDFAST_COMMON_HTTP_OFFENCE_H
#define HOLDFAST_COMMON_HTTP_OFFENCE_H

#include "common/http_head.h"

/* clang-format off: one row per offence, X(name, status, reason) */
#define HTTP_OFFENCES(X)                                                                                     \
    /* The raw bytes of a head (RFC 9112, 2 to 5). */                                                        \
    X(bare_lf, 400, "a line ends in LF without CR")                                                          \
    X(bare_cr, 400, "a CR is not followed by LF")                                                            \
    X(nul_byte, 400, "there is a NUL byte in the head")                                                      \
    X(control_byte, 400, "there is a control byte in the head")                                              \
    X(head_too_long, 431, "the head is longer than the limit")                                               \
    X(too_many_fields, 431, "the head has too many fields")                                                  \
    X(empty_lines, 400, "there are too many empty lines before the request")                                 \
    X(request_line_too_long, 414, "the request line is longer than the limit of the head")                   \
    X(bad_method, 400, "the method is not a token")                                                          \
    X(bad_request_line_byte, 400, "there is a byte in the request line that is not visible ASCII")           \
    X(bad_request_line, 400, "the request line is not a method, a target and a version, one space between")  \
    X(missing_version, 400, "the request line has no version, as in HTTP/0.9")                               \
    X(bad_protocol, 400, "the protocol is not HTTP")                                                         \
    X(bad_version, 400, "the version is malformed")                                                          \
    X(unsupported_version, 505, "the version is not HTTP/1.0 or HTTP/1.1")                                   \
    X(bad_status_line, 400, "the status line is not a version and a status")                                 \
    X(bad_status_code, 400, "the status is not a number from 100 to 599")                                    \
    X(leading_space, 400, "there is white space before the first field")                                     \
    X(obs_fold, 400, "a field is continued on a second line")                                                \
    X(space_before_colon, 400, "there is white space between a field's name and its colon")                  \
    X(empty_field_name, 400, "a field has no name")                                                          \
    X(bad_field_name, 400, "a field's name is not a token")                                                  \
    X(missing_colon, 400, "a field line has no colon")                                                       \
    /* The parser's own refusals. */                                                                         \
    X(unknown_method, 501, "the method is not known")                                                        \
    X(parser_refused, 400, "the head is malformed")                                                          \
    /* Target and Host (RFC 9112, 3.2). */                                                                   \
    X(method_not_served, 405, "CONNECT and TRACE are not served here")                                       \
    X(bad_target, 400, "the request target is malformed or not of a form that is served here")               \
    X(missing_host, 400, "there is no Host field")                                                           \
    X(repeated_host, 400, "there is more than one Host field")                                               \
    X(bad_host, 400, "the Host field is not a host with an optional port")                                   \
    /* Where the message ends (RFC 9112, 6). */                                                              \
    X(bad_content_length, 400, "the Content-Length is not a plain number within the limits")                 \
    X(repeated_content_length, 400, "there is more than one Content-Length field")                           \
    X(length_with_coding, 400, "there are both Content-Length and Transfer-Encoding")                        \
    X(coding_in_http_1_0, 400, "there is a Transfer-Encoding in an HTTP/1.0 message")                        \
    X(repeated_coding, 400, "there is more than one Transfer-Encoding field")                                \
    X(bad_coding, 400, "the Transfer-Encoding does not end in chunked, once")                                \
    X(unknown_coding, 501, "the Transfer-Encoding has a coding other than chunked")                          \
    /* The chunked coding (RFC 9112, 7.1). */                                                                \
    X(bad_chunk_size, 400, "a chunk's size is not 1 to 16 hexadecimal digits")                               \
    X(chunk_too_big, 400, "a chunk's size is over the limit of what can be counted")                         \
    X(bad_chunk_extension, 400, "there is a byte in a chunk extension that must not be there")               \
    X(chunk_line_too_long, 400, "a chunk's size line is longer than the limit")                              \
    X(chunk_overhead, 400, "the chunk extensions are out of all proportion to the data")                     \
    X(bad_chunk_end, 400, "a chunk's data is not followed by CR LF")                                         \
    X(trailers_too_long, 431, "the trailer section is longer than the limit")                                \
    X(forbidden_trailer, 400, "a field stands in the trailers that must not stand there")                    \
    X(no_memory, 503, "there is no memory left")                                                             \
    /* Limits, deadlines and the front end's own state. */                                                   \
    X(body_too_large, 413, "the body is over limits.body_bytes")                                             \
    X(no_storage, 503, "there is no room to hold the request")                                               \
    X(bad_expectation, 417, "the only expectation known here is 100-continue")                               \
    X(request_timeout, 408, "the request was not whole in time")                                             \
    X(cut_short, 400, "the request ended in the middle")                                                     \
    X(bad_proxy_header, 400, "the connection did not begin with a PROXY header")                             \
    X(too_many_connections, 503, "all connections that limits.connections allows are in use")                \
    X(client_has_many, 429, "this client has all connections that limits.connections_per_client allows")     \
    X(no_backend_answered, 502, "no backend gave a usable response")                                         \
    X(no_backend_in_time, 504, "no backend gave a usable response in time")                                  \
    X(workers_busy, 503, "no worker was free for the request within timeouts.queue_ms")                      \
    X(backends_full, 503, "all backends have as many requests as max_in_flight allows")                      \
    X(stopping, 503, "the front end is stopping")                                                            \
    X(starved, 503, "the front end has no descriptor or memory left for a connection to a backend")          \
    X(too_many_tunnels, 503, "all tunnels that limits.tunnels allows are in use")                            \
    X(too_many_interim, 502, "the backend sent 1xx responses without end")                                   \
    X(unasked_upgrade, 502, "the backend switched protocols without being asked")
/* clang-format on */

#define HTTP_OFFENCE_DECLARE(name, status, reason) extern const struct http_offence http_offence_##name;
HTTP_OFFENCES(HTTP_OFFENCE_DECLARE)
#undef HTTP_OFFENCE_DECLARE

#endif
