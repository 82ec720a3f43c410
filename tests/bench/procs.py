# SPDX-License-Identifier: MIT
"""Processes of the benchmark: started in a session of their own, measured as a whole tree, and always ended.

CPU time is the kernel's own account of each process, in nanoseconds, read through the process's CPU clock
(clock_getcpuclockid). It includes the threads that have ended. The other two accounts are less exact:
/proc/PID/stat counts in steps of 10 ms, and the sum over /proc/PID/task/*/schedstat loses threads that ended.
"""
import asyncio
import contextlib
import ctypes
import os
import re
import signal
import subprocess
import tempfile
import time

LIBC = ctypes.CDLL(None, use_errno=True)
PR_SET_PDEATHSIG = 1
START_SECONDS = 10
LIVE = []


class Failed(Exception):
    """A program of the benchmark did not do its part; the text says what happened."""


def _die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def wait_until(condition, seconds, what):
    """Returns the first true value of condition(), asked every 0.2 ms; raises Failed after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {seconds} s")
        time.sleep(0.0002)


def version_of(argv, pattern):
    """What a program says when it is asked its version: the first group of `pattern` in it."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    found = re.search(pattern, done.stdout + done.stderr)
    return found.group(1) if found else "unknown"


async def until_ready(child, ready):
    """Waits for a program that has just been started until ready(), a coroutine, says so."""
    deadline = time.monotonic() + START_SECONDS
    while not await ready():
        child.check_alive()
        if time.monotonic() > deadline:
            raise Failed(f"{child.name} does not start: {child.error_text()}")
        await asyncio.sleep(0.01)


class Child:
    """A program, with everything it forks, in a session of its own."""

    def __init__(self, name, argv, stdout=subprocess.DEVNULL, environment=None):
        self.name = name
        self.stderr = tempfile.TemporaryFile()
        self.popen = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=stdout, stderr=self.stderr,
                                      start_new_session=True, preexec_fn=_die_with_parent,
                                      env={**os.environ, **(environment or {})})
        LIVE.append(self)

    def pids(self):
        """Every living process of the session. A zombie has ended."""
        found = []
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    with open(f"/proc/{entry}/stat", encoding="ascii", errors="replace") as stat:
                        fields = stat.read().rsplit(")", 1)[1].split()
                except (FileNotFoundError, ProcessLookupError):
                    continue
                if int(fields[3]) == self.popen.pid and fields[0] not in "ZX":
                    found.append(int(entry))
        return found

    def check_alive(self):
        if self.popen.poll() is not None:
            raise Failed(f"{self.name} ended with status {self.popen.returncode}: {self.error_text()}")

    def error_text(self):
        self.stderr.seek(0)
        text = self.stderr.read().decode(errors="replace").strip()
        return text[-400:] or "nothing on standard error"

    def cpu_ns(self):
        return sum(_cpu_ns(pid) for pid in self.pids())

    def settle(self):
        """Waits until the tree does (nearly) nothing any more, so that its CPU time is whole."""
        before = self.cpu_ns()
        deadline = time.monotonic() + 1
        while time.monotonic() < deadline:
            time.sleep(0.02)
            now = self.cpu_ns()
            if now - before < 200_000:
                break
            before = now

    def peak_rss_bytes(self):
        """The sum of each process's peak; pages shared by several processes count once for each."""
        return sum(_kib(pid, "status", "VmHWM:") for pid in self.pids()) * 1024

    def memory_bytes(self):
        """What the tree holds now; pages shared by several processes count once (PSS)."""
        return sum(_kib(pid, "smaps_rollup", "Pss:") for pid in self.pids()) * 1024

    def stop(self):
        """Asks first, so that a parent can end and collect its own children; then makes sure."""
        if self in LIVE:
            self.popen.terminate()
            try:
                self.popen.wait(2)
            except subprocess.TimeoutExpired:
                pass
            if self.pids():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.popen.pid, signal.SIGKILL)
            self.popen.wait()
            wait_until(lambda: not self.pids(), 5, f"the end of {self.name}")
            if self.popen.stdout:
                self.popen.stdout.close()
            self.stderr.close()
            LIVE.remove(self)


def _cpu_ns(pid):
    clock = ctypes.c_int()
    if LIBC.clock_getcpuclockid(pid, ctypes.byref(clock)) != 0:
        return 0
    try:
        return time.clock_gettime_ns(clock.value)
    except OSError:
        return 0


def _kib(pid, file, key):
    try:
        with open(f"/proc/{pid}/{file}", encoding="ascii", errors="replace") as lines:
            return next((int(line.split()[1]) for line in lines if line.startswith(key)), 0)
    except (FileNotFoundError, ProcessLookupError):
        return 0


def stop_all(but=()):
    """Ends every program still running, except those in `but`."""
    for child in [child for child in LIVE if child not in but]:
        child.stop()
