#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Each way in which a backend fails is told by its name: how often, when last, for which request; and which
failure ejected it. No client sees any of them."""
import json
import socket

from harness import (Holdfast, Origin, answer, close_unanswered, equal, garbage, head, reset, truncated_length)

CAUSES = [
    (answer(204), "2xx", 204),
    (answer(302), "3xx", 302),
    (answer(404), "4xx", 404),
    (answer(503), "5xx", 503),
    (close_unanswered, "closed_early", None),
    (reset, "reset_fresh", None),
    (truncated_length, "truncated", None),
    (garbage, "malformed", None),
    (lambda wire, _: wire.rest(), "response_timeout", None),
]


class Gone:
    """A place where nobody listens."""

    def __init__(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.authority = f"127.0.0.1:{listener.getsockname()[1]}"


def evidence(holdfast, name):
    stats = json.loads(holdfast.admin("GET", "/admin/stats?evidence=1").body)
    return next(backend["evidence"] for backend in stats["backends"] if backend["name"] == name)


bad = Origin()
config = {"health": {"eject_after": len(CAUSES) - 1}, "timeouts": {"response_ms": 500}}
with Holdfast({"gcp": bad, "azure": Origin(answer(200))}, config=config) as holdfast:
    with holdfast.client() as client:
        for number, (behave, cause, status) in enumerate(CAUSES):
            bad.behave = behave
            failures = holdfast.backend("gcp")["failures"]
            while holdfast.backend("gcp")["failures"] == failures:  # some are sent to the good one at once
                client.send(head("GET", f"/{cause}?secret=1", f"X-Request-Id: request-{number}"))
                equal("status", client.response().status, 200)
            last = evidence(holdfast, "gcp")["failures"][0]
            told = [last[key] for key in ("cause", "status", "method", "path", "attempt", "request_id")]
            equal("the last failure", told, [cause, status, "GET", f"/{cause}", 1, f"request-{number}"])
    page = evidence(holdfast, "gcp")
    equal("state", holdfast.backend("gcp")["state"], "ejected")
    equal("what ejected it", page["ejected_by"], page["failures"][0])
    equal("failures kept", len(page["failures"]), len(CAUSES))
    counts = {cause: told["count"] for cause, told in page["causes"].items() if told["count"] > 0}
    equal("causes", counts, {cause: 1 for _, cause, _ in CAUSES})
    assert "evidence" not in holdfast.backend("gcp"), "evidence that nobody asked for"
    equal("a good one", evidence(holdfast, "azure")["failures"], [])
    holdfast.reset()
    equal("after a reset", evidence(holdfast, "gcp"), evidence(holdfast, "azure"))

with Holdfast({"gcp": Gone(), "azure": Origin(answer(200))}) as holdfast:
    with holdfast.client() as client:
        for _ in range(2):
            equal("status", client.get().status, 200)
    equal("refusals", evidence(holdfast, "gcp")["causes"]["refused"]["count"], 1)
