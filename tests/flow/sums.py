#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""After a mixed load the sums hold: every request has one status, every attempt has one outcome, and the
origins' own count agrees with what the statistics say was sent to them. So does the access log: a line for each request."""
import collections
import itertools
import os
import random
import tempfile
import threading

import access_lines
import harness
from harness import Holdfast, Origin, answer, equal, expect_zero, head, until

CLIENTS = 16
REQUESTS = 100
BEHAVIOURS = [
    *[harness.echo] * 8,
    *[answer(status, b"some body") for status in (201, 302, 404, 500, 503)],
    *[harness.close_unanswered, harness.reset, harness.garbage],
    *[harness.truncated_length, harness.truncated_chunked],
]
lock = threading.Lock()
turns = itertools.cycle(random.Random(7).choices(BEHAVIOURS, k=997))
statuses = {2: 0, 3: 0, 4: 0, 5: 0}
faults = []


def mixed(wire, request):
    with lock:
        behaviour = next(turns)
    behaviour(wire, request)


def ask(client, number):
    if number % 10 == 9:
        client.send(b"GET / HTTP/1.1\r\nBad Field: x\r\n\r\n")
    elif number % 3 == 0:
        client.post("/", b"body %d" % number)
    else:
        client.send(head("HEAD" if number % 3 == 1 else "GET", "/"))
        return client.response("HEAD" if number % 3 == 1 else "GET")
    return client.response()


def run(holdfast):
    try:
        client = holdfast.client()
        for number in range(REQUESTS):
            response = ask(client, number)
            with lock:
                statuses[response.status // 100] += 1
            if response.field("connection") == "close":
                client.sock.close()
                client = holdfast.client()
        client.sock.close()
    except Exception as error:
        faults.append(repr(error))


origins = {name: Origin(mixed) for name in ("gcp", "azure", "third")}
log = os.path.join(tempfile.mkdtemp(), "log")
with Holdfast(origins, "--eject-after", "300", config={"access_log": log}) as holdfast:
    threads = [threading.Thread(target=run, args=(holdfast,), daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(harness.WAIT_SECONDS)
    equal("faults", faults, [])
    until(lambda: all(backend["in_flight"] == 0 for backend in holdfast.stats()["backends"]), "all has ended")

    stats = holdfast.stats()
    requests = stats["requests"]
    by_status = [requests[f"status_{family}xx"] for family in statuses]
    equal("requests by status", by_status, list(statuses.values()))
    equal("requests", requests["total"], CLIENTS * REQUESTS)
    equal("sum over statuses", sum(by_status), requests["total"])
    assert 0 < requests["rescued"] <= requests["retried"] < requests["total"], requests
    for backend in stats["backends"]:
        outcomes = backend["status_200"] + backend["non_200"] + sum(backend["errors"].values())
        equal(f"outcomes of {backend['name']}", outcomes, backend["attempts"])
        failures = backend["non_200"] + sum(backend["errors"].values())
        equal(f"failures of {backend['name']}", backend["failures"], min(failures, 301))
        # A stale connection is replaced within the attempt, so an origin may see a request twice; one whose
        # wait was cut when its backend was ejected may not have come to be read.
        seen = len(origins[backend["name"]].requests)
        read = backend["attempts"] - backend["errors"]["timeout"]
        assert seen >= read, f"{backend['name']} got {seen} requests in {read} attempts"
    for kind in ("reset", "protocol"):
        assert any(backend["errors"][kind] > 0 for backend in stats["backends"]), f"there was no {kind}"
    expect_zero(holdfast.reset())
lines = list(map(access_lines.parse, access_lines.read(log)))
equal("lines by status", collections.Counter(int(line["status"]) // 100 for line in lines), collections.Counter(statuses))
equal("lines of requests that were sent again", sum(int(line["attempts"]) > 1 for line in lines), requests["retried"])
