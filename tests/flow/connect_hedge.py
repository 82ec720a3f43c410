#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A connect hangs: after connect_hedge_ms one to the next backend is begun beside it, and the request, a POST too, is sent once,
over the one that is made. A black hole costs no client connect_ms, and counts one failure for each request that met it, when
connect_ms is over: the 11th ejects. A backend that answers late is not blamed. A client that goes, a reload and a stop find
nothing that is left."""
import json
import os
import select
import signal
import socket
import struct
import threading
import time

from harness import WAIT_SECONDS, Holdfast, Origin, answer, equal, head, last_words, until

CONNECT_MS = 4000
LONG_MS = 30_000  # longer than any wait here
HEDGE_MS = 100
EJECTS = 11


class Hole:
    """Its queue is full: attempts to connect get no answer, until it opens."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        self.authority = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.guests = []
        for _ in range(3):
            self.guests.append(socket.socket())
            self.guests[-1].setblocking(False)
            self.guests[-1].connect_ex(self.listener.getsockname())
        self.connections = []

    def open(self):
        """Accepts whatever comes from now on, in a thread; a guest is one that ends at once."""
        for guest in self.guests:
            guest.close()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            self.connections.append(self.listener.accept()[0])

    def live(self):
        """The connections on which there is no end."""
        return [c for c in self.connections if not select.select([c], [], [], 0)[0]]


def config(backends, hedge_ms=HEDGE_MS, connect_ms=CONNECT_MS, **more):
    return {
        "admin": {"drill": True},
        "backends": [{"name": name, "url": f"http://{one.authority}"} for name, one in backends.items()],
        "timeouts": {"connect_ms": connect_ms, "connect_hedge_ms": hedge_ms},
        **more,
    }


def drill(holdfast, name, mode):
    equal("answer to a drill", holdfast.admin("POST", f"/admin/drill?backend={name}&mode={mode}").status, 200)


def ask(client, method="GET", status=200):
    """Sends a request. The seconds until its answer."""
    begun = time.monotonic()
    client.send(head(method, "/", "Content-Length: 0"))
    equal(f"answer to {method}", client.response(method).status, status)
    return time.monotonic() - begun


def sums_hold(holdfast, name):
    """The backend's page, which must add up."""
    page = holdfast.backend(name)
    outcomes = page["status_200"] + page["non_200"] + sum(page["errors"].values())
    equal(f"attempts of {name}", page["attempts"], outcomes + page["in_flight"])
    return page


def reset(client):
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()


def black_hole(methods):
    """One of two backends is a black hole. Each request meets it or not, in turn."""
    origins = {"gcp": Origin(answer(200, b"gcp")), "azure": Origin(answer(200, b"azure"))}
    with Holdfast({}, config=config(origins, retry={"methods": methods})) as holdfast:
        drill(holdfast, "gcp", "blackhole")
        with holdfast.client() as client:
            for number in range(2 * EJECTS):
                taken = ask(client, "POST" if number % 4 < 2 else "GET")
                assert taken < CONNECT_MS / 1000, f"answer {number} took {taken:.1f} s"
                assert sums_hold(holdfast, "gcp")["failures"] <= number
            until(lambda: holdfast.backend("gcp")["state"] == "ejected", "the 11th failure ejects")
            page = sums_hold(holdfast, "gcp")
            equal("what it counts", (page["attempts"], page["failures"], page["errors"]["connect"], page["in_flight"]),
                  (EJECTS, EJECTS, EJECTS, 0))
            equal("ejections", page["ejections"], 1)
            until(lambda: holdfast.logged("backend ejected"), "the log of the ejection")
            evidence = holdfast.evidence("gcp")["evidence"]
            equal("timeouts in the evidence", evidence["causes"]["connect_timeout"]["count"], EJECTS)
            assert all(one["ms"] >= CONNECT_MS * 0.99 for one in evidence["failures"]), evidence["failures"]
            equal("attempt of each", {one["attempt"] for one in evidence["failures"]}, {1})
            for _ in range(4):
                ask(client)
            equal("attempts after the ejection", holdfast.backend("gcp")["attempts"], EJECTS)
            sent = 2 * EJECTS + 4
            equal("requests that came", (len(origins["gcp"].requests), len(origins["azure"].requests)), (0, sent))
            page = sums_hold(holdfast, "azure")
            equal("azure", (page["attempts"], page["status_200"], page["failures"]), (sent, sent, 0))
            requests = holdfast.stats()["requests"]
            equal("requests", (requests["total"], requests["status_2xx"], requests["retried"]), (sent, sent, EJECTS))

            drill(holdfast, "gcp", "off")
            holdfast.reset()
            for _ in range(4):
                ask(client)
            equal("gcp is served again", holdfast.backend("gcp")["status_200"], 2)


def late_answer():
    """The connect that lost is answered after all: it is nobody's failure, and the connection is used."""
    hole, azure = Hole(), Origin(answer(200))
    with Holdfast({}, config=config({"hole": hole, "azure": azure}, connect_ms=LONG_MS)) as holdfast:
        with holdfast.client() as client:
            ask(client)
        page = sums_hold(holdfast, "hole")
        equal("the connect hangs", (page["attempts"], page["in_flight"]), (1, 1))
        hole.open()
        until(lambda: holdfast.backend("hole")["in_flight"] == 0, "the connect is answered")
        page = sums_hold(holdfast, "hole")
        equal("it is taken back", (page["attempts"], page["failures"]), (0, 0))
        until(lambda: len(hole.live()) == 1, "its connection rests")
        with holdfast.client() as client:  # azure is next, then the hole
            ask(client)
            client.send(head("GET", "/late"))
            until(lambda: len(hole.live()) == 0, "the request comes over it")
            connection = next(c for c in hole.connections if select.select([c], [], [], 0)[0] and c.recv(1, socket.MSG_PEEK))
            assert connection.recv(4096).startswith(b"GET /late "), "not the request"
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            equal("its answer", client.response().status, 200)


