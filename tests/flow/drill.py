#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A drill: an operator lets a sound backend fail in each way. Clients see nothing of it, the backend gets nothing, the evidence
names the cause, probes meet the fault too; it ends by itself, by mode=off, or with its backend, and the backend is served again."""
import json
import select
import threading
import time

from harness import WAIT_SECONDS, Holdfast, Origin, answer, equal, head, until

CONNECT_MS = 200
REQUESTS = 6
MODES = {
    "mode=refuse": "refused",
    "mode=blackhole": "connect_timeout",
    "mode=reset": "reset_fresh",
    "mode=truncate": "truncated",
    "mode=status": "5xx",
    "mode=status&status=429": "4xx",
}


def drill(holdfast, query, status=200):
    response = holdfast.admin("POST", f"/admin/drill?{query}")
    equal(f"answer to {query}", response.status, status)
    return json.loads(response.body)


def ask(holdfast, method, count):
    with holdfast.client() as client:
        for _ in range(count):
            client.send(head(method, "/", "Content-Length: 0"))
            equal(f"answer to {method}", client.response(method).status, 200)


def rehearse(holdfast, query, cause):
    """Runs the drill QUERY, with all that must be seen of it."""
    holdfast.reset()
    ask(holdfast, "GET", 4)  # so that there are idle connections, which must not be used now
    before = len(origins["gcp"].requests), origins["gcp"].connections
    shown = drill(holdfast, f"backend=gcp&{query}")["drill"]
    mode = query.split("&")[0].removeprefix("mode=")
    status = {"mode=status": 503, "mode=status&status=429": 429}.get(query)
    equal("the drill", (shown["mode"], shown["status"]), (mode, status))
    assert 29000 < shown["remaining_ms"] <= 30000, shown
    for method in ("GET", "HEAD", "POST"):
        ask(holdfast, method, REQUESTS)
    equal("what the backend got", (len(origins["gcp"].requests), origins["gcp"].connections), before)
    backend = holdfast.evidence("gcp")
    equal("the drill in the stats", backend["drill"]["mode"], mode)
    causes = {name: told["count"] for name, told in backend["evidence"]["causes"].items() if told["count"]}
    equal("causes", causes, {cause: 3 * REQUESTS // 2})
    equal("no drill of azure", holdfast.evidence("azure")["drill"], None)
    equal("the drill is over", drill(holdfast, "backend=gcp&mode=off")["drill"], None)
    ask(holdfast, "GET", 4)
    equal("failures afterwards", holdfast.backend("gcp")["failures"], 3 * REQUESTS // 2)
    equal("what the backend got afterwards", len(origins["gcp"].requests), before[0] + 2)


origins = {"gcp": Origin(answer(200, b"gcp")), "azure": Origin(answer(200, b"azure"))}
backends = [{"name": name, "url": f"http://{origin.authority}"} for name, origin in origins.items()]
config = {
    "admin": {"drill": True},
    "backends": backends,
    "health": {"eject_after": 1000},
    "timeouts": {"connect_ms": CONNECT_MS},
}
with Holdfast({}, config=config) as holdfast:
    for query, cause in MODES.items():
        rehearse(holdfast, query, cause)
    for query, status, error in (
        ("mode=reset", 400, "backend_missing"),
        ("backend=gcp", 400, "mode_missing"),
        ("backend=gcp&mode=flood", 400, "bad_mode"),
        ("backend=gcp&mode=status&status=200", 400, "bad_status"),
        ("backend=gcp&mode=reset&status=500", 400, "needless_status"),
        ("backend=gcp&mode=reset&for_ms=0", 400, "bad_for_ms"),
        ("backend=gcp&mode=reset&for_ms=3600001", 400, "bad_for_ms"),
        ("backend=gcp&mode=off&for_ms=5", 400, "needless_for_ms"),
        ("backend=gcp&mode=reset&mode=off", 400, "repeated_key"),
        ("backend=gcp&mode=reset&why=not", 400, "unknown_key"),
        ("backend=aws&mode=reset", 404, "unknown_backend"),
    ):
        equal(f"error of {query}", drill(holdfast, query, status)["error"], error)
    equal("nothing was begun", [holdfast.evidence(name)["drill"] for name in origins], [None, None])
    equal("a drill is nothing to GET", holdfast.admin("GET", "/admin/drill?backend=gcp&mode=reset").status, 405)

    # It ends by itself; another one takes the place of one that runs.
    drill(holdfast, "backend=gcp&mode=blackhole")
    begun = time.monotonic()
    drill(holdfast, "backend=gcp&mode=refuse&for_ms=300")
    until(lambda: holdfast.evidence("gcp")["drill"] is None, "the drill ends by itself")
    assert time.monotonic() - begun > 0.25, "it ended too early"
    until(lambda: holdfast.logged('msg="drill is over" backend=gcp mode=blackhole'), "its log")
    drill(holdfast, "backend=gcp&mode=refuse")  # runs when the program stops

config["health"]["probe"] = {"path": "/up", "interval_ms": 20, "timeout_ms": 1000}
with Holdfast({}, config=config) as holdfast:
    drill(holdfast, "backend=gcp&mode=status")
    until(lambda: holdfast.backend("gcp")["state"] == "down", "probes see it")
    drill(holdfast, "backend=gcp&mode=off")
    until(lambda: holdfast.backend("gcp")["state"] == "up", "it is up again")

# A backend leaves by a reload: its drill ends at once, though a request that began before is still on it. Neither the one that comes
# nor itself, when it is back, has anything of it.
let_go = threading.Event()


def hold(wire, request):
    assert let_go.wait(WAIT_SECONDS), "never let go"
    answer(200, b"gcp")(wire, request)


others = [backends[1], dict(backends[0], name="aws")]
config["health"].pop("probe")
with Holdfast({}, config=config) as holdfast, holdfast.client() as holder:
    origins["gcp"].behave = hold
    before = len(origins["gcp"].requests)
    drill(holdfast, "backend=azure&mode=refuse&for_ms=3600000")
    holder.send(head("GET", "/"))
    until(lambda: len(origins["gcp"].requests) > before, "a request is on the one that leaves")
    origins["gcp"].behave = answer(200, b"gcp")
    for name, left in ("gcp", others), ("aws", backends):
        drill(holdfast, f"backend={name}&mode=refuse&for_ms=3600000")
        holdfast.reload(dict(config, backends=left))
        until(lambda: holdfast.logged(f'msg="drill is over" backend={name} mode=refuse'), "the drill ends with its backend")
        equal("answers to the one that is held", select.select([holder.sock], [], [], 0)[0], [])
        came = next(backend["name"] for backend in left if backend["name"] != "azure")
        equal("no drill of the one that came", holdfast.evidence(came)["drill"], None)
        equal("the drill of the one that stays", holdfast.evidence("azure")["drill"]["mode"], "refuse")
        before = len(origins["gcp"].requests)
        ask(holdfast, "GET", REQUESTS)
        equal("what it got", len(origins["gcp"].requests), before + REQUESTS)
        equal("its failures", holdfast.backend(came)["failures"], 0)
    let_go.set()
    equal("the one that was held", holder.response().body, b"gcp")

with Holdfast({}, config={"backends": backends}) as holdfast:
    equal("error", drill(holdfast, "backend=gcp&mode=reset", 403)["error"], "drill_off")
