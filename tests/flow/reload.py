#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""SIGHUP 100 times under the load of 32 clients: a backend comes and goes each time, and nothing is lost: no
request, no connection, no count of the backend that stays. A bad file and a key that needs a restart change
nothing."""
import json
import os
import signal

from harness import Holdfast, Load, Origin, equal, until

CLIENTS = 32
RELOADS = 100

stays, comes = Origin(), Origin()


def config(*backends, **more):
    origins = {"stays": stays, "comes": comes}
    return {"backends": [{"name": n, "url": f"http://{origins[n].authority}"} for n in backends], **more}


def count(holdfast, text):
    return sum(text in line for line in list(holdfast.log))


def reload(holdfast, written, expected="config reloaded"):
    path = os.path.join(holdfast.folder.name, "config.json")
    before = count(holdfast, expected)
    with open(path + ".new", "w", encoding="utf-8") as file:
        file.write(written if isinstance(written, str) else json.dumps(written))
    os.replace(path + ".new", path)
    holdfast.process.send_signal(signal.SIGHUP)
    until(lambda: count(holdfast, expected) > before, expected)


def names(holdfast):
    return [backend["name"] for backend in holdfast.stats()["backends"]]


with Holdfast({}, config=config("stays")) as holdfast:
    with Load(holdfast.address, CLIENTS) as load:
        load.until_more(CLIENTS)
        for number in range(RELOADS // 2):
            reload(holdfast, config("comes", "stays", timeouts={"response_ms": 20000 + number}))
            equal("backends", names(holdfast), ["comes", "stays"])
            before = len(comes.requests)
            load.until(lambda: len(comes.requests) > before, "the new backend gets requests")
            reload(holdfast, config("stays", limits={"header_bytes": 8192 + number}))
            equal("backends", names(holdfast), ["stays"])
        load.until_more(2 * CLIENTS)  # those that had begun with it have ended
        gone = len(comes.requests)
        load.until_more(10 * CLIENTS)
        equal("requests to the one that left", len(comes.requests), gone)
    stats = holdfast.stats()
    equal("requests that ended well", stats["requests"]["status_2xx"], load.total())
    equal("requests", stats["requests"]["total"], load.total())
    equal("attempts on the one that stayed", stats["backends"][0]["attempts"], len(stays.requests))
    equal("failures", stats["backends"][0]["failures"], 0)

    reload(holdfast, '{"backends": [],\n "lissten": ":1"}', "config not reloaded")
    assert holdfast.logged("config.json:"), "the place of the error is not logged"
    equal("backends", names(holdfast), ["stays"])
    reload(holdfast, config("stays", workers=3, proxy_protocol=True))
    assert holdfast.logged("needs a restart: its old value stays in force\" key=workers")
    assert holdfast.logged("needs a restart: its old value stays in force\" key=proxy_protocol")
    equal("workers", holdfast.stats()["workers"]["total"], 256)
    with holdfast.client() as client:
        equal("status", client.get().status, 200)
