# SPDX-License-Identifier: MIT
"""The theme of several stories: of two backends one turns bad while 32 clients post, and no client
notices."""
from harness import Holdfast, Load, Origin, equal

CLIENTS = 32
EJECT_AFTER = 300  # more than the default, so that the bad backend does its harm for longer


def no_client_notices(behaviour, outcome):
    """One backend turns to BEHAVIOUR. Each such attempt counts as OUTCOME: non_200, or a kind of error."""
    bad, good = Origin(), Origin()
    with Holdfast({"bad": bad, "good": good}, "--eject-after", str(EJECT_AFTER)) as holdfast:
        with Load(holdfast.address, CLIENTS) as load:
            load.until_more(10 * CLIENTS)
            bad.behave = behaviour
            load.until(lambda: holdfast.backend("bad")["state"] == "ejected", "the bad one is ejected")
            load.until_more(10 * CLIENTS)
            load.until_over()
        check_stats(holdfast.stats(), outcome, load.total())


def check_stats(stats, outcome, answered):
    bad, good = stats["backends"]
    outcomes = {"non_200": bad["non_200"], **bad["errors"]}
    failed = sum(outcomes.values())
    assert outcomes.pop(outcome) > EJECT_AFTER - CLIENTS, f"too few attempts ended as {outcome}: {bad}"
    cut = outcomes.pop("timeout")
    assert cut < CLIENTS, f"more waits were cut at the ejection than there are clients: {bad}"
    equal("attempts that ended otherwise", set(outcomes.values()), {0})
    equal("failures of the bad one", bad["failures"], EJECT_AFTER + 1)
    equal("ejections of the bad one", bad["ejections"], 1)
    equal("failures of the good one", good["failures"], 0)
    equal("requests rescued", stats["requests"]["rescued"], failed)
    equal("requests", stats["requests"]["total"], answered)
    equal("requests that ended well", stats["requests"]["status_2xx"], answered)
