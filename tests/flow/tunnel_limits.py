#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Tunnels have a bound of their own and no share of the workers: with many open, a single worker serves plain requests at once;
one too many is refused with 503, and fits when another ends; one on which nothing moves is ended, one that is used is not; and
at SIGTERM those that are left are ended with drain_ms."""
import time

from harness import Holdfast, equal, head, until
from raw import RawOrigin, connect

TUNNELS = 200
IDLE_MS = 1000
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: upgrade\r\n\r\n"
GREETING = b"now"


def serve(wire):
    """Switches when asked to, and then echoes; otherwise answers."""
    while True:
        request = wire.request()
        if request.field("upgrade") is None:
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain")
        elif request.target == "/no":
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno")
        else:
            wire.send(SWITCHED + GREETING)
            while True:
                wire.send(wire.exactly(1))


def ask_for_tunnel(holdfast, target="/"):
    client = connect(holdfast)
    client.send(head("GET", target, "Upgrade: chat", "Connection: upgrade"))
    return client


def open_tunnel(holdfast):
    client = ask_for_tunnel(holdfast)
    equal("status", client.head().status, 101)
    equal("greeting", client.exactly(len(GREETING)), GREETING)
    return client


def echo(client):
    client.send(b"x")
    equal("echo", client.exactly(1), b"x")


def refused(holdfast):
    """Asks for a tunnel too many: refused, and the connection is still good for plain requests."""
    with ask_for_tunnel(holdfast) as client:
        response = client.response()
        equal("status", response.status, 503)
        assert b'"too_many_tunnels"' in response.body, response.body
        client.send(head("GET", "/"))
        equal("plain request on the same connection", client.response().body, b"plain")


def many_tunnels_and_one_worker():
    config = {"limits": {"tunnels": TUNNELS}}
    with Holdfast({"gcp": RawOrigin(serve)}, "--workers", "1", config=config) as holdfast, holdfast.client() as plain:
        for _ in range(TUNNELS + 1):  # an upgrade that the backend declines gives its place back
            with ask_for_tunnel(holdfast, "/no") as client:
                equal("body", client.response().body, b"no")
        tunnels = [open_tunnel(holdfast) for _ in range(TUNNELS)]
        until(lambda: holdfast.stats()["workers"]["busy"] == 0, "no worker is held by a tunnel")
        begun = time.monotonic()
        for number in range(100):
            equal("plain request", plain.get().body, b"plain")
            echo(tunnels[number])
        taken = time.monotonic() - begun
        assert taken < 5, f"100 plain requests took {taken:.1f} s"
        equal("connections", holdfast.stats()["connections"]["active"], TUNNELS)
        refused(holdfast)
        for round_number in range(3):
            tunnels.pop().sock.close()
            until(lambda: holdfast.stats()["connections"]["active"] == TUNNELS - 1, "the tunnel has ended")
            tunnels.append(open_tunnel(holdfast))
            refused(holdfast)
        for client in tunnels:
            echo(client)
            client.sock.close()
        until(lambda: holdfast.stats()["connections"]["active"] == 0, "every tunnel has ended")
        equal("failures", holdfast.backend("gcp")["failures"], 0)


def idle_tunnels_end():
    config = {"timeouts": {"tunnel_idle_ms": IDLE_MS}}
    with Holdfast({"gcp": RawOrigin(serve)}, config=config) as holdfast:
        begun = time.monotonic()  # Before the idle one is opened: it is idle from then on.
        with open_tunnel(holdfast) as idle, open_tunnel(holdfast) as used:
            while holdfast.stats()["connections"]["active"] == 2:
                assert time.monotonic() < begun + 20, "the idle tunnel lives on"
                echo(used)
            taken = time.monotonic() - begun
            assert taken >= IDLE_MS / 1000, f"ended after {taken:.1f} s"
            equal("what came at the end", idle.rest(), b"")
            echo(used)


def no_tunnels_at_all():
    with Holdfast({"gcp": RawOrigin(serve)}, config={"limits": {"tunnels": 0}}) as holdfast:
        refused(holdfast)


def tunnels_at_the_end_of_the_program():
    with Holdfast({"gcp": RawOrigin(serve)}, config={"drain_ms": 300}) as holdfast:
        with open_tunnel(holdfast) as client:
            holdfast.terminate()
            equal("what came at the end", client.rest(), b"")
            assert holdfast.logged("drain_ms is over: cutting 1 connections"), "the tunnel was not given its time"


many_tunnels_and_one_worker()
idle_tunnels_end()
no_tunnels_at_all()
tunnels_at_the_end_of_the_program()
