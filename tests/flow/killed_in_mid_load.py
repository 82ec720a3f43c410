#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A backend is killed with SIGKILL in mid-load: no client notices."""
from harness import Holdfast, Load, OriginProcess, equal

CLIENTS = 32
EJECT_AFTER = 300  # more than the default, so that the victim stays in rotation for longer

with OriginProcess() as victim, OriginProcess() as survivor:
    with Holdfast({"victim": victim, "survivor": survivor}, "--eject-after", str(EJECT_AFTER)) as holdfast:
        with Load(holdfast.address, CLIENTS) as load:
            load.until_more(10 * CLIENTS)
            victim.kill()
            load.until(lambda: holdfast.backend("victim")["state"] == "ejected", "the victim is ejected")
            load.until_more(10 * CLIENTS)
            load.until_over()
        stats = holdfast.stats()
        victim_stats, survivor_stats = stats["backends"]
        equal("failures of the victim", victim_stats["failures"], EJECT_AFTER + 1)
        assert victim_stats["errors"]["connect"] > 0, f"no connect was refused: {victim_stats}"
        assert victim_stats["status_200"] > 0, f"the victim was idle before it was killed: {victim_stats}"
        equal("failures of the survivor", survivor_stats["failures"], 0)
        equal("requests that ended well", stats["requests"]["status_2xx"], load.total())
        equal("requests", stats["requests"]["total"], load.total())
        equal("requests rescued", stats["requests"]["rescued"], sum(victim_stats["errors"].values()))
