#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Requests wait on a backend that hangs. When its probes get no answer, or when it has been drained for drain_ms, they leave it
and are answered by the other one, long before response_ms, and before connect_ms too. When its probes do get an answer, if a bad
one, they have connect_ms to be answered. One that may be sent once only stays."""
import threading
import time

from harness import Holdfast, Origin, answer, equal, head, until

WAITING = 4
LONG_MS = 30000


def hang(*_):
    go_on.wait(20)


class Waiting:
    """A client that waits for its answer on gcp."""

    def __init__(self, holdfast, method):
        self.client = holdfast.client()
        self.client.send(head(method, "/", "Content-Length: 0"))

    def expect(self, status):
        with self.client:
            equal("answer", self.client.response().status, status)


def at_gcp(wire, request):
    """Hangs; so does what probes ask for when gcp is dead, and when it is unwell it says so."""
    if request.target != "/up" or health == "dead":
        hang()
    answer(200 if health == "well" else 503)(wire, request)


def wait_on_gcp(holdfast, method):
    """WAITING clients on gcp; those that came to azure are answered."""
    clients = [Waiting(holdfast, method) for _ in range(2 * WAITING)]
    until(lambda: holdfast.backend("gcp")["in_flight"] == WAITING, "requests wait on gcp")
    return clients


def config(connect_ms=100, **more):
    return {
        "backends": [{"name": name, "url": f"http://{origin.authority}"} for name, origin in origins.items()],
        "timeouts": {"connect_ms": connect_ms, "response_ms": LONG_MS},
        **more,
    }


go_on = threading.Event()
origins = {"gcp": Origin(answer()), "azure": Origin(answer())}
origins["gcp"].behave = at_gcp

begun = time.monotonic()
probe = {"path": "/up", "interval_ms": 20, "timeout_ms": 200, "fall": 2}
for sickness, connect_ms in (("dead", LONG_MS), ("unwell", 1000)):
    health = "well"
    with Holdfast({}, config=config(connect_ms, health={"probe": probe})) as holdfast:
        waiting_since = time.monotonic()
        clients = wait_on_gcp(holdfast, "POST")
        health = sickness
        until(lambda: holdfast.backend("gcp")["state"] == "down", "gcp is down")
        for client in clients:
            client.expect(200)
        if sickness == "unwell":
            assert time.monotonic() - waiting_since >= connect_ms / 1000, "it answers, and might have answered these"
        equal("rescued", holdfast.stats()["requests"]["rescued"], WAITING)
        equal("timeouts", holdfast.backend("gcp")["errors"]["timeout"], WAITING)

with Holdfast({}, config=config(drain_ms=300)) as holdfast:
    clients = wait_on_gcp(holdfast, "GET")
    drained = time.monotonic()
    equal("drain", holdfast.admin("POST", "/admin/backends/gcp/drain").status, 200)
    for client in clients:
        client.expect(200)
    assert time.monotonic() - drained > 0.25, "nothing may finish on a backend that drains"
    equal("rescued", holdfast.stats()["requests"]["rescued"], WAITING)
    gcp = holdfast.backend("gcp")
    equal("gcp", (gcp["state"], gcp["failures"], gcp["in_flight"]), ("draining", 0, 0))

with Holdfast({}, config=config(drain_ms=100, retry={"methods": "idempotent"})) as holdfast:
    clients = wait_on_gcp(holdfast, "POST")
    equal("drain", holdfast.admin("POST", "/admin/backends/gcp/drain").status, 200)
    time.sleep(0.4)  # time is the subject: they would have left by now
    equal("still there", holdfast.backend("gcp")["in_flight"], WAITING)
    origins["gcp"].behave = answer()
    go_on.set()  # and close: nothing was answered
    for client in clients:
        client.client.sock.close()
assert time.monotonic() - begun < LONG_MS / 1000, "it took as long as response_ms"
