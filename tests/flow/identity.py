#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Who asks and which request it is: what a stranger says about the client is thrown away and written anew, what a trusted proxy
says is kept and appended to (RFC 7239 and X-Forwarded-*); X-Request-Id and traceparent are kept when they are fit, made
otherwise, and the same on every attempt."""
import re
import socket

from harness import WAIT_SECONDS, Holdfast, equal
from raw import Raw, RawOrigin

STRANGER, TRUSTED = "127.0.0.1", "127.0.0.2"
ID = re.compile(r"[0-9a-f]{32}")
TRACE = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-00")
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"
MADE = object()
CLAIMS = ["x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "x-real-ip", "x-forwarded-port"]
SAID = (
    "X-Forwarded-For: 1.2.3.4, 5.6.7.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: first.test\r\nX-Real-IP: 1.2.3.4\r\n"
    "x-forwarded-port: 443\r\nForwarded: for=1.2.3.4;proto=https\r\n"
)


def request(*lines, target="/", host="Host: flow.test\r\n"):
    return f"GET {target} HTTP/1.1\r\n{host}{''.join(lines)}\r\n"


def claims(peer, host="flow.test", quoted=None):
    """What is said of a client of which nobody has said anything."""
    forwarded = f"for={peer};host={quoted or host};proto=http"
    return [f"{peer}", "http", host, forwarded, None, None]


# From whom, the request, and the values of CLAIMS at the backend.
CLAIMED = [
    (STRANGER, request(), claims(STRANGER)),
    (STRANGER, request(SAID), claims(STRANGER)),
    (STRANGER, request(SAID.upper()), claims(STRANGER)),
    (STRANGER, request(SAID + SAID), claims(STRANGER)),
    (STRANGER, request(SAID.replace("-", "_")), claims(STRANGER)),
    (STRANGER, request(host="Host: flow.test:8080\r\n"), claims(STRANGER, "flow.test:8080", '"flow.test:8080"')),
    (STRANGER, request(host="Host: [::1]\r\n"), claims(STRANGER, "[::1]", '"[::1]"')),
    (STRANGER, request(target="http://other.test/a"), claims(STRANGER, "other.test")),
    (STRANGER, request("Connection: X-Forwarded-For, Forwarded, X-Request-Id\r\n"), claims(STRANGER)),
    (
        STRANGER,
        request(host="").replace("HTTP/1.1", "HTTP/1.0"),
        [STRANGER, "http", None, f"for={STRANGER};proto=http", None, None],
    ),
    (TRUSTED, request(), claims(TRUSTED)),
    (
        TRUSTED,
        request(SAID),
        [
            f"1.2.3.4, 5.6.7.8, {TRUSTED}",
            *["https", "first.test", f"for=1.2.3.4;proto=https, for={TRUSTED};host=flow.test;proto=http"],
            *["1.2.3.4", "443"],
        ],
    ),
    (
        TRUSTED,
        request("X-Forwarded-For: 1.2.3.4\r\nForwarded: for=a\r\nX-Forwarded-For:\r\nForwarded: for=b\r\nX-Forwarded-For: ::1\r\n"),
        [f"1.2.3.4, ::1, {TRUSTED}", "http", "flow.test"]
        + [f"for=a, for=b, for={TRUSTED};host=flow.test;proto=http", None, None],
    ),
    # An open quote would swallow what holdfast appends.
    (TRUSTED, request('Forwarded: for="a\r\n'), claims(TRUSTED)),
    (TRUSTED, request("X-Forwarded-Proto: https, http\r\nX-Forwarded-Host:\r\n"), [TRUSTED, "https", *claims(TRUSTED)[2:]]),
]
# What the client says of the request, and X-Request-Id, traceparent and tracestate at the backend.
KEPT = f"00-{TRACE_ID}-01"
NAMED = [
    ("", [MADE, MADE, None]),
    ("X-Request-Id: a\r\n", ["a", MADE, None]),
    (f"x-request-id: {'~' * 128}\r\n", ["~" * 128, MADE, None]),
    (f"X-Request-Id: {'a' * 129}\r\n", [MADE, MADE, None]),
    ("X-Request-Id:\r\n", [MADE, MADE, None]),
    ("X-Request-Id: a b\r\n", [MADE, MADE, None]),
    ("X-Request-Id: \u00e4\r\n", [MADE, MADE, None]),
    ("X-Request-Id: a\r\nX-Request-Id: b\r\n", [MADE, MADE, None]),
    (f"traceparent: {KEPT}\r\ntracestate: a=b,c=d\r\n", [MADE, KEPT, "a=b,c=d"]),
    (f"Traceparent: 00-{TRACE_ID}-00\r\n", [MADE, f"00-{TRACE_ID}-00", None]),
    (f"traceparent: cc-{TRACE_ID}-ff-future\r\ntracestate: a=b\r\n", [MADE, KEPT, "a=b"]),
    *[
        (f"traceparent: {value}\r\ntracestate: a=b\r\n", [MADE, MADE, None])
        for value in [
            *["", "00", f"00-{TRACE_ID}", f"00-{TRACE_ID}-01-x", f"00-{TRACE_ID}-0x", f"ff-{TRACE_ID}-01", KEPT.upper()],
            *[f"00-{'0' * 32}-00f067aa0ba902b7-01", f"00-4bf92f3577b34da6a3ce929d0e0e4736-{'0' * 16}-01"],
            f"{KEPT}\r\ntraceparent: {KEPT}",
        ]
    ],
    ("tracestate: a=b\r\n", [MADE, MADE, None]),
]

good_got, bad_got = [], []


def good(wire):
    while True:
        good_got.append(wire.request())
        wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def bad(wire):
    bad_got.append(wire.request())


def connect_from(holdfast, source):
    return Raw(socket.create_connection(holdfast.address, timeout=WAIT_SECONDS, source_address=(source, 0)))


def values(message, names):
    return [message.field(name) for name in names]


def both_get(client, request):
    """Sends REQUEST until the bad backend gets it first, so that both have it."""
    before = len(bad_got)
    while len(bad_got) == before:
        client.send(request.encode("latin-1"))
        equal("status", client.response().status, 200)
    return good_got[-1], bad_got[-1]


def no_disguise(messages):
    """No field of MESSAGES is one that CGI and WSGI would take for another."""
    names = {name for message in messages for name, _ in message.fields}
    equal("names with '_'", [name for name in names if "_" in name], [])


def is_as(value, wanted, pattern):
    return pattern.fullmatch(value or "") is not None if wanted is MADE else value == wanted


backends = {"good": RawOrigin(good), "bad": RawOrigin(bad)}
with Holdfast(backends, "--eject-after", "1000", config={"trusted_proxies": ["127.0.0.2/31", "::1"]}) as holdfast:
    for peer, text, wanted in CLAIMED:
        with connect_from(holdfast, peer) as client:
            if "HTTP/1.0" in text:
                text = text.replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n")
            for message in both_get(client, text):
                equal(f"claims about {peer} after {text!r}", values(message, CLAIMS), wanted)

    no_disguise(good_got + bad_got)
    with connect_from(holdfast, TRUSTED) as client:
        disguised = "X_Forwarded_For: 1.2.3.4\r\nContent_Length: 5\r\nTransfer_Encoding: chunked\r\nX_Request_Id: a\r\n"
        no_disguise(both_get(client, request(disguised)))
        first, _ = both_get(client, request("My_Own: field\r\n"))
        equal("a name with '_' that means nothing", first.field("my_own"), "field")

    names = ["x-request-id", "traceparent", "tracestate"]
    made = set()
    with connect_from(holdfast, STRANGER) as client:
        for lines, wanted in NAMED:
            first, second = both_get(client, request(lines))
            got = values(first, names)
            equal(f"{names} on the other attempt of {lines!r}", values(second, names), got)
            for value, want, pattern in zip(got, wanted, [ID, TRACE, None]):
                assert is_as(value, want, pattern), f"{value!r} where {want!r} belongs, after {lines!r}"
                if want is MADE:
                    made.update(value.split("-")[1:3] or [value])
    expected = sum(1 if index == 0 else 2 for _, wanted in NAMED for index, want in enumerate(wanted) if want is MADE)
    equal("made ids, each of them different", len(made), expected)
