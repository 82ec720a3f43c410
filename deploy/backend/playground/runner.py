# SPDX-License-Identifier: MIT
"""Runs one piece of Python in a process of its own, within limits, and leaves nothing behind.

The interface is Runner.run(code) -> Result; nobody else needs to know how a run is done.

    this process --> zygote --> keeper --> run
                 (one, warm)   (one per run at a time)

The zygote (zygote.py) is a program without secrets from which runs are forked, which takes a fraction of
the time that a new Python takes. A keeper (keeper.py) forks its run and ends it in time, with all it has
started. The run's process shuts itself in (jail.py) before it looks at the code: rlimits, no new privileges,
Landlock, seccomp (policy.py). docs/backend.md says what each of them stops.
"""

import base64
import codecs
import contextlib
import dataclasses
import errno
import json
import logging
import os
import pathlib
import select
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import weakref

from playground import jail, keeper, policy, selfcheck

PYTHON = "/usr/bin/python3"
ZYGOTE = pathlib.Path(__file__).with_name("zygote.py")
NOBODY = 65534
LAYERS = ("zygote", "rlimits", "no_new_privs", "landlock", "seccomp", "counting")
START_SECONDS = 15.0  # How long a zygote may take to say that it is there.
SLACK_SECONDS = 15.0  # How much longer than its wall time a run may take to be ended and cleaned up.
READ_BYTES = 65536
MAX_PIPE_BYTES = 1 << 20  # The most a pipe of a user without privileges can hold.
SEND_BYTES = 1 << 19  # The settings must fit one message of the control socket.

