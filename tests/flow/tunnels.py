#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An upgraded connection (RFC 9110, 7.8) is a tunnel: every byte behind the two heads arrives, in both directions, whoever
speaks first; the end of one direction is passed on and the other goes on; a reset ends both; who does not read holds up nobody
else."""
import hashlib
import random
import socket
import struct
import threading

from harness import Holdfast, equal, head, until
from raw import DATE, RawOrigin, connect

UPGRADE = ("Upgrade: chat/2", "Connection: Upgrade")
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat/2\r\nX: y\r\n"
ANSWER = SWITCHED + b"Connection: keep-alive, Upgrade\r\n\r\n"
TOLD = SWITCHED + b"Via: 1.1 holdfast\r\nConnection: upgrade\r\n\r\n"
BULK = random.Random(6).randbytes(20_000_000)

origin = RawOrigin(None)


def switch_and(script, behind=b""):
    """A script: answers 101, with BEHIND in the same piece, and goes on with SCRIPT."""

    def switch(wire):
        request = wire.request()
        wire.request_seen = request
        wire.send(ANSWER + behind)
        script(wire)

    return switch


def open_tunnel(holdfast, script, behind_request=b"", behind_answer=b""):
    """A client whose tunnel is open, and the origin's side of it."""
    origin.script = switch_and(script, behind_answer)
    before = len(origin.wires)
    client = connect(holdfast)
    client.send(head("GET", "/chat", *UPGRADE) + behind_request)
    equal("what the client is told", client.exactly(len(TOLD)), TOLD)
    equal("connections to the backend", len(origin.wires), before + 1)
    return client, origin.wires[-1]


def talk(wire):
    """The origin's side of a short conversation, and then the end."""
    equal("said by the client", wire.exactly(5), b"hello")
    wire.send(b"how do you do?")
    equal("said by the client", wire.rest(), b"\x00\xff\r\n\r\nbye")
    wire.send(b"bye")


def bytes_and_heads(holdfast):
    done = threading.Event()

    def script(wire):
        talk(wire)
        done.set()

    client, wire = open_tunnel(holdfast, script, behind_request=b"hel", behind_answer=b"welcome")
    with client:
        equal("Upgrade at the backend", wire.request_seen.field("upgrade"), "chat/2")
        equal("Connection at the backend", wire.request_seen.field("connection").lower(), "upgrade")
        equal("what came with the answer", client.exactly(7), b"welcome")
        client.send(b"lo")
        equal("said by the backend", client.exactly(14), b"how do you do?")
        client.send(b"\x00\xff\r\n\r\nbye")
        client.end_of_sending()
        # The client's direction has ended; the other one goes on, and ends by itself.
        equal("the rest", client.rest(), b"bye")
    assert done.wait(20), "the backend has seen something else"


def backend_ends_first(holdfast):
    seen = {}

    def script(wire):
        wire.send(b"this is all")
        wire.end_of_sending()
        seen["rest"] = wire.rest()

    client, _ = open_tunnel(holdfast, script)
    with client:
        equal("said by the backend", client.rest(), b"this is all")
        client.send(b"one more thing")
        client.end_of_sending()
        until(lambda: "rest" in seen, "the backend sees the end")
        equal("said by the client", seen["rest"], b"one more thing")


def reset_ends_both(holdfast):
    seen = {}

    def script(wire):
        seen["rest"], _ = wire.to_the_end()
        seen["over"] = True

    client, _ = open_tunnel(holdfast, script)
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.sock.close()
    until(lambda: "over" in seen, "the backend sees that the client is gone")


def bulk(holdfast):
    """Much, both ways at once; the client reads nothing until it has sent all, so holdfast must keep both sides moving, and some
    other tunnel too. The sizes are over what sockets hold."""
    seen = {}

    def script(wire):
        sender = threading.Thread(target=wire.send, args=(BULK,), daemon=True)
        sender.start()
        seen["got"] = wire.exactly(len(BULK)) == BULK
        sender.join(20)

    client, _ = open_tunnel(holdfast, script)
    with client:
        client.send(BULK)
        until(lambda: "got" in seen, "the backend has all")
        equal("the backend got the same", seen["got"], True)
        bytes_and_heads(holdfast)  # while 20 MB wait in the other tunnel
        equal("the client got the same", hashlib.sha256(client.rest()).digest(), hashlib.sha256(BULK).digest())


def refused_upgrade(holdfast):
    """A backend that does not want to switch gives an ordinary answer, and the connection goes on as HTTP."""

    def script(wire):
        while True:
            request = wire.request()
            equal("Upgrade at the backend", request.field("upgrade"), "chat/2")
            equal("body", request.body, b"body")
            wire.send(b"HTTP/1.1 200 OK\r\n" + DATE + b"Upgrade: chat/2\r\nConnection: upgrade\r\nContent-Length: 2\r\n\r\nno")

    origin.script = script
    with connect(holdfast) as client:
        for _ in range(3):
            client.send(head("POST", "/", "Content-Length: 4", *UPGRADE) + b"body")
            response = client.response()
            equal("answer", (response.status, response.body), (200, b"no"))
            equal("connection", response.field("connection"), None)


with Holdfast({"gcp": origin}, "--workers", "1") as holdfast:
    bytes_and_heads(holdfast)
    backend_ends_first(holdfast)
    reset_ends_both(holdfast)
    bulk(holdfast)
    refused_upgrade(holdfast)
    until(lambda: holdfast.stats()["connections"]["active"] == 0, "every tunnel has ended")
    equal("failures", holdfast.backend("gcp")["failures"], 0)

# A backend that fails is replaced here as everywhere.
with Holdfast({"a": RawOrigin(lambda wire: wire.request()), "b": origin}) as holdfast:
    while holdfast.stats()["requests"]["rescued"] == 0:
        bytes_and_heads(holdfast)
