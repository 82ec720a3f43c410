#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The PROXY protocol, versions 1 and 2, in front of the first request gives the client's address for everything: the fields
that backends see, trusted_proxies and connections_per_client. What is no such header is closed without a word."""
import socket
import struct

from harness import Holdfast, equal, head, until
from raw import RawOrigin, connect, refusal, respond

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"


def v1(text):
    return b"PROXY " + text + b"\r\n"


def v2(command, family, addresses, tlvs=b"", claimed=None):
    length = len(addresses + tlvs) if claimed is None else claimed
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", length) + addresses + tlvs


def tcp4(source):
    return socket.inet_aton(source) + socket.inet_aton("10.0.0.1") + struct.pack(">HH", 1234, 80)


def tcp6(source):
    return socket.inet_pton(socket.AF_INET6, source) + socket.inet_pton(socket.AF_INET6, "::1") + struct.pack(">HH", 1234, 80)


# The header, and the client that it names.
HEADERS = [
    (v1(b"TCP4 203.0.113.7 10.0.0.1 1234 80"), "203.0.113.7"),
    (v1(b"TCP4 255.255.255.255 0.0.0.0 65535 0"), "255.255.255.255"),
    (v1(b"TCP6 2001:db8::7 ::1 1234 80"), "2001:db8::7"),
    (v1(b"TCP6 " + b"ffff:" * 7 + b"ffff " + b"ffff:" * 7 + b"ffff 65535 65535"), "ffff" + ":ffff" * 7),
    (v1(b"UNKNOWN"), "127.0.0.1"),
    (v1(b"UNKNOWN whatever this is"), "127.0.0.1"),
    (v2(0x21, 0x11, tcp4("203.0.113.7")), "203.0.113.7"),
    (v2(0x21, 0x11, tcp4("203.0.113.7"), tlvs=b"\x03\x00\x04\x00\x00\x00\x00\x20\x00\x02ab"), "203.0.113.7"),
    (v2(0x21, 0x21, tcp6("2001:db8::7")), "2001:db8::7"),
    (v2(0x21, 0x21, tcp6("::ffff:203.0.113.7")), "203.0.113.7"),
    (v2(0x20, 0x00, b""), "127.0.0.1"),  # a health check of the load balancer itself
    (v2(0x20, 0x11, tcp4("203.0.113.7")), "127.0.0.1"),
    (v2(0x21, 0x00, b"abc"), "127.0.0.1"),
    (v2(0x21, 0x31, b"u" * 216), "127.0.0.1"),
]
GARBAGE = [
    head("GET", "/"),
    b"\n",
    b"\x16\x03\x01\x02\x00\x01",
    b"proxy TCP4 203.0.113.7 10.0.0.1 1234 80\r\n",
    b"PROXY TCP4 203.0.113.7 10.0.0.1 1234 80\n",
    v1(b""),
    v1(b"TCP4"),
    v1(b"TCP5 203.0.113.7 10.0.0.1 1234 80"),
    v1(b"TCP4 203.0.113.7 10.0.0.1 1234"),
    v1(b"TCP4 203.0.113.7 10.0.0.1 1234 80 80"),
    v1(b"TCP4 203.0.113.7  10.0.0.1 1234 80"),
    v1(b"TCP4 2001:db8::7 ::1 1234 80"),
    v1(b"TCP6 203.0.113.7 10.0.0.1 1234 80"),
    v1(b"TCP4 203.0.113.256 10.0.0.1 1234 80"),
    v1(b"TCP4 203.0.113.7 10.0.0.1 65536 80"),
    v1(b"TCP4 203.0.113.7 10.0.0.1 -1 80"),
    v1(b"TCP4 203.0.113.7\x00 10.0.0.1 1234 80"),
    b"PROXY UNKNOWN " + b"a" * 200,
    SIGNATURE[:-1] + b"X",
    SIGNATURE + b"\x11\x11" + struct.pack(">H", 12) + tcp4("203.0.113.7"),
    v2(0x22, 0x11, tcp4("203.0.113.7")),
    v2(0x21, 0x41, tcp4("203.0.113.7")),
    v2(0x21, 0x13, tcp4("203.0.113.7")),
    v2(0x21, 0x11, tcp4("203.0.113.7")[:-1]),
    v2(0x21, 0x21, tcp4("203.0.113.7")),
    v2(0x21, 0x11, b"", claimed=65535),
]
# Half a header: it may still become one, so there is time for it, but not for ever.
HALVES = [b"P", b"PROXY TCP4 203.0.113.7 10.0.0.1 1234 80\r", SIGNATURE[:5], v2(0x21, 0x11, tcp4("203.0.113.7"))[:-1]]
CLIENTS_MAX = 2


def named(message):
    return message.field("x-forwarded-for"), message.field("forwarded").split(";")[0]


def as_forwarded(ip):
    return f'for="[{ip}]"' if ":" in ip else f"for={ip}"


def good_headers(holdfast):
    for header, ip in HEADERS:
        requests = head("GET", "/") * 2
        for pieces in ([header + requests], [header, requests], [bytes([byte]) for byte in header + requests]):
            before = len(origin.got)
            with connect(holdfast) as client:
                for piece in pieces:
                    client.send(piece)
                for _ in range(2):  # the second request on the connection comes from the same client
                    equal(f"status behind {header!r}", client.response().status, 200)
            for message in origin.got[before:]:
                equal(f"client behind {header!r}", named(message), (ip, as_forwarded(ip)))
            equal("requests", len(origin.got), before + 2)
    # A trusted proxy is one that the header names.
    for source, wanted in [(b"192.0.2.1", "198.51.100.1, 192.0.2.1"), (b"192.0.2.2", "192.0.2.2")]:
        with connect(holdfast) as client:
            client.send(v1(b"TCP4 " + source + b" 10.0.0.1 1234 80") + head("GET", "/", "X-Forwarded-For: 198.51.100.1"))
            equal("status", client.response().status, 200)
            equal("X-Forwarded-For", origin.got[-1].field("x-forwarded-for"), wanted)


def bad_headers(holdfast):
    before = holdfast.stats()["requests"]["total"], len(origin.got)
    for garbage in GARBAGE:
        with connect(holdfast) as client:
            client.send(garbage)
            got, _ = client.to_the_end()
            equal(f"answer to {garbage!r}", got, b"")
    for half in HALVES:
        with connect(holdfast) as client:
            client.send(half)
            got, is_reset = client.to_the_end()  # when client_header_ms are over
            equal(f"answer to {half!r}, and whether it was a reset", (got, is_reset), (b"", False))
        with connect(holdfast) as client:
            client.send(half)
            client.end_of_sending()
            equal(f"answer to {half!r} and the end", client.rest(), b"")
    until(lambda: len([line for line in holdfast.log if "offence=bad_proxy_header" in line]) == len(GARBAGE), "it is logged")
    equal("requests", (holdfast.stats()["requests"]["total"], len(origin.got)), before)


def limit_for_each_named_client(holdfast):
    clients = [connect(holdfast) for _ in range(3 * CLIENTS_MAX)]
    for number, client in enumerate(clients):
        client.send(v1(b"TCP4 198.51.100.%d 10.0.0.1 1234 80" % (number // CLIENTS_MAX)) + head("GET", "/"))
        equal("status", client.response().status, 200)
    with connect(holdfast) as one_more:
        one_more.send(v1(b"TCP4 198.51.100.0 10.0.0.1 1234 80") + head("GET", "/"))
        equal("one more of the same client", refusal(one_more.rest()), (429, "client_has_many"))
    for client in clients:
        client.sock.close()


class Keeper(RawOrigin):
    """Keeps the requests."""

    def __init__(self):
        self.got = []
        super().__init__(self.serve)

    def serve(self, wire):
        while True:
            self.got.append(wire.request())
            wire.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


origin = Keeper()
config = {"proxy_protocol": True, "trusted_proxies": ["192.0.2.1"], "timeouts": {"client_header_ms": 300}}
with Holdfast({"gcp": origin}, config=config) as holdfast:
    good_headers(holdfast)
    bad_headers(holdfast)
with Holdfast({"gcp": origin}, config={"proxy_protocol": True, "limits": {"connections_per_client": CLIENTS_MAX}}) as holdfast:
    limit_for_each_named_client(holdfast)

# Without proxy_protocol, such a header is no request.
with Holdfast({"gcp": RawOrigin(respond())}) as holdfast, connect(holdfast) as client:
    client.send(v1(b"TCP4 203.0.113.7 10.0.0.1 1234 80") + head("GET", "/"))
    equal("answer where it is not configured", refusal(client.rest())[0], 400)
