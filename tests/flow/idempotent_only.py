#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""With retry.methods "idempotent", a POST that a backend took is not sent a second time, nor to the next backend, even when its
connection was an old one (RFC 9110, 9.2.2). A PUT is; and so is a POST with "all"."""
from harness import Holdfast, Origin, answer, close_unanswered, equal

asked = []


def serve(wire, request):
    """Takes the first order, and closes before it answers."""
    asked.append(request.method)
    if request.method != "GET" and len(asked) == 2:
        close_unanswered()
    answer(200, b"done")(wire, request)


def order(client, method):
    client.send(f"{method} / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\norder".encode())
    return client.response().status


def tell(methods, method, wanted_status, wanted_asked):
    asked.clear()
    origins = {"gcp": Origin(serve)}
    with Holdfast(origins, config={"retry": {"methods": methods}}) as holdfast:
        with holdfast.client() as client:
            equal("first answer", client.get().body, b"done")  # now there is a connection to use again
            equal(f"answer to {method} with {methods}", order(client, method), wanted_status)
        equal(f"what the backend got with {methods}", asked, ["GET", *wanted_asked])


tell("idempotent", "POST", 502, ["POST"])
tell("idempotent", "PUT", 200, ["PUT", "PUT"])
tell("all", "POST", 200, ["POST", "POST"])
