#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""One client's hundred requests, on one connection and on a hundred, reach each backend on one connection."""
from harness import Holdfast, Origin, equal

ORIGINS = {"first": Origin(), "second": Origin()}

with Holdfast(ORIGINS) as holdfast:
    with holdfast.client() as client:
        for number in range(100):
            client.post(f"/{number}", b"x")
            equal("status", client.response().status, 200)
    for number in range(100):
        with holdfast.client() as client:
            equal("status", client.get("/").status, 200)
    for name, origin in ORIGINS.items():
        equal(f"connections to {name}", origin.connections, 1)
