#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Holdfast may open few files, and there are more clients than that: those that get in are answered, or told 503, no backend is
blamed for it, and when some have left, others are served."""

from few_files import limit_files
from harness import Holdfast, Origin, answer, equal, until
from raw import connect

FILES = 100
CLIENTS = 130
ASKING = 40
GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def connections():
    return holdfast.stats()["connections"]


limit_files(FILES)
origins = {name: Origin(answer(200, b"ok")) for name in ("gcp", "azure")}
with Holdfast(origins, "--workers", "16") as holdfast:
    clients = [connect(holdfast) for _ in range(CLIENTS)]
    statuses = []
    for client in clients[:ASKING]:
        client.send(GET)
        statuses.append(client.response().status)
    equal("kinds of answers", set(statuses) | {200, 503}, {200, 503})
    assert 200 in statuses, "nobody was served"
    for name in origins:
        backend = holdfast.backend(name)
        equal(f"{name}", (backend["state"], backend["failures"], set(backend["errors"].values())), ("up", 0, {0}))
    for client in clients:
        client.sock.close()
    until(lambda: connections()["active"] + connections()["idle"] == 0, "all have left")
    with connect(holdfast) as client:
        client.send(GET)
        equal("answer afterwards", client.response().status, 200)
