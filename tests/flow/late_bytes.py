#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A client that is refused while it still sends sees the answer whole and then the end, and no reset: holdfast drains what it
sends for a while. One that never ends is cut."""
import time

from harness import Holdfast, Origin, equal, head
from raw import connect, refusal

MANY = b"x" * 5_000_000  # more than sockets hold
LINGER_SECONDS = 2

REFUSED = [
    (head("POST", "/", f"Content-Length: {len(MANY)}"), (413, "body_too_large")),
    (head("POST", "/", "Transfer-Encoding: chunked") + b"%x\r\n" % len(MANY), (413, "body_too_large")),
    (head("POST", "/", "Transfer-Encoding: chunked") + b"xyz\r\n", (400, "bad_chunk_size")),
    (head("POST", "/", "Content-Length: 5", "Content-Length: 5"), (400, "repeated_content_length")),
    (head("POST", "/", "Expect: a-miracle", "Content-Length: 500"), (417, "bad_expectation")),
    (b"GET / HTTP/1.1\nHost: a\n\n", (400, "bare_lf")),
    (b"GET /" + MANY, (414, "request_line_too_long")),
]


def sends_on(holdfast, request, wanted):
    """Sends all, deaf to the answer until then."""
    with connect(holdfast) as client:
        client.send(request + MANY)
        client.end_of_sending()
        equal(f"answer to {request[:60]!r}", refusal(client.rest()), wanted)


def close_behind_a_good_answer(holdfast):
    """The answer to a request that asked for the end of the connection is seen too, whatever the client sends behind it."""
    with connect(holdfast) as client:
        client.send(head("GET", "/", "Connection: close") + MANY)
        client.end_of_sending()
        equal("status", client.response().status, 200)
        equal("the end", client.rest(), b"")


def never_ends(holdfast):
    with connect(holdfast) as client:
        client.send(b"no HTTP\r\n\r\n")
        equal("answer", refusal(client.rest()), (400, "missing_version"))
        begun = time.monotonic()
        try:
            while time.monotonic() < begun + 20:
                client.send(b"more")
        except ConnectionError:
            taken = time.monotonic() - begun
            assert taken < LINGER_SECONDS + 3, f"cut after {taken:.1f} s"
            return
        raise AssertionError("never cut")


origin = Origin()
with Holdfast({"gcp": origin}, config={"limits": {"body_bytes": 1000}}) as holdfast:
    for request, wanted in REFUSED:
        for _ in range(5):
            sends_on(holdfast, request, wanted)
    equal("requests at the backend", len(origin.requests), 0)
    for _ in range(5):
        close_behind_a_good_answer(holdfast)
    never_ends(holdfast)