log = logging.getLogger("playground")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one run may use."""

    wall_seconds: float = 5.0
    cpu_seconds: int = 5  # for each process of the run
    memory_bytes: int = 256 << 20  # address space, for each process of the run
    processes: int = 16  # processes and threads it may start, one after the other or at once
    file_bytes: int = 1 << 20  # for each file
    files: int = 16  # files, folders and links it may make
    open_files: int = 64
    output_bytes: int = 65536  # for each of stdout and stderr


@dataclasses.dataclass(frozen=True)
class Result:
    """What one run did. exit_code is -N if signal N ended it; timed_out: its wall or CPU time ran out."""

    stdout: str
    stderr: str
    exit_code: int
    timed_out: bool


class Exhausted(OSError):
    """No run could be started because something ran out: processes, memory or disk. Soon it may work."""


class Runner:
    """Runs code under the given limits. run() may be called from many threads; `runs` go on at once.

    `require` names the layers without which check() fails, `without` those to leave out though the kernel has
    them, for tests. After `zygote_runs` runs a fresh zygote takes over.
    """

    def __init__(self, limits=Limits(), runs=16, require=(), without=(), zygote_runs=5000):
        self._limits = limits
        self._runs = runs
        self._require = frozenset(require)
        self._without = frozenset(without)
        self._zygote_runs = zygote_runs
        self._lock = threading.Lock()  # guards the four below
        self._zygote = None
        self._runs_left = 0
        self._renewing = False
        self.zygotes_started = 0
        self._finalizer = None
        with self._lock:
            self._install(self._new_zygote())

    def run(self, code):
        """Runs code, a str that UTF-8 can encode. Raises Exhausted or OSError if no run could be started."""
        code = code.encode()
        try:
            return self._run(self._current(), code)
        except ConnectionError:
            # The zygote has died, or this run's keeper. Perhaps the kernel needed the memory.
            log.warning("A run was lost, or its zygote retired; once more, from a fresh one")
        self._replace_dead()
        try:
            return self._run(self._current(), code)
        except ConnectionError as problem:
            raise OSError("two runs in a row were lost") from problem

    def check(self):
        """Raises OSError if runs don't work on this machine, or a layer is missing that is required, or one
        that is said to be there does not hold."""
        missing = self._require - set(self.layers)
        if missing:
            raise OSError(f"required, but not offered by this kernel: {', '.join(sorted(missing))}")
        problem = selfcheck.problem(self.run, self.layers, self._limits.processes)
        if problem:
            raise OSError(problem)

    @property
    def layers(self):
        """The layers that are active: {name: version}. Those without versions have 1."""
        return self._zygote.layers

    def close(self):
        """Ends the zygote. No run may be on its way."""
        if self._finalizer is not None:
            self._finalizer()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _run(self, zygote, code):
        # The keeper watches the wall time. This deadline is only for a keeper that is stopped, say.
        deadline = time.monotonic() + self._limits.wall_seconds + SLACK_SECONDS
        with contextlib.ExitStack() as stack:
            out, err = (stack.enter_context(_Output(self._limits.output_bytes)) for _ in range(2))
            connection = stack.enter_context(zygote.connect(out, err))
            connection.settimeout(self._limits.wall_seconds + SLACK_SECONDS)
            with contextlib.suppress(BrokenPipeError):  # Then it says why.
                connection.sendall(jail.LENGTH.pack(len(code)) + code)
            _wait(connection, (out, err), deadline)
            answer = connection.recv(keeper.HEAD.size + keeper.FAILURE_BYTES)
            out.drain()
            err.drain()
        if len(answer) < keeper.HEAD.size:
            raise ConnectionResetError("the keeper is gone")
        kind, exit_code, timed_out, _ = keeper.HEAD.unpack_from(answer)
        if kind != keeper.DONE:
            text = answer[keeper.HEAD.size :].decode(errors="replace")
            raise Exhausted(errno.EAGAIN, text) if kind == keeper.EXHAUSTED else OSError(text)
        return Result(out.text(), err.text(), exit_code, timed_out)

    # Which zygote.

    def _current(self):
        """The zygote for one more run."""
        with self._lock:
            self._runs_left -= 1
            if self._runs_left <= 0 and not self._renewing:
                self._renewing = True
                threading.Thread(target=self._renew, daemon=True).start()
            return self._zygote

    def _renew(self):
        """Lets a fresh zygote take over; the old one ends with its last run."""
        try:
            fresh = self._new_zygote()
            with self._lock:
                self._install(fresh)
        except OSError as problem:
            log.warning("No fresh zygote: %s", problem)
        finally:
            with self._lock:
                self._renewing = False

    def _replace_dead(self):
        with self._lock:
            if not self._zygote.alive():
                self._install(self._new_zygote())

    def _new_zygote(self):
        return _Zygote(self._limits, self._runs, self._without)

    def _install(self, zygote):
        old, self._zygote = self._zygote, zygote
        self._runs_left = self._zygote_runs
        self.zygotes_started += 1
        if self._finalizer is not None:
            self._finalizer.detach()
        self._finalizer = weakref.finalize(self, zygote.close)
        if old is not None:
            old.retire()


class _Zygote:
    """A zygote process and the folder in which its runs have theirs."""

    def __init__(self, limits, runs, without):
        # Root would be above most limits, so a service started as root runs strangers' code as nobody.
        user = NOBODY if os.geteuid() == 0 else None
        self._folder = tempfile.mkdtemp(prefix="playground-")
        self._retired = threading.Lock()
        try:
            self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = _start(theirs)
            self._control.settimeout(START_SECONDS)
            self._control.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BYTES)
            offers = self._hear_offers()
            offers["seccomp"] = [kind for kind in offers["seccomp"] if kind not in without]
            if "landlock" in without:
                offers["landlock"] = 0
            if "filter" not in offers["seccomp"]:
                offers["seccomp"] = []
            self.layers = _layers(offers)
            if user is not None:
                os.chown(self._folder, user, user)
            # Not to be listed: where the kernel has no Landlock, it is by their names, which nobody can guess, that
            # the work folders of runs are safe from other runs.
            os.chmod(self._folder, 0o300)
            self._control.send(json.dumps({**self._settings(limits, offers), "runs": runs, "user": user}).encode())
        except BaseException:
            self._remove_folder()
            raise

    def _hear_offers(self):
        try:
            message = self._control.recv(4096)
        except TimeoutError:
            message = b""
        if not message:
            raise OSError(f"the zygote, {PYTHON} {ZYGOTE}, did not start")
        return json.loads(message)

    def _settings(self, limits, offers):
        made = policy.filters("notify" in offers["seccomp"])
        for name in ("allowed", "counted"):
            made[name] = base64.b64encode(made[name]).decode()
        return {**dataclasses.asdict(limits), **made, "layers": offers, "folder": self._folder}

    def connect(self, out, err):
        """A socket to a keeper, which gets the outputs. Raises ConnectionError if the zygote has died or retired."""
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                socket.send_fds(self._control, [b"r"], [theirs.fileno(), out.writer, err.writer])
            except BaseException as problem:
                ours.close()
                if self._control.fileno() == -1:
                    raise ConnectionResetError("the zygote has retired") from problem
                raise
            finally:
                out.close_writer()
                err.close_writer()
        return ours

    def _remove_folder(self):
        with contextlib.suppress(OSError):  # The zygote may have removed it.
            os.chmod(self._folder, 0o700)
        shutil.rmtree(self._folder, ignore_errors=True)

    def alive(self):
        return self._process.poll() is None

    def retire(self):
        """Tells it to end when its last run has ended, and cleans up then."""
        threading.Thread(target=self.close, args=(None,), daemon=True).start()

    def close(self, seconds=SLACK_SECONDS):
        """Ends it, waits at most so long (None: until its last run has ended), and removes its folder."""
        with self._retired:
            self._control.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
            self._remove_folder()


def _start(control):
    """Starts the program with `control` as its only descriptor beside the standard ones."""
    # No environment: nothing in it concerns a run. A session of its own: a signal for the service's group is
    # not for the zygote, which must outlive a killed service long enough to end its runs.
    return subprocess.Popen(
        [PYTHON, "-I", "-S", "-B", "-u", ZYGOTE, str(control.fileno())],
        env={"LANG": "C.UTF-8", "PATH": "/usr/bin:/bin"},
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(control.fileno(),),
        start_new_session=True,
    )


def _layers(offers):
    layers = {"zygote": 1, "rlimits": 1, "no_new_privs": 1}
    if offers["landlock"]:
        layers["landlock"] = offers["landlock"]
    for kind, name in (("filter", "seccomp"), ("notify", "counting")):
        if kind in offers["seccomp"]:
            layers[name] = 1
    return layers


class _Output:
    """One output pipe of a run: keeps the first bytes, swallows the rest lest the run be held up."""

    def __init__(self, max_bytes):
        self._max_bytes = max_bytes
        self._kept = bytearray()
        self._cut = False
        self._reader, self.writer = os.pipe()
        os.set_blocking(self._reader, False)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close_writer()
        os.close(self._reader)

    def fileno(self):
        return self._reader

    def close_writer(self):
        if self.writer is not None:
            os.close(self.writer)
            self.writer = None

    def read(self):
        """Reads once. Returns the number of bytes read, 0 at the end or if there is nothing now."""
        try:
            data = os.read(self._reader, READ_BYTES)
        except BlockingIOError:
            return 0
        room = self._max_bytes - len(self._kept)
        self._kept += data[:room]
        self._cut = self._cut or len(data) > room
        return len(data)

    def drain(self):
        """Reads what is still in the pipe. Bounded, should a writer have survived."""
        total = 0
        while total < MAX_PIPE_BYTES and (size := self.read()):
            total += size

    def text(self):
        # Not final if cut: a character whose end was cut off is dropped, not shown as broken.
        text = codecs.getincrementaldecoder("utf-8")("replace").decode(bytes(self._kept), final=not self._cut)
        if self._cut:
            text += f"\n[output cut here: the limit is {self._max_bytes} bytes]\n"
        return text


def _wait(connection, outputs, deadline):
    """Reads the outputs until the connection has an answer, or is closed. Raises OSError after the deadline."""
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    by_descriptor = {output.fileno(): output for output in outputs}
    for descriptor in by_descriptor:
        poller.register(descriptor, select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _ in poller.poll(max(0, deadline - time.monotonic()) * 1000)]
        if not ready:
            raise OSError("a run did not end in time")
        for descriptor in ready:
            if descriptor in by_descriptor and by_descriptor[descriptor].read() == 0:
                poller.unregister(descriptor)
        if connection.fileno() in ready:
            return
