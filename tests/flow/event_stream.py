#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Server-sent events: each event reaches the client before the next one is sent, however much might be held of other responses;
chunked, by length or until the end, to HTTP/1.1 and HTTP/1.0. A stream that ends well is whole, and one that breaks counts as
unmasked."""
import json
import threading
import time

from harness import Holdfast, equal, head
from raw import RawOrigin, connect

EVENTS = [b"id: %d\ndata: tick\n\n" % i for i in range(5)]
PAUSE_S = 0.05
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n"
KINDS = {
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n",
    "length": b"Content-Length: %d\r\n\r\n" % len(b"".join(EVENTS)),
    "until the end": b"Connection: close\r\n\r\n",
}
REQUESTS = {"1.1": head("GET", "/events", "Connection: close"), "1.0": b"GET /events HTTP/1.0\r\n\r\n"}
MOST = {"retry": {"hold_bytes": 1 << 20, "hold_ms": 60000}}
NONE = {"retry": {"hold_bytes": 0, "hold_ms": 0}}


def stream(kind, seen, broken):
    """Sends an event, and the next one only when the client has SEEN it, after a pause."""

    def script(wire):
        wire.request()
        wire.send(HEAD + KINDS[kind])
        for event in EVENTS:
            wire.send(b"%x\r\n%s\r\n" % (len(event), event) if kind == "chunked" else event)
            assert seen.acquire(timeout=20), "the client does not get the event"
            time.sleep(PAUSE_S)  # time is the subject: nothing else is on the way now
        if kind == "chunked" and not broken:
            wire.send(b"0\r\n\r\n")

    return script


def listen(holdfast, kind, version, broken=False):
    seen = threading.Semaphore(0)
    origin.script = stream(kind, seen, broken)
    with connect(holdfast) as client:
        client.send(REQUESTS[version])
        client.up_to(b"\r\n\r\n")
        for event in EVENTS:
            client.up_to(event)
            seen.release()
        rest, is_reset = client.to_the_end()
        case = f"{kind} to HTTP/{version}{', broken' if broken else ''}"
        in_chunks = version == "1.1" and kind != "length"
        equal(f"a reset, {case}", is_reset, broken and not in_chunks)
        equal(f"the end, {case}", rest, (b"\r\n" if broken else b"\r\n0\r\n\r\n") if in_chunks else b"")


def unmasked(holdfast):
    return json.loads(holdfast.admin("GET", "/admin/stats?evidence=1").body)["requests"]["unmasked"]


origin = RawOrigin(None)
for config in (MOST, NONE):
    with Holdfast({"gcp": origin}, config=config) as holdfast:
        for kind in KINDS:
            for version in REQUESTS:
                listen(holdfast, kind, version)
        equal("failures", (holdfast.backend("gcp")["failures"], unmasked(holdfast)), (0, 0))
        for version in REQUESTS:
            listen(holdfast, "chunked", version, broken=True)
        equal("failures", (holdfast.backend("gcp")["failures"], unmasked(holdfast)), (2, 2))
