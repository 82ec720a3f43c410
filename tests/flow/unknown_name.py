#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The name of a backend does not resolve at start: holdfast starts all the same and serves by the others. Each request that meets
the backend first counts as a failed connect of it, cause "dns". When the name resolves it serves."""
from harness import Holdfast, Named, Names, Origin, answer, equal, until

names = Names()
gcp = Origin(answer(200, b"gcp"))
late = Origin(answer(200, b"late"))
backends = {"late": Named("late", late.port), "gcp": gcp}
with Holdfast(backends, config={"resolve_ms": 100}, overlay=names) as holdfast:
    assert holdfast.logged("name does not resolve: its backend has no address yet"), "the log does not say so"
    backend = holdfast.evidence("late")
    equal("addresses", backend["addresses"], [])
    assert backend["resolve_error"], "the stats do not say so"
    with holdfast.client() as client:
        for _ in range(10):
            equal("answer", client.get().body, b"gcp")
    backend = holdfast.backend("late")
    equal("failures", (backend["failures"], backend["errors"]["connect"]), (5, 5))
    evidence = holdfast.evidence("late")["evidence"]
    equal("cause", {name for name, of in evidence["causes"].items() if of["count"]}, {"dns"})

    names.set(late=["127.0.0.1"])
    until(lambda: holdfast.evidence("late")["addresses"], "the name resolves")
    with holdfast.client() as client:
        bodies = [client.get().body for _ in range(10)]
    equal("answers of each", (bodies.count(b"late"), bodies.count(b"gcp")), (5, 5))
    equal("failures", holdfast.backend("late")["failures"], 5)