def number_used_before():
    """The connect that lost has the descriptor's number of a connection that was closed: what is known of that one does not count,
    and the answer that comes over it is seen."""
    hole, azure = Hole(), Origin(last_words(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
    with Holdfast({}, config=config({"hole": hole, "azure": azure}, connect_ms=LONG_MS)) as holdfast, holdfast.client() as client:
        equal("drain", holdfast.admin("POST", "/admin/backends/hole/drain").status, 200)
        ask(client)
        equal("undrain", holdfast.admin("POST", "/admin/backends/hole/undrain").status, 200)
        until(lambda: ask(client) is not None and holdfast.backend("hole")["in_flight"] == 1, "a connect hangs")
        hole.open()
        until(lambda: holdfast.backend("hole")["in_flight"] == 0, "the connect is answered")
        until(lambda: len(hole.live()) == 1, "its connection rests")
        connection = hole.live()[0]
        equal("drain", holdfast.admin("POST", "/admin/backends/azure/drain").status, 200)
        client.send(head("GET", "/"))
        until(lambda: not hole.live(), "the request comes over it")
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        equal("its answer", client.response().status, 200)


def nobody_waits():
    """Both connects hang and the client resets: both are taken back. A stop does not wait for those that lost."""
    holes = {"hole0": Hole(), "hole1": Hole()}
    with Holdfast({}, config=config(holes, connect_ms=LONG_MS)) as holdfast:
        client = holdfast.client()
        client.send(head("GET", "/"))
        for name in holes:
            until(lambda: holdfast.backend(name)["in_flight"] == 1, f"a connect to {name} hangs")
        reset(client)
        for name in holes:
            until(lambda: holdfast.backend(name)["in_flight"] == 0, f"{name} is given up")
            equal(f"attempts on {name}", sums_hold(holdfast, name)["attempts"], 0)
    backends = {"hole": Hole(), "azure": Origin()}
    with Holdfast({}, config=config(backends, connect_ms=LONG_MS)) as holdfast:
        with holdfast.client() as client:
            ask(client)
        equal("the connect hangs", holdfast.backend("hole")["in_flight"], 1)
        begun = time.monotonic()
        holdfast.terminate()
        assert time.monotonic() - begun < LONG_MS / 2000, "the stop waited for a connect"


def refusals():
    """One that is refused in the race is written at once, and the other one goes on alone; a third is asked next to it."""
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    refuses = Origin()
    refuses.authority = f"127.0.0.1:{closed.getsockname()[1]}"
    backends = {"hole": Hole(), "refuses": refuses, "azure": Origin()}
    with Holdfast({}, config=config(backends, connect_ms=LONG_MS)) as holdfast:
        with holdfast.client() as client:
            ask(client)
        counts = {name: sums_hold(holdfast, name) for name in backends}
        equal("attempts", [counts[name]["attempts"] for name in backends], [1, 1, 1])
        equal("failures", [counts[name]["failures"] for name in backends], [0, 1, 0])
        equal("cause", holdfast.evidence("refuses")["evidence"]["causes"]["refused"]["count"], 1)
        requests = holdfast.stats()["requests"]
        equal("requests", (requests["retried"], requests["rescued"]), (1, 1))


def off_and_bounded():
    """With 0 a connect is waited for alone; where retry.attempts allows one, there is no second."""
    origins = {"gcp": Origin(), "azure": Origin()}
    with Holdfast({}, config=config(origins, hedge_ms=0, connect_ms=500)) as holdfast:
        drill(holdfast, "gcp", "blackhole")
        with holdfast.client() as client:
            assert ask(client) >= 0.5, "it was hedged"
        equal("failures", holdfast.backend("gcp")["failures"], 1)
    with Holdfast({}, config=config(origins, connect_ms=500, retry={"attempts": 1})) as holdfast:
        drill(holdfast, "gcp", "blackhole")
        with holdfast.client() as client:
            ask(client, status=502)
        equal("attempts", [holdfast.backend(name)["attempts"] for name in origins], [1, 0])


def reload():
    """A backend leaves while a connect to it hangs: no other one gets its slot before that has ended."""
    hole, azure, other = Hole(), Origin(), Origin()
    with Holdfast({}, config=config({"hole": hole, "azure": azure}, connect_ms=LONG_MS)) as holdfast:
        with holdfast.client() as client:
            ask(client)
            equal("the connect hangs", holdfast.backend("hole")["in_flight"], 1)
            for number in range(3):
                name = f"other{number}"
                path = os.path.join(holdfast.folder.name, "config.json")
                with open(path + ".new", "w", encoding="utf-8") as file:
                    json.dump(config({name: other, "azure": azure}, connect_ms=LONG_MS), file)
                os.replace(path + ".new", path)
                holdfast.process.send_signal(signal.SIGHUP)
                until(lambda: [b["name"] for b in holdfast.stats()["backends"]] == [name, "azure"], f"{name} is there")
                page = sums_hold(holdfast, name)
                equal("nothing of the one before", (page["attempts"], page["in_flight"]), (0, 0))
                for _ in range(4):
                    ask(client)
                until(lambda: holdfast.backend(name)["status_200"] == 2, f"{name} is served")
            hole.open()
            until(lambda: hole.connections, "the connect is answered")
            ask(client)


black_hole("all")
black_hole("idempotent")
late_answer()
number_used_before()
nobody_waits()
refusals()
off_and_bounded()
reload()
