#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The access log is rotated again and again under load: SIGUSR1 loses no line and tears none. All files together have one line for
each request."""
import os
import signal
import tempfile

from access_lines import AccessLog, parse, read
from harness import Holdfast, Load, Origin, equal, until

TURNS = 20
CLIENTS = 8

folder = tempfile.mkdtemp()
log = AccessLog(os.path.join(folder, "log"))


def moved(turn):
    return f"{log.path}.{turn}"


def rotate(turn):
    os.rename(log.path, moved(turn))
    holdfast.process.send_signal(signal.SIGUSR1)
    until(lambda: os.path.exists(log.path), "there is a new file")


with Holdfast({"gcp": Origin(), "azure": Origin()}, config={"access_log": log.path, "log_format": "json"}) as holdfast:
    with Load(holdfast.address, CLIENTS) as load:
        for number in range(TURNS):
            load.until_more(50)
            rotate(number)
            if number % 5 == 4:  # two in a row, and one while nothing was moved
                rotate(f"{number}b")
                holdfast.process.send_signal(signal.SIGUSR1)
        load.until(lambda: read(log.path) != [], "lines go to the last file")
    counted = holdfast.stats()["requests"]["total"]
    equal("requests", counted, load.total())
files = [os.path.join(folder, name) for name in os.listdir(folder)]
equal("files", len(files), TURNS + TURNS // 5 + 1)
lines = [parse(line) for path in files for line in read(path)]
equal("lines in all files", len(lines), counted)
equal("requests that have a line", len({line["request_id"] for line in lines}), counted)
for path in files:
    with open(path, "rb") as file:
        data = file.read()
    assert data == b"" or data.endswith(b"\n"), f"{path} ends in the middle of a line"
