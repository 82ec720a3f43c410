#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Request smuggling (RFC 9112, 11.2): whatever is hidden in or behind a body, no backend ever sees it as a request. An
ambiguous message is refused and its connection ended, so that what follows is nobody's request; an unambiguous one arrives as
what it is."""
from harness import Holdfast, equal, head
from raw import RawOrigin, ask, connect, refusal, respond

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: a\r\nX-Eaten: "
POST = b"POST /outer HTTP/1.1\r\nHost: a\r\n"
VICTIM = head("GET", "/victim")


def cl_te(length, coding):
    """One side goes by the length, the other by the chunks, which end before what is hidden."""
    return POST + b"Content-Length: %d\r\n" % length + coding + b"\r\n\r\n0\r\n\r\n" + HIDDEN


def te_cl(coding):
    """The other way round: by the length the body ends in the middle of the first chunk."""
    return POST + coding + b"\r\nContent-Length: 4\r\n\r\n%x\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n"


# Spellings of Transfer-Encoding that one recipient honours and another one overlooks.
CODINGS = [
    b"Transfer-Encoding: chunked",
    b"Transfer-Encoding : chunked",
    b"Transfer-Encoding\t: chunked",
    b"Transfer-Encoding:\tchunked",
    b"Transfer-Encoding:chunked",
    b"Transfer-Encoding: Chunked",
    b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: identity",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    b"Transfer-Encoding: cow, chunked",
    b"Transfer-Encoding: chunked, cow",
    b"Transfer-Encoding: \"chunked\"",
    b"Transfer-Encoding: chunked;a=b",
    b"Transfer-Encoding: \x0bchunked",
    b"Transfer-Encoding: chunked\x00",
    b"Transfer-Encoding:\r\n chunked",
    b"Transfer-Encoding\r\n : chunked",
    b"X: y\nTransfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked",
    b"X:\rTransfer-Encoding: chunked",
    b" Transfer-Encoding: chunked",
    b"TRANSFER-ENCODING: CHUNKED",
]
AMBIGUOUS = [
    *[cl_te(len(HIDDEN) + 5, coding) for coding in CODINGS],
    *[te_cl(coding) for coding in CODINGS],
    # Two lengths, one of which hides a request.
    *[
        POST + lengths % (0, len(HIDDEN)) + b"\r\n" + HIDDEN
        for lengths in [
            b"Content-Length: %d\r\nContent-Length: %d\r\n",
            b"Content-Length: %d\r\ncontent-length: %d\r\n",
            b"Content-Length: %d\r\nContent-Length : %d\r\n",
            b"Content-Length: %d\r\n Content-Length: %d\r\n",
            b"Content-Length: %d\nContent-Length: %d\r\n",
            b"Content-Length: %d, %d\r\n",
            b"Content-Length: %d\r\n ,%d\r\n",
        ]
    ],
    # Chunks whose size one side reads otherwise, or reads past.
    *[
        POST + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + HIDDEN
        for chunks in [
            b"0\r\n\r\r\n",
            b"0\n\r\n",
            b"0\r\n\n",
            b"0_2\r\nab\r\n0\r\n\r\n",
            b"0x2\r\nab\r\n0\r\n\r\n",
            b"10000000000000002\r\nab\r\n0\r\n\r\n",
            b"2;\nab\r\n0\r\n\r\n",
            b"2;\rab\r\n0\r\n\r\n",
            b"2\r\nabXX0\r\n\r\n",
            b"2\r\nab\r\n0\r\nContent-Length: 5\r\n\r\n",
            b"2\r\nab\r\n0\r\nTransfer-Encoding: x\r\n\r\n",
            b"-2\r\nab\r\n0\r\n\r\n",
        ]
    ],
    POST.replace(b"1.1", b"1.0") + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    b"GET /outer HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    # A second request in the target or in a field.
    b"GET /outer HTTP/1.1\r\r\n\r\n" + HIDDEN,
    b"GET /outer\rHTTP/1.1\r\nHost: a\r\n\r\n" + HIDDEN,
    b"GET /outer HTTP/1.1\nHost: a\n\n" + HIDDEN,
    b"GET /outer HTTP/1.1\r\nHost: a\r\nX: y\n\n" + HIDDEN,
]
# Bodies that are no requests, whatever they look like: the body as it must arrive.
DISGUISED = [
    (b"Content-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN, HIDDEN),
    (b"Transfer-Encoding: chunked\r\n\r\n%X\r\n" % len(HIDDEN) + HIDDEN + b"\r\n0\r\n\r\n", HIDDEN),
    (b"Transfer-Encoding:CHUNKED\r\n\r\n0%x;a=\"\r\n" % len(HIDDEN) + HIDDEN + b"\r\n000;b\r\nX-Sum: 1\r\n\r\n", HIDDEN),
    (b"Content-Length: 000005\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    (b"Content-Length: 5\r\nX-Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    (b"Content-Length: 5\r\nConnection: Content-Length\r\n\r\n0\r\n\r\n", b"0\r\n\r\n"),
    (b"Transfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n\r\n0\r\n\r\n", b""),
]


def no_victim(holdfast, attack):
    """ATTACK, with a victim's request behind it on the same connection: one refusal, and nobody is asked anything."""
    status, error = refusal(ask(holdfast, attack + b"\r\n" + VICTIM))
    assert status in (400, 501), (status, error)


origin = RawOrigin(respond(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"))
with Holdfast({"gcp": origin}) as holdfast:
    for attack in AMBIGUOUS:
        try:
            no_victim(holdfast, attack)
        except Exception as error:
            raise AssertionError(f"{attack!r}: {error}") from error
    equal("connections to the backend", len(origin.wires), 0)

    with connect(holdfast) as client:
        for framing, _ in DISGUISED:
            client.send(POST + framing + VICTIM)
        for _ in range(2 * len(DISGUISED)):
            response = client.response()
            equal("answer", (response.status, response.body), (200, b"ok"))
    equal("connections to the backend", len(origin.wires), 1)
    wire = origin.wires[0]
    wire.kept = bytes(wire.received)  # once more, from the start
    for framing, body in DISGUISED:
        outer = wire.request()
        equal("line", outer.start, "POST /outer HTTP/1.1")
        equal("length", outer.field("content-length"), str(len(body)))
        equal("coding", outer.field("transfer-encoding"), None)
        equal("connection", outer.field("connection"), None)
        equal(f"body of {framing!r}", outer.body, body)
        victim = wire.request()
        equal("line behind it", victim.start, "GET /victim HTTP/1.1")
        equal("body behind it", (victim.field("content-length"), victim.body), (None, b""))
    equal("what else came", wire.kept, b"")
