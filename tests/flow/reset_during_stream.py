#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Clients that reset in the middle of a stream that is quiet: their workers are free at once, the backend's connections closed,
and the backend is not blamed."""
import socket
import struct
import threading
import time

from harness import WAIT_SECONDS, Holdfast, equal, head, until
from raw import RawOrigin, connect

CLIENTS = 4
SPARE_WORKERS = 0
QUIET_MS = 30_000
AT_ONCE_SECONDS = 8

ended = threading.Semaphore(0)


def script(wire):
    if wire.head().target != "/stream":
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        return
    wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
    wire.to_the_end()
    ended.release()


config = {"timeouts": {"response_ms": QUIET_MS}, "retry": {"hold_ms": 1}}
with Holdfast({"gcp": RawOrigin(script)}, "--workers", str(CLIENTS + SPARE_WORKERS), config=config) as holdfast:
    begun = time.monotonic()
    clients = []
    for _ in range(CLIENTS):
        clients.append(connect(holdfast))
        clients[-1].send(head("GET", "/stream"))
        clients[-1].up_to(b"hello\r\n")
    equal("busy workers", holdfast.stats()["workers"]["busy"], CLIENTS)
    for client in clients:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.sock.close()
    for _ in clients:
        assert ended.acquire(timeout=WAIT_SECONDS), "a backend's connection is still open"
    with holdfast.client() as client:
        equal("answer", client.get().body, b"ok")
    until(lambda: holdfast.stats()["workers"]["busy"] == 0, "all workers are free")
    taken = time.monotonic() - begun
    assert taken < AT_ONCE_SECONDS, f"the workers were free after {taken:.1f} s"
    backend = holdfast.backend("gcp")
    equal("failures", (backend["failures"], backend["state"], set(backend["errors"].values())), (0, "up", {0}))
