#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A backend may answer before it has the whole body (RFC 9112, 9.5), and even stop reading it: the answer comes to the client
at once. One that answers while it reads, a long answer to a long body, makes nobody wait for ever."""
import hashlib
import random
import time

from harness import Holdfast, equal, head, until
from raw import RawOrigin, connect

BODY = random.Random(10).randbytes(10 << 20)  # more than sockets hold
REQUEST = head("POST", "/", f"Content-Length: {len(BODY)}") + BODY
OK = b"HTTP/1.1 200 OK\r\n"
AT_ONCE_SECONDS = 5  # far from timeouts.response_ms
sums = []


def answer_and_stop_reading(wire):
    wire.head()
    wire.send(OK + b"Content-Length: 5\r\n\r\nearly")
    until(lambda: sums, "the client has the answer")


def answer_while_reading(wire):
    wire.head()
    body = wire.exactly(1000)
    wire.send(OK + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
    sums.append(hashlib.sha256(body + wire.exactly(len(BODY) - 1000)).digest())


def echo_while_reading(wire):
    wire.head()
    wire.send(OK + b"Transfer-Encoding: chunked\r\n\r\n")
    left = len(BODY)
    while left > 0:
        piece = wire.exactly(min(left, 65536))
        wire.send(b"%x\r\n%s\r\n" % (len(piece), piece))
        left -= len(piece)
    wire.send(b"0\r\n\r\n")


def tell(script, wanted):
    sums.clear()
    with Holdfast({"gcp": RawOrigin(script)}) as holdfast:
        with connect(holdfast) as client:
            begun = time.monotonic()
            client.send(REQUEST)
            response = client.response()
            taken = time.monotonic() - begun
        equal(f"answer, when the backend does {script.__name__}", (response.status, response.body == wanted), (200, True))
        assert taken < AT_ONCE_SECONDS, f"{script.__name__}: the answer came after {taken:.1f} s"
        sums.append(None)
        equal("failures", holdfast.backend("gcp")["failures"], 0)


tell(answer_and_stop_reading, b"early")
tell(answer_while_reading, BODY)
tell(echo_while_reading, BODY)
