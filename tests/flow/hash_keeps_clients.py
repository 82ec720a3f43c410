#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""With balance "hash" on a field, each user stays with one backend. One is drained: its users move, the others stay. It comes
back: so do they. The order of the backends in the file means nothing."""
from harness import Holdfast, Origin, answer, equal, head

USERS = 120
names = ("gcp", "azure", "third")
origins = {name: Origin(answer(200, name.encode())) for name in names}


def config(order):
    backends = [{"name": name, "url": f"http://{origins[name].authority}"} for name in order]
    return {"balance": "hash", "hash_on": "header:X-User", "backends": backends}


def homes(holdfast):
    """Where each user is answered, in turn and then once more in another order."""
    found = {}
    with holdfast.client() as client:
        for user in [*range(USERS), *reversed(range(USERS))]:
            client.send(head("GET", "/", f"x-user: {user}"))
            response = client.response()
            equal("status", response.status, 200)
            equal(f"the home of user {user}", found.setdefault(user, response.body.decode()), response.body.decode())
    return found


with Holdfast({}, config=config(names)) as holdfast:
    before = homes(holdfast)
    equal("backends that have users", set(before.values()), set(names))
    equal("drain", holdfast.admin("POST", "/admin/backends/azure/drain").status, 200)
    meanwhile = homes(holdfast)
    for user, home in before.items():
        if home != "azure":
            equal(f"the home of user {user}", meanwhile[user], home)
    moved = {meanwhile[user] for user, home in before.items() if home == "azure"}
    equal("where azure's users went", moved, {"gcp", "third"})
    equal("undrain", holdfast.admin("POST", "/admin/backends/azure/undrain").status, 200)
    equal("homes at the end", homes(holdfast), before)

    with holdfast.client() as client:  # without the field, the client's address decides
        equal("homes without a field", len({client.get().body for _ in range(20)}), 1)

with Holdfast({}, config=config(reversed(names))) as holdfast:
    equal("homes with another order", homes(holdfast), before)
