#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""1000 idle keep-alive connections, and 1000 with half a request, in front of 8 workers: a new client is
served at once."""
import sys
import time

from harness import Holdfast, Origin, equal, head, many_descriptors, until

CONNECTIONS = 1000
AT_ONCE_SECONDS = 5  # far from every timeout of holdfast, far from what a busy machine takes

if many_descriptors() < 2 * CONNECTIONS + 200:
    print("this machine allows too few open files to one process")
    sys.exit(77)


def ask_at_once(holdfast):
    begun = time.monotonic()
    with holdfast.client() as client:
        equal("status for a new client", client.get("/new").status, 200)
    taken = time.monotonic() - begun
    assert taken < AT_ONCE_SECONDS, f"a new client waited {taken:.1f} s"


with Holdfast({"gcp": Origin()}, "--workers", "8") as holdfast:
    idle = [holdfast.client() for _ in range(CONNECTIONS)]
    for client in idle:
        equal("status", client.get("/first").status, 200)
    until(lambda: holdfast.stats()["connections"]["idle"] == CONNECTIONS, "all connections are idle")
    until(lambda: holdfast.stats()["workers"] == {"total": 8, "busy": 0}, "no worker is busy with them")
    ask_at_once(holdfast)

    half = [holdfast.client() for _ in range(CONNECTIONS)]
    for client in half:
        client.send(head("GET", "/half")[:-7])
    until(lambda: holdfast.stats()["connections"]["active"] == CONNECTIONS, "all halves have come")
    ask_at_once(holdfast)
    for client in half:
        client.send(head("GET", "/half")[-7:])
    for client in half:
        equal("status of a request in two halves", client.response().status, 200)
    for client in idle:
        equal("status on an idle connection", client.get("/second").status, 200)
    for client in idle + half:
        client.sock.close()
