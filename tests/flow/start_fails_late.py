#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""One of the last workers can't be started when the first ones serve clients already. The start fails, and whatever these clients wait
for does not hold it up: a request without an answer is told so, a stream is broken off."""
import os
import subprocess
import threading

from harness import WAIT_SECONDS, Broken, Client, FewThreads, Origin, as_pair, equal, head, until

story_is_over = threading.Event()


def serve(wire, request):
    if request.target == "/stream":
        wire.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
    story_is_over.wait()


def listens():
    try:
        Client(address).sock.close()
        return True
    except ConnectionError:
        return False


origin = Origin(serve)
address = as_pair(os.environ["FLOW_LISTEN"])
few = FewThreads()
command = [os.environ["HOLDFAST"], "-l", os.environ["FLOW_LISTEN"], "-a", "off", "-w", "100", "-b", origin.authority]
with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=os.environ | few.environment()) as process:
    until(listens, "the first workers serve")
    with Client(address) as silent, Client(address) as stream:
        silent.send(head("GET", "/silent"))
        stream.send(head("GET", "/stream"))
        until(lambda: len(origin.requests) == 2, "both are at the backend")
        while b"first" not in stream.wire.kept:
            stream.wire.kept += stream.sock.recv(1000)
        few.fail()
        equal("exit status", process.wait(timeout=WAIT_SECONDS), 1)
        refused = silent.response()
        equal("answer", (refused.status, b'"stopping"' in refused.body), (503, True))
        try:
            raise AssertionError(f"the stream looks whole: {stream.response()}")
        except Broken:
            pass
    last = process.stderr.read().splitlines()[-1]
    assert "--workers 100: can't start the threads" in last and "try fewer" in last, last
story_is_over.set()
