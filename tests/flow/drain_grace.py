#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""drain_grace_ms: after SIGTERM readyz is 503 while all else goes on: new connections, kept connections, SIGHUP. A second
signal ends the grace at once, and time does too: then new connections are refused, what is in flight is finished, and
holdfast ends with 0."""
import json
import os
import signal
import threading
import time

from harness import WAIT_SECONDS, Client, Holdfast, Origin, equal, head, until

LONG_MS = 3_600_000
SHORT_MS = 700

gate = threading.Event()


def when_allowed(wire, request):
    if request.target == "/slow":
        assert gate.wait(WAIT_SECONDS)
    wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ndone")


def config(**more):
    return {"backends": [{"name": "gcp", "url": f"http://{origin.authority}"}], **more}


def reload(holdfast, **more):
    before = sum("config reloaded" in line for line in list(holdfast.log))
    path = os.path.join(holdfast.folder.name, "config.json")
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config(**more), file)
    holdfast.process.send_signal(signal.SIGHUP)
    until(lambda: sum("config reloaded" in line for line in list(holdfast.log)) > before, "the config is reloaded")


def ready(holdfast):
    return holdfast.admin("GET", "/admin/readyz").status


def expect_served(client):
    response = client.get("/")
    equal("answer", (response.status, response.field("connection")), (200, None))


def is_refused(address):
    try:
        Client(address).sock.close()
    except ConnectionRefusedError:
        return True
    return False


def stop_by_a_second_signal(first, second):
    gate.clear()
    with Holdfast({}, config=config()) as holdfast:
        reload(holdfast, drain_grace_ms=LONG_MS)
        kept, slow, idle = holdfast.client(), holdfast.client(), holdfast.client()
        expect_served(kept)
        expect_served(idle)

        holdfast.process.send_signal(first)
        until(lambda: ready(holdfast) == 503, "it is not ready any more")
        equal("fit for traffic", holdfast.stats()["ready"], False)
        equal("alive", holdfast.admin("GET", "/admin/healthz").status, 200)
        for _ in range(3):
            expect_served(kept)
            with holdfast.client() as client:
                expect_served(client)
                expect_served(client)
        reload(holdfast, drain_grace_ms=0)  # its grace has begun: this is for the next
        equal("fit for traffic after SIGHUP", ready(holdfast), 503)
        expect_served(kept)
        before = len(origin.requests)
        slow.send(head("GET", "/slow"))
        until(lambda: len(origin.requests) > before, "a request is in flight")
        assert not holdfast.logged("draining: "), "the grace did not last"

        holdfast.process.send_signal(second)
        until(lambda: is_refused(holdfast.address), "new connections are refused")
        idle.expect_end()
        equal("ended already", holdfast.process.poll(), None)
        gate.set()
        response = slow.response()
        equal("what was in flight", (response.status, response.field("connection")), (200, "close"))
        equal("exit status", holdfast.process.wait(timeout=WAIT_SECONDS), 0)


def stop_by_time():
    with Holdfast({}, config=config(drain_grace_ms=SHORT_MS)) as holdfast:
        with holdfast.client() as client:
            expect_served(client)
        begun = time.monotonic()
        holdfast.process.send_signal(signal.SIGTERM)
        until(lambda: holdfast.logged("draining: "), "the grace is over")
        taken = time.monotonic() - begun
        assert taken >= SHORT_MS / 1000, f"the grace was over after {taken:.3f} s"
        until(lambda: is_refused(holdfast.address), "new connections are refused")
        equal("exit status", holdfast.process.wait(timeout=WAIT_SECONDS), 0)


origin = Origin(when_allowed)
stop_by_a_second_signal(signal.SIGTERM, signal.SIGTERM)
stop_by_a_second_signal(signal.SIGINT, signal.SIGINT)
stop_by_time()
