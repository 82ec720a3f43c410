#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""After a mixed load the sums hold: every request has one status, every attempt has one outcome, and the origins' own count agrees
with what the statistics say was sent to them."""
import itertools
import random
import threading

import harness
from harness import Closed, Holdfast, Origin, answer, equal, head, until

CLIENTS = 16
REQUESTS = 100
BEHAVIOURS = [
    *[harness.echo] * 8,
    *[answer(status, b"some body") for status in (201, 302, 404, 500, 503)],
    *[harness.close_unanswered, harness.reset, harness.truncated_length, harness.truncated_chunked, harness.garbage],
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
with Holdfast(origins, "--eject-after", "300") as holdfast:
    threads = [threading.Thread(target=run, args=(holdfast,), daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(harness.WAIT_SECONDS)
    equal("faults", faults, [])
    until(lambda: all(backend["in_flight"] == 0 for backend in holdfast.stats()["backends"]), "nothing is in flight")

    stats = holdfast.stats()
    requests = stats["requests"]
    equal("requests by status", [requests[f"status_{family}xx"] for family in statuses], list(statuses.values()))
    equal("requests", requests["total"], CLIENTS * REQUESTS)
    equal("sum over statuses", sum(requests[f"status_{family}xx"] for family in statuses), requests["total"])
    assert 0 < requests["rescued"] <= requests["retried"] < requests["total"], requests
    for backend in stats["backends"]:
        outcomes = backend["status_200"] + backend["non_200"] + sum(backend["errors"].values())
        equal(f"outcomes of {backend['name']}", outcomes, backend["attempts"])
        failures = backend["non_200"] + sum(backend["errors"].values())
        equal(f"failures of {backend['name']}", backend["failures"], min(failures, 301))
        # A stale connection is replaced within the attempt, so the origin may have seen the request twice.
        seen = len(origins[backend["name"]].requests)
        assert seen >= backend["attempts"], f"{backend['name']} got {seen} requests in {backend['attempts']} attempts"
