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
BODY = random.Random(12).randbytes(4_000_000)  # more than sockets hold
HONEST_BYTES, TRICKLE_BYTES, PAUSE_SECONDS = 10_000, 100, 0.02  # time is the subject here


def serve(wire, request):
    if request.target == "/length":
        answer(200, BODY)(wire, request)
    else:
        chunks = [BODY[at : at + 50_000] for at in range(0, len(BODY), 50_000)]
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


def trickle(holdfast, target):
    """Cut by a reset, which a client whose window is closed need not see: so it is looked for at the other end."""
    with ask(holdfast, target, TRICKLE_BYTES) as client:
        begun = time.monotonic()
        while time.monotonic() < begun + 2 * WRITE_MS / 1000:
            client.exactly(TRICKLE_BYTES)
        until(lambda: holdfast.stats()["connections"]["active"] == 0, f"the one that trickles {target} is cut")


faults = []


def run(what, *arguments):
    try:
        what(*arguments)
    except Exception as error:
        faults.append(f"{what.__name__} {arguments[1:]}: {error!r}")


limits = {"body_bytes_per_second": RATE}
with Holdfast({"gcp": Origin(serve)}, config={"timeouts": {"client_write_ms": WRITE_MS}, "limits": limits}) as holdfast:
    for what in (honest, trickle):
        threads = [threading.Thread(target=run, args=(what, holdfast, target)) for target in ("/length", "/chunked")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    equal("faults", faults, [])
    equal("failures", holdfast.backend("gcp")["failures"], 0)
