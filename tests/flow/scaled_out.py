#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A backend's one address comes to stand for two servers, as behind a load balancer that knows connections
only. Under the same load as before, on connections that never rest, the new server gets its share; no request
is lost, and nobody is blamed. The kernel plays the load balancer: it picks one of the listeners of a port for
each new connection."""
import socket
import threading
import time

from harness import Holdfast, Load, Origin, WAIT_SECONDS, echo, equal

CLIENTS = 16
SHORTEST_LIFE_SECONDS = 5


class Server(Origin):
    """One that shares its port with others."""

    def listen(self, host, port):
        return socket.create_server((host, port), backlog=1024, reuse_port=True)


def together(wire, request):
    """Answers when a request of each client is there: so from the beginning there are as many connections as
    there will ever be at a time."""
    everybody.wait(WAIT_SECONDS)
    first.behave = echo
    echo(wire, request)


everybody = threading.Barrier(CLIENTS)
first = Server(together)
with Holdfast({"cluster": first}) as holdfast:
    begun = time.monotonic()
    with Load(holdfast.address, CLIENTS) as load:
        load.until_more(50 * CLIENTS)
        equal("connections at first", first.connections, CLIENTS)
        second = Server(port=first.port)
        load.until(lambda: len(second.open) >= 2, "the new server has a share of the connections")
        share = len(second.requests)
        load.until(lambda: len(second.requests) >= share + CLIENTS, "the new server gets requests")
    lives = 1 + (time.monotonic() - begun) / SHORTEST_LIFE_SECONDS
    assert first.connections + second.connections <= CLIENTS * lives, "connections are not kept for their time"
    stats = holdfast.stats()
    equal("requests that ended well", stats["requests"]["status_2xx"], load.total())
    equal("requests", stats["requests"]["total"], load.total())
    equal("attempts", stats["backends"][0]["attempts"], load.total())
    equal("failures", stats["backends"][0]["failures"], 0)
    equal("answers of the two", len(first.requests) + len(second.requests), load.total())
