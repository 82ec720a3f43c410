#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""SIGTERM while 32 clients post: every response that begins is whole and right, and says that it is the
last; holdfast ends with 0 in time. A client may find its connection closed instead of an answer, but
never a half one."""
import threading

from harness import Closed, Holdfast, Origin, equal, until

CLIENTS = 32

answered = [0] * CLIENTS
faults = []


def post_until_the_end(holdfast, number):
    """Posts until the connection ends, or a response announces that."""
    last = False
    try:
        with holdfast.client() as client:
            while not last:
                body = b"client %d, request %d" % (number, answered[number])
                try:
                    client.post("/echo", body)
                    response = client.response()
                except (Closed, ConnectionError):
                    return  # between two requests, where a client must reckon with it
                equal("answer", (response.status, response.body), (200, body))
                answered[number] += 1
                last = response.field("connection") == "close"
            client.expect_end()
    except Exception as error:
        faults.append(f"client {number}, request {answered[number]}: {error!r}")


with Holdfast({"gcp": Origin(), "azure": Origin()}) as holdfast:
    arguments = [(holdfast, number) for number in range(CLIENTS)]
    threads = [threading.Thread(target=post_until_the_end, args=each, daemon=True) for each in arguments]
    for thread in threads:
        thread.start()
    until(lambda: faults or min(answered) >= 10, "all clients have been answered")
    holdfast.terminate()
    for thread in threads:
        thread.join(20)
    equal("faults", faults, [])
    assert holdfast.logged("stopped") and not holdfast.logged("cutting"), "something in flight was cut"
