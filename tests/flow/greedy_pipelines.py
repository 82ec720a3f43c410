#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""One worker, and two clients that pipeline a thousand requests each: a third client's only request comes soon, not behind the
last of theirs. All three get their own answers in order."""
import threading

from harness import Holdfast, Origin, answer, equal, head, until
from raw import connect

GREEDY = 2
REQUESTS = 1000
BEGUN = 50
SOON = 500  # requests: a few turns, though the listener may be slow to see the third client

third_is_there = threading.Event()


def serve(wire, request):
    if len(origin.requests) == BEGUN:
        assert third_is_there.wait(20)
    answer(200, request.target.encode())(wire, request)


origin = Origin(serve)
with Holdfast({"gcp": origin}, "--workers", "1") as holdfast:
    clients = []
    for name in range(GREEDY):
        clients.append(connect(holdfast))
        clients[-1].send(b"".join(head("GET", f"/{name}/{i}") for i in range(REQUESTS)))
    until(lambda: len(origin.requests) == BEGUN, "the pipelines are being served")
    with connect(holdfast) as third:
        third.send(head("GET", "/third"))
        until(lambda: holdfast.stats()["connections"]["accepted"] == GREEDY + 1, "the third client is there")
        third_is_there.set()
        equal("answer", third.response().body, b"/third")
    for name, client in enumerate(clients):
        with client:
            for i in range(REQUESTS):
                equal("answer", client.response().body, f"/{name}/{i}".encode())
    targets = [request.target for request in origin.requests]
    equal("requests", len(targets), GREEDY * REQUESTS + 1)
    place = targets.index("/third")
    assert place < BEGUN + SOON, f"the third client had to wait for {place - BEGUN} requests of others"
