#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A client asks for an upgrade and is gone when the backend agrees: nothing of that answer is left over for the next request,
the backend is not to blame, and its connection is closed."""
import socket
import struct
import threading

from harness import Holdfast, equal, head, until
from raw import RawOrigin, connect

ROUNDS = 5
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: upgrade\r\n\r\nwelcome"

asked = threading.Event()
gone = threading.Event()
ended = threading.Event()


def serve(wire):
    while True:
        if wire.request().field("upgrade") is None:
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")
            continue
        asked.set()
        assert gone.wait(20)
        wire.send(SWITCHED)
        wire.to_the_end()
        ended.set()
        return


def vanish(holdfast):
    """Asks for a tunnel, and resets the connection before the answer comes."""
    for event in (asked, gone, ended):
        event.clear()
    client = connect(holdfast)
    client.send(head("GET", "/", "Upgrade: chat", "Connection: upgrade"))
    assert asked.wait(20), "the backend was not asked"
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()
    gone.set()
    assert ended.wait(20), "the backend's connection stays open"


config = {"limits": {"tunnels": 1}}
with Holdfast({"gcp": RawOrigin(serve)}, "--workers", "1", config=config) as holdfast:
    for _ in range(ROUNDS):
        vanish(holdfast)
        with holdfast.client() as client:
            response = client.get()
            equal("the next request", (response.status, response.body), (200, b"plain"))
    until(lambda: holdfast.stats()["connections"]["active"] == 0, "nothing is left")
    backend = holdfast.backend("gcp")
    equal("failures", backend["failures"], 0)
    equal("in flight", backend["in_flight"], 0)
