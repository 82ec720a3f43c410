# SPDX-License-Identifier: MIT
"""What the stories about the access log share: its lines, read and judged."""
import json
import os
import re

from harness import equal, until

FIELDS = ["time", "client", "method", "target", "version", "status", "backend", "attempts", "request_id", "bytes",
          "duration_ms", "end"]
PAIR = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^ "=\\]+)(?: |$)')


def read(path):
    """The whole lines of the file at PATH, without their ends."""
    if not os.path.exists(path):
        return []
    with open(path, "rb") as file:
        data = file.read()
    return [line.decode("ascii") for line in data.split(b"\n")[:-1]]


def parse(line):
    """A line in either form. It has all fields, in order, and nothing else."""
    if line.startswith("{"):
        fields = json.loads(line)
    else:
        fields, at = {}, 0
        while at < len(line):
            pair = PAIR.match(line, at)
            assert pair, f"not a pair behind {line[:at]!r}: {line[at:]!r}"
            assert pair[1] not in fields, f"{pair[1]} is there twice: {line}"
            fields[pair[1]] = pair[2]
            at = pair.end()
    equal(f"fields of {line}", list(fields), FIELDS)
    return fields


class AccessLog:
    """The access log, in JSON, at PATH."""

    def __init__(self, path):
        self.path = path

    def of(self, address):
        """The lines of the client whose own ADDRESS that is."""
        client = "%s:%d" % address[:2]
        return [fields for fields in map(parse, read(self.path)) if fields["client"] == client]

    def expect(self, what, address, *wanted):
        """Waits for as many lines of that client as are WANTED, each with these fields. The lines."""
        until(lambda: len(self.of(address)) >= len(wanted), f"lines: {what}")
        lines = self.of(address)
        for number, (line, want) in enumerate(zip(lines, wanted)):
            equal(f"{what}, line {number}", {key: line[key] for key in want}, want)
            assert line["duration_ms"] >= 0, line
        equal(f"number of lines: {what}", len(lines), len(wanted))
        return lines
