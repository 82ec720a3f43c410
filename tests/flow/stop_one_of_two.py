#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Two front ends before the same backends, and clients that go to the other one when they can't connect, but send nothing
twice. Now one front end is stopped under load, now the other: no request is lost. Half of the clients make a connection for
each request; the others keep theirs until a response says that it was the last."""
import os
import signal
import threading

from harness import WAIT_SECONDS, Client, Holdfast, Origin, as_pair, equal, until

CLIENTS = 8
ROUNDS = 3
LISTEN = [os.environ["FLOW_LISTEN"], os.environ["FLOW_SPARE1"]]
ADMIN = [os.environ["FLOW_ADMIN"], os.environ["FLOW_SPARE2"]]


def start(number):
    # A grace that is short on purpose: these clients do not look at readyz.
    config = {"drain_grace_ms": 100}
    return Holdfast({"gcp": gcp, "azure": azure}, "--workers", "32", config=config, listen=LISTEN[number], admin=ADMIN[number])


class Clients:
    def __init__(self):
        self.answered = [0] * CLIENTS
        self.moved = 0  # times that a front end could not be connected to
        self.failures = []
        self.ending = False
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def _connect(self, number):
        """To one front end or the other."""
        first = self.answered[number] % 2
        for which in (first, 1 - first):
            try:
                return Client(as_pair(LISTEN[which]))
            except ConnectionRefusedError:
                self.moved += 1
        raise AssertionError("neither front end lets anybody in")

    def _run(self, number):
        try:
            while not self.ending:
                with self._connect(number) as client:
                    last = False
                    while not last and not self.ending:
                        last = self._ask(client, number) or number % 2 == 0
        except Exception as error:  # whatever it is, a request was lost
            self.failures.append(f"client {number}, request {self.answered[number]}: {error!r}")

    def _ask(self, client, number):
        """Whether it was the last one on its connection."""
        body = b"client %d, request %d" % (number, self.answered[number])
        client.post("/echo", body)
        response = client.response()
        equal("answer", (response.status, response.body), (200, body))
        self.answered[number] += 1
        return response.field("connection") == "close"

    def until(self, so, what):
        until(lambda: self.failures or so(), what)
        equal("failures", self.failures, [])

    def until_more(self):
        goals = [answered + 10 for answered in self.answered]
        self.until(lambda: all(a >= goal for a, goal in zip(self.answered, goals)), "all are answered again")


gcp, azure = Origin(), Origin()
front_ends = [start(0), start(1)]
clients = Clients()
for turn in range(2 * ROUNDS):
    stopped = front_ends[turn % 2]
    clients.until_more()
    stopped.process.send_signal(signal.SIGTERM)
    equal("exit status", stopped.process.wait(timeout=WAIT_SECONDS), 0)
    assert not stopped.logged("cutting"), "something in flight was cut"
    stopped.terminate()
    moved = clients.moved
    clients.until(lambda: clients.moved > moved, "somebody found it gone")
    front_ends[turn % 2] = start(turn % 2)
clients.until_more()
clients.ending = True
for thread in clients.threads:
    thread.join(WAIT_SECONDS)
equal("failures", clients.failures, [])
for holdfast in front_ends:
    holdfast.terminate()
equal("requests that reached a backend", len(gcp.requests) + len(azure.requests), sum(clients.answered))
