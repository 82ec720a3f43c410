#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""An offer to upgrade that must not reach the backend becomes a plain request: h2c (RFC 9113 gave it up; what it tunnels would
pass unseen), an HTTP/1.0 client's, and one that Connection does not name (RFC 9110, 7.8). A backend that switches to what it
was not offered has made an error."""
from harness import Holdfast, equal
from raw import RawOrigin, connect, refusal, respond

SETTINGS = b"HTTP2-Settings: AAMAAABkAAQAAP__\r\n"
PLAIN = [
    b"1.1\r\nHost: a\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n" + SETTINGS,
    b"1.1\r\nHost: a\r\nUpgrade: H2C\r\nConnection: upgrade,http2-settings\r\n" + SETTINGS,
    b"1.1\r\nHost: a\r\nUpgrade: websocket, h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n" + SETTINGS,
    b"1.1\r\nHost: a\r\nUpgrade: websocket\r\nUpgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\n" + SETTINGS,
    b"1.1\r\nHost: a\r\nUpgrade: websocket\r\n",
    b"1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: keep-alive\r\n",
    b"1.1\r\nHost: a\r\nUpgrade:\r\nConnection: Upgrade\r\n",
    b"1.1\r\nHost: a\r\nConnection: Upgrade\r\n",
    b"1.0\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade, keep-alive\r\n",
]

origin = RawOrigin(respond(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain"))
with Holdfast({"gcp": origin}) as holdfast:
    for request in PLAIN:
        with connect(holdfast) as client:
            client.send(b"GET / HTTP/" + request + b"\r\n")
            equal(f"answer to {request!r}", client.response().body, b"plain")
    received = origin.received().lower()
    equal("requests at the backend", received.count(b"get / http/1.1\r\n"), len(PLAIN))
    for name in (b"upgrade", b"http2-settings", b"connection:"):
        assert name not in received, f"{name!r} reached the backend: {received!r}"

    # Prior knowledge of HTTP/2 (RFC 9113, 3.3) is no HTTP/1.1.
    with connect(holdfast) as client:
        client.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
        equal("answer to the preface of HTTP/2", refusal(client.rest()), (505, "unsupported_version"))

# A backend that switches all the same, or to something else. The offer and the answer.
OFFER = b"1.1\r\nHost: a\r\nUpgrade: chat/2, chat/1\r\nConnection: upgrade\r\n"
NOT_ASKED = [
    (PLAIN[0], b"Upgrade: h2c"),
    (PLAIN[4], b"Upgrade: websocket"),
    (OFFER, b"Upgrade: chat/3"),
    (OFFER, b"Upgrade: chat"),
    (OFFER, b"Upgrade: chat/1, other"),
    (OFFER, b"Upgrade:"),
    (OFFER, b"X: y"),
]
switches = RawOrigin(None)
with Holdfast({"gcp": switches}) as holdfast, connect(holdfast) as client:
    for count, (request, answer) in enumerate(NOT_ASKED):
        switches.script = respond(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n" + answer + b"\r\n\r\n")
        client.send(b"GET / HTTP/" + request + b"\r\n")
        equal(f"status after {answer!r}", client.response().status, 502)
        equal("protocol errors", holdfast.backend("gcp")["errors"]["protocol"], count + 1)
