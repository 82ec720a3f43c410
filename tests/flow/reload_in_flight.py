#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A backend leaves by a reload while a request waits on it: that request is finished on it, and no other one is
begun. What is known of the backends that stay, an ejection too, stays. When it comes back its counts are zero."""
import threading

from harness import Holdfast, Origin, answer, equal, until


def slow(wire, request):
    go_on.wait(20)
    answer(200, b"leaves")(wire, request)


go_on = threading.Event()
origins = {"leaves": Origin(slow), "stays": Origin(answer(200, b"stays")), "fails": Origin(answer(500))}


def config(*names):
    return {
        "backends": [{"name": name, "url": f"http://{origins[name].authority}"} for name in names],
        "health": {"eject_after": 0},
    }


def ask(holdfast, times):
    with holdfast.client() as client:
        return [client.get().body for _ in range(times)]


with Holdfast({}, config=config("fails", "stays")) as holdfast:
    equal("answers", ask(holdfast, 4), [b"stays"] * 4)
    equal("state", holdfast.backend("fails")["state"], "ejected")

    holdfast.reload(config("leaves", "fails", "stays"))
    waiting = [holdfast.client() for _ in range(2)]
    for client in waiting:
        client.send(b"GET / HTTP/1.1\r\nHost: flow.test\r\n\r\n")
    until(lambda: len(origins["leaves"].requests) == 1, "a request waits on the one that leaves")
    until(lambda: holdfast.backend("stays")["attempts"] == 5, "the other one has been answered")
    failing = holdfast.backend("fails")
    equal("failures", (failing["state"], failing["failures"]), ("ejected", 1))

    holdfast.reload(config("fails", "stays"))
    equal("answers", ask(holdfast, 10), [b"stays"] * 10)
    failing = holdfast.backend("fails")
    equal("failures", (failing["state"], failing["failures"]), ("ejected", 1))
    equal("attempts", holdfast.backend("stays")["attempts"], 15)

    # Its old self still has the request in flight: the new one must have nothing of it.
    holdfast.reload(config("leaves", "fails", "stays"))
    equal("attempts", holdfast.backend("leaves")["attempts"], 0)
    equal("in flight", holdfast.backend("leaves")["in_flight"], 0)
    go_on.set()
    equal("answers", sorted(client.response().body for client in waiting), [b"leaves", b"stays"])
    equal("attempts", holdfast.backend("leaves")["attempts"], 0)
    for client in waiting:
        client.sock.close()
    equal("answers", sorted(ask(holdfast, 4)), [b"leaves"] * 2 + [b"stays"] * 2)
    backend = holdfast.backend("leaves")
    equal("attempts", (backend["attempts"], backend["status_200"], backend["in_flight"]), (2, 2, 0))
