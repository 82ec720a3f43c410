#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A response is framed anew by what is known of it (RFC 9112, 6): Content-Length when it is held whole, chunked when it
streams, until the connection closes for an HTTP/1.0 client; and what never has a body has none, whatever it claims. To the
byte."""
import random

from harness import Holdfast, equal
from raw import DATE, RawOrigin, connect

HOLD_BYTES = 10_000  # less than the default
LONG = random.Random(3).randbytes(400_000)
START = b"HTTP/1.1 200 OK\r\n" + DATE + b"X: y\r\n"
VIA = b"Via: 1.1 holdfast\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n"
CLOSE = b"Connection: close\r\n"
KEEP_ALIVE = b"Connection: keep-alive\r\n"


def length(count):
    return b"Content-Length: %d\r\n" % count


def chunks(body, size=3):
    """BODY in chunks of SIZE, with extensions that nobody must see."""
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%X;a=b\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def old(response):
    """RESPONSE as an HTTP/1.0 origin gives it, and as it is told of."""
    return response.replace(b"HTTP/1.1", b"HTTP/1.0", 1)


REQUESTS = {
    "1.1": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "1.1, close": b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    "1.0": b"GET / HTTP/1.0\r\n\r\n",
    "1.0, keep-alive": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "HEAD": b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n",
}
HELLO = START + VIA + length(5)
HINT = b"HTTP/1.1 103 Go\r\nA: b\r\n" + VIA + b"\r\n"
CLAIM = length(5) + b"\r\nhello"

# The client's request, what the origin answers (and then closes), and all that the client must get.
EXCHANGES = [
    # Held whole: its length is known.
    ("1.1", START + length(5) + b"\r\nhello", HELLO + b"\r\nhello"),
    ("1.1", START + CHUNKED + chunks(b"hello"), HELLO + b"\r\nhello"),
    ("1.1", START + CHUNKED + chunks(b"hello")[:-2] + b"X-Sum: 1\r\n\r\n", HELLO + b"\r\nhello"),
    ("1.1", START + CHUNKED + chunks(b""), START + VIA + length(0) + b"\r\n"),
    ("1.1", START + b"\r\nhello", HELLO + b"\r\nhello"),
    ("1.1", START + b"\r\n", START + VIA + length(0) + b"\r\n"),
    ("1.1", START + KEEP_ALIVE + b"Keep-Alive: timeout=5\r\n" + length(5) + b"\r\nhello", HELLO + b"\r\nhello"),
    ("1.1", START + b"Connection: q, close\r\nQ: z\r\n" + length(5) + b"\r\nhello", HELLO + b"\r\nhello"),
    ("1.1", old(START) + b"\r\nhello", HELLO.replace(b"1.1 hold", b"1.0 hold") + b"\r\nhello"),
    ("1.1", old(START) + length(5) + b"\r\nhello", HELLO.replace(b"1.1 hold", b"1.0 hold") + b"\r\nhello"),
    ("1.1", b"HTTP/1.1 200\r\n" + DATE + length(0) + b"\r\n", b"HTTP/1.1 200 \r\n" + DATE + VIA + length(0) + b"\r\n"),
    ("1.1, close", START + CHUNKED + chunks(b"hello"), HELLO + CLOSE + b"\r\nhello"),
    ("1.0", START + length(5) + b"\r\nhello", HELLO + CLOSE + b"\r\nhello"),
    ("1.0", START + CHUNKED + chunks(b"hello"), HELLO + CLOSE + b"\r\nhello"),
    ("1.0, keep-alive", START + CHUNKED + chunks(b"hello"), HELLO + KEEP_ALIVE + b"\r\nhello"),
    # Too long to be held: it streams.
    ("1.1", START + length(len(LONG)) + b"\r\n" + LONG, START + VIA + length(len(LONG)) + b"\r\n" + LONG),
    ("1.0", START + length(len(LONG)) + b"\r\n" + LONG, START + VIA + length(len(LONG)) + CLOSE + b"\r\n" + LONG),
    ("1.0", START + CHUNKED + chunks(LONG, 7777), START + VIA + CLOSE + b"\r\n" + LONG),
    ("1.0, keep-alive", START + CHUNKED + chunks(LONG, 7777), START + VIA + CLOSE + b"\r\n" + LONG),
    ("1.0", START + b"\r\n" + LONG, START + VIA + CLOSE + b"\r\n" + LONG),
    # Never a body. To HEAD the length is that of the answer to GET (RFC 9110, 8.6); and so it is in 304.
    ("HEAD", START + length(5) + b"\r\n", START + length(5) + VIA + b"\r\n"),
    ("HEAD", START + CHUNKED, START + VIA + b"\r\n"),
    ("HEAD", START + b"\r\n", START + VIA + b"\r\n"),
    ("HEAD", START + CLAIM, START + length(5) + VIA + b"\r\n"),
    ("HEAD", START + CHUNKED + chunks(b"hello"), START + VIA + b"\r\n"),
    *[
        (request, b"HTTP/1.1 204 No\r\n" + DATE + claim, b"HTTP/1.1 204 No\r\n" + DATE + VIA + b"\r\n")
        for request in ("1.1", "HEAD")
        for claim in (b"\r\n", length(0) + b"\r\n", CLAIM, CHUNKED + chunks(b"hello"))
    ],
    ("1.1", b"HTTP/1.1 304 Not\r\n" + DATE + b"\r\n", b"HTTP/1.1 304 Not\r\n" + DATE + VIA + b"\r\n"),
    ("1.1", b"HTTP/1.1 304 Not\r\n" + DATE + CLAIM, b"HTTP/1.1 304 Not\r\n" + DATE + length(5) + VIA + b"\r\n"),
    ("1.1", b"HTTP/1.1 304 Not\r\n" + DATE + CHUNKED + chunks(b"a"), b"HTTP/1.1 304 Not\r\n" + DATE + VIA + b"\r\n"),
    # An interim response has none either: what is behind it is the next head.
    ("1.1", b"HTTP/1.1 102 Go\r\n" + length(5) + b"\r\n" + START + CLAIM, HELLO + b"\r\nhello"),
    ("1.1", b"HTTP/1.1 103 Go\r\nA: b\r\n" + CHUNKED + START + CLAIM, HINT + HELLO + b"\r\nhello"),
    ("1.1", b"HTTP/1.1 103 Go\r\nA: b\r\n" + length(9) + b"\r\n" + START + CLAIM, HINT + HELLO + b"\r\nhello"),
]
# Longer ones that are chunked again: the chunks are holdfast's own.
STREAMS = [START + CHUNKED + chunks(LONG, 7777), START + b"\r\n" + LONG]


def answer_and_close(wire):
    wire.request()
    wire.send(response)


def unchunked(wire):
    """Reads chunks, strictly: a size without extensions, no trailers."""
    body = bytearray()
    while True:
        size = wire.up_to(b"\r\n")[:-2]
        assert size == b"%x" % int(size, 16), f"size {size!r}"
        body += wire.exactly(int(size, 16))
        equal("end of a chunk", wire.exactly(2), b"\r\n")
        if size == b"0":
            return bytes(body)


origin = RawOrigin(answer_and_close)
config = {"health": {"failure": "5xx"}, "retry": {"hold_bytes": HOLD_BYTES}}
with Holdfast({"gcp": origin}, config=config) as holdfast:
    for number, (request, response, wanted) in enumerate(EXCHANGES):
        with connect(holdfast) as client:
            client.send(REQUESTS[request])
            got = client.exactly(len(wanted))
            assert got == wanted, f"{number}, {request}, {response[:200]!r}: got {got[:300]!r}, expected {wanted[:300]!r}"
            if CLOSE not in wanted:
                client.end_of_sending()
            equal("what came behind it", client.rest(), b"")
    for response in STREAMS:
        with connect(holdfast) as client:
            client.send(REQUESTS["1.1"])
            equal("head of a stream", client.up_to(b"\r\n\r\n"), START + VIA + CHUNKED)
            equal("body of a stream", unchunked(client) == LONG, True)
            client.send(REQUESTS["HEAD"])
            client.end_of_sending()
            equal("what came behind it", client.rest()[:17], START[:17])
    equal("failures", holdfast.backend("gcp")["failures"], 0)
