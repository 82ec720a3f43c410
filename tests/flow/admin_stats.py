#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""GET /admin/stats has exactly the keys that scripts rely on, in every depth, each with its type, and
nothing else."""
import json
import re

from harness import Holdfast, Origin, answer, equal

COUNT, NUMBER, TEXT, TRUTH = "count", "number", "text", "truth"
BACKEND = {
    "name": TEXT, "url": TEXT, "state": TEXT,
    "attempts": COUNT, "status_200": COUNT, "non_200": COUNT, "failures": COUNT,
    "errors": {"connect": COUNT, "timeout": COUNT, "reset": COUNT, "protocol": COUNT},
    "in_flight": COUNT, "ejections": COUNT, "ejected_at": None, "latency_ms": {"p50": NUMBER, "p99": NUMBER},
}
STATS = {
    "version": TEXT, "uptime_seconds": NUMBER, "ready": TRUTH, "all_ejected": TRUTH,
    "policy": {"failure": TEXT, "eject_after": COUNT, "window_ms": COUNT, "readmit": TEXT},
    "requests": {
        "total": COUNT, "status_2xx": COUNT, "status_3xx": COUNT, "status_4xx": COUNT, "status_5xx": COUNT,
        "retried": COUNT, "rescued": COUNT,
    },
    "connections": {"active": COUNT, "idle": COUNT, "accepted": COUNT},
    "workers": {"total": COUNT, "busy": COUNT},
    "backends": [BACKEND | {"ejected_at": TEXT}, BACKEND],
}  # fmt: skip
TYPES = {COUNT: (int,), NUMBER: (int, float), TEXT: (str,), TRUTH: (bool,), None: (type(None),)}


def compare(path, value, shape):
    if isinstance(shape, dict):
        equal(f"type of {path}", type(value), dict)
        equal(f"keys of {path}", list(value), list(shape))
        for key, inner in shape.items():
            compare(f"{path}.{key}", value[key], inner)
    elif isinstance(shape, list):
        equal(f"length of {path}", len(value), len(shape))
        for index, inner in enumerate(shape):
            compare(f"{path}[{index}]", value[index], inner)
    else:
        assert type(value) in TYPES[shape], f"{path} is {value!r}, expected a {shape}"
        assert shape not in (COUNT, NUMBER) or value >= 0, f"{path} is {value!r}"


def unique(pairs):
    keys = [key for key, _ in pairs]
    equal("repeated keys", len(keys), len(set(keys)))
    return dict(pairs)


bad = Origin(answer(503))
with Holdfast({"bad": bad, "good": Origin()}, "--eject-after", "2", "--workers", "5") as holdfast:
    with holdfast.client() as client:
        while holdfast.backend("bad")["state"] == "up":
            equal("status", client.get().status, 200)
    response = holdfast.admin("GET", "/admin/stats")
    equal("type", response.field("content-type").split(";")[0], "application/json")
    stats = json.loads(response.body, object_pairs_hook=unique)
    compare("stats", stats, STATS)

    policy = {"failure": "non-200", "eject_after": 2, "window_ms": 0, "readmit": "manual"}
    equal("policy", stats["policy"], policy)
    equal("workers.total", stats["workers"]["total"], 5)
    equal("ready", stats["ready"], True)
    equal("url", stats["backends"][0]["url"], f"http://{bad.authority}")
    equal("requests.rescued", stats["requests"]["rescued"], 3)
    equal("requests.retried", stats["requests"]["retried"], 3)
    ejected_at = stats["backends"][0]["ejected_at"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", ejected_at), ejected_at
    assert stats["backends"][1]["latency_ms"]["p99"] > 0, "no latency was measured"
