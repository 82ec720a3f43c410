#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""SIGTERM: what is in flight is finished, an idle connection is closed, nobody new is let in, and holdfast
ends with 0."""
import signal
import threading

from harness import Client, Holdfast, Origin, equal, head, until

CLIENTS = 16

gate = threading.Event()


def when_allowed(wire, request):
    if request.target != "/at-once":
        assert gate.wait(20)
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nlate")


def is_shut(address):
    try:
        Client(address).sock.close()
        return False
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:
        return False  # it came in just before the end


origin = Origin(when_allowed)
with Holdfast({"gcp": origin}) as holdfast:
    idle = holdfast.client()
    equal("status for the idle one", idle.get("/at-once").status, 200)
    clients = [holdfast.client() for _ in range(CLIENTS)]
    for client in clients:
        client.send(head("GET", "/slow"))
    until(lambda: len(origin.requests) == 1 + CLIENTS, "all requests are in flight")

    holdfast.process.send_signal(signal.SIGTERM)
    until(lambda: is_shut(holdfast.address), "nobody new is let in")
    idle.expect_end()
    equal("fit for traffic", holdfast.admin("GET", "/admin/readyz").status, 503)
    equal("alive", holdfast.admin("GET", "/admin/healthz").status, 200)
    equal("ended already", holdfast.process.poll(), None)

    gate.set()
    for client in clients:
        response = client.response()
        equal("answer", (response.status, response.body), (200, b"late"))
        equal("Connection", response.field("connection"), "close")
        client.expect_end()
