#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A body that only the end of the connection ends, cut by holdfast itself (the deadline, or the end of the drain), is not whole:
while it is held it is a failure, and behind its beginning comes a reset or no last chunk. The reset comes also to a client that
has ended its own sending, or has more to ask."""
import signal
import threading

from harness import Holdfast, equal, head
from raw import RawOrigin, connect

HALF = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhalf"
CHUNKED_HALF = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n"
HTTP_1_0 = b"GET / HTTP/1.0\r\n\r\n"
HELD = {"hold_ms": 30_000}
STREAMED = {"hold_ms": 1}


def say_half(wire):
    wire.head()
    wire.send(HALF)
    wire.rest()


def ask(holdfast, request, end_of_sending=False):
    """All that comes, and whether it ended by a reset."""
    with connect(holdfast) as client:
        client.send(request)
        if end_of_sending:
            client.end_of_sending()
        return client.to_the_end()


def held_until_the_deadline():
    config = {"timeouts": {"response_ms": 300}, "retry": HELD}
    with Holdfast({"gcp": RawOrigin(say_half)}, config=config) as holdfast:
        data, _ = ask(holdfast, head("GET", "/", "Connection: close"))
        assert data.startswith(b"HTTP/1.1 504 ") and b"half" not in data, f"it looks whole: {data!r}"
        backend = holdfast.backend("gcp")
        equal("failures and good answers", (backend["failures"], backend["status_200"]), (1, 0))


def streamed_until_the_deadline():
    config = {"timeouts": {"response_ms": 500}, "retry": STREAMED}
    with Holdfast({"gcp": RawOrigin(say_half)}, config=config) as holdfast:
        data, is_reset = ask(holdfast, HTTP_1_0)
        assert is_reset, f"the end of the connection looks like the end of the body: {data!r}"
        data, _ = ask(holdfast, head("GET", "/", "Connection: close"))
        assert not data.endswith(b"0\r\n\r\n"), f"it looks whole: {data!r}"
        equal("failures", holdfast.backend("gcp")["failures"], 2)


def held_until_the_end_of_the_drain():
    asked = threading.Event()

    def script(wire):
        wire.head()
        wire.send(HALF)
        asked.set()
        wire.rest()

    with Holdfast({"gcp": RawOrigin(script)}, config={"drain_ms": 300, "retry": HELD}) as holdfast:
        with connect(holdfast) as client:
            client.send(head("GET", "/"))
            assert asked.wait(20)
            holdfast.process.send_signal(signal.SIGTERM)
            data, _ = client.to_the_end()
        assert b"half" not in data and b" 200 " not in data, f"it looks whole: {data!r}"


def broken_while_the_client_has_more():
    """The origin breaks off when the client has the first half; the client has said all, or more, before."""
    for behind, end_of_sending in ((b"", True), (b"GET /behind HTTP/1.0\r\n\r\n", False)):
        begun = threading.Event()

        def script(wire, begun=begun):
            wire.head()
            wire.send(CHUNKED_HALF)
            assert begun.wait(20)

        with Holdfast({"gcp": RawOrigin(script)}, config={"retry": STREAMED}) as holdfast:
            with connect(holdfast) as client:
                client.send(HTTP_1_0 + behind)
                if end_of_sending:
                    client.end_of_sending()
                client.up_to(b"half")
                begun.set()
                data, is_reset = client.to_the_end()
            equal("what came behind the half", data, b"")
            assert is_reset, f"the end looks like the end of the body, with {behind!r} behind the request"


held_until_the_deadline()
streamed_until_the_deadline()
held_until_the_end_of_the_drain()
broken_while_the_client_has_more()
