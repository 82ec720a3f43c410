#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A reload brings a backend that is known by its name: it is looked up before the new config is in force, and then again and
again. When the backend leaves, its name is looked up no more."""
from harness import Holdfast, Named, Names, Origin, answer, equal, until

names = Names()
names.set(pods=["127.0.0.1"])
gcp = Origin(answer(200, b"gcp"))
first = Origin(answer(200, b"first"))
second = Origin(answer(200, b"second"), host="127.0.0.2", port=first.port)


def config(*origins):
    backends = [{"url": f"http://{origin.authority}"} for origin in origins]
    return {"resolve_ms": 100, "backends": backends}


with Holdfast({}, config=config(gcp), overlay=names) as holdfast, holdfast.client() as client:
    holdfast.reload(config(gcp, Named("pods", first.port)))
    equal("answers", sorted(client.get().body for _ in range(4)), [b"first"] * 2 + [b"gcp"] * 2)

    names.set(pods=["127.0.0.2"])
    addresses = [f"127.0.0.2:{first.port}"]
    until(lambda: holdfast.evidence("backend2")["addresses"] == addresses, "the name is looked up again")
    until(lambda: not first.open, "the connections to the old address are closed")
    equal("answers", sorted(client.get().body for _ in range(4)), [b"gcp"] * 2 + [b"second"] * 2)

    holdfast.reload(config(gcp))
    until(lambda: not second.open, "the connections to the one that left are closed")
    until(lambda: "hf-resolver" not in holdfast.thread_names(), "nobody looks its name up any more")
    equal("answers", [client.get().body for _ in range(4)], [b"gcp"] * 4)
