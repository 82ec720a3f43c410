#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Requests that come one byte at a time, and a response that does, arrive whole; meanwhile the only worker
serves others."""
from harness import Holdfast, Origin, equal, head


def answer_slowly(wire, request):
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(request.body), request.body)
    for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body:
        wire.send(bytes([byte]))


REQUESTS = [
    head("POST", "/length", "Content-Length: 5") + b"hello",
    head("POST", "/chunked", "Transfer-Encoding: chunked") + b"2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\nX: 1\r\n\r\n",
]

with Holdfast({"gcp": Origin(answer_slowly)}, "--workers", "1") as holdfast:
    with holdfast.client() as slow, holdfast.client() as other:
        for request in REQUESTS:
            for number, byte in enumerate(request):
                slow.send(bytes([byte]))
                if number % 10 == 0:
                    # The one worker has looked at what came before, and the next byte comes alone.
                    equal("status for another client", other.get().status, 200)
            response = slow.response()
            equal("answer", (response.status, response.body), (200, b"hello"))
