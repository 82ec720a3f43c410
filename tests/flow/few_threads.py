#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The system allows fewer threads than there are to be workers: the start fails with exit status 1 and one line that names --workers,
and nobody listens."""
import os
import resource
import socket
import subprocess
import sys

from harness import equal

if os.geteuid() != 0:
    print("skipped: the limit holds for nobody but the user of the tests, who runs other programs")
    sys.exit(77)

STRANGER = 65533  # runs nothing else, so the limit is for this start alone
THREADS = 60
# A process that gave up root may not be traced by itself, which is how leaks are looked for.
os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"

with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    address = probe.getsockname()
started = subprocess.run([os.environ["HOLDFAST"], "-l", f"127.0.0.1:{address[1]}", "-a", "off", "-b", "127.0.0.1:1"],
                         capture_output=True, text=True, timeout=50, user=STRANGER,
                         preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NPROC, (THREADS, THREADS)))
equal("exit status", started.returncode, 1)
lines = started.stderr.splitlines()
assert "--workers 256: can't start the threads" in lines[-1] and "try fewer" in lines[-1], lines
with socket.socket() as client:
    assert client.connect_ex(address) != 0, "somebody listens still"
