#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Nobody reads the pipe that the access log goes to: every request is answered as ever, lines that have no room are dropped and
counted, and the log says so. Somebody reads: lines come again, whole ones, and as many as are not counted as lost. A stop waits for
no reader."""
import json
import os
import signal
import tempfile
import threading
import time

from access_lines import parse
from exposition import Exposition
from harness import WAIT_SECONDS, Holdfast, Origin, answer, equal, head, until

CLIENTS = 8
TARGET = "/" + "x" * 1900  # two buffers of 1 MiB are full soon
FEW_SECONDS = 5  # for what takes milliseconds, or a second at a stop

folder = tempfile.mkdtemp()
path = os.path.join(folder, "fifo")
config = {"access_log": path, "log_format": "json", "workers": CLIENTS}
origin = Origin(answer(200, b"ok"))


def shown(holdfast):
    return json.loads(holdfast.admin("GET", "/admin/stats?evidence=1").body)["access_log"]


def ask_until(so, holdfast, failures):
    try:
        with holdfast.client() as client:
            while not so():
                client.send(head("GET", TARGET) * 8)
                for _ in range(8):
                    equal("answer", client.response().status, 200)
    except Exception as error:
        failures.append(repr(error))


def ask_many(holdfast, so):
    failures = []
    threads = [threading.Thread(target=ask_until, args=(so, holdfast, failures), daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_SECONDS)
        assert not thread.is_alive(), "a client still waits"
    equal("failures", failures, [])


def fill(holdfast):
    """Asks until lines are dropped, and some more."""
    ask_many(holdfast, lambda: shown(holdfast)["dropped"] > 100)
    begun = time.monotonic()
    with holdfast.client() as client:
        equal("answer", client.get().status, 200)
    assert time.monotonic() - begun < FEW_SECONDS, "a request waits for the log"
    until(lambda: holdfast.logged("lines were dropped"), "it is said")


def read_all(reader, parts):
    while True:
        part = os.read(reader, 1 << 20)
        if part == b"":
            return
        parts.append(part)


def is_read_again():
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with Holdfast({"gcp": origin}, config=config) as holdfast:
        fill(holdfast)
        os.set_blocking(reader, True)
        parts = []
        thread = threading.Thread(target=read_all, args=(reader, parts), daemon=True)
        thread.start()
        with holdfast.client() as client:
            while b"/again" not in b"".join(parts[-2:]):
                client.get("/again")
                time.sleep(0.01)  # the buffers become empty meanwhile
        requests = holdfast.stats()["requests"]["total"]
        counts = shown(holdfast)
        equal("lines, and those that were dropped", counts["lines"] + counts["dropped"], requests)
        metrics = Exposition(holdfast.admin("GET", "/metrics").body)
        for name, count in counts.items():
            equal(f"the metric of {name}", metrics.value(f"holdfast_access_log_{name}_total"), count)
    thread.join(WAIT_SECONDS)
    lines = b"".join(parts).split(b"\n")
    equal("what is behind the last line", lines.pop(), b"")
    equal("lines", len(lines), counts["lines"])
    for line in lines:
        parse(line.decode("ascii"))
    os.close(reader)


def is_stopped():
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with Holdfast({"gcp": origin}, config=config) as holdfast:
        fill(holdfast)
        begun = time.monotonic()
        holdfast.process.send_signal(signal.SIGTERM)
        equal("exit status", holdfast.process.wait(timeout=WAIT_SECONDS), 0)
        assert time.monotonic() - begun < FEW_SECONDS, "it waits for a reader"
    os.close(reader)


os.mkfifo(path)
is_read_again()
is_stopped()
