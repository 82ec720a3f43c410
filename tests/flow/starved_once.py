#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Without a descriptor for a connection to any backend the client is told 503 "starved", and no backend is blamed. That tells of the
last attempt only: a request that finds none for its first backend, waits for a place on the second one and fails there when there
are descriptors again is told that no backend answered."""
import json
import threading

from harness import WAIT_SECONDS, HangUp, Holdfast, Origin, Starvation, answer, equal, head, until

let_go = threading.Event()


def hold_and_close(*_):
    assert let_go.wait(WAIT_SECONDS), "never let go"
    raise HangUp


def waiting():
    """How many requests wait for a place on a backend."""
    return json.loads(holdfast.admin("GET", "/admin/stats?evidence=1").body)["overload"]["waiting"]


def failures():
    return [holdfast.backend(name)["failures"] for name in ("first", "second")]


def told(response):
    return response.status, json.loads(response.body)["error"]


starvation = Starvation()
first, second = Origin(answer(200)), Origin(hold_and_close)
backends = [
    {"name": "first", "url": f"http://{first.authority}"},
    {"name": "second", "url": f"http://{second.authority}", "max_in_flight": 1},
]
config = {"backends": backends, "timeouts": {"queue_ms": WAIT_SECONDS * 1000}}
with Holdfast({}, config=config, overlay=starvation) as holdfast, holdfast.client() as client, holdfast.client() as holder:
    with starvation:
        equal("answer without descriptors", told(client.get()), (503, "starved"))
    holder.send(head("GET", "/takes-the-only-place"))
    until(lambda: second.requests, "the second backend is full")
    with starvation:
        client.send(head("GET", "/waits"))
        until(lambda: waiting() == 1, "it waits for the second backend")
    equal("failures until now", failures(), [0, 0])
    let_go.set()
    equal("answer", told(client.response()), (502, "no_backend_answered"))
    equal("status of the other", holder.response().status, 200)
    equal("requests of the first", [request.target for request in first.requests], ["/takes-the-only-place"])
    equal("failures", failures(), [0, 2])
