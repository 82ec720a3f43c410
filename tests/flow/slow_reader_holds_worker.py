#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A worker waits for its client where what the client has not taken is longer than an outbox may be, and where there is no folder for
it. A client that takes its response slowly gets all of it, although its socket has no room for more for many client_write_ms; one
that takes nothing is cut after one of them, and so is one that takes less than limits.body_bytes_per_second. One that resets its
connection frees the worker at once, and a stop does not wait."""
import contextlib
import os
import random
import socket
import stat
import struct
import time

from harness import WAIT_SECONDS, Holdfast, Origin, answer, equal, head, until
from raw import Raw

WRITE_MS, AN_HOUR_MS = 1000, 3600000
BLOCK = random.Random(5).randbytes(1 << 20)
PIECE_BYTES, PAUSE_SECONDS = 2000, 0.02  # 100 KB a second; time is the subject here
SLOW_SECONDS = 3.5 * WRITE_MS / 1000  # then it reads on at once


def take_folder_away():
    """Puts a wrapper in the place of holdfast. TMPDIR of the story stays: its processes are known by it."""
    wrapper = os.path.join(os.environ["TMPDIR"], "no-folder")
    with open(wrapper, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nTMPDIR=/nowhere exec "{os.environ["HOLDFAST"]}" "$@"\n')
    os.chmod(wrapper, stat.S_IRWXU)
    os.environ["HOLDFAST"] = wrapper


def start(blocks, write_ms, rate=500):
    """A holdfast in front of an origin whose response has so many BLOCKs."""
    config = {"timeouts": {"client_write_ms": write_ms}, "limits": {"body_bytes_per_second": rate}, "drain_ms": 100}
    return Holdfast({"gcp": Origin(answer(200, blocks * BLOCK))}, config=config)


def ask(holdfast):
    """A client that has asked, and takes nothing yet; a worker waits for it."""
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 << 10)  # it acknowledges up to half of it at a time
    sock.settimeout(WAIT_SECONDS)
    sock.connect(holdfast.address)
    client = Raw(sock)
    client.send(head("GET", "/"))
    busy(holdfast, 1)
    return client


def busy(holdfast, count):
    until(lambda: holdfast.stats()["workers"]["busy"] == count, f"{count} workers are busy")


def take(client):
    """Takes a little, at a slow pace. Nothing comes from a connection that was reset."""
    with contextlib.suppress(ConnectionError):
        client.kept += client.sock.recv(PIECE_BYTES)
    time.sleep(PAUSE_SECONDS)


def takes_slowly(holdfast, blocks):
    with ask(holdfast) as client:
        begun = time.monotonic()
        while time.monotonic() < begun + SLOW_SECONDS:
            take(client)
        client.head()
        assert client.exactly(blocks * len(BLOCK)) == blocks * BLOCK, "it is another response"


def takes_nothing(holdfast):
    begun = time.monotonic()
    with ask(holdfast) as client:
        until(lambda: holdfast.stats()["connections"]["active"] == 0, "it is cut")
        took = time.monotonic() - begun
        assert WRITE_MS / 1000 <= took < 5 * WRITE_MS / 1000, f"it was cut after {took:.1f} s"
        assert client.to_the_end()[1], "it was not reset"


def takes_too_little(holdfast):
    begun = time.monotonic()
    with ask(holdfast) as client:
        while holdfast.stats()["connections"]["active"] > 0:
            assert time.monotonic() < begun + 10 * WRITE_MS / 1000, "it is not cut"
            take(client)


def goes_away(holdfast):
    with ask(holdfast) as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    busy(holdfast, 0)


def both_kinds(blocks):
    with start(blocks, WRITE_MS) as holdfast:
        takes_slowly(holdfast, blocks)
        takes_nothing(holdfast)
        equal("failures", holdfast.backend("gcp")["failures"], 0)


both_kinds(80)  # an outbox is 64 MiB long
take_folder_away()
both_kinds(16)  # the sockets on the way and an outbox in memory hold less
with start(16, WRITE_MS, 400_000) as holdfast:
    takes_too_little(holdfast)
with start(16, AN_HOUR_MS) as holdfast:
    goes_away(holdfast)
    waits = ask(holdfast)  # the stop cuts it
