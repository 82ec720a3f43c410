#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""A connection too many is told so and closed: 429 when its address has its share, 503 when all are taken. It sees the answer
and no reset, also when it has sent its request meanwhile; those that are there go on, and a place that becomes free is given
away."""
import socket

from harness import WAIT_SECONDS, Holdfast, Origin, equal, head, until
from raw import Raw, refusal

EACH, ALL = 5, 12
MANY = (429, "client_has_many")
FULL = (503, "too_many_connections")


def connect_from(address):
    return Raw(socket.create_connection(holdfast.address, timeout=WAIT_SECONDS, source_address=(address, 0)))


def serve(client):
    client.send(head("GET", "/"))
    equal("status", client.response().status, 200)


def served_from(address):
    client = connect_from(address)
    serve(client)
    return client


def turned_away(address, wanted, request):
    """Connects, sends REQUEST without waiting, and gets what is WANTED and the end."""
    with connect_from(address) as client:
        try:
            client.send(request)
        except ConnectionError as error:
            raise AssertionError(f"a reset before the request is out: {error}") from None
        got, is_reset = client.to_the_end()
        assert got, f"no answer, but {'a reset' if is_reset else 'the end'}"
        equal("answer", refusal(got), wanted)
        if wanted == FULL:
            assert b"\r\nRetry-After: " in got, got
        assert not is_reset, "a reset behind the answer, which may destroy it"


REQUESTS = [b"", head("GET", "/"), head("POST", "/", "Content-Length: 100000") + b"x" * 100_000]
TURNS = 20

with Holdfast({"gcp": Origin()}, config={"limits": {"connections": ALL, "connections_per_client": EACH}}) as holdfast:
    one = [served_from("127.0.0.1") for _ in range(EACH)]
    for request in REQUESTS * TURNS:
        turned_away("127.0.0.1", MANY, request)
    two = [served_from("127.0.0.2") for _ in range(EACH)]
    rest = [served_from("127.0.0.3") for _ in range(ALL - 2 * EACH)]
    for request in REQUESTS * TURNS:
        turned_away("127.0.0.4", FULL, request)
    for client in one + two + rest:
        serve(client)

    one.pop().sock.close()
    until(lambda: holdfast.stats()["connections"]["idle"] == ALL - 1, "a place is free")
    rest.append(served_from("127.0.0.4"))
    turned_away("127.0.0.1", FULL, head("GET", "/"))
    rest.pop().sock.close()
    until(lambda: holdfast.stats()["connections"]["idle"] == ALL - 1, "a place is free")
    one.append(served_from("127.0.0.1"))

    requests = holdfast.stats()["requests"]
    equal("4xx", requests["status_4xx"], len(REQUESTS) * TURNS)
    equal("5xx", requests["status_5xx"], len(REQUESTS) * TURNS + 1)
    for client in one + two + rest:
        client.sock.close()
