#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The name of a backend gets other addresses while clients ask: all of them are used in turn, connections to those that are
gone are closed, and when the name does not resolve any more the last ones are kept. No client notices."""
from harness import Holdfast, Load, Named, Names, Origin, equal, until

HOSTS = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]


def share(origin, origins, before):
    got = [len(each.requests) - count for each, count in zip(origins, before)]
    return got[origins.index(origin)] / max(1, sum(got))


names = Names()
first = Origin(host=HOSTS[0])
origins = [first, Origin(host=HOSTS[1], port=first.port), Origin(host=HOSTS[2], port=first.port)]
names.set(pods=HOSTS[:2])
with Holdfast({"pods": Named("pods", first.port)}, config={"resolve_ms": 100}, overlay=names) as holdfast:
    backend = holdfast.evidence("pods")
    equal("addresses", backend["addresses"], [f"{host}:{first.port}" for host in HOSTS[:2]])
    equal("resolve_error", backend["resolve_error"], None)

    # One client, one request at a time: even so both get the same.
    with holdfast.client() as client:
        for _ in range(40):
            equal("answer", client.get().status, 200)
    equal("requests of each", [len(origin.requests) for origin in origins], [20, 20, 0])

    with Load(holdfast.address, 8) as load:
        load.until_more(200)
        names.set(pods=HOSTS[1:])
        load.until(lambda: origins[2].requests, "the new address is used")
        load.until(lambda: not origins[0].open, "the connections to the old address are closed")
        before = [len(origin.requests) for origin in origins]
        load.until_more(400)
        equal("requests to the old address", len(origins[0].requests), before[0])
        assert 0.4 < share(origins[1], origins, before) < 0.6, "the two are not used in turn"

        names.set(pods=[])
        load.until(lambda: holdfast.evidence("pods")["resolve_error"], "the stats say that the name is gone")
        load.until_more(200)
        equal("addresses", holdfast.evidence("pods")["addresses"], [f"{host}:{first.port}" for host in HOSTS[1:]])
        names.set(pods=HOSTS[:1])
        load.until(lambda: holdfast.evidence("pods")["resolve_error"] is None, "the name is back")
        load.until(lambda: not origins[1].open and not origins[2].open, "the others are let go")
        load.until_more(100)
    lost = [line for line in holdfast.log if "its last addresses are kept" in line]
    equal("lines about the lost name", len(lost), 1)
    equal("failures", holdfast.backend("pods")["failures"], 0)
    until(lambda: holdfast.logged("addresses changed"), "the log tells of the change")
