#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Sixteen clients, four workers, a backend that takes its time: four requests are at work, never more, though no worker waits for
them; and all are answered."""
import threading

from harness import Holdfast, Origin, answer, equal, until

CLIENTS = 16
WORKERS = 4
ROUNDS = 3

lock = threading.Lock()
full = threading.Condition(lock)
at_work = most = 0


def serve(wire, request):
    global at_work, most
    with full:
        at_work += 1
        most = max(most, at_work)
        full.notify_all()
        # Each waits until there are as many as there may be: only then it shows whether there are more.
        full.wait_for(lambda: most >= WORKERS, timeout=10)
    answer(200, request.target.encode())(wire, request)
    with full:
        at_work -= 1


def ask(holdfast, name):
    with holdfast.client() as client:
        for i in range(ROUNDS):
            answers[name].append(client.get(f"/{name}/{i}").body)


answers = [[] for _ in range(CLIENTS)]
with Holdfast({"gcp": Origin(serve)}, "--workers", str(WORKERS)) as holdfast:
    threads = [threading.Thread(target=ask, args=(holdfast, name)) for name in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in range(CLIENTS):
        equal("answers", answers[name], [f"/{name}/{i}".encode() for i in range(ROUNDS)])
    equal("most requests at work", most, WORKERS)
    until(lambda: holdfast.stats()["workers"]["busy"] == 0, "nobody is at work")
    backend = holdfast.backend("gcp")
    equal("attempts", (backend["attempts"], backend["status_200"]), (CLIENTS * ROUNDS, CLIENTS * ROUNDS))
