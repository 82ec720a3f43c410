#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""As many connections are open as the descriptors allow, and others wait at the door. Each that leaves lets another one in at once,
and not at the next look at the clock. Who is answered meanwhile hears "Connection: close", so that everybody has a turn; when
nobody waits, connections are kept. The log says it once."""
import contextlib
import re
import time

from few_files import limit_files
from harness import Holdfast, Origin, answer, equal, head, until
from raw import connect

FILES = 128
TURNS = 50
TICK_SECONDS = 0.1  # how often the door was looked at before


def is_kept(client):
    """Asks. Whether the connection goes on."""
    client.send(head("GET", "/"))
    response = client.response()
    equal("answer", response.status, 200)
    return response.field("connection") != "close"


def room(holdfast):
    """How many connections may be open, by what it says at its start."""
    until(lambda: holdfast.logged("client connections"), "it says so")
    return int(re.search(r"enough for (\d+) client", holdfast.logged("client connections")).group(1))


limit_files(FILES)
with Holdfast({"gcp": Origin(answer(200, b"ok"))}, "--workers", "16") as holdfast, contextlib.ExitStack() as stack:
    inside = [stack.enter_context(connect(holdfast)) for _ in range(room(holdfast))]
    assert all(is_kept(client) for client in inside), "nobody waits, and yet some are closed"
    assert not holdfast.logged("new ones wait"), "nobody waits, and yet the log says so"

    begun = time.monotonic()
    for _ in range(TURNS):
        at_door = stack.enter_context(connect(holdfast))
        at_door.send(head("GET", "/"))
        inside.pop(0).sock.close()
        equal("answer to one who waited", at_door.response().status, 200)
        inside.append(at_door)
    took = time.monotonic() - begun
    assert took < TURNS * TICK_SECONDS / 2, f"{TURNS} came in one by one in {took:.1f} s"

    at_door = stack.enter_context(connect(holdfast))
    at_door.send(head("GET", "/"))
    until(lambda: not is_kept(inside.pop(0)), "somebody waits, and who is answered is asked to leave")
    equal("answer to one who waited", at_door.response().status, 200)
    inside[0].sock.close()
    until(lambda: is_kept(stack.enter_context(connect(holdfast))), "there is room again, and connections are kept")
    until(lambda: holdfast.logged("new ones wait"), "the log says so")
equal("lines about it", sum("new ones wait" in line for line in holdfast.log), 1)
