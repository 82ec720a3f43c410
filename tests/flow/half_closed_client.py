#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A client that ends its side behind its requests gets all its answers, also one that the origin takes its
time for."""
import socket
import threading

from harness import Holdfast, Origin, answer, equal, head, until

gate = threading.Event()


def when_allowed(wire, request):
    if request.target == "/slow":
        assert gate.wait(20)
    answer(200, b"answer to " + request.target.encode() + request.body)(wire, request)


origin = Origin(when_allowed)
with Holdfast({"gcp": origin}) as holdfast, holdfast.client() as client:
    client.send(head("GET", "/slow") + head("POST", "/2", "Content-Length: 5") + b" body" + head("GET", "/3"))
    client.sock.shutdown(socket.SHUT_WR)
    until(lambda: origin.requests, "the first request is in flight")
    gate.set()
    for wanted in (b"answer to /slow", b"answer to /2 body", b"answer to /3"):
        response = client.response()
        equal("answer", (response.status, response.body), (200, wanted))
    client.expect_end()
    with holdfast.client() as cut:
        cut.send(head("POST", "/cut", "Content-Length: 10") + b"half")
        cut.sock.shutdown(socket.SHUT_WR)
        equal("answer to half a request", cut.response().status, 400)
        cut.expect_end()
    targets = [request.target for request in origin.requests]
    equal("requests that the origin has got", targets, ["/slow", "/2", "/3"])
    equal("failures", holdfast.backend("gcp")["failures"], 0)
