#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""All backends are ejected: holdfast does not refuse, it tries them all for every request, and the first
one that recovers serves."""
from harness import Holdfast, Origin, answer, equal

REQUESTS = 10

origins = {"gcp": Origin(answer(500)), "azure": Origin(answer(500)), "third": Origin(answer(500))}
with Holdfast(origins) as holdfast, holdfast.client() as client:
    for number in range(11):
        equal("all_ejected before the 11th request", holdfast.stats()["all_ejected"], False)
        equal(f"status of request {number}", client.get().status, 500)
    stats = holdfast.stats()
    equal("all_ejected", stats["all_ejected"], True)
    equal("states", {backend["state"] for backend in stats["backends"]}, {"ejected"})

    before = [len(origin.requests) for origin in origins.values()]
    for _ in range(REQUESTS):
        equal("status while all fail", client.get().status, 500)
    after = [len(origin.requests) for origin in origins.values()]
    equal("requests that each has got", after, [count + REQUESTS for count in before])

    origins["azure"].behave = answer(200, b"I am back")
    for _ in range(REQUESTS):
        response = client.get()
        equal("answer after one recovered", (response.status, response.body), (200, b"I am back"))
    equal("azure's 200s", holdfast.backend("azure")["status_200"], REQUESTS)
    equal("azure is out until somebody resets it", holdfast.backend("azure")["state"], "ejected")
    equal("failures of an ejected backend are not counted on", holdfast.backend("gcp")["failures"], 11)
