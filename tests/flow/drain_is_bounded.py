#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Four backends do not even answer the attempt to connect. A client that resets meanwhile frees its worker at once; and when
holdfast is stopped, drain_ms bounds what is left, not connect_ms."""
import signal
import socket
import struct
import time

from harness import WAIT_SECONDS, Holdfast, equal, head, until
from raw import connect

DRAIN_MS = 300
CONNECT_MS = 15_000
AT_ONCE_SECONDS = 5  # far less than connect_ms


class Hole:
    """Its backlog is full: further attempts to connect get no answer."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.authority = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.guests = []
        for _ in range(3):
            self.guests.append(socket.socket())
            self.guests[-1].setblocking(False)
            self.guests[-1].connect_ex(self.listener.getsockname())


def busy():
    return holdfast.stats()["workers"]["busy"]


def reset(client):
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()


holes = {f"hole{i}": Hole() for i in range(4)}
config = {"drain_ms": DRAIN_MS, "timeouts": {"connect_ms": CONNECT_MS}}
with Holdfast(holes, config=config) as holdfast:
    client = connect(holdfast)
    client.send(head("GET", "/"))
    until(lambda: busy() == 1, "a worker tries to connect")
    begun = time.monotonic()
    reset(client)
    until(lambda: busy() == 0, "the worker is free again")
    taken = time.monotonic() - begun
    assert taken < AT_ONCE_SECONDS, f"the worker was free {taken:.1f} s after the reset"
    for name in holes:
        equal(f"failures of {name}", holdfast.backend(name)["failures"], 0)

    with connect(holdfast) as client:
        client.send(head("GET", "/"))
        until(lambda: busy() == 1, "a worker tries to connect")
        begun = time.monotonic()
        holdfast.process.send_signal(signal.SIGTERM)
        client.to_the_end()
        equal("exit status", holdfast.process.wait(timeout=WAIT_SECONDS), 0)
        taken = time.monotonic() - begun
    assert DRAIN_MS / 1000 < taken < AT_ONCE_SECONDS, f"holdfast stopped after {taken:.1f} s"
