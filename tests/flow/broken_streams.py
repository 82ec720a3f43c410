#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A response that breaks when its beginning has already gone to the client can't be repaired, but never looks whole (RFC 9112,
8): a length falls short, the last chunk is missing, and what only the end of the connection would end, ends in a reset."""
import json
import threading

from harness import Holdfast, equal, head
from raw import RawOrigin, connect

LONG = b"0123456789abcdef" * 10_000
START = b"HTTP/1.1 200 OK\r\n"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"
STREAMS = {
    "length": START + b"Content-Length: 1000000\r\n\r\n" + LONG,
    "chunked": CHUNKED + b"fffff\r\n" + LONG,
    "chunked, cut between chunks": CHUNKED + b"%x\r\n%s\r\n" % (len(LONG), LONG),
    "chunked, cut before the end of the trailers": CHUNKED + b"%x\r\n%s\r\n0\r\nX: y\r\n" % (len(LONG), LONG),
}
# The beginning streams, and when the client has it, this comes. It is malformed, and nobody must see it.
MALFORMED = [b"\r\nhidden\r\n0\r\n\r\n", b"x", b"\r\n6\nhidden\r\n0\r\n\r\n", b"\r\n0\r\nContent-Length: 0\r\n\r\n"]
HTTP_1_0 = b"GET / HTTP/1.0\r\n\r\n"


def cut(name):
    def script(wire):
        wire.request()
        wire.send(STREAMS[name])

    return script


def malformed(end, begun):
    def script(wire):
        wire.request()
        wire.send(CHUNKED + b"%x\r\n" % len(LONG) + LONG)
        assert begun.wait(20)
        wire.send(end)

    return script


def without_sizes(body):
    """The data of chunks of which the last one may be missing."""
    data = b""
    while body:
        size, _, body = body.partition(b"\r\n")
        data += body[: int(size, 16)]
        body = body[int(size, 16) + 2 :]
    return data


def read_good_part(client):
    """Reads until all that came before the malformed end is there."""
    data = 0
    chunked = b"Transfer-Encoding" in client.up_to(b"\r\n\r\n")
    while data < len(LONG):
        size = int(client.up_to(b"\r\n"), 16) if chunked else len(LONG)
        data += len(client.exactly(size))
        client.exactly(2 if chunked else 0)


def check(name, request, is_reset, data):
    if request == HTTP_1_0 and name != "length":
        assert is_reset, f"{name}: the end of the connection looks like the end of the body"
        return
    assert not is_reset, f"{name}: a reset, where an end would do and lose nothing"
    head_of, _, body = data.partition(b"\r\n\r\n")
    if name == "length":
        assert b"Content-Length: 1000000" in head_of and body == LONG, f"{head_of!r} and {len(body)} bytes"
    else:
        assert b"Transfer-Encoding: chunked" in head_of and not body.endswith(b"0\r\n\r\n"), f"{name}: it looks whole"
        assert without_sizes(body) == LONG, f"{name}: something of the good part is lost"
    assert b"hidden" not in data and data.count(b"HTTP/1.1") == 1, f"{name}: more came than the response"


origin = RawOrigin(None)
config = {"retry": {"hold_bytes": 1000}}
with Holdfast({"gcp": origin}, "--eject-after", "1000", config=config) as holdfast:
    broken = 0
    for name in STREAMS:
        for request in (head("GET", "/") + head("GET", "/behind"), HTTP_1_0):
            origin.script = cut(name)
            with connect(holdfast) as client:
                client.send(request)
                _, is_reset = client.to_the_end()
            check(name, request, is_reset, bytes(client.received))
            broken += 1
    for end in MALFORMED:
        for request in (head("GET", "/"), HTTP_1_0):
            begun = threading.Event()
            origin.script = malformed(end, begun)
            with connect(holdfast) as client:
                client.send(request)
                read_good_part(client)
                begun.set()
                _, is_reset = client.to_the_end()
            check("malformed", request, is_reset, bytes(client.received))
            broken += 1
    backend = holdfast.backend("gcp")
    equal("failures", backend["failures"], broken)
    requests = json.loads(holdfast.admin("GET", "/admin/stats?evidence=1").body)["requests"]
    equal("broken before their clients' eyes", (requests["unmasked"], requests["total"]), (broken, broken))
