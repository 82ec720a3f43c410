#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""50 requests are sent at once on one connection, of every kind, while a backend fails: 50 answers come,
in order."""
from harness import Holdfast, Origin, answer, equal, head

REQUESTS = 50


def name_target(wire, request):
    answer(200, request.target.encode() + b" " + request.body)(wire, request)


def request(number):
    """A request as bytes, and the body that answers it."""
    target = f"/{number}"
    body = b"body of %d" % number * number
    if number % 3 == 0:
        return head("GET", target), target.encode() + b" "
    if number % 3 == 1:
        return head("POST", target, f"Content-Length: {len(body)}") + body, target.encode() + b" " + body
    chunked = b"%x\r\n%s\r\n1;x=y\r\n!\r\n0\r\n\r\n" % (len(body), body)
    return head("PUT", target, "Transfer-Encoding: chunked") + chunked, target.encode() + b" " + body + b"!"


backends = {"bad": Origin(answer(500)), "good": Origin(name_target)}
with Holdfast(backends) as holdfast, holdfast.client() as client:
    requests = [request(number) for number in range(REQUESTS)]
    client.send(b"".join(data for data, _ in requests))
    for number, (_, wanted) in enumerate(requests):
        response = client.response()
        equal(f"answer {number}", (response.status, response.body), (200, wanted))
    client.send(head("GET", "/last", "Connection: close"))
    equal("the last answer", client.response().body, b"/last ")
    client.expect_end()
    equal("requests", holdfast.stats()["requests"]["total"], REQUESTS + 1)
