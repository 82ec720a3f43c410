#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""SIGHUP 100 times under the load of 32 clients that get and post: a backend comes and goes each time, and
nothing is lost: no request, no connection, no count of the backend that stays. A bad file and a key that
needs a restart change nothing."""
import re

from harness import Holdfast, Load, Origin, answer, equal, head, until

CLIENTS = 32
RELOADS = 100


def echo(wire, request):
    """The body comes back, or, where there is none, the target."""
    answer(200, request.body or request.target.encode())(wire, request)


stays, comes = Origin(echo), Origin(echo)


class Mixed(Load):
    """Posts and gets in turn; each target is different, as each body is."""

    def _ask(self, client, mark):
        client_number, number = re.findall(r"\d+", mark.decode())
        if int(number) % 2 == 0:
            super()._ask(client, mark)
            return
        target = f"/{client_number}/{number}"
        client.send(head("GET", target))
        response = client.response()
        equal("answer", (response.status, response.body), (200, target.encode()))

    def until_all_more(self):
        """Waits until each client has one answer more: then every request that is in flight now has ended."""
        before = list(self.answered)
        self.until(lambda: all(map(int.__gt__, self.answered, before)), "one more answer for each client")


def config(*backends, **more):
    origins = {"stays": stays, "comes": comes}
    return {"backends": [{"name": n, "url": f"http://{origins[n].authority}"} for n in backends], **more}


def names(holdfast):
    return [backend["name"] for backend in holdfast.stats()["backends"]]


with Holdfast({}, config=config("stays")) as holdfast:
    with Mixed(holdfast.address, CLIENTS) as load:
        load.until_all_more()
        for number in range(RELOADS // 2):
            holdfast.reload(config("comes", "stays", timeouts={"response_ms": 20000 + number}))
            equal("backends", names(holdfast), ["comes", "stays"])
            before = len(comes.requests)
            load.until(lambda: len(comes.requests) > before, "the new backend gets requests")
            holdfast.reload(config("stays", limits={"header_bytes": 8192 + number}))
            equal("backends", names(holdfast), ["stays"])
        load.until_all_more()
        gone = len(comes.requests)
        load.until_more(10 * CLIENTS)
        equal("requests to the one that left", len(comes.requests), gone)
    stats = holdfast.stats()
    equal("connections", stats["connections"]["accepted"], CLIENTS)
    equal("requests that ended well", stats["requests"]["status_2xx"], load.total())
    equal("requests", stats["requests"]["total"], load.total())
    for origin in stays, comes:
        equal("methods", {request.method for request in origin.requests}, {"GET", "POST"})
    equal("attempts on the one that stayed", stats["backends"][0]["attempts"], len(stays.requests))
    equal("failures", stats["backends"][0]["failures"], 0)

    holdfast.reload('{"backends": [],\n "lissten": ":1"}', "config not reloaded")
    place = 'config.json:2:2: unknown key \\"lissten\\"'
    assert holdfast.logged(place), "the place of the error is not logged"
    equal("backends", names(holdfast), ["stays"])
    holdfast.reload(config("stays", workers=3, proxy_protocol=True))
    assert holdfast.logged("needs a restart: its old value stays in force\" key=workers")
    assert holdfast.logged("needs a restart: its old value stays in force\" key=proxy_protocol")
    equal("workers", holdfast.stats()["workers"]["total"], 256)
    with holdfast.client() as client:
        equal("status", client.get().status, 200)
