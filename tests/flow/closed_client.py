#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A client that closes its connection while its backend is silent: nobody waits for the answer any more. The backend's connection
is closed long before response_ms, nobody is blamed, and nothing counts as answered. One that only ends its side looks the same at
first, and gets its whole answer, whatever that is."""
import threading

from harness import WAIT_SECONDS, Holdfast, equal, head, until
from raw import RawOrigin, connect

CLIENTS = 3
SILENT_MS = 60_000

ended = threading.Semaphore(0)
go_on = threading.Event()


def silent(wire):
    wire.request()
    wire.to_the_end()
    ended.release()


def expect_given_up(holdfast, what):
    for _ in range(CLIENTS):
        assert ended.acquire(timeout=WAIT_SECONDS), f"{what}: a backend's connection is still open"
    until(lambda: holdfast.stats()["workers"]["busy"] == 0, f"{what}: no request is at work any more")
    backend, stats = holdfast.backend("gcp"), holdfast.stats()
    got = backend["failures"], backend["attempts"], backend["in_flight"], stats["requests"]["total"]
    equal(f"failures, attempts, in flight and answers, {what}", got, (0, 0, 0, 0))


def when_told(*pieces):
    """A script: sends PIECES when the client has ended its side and has been waiting for a while."""

    def script(wire):
        wire.request()
        for piece in pieces:
            assert go_on.wait(WAIT_SECONDS)
            wire.send(piece)

    return script


def answer_of(holdfast, request, script):
    """All that a client gets that ends its side behind REQUEST."""
    origin.script = script
    go_on.clear()
    with connect(holdfast) as client:
        client.send(request)
        until(lambda: holdfast.backend("gcp")["in_flight"] == 1, "the request is at work")
        client.end_of_sending()
        client.exactly(1)  # the byte with which every answer begins comes ahead: holdfast has seen the end
        go_on.set()
        client.to_the_end()
        return bytes(client.received)


origin = RawOrigin(silent)
with Holdfast({"gcp": origin}, config={"timeouts": {"response_ms": SILENT_MS}}) as holdfast:
    for body in (b"", b"x" * (2 << 20)):
        for method in ("GET", "POST"):
            clients = [connect(holdfast) for _ in range(CLIENTS)]
            for client in clients:
                client.send(head(method, "/", f"Content-Length: {len(body)}") + body)
            until(lambda: holdfast.backend("gcp")["in_flight"] == CLIENTS, "all are at work")
            for client in clients:
                client.sock.close()
            expect_given_up(holdfast, f"{method}, {len(body)} bytes")

    OK = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbody"
    CASES = {
        "whole": (head("GET", "/"), when_told(OK), 1, b"body"),
        "to HTTP/1.0": (b"GET / HTTP/1.0\r\n\r\n", when_told(OK), 1, b"body"),
        "early hints": (head("GET", "/"), when_told(b"HTTP/1.1 103 E\r\nLink: a\r\n\r\n", OK), 2, b"body"),
        "in chunks": (head("GET", "/"), when_told(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n"), 1, b"body"),
        "failing": (head("GET", "/"), when_told(OK.replace(b"200 OK", b"500 No")), 1, b"body"),
        "our own": (head("GET", "/"), when_told(), 1, b"no_backend_answered"),
    }
    for name, (request, script, heads, end) in CASES.items():
        if name == "our own":
            script = lambda wire: (wire.request(), go_on.wait(WAIT_SECONDS))
        got = answer_of(holdfast, request, script)
        assert got.startswith(b"HTTP/1.1 ") and got.count(b"HTTP/1.1") == heads and end in got, f"{name}: {got!r}"

    # Pipelined, and ended at once: each answer is whole.
    origin.script = lambda wire: [wire.send(OK) for _ in iter(wire.request, None)]
    with connect(holdfast) as client:
        client.send(3 * head("GET", "/"))
        client.end_of_sending()
        for _ in range(3):
            response = client.response()
            equal("pipelined", (response.status, response.body), (200, b"body"))

# As many as there are workers: nobody looks for requests any more, and the line for a worker is full of those who wait too long.
origin = RawOrigin(silent)
with Holdfast({"gcp": origin}, config={"workers": CLIENTS, "timeouts": {"response_ms": SILENT_MS, "queue_ms": 100}}) as holdfast:
    clients = [connect(holdfast) for _ in range(CLIENTS)]
    for client in clients:
        client.send(head("GET", "/"))
    until(lambda: holdfast.stats()["workers"]["busy"] == CLIENTS, "all workers are busy")
    with holdfast.client() as late:
        equal("one more", late.get().status, 503)
    for client in clients:
        client.sock.close()
    for _ in range(CLIENTS):
        assert ended.acquire(timeout=WAIT_SECONDS), "a backend's connection is still open, with all workers busy"
    until(lambda: holdfast.stats()["workers"]["busy"] == 0, "no worker is busy any more")
    equal("failures with all workers busy", holdfast.backend("gcp")["failures"], 0)

# A worker that keeps a failing response while it asks the next backend waits for that one itself.
failing = RawOrigin(lambda wire: [wire.send(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n") for _ in iter(wire.request, None)])
origin = RawOrigin(silent)
with Holdfast({"gcp": failing, "azure": origin}, config={"timeouts": {"response_ms": SILENT_MS}}) as holdfast:
    clients = [connect(holdfast) for _ in range(CLIENTS)]
    for client in clients:
        client.send(head("GET", "/"))
    until(lambda: holdfast.backend("azure")["in_flight"] == CLIENTS, "all are at work, whoever was asked first")
    for client in clients:
        client.sock.close()
    for _ in range(CLIENTS):
        assert ended.acquire(timeout=WAIT_SECONDS), "a backend's connection is still open, after a failure of another"
    until(lambda: holdfast.backend("azure")["in_flight"] == 0, "no request is at work any more")
    equal("failures of the silent one", holdfast.backend("azure")["failures"], 0)
