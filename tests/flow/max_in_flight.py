#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A backend is sent no more than max_in_flight requests at once. What is more waits in line: it is served in order when a place
becomes free or the rotation changes, told 503 when its time is over, and forgotten when its client goes."""
import json
import socket
import struct
import threading
import time

from harness import WAIT_SECONDS, Holdfast, Load, Origin, answer, echo, equal, head, until

lock = threading.Lock()


class Desk(Origin):
    """Holds each request until it is let go. Knows how many it had at once."""

    def __init__(self):
        self.at_once = self.most = 0
        self.places = threading.Semaphore(0)
        super().__init__(self.hold)

    def hold(self, wire, request):
        with lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        assert self.places.acquire(timeout=WAIT_SECONDS), "never let go"
        with lock:
            self.at_once -= 1
        answer(200, request.target.encode())(wire, request)


def config(limits, queue_ms=WAIT_SECONDS * 1000, **more):
    backends = [
        {"name": name, "url": f"http://{origin.authority}", "max_in_flight": limit}
        for (name, origin), limit in zip(origins.items(), limits)
    ]
    return {"backends": backends, "timeouts": {"queue_ms": queue_ms}, "workers": 32, **more}


def overload():
    return json.loads(holdfast.admin("GET", "/admin/stats?evidence=1").body)["overload"]


def arrived():
    """How many requests are in line, were refused, or have reached an origin."""
    now = overload()
    return now["waiting"] + now["backends_full"] + sum(len(origin.requests) for origin in origins.values())


def ask(number):
    """A client that asks for /NUMBER, once its request has come as far as it can."""
    client = holdfast.client()
    before = arrived()
    client.send(head("GET", f"/{number}"))
    until(lambda: arrived() > before, "the request has come")
    return client


# First come, first served.
origins = {"gcp": Desk()}
with Holdfast({}, config=config([2])) as holdfast:
    gcp = origins["gcp"]
    clients = [ask(number) for number in range(7)]
    equal("waiting", overload()["waiting"], 5)
    equal("in flight", holdfast.backend("gcp")["in_flight"], 2)
    for number in range(2, 7):
        gcp.places.release()
        until(lambda: len(gcp.requests) == number + 1, "the next is served")
        equal("who is next", gcp.requests[number].target, f"/{number}")
    gcp.places.release(2)
    for number, client in enumerate(clients):
        equal("answer", client.response().body, b"/%d" % number)
    equal("most at once", gcp.most, 2)
    now = overload()
    equal("overload", (now["waiting"], now["waited"], now["backends_full"]), (0, 5, 0))

# Too late: 503, and the connection goes on. A client that goes is forgotten.
origins = {"gcp": Desk()}
with Holdfast({}, config=config([1], queue_ms=300)) as holdfast:
    gcp = origins["gcp"]
    first = ask(0)
    late = ask(1)
    refused = late.response()
    equal("status", (refused.status, refused.field("retry-after")), (503, "1"))
    equal("error", json.loads(refused.body)["error"], "backends_full")
    equal("overload", (overload()["waited"], overload()["backends_full"]), (1, 1))
    gcp.places.release(2)
    equal("answer", first.response().body, b"/0")
    equal("answer on the same connection", late.get("/2").body, b"/2")
    equal("failures", holdfast.backend("gcp")["failures"], 0)

origins = {"gcp": Desk()}
with Holdfast({}, config=config([1])) as holdfast:
    gcp = origins["gcp"]
    first, goes, stays = ask(0), ask(1), ask(2)
    goes.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    goes.sock.close()
    until(lambda: overload()["waiting"] == 1, "the one that went waits no more")
    gcp.places.release(2)
    equal("answer", stays.response().body, b"/2")
    equal("requests", [request.target for request in gcp.requests], ["/0", "/2"])

# What one has no place for goes to the other; and a change of the rotation lets those in line go.
origins = {"gcp": Desk(), "azure": Desk()}
with Holdfast({}, config=config([1, 2])) as holdfast:
    gcp, azure = origins.values()
    equal("drain", holdfast.admin("POST", "/admin/backends/azure/drain").status, 200)
    clients = [ask(number) for number in range(4)]
    equal("waiting", overload()["waiting"], 3)
    equal("undrain", holdfast.admin("POST", "/admin/backends/azure/undrain").status, 200)
    until(lambda: len(azure.requests) == 2, "those in line went to the other")
    equal("who", {request.target for request in azure.requests}, {"/1", "/2"})
    equal("waiting", overload()["waiting"], 1)
    gcp.places.release(2)  # the last one goes wherever a place is free first
    azure.places.release(3)
    for client in clients:
        equal("status", client.response().status, 200)
    equal("most at once", (gcp.most, azure.most), (1, 2))

# Under load: never more than the limit, and nobody is refused.
origins = {"gcp": Origin(), "azure": Origin()}
counts = {name: [0, 0] for name in origins}


def counted(name):
    def behave(wire, request):
        with lock:
            counts[name][0] += 1
            counts[name][1] = max(counts[name])
        time.sleep(0.001)  # the work
        with lock:
            counts[name][0] -= 1
        echo(wire, request)

    return behave


for name, origin in origins.items():
    origin.behave = counted(name)
with Holdfast({}, config=config([2, 1])) as holdfast:
    with Load(holdfast.address, 16) as load:
        load.until_over()
    assert counts["gcp"][1] <= 2 and counts["azure"][1] <= 1, counts
    assert overload()["waited"] > 0, "nobody had to wait"
    equal("refused", overload()["backends_full"], 0)
    equal("requests", holdfast.stats()["requests"]["status_2xx"], load.total())
