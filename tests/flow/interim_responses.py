#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""1xx responses (RFC 9110, 15.2): 103 goes on to HTTP/1.1 clients at once, all others are swallowed, and none is ever taken for
the final one. 100 is holdfast's own: said once, when it wants the body, and never to who did not ask or can't understand."""
import threading

from harness import Holdfast, equal, head, until
from raw import DATE, RawOrigin, connect, refusal

FINAL = b"HTTP/1.1 200 OK\r\n" + DATE + b"Content-Length: 2\r\n\r\nok"
FORWARDED = b"HTTP/1.1 200 OK\r\n" + DATE + b"Via: 1.1 holdfast\r\nContent-Length: 2\r\n\r\nok"
LAST = FORWARDED.replace(b"Content-Length: 2\r\n", b"Content-Length: 2\r\nConnection: close\r\n")
HINT = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
GET = head("GET", "/")
HTTP_1_0 = b"GET / HTTP/1.0\r\n\r\n"

# What comes from the backend before the final response, who asks, and what the client gets before it.
INTERIM = [
    (HINT + b"\r\n", GET, HINT + b"Via: 1.1 holdfast\r\n\r\n"),
    (HINT + b"Connection: x\r\nX: y\r\n\r\n", GET, HINT + b"Via: 1.1 holdfast\r\n\r\n"),
    (2 * (HINT + b"\r\n"), GET, 2 * (HINT + b"Via: 1.1 holdfast\r\n\r\n")),
    (HINT + b"\r\n", HTTP_1_0, b""),
    (CONTINUE, GET, b""),
    (CONTINUE, HTTP_1_0, b""),
    (b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n", GET, b""),
    (b"HTTP/1.1 199 Nobody Knows\r\nX: y\r\n\r\n", GET, b""),
    (CONTINUE + b"HTTP/1.1 102 Processing\r\n\r\n" + HINT + b"\r\n", GET, HINT + b"Via: 1.1 holdfast\r\n\r\n"),
]
gate = threading.Event()
interim = {"now": b""}


def interim_then_final(wire):
    while True:
        wire.request()
        wire.send(interim["now"])
        assert gate.wait(20)
        wire.send(FINAL)


def hint_then_end(wire):
    wire.request()
    wire.send(HINT + b"\r\n")


def early_hints():
    origin = RawOrigin(interim_then_final)
    with Holdfast({"gcp": origin}) as holdfast:
        for interim["now"], request, wanted in INTERIM:
            gate.clear()
            with connect(holdfast) as client:
                client.send(request)
                got = client.exactly(len(wanted))  # it is there before the backend has said more
                equal(f"what went before, of {interim['now']!r}", got, wanted)
                gate.set()
                final = FORWARDED if request == GET else LAST
                equal(f"final response behind {interim['now']!r}", client.exactly(len(final)), final)
                client.end_of_sending()
                equal("what came behind it", client.rest(), b"")
        equal("failures", holdfast.backend("gcp")["failures"], 0)


def hint_of_a_backend_that_fails():
    interim["now"] = b""
    with Holdfast({"a": RawOrigin(hint_then_end), "b": RawOrigin(hint_then_end), "c": RawOrigin(interim_then_final)}) as holdfast:
        while holdfast.stats()["requests"]["rescued"] < 2:
            with connect(holdfast) as client:
                client.send(head("GET", "/", "Connection: close"))
                got = client.rest()
                hints, _, final = got.rpartition(HINT + b"Via: 1.1 holdfast\r\n\r\n")
                equal("final response", final, LAST)
                assert hints.replace(HINT + b"Via: 1.1 holdfast\r\n\r\n", b"") == b"", got


def post(*fields):
    return head("POST", "/", "Expect: 100-continue", *fields)


def expectations():
    origin = RawOrigin(interim_then_final)
    interim["now"] = CONTINUE  # one more, of which the client must not hear
    with Holdfast({"gcp": origin}, config={"limits": {"body_bytes": 100}}) as holdfast, connect(holdfast) as client:
        # Twice on one connection: said once each, before the body comes, and not again in the middle of it.
        for fields, pieces in [
            (["Content-Length: 6"], [b"tw", b"oh", b"al"]),
            (["Transfer-Encoding: chunked"], [b"6\r\n", b"twohal\r\n", b"0\r\n\r\n"]),
        ]:
            client.send(post(*fields))
            equal("before the body", client.exactly(len(CONTINUE)), CONTINUE)
            for piece in pieces:
                client.send(piece)
                until(lambda: holdfast.stats()["workers"]["busy"] == 0, "the piece was looked at")
            equal("final response", client.exactly(len(FORWARDED)), FORWARDED)
        # Those that are not to be told.
        for request in [
            post("Content-Length: 6") + b"twohal",  # it is here already
            post("Content-Length: 0"),
            post(),
            post("Content-Length: 6").replace(b"100-continue", b"100-CONTINUE") + b"twohal",
        ]:
            client.send(request)
            equal(f"answer to {request!r}", client.exactly(len(FORWARDED)), FORWARDED)
        with connect(holdfast) as old:
            old.send(post("Content-Length: 6", "Connection: close").replace(b"HTTP/1.1", b"HTTP/1.0"))
            until(lambda: holdfast.stats()["connections"]["active"] == 1, "the head has come")
            old.send(b"twohal")
            equal("answer to HTTP/1.0", old.rest(), LAST)
        received = origin.received().lower()
        equal("bodies at the backend", received.count(b"twohal"), 5)
        assert b"expect:" not in received, "the expectation was passed on"
        asked = len(received)

        # What will be refused is refused at once, without 100 and before the body.
        for request, wanted in [
            (post("Content-Length: 101"), (413, "body_too_large")),
            (post("Content-Length: 6").replace(b"100-continue", b"a-miracle"), (417, "bad_expectation")),
            (post("Content-Length: 6", "Content-Length: 6"), (400, "repeated_content_length")),
        ]:
            with connect(holdfast) as refused:
                refused.send(request)
                equal(f"answer to {request!r}", refusal(refused.rest()), wanted)
        equal("bytes at the backend", len(origin.received()), asked)


early_hints()
hint_of_a_backend_that_fails()
expectations()
