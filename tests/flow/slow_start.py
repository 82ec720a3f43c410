#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A backend that comes back is given a tenth of its share at first, and all of it in the end; one that was never away has it from
the start."""
from harness import Holdfast, Origin, answer, equal, until

ROUND = 110
origins = {name: Origin(answer(200, name.encode())) for name in ("gcp", "azure")}
backends = [{"name": name, "url": f"http://{origin.authority}"} for name, origin in origins.items()]


def share(holdfast):
    """How many of ROUND requests azure gets."""
    with holdfast.client() as client:
        return sum(client.get().body == b"azure" for _ in range(ROUND))


def comes_back(holdfast):
    for verb in ("drain", "undrain"):
        equal(verb, holdfast.admin("POST", f"/admin/backends/azure/{verb}").status, 200)


def config(slow_start_ms, balance):
    return {"balance": balance, "backends": backends, "health": {"slow_start_ms": slow_start_ms}}


for balance, least, most in (("round-robin", 9, 11), ("least-in-flight", 9, 11), ("two-choices", 0, 40)):
    with Holdfast({}, config=config(3600000, balance)) as holdfast:
        if balance != "two-choices":  # the shares of the others are exact
            equal("share at the start", share(holdfast), ROUND // 2)
        comes_back(holdfast)
        got = share(holdfast)
        assert least <= got <= most, f"{balance}: {got} of {ROUND}"

with Holdfast({}, config=config(1000, "round-robin")) as holdfast:
    comes_back(holdfast)
    assert share(holdfast) < ROUND // 2, "no slow start"
    until(lambda: share(holdfast) >= ROUND // 2 - 1, "azure has its whole share")
