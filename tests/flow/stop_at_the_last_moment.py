#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Requests become whole in the very moments in which the drain ends and all waits are cut. Whoever still waits for a backend then is
let go with the rest: the stop is clean."""
import signal
import threading
import time

from harness import Holdfast, Origin, until

CLIENTS = 400
ROUNDS = 3
DRAIN_MS = 300
FIRST_MS, LAST_MS = 0, 160  # around the end of the drain

over = threading.Event()
origin = Origin(lambda *_: over.wait(20))
for _ in range(ROUNDS):
    with Holdfast({"gcp": origin}, config={"drain_ms": DRAIN_MS}) as holdfast:
        clients = [holdfast.client() for _ in range(CLIENTS)]
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nHost: flow.test\r\n")
        until(lambda: holdfast.stats()["connections"]["active"] == CLIENTS, "all have begun a request")
        holdfast.process.send_signal(signal.SIGTERM)
        begun = time.monotonic()
        for i, client in enumerate(clients):
            at_ms = DRAIN_MS + FIRST_MS + (LAST_MS - FIRST_MS) * i / CLIENTS
            time.sleep(max(0, begun + at_ms / 1000 - time.monotonic()))  # the moment is the subject
            try:
                client.send(b"\r\n")
            except ConnectionError:
                pass  # it has ended before
        holdfast.terminate()
over.set()
