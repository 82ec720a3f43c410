#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The body of a request needs a file, and there is no folder for it: 503 that says so, with Retry-After. Requests that need none go
on, and no backend is blamed. A response that its client does not take at once is brought to it by the worker. When the folder is
there all is well by itself."""
import os
import socket
import stat
import threading

from harness import Holdfast, Origin, answer, echo, equal, head

LONG = b"x" * (2 << 20)  # over 1 MiB: it goes to a file
LONGER = os.urandom(1 << 20) * 16  # more than the sockets on the way hold

folder = os.path.join(os.environ["TMPDIR"], "not-yet")
wrapper = os.path.join(os.environ["TMPDIR"], "elsewhere")
with open(wrapper, "w", encoding="utf-8") as file:
    file.write(f'#!/bin/sh\nTMPDIR="{folder}" exec "{os.environ["HOLDFAST"]}" "$@"\n')
os.chmod(wrapper, stat.S_IRWXU)
os.environ["HOLDFAST"] = wrapper


def post(body):
    with holdfast.client() as client:
        client.post("/", body)
        return client.response()


def get_slowly():
    """Reads a long response when holdfast has waited for the client for a while, and another one behind it."""
    with holdfast.client() as client:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 10)
        origin.behave = answer(200, LONGER)
        client.send(2 * head("GET", "/"))
        assert not threading.Event().wait(0.3)  # time is the subject: the client takes nothing
        bodies = [client.response().body for _ in range(2)]
        origin.behave = echo
        return bodies


origin = Origin()
with Holdfast({"gcp": origin}) as holdfast:
    refused = post(LONG)
    equal("answer to a long body", (refused.status, refused.field("retry-after")), (503, "1"))
    assert b'"no_storage"' in refused.body, refused.body
    equal("answer to a short body", post(b"short").body, b"short")
    assert get_slowly() == [LONGER, LONGER], "a response is not whole"
    os.mkdir(folder)
    assert post(LONG).body == LONG, "the body is another one"
    backend = holdfast.backend("gcp")
    equal("attempts and failures", (backend["attempts"], backend["failures"]), (4, 0))
