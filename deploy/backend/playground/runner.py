# SPDX-License-Identifier: MIT
"""Runs one piece of Python in a process of its own, within limits, and leaves nothing behind.

The interface is Runner.run(code) -> Result; nobody else needs to know how a run is done.

A run is `setpriv ... prlimit ... python3 -I -S main.py` in a new work folder. The two small programs of
util-linux set the limits in the child between fork and Python. (subprocess's preexec_fn could do it too, but
it runs Python code in a forked copy of a process with many threads, which can deadlock.) The limits are hard:
a run can lower them but not raise them.

How a run ends: its process group is killed while its main process is still a zombie, so the group's number
can't have passed to somebody else. A child that made a session of its own escapes from that. It is caught
because this process is the "subreaper" of all its descendants: when a process's parent ends, it becomes our
child. Each such orphan that carries a run's hard limits is killed. A program that shares its process with a
Runner can thus have children of its own; they don't carry those limits and are left alone.
"""

import codecs
import contextlib
import ctypes
import dataclasses
import logging
import os
import re
import resource
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time

PYTHON = "/usr/bin/python3"
NOBODY = 65534
PR_SET_CHILD_SUBREAPER = 36
READ_BYTES = 65536
MAX_PIPE_BYTES = 1 << 20  # The most a pipe of a user without privileges can hold.
ORPHAN_SECONDS = 2.0  # How long one run's end may be spent hunting for orphans.

log = logging.getLogger("playground")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one run may use."""

    wall_seconds: float = 5.0
    cpu_seconds: int = 5  # for each process of the run
    memory_bytes: int = 256 << 20  # address space, for each process of the run
    processes: int = 16  # processes and threads a run may have beside what its user has already
    file_bytes: int = 1 << 20  # for each file
    open_files: int = 64
    output_bytes: int = 65536  # for each of stdout and stderr


@dataclasses.dataclass(frozen=True)
class Result:
    """What one run did. exit_code is -N if signal N ended it; timed_out: its wall or CPU time ran out."""

    stdout: str
    stderr: str
    exit_code: int
    timed_out: bool


class Runner:
    """Runs code under the given limits. run() may be called from many threads at once."""

    def __init__(self, limits=Limits()):
        self._limits = limits
        self._lock = threading.Lock()  # guards _running; held over fork so that no child is ours and unknown
        self._running = set()
        # Root would be above most limits, so a service started as root runs strangers' code as nobody.
        self._user = NOBODY if os.geteuid() == 0 else None
        if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "can't become the subreaper of runs")

    def run(self, code):
        """Runs code, a str that UTF-8 can encode. Raises OSError if no run could be started."""
        work = tempfile.mkdtemp(prefix="run-")
        try:
            with open(os.path.join(work, "main.py"), "w", encoding="utf-8", newline="") as file:
                file.write(code)
            if self._user is not None:
                os.chown(work, self._user, self._user)
            return self._run_in(work)
        finally:
            _remove(work)

    def check(self):
        """Raises OSError if runs don't work on this machine, a program is missing, say."""
        result = self.run("print(6 * 7)")
        if result.stdout != "42\n":
            raise OSError(f"a first run failed with exit code {result.exit_code}: {result.stderr.strip()}")

    def _run_in(self, work):
        process = self._start(work)
        streams = [_Stream(pipe, self._limits.output_bytes) for pipe in (process.stdout, process.stderr)]
        try:
            in_time = _collect(process, streams, time.monotonic() + self._limits.wall_seconds)
        finally:
            self._end(process)
            for stream in streams:
                stream.drain()
        stdout, stderr = (stream.text() for stream in streams)
        return Result(
            stdout,
            # The reader wrote "main.py"; where it lay for the time of the run is of no interest.
            stderr.replace(f'File "{work}/main.py"', 'File "main.py"'),
            process.returncode,
            not in_time or process.returncode == -signal.SIGXCPU,
        )

    def _start(self, work):
        environment = {"PATH": "/usr/bin:/bin", "HOME": work, "TMPDIR": work, "LANG": "C.UTF-8"}
        command = self._command()
        with self._lock:
            process = subprocess.Popen(
                command,
                cwd=work,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                close_fds=True,
                start_new_session=True,
            )
            self._running.add(process.pid)
        return process

    def _command(self):
        limits = self._limits
        user = os.geteuid() if self._user is None else self._user
        # No new privileges: otherwise a set-user-ID program would run as root, where we can't kill it.
        # The death signal: a run doesn't outlive a service that was killed.
        setpriv = ["/usr/bin/setpriv", "--no-new-privs", "--pdeathsig", "KILL"]
        if self._user is not None:
            setpriv += [f"--reuid={user}", f"--regid={user}", "--clear-groups"]
        prlimit = [
            "/usr/bin/prlimit",
            # One more second until the hard limit, so that the soft one's signal tells why the run ended.
            f"--cpu={_allowed('CPU', limits.cpu_seconds)}:{_allowed('CPU', limits.cpu_seconds + 1)}",
            f"--as={_allowed('AS', limits.memory_bytes)}",
            # The kernel counts a user's processes and threads, the service's own too if it has the same user.
            f"--nproc={_allowed('NPROC', _tasks_of(user) + limits.processes)}",
            f"--fsize={_allowed('FSIZE', limits.file_bytes)}",
            f"--nofile={_allowed('NOFILE', limits.open_files)}",
            "--core=0",
        ]
        # -I -S: no environment, no user's or site's packages. -u: output before a kill is not lost.
        return [*setpriv, "--", *prlimit, PYTHON, "-I", "-S", "-B", "-u", "main.py"]

    def _end(self, process):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        with self._lock:
            self._running.discard(process.pid)
        self._kill_orphans()

    def _kill_orphans(self):
        # Killing an orphan turns its children into orphans, hence the loop.
        deadline = time.monotonic() + ORPHAN_SECONDS
        while time.monotonic() < deadline:
            with self._lock:
                orphans = [pid for pid in _children() if pid not in self._running and self._is_of_a_run(pid)]
                for pid in orphans:
                    with contextlib.suppress(ProcessLookupError, PermissionError, ChildProcessError):
                        os.kill(pid, signal.SIGKILL)
                        os.waitpid(pid, os.WNOHANG)
            if not orphans:
                return
            time.sleep(0.001)
        log.warning("A run left processes that could not be ended within %s s", ORPHAN_SECONDS)

    def _is_of_a_run(self, pid):
        try:
            with open(f"/proc/{pid}/limits", encoding="ascii") as file:
                found = re.search(r"^Max file size +\S+ +(\d+)", file.read(), re.MULTILINE)
        except OSError:
            return False  # It is gone.
        return found is not None and int(found[1]) <= self._limits.file_bytes


