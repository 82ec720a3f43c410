#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A name that is looked up once a day gets another address; SIGHUP with a shorter resolve_ms, and it is used at once. No
warning says that a restart is needed."""
from harness import Holdfast, Named, Names, Origin, equal, until

names = Names()
old = Origin(host="127.0.0.1")
new = Origin(host="127.0.0.2", port=old.port)
names.set(pods=["127.0.0.1"])
with Holdfast({"pods": Named("pods", old.port)}, config={"resolve_ms": 86400000}, overlay=names) as holdfast:
    with holdfast.client() as client:
        equal("status", client.get().status, 200)
        names.set(pods=["127.0.0.2"])
        holdfast.reload({"resolve_ms": 100})
        until(lambda: holdfast.evidence("pods")["addresses"] == [f"127.0.0.2:{old.port}"], "the new address is in use")
        equal("status", client.get().status, 200)
    equal("requests of each", (len(old.requests), len(new.requests)), (1, 1))
    equal("warnings", [line for line in holdfast.log if "needs a restart" in line], [])
