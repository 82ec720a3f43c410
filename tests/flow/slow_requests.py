#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A request has its time as a whole, however it trickles: 408 when the head is late, 408 when the body is late, more time for a
body only as it keeps up its rate. Whoever has begun nothing is closed without a word. None of them holds the only worker."""
import socket
import threading
import time

from harness import Holdfast, Load, Origin, equal, head, until
from raw import connect, refusal

HEADER_MS, BODY_MS, IDLE_MS, RATE = 500, 1000, 800, 1000
TICK_SECONDS = 0.05  # between two pieces of a trickle: time is the subject here
LATE_SECONDS = 3  # no deadline is noticed later than this, on a busy machine
TIMEOUT = (408, "request_timeout")
HEAD = head("POST", "/", "Content-Length: 1000000")
CHUNKED = head("POST", "/", "Transfer-Encoding: chunked")


def silence(client):
    """Sends nothing more."""


def has_come(client):
    """Whether something has come, the end included."""
    try:
        client.sock.recv(1, socket.MSG_PEEK)
        return True
    except BlockingIOError:
        return False


def trickle(piece):
    """Sends PIECE again and again until holdfast ends the connection or has answered."""

    def run(client):
        client.sock.setblocking(False)
        try:
            while not has_come(client):
                client.sock.send(piece)
                time.sleep(TICK_SECONDS)
        except (ConnectionError, BlockingIOError):
            pass
        client.sock.settimeout(20)

    return run


# How the request begins, how it goes on, its deadline, and the answer, if there is one.
LATE = {
    "half a line": (b"GET / HT", silence, HEADER_MS, TIMEOUT),
    "half a head": (head("GET", "/")[:-2], silence, HEADER_MS, TIMEOUT),
    "a trickling head": (b"GET / HTTP/1.1\r\nHost: a\r\nX: ", trickle(b"x"), HEADER_MS, TIMEOUT),
    "a head with ever more fields": (b"GET / HTTP/1.1\r\nHost: a\r\n", trickle(b"X: y\r\n"), HEADER_MS, TIMEOUT),
    "no body": (HEAD, silence, BODY_MS, TIMEOUT),
    "half a body": (HEAD + b"x" * 999, silence, BODY_MS, TIMEOUT),
    "a trickling body": (HEAD, trickle(b"x"), BODY_MS, TIMEOUT),
    "no chunk": (CHUNKED, silence, BODY_MS, TIMEOUT),
    "half a chunk": (CHUNKED + b"fff\r\nhalf", silence, BODY_MS, TIMEOUT),
    "trickling chunks": (CHUNKED, trickle(b"1\r\nx\r\n"), BODY_MS, TIMEOUT),
    "a trickling extension": (CHUNKED + b"1;", trickle(b"x"), BODY_MS, TIMEOUT),
    "trickling trailers": (CHUNKED + b"0\r\nX: ", trickle(b"x"), BODY_MS, TIMEOUT),
    "half the second request": (head("GET", "/") + b"GET / HT", silence, HEADER_MS, TIMEOUT),
    "nothing": (b"", silence, IDLE_MS, None),
    "nothing behind a request": (head("GET", "/"), silence, IDLE_MS, None),
    # Some clients end a body with an empty line too many: that is no request begun (RFC 9112, 2.2).
    "an empty line": (b"\r\n", silence, IDLE_MS, None),
    "an empty line behind a request": (head("GET", "/") + b"\r\n", silence, IDLE_MS, None),
    "half an empty line": (b"\r", silence, HEADER_MS, TIMEOUT),
}
faults = []


def be_late(holdfast, name):
    begun_with, go_on, deadline_ms, wanted = LATE[name]
    with connect(holdfast) as client:
        begun = time.monotonic()
        client.send(begun_with)
        if begun_with.startswith(head("GET", "/")):
            equal("status of the first request", client.response().status, 200)
        go_on(client)
        got, is_reset = client.to_the_end()
        taken = time.monotonic() - begun
    assert not is_reset, "ended by a reset"
    equal("answer", refusal(got) if got else None, wanted)
    assert deadline_ms / 1000 <= taken < deadline_ms / 1000 + LATE_SECONDS, f"ended after {taken:.2f} s"


def keep_up_the_rate(holdfast):
    """A body that is slow but keeps its rate may take longer than its deadline."""
    seconds = 3 * BODY_MS / 1000
    pieces = [b"x" * int(4 * RATE * TICK_SECONDS)] * int(seconds / TICK_SECONDS)
    with connect(holdfast) as client:
        client.send(head("POST", "/", f"Content-Length: {len(b''.join(pieces))}"))
        begun = time.monotonic()
        for piece in pieces:
            client.send(piece)
            time.sleep(TICK_SECONDS)
        response = client.response()
        assert time.monotonic() - begun > 2 * BODY_MS / 1000
        equal("answer", (response.status, response.body == b"".join(pieces)), (200, True))


def run(holdfast, what, *arguments):
    try:
        what(holdfast, *arguments)
    except Exception as error:
        faults.append(f"{arguments}: {error!r}")


config = {
    "timeouts": {"client_header_ms": HEADER_MS, "client_body_ms": BODY_MS, "client_idle_ms": IDLE_MS},
    "limits": {"body_bytes_per_second": RATE},
}
with Holdfast({"gcp": Origin()}, "--workers", "1", config=config) as holdfast:
    with Load(holdfast.address, 1) as load:
        threads = [threading.Thread(target=run, args=(holdfast, be_late, name)) for name in LATE]
        threads.append(threading.Thread(target=run, args=(holdfast, keep_up_the_rate)))
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        equal("faults", faults, [])
        assert load.total() > 200, f"only {load.total()} requests were answered meanwhile"
    timeouts = sum(wanted == TIMEOUT for *_, wanted in LATE.values())
    equal("4xx", holdfast.stats()["requests"]["status_4xx"], timeouts)
    until(lambda: sum("offence=request_timeout" in line for line in holdfast.log) == timeouts, "it is logged")
    equal("failures", holdfast.backend("gcp")["failures"], 0)
