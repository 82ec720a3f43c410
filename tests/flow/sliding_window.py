#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""With window_ms, old failures no longer count: a backend that fails now and then stays, one that fails much in
a short time is ejected, and the count that ejected it stays to be seen."""
from harness import Holdfast, Origin, answer, equal, until

config = {"health": {"eject_after": 3, "window_ms": 2000}}
bad = Origin(answer(500))
with Holdfast({"gcp": bad}, config=config) as holdfast:

    def fail(times):
        with holdfast.client() as client:
            for _ in range(times):
                equal("status", client.get().status, 500)

    equal("window_ms in the stats", holdfast.stats()["policy"]["window_ms"], 2000)
    fail(3)
    until(lambda: holdfast.backend("gcp")["failures"] == 0, "the failures have left the window")
    fail(3)
    backend = holdfast.backend("gcp")
    equal("after six failures, three of them old", (backend["state"], backend["non_200"]), ("up", 6))
    fail(1)
    backend = holdfast.backend("gcp")
    equal("after four in a short time", (backend["state"], backend["failures"]), ("ejected", 4))
