#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""With balance "least-in-flight" or "two-choices", what is new goes to the backend that has less to do for its weight."""
import contextlib
import threading

from harness import WAIT_SECONDS, Holdfast, Origin, answer, equal, head, until

release = threading.Event()


def slow(wire, request):
    release.wait(WAIT_SECONDS)
    answer(200, b"gcp")(wire, request)


def run(balance, weight):
    """azure, WEIGHT times as heavy, gets all that is new while gcp has one request in flight."""
    release.clear()
    origins = {"gcp": Origin(slow), "azure": Origin(answer(200, b"azure"))}
    backends = [{"name": name, "url": f"http://{origin.authority}"} for name, origin in origins.items()]
    backends[1]["weight"] = weight
    with contextlib.ExitStack() as stack:
        holdfast = stack.enter_context(Holdfast({}, config={"balance": balance, "backends": backends}))
        clients = []
        while holdfast.backend("gcp")["in_flight"] == 0:
            # Those that azure is asked end at once: only gcp's stay.
            clients.append(stack.enter_context(holdfast.client()))
            clients[-1].send(head("GET", "/"))
            begun = len(clients)
            until(lambda: sum(len(origin.requests) for origin in origins.values()) == begun, "the request was sent on")
            until(lambda: holdfast.backend("azure")["in_flight"] == 0, "azure has answered")
        with holdfast.client() as client:
            for _ in range(50):
                equal(f"{balance}: who answers", client.get().body, b"azure")
        release.set()
        for client in clients:
            equal("status", client.response().status, 200)


for way in ("least-in-flight", "two-choices"):
    run(way, 1)
    run(way, 4)
