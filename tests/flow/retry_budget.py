#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""With a budget of 20 percent, of many requests that fail on one backend only some are sent to the other: the load grows by a fifth
at the most. What is not sent again gets the failure. Without a budget all are rescued."""
import json

from harness import Holdfast, Origin, answer, equal

REQUESTS = 400
FLOOR = 10  # retries in 10 seconds that are always allowed
origins = {"gcp": Origin(answer(500, b"broken")), "azure": Origin(answer(200, b"fine"))}
backends = [{"name": name, "url": f"http://{origin.authority}"} for name, origin in origins.items()]


def overload(holdfast):
    return json.loads(holdfast.admin("GET", "/admin/stats?evidence=1").body)["overload"]


def ask(holdfast, count):
    """How many of COUNT requests get the failure."""
    with holdfast.client() as client:
        failed = 0
        for _ in range(count):
            response = client.get()
            equal("answer", (response.status, response.body) in ((200, b"fine"), (500, b"broken")), True)
            failed += response.status == 500
        return failed


def config(percent):
    return {"backends": backends, "health": {"eject_after": 1000000}, "retry": {"budget_percent": percent}}


with Holdfast({}, config=config(20)) as holdfast:
    failed = ask(holdfast, REQUESTS)
    stats = holdfast.stats()
    retried = stats["requests"]["retried"]
    equal("failures that were not sent again", overload(holdfast)["retries_denied"], failed)
    equal("failures", retried + failed, REQUESTS // 2)
    assert failed > 0, "nothing was denied"
    assert FLOOR <= retried <= REQUESTS // 5, f"{retried} retries of {REQUESTS} requests"
    equal("attempts", sum(backend["attempts"] for backend in stats["backends"]), REQUESTS + retried)
    equal("reset", holdfast.admin("POST", "/admin/reset").status, 200)
    equal("denied after a reset", overload(holdfast)["retries_denied"], 0)

with Holdfast({}, config=config(0)) as holdfast:  # the floor alone
    failed = ask(holdfast, 60)
    equal("retries", holdfast.stats()["requests"]["retried"], FLOOR)
    equal("failures", failed, 30 - FLOOR)

with Holdfast({}, config=config(None)) as holdfast:
    equal("failures without a budget", ask(holdfast, 60), 0)
