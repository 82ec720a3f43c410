#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""More work than workers: requests wait in order for a worker. Who has waited for longer than queue_ms is told 503, while the workers
still hang, and its connection goes on; who has not is served, however long others have been waiting. Half a request is not late."""
import json
import os
import tempfile
import threading
import time

from access_lines import parse, read
from harness import WAIT_SECONDS, Holdfast, Load, Origin, answer, echo, equal, head, until

WORKERS = 2
places = threading.Semaphore(0)


def hold(wire, request):
    assert places.acquire(timeout=WAIT_SECONDS), "never let go"
    answer(200, request.target.encode())(wire, request)


def config(queue_ms, workers=WORKERS):
    backends = [{"name": "gcp", "url": f"http://{origin.authority}"}]
    return {"backends": backends, "timeouts": {"queue_ms": queue_ms}, "workers": workers}


def busy_answers():
    """How many were told that the workers are busy."""
    return json.loads(holdfast.admin("GET", "/admin/stats?evidence=1").body)["overload"]["workers_busy"]


def occupy():
    """Clients whose requests hold all workers."""
    clients = []
    for number in range(WORKERS):
        clients.append(holdfast.client())
        clients[-1].send(head("GET", f"/worker{number}"))
        until(lambda: len(origin.requests) == number + 1, "the worker is busy")
    return clients


# In order, while it takes less than queue_ms.
origin = Origin(hold)
with Holdfast({}, config=config(WAIT_SECONDS * 1000)) as holdfast:
    clients = occupy()
    for number in range(8):
        clients.append(holdfast.client())
        clients[-1].send(head("GET", f"/{number}"))
        # It has come when holdfast's kernel has acknowledged it, which for loopback is when send() returns.
    for number in range(8):
        places.release()
        until(lambda: len(origin.requests) == WORKERS + number + 1, "the next is served")
        equal("who is next", origin.requests[-1].target, f"/{number}")
    places.release(WORKERS)
    for client in clients:
        equal("status", client.response().status, 200)
    equal("told that workers are busy", busy_answers(), 0)

# Too late: 503 though all workers hang. A half request waits for its other half.
origin = Origin(hold)
log = os.path.join(tempfile.mkdtemp(), "log")
with Holdfast({}, config=config(400) | {"access_log": log, "log_format": "json"}) as holdfast:
    workers = occupy()
    half = holdfast.client()
    half.send(b"GET /half HTTP/1.1\r\n")
    late = [holdfast.client() for _ in range(20)]
    sent = time.monotonic()
    for number, client in enumerate(late):
        if number % 2 == 0:
            client.send(head("GET", f"/late{number}"))
        else:
            client.post(f"/late{number}", b"x" * 100000)
    for client in late:
        response = client.response()
        assert time.monotonic() - sent >= 0.39, "told too early"
        equal("answer", (response.status, response.field("retry-after"), response.field("connection")), (503, "1", None))
        equal("error", json.loads(response.body)["error"], "workers_busy")
    equal("told that workers are busy", busy_answers(), len(late))
    equal("requests that were sent on", len(origin.requests), WORKERS)
    places.release(WORKERS + 2)
    for client in workers:
        equal("status", client.response().status, 200)
    equal("the same connection, later", late[0].get("/again").body, b"/again")
    half.send(b"Host: a\r\n\r\n")
    equal("the whole of the half", half.response().body, b"/half")
    equal("failures", holdfast.backend("gcp")["failures"], 0)
    stats = holdfast.stats()["requests"]
    equal("sums", (stats["status_2xx"], stats["status_5xx"]), (WORKERS + 2, len(late)))
turned_away = [line for line in map(parse, read(log)) if line["status"] == 503]
equal("their lines in the access log", sorted(line["target"] for line in turned_away), sorted(f"/late{i}" for i in range(len(late))))
for line in turned_away:
    equal("what a line says", (line["backend"], line["attempts"], line["end"]), ("-", 0, "whole"))

# Workers are short for much longer than queue_ms, but nobody waits that long: nobody is refused.
origin = Origin(lambda wire, request: (time.sleep(0.002), echo(wire, request)))
with Holdfast({}, config=config(1000, workers=1)) as holdfast:
    with Load(holdfast.address, 12) as load:
        load.until_over()
    equal("told that workers are busy", busy_answers(), 0)

# The stop of the program finds one that waits.
origin = Origin(hold)
with Holdfast({}, config=config(WAIT_SECONDS * 1000) | {"drain_ms": 200}) as holdfast:
    clients = occupy() + [holdfast.client()]
    clients[-1].send(head("GET", "/waits"))
    holdfast.terminate()
places.release(WORKERS)
