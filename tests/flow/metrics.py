#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""GET /metrics: the text is what the format of Prometheus demands, under load too; its numbers are those of the stats; no counter
goes back but by a reset; and it needs the token where the stats do."""
import json
import os
import socket
import struct
import tempfile
import threading

import harness
from exposition import Exposition, Malformed
from harness import Holdfast, Load, Origin, answer, equal, head, until

CLASSES = ("2xx", "3xx", "4xx", "5xx")
TYPE = "text/plain; version=0.0.4; charset=utf-8"
BROKEN = [
    b"# HELP a_total x\n# TYPE a_total counter\na_total 1",
    b"# HELP a_total x\n# TYPE a_total counter\na_total 1\na_total 1\n",
    b"# HELP a_total x\n# TYPE a_total counter\na_total 1\n# HELP a_total x\n",
    b"# HELP a_total x\n# TYPE a_total counter\n# TYPE a_total counter\na_total 1\n",
    b"# HELP a_total x\n# TYPE a_total counter\na_total -1\n",
    b"# HELP a_total x\na_total 1\n",
    b"a_total 1\n",
    b"# HELP a x\n# TYPE a counter\na 1\n",
    b"# HELP a x\n# TYPE a gauge\nb 1\n",
    b"# HELP a x\n# TYPE a gauge\n",
    b"# HELP a x\n# TYPE a gauge\na 1\n\n",
    b'# HELP a x\n# TYPE a gauge\na{b="c"d"} 1\n',
    b'# HELP a x\n# TYPE a gauge\na{b="c\\d"} 1\n',
    b'# HELP a x\n# TYPE a gauge\na{b="c",} 1\n',
    b'# HELP a x\n# TYPE a gauge\na{b="c",b="d"} 1\n',
    b'# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 2\na_bucket{le="+Inf"} 1\na_sum 1\na_count 1\n',
    b'# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 1\na_bucket{le="+Inf"} 2\na_sum 1\na_count 1\n',
    b'# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 1\na_bucket{le="2"} 1\na_sum 1\na_count 1\n',
    b'# HELP a x\n# TYPE a histogram\na_bucket{le="1"} 1\na_bucket{le="+Inf"} 1\na_count 1\n',
]


def refuses(text):
    try:
        Exposition(text)
    except Malformed:
        return True
    return False


def scrape(holdfast):
    response = holdfast.admin("GET", "/metrics")
    equal("status", response.status, 200)
    equal("type", response.field("content-type"), TYPE)
    return Exposition(response.body)


def expect_growth(before, after):
    before, after = before.counts(), after.counts()
    equal("samples", list(after), list(before))
    fallen = {key: (value, after[key]) for key, value in before.items() if after[key] < value}
    equal("counters that went back", fallen, {})


def expect_requests(metrics, stats):
    requests = stats["requests"]
    by_class = {key: requests[f"status_{key}"] for key in CLASSES}
    equal("requests_total", metrics.values("holdfast_requests_total", "code"), by_class)
    for name, want in {
        "holdfast_requests_retried_total": requests["retried"],
        "holdfast_requests_rescued_total": requests["rescued"],
        "holdfast_requests_unmasked_total": requests["unmasked"],
        "holdfast_request_faults_total": requests["request_faults"],
        "holdfast_connections_accepted_total": stats["connections"]["accepted"],
        "holdfast_workers": stats["workers"]["total"],
        "holdfast_workers_busy": stats["workers"]["busy"],
        "holdfast_ready": stats["ready"],
        "holdfast_all_ejected": stats["all_ejected"],
    }.items():
        equal(name, metrics.value(name), want)
    connections = {key: stats["connections"][key] for key in ("active", "idle")}
    equal("connections", metrics.values("holdfast_connections", "state"), connections)
    equal("version", metrics.values("holdfast_build_info", "version"), {stats["version"]: 1})
    for key, want in stats["overload"].items():
        name = f"holdfast_overload_{key}" + ("" if key == "waiting" else "_total")
        equal(name, metrics.value(name), want)


def expect_backend(metrics, backend):
    name = backend["name"]
    for family, want in {
        "up": backend["state"] == "up",
        "attempts_total": backend["attempts"],
        "request_faults_total": backend["request_faults"],
        "failures": backend["failures"],
        "ejections_total": backend["ejections"],
        "in_flight": backend["in_flight"],
        "max_in_flight": backend["max_in_flight"],
        "latency_seconds_count": backend["status_200"] + backend["non_200"],
    }.items():
        equal(f"{family} of {name}", metrics.value(f"holdfast_backend_{family}", backend=name), want)
    states = {state: state == backend["state"] for state in ("up", "ejected", "down", "draining")}
    causes = {cause: seen["count"] for cause, seen in backend["evidence"]["causes"].items()}
    responses = {"200": backend["status_200"], "other": backend["non_200"]}
    for family, label, want in [
        ("state", "state", states),
        ("responses_total", "result", responses),
        ("errors_total", "kind", backend["errors"]),
        ("failure_causes_total", "cause", causes),
    ]:
        equal(f"{family} of {name}", metrics.values(f"holdfast_backend_{family}", label, backend=name), want)


def expect_agreement(holdfast):
    """At rest, the metrics say what the stats say."""
    until(lambda: holdfast.stats()["connections"]["active"] == holdfast.stats()["workers"]["busy"] == 0, "all is at rest")
    metrics = scrape(holdfast)
    stats = json.loads(holdfast.admin("GET", "/admin/stats?evidence=1").body)
    expect_requests(metrics, stats)
    for backend in stats["backends"]:
        expect_backend(metrics, backend)
    return metrics


def turns(*behaviours):
    """A behaviour that does one after the other, and then echoes for ever."""
    left = iter(behaviours)

    def behave(wire, request):
        next(left, harness.echo)(wire, request)

    return behave


def hold(wire, request):
    asked.set()
    until(released.is_set, "the client has gone")
    harness.echo(wire, request)


for text in BROKEN:
    assert refuses(text), f"the reader takes {text!r}"

asked, released = threading.Event(), threading.Event()
faults = turns(answer(500), answer(302), harness.garbage, answer(404), harness.truncated_length)
origins = {"gcp.eu-1_a": Origin(faults), "azure": Origin(), "gone": Origin(harness.reset)}
with Holdfast(origins, "--eject-after", "5", config={"retry": {"hold_bytes": 65536}}) as holdfast:
    first = last = expect_agreement(holdfast)
    with Load(holdfast.address, 4) as load:
        while last.value("holdfast_backend_up", backend="gone") == 1 or load.total() < 200:
            load.check()
            last, before = scrape(holdfast), last
            expect_growth(before, last)
    last = expect_agreement(holdfast)
    expect_growth(first, last)
    equal("requests", last.value("holdfast_requests_total", code="2xx"), load.total())
    equal("faults of the first backend", last.value("holdfast_backend_failures", backend="gcp.eu-1_a"), 5)
    equal("ejections", last.value("holdfast_backend_ejections_total", backend="gone"), 1)
    assert last.value("holdfast_backend_latency_seconds_sum", backend="azure") > 0, "no latency"
    buckets = last.values("holdfast_backend_latency_seconds_bucket", "le", backend="azure")
    equal("answers under 68.7 s", buckets["68.719476736"], buckets["+Inf"])

    # An attempt whose client goes away is taken back. No counter may show that.
    for origin in origins.values():
        origin.behave = hold
    with holdfast.client() as client:
        client.send(head("GET", "/"))
        until(asked.is_set, "the request is at a backend")
        held = scrape(holdfast)
        equal("in flight", sum(held.values("holdfast_backend_in_flight", "backend").values()), 1)
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset, not an end
    until(lambda: all(b["in_flight"] == 0 for b in holdfast.stats()["backends"]), "the attempt has ended")
    released.set()
    expect_growth(held, expect_agreement(holdfast))

    zero = Exposition(holdfast.reset() and holdfast.admin("GET", "/metrics").body)
    accepted = ("holdfast_connections_accepted_total", ())
    equal("counts after a reset", {key for key, value in zero.counts().items() if value}, {accepted})
    expect_agreement(holdfast)

    response = holdfast.admin("HEAD", "/metrics")
    equal("HEAD", (response.status, response.field("content-type"), response.body), (200, TYPE, b""))
    for method in ("POST", "PUT", "DELETE", "OPTIONS"):
        response = holdfast.admin(method, "/metrics")
        equal(f"{method}", (response.status, response.field("allow")), (405, "GET, HEAD"))

with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "token")
    with open(path, "w", encoding="ascii") as file:
        file.write("a-secret-token\n")
    with Holdfast({"gcp": Origin()}, config={"admin": {"token_file": path}}) as holdfast:
        for token, status in {"a-secret-tokem": 401, "a-secret-token": 200}.items():
            with harness.Client(holdfast.admin_address) as client:
                client.send(head("GET", "/metrics", f"Authorization: Bearer {token}"))
                equal(f"status with {token}", client.response().status, status)
        equal("status without a token", holdfast.admin("GET", "/metrics").status, 401)
