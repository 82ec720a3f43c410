#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""What is no request, or could be two, is refused: a JSON answer says why, the connection ends without a reset, the log shows
the bytes escaped, and no backend hears of it. Each is sent alone on a connection, and once more behind a good request."""
import re

from harness import Holdfast, equal, head
from raw import RawOrigin, ask, connect, escaped, refusal, respond

HEADER_BYTES = 2048  # less than the default: to come over it
BODY_BYTES = 100
FIELDS_MAX = 128
START = b"GET / HTTP/1.1\r\n"
HOST = b"Host: a\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def line(text):
    """A request with TEXT as its request line."""
    return text + b"\r\n" + HOST + b"\r\n"


def field(text):
    """A request with TEXT as its second field line."""
    return START + HOST + text + b"\r\n\r\n"


def host(text):
    return START + text + b"\r\n"


def post(text, body=b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"):
    """A request with TEXT as its framing."""
    return POST + text + b"\r\n\r\n" + body


# What is wrong, the section that says so (RFC 9112 where no number is given), what is sent, and what must be answered.
REQUESTS = [
    # Line ends and control bytes. A recipient may take a lone LF for a line end; who does so and who doesn't then disagree.
    ("2.2", START[:-2] + b"\n" + HOST + b"\r\n", 400, "bare_lf"),
    ("2.2", START + b"Host: a\n\r\n", 400, "bare_lf"),
    ("2.2", START + HOST + b"\n", 400, "bare_lf"),
    ("2.2", START + b"Host: a\nX: y\r\n\r\n", 400, "bare_lf"),
    ("2.2", b"\n" + START + HOST + b"\r\n", 400, "bare_lf"),
    ("2.2", START[:-2] + b"\r" + HOST + b"\r\n", 400, "bare_cr"),
    ("2.2", field(b"X: y\rTransfer-Encoding: chunked"), 400, "bare_cr"),
    ("2.2", field(b"X:\ry"), 400, "bare_cr"),
    ("2.2", START + HOST + b"\r\r\n\r\n", 400, "bare_cr"),
    ("2.2", START + HOST + b"X: y\r\r\n\r\n", 400, "bare_cr"),
    ("2.2", b"\r" + START + HOST + b"\r\n", 400, "bare_cr"),
    ("9110, 5.5", field(b"X: \x00"), 400, "nul_byte"),
    ("9110, 5.5", field(b"X: a\x00b"), 400, "nul_byte"),
    ("9110, 5.5", field(b"X\x00: a"), 400, "nul_byte"),
    ("9110, 5.5", field(b"X: \x01"), 400, "control_byte"),
    ("9110, 5.5", field(b"X: a\x0bb"), 400, "control_byte"),
    ("9110, 5.5", field(b"X: a\x0cb"), 400, "control_byte"),
    ("9110, 5.5", field(b"X: a\x1bb"), 400, "control_byte"),
    ("9110, 5.5", field(b"X: a\x7f"), 400, "control_byte"),
    ("3", line(b"GET /\x00 HTTP/1.1"), 400, "nul_byte"),
    ("3", line(b"GET /\x0c HTTP/1.1"), 400, "control_byte"),
    ("3", line(b"GET /\x7f HTTP/1.1"), 400, "control_byte"),
    ("3", line(b"GET /\t HTTP/1.1"), 400, "bad_request_line_byte"),
    ("3", line(b"GET\t/ HTTP/1.1"), 400, "bad_request_line_byte"),
    ("3", line("GET /\u00e4 HTTP/1.1".encode()), 400, "bad_request_line_byte"),
    ("3", line(b"GET /\xff HTTP/1.1"), 400, "bad_request_line_byte"),
    ("3", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400, "control_byte"),  # TLS
    ("2.2", b"\r\n" * 9 + START + HOST + b"\r\n", 400, "empty_lines"),
    # The request line.
    ("3", line(b"GET  / HTTP/1.1"), 400, "bad_request_line"),
    ("3", line(b"GET /  HTTP/1.1"), 400, "bad_request_line"),
    ("3", line(b"GET / HTTP/1.1 "), 400, "bad_request_line"),
    ("3", line(b"GET /a b HTTP/1.1"), 400, "bad_request_line"),
    ("3", line(b"GET / HTTP/1.1 HTTP/1.1"), 400, "bad_request_line"),
    ("3", line(b"GET"), 400, "bad_request_line"),
    ("3", line(b" GET / HTTP/1.1"), 400, "bad_method"),
    ("3.1", line(b"G(T / HTTP/1.1"), 400, "bad_method"),
    ("3.1", line(b"Host: a"), 400, "bad_method"),
    ("3.1", line(b"BREW / HTTP/1.1"), 501, "unknown_method"),
    ("3.1", line(b"get / HTTP/1.1"), 501, "unknown_method"),
    ("3", line(b"M" * 33 + b" / HTTP/1.1"), 501, "unknown_method"),
    ("9110, 9.3.6", line(b"CONNECT a:80 HTTP/1.1"), 405, "method_not_served"),
    ("9110, 9.3.8", line(b"TRACE / HTTP/1.1"), 405, "method_not_served"),
    ("3", line(b"GET /" + b"a" * HEADER_BYTES + b" HTTP/1.1"), 414, "request_line_too_long"),
    # Versions.
    ("2.3", b"GET /\r\n", 400, "missing_version"),
    ("2.3", line(b"GET /"), 400, "missing_version"),
    ("2.3", line(b"GET / http/1.1"), 400, "bad_protocol"),
    ("2.3", line(b"GET / HTTPS/1.1"), 400, "bad_protocol"),
    ("2.3", line(b"GET / ICE/1.1"), 400, "bad_protocol"),
    ("2.3", line(b"GET / HTTP1.1"), 400, "bad_protocol"),
    ("2.3", line(b"GET / HTTP/"), 400, "bad_version"),
    ("2.3", line(b"GET / HTTP/1."), 400, "bad_version"),
    ("2.3", line(b"GET / HTTP/1.x"), 400, "bad_version"),
    ("2.3", line(b"GET / HTTP/+1.1"), 400, "bad_version"),
    ("2.5", line(b"GET / HTTP/0.9"), 505, "unsupported_version"),
    ("2.5", line(b"GET / HTTP/1.2"), 505, "unsupported_version"),
    ("2.5", line(b"GET / HTTP/1.10"), 505, "unsupported_version"),
    ("2.5", line(b"GET / HTTP/01.1"), 505, "unsupported_version"),
    ("2.5", line(b"GET / HTTP/3.0"), 505, "unsupported_version"),
    ("9113, 3.4", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, "unsupported_version"),
    # Targets.
    ("3.2", line(b"GET a HTTP/1.1"), 400, "bad_target"),
    ("3.2", line(b"GET ?a HTTP/1.1"), 400, "bad_target"),
    ("3.2.1", line(b"GET /#fragment HTTP/1.1"), 400, "bad_target"),
    ("3.2.4", line(b"GET * HTTP/1.1"), 400, "bad_target"),
    ("3.2.3", line(b"GET a:80 HTTP/1.1"), 400, "bad_target"),
    ("3.2.2", line(b"GET https://a/ HTTP/1.1"), 400, "bad_target"),
    ("3.2.2", line(b"GET ftp://a/ HTTP/1.1"), 400, "bad_target"),
    ("9110, 4.2.1", line(b"GET http:///a HTTP/1.1"), 400, "bad_target"),
    ("9110, 4.2.4", line(b"GET http://user@a/ HTTP/1.1"), 400, "bad_target"),
    ("9110, 4.2.1", line(b"GET http://a:b/ HTTP/1.1"), 400, "bad_target"),
    # Fields.
    ("5.1", field(b"X : y"), 400, "space_before_colon"),
    ("5.1", field(b"X\t: y"), 400, "space_before_colon"),
    ("5.1", field(b"Foo Bar: x"), 400, "bad_field_name"),
    ("5.1", field(b"Foo\tBar: x"), 400, "bad_field_name"),
    ("5.1", field(b"Foo(: x"), 400, "bad_field_name"),
    ("5.1", field("F\u00f6: x".encode()), 400, "bad_field_name"),
    ("5.1", field(b": x"), 400, "empty_field_name"),
    ("5.1", field(b"Foo"), 400, "missing_colon"),
    ("2.2", START + b" " + HOST + b"\r\n", 400, "leading_space"),
    ("2.2", START + b"\t" + HOST + b"\r\n", 400, "leading_space"),
    ("2.2", POST[: POST.index(b"Host")] + b" Transfer-Encoding: chunked\r\n" + HOST + b"\r\n", 400, "leading_space"),
    ("5.2", field(b"X: a\r\n b"), 400, "obs_fold"),
    ("5.2", field(b"X: a\r\n\tb"), 400, "obs_fold"),
    ("5.2", field(b"X:\r\n y"), 400, "obs_fold"),
    ("5.2", post(b"Content-Length:\r\n 5"), 400, "obs_fold"),
    ("5.2", post(b"Transfer-Encoding:\r\n chunked"), 400, "obs_fold"),
    ("5.2", post(b"Transfer-Encoding: chunked\r\n , gzip"), 400, "obs_fold"),
    ("6585, 5", field(b"X: " + b"a" * HEADER_BYTES), 431, "head_too_long"),
    ("6585, 5", field(b"\r\n".join([b"X: y"] * FIELDS_MAX)), 431, "too_many_fields"),
    # Host.
    ("3.2", host(b""), 400, "missing_host"),
    ("3.2", host(b"Hos: a\r\n"), 400, "missing_host"),
    ("3.2", b"GET http://a/ HTTP/1.1\r\n\r\n", 400, "missing_host"),
    ("3.2", host(HOST + HOST), 400, "repeated_host"),
    ("3.2", host(HOST + b"X: y\r\nHOST: b\r\n"), 400, "repeated_host"),
    ("3.2", b"GET / HTTP/1.0\r\n" + HOST + HOST + b"\r\n", 400, "repeated_host"),
    ("3.2", host(b"Host:\r\n"), 400, "bad_host"),
    ("3.2", host(b"Host: a, b\r\n"), 400, "bad_host"),
    ("3.2", host(b"Host: a b\r\n"), 400, "bad_host"),
    ("3.2", host(b"Host: a/b\r\n"), 400, "bad_host"),
    ("3.2", host(b"Host: user@a\r\n"), 400, "bad_host"),
    ("3.2", host(b"Host: http://a\r\n"), 400, "bad_host"),
    ("3.2", host(b"Host: a:b\r\n"), 400, "bad_host"),
    ("3.2", host(b"Host: a:99999\r\n"), 400, "bad_host"),
    ("3.2", host(b"Host: :80\r\n"), 400, "bad_host"),
    ("3.2", host(b"Host: [::1\r\n"), 400, "bad_host"),
    ("3.2", host(b"Host: ::1\r\n"), 400, "bad_host"),
    ("3.2", host(b'Host: a"b\r\n'), 400, "bad_host"),
    # Where the message ends: nothing is guessed.
    ("6.3", post(b"Content-Length: 5\r\nTransfer-Encoding: chunked"), 400, "length_with_coding"),
    ("6.3", post(b"Transfer-Encoding: chunked\r\nContent-Length: 5"), 400, "length_with_coding"),
    ("6.3", post(b"transfer-encoding:chunked\r\nX: y\r\ncontent-length:0"), 400, "length_with_coding"),
    ("6.3", post(b"Content-Length: 5\r\nContent-Length: 5"), 400, "repeated_content_length"),
    ("6.3", post(b"Content-Length: 5\r\nX: y\r\ncontent-length: 6"), 400, "repeated_content_length"),
    *[
        ("6.2", post(b"Content-Length: " + value), 400, "bad_content_length")
        for value in [
            *[b"", b"+5", b"-5", b"0x5", b"5 5", b"5, 5", b"5,5", b"5;a", b"5.0", b"1e1", b"five", b'"5"', b"\xb2"],
            *[b"9223372036854775808", b"18446744073709551609", b"18446744073709551617", b"1" * 40],
        ]
    ],
    ("5.1", post(b"Content-Length : 5"), 400, "space_before_colon"),
    ("5.1", post(b"Transfer-Encoding : chunked"), 400, "space_before_colon"),
    ("6.3", post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), 400, "repeated_coding"),
    ("6.3", post(b"Transfer-Encoding: identity\r\nTransfer-Encoding: chunked"), 400, "repeated_coding"),
    *[
        ("6.3", post(b"Transfer-Encoding: " + value), 400, "bad_coding")
        for value in [
            *[b"", b"identity", b"gzip", b"chunked, gzip", b"chunked, chunked", b"xchunked", b"chunkedx", b"chunked;q=1"],
            *[b'foo;a="b,chunked"', b'"chunked"', b"chunked chunked", b"chunked, identity", b"chunked\xff"],
        ]
    ],
    *[
        ("6.1", post(b"Transfer-Encoding: " + value), 501, "unknown_coding")
        for value in [b"gzip, chunked", b"identity, chunked", b"GZIP,Chunked"]
    ],
    ("6.1", post(b"Transfer-Encoding:\x0bchunked"), 400, "control_byte"),
    ("6.1", post(b"Transfer-Encoding: chunked").replace(b"/1.1\r\nHost", b"/1.0\r\nHost", 1), 400, "coding_in_http_1_0"),
    # Chunks.
    *[
        ("7.1", CHUNKED + size + b"\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk_size")
        for size in [b"g", b"", b"0x5", b"-5", b"+5", b" 5", b"5 ", b"5,", b"5\t", b"5\x00", b"00000000000000005", b"\xb5"]
    ],
    ("7.1", CHUNKED + b"8000000000000000\r\n", 400, "chunk_too_big"),
    ("7.1", CHUNKED + b"ffffffffffffffff\r\n", 400, "chunk_too_big"),
    ("7.1", CHUNKED + b"5\nhello\r\n0\r\n\r\n", 400, "bare_lf"),
    ("7.1", CHUNKED + b"5;a\nhello\r\n0\r\n\r\n", 400, "bare_lf"),
    ("7.1", CHUNKED + b"5\rXhello\r\n0\r\n\r\n", 400, "bare_cr"),
    ("7.1.1", CHUNKED + b"5;a=\x01\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk_extension"),
    ("7.1.1", CHUNKED + b"5;a=\x00\r\nhello\r\n0\r\n\r\n", 400, "bad_chunk_extension"),
    ("7.1.1", CHUNKED + b"5;" + b"a" * 4096 + b"\r\nhello\r\n0\r\n\r\n", 400, "chunk_line_too_long"),
    ("7.1.1", CHUNKED + (b"1;" + b"a" * 1000 + b"\r\nx\r\n") * 20 + b"0\r\n\r\n", 400, "chunk_overhead"),
    ("7.1", CHUNKED + b"5\r\nhelloo\r\n0\r\n\r\n", 400, "bad_chunk_end"),
    ("7.1", CHUNKED + b"5\r\nhello\n0\r\n\r\n", 400, "bad_chunk_end"),
    ("7.1", CHUNKED + b"5\r\nhello\rX0\r\n\r\n", 400, "bad_chunk_end"),
    ("7.1", CHUNKED + b"5\r\nhello0\r\n\r\n", 400, "bad_chunk_end"),
    ("7.1", CHUNKED + b"0\r\n\rX", 400, "bare_cr"),
    ("7.1", CHUNKED + b"0\r\n\n", 400, "bare_lf"),
    ("7.1.2", CHUNKED + b"0\r\nX: y\n\r\n", 400, "bare_lf"),
    ("7.1.2", CHUNKED + b"0\r\nX: y\rz\r\n\r\n", 400, "bare_cr"),
    ("7.1.2", CHUNKED + b"0\r\nX: y\r\n z\r\n\r\n", 400, "obs_fold"),
    ("7.1.2", CHUNKED + b"0\r\nX : y\r\n\r\n", 400, "space_before_colon"),
    ("7.1.2", CHUNKED + b"0\r\nX: \x00\r\n\r\n", 400, "nul_byte"),
    ("7.1.2", CHUNKED + b"0\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", 400, "missing_colon"),
    ("7.1.2", CHUNKED + b"0\r\nX: " + b"y" * 9000 + b"\r\n\r\n", 431, "trailers_too_long"),
    *[
        ("9110, 6.5.1", CHUNKED + b"0\r\n" + name + b": 1\r\n\r\n", 400, "forbidden_trailer")
        for name in [b"Content-Length", b"transfer-encoding", b"Host", b"Authorization", b"X-Forwarded-For", b"Trailer"]
    ],
    # Bodies and expectations.
    ("9110, 15.5.14", post(b"Content-Length: %d" % (BODY_BYTES + 1), b""), 413, "body_too_large"),
    ("9110, 15.5.14", post(b"Content-Length: 9223372036854775807", b""), 413, "body_too_large"),
    ("9110, 15.5.14", CHUNKED + b"%x\r\n" % (BODY_BYTES + 1) + b"x" * (BODY_BYTES + 1), 413, "body_too_large"),
    ("9110, 15.5.14", CHUNKED + b"%x\r\n" % (BODY_BYTES + 1), 413, "body_too_large"),  # its data need not come
    ("9110, 15.5.14", CHUNKED + b"7fffffffffffffff\r\n", 413, "body_too_large"),
    ("9110, 10.1.1", field(b"Expect: 200-ok"), 417, "bad_expectation"),
    ("9110, 10.1.1", post(b"Expect: 100-continue, x\r\nContent-Length: 5", b""), 417, "bad_expectation"),
]
# Requests that end in the middle: the client ends its side behind them.
CUT = [line(b"GET / HTTP/1.1")[:-1], START, post(b"Content-Length: 5", b"hell"), CHUNKED + b"5\r\nhell", CHUNKED + b"0\r\n"]


def shown(request):
    """How the log line must show REQUEST: its first bytes, up to where its body may have been decoded in place."""
    return escaped(request.partition(b"\r\n\r\n")[0][:200])


def refusals_in(log):
    """The refusals that LOG shows: (offence, bytes, escaped)."""
    line = re.compile(r'level=info msg="request refused" client=127\.0\.0\.1:\d+ offence=(\w+) bytes="(.*)"\n')
    return [match.groups() for match in map(line.search, log) if match]


def alone(holdfast, request):
    return refusal(ask(holdfast, request))


def behind_a_good_one(holdfast, request):
    with connect(holdfast) as client:
        client.send(head("GET", "/good") + request)
        equal("status of the good request", client.response().status, 200)
        return refusal(client.rest())


def cut_off(holdfast, request):
    with connect(holdfast) as client:
        client.send(request)
        client.end_of_sending()
        return refusal(client.rest())


def check_log(holdfast, requests):
    """Each request that was refused has its line, in the order in which they were sent."""
    holdfast.terminate()  # which waits for the end of the log
    logged = refusals_in(holdfast.log)
    equal("offences in the log", [offence for offence, _ in logged], [error for _, error in requests])
    for (_, text), (request, _) in zip(logged, requests):
        assert text.startswith(shown(request)), f"the log shows {text!r} of {request!r}"
    for text in holdfast.log:
        assert text.rstrip("\n").isascii() and text.rstrip("\n").isprintable(), f"not escaped: {text!r}"


origin = RawOrigin(respond(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
limits = {"header_bytes": HEADER_BYTES, "body_bytes": BODY_BYTES}
with Holdfast({"gcp": origin}, config={"limits": limits}) as holdfast:
    faults, sent = [], []
    for send in (alone, behind_a_good_one):
        for section, request, status, error in REQUESTS:
            sent.append((request, error))
            got = send(holdfast, request)
            if got != (status, error):
                faults.append(f"{section}: {request[:100]!r} {send.__name__}: got {got}, expected {(status, error)}")
        if send is alone:
            equal("connections to the backend", len(origin.wires), 0)
    for request in CUT:
        sent.append((request, "cut_short"))
        equal(f"refusal of {request!r}", cut_off(holdfast, request), (400, "cut_short"))
    equal("faults", faults, [])
    received = origin.received()
    equal("requests at the backend", received.count(b"GET /good HTTP/1.1\r\n"), len(REQUESTS))
    equal("all that the backend got", received.count(b"HTTP/1.1\r\n"), len(REQUESTS))
    stats = holdfast.stats()
    refused = {family: sum(row[2] // 100 == family for row in REQUESTS) for family in (4, 5)}
    equal("4xx", stats["requests"]["status_4xx"], 2 * refused[4] + len(CUT))
    equal("5xx", stats["requests"]["status_5xx"], 2 * refused[5])
    equal("failures of the backend", stats["backends"][0]["failures"], 0)
    check_log(holdfast, sent)
