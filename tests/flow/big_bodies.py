#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""10 MiB bodies arrive with equal SHA-256, both ways, in every framing: Content-Length, chunked, until the end of the
connection; from HTTP/1.0 and HTTP/1.1, on either side; also when it is the second backend that gets them."""
import hashlib
import random
import threading

from harness import Holdfast, equal, head
from raw import RawOrigin, connect

BODY = random.Random(10).randbytes(10 << 20)
SUM = hashlib.sha256(BODY).hexdigest()
OK = b"HTTP/1.1 200 OK\r\n"


def chunked(body):
    """BODY in chunks of many sizes."""
    pieces, at, size = [], 0, 1
    while at < len(body):
        piece = body[at : at + size]
        pieces.append(b"%x\r\n%s\r\n" % (len(piece), piece))
        at, size = at + size, min(3 * size, 1_000_000)
    return b"".join(pieces) + b"0\r\n\r\n"


REQUESTS = {
    "length": head("POST", "/", f"Content-Length: {len(BODY)}") + BODY,
    "chunked": head("POST", "/", "Transfer-Encoding: chunked") + chunked(BODY),
    "length, 1.0": head("POST", "/", f"Content-Length: {len(BODY)}").replace(b"1.1", b"1.0", 1) + BODY,
}
RESPONSES = {
    "length": OK + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
    "chunked": OK + b"Transfer-Encoding: chunked\r\n\r\n" + chunked(BODY),
    "close": OK + b"\r\n" + BODY,
    "length, 1.0": OK.replace(b"1.1", b"1.0") + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY,
    "close, 1.0": OK.replace(b"1.1", b"1.0") + b"\r\n" + BODY,
}
way = {}


def sum_of(body):
    return hashlib.sha256(body).hexdigest()


def read_whole(wire):
    request = wire.request()
    way["sum"] = sum_of(request.body)
    return request


def answer_and_close(wire):
    read_whole(wire)
    wire.send(RESPONSES[way["response"]])


def break_at_the_end(wire):
    read_whole(wire)
    way["broke"] += 1


def exchange(holdfast, request):
    """One request and its response, checked on both sides. The client sends and reads at the same time."""
    with connect(holdfast) as client:
        sender = threading.Thread(target=client.send, args=(REQUESTS[request],), daemon=True)
        sender.start()
        response = client.response()
        sender.join(20)
    equal("status", response.status, 200)
    equal("sum of what the client got", sum_of(response.body), SUM)
    equal("sum of what the backend got", way["sum"], SUM)


with Holdfast({"gcp": RawOrigin(answer_and_close)}) as holdfast:
    for request in REQUESTS:
        for way["response"] in RESPONSES:
            exchange(holdfast, request)
    equal("failures", holdfast.backend("gcp")["failures"], 0)

way |= {"response": "length", "broke": 0}
with Holdfast({"bad": RawOrigin(break_at_the_end), "good": RawOrigin(answer_and_close)}) as holdfast:
    while way["broke"] < 2:
        exchange(holdfast, "chunked")
