#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A backend that always answers 500, under 64 clients at once: the 11th failure ejects it, exactly, and it
gets not one new request from then on; a reset brings it back with all counts at zero."""
from harness import Holdfast, Load, Origin, answer, echo, equal, expect_zero

CLIENTS = 64


def eject(holdfast, load, bad):
    """Waits until the bad backend is ejected, and sees that it gets nothing any more. Its statistics."""
    load.until(lambda: holdfast.backend("bad")["state"] == "ejected", "the bad backend is ejected")
    # Up to 63 attempts began before the failure that ejected, and may end after it.
    load.until(lambda: holdfast.backend("bad")["in_flight"] == 0, "nothing is in flight to it")
    attempts = holdfast.backend("bad")["attempts"]
    begun = list(load.answered)  # the number of the request that each client may have under way
    load.until_more(20 * CLIENTS)
    equal("attempts on the ejected backend", holdfast.backend("bad")["attempts"], attempts)
    late = [mark for mark in map(load.mark, bad.requests) if mark[1] > begun[mark[0]]]
    equal("later requests that the ejected backend has got", late, [])
    stats = holdfast.backend("bad")
    equal("failures", stats["failures"], 11)
    equal("ejections", stats["ejections"], 1)
    equal("state", stats["state"], "ejected")
    equal("type of ejected_at", type(stats["ejected_at"]), str)
    return stats


bad, good = Origin(answer(500)), Origin()
with Holdfast({"bad": bad, "good": good}) as holdfast:
    with Load(holdfast.address, CLIENTS) as load:
        stats = eject(holdfast, load, bad)
        assert 11 <= stats["non_200"] <= len(bad.requests), f"{len(bad.requests)} requests came, {stats}"
        equal("attempts that were good", stats["status_200"], 0)
        holdfast.reset()  # with the load on, and attempts from before it in flight
        eject(holdfast, load, bad)
    expect_zero(holdfast.reset())
    bad.behave = echo
    with Load(holdfast.address, CLIENTS) as load:
        load.until(lambda: holdfast.backend("bad")["status_200"] >= 100, "it gets traffic again")
    backend = holdfast.backend("bad")
    equal("failures after the reset", backend["failures"], 0)
    equal("state after the reset", backend["state"], "up")
