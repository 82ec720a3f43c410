#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What stands in the request line (RFC 9112, 3): absolute-form becomes origin-form, with Host from the target; OPTIONS * stays
what it is; targets, queries and methods arrive to the byte; empty lines before a request are passed over."""
from harness import Holdfast, equal
from raw import RawOrigin, connect, respond

EMPTY = b"\r\n"
# The request line and Host of the client, and those that the backend must get.
REQUESTS = [
    (b"GET / HTTP/1.1", b"a", b"GET / HTTP/1.1", b"a"),
    (b"GET / HTTP/1.1", b"A.Test:8080", b"GET / HTTP/1.1", b"A.Test:8080"),
    (b"GET / HTTP/1.1", b"[::1]:80", b"GET / HTTP/1.1", b"[::1]:80"),
    (b"GET / HTTP/1.1", b"a%20b", b"GET / HTTP/1.1", b"a%20b"),
    # Nothing in a path is resolved, decoded or mended: the backend does that, or refuses it.
    *[
        (b"GET %s HTTP/1.1" % target, b"a", b"GET %s HTTP/1.1" % target, b"a")
        for target in [
            *[b"//a//b", b"/a/../b", b"/./%2e%2E/%00", b"/%", b"/?", b"/a?b?c=d&&e", b"/a;b=c", b"/http://b/c", b"/*"],
            *[b"/" + b"a" * 8000, b'/"<>\\^`{|}', b"/a:b@c!$&'()*+,=~"],
        ]
    ],
    # Absolute-form.
    (b"GET http://b/c?d HTTP/1.1", b"a", b"GET /c?d HTTP/1.1", b"b"),
    (b"GET http://b:81/ HTTP/1.1", b"a", b"GET / HTTP/1.1", b"b:81"),
    (b"GET HTTP://B.test/C HTTP/1.1", b"a", b"GET /C HTTP/1.1", b"B.test"),
    (b"GET http://b HTTP/1.1", b"a", b"GET / HTTP/1.1", b"b"),
    (b"GET http://b?c=/d HTTP/1.1", b"a", b"GET /?c=/d HTTP/1.1", b"b"),
    (b"GET http://[::1]:81/c HTTP/1.1", b"a", b"GET /c HTTP/1.1", b"[::1]:81"),
    (b"GET http://b/http://c/ HTTP/1.1", b"a", b"GET /http://c/ HTTP/1.1", b"b"),
    (b"POST http://b/c HTTP/1.1", b"a", b"POST /c HTTP/1.1", b"b"),
    # The server as a whole (3.2.4).
    (b"OPTIONS * HTTP/1.1", b"a", b"OPTIONS * HTTP/1.1", b"a"),
    (b"OPTIONS http://b:81 HTTP/1.1", b"a", b"OPTIONS * HTTP/1.1", b"b:81"),
    (b"OPTIONS http://b:81/ HTTP/1.1", b"a", b"OPTIONS / HTTP/1.1", b"b:81"),
    (b"OPTIONS / HTTP/1.1", b"a", b"OPTIONS / HTTP/1.1", b"a"),
    # Methods go through as they are.
    *[
        (b"%s / HTTP/1.1" % method, b"a", b"%s / HTTP/1.1" % method, b"a")
        for method in [b"PUT", b"PATCH", b"DELETE", b"PROPFIND", b"MKCOL", b"REPORT", b"PURGE", b"LINK"]
    ],
    # HTTP/1.0.
    (b"GET / HTTP/1.0", b"a", b"GET / HTTP/1.1", b"a"),
    (b"GET / HTTP/1.0", None, b"GET / HTTP/1.1", b"ORIGIN"),
    (b"GET http://b/c HTTP/1.0", None, b"GET /c HTTP/1.1", b"b"),
]
EMPTY_LINES_MAX = 8


def message(line, host):
    return line + EMPTY + (b"Host: " + host + EMPTY if host else b"") + b"Connection: keep-alive\r\n\r\n"


origin = RawOrigin(respond(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
with Holdfast({"gcp": origin}) as holdfast, connect(holdfast) as client:
    for number, (line, host, *_) in enumerate(REQUESTS):
        client.send(EMPTY * (number % (EMPTY_LINES_MAX + 1)) + message(line, host))
        equal(f"status of {line!r}", client.response().status, 200)
    # A client that ends each body with an empty line too many (2.2).
    client.send((b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok" + EMPTY) * 3)
    for _ in range(3):
        equal("status", client.response().status, 200)

    equal("connections to the backend", len(origin.wires), 1)
    received = bytes(origin.wires[0].received)
    heads = received.split(b"\r\n\r\n")[: len(REQUESTS)]
    for got, (line, host, wanted_line, wanted_host) in zip(heads, REQUESTS):
        wanted_host = origin.authority.encode() if wanted_host == b"ORIGIN" else wanted_host
        lines = got.split(EMPTY)
        equal(f"lines at the backend after {line!r}", lines[:2], [wanted_line, b"Host: " + wanted_host])
        equal("Host fields", sum(each.lower().startswith(b"host:") for each in lines), 1)
    assert received.endswith(b"\r\n\r\nok"), "something came behind the last body"