class _Stream:
    """One output pipe of a run: keeps the first max_bytes, swallows the rest lest the run be held up."""

    def __init__(self, pipe, max_bytes):
        self._pipe = pipe
        self._max_bytes = max_bytes
        self._kept = bytearray()
        self._cut = False
        os.set_blocking(pipe.fileno(), False)

    def fileno(self):
        return self._pipe.fileno()

    def read(self):
        """Reads once. Returns the number of bytes read, 0 at the end, None if there is nothing now."""
        data = self._pipe.read(READ_BYTES)
        if data is None:
            return None
        room = self._max_bytes - len(self._kept)
        self._kept += data[:room]
        self._cut = self._cut or len(data) > room
        return len(data)

    def drain(self):
        """Reads what is still in the pipe and closes it. Bounded, should a writer have survived."""
        total = 0
        while total < MAX_PIPE_BYTES:
            size = self.read()
            if not size:
                break
            total += size
        self._pipe.close()

    def text(self):
        # Not final if cut: a character whose end was cut off is dropped, not shown as broken.
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(self._kept), final=not self._cut)
        if self._cut:
            text += f"\n[output cut here: the limit is {self._max_bytes} bytes]\n"
        return text


def _collect(process, streams, deadline):
    """Reads the streams until the process has ended (True) or the deadline has passed (False)."""
    ended = os.pidfd_open(process.pid)
    try:
        poller = select.poll()
        poller.register(ended, select.POLLIN)
        by_descriptor = {stream.fileno(): stream for stream in streams}
        for descriptor in by_descriptor:
            poller.register(descriptor, select.POLLIN)
        while (left := deadline - time.monotonic()) > 0:
            ready = [descriptor for descriptor, _ in poller.poll(left * 1000)]
            for descriptor in ready:
                if descriptor != ended and by_descriptor[descriptor].read() == 0:
                    poller.unregister(descriptor)
            if ended in ready:
                return True
        return False
    finally:
        os.close(ended)


def _allowed(kind, value):
    """The value, or this process's own hard limit if that is lower: a higher one could not be set."""
    hard = resource.getrlimit(getattr(resource, f"RLIMIT_{kind}"))[1]
    return value if hard == resource.RLIM_INFINITY else min(value, hard)


def _tasks_of(user):
    """How many processes and threads the user has now."""
    total = 0
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError):  # It is gone.
                status = os.stat(f"/proc/{name}/task")
                if status.st_uid == user:
                    total += status.st_nlink - 2  # One link for each thread, beside "." and "..".
    return total


def _children():
    """The children of this process, whichever of its threads they belong to."""
    pids = []
    for thread in os.listdir("/proc/self/task"):
        with contextlib.suppress(OSError):  # The thread is gone.
            with open(f"/proc/self/task/{thread}/children", encoding="ascii") as file:
                pids += map(int, file.read().split())
    return pids


def _remove(work):
    try:
        shutil.rmtree(work)
    except (OSError, RecursionError):
        # Folders without permissions or nested very deep. Neither program follows links or minds the depth.
        subprocess.run(["/bin/chmod", "-R", "u+rwX", work], stderr=subprocess.DEVNULL, check=False)
        subprocess.run(["/bin/rm", "-rf", work], stderr=subprocess.DEVNULL, check=False)
    if os.path.lexists(work):
        log.warning("Could not remove a run's work folder %s", work)
