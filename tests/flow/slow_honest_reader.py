#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A client that takes a long response slowly, but faster than limits.body_bytes_per_second, gets all of it, however often
client_write_ms pass meanwhile; one that is slower than that is cut, although it never stops."""
import random
import socket
import threading
import time

from harness import WAIT_SECONDS, Holdfast, Origin, answer, equal, head, until
from raw import Raw

WRITE_MS = 1000
RATE = 20_000
BODY = random.Random(12).randbytes(4_000_000)
LONG = 4 * BODY  # more than sockets ever hold: what they hold is taken, for holdfast
HONEST_BYTES, TRICKLE_BYTES, PAUSE_SECONDS = 10_000, 100, 0.02  # time is the subject here


def serve(wire, request):
    body = LONG if "long" in request.target else BODY
    if "length" in request.target:
        answer(200, body)(wire, request)
    else:
        chunks = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        wire.send(b"".join(b"%x\r\n%s\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n")


class SlowSocket:
    """A socket that is read slowly."""

    def __init__(self, sock, piece):
        self.sock = sock
        self.piece = piece

    def recv(self, *_):
        time.sleep(PAUSE_SECONDS)
        return self.sock.recv(self.piece)

    def __getattr__(self, name):
        return getattr(self.sock, name)


def ask(holdfast, target, piece):
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
    sock.settimeout(WAIT_SECONDS)
    sock.connect(holdfast.address)
    client = Raw(SlowSocket(sock, piece))
    client.send(head("GET", target))
    return client


def honest(holdfast, target):
    with ask(holdfast, target, HONEST_BYTES) as client:
        begun = time.monotonic()
        equal(f"the whole of {target}", client.response().body == BODY, True)
        assert time.monotonic() - begun > 3 * WRITE_MS / 1000, "it was not slow"


def trickle(holdfast, *targets):
    """They never stop reading, and are cut all the same; what they have got by then is not all."""
    begun = time.monotonic()
    clients = [ask(holdfast, target, TRICKLE_BYTES) for target in targets]
    for client in clients:
        client.exactly(TRICKLE_BYTES)
    while holdfast.stats()["connections"]["active"] > 0:
        assert time.monotonic() < begun + 10 * WRITE_MS / 1000, f"not cut: {holdfast.stats()['connections']}"
        for client in clients:
            client.exactly(TRICKLE_BYTES)
    assert time.monotonic() >= begun + WRITE_MS / 1000, "cut too early"
    for client in clients:
        assert len(client.received) < len(BODY), "it was not slow"
        client.sock.close()


faults = []


def run(*arguments):
    try:
        honest(*arguments)
    except Exception as error:
        faults.append(f"{arguments[1:]}: {error!r}")


config = {"timeouts": {"client_write_ms": WRITE_MS}, "limits": {"body_bytes_per_second": RATE}}
with Holdfast({"gcp": Origin(serve)}, config=config) as holdfast:
    threads = [threading.Thread(target=run, args=(holdfast, target)) for target in ("/length", "/chunked")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal("faults", faults, [])
    until(lambda: holdfast.stats()["connections"]["active"] == 0, "the honest ones have gone")
    trickle(holdfast, "/length/long", "/chunked/long")
    equal("failures", holdfast.backend("gcp")["failures"], 0)
