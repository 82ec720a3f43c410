#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A client pipelines requests that nobody can answer, more than its connection can hold the answers of, and reads later: it gets
one whole 502 for each, and the answer to what it asks then, when the backend is back, is its own."""
import os
import re
import socket
import threading

from harness import WAIT_SECONDS, Client, Holdfast, as_pair, equal, head, until
from raw import Raw

COUNT = 20_000  # some 6 MB of answers
ANSWER = re.compile(rb"HTTP/1\.1 502 [^\r]*\r\n(?:[^\r]+\r\n)*?Content-Length: (\d+)\r\n(?:[^\r]+\r\n)*\r\n")


class Absent:
    """A backend that refuses, until it is there, and answers one request."""

    authority = os.environ["FLOW_SPARE1"]

    def come(self):
        self.listener = socket.create_server(as_pair(self.authority))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with Raw(self.listener.accept()[0]) as wire:
            wire.request()
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nown")


class Slow(Client):
    """A client for which the kernel keeps little."""

    def __init__(self, address):
        self.sock = socket.socket()
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.sock.settimeout(WAIT_SECONDS)
        self.sock.connect(address)


def until_no_more_is_answered():
    """To look too early makes the story weaker, and never wrong."""
    seen = [0]

    def is_still():
        seen.append(holdfast.stats()["requests"]["status_5xx"])
        return seen[-1] == COUNT or (seen[-1] > 0 and len(seen) > 10 and len(set(seen[-10:])) == 1)

    until(is_still, "holdfast waits for the client")


def read_answers(sock):
    """Reads COUNT answers, to the byte."""
    data = bytearray()
    at = found = 0
    while found < COUNT:
        match = ANSWER.match(data, at)
        if match and match.end() + int(match[1]) <= len(data):
            at = match.end() + int(match[1])
            found += 1
            continue
        assert match or b"\r\n\r\n" not in data[at : at + 4096], f"answer {found} is none: {bytes(data[at:at + 200])!r}"
        try:
            more = sock.recv(1 << 18)
        except TimeoutError:
            more = b""
        assert more, f"only {found} of {COUNT} answers came, and {bytes(data[at:])!r}"
        data += more
    equal("what is left", bytes(data[at:]), b"")


backend = Absent()
with Holdfast({"gcp": backend}) as holdfast:
    with Slow(holdfast.address) as client:
        requests = head("GET", "/") * COUNT
        sender = threading.Thread(target=client.sock.sendall, args=(requests,), daemon=True)
        sender.start()
        until_no_more_is_answered()
        read_answers(client.sock)
        sender.join()
        backend.come()
        client.sock.sendall(head("GET", "/", "Connection: close"))
        data = b""
        while more := client.sock.recv(1 << 16):
            data += more
        assert data.startswith(b"HTTP/1.1 200 ") and data.endswith(b"\r\n\r\nown"), data
