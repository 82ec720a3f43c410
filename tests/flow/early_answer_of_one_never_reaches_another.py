#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Two backends fail before they have read a long body, and the first one's answer is the best that there is. While it streams
to its client, and its backend reads on, the rest of the body goes to nobody else: not to a client, nor to another's backend,
whose connection has the descriptor that the second backend's had."""
import threading

from harness import Holdfast, equal, head
from raw import RawOrigin, connect

MARK = b"bytes of another client "
BODY = MARK * 500_000  # more than sockets hold
PIECE = b"0123456789" * 1000
PIECES = 30  # together more than retry.hold_bytes: it streams
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown"

second_is_gone = threading.Event()
others_are_there = threading.Event()
taken = threading.Semaphore(0)  # one more for each piece that the client has


def fail_early(wire):
    wire.send(b"HTTP/1.1 500 Early\r\nContent-Length: %d\r\n\r\n" % (len(PIECE) * PIECES) + PIECE)


def read_what_is_there(wire):
    wire.sock.setblocking(False)
    try:
        while wire.sock.recv(1 << 20):
            pass
    except BlockingIOError:
        pass
    wire.sock.settimeout(20)


def first(wire):
    if wire.head().method == "GET":
        wire.send(OK)
        return
    fail_early(wire)
    assert others_are_there.wait(20)
    for _ in range(PIECES - 1):
        assert taken.acquire(timeout=20)
        read_what_is_there(wire)
        wire.send(PIECE)


def second(wire):
    if wire.head().method == "GET":
        wire.send(OK)
        return
    fail_early(wire)
    try:
        while wire.sock.recv(1 << 20):
            pass
    finally:
        second_is_gone.set()


origins = {"gcp": RawOrigin(first), "azure": RawOrigin(second)}
with Holdfast(origins) as holdfast:
    with connect(holdfast) as client:
        client.send(head("POST", "/", f"Content-Length: {len(BODY)}") + BODY)
        response = client.head()
        equal("status", response.status, 500)
        assert second_is_gone.wait(20), "the second backend's connection is still open"
        others = [connect(holdfast) for _ in range(4)]
        for other in others[:2]:  # these have connections to backends, the rest is idle
            other.send(head("GET", "/"))
            equal("answer of another", other.response().body, b"own")
        others_are_there.set()
        for _ in range(PIECES):
            equal("piece", client.exactly(len(PIECE)), PIECE)
            taken.release()
    for other in others:
        with other:
            other.send(head("GET", "/", "Connection: close"))
            equal("answer of another", other.response().body, b"own")
            equal("what comes behind it", other.rest(), b"")
    for name, origin in origins.items():
        for wire in origin.wires:
            if wire.received.startswith(b"GET"):
                assert MARK not in wire.received, f"{name} got the body on another's connection"
