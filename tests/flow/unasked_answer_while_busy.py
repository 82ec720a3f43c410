#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An answer that nobody asked for comes on a connection at rest while the only worker is busy, behind the requests of ten clients. It
is taken for nobody's answer, and each client gets its own."""
import threading

from harness import Holdfast, Origin, answer, equal, head, until

CLIENTS = 10  # more than the events that a worker fetches at once

go_on = threading.Event()
wires = []


def answer_by_pieces(wire, request):
    """What has begun holds the worker until it is whole."""
    if request.target == "/begin":
        wire.send(b"H")
        begun.set()
        assert go_on.wait(20)
        wire.send(b"TTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\ngcp")
    else:
        answer(200, b"gcp")(wire, request)


def echo_target(wire, request):
    wires.append(wire)
    answer(200, request.target.encode())(wire, request)


begun = threading.Event()
backends = {"gcp": Origin(answer_by_pieces), "azure": Origin(echo_target)}
with Holdfast(backends, "--workers", "1") as holdfast, holdfast.client() as first:
    for _ in backends:  # one connection to each rests then
        equal("status", first.get("/").status, 200)
    first.send(head("GET", "/begin"))
    assert begun.wait(20)
    clients = [holdfast.client() for _ in range(CLIENTS)]
    for i, client in enumerate(clients):
        client.send(head("GET", f"/{i}"))
    until(lambda: holdfast.stats()["connections"]["accepted"] == 1 + CLIENTS, "all clients are there")
    wires[0].send(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nunasked")
    go_on.set()
    equal("the answer that came by pieces", first.response().body, b"gcp")
    for i, client in enumerate(clients):
        response = client.response()
        equal("status", response.status, 200)
        assert response.body in (b"gcp", f"/{i}".encode()), f"client {i} got {response.body!r}"
        client.sock.close()
