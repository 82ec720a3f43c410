#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A backend is held to the same strictness as a client: of a malformed, ambiguous or broken response no byte is forwarded; the
client gets the other backend's 200, and the failure is counted for what it was. What comes behind a good response is
nobody's."""
import threading

from harness import Holdfast, equal, head, until
from raw import RawOrigin, respond

HEADER_BYTES = 2048
START = b"HTTP/1.1 200 OK\r\n"
GOOD = b"Content-Length: 2\r\n\r\nok"
CHUNKED = START + b"Transfer-Encoding: chunked\r\n\r\n"
END = b"\r\n0\r\n\r\n"


def field(text):
    return START + text + b"\r\n" + GOOD


def line(text):
    return text + b"\r\n" + GOOD


def framed(text, body=b"ok"):
    return START + text + b"\r\n\r\n" + body


# The section that says so (RFC 9112 where no number is given), the response, and the offence that the log must name.
MALFORMED = [
    ("2.2", START[:-2] + b"\n" + GOOD, "bare_lf"),
    ("2.2", START + b"Content-Length: 2\n\r\nok", "bare_lf"),
    ("2.2", START + b"Content-Length: 2\r\n\nok", "bare_lf"),
    ("2.2", START[:-2] + b"\r" + GOOD, "bare_cr"),
    ("2.2", field(b"X: a\rb"), "bare_cr"),
    ("2.2", START + b"Content-Length: 2\r\n\r\r\nok", "bare_cr"),
    ("2.2", b"\r\n" + START + GOOD, "bad_status_line"),
    ("9110, 5.5", field(b"X: \x00"), "nul_byte"),
    ("9110, 5.5", field(b"X: \x0b"), "control_byte"),
    ("9110, 5.5", field(b"X: \x7f"), "control_byte"),
    ("4", line(b"HTTP/1.1 200 O\x01K"), "control_byte"),
    ("4", line(b"HTTP/1.1"), "bad_status_line"),
    ("4", line(b"HTTP/1.1  200 OK"), "bad_status_code"),
    ("4", line(b"HTTP/1.1 200OK"), "bad_status_line"),
    ("4", line(b"200 OK"), "bad_protocol"),
    ("4", line(b"HTTP/1.1 2000 OK"), "bad_status_code"),
    ("4", line(b"HTTP/1.1 20 OK"), "bad_status_code"),
    ("4", line(b"HTTP/1.1 +20 OK"), "bad_status_code"),
    ("9110, 15", line(b"HTTP/1.1 099 OK"), "bad_status_code"),
    ("9110, 15", line(b"HTTP/1.1 600 OK"), "bad_status_code"),
    ("2.3", line(b"ICY 200 OK"), "bad_protocol"),
    ("2.3", line(b"http/1.1 200 OK"), "bad_protocol"),
    ("2.3", line(b"HTTP/0.9 200 OK"), "unsupported_version"),
    ("2.3", line(b"HTTP/2.0 200 OK"), "unsupported_version"),
    ("2.3", line(b"HTTP/1.x 200 OK"), "bad_version"),
    ("4", b"<html>hello</html>\r\n\r\n", "bad_protocol"),
    ("5.1", framed(b"Content-Length : 2"), "space_before_colon"),
    ("5.1", field(b"Foo Bar: x"), "bad_field_name"),
    ("5.1", field(b": x"), "empty_field_name"),
    ("5.1", field(b"Foo"), "missing_colon"),
    ("5.2", field(b"X: a\r\n b"), "obs_fold"),
    ("5.2", framed(b"Content-Length:\r\n 2"), "obs_fold"),
    ("2.2", START + b" Content-Length: 2\r\n\r\nok", "leading_space"),
    ("6585, 5", field(b"X: " + b"a" * HEADER_BYTES), "head_too_long"),
    ("6585, 5", field(b"\r\n".join([b"X: y"] * 128)), "too_many_fields"),
    # Where the message ends.
    ("6.3", framed(b"Content-Length: 2\r\nTransfer-Encoding: chunked", b"2\r\nok" + END), "length_with_coding"),
    ("6.3", framed(b"Transfer-Encoding: chunked\r\nContent-Length: 2", b"2\r\nok" + END), "length_with_coding"),
    ("6.3", framed(b"Content-Length: 2\r\nContent-Length: 2"), "repeated_content_length"),
    ("6.3", framed(b"Content-Length: 2\r\ncontent-length: 3"), "repeated_content_length"),
    *[
        ("6.2", framed(b"Content-Length: " + value), "bad_content_length")
        for value in [b"", b"+2", b"-2", b"2, 2", b"0x2", b"2 2", b"two", b"9223372036854775808", b"18446744073709551618"]
    ],
    ("6.3", framed(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", b"2\r\nok" + END), "repeated_coding"),
    ("6.3", framed(b"Transfer-Encoding: identity"), "bad_coding"),
    ("6.3", framed(b"Transfer-Encoding: gzip"), "bad_coding"),
    ("6.3", framed(b"Transfer-Encoding: chunked, gzip", b"2\r\nok" + END), "bad_coding"),
    ("6.3", framed(b"Transfer-Encoding: chunked, chunked", b"2\r\nok" + END), "bad_coding"),
    ("6.1", framed(b"Transfer-Encoding: gzip, chunked", b"2\r\nok" + END), "unknown_coding"),
    ("6.1", CHUNKED.replace(b"1.1", b"1.0") + b"2\r\nok" + END, "coding_in_http_1_0"),
    # Chunks.
    *[
        ("7.1", CHUNKED + size + b"\r\nok" + END, "bad_chunk_size")
        for size in [b"g", b"", b"0x2", b"-2", b" 2", b"2 ", b"00000000000000002"]
    ],
    ("7.1", CHUNKED + b"8000000000000000\r\n", "chunk_too_big"),
    ("7.1", CHUNKED + b"2\nok" + END, "bare_lf"),
    ("7.1", CHUNKED + b"2\rxok" + END, "bare_cr"),
    ("7.1", CHUNKED + b"2\r\nokk" + END, "bad_chunk_end"),
    ("7.1", CHUNKED + b"2\r\nok\n0\r\n\r\n", "bad_chunk_end"),
    ("7.1", CHUNKED + b"2\r\nok\r\n0\r\n\rx", "bare_cr"),
    ("7.1", CHUNKED + b"2\r\nok\r\n0\r\n\n", "bare_lf"),
    ("7.1.1", CHUNKED + b"2;a=\x00\r\nok" + END, "bad_chunk_extension"),
    ("7.1.1", CHUNKED + b"2;" + b"a" * 4096 + b"\r\nok" + END, "chunk_line_too_long"),
    ("7.1.1", CHUNKED + (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 20 + b"0\r\n\r\n", "chunk_overhead"),
    ("7.1.2", CHUNKED + b"2\r\nok\r\n0\r\nContent-Length: 2\r\n\r\n", "forbidden_trailer"),
    ("7.1.2", CHUNKED + b"2\r\nok\r\n0\r\nSet-Cookie: a=b\r\n\r\n", "forbidden_trailer"),
    ("7.1.2", CHUNKED + b"2\r\nok\r\n0\r\nX : y\r\n\r\n", "space_before_colon"),
    ("7.1.2", CHUNKED + b"2\r\nok\r\n0\r\nX: y\r\n z\r\n\r\n", "obs_fold"),
    ("7.1.2", CHUNKED + b"2\r\nok\r\n0\r\nX: " + b"y" * 9000 + b"\r\n\r\n", "trailers_too_long"),
    # Interim responses.
    ("9110, 15.2.2", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "unasked_upgrade"),
    ("9110, 15.2", b"HTTP/1.1 102 Processing\r\n\r\n" * 50 + START + GOOD, "too_many_interim"),
    ("9110, 15.2", b"HTTP/1.1 103 Early Hints\r\nX : y\r\n\r\n" + START + GOOD, "space_before_colon"),
    ("9110, 15.2", b"HTTP/1.1 100 Continue\n\n" + START + GOOD, "bare_lf"),
]
# The connection ends in the middle: counted as reset.
BROKEN = [
    b"HTTP/1.1 20",
    START,
    START + b"Content-Length: 2\r\n\r",
    START + b"Content-Length: 2\r\n\r\no",
    CHUNKED + b"2",
    CHUNKED + b"2\r\no",
    CHUNKED + b"2\r\nok",
    CHUNKED + b"2\r\nok\r\n0\r\n",
    CHUNKED + b"2\r\nok\r\n0\r\nX: y\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 20",
]
# Nothing more comes: counted as timeout.
SILENT = [b"", b"HTTP/1.1 20", START + b"Content-Length: 2\r\n\r\no", b"HTTP/1.1 102 Processing\r\n\r\n"]
# More comes than one response. The client gets what is whole, and the rest is thrown away with the connection.
EXCESS = [
    START + GOOD + b"!",
    START + GOOD + START + b"Content-Length: 6\r\n\r\nhidden",
    CHUNKED + b"2\r\nok" + END + START + b"Content-Length: 6\r\n\r\nhidden",
    START + b"Content-Length: 2\r\n\r\nok\r\n",
]
text = {"now": b""}
over = threading.Event()


def last_words(wire):
    wire.request()
    wire.send(text["now"])


def then_silence(wire):
    last_words(wire)
    assert over.wait(40)


def excess(wire):
    """Sends too much in one piece, and goes on serving as if nothing had happened."""
    while True:
        last_words(wire)


class Table:
    """Puts responses into the bad backend's mouth, one after the other, and asks holdfast until it has got each."""

    def __init__(self, holdfast, client):
        self.holdfast = holdfast
        self.client = client
        self.outcomes = {"protocol": 0, "reset": 0, "timeout": 0}

    def tell(self, response, outcome, offence=None):
        text["now"] = response
        asked = len(bad.wires)
        while len(bad.wires) == asked:
            self.client.send(head("GET", "/"))
            got = self.client.response()
            equal(f"answer to the client after {response!r}", (got.status, got.body), (200, b"good"))
        self.outcomes[outcome] += 1
        errors = self.holdfast.backend("bad")["errors"]
        equal(f"errors after {response!r}", {name: errors[name] for name in self.outcomes}, self.outcomes)
        if offence:
            last = f"offence={offence} method=GET target=/\n"
            wanted = self.outcomes["protocol"]
            until(lambda: sum("failure=protocol" in line for line in self.holdfast.log) == wanted, "it is logged")
            logged = [line for line in self.holdfast.log if "failure=protocol" in line][-1]
            assert logged.endswith(last), f"the log says {logged!r} of {response!r}, not {offence}"


bad = RawOrigin(last_words)
good = RawOrigin(respond(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood"))
config = {"limits": {"header_bytes": HEADER_BYTES}, "timeouts": {"response_ms": 300}, "log_level": "debug"}
with Holdfast({"bad": bad, "good": good}, "--eject-after", "1000", config=config) as holdfast:
    with holdfast.client() as client:
        table = Table(holdfast, client)
        for _, response, offence in MALFORMED:
            table.tell(response, "protocol", offence)
        for response in BROKEN:
            table.tell(response, "reset")
        bad.script = then_silence
        for response in SILENT:
            table.tell(response, "timeout")
        over.set()
        stats = holdfast.stats()
        equal("failures of the good one", stats["backends"][1]["failures"], 0)
        equal("failures of the bad one", stats["backends"][0]["failures"], len(MALFORMED) + len(BROKEN) + len(SILENT))
        equal("requests that did not end well", stats["requests"]["total"] - stats["requests"]["status_2xx"], 0)

lone = RawOrigin(excess)
with Holdfast({"lone": lone}) as holdfast, holdfast.client() as client:
    for number, text["now"] in enumerate(EXCESS):
        client.send(head("GET", f"/{number}"))
        response = client.response()
        equal(f"answer to the client after {text['now']!r}", (response.status, response.body), (200, b"ok"))
        equal("connections: none is used again", len(lone.wires), number + 1)
    equal("what else came to the client", client.wire.kept, b"")
    equal("failures", holdfast.backend("lone")["failures"], 0)
