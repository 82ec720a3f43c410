#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Clients that stop reading: a response whose end is near waits for them outside the two workers, an endless stream holds one
of them at most until client_write_ms; others are served at once all the while. Whoever reads on in time gets every byte, and
the answers to what was pipelined; whoever does not is cut."""
import random
import socket
import threading
import time

from harness import WAIT_SECONDS, Holdfast, Origin, answer, equal, head, until
from raw import Raw

WRITE_MS = 2000
AT_ONCE_SECONDS = 1
STALLED = 10  # of each kind whose end is near
BODIES = {"/held": random.Random(1).randbytes(200 << 10), "/long": random.Random(2).randbytes(3_000_000)}
RECEIVE_BYTES = 65536  # what the kernel takes for a client that does not read, about
# What such a client asks for: more than the kernel keeps on holdfast's side (4 MB), in one response or in many.
TARGETS = {"/held": ["/held"] * 40, "/long": ["/long"] * 2}

stream_ended = threading.Event()


def serve(wire, request):
    if request.target == "/stream":
        try:
            wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            while True:
                wire.send(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        finally:
            stream_ended.set()
    answer(200, BODIES.get(request.target, request.target.encode()))(wire, request)


def ask(*targets):
    """A client that has asked, and reads nothing yet."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
    sock.settimeout(WAIT_SECONDS)
    sock.connect(holdfast.address)
    client = Raw(sock)
    client.send(b"".join(head("GET", target) for target in targets))
    return client


def ask_at_once():
    begun = time.monotonic()
    with holdfast.client() as client:
        response = client.get("/small")
        equal("answer", (response.status, response.body), (200, b"/small"))
    taken = time.monotonic() - begun
    assert taken < AT_ONCE_SECONDS, f"a new client waited {taken:.2f} s"


def reads_on_in_time():
    """They stop, others are served, they read on: everything is there."""
    clients = [(targets, ask(*targets, "/behind")) for targets in TARGETS.values() for _ in range(STALLED)]
    until(lambda: connections()["active"] == len(clients), "they all have stopped")
    until(lambda: holdfast.stats()["workers"]["busy"] == 0, "no worker waits for them")
    ask_at_once()
    for targets, client in clients:
        with client:
            for target in targets:
                equal(f"{target} is right", client.response().body == BODIES[target], True)
            equal("answer behind it", client.response().body, b"/behind")


def never_reads_on():
    """They stop for good. Others are served at once until all of them are cut, and they are cut in time."""
    begun = time.monotonic()
    clients = [ask("/stream")] + [ask(*targets, "/behind") for targets in TARGETS.values() for _ in range(STALLED)]
    until(lambda: connections()["active"] == len(clients), "they all have stopped")
    until(lambda: holdfast.stats()["workers"]["busy"] == 1, "one worker waits for the stream to be taken")
    asked = 0
    while connections()["active"] > 0:
        ask_at_once()
        asked += 1
        assert time.monotonic() < begun + WRITE_MS / 1000 + 5, f"not cut: {connections()}"
    taken = time.monotonic() - begun
    assert taken >= WRITE_MS / 1000, f"cut after {taken:.2f} s"
    assert asked > 20, f"only {asked} requests of others were answered meanwhile"
    assert stream_ended.wait(20), "the stream goes on"
    for client in clients:
        with client:
            got, _ = client.to_the_end()
            assert b"/behind" not in got, f"{len(got)} bytes came, as if nothing had been cut"


def connections():
    return holdfast.stats()["connections"]


origin = Origin(serve)
with Holdfast({"gcp": origin}, "--workers", "2") as holdfast:
    reads_on_in_time()
    equal("failures", holdfast.backend("gcp")["failures"], 0)
config = {"timeouts": {"client_write_ms": WRITE_MS}}
with Holdfast({"gcp": origin}, "--workers", "2", config=config) as holdfast:
    never_reads_on()
    equal("failures", holdfast.backend("gcp")["failures"], 0)
