#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A kept connection that ends without an answer: at once, it was stale, and the request goes over a fresh one, and nobody is
blamed; later than connect_ms, its request has been worked on, so it is a failure, and the next backend answers."""
import time

from harness import Holdfast, HangUp, Origin, answer, equal

CONNECT_MS = 1500


def end_second(after_ms):
    """A behaviour: each connection answers once, and ends so long after its second request."""

    def behave(wire, request):
        if wire in seen:
            time.sleep(after_ms / 1000)
            raise HangUp
        seen.add(wire)
        answer(200, b"flaky")(wire, request)

    seen = set()
    return behave


def two_requests(after_ms):
    """Their answers, how many connections and requests the flaky origin got, and what the ledger says of it."""
    flaky, sound = Origin(end_second(after_ms)), Origin(answer(200, b"sound"))
    backends = [{"name": "flaky", "url": f"http://{flaky.authority}", "weight": 100},
                {"name": "sound", "url": f"http://{sound.authority}"}]
    config = {"backends": backends, "timeouts": {"connect_ms": CONNECT_MS}}
    with Holdfast({}, config=config) as holdfast:
        with holdfast.client() as client:
            bodies = [client.get().body for _ in range(2)]
        backend = holdfast.backend("flaky")
        return bodies, flaky.connections, len(flaky.requests), backend["failures"], backend["errors"]["reset"]


equal("ends at once", two_requests(0), ([b"flaky", b"flaky"], 2, 3, 0, 0))
equal("ends late", two_requests(2 * CONNECT_MS), ([b"flaky", b"sound"], 1, 2, 1, 1))
