#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Trailers (RFC 9110, 6.5) are passed on in both directions, to the byte, when the client said TE: trailers, with short and
long bodies and on every attempt; otherwise they are dropped and the body is framed as if they had never been."""
import random

from harness import Holdfast, equal, head
from raw import DATE, RawOrigin, connect

TRAILERS = b"X-Sum: 1\r\nx-empty:\r\nX-Sum: \ttwo\xff\r\n"
BODIES = [b"", b"hello", random.Random(7).randbytes(300_000), random.Random(8).randbytes(3_000_000)]
OK = b"HTTP/1.1 200 OK\r\n" + DATE
TE = ("TE: trailers", "Connection: TE")


def chunked(body, size):
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n"


def read_chunked(wire):
    """A body of chunks, and its trailers as they came."""
    body = bytearray()
    while True:
        size = int(wire.up_to(b"\r\n"), 16)
        if size == 0:
            break
        body += wire.exactly(size)
        equal("end of a chunk", wire.exactly(2), b"\r\n")
    trailers = b""
    while True:
        line = wire.up_to(b"\r\n")
        if line == b"\r\n":
            return bytes(body), trailers
        trailers += line


class Messages:
    """An origin's script that keeps the requests, and answers each with RESPONSE."""

    def __init__(self, response=OK + b"Content-Length: 0\r\n\r\n"):
        self.response = response
        self.got = []

    def __call__(self, wire):
        while True:
            message = wire.head()
            if message.field("transfer-encoding") == "chunked":
                message.body, message.trailers = read_chunked(wire)
            else:
                message.body = wire.exactly(int(message.field("content-length") or 0))
                message.trailers = None
            self.got.append(message)
            if self.response is None:
                return
            wire.send(self.response)


def of_requests():
    good, bad = Messages(), Messages(response=None)
    with Holdfast({"good": RawOrigin(good), "bad": RawOrigin(bad)}, "--eject-after", "100") as holdfast:
        with connect(holdfast) as client:
            for fields, body in [(fields, body) for fields in (TE, ()) for body in BODIES]:
                rescued = holdfast.stats()["requests"]["rescued"]
                while holdfast.stats()["requests"]["rescued"] == rescued:  # until both have got it
                    request = head("POST", "/", "Transfer-Encoding: chunked", "Trailer: X-Sum", *fields)
                    client.send(request + chunked(body, 9999) + TRAILERS + b"\r\n")
                    equal("status", client.response().status, 200)
                for message in (good.got[-1], bad.got[-1]):
                    equal("the body is the same", message.body == body, True)
                    wanted = {"te": None, "connection": None, "trailer": None, "transfer-encoding": None}
                    wanted["content-length"] = str(len(body))
                    if fields:
                        wanted |= {"te": "trailers", "connection": "TE", "trailer": "X-Sum"}
                        wanted |= {"transfer-encoding": "chunked", "content-length": None}
                    equal("framing", {name: message.field(name) for name in wanted}, wanted)
                    equal("trailers", message.trailers, TRAILERS if fields else None)


def of_responses():
    script = Messages()
    with Holdfast({"gcp": RawOrigin(script)}) as holdfast:
        for body in BODIES:
            framed = b"Transfer-Encoding: chunked\r\n\r\n" + chunked(body, 7777)
            script.response = OK + b"Trailer: X-Sum\r\n" + framed + TRAILERS + b"\r\n"
            held = len(body) < 262144
            via = OK + b"Via: 1.1 holdfast\r\n"
            with connect(holdfast) as client:
                client.send(head("GET", "/", *TE))
                announced = OK + b"Trailer: X-Sum\r\nVia: 1.1 holdfast\r\nTransfer-Encoding: chunked\r\n\r\n"
                equal("head for a client that takes trailers", client.up_to(b"\r\n\r\n"), announced)
                equal("body and trailers", read_chunked(client) == (body, TRAILERS), True)

                client.send(head("GET", "/"))
                if held:
                    equal("head", client.up_to(b"\r\n\r\n"), via + b"Content-Length: %d\r\n\r\n" % len(body))
                    equal("body", client.exactly(len(body)) == body, True)
                else:
                    equal("head", client.up_to(b"\r\n\r\n"), via + b"Transfer-Encoding: chunked\r\n\r\n")
                    equal("body and no trailers", read_chunked(client) == (body, b""), True)

                client.send(head("GET", "/", *TE).replace(b"1.1", b"1.0", 1))
                length = b"Content-Length: %d\r\n" % len(body) if held else b""
                equal("head for HTTP/1.0", client.up_to(b"\r\n\r\n"), via + length + b"Connection: close\r\n\r\n")
                equal("body for HTTP/1.0", client.rest() == body, True)


of_requests()
of_responses()
