#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""400 clients before a holdfast with the default number of workers, which may open 256 files: as many are let in as find a file for
their backend too. So each is answered with 200, none with 503 starved."""
import os
import stat
import threading

from harness import Client, Holdfast, Origin, answer, equal, many_descriptors

FILES = 256
CLIENTS = 400
ROUNDS = 3

wrapper = os.path.join(os.environ["TMPDIR"], "few-files")
with open(wrapper, "w", encoding="utf-8") as file:
    file.write(f'#!/bin/sh\nulimit -n {FILES} && exec "{os.environ["HOLDFAST"]}" "$@"\n')
os.chmod(wrapper, stat.S_IRWXU)
os.environ["HOLDFAST"] = wrapper
many_descriptors()
threading.stack_size(256 << 10)


def serve(wire, request):
    """Lets many wait at one time."""
    threading.Event().wait(0.05)
    answer(200)(wire, request)


def ask():
    for _ in range(ROUNDS):
        with Client(holdfast.address) as client:
            statuses.append(client.get().status)


statuses = []
origins = {name: Origin(serve) for name in ("gcp", "azure")}
with Holdfast(origins) as holdfast:
    threads = [threading.Thread(target=ask) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal("statuses", {status: statuses.count(status) for status in set(statuses)}, {200: CLIENTS * ROUNDS})
    equal("well", [(b["state"], b["failures"]) for b in holdfast.stats()["backends"]], [("up", 0)] * len(origins))
