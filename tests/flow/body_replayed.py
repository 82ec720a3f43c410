#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A request's body is the same on every attempt: whichever backend gets it first breaks, and the other one
gets the very bytes, none to 3 MB of them, of known length and chunked."""
import hashlib
import itertools
import random

from harness import Holdfast, Origin, answer, close_unanswered, equal, garbage, head, reset

SIZES = [0, 1, 1000, 16 << 10, 300_000, 3_000_000]
BREAKS = {"500": answer(500), "close": close_unanswered, "reset": reset, "garbage": garbage}
random_bytes = random.Random(1).randbytes
first = {}  # target -> the backend that got it first, and breaks whenever it gets it


def at_head(name):
    """What backend NAME does when it has read a head: it may break before it reads the body."""

    def behave(wire, request):
        if first.setdefault(request.target, name) == name and "/early-reset/" in request.target:
            reset(wire, request)

    return behave


def at_end(name):
    """What backend NAME does with a whole request: it breaks, or answers with the digest of the body."""

    def behave(wire, request):
        if first[request.target] == name:
            BREAKS[request.target.split("/")[1]](wire, request)
        else:
            answer(200, hashlib.sha256(request.body).hexdigest().encode())(wire, request)

    return behave


def chunked(body):
    """BODY in chunks of many sizes."""
    pieces = []
    at, size = 0, 1
    while at < len(body):
        piece = body[at : at + size]
        pieces.append(b"%x\r\n%s\r\n" % (len(piece), piece))
        at, size = at + size, min(size * 3, 100_000)
    return b"".join(pieces) + b"0\r\n\r\n"


def send(client, target, body, way):
    if way == "length":
        client.post(target, body)
    else:
        client.send(head("POST", target, "Transfer-Encoding: chunked") + chunked(body))


backends = {name: Origin(at_end(name), at_head(name)) for name in ("gcp", "azure")}
with Holdfast(backends, "--eject-after", "1000") as holdfast, holdfast.client() as client:
    cases = list(itertools.product(SIZES, ("length", "chunked"), [*BREAKS, "early-reset"]))
    for size, way, how in cases:
        body = random_bytes(size)
        target = f"/{how}/{way}/{size}"
        send(client, target, body, way)
        response = client.response()
        wanted = (200, hashlib.sha256(body).hexdigest().encode())
        equal(f"answer to {target}", (response.status, response.body), wanted)
    equal("requests that a second backend rescued", holdfast.stats()["requests"]["rescued"], len(cases))
