#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Requests to a backend that hangs come one by one: each gets a worker, as long as there are any, and those to a backend's quick
side are answered all the while."""
import threading

from harness import Holdfast, Origin, answer, equal, head, until

SLOW = 80

go_on = threading.Event()


def serve(wire, request):
    if request.target == "/slow":
        assert go_on.wait(40)
    answer(200, request.target.encode())(wire, request)


def is_answered(holdfast):
    with holdfast.client() as client:
        equal("answer", client.get("/quick").body, b"/quick")


origin = Origin(serve)
with Holdfast({"gcp": origin}, "--workers", "128") as holdfast:
    clients = []
    for i in range(SLOW):
        clients.append(holdfast.client())
        clients[-1].send(head("GET", "/slow"))
        until(lambda: sum(r.target == "/slow" for r in origin.requests) == len(clients), f"slow request {i} is begun")
        if i % 8 == 0:
            is_answered(holdfast)
    is_answered(holdfast)
    go_on.set()
    for client in clients:
        with client:
            equal("slow answer", client.response().body, b"/slow")
    equal("failures", holdfast.backend("gcp")["failures"], 0)
