# SPDX-License-Identifier: MIT
"""Keeps runs, one at a time: starts a run, counts what it starts, makes and uses, ends it in time, leaves nothing.

A keeper is forked from the zygote, with as many others as there may be runs at once. It is the subreaper of its
run, so that whatever the run starts stays below it, and only what this run started is below it.

It never sees code or output, so no run, being forked from it, can find another's in its memory. What it gets
for each run are three descriptors: the client's socket, from which the run's process reads its code, and on
which the keeper answers; and the pipes for stdout and stderr, whose other ends the client reads. If the other
end of the socket is closed before, the run is ended at once.
"""

import contextlib
import errno
import fcntl
import os
import select
import shutil
import signal
import socket
import struct
import sys
import time

from playground import kernel, memory, orphans

HEAD = struct.Struct("=Bi?H")  # kind of the answer, exit code, timed out, length of the failure's text
DONE, FAILED, EXHAUSTED = range(3)
FAILURE_BYTES = 4000
REFUSALS = 64  # So often one more process, or file, is refused politely. Then nobody listens any more.
NOTIF_SECONDS = 0.05  # A caller that was killed meanwhile must not hold the keeper.
MAP_BYTES = 1 << 16  # What a mapping counts for at least, so that there are not too many of them.
LOOK_SECONDS = 0.01  # How often the memory of a run with several processes is looked at.

# struct seccomp_notif: id, pid, flags, call, architecture, instruction, arguments (here: the first two).
NOTIF = struct.Struct("=QIIiIQQQ32x")
RESPONSE = struct.Struct("=QqiI")  # struct seccomp_notif_resp: id, value, error, flags
ERRORS = {"process": errno.EAGAIN, "file": errno.EDQUOT, "shared": errno.ENOMEM}


def keep(control, prison, settings):
    """Serves runs until the other end of `control` is closed."""
    kernel.set_name(b"keeper")
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    while True:
        _, descriptors, _, _ = socket.recv_fds(control, 16, 3)
        if not descriptors:
            return
        with socket.socket(fileno=descriptors[0]) as client:
            _serve(client, descriptors[1:], prison, settings)


def _serve(client, outputs, prison, settings):
    try:
        answer = _run(client, outputs, prison, settings)
    except OSError as problem:  # on our side, never on the run's
        kind = EXHAUSTED if kernel.is_exhaustion(problem) else FAILED
        answer = _failure(kind, f"{type(problem).__name__}: {problem}".encode(errors="replace"))
    try:
        client.send(answer)
    except OSError:
        pass  # Nobody wants it any more.


def _failure(kind, text):
    text = text[:FAILURE_BYTES]
    return HEAD.pack(kind, 0, False, len(text)) + text


def _run(client, outputs, prison, settings):
    run = None
    work = None
    try:
        try:
            work = _work_folder(settings["folder"])
            run = _Run(work, client, outputs, prison, settings)
        finally:
            for descriptor in outputs:
                os.close(descriptor)
        in_time = run.watch(time.monotonic() + settings["wall_seconds"])
    finally:
        status = None if run is None else run.end()
        if work is not None:
            _remove(work)
    if run.failure is not None:
        return _failure(EXHAUSTED if run.exhausted else FAILED, run.failure)
    exit_code = os.waitstatus_to_exitcode(status)
    return HEAD.pack(DONE, exit_code, not in_time or exit_code == -signal.SIGXCPU, 0)


def _work_folder(parent):
    # A name that no other run can guess. (tempfile would do, but brings the module random: see zygote.py.)
    path = os.path.join(parent, f"run-{os.urandom(16).hex()}")
    os.mkdir(path, 0o700)
    return path


class _Counter:
    """Answers the calls that start a process or thread, make a file, or map memory to be shared: so many, and no more.

    They are counted over the whole run, not at one time: what ends is not seen from here, and a run that
    starts and ends processes without end would keep its keeper busy without end. And a page of shared memory that
    is not mapped any more lives on as long as any page of its mapping, so its bytes are counted where it begins.
    """

    def __init__(self, listener, settings):
        self.descriptor = listener
        self._kinds = {
            **dict.fromkeys(settings["starts"], "process"),
            **dict.fromkeys(settings["makes"], "file"),
            **dict.fromkeys(settings["maps"], "shared"),
        }
        self._left = {
            "process": settings["processes"],
            "file": settings["files"],
            "shared": settings["memory_bytes"],
        }
        self._refusals = REFUSALS
        self.started = 0  # processes and threads
        self.shared = 0  # bytes

    def answer(self):
        """Answers one call. Returns False when it listens no more: then the kernel refuses all with ENOSYS."""
        buffer = bytearray(kernel.NOTIF_BYTES)
        # If the caller is killed between our poll and this, some kernels would let us wait here. The signal
        # ends the wait, and is repeated lest it come too early.
        # (Not for good: in each run Python would need long to take this handler away.)
        signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, NOTIF_SECONDS, NOTIF_SECONDS)
        try:
            fcntl.ioctl(self.descriptor, kernel.NOTIF_RECV, buffer)
        except OSError:
            return True  # It was killed.
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
        number, _, _, call, _, _, _, length = NOTIF.unpack(buffer)
        kind = self._kinds[call]
        price = max(length, MAP_BYTES) if kind == "shared" else 1
        if self._left[kind] >= price:
            self._left[kind] -= price
            self.started += price if kind == "process" else 0
            self.shared += price if kind == "shared" else 0
            response = RESPONSE.pack(number, 0, 0, kernel.NOTIF_CONTINUE)
        else:
            response = RESPONSE.pack(number, 0, -ERRORS[kind], 0)
            self._refusals -= 1
        try:
            fcntl.ioctl(self.descriptor, kernel.NOTIF_SEND, response)
        except OSError as problem:
            if problem.errno != errno.ENOENT:  # It was killed.
                raise
        return self._refusals > 0


class _Run:
    """The run's main process, and all below it."""

    def __init__(self, work, client, outputs, prison, settings):
        self.failure = None
        self.exhausted = False
        self._inherited = None
        self._next_look = 0.0
        self._over = False
        self._client = client
        self._settings = settings
        self._counter = None
        self._setup, setup = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        keeper = os.getpid()
        with setup:
            try:
                self._pid = os.fork()
            except OSError:
                self._setup.close()
                raise
            if self._pid == 0:
                prison.run(client, work, keeper, setup, *outputs)  # never returns

    def watch(self, deadline):
        """Until the main process has ended or all use too much memory (True), or its time is up or nobody wants it
        any more (False)."""
        ended = os.pidfd_open(self._pid)
        try:
            poller = select.poll()
            poller.register(ended, select.POLLIN)
            poller.register(self._client, 0)  # only that the other end is closed
            poller.register(self._setup, select.POLLIN)
            while (left := deadline - time.monotonic()) > 0:
                pause = min(left, LOOK_SECONDS) if self._has_more_than_itself() else left
                ready = dict(poller.poll(pause * 1000))
                if self._setup.fileno() in ready:
                    self._hear(poller)
                if self._counter is not None and self._counter.descriptor in ready:
                    # If it is closed on the other side, no process of the run is left that could call.
                    called = ready[self._counter.descriptor] & select.POLLIN
                    if not called or not self._counter.answer():
                        poller.unregister(self._counter.descriptor)
                        self._forget_counter()
                if ended in ready or self._is_greedy():
                    return True
                if self._client.fileno() in ready:
                    return False
            return False
        finally:
            os.close(ended)

    def _has_more_than_itself(self):
        """Whether there may be memory that the limit of the main process does not know."""
        return self._counter is not None and (self._counter.started > 0 or self._counter.shared > 0)

    def _is_greedy(self):
        """Whether all its processes together use more memory than one alone may. To be asked often."""
        if not self._has_more_than_itself() or (now := time.monotonic()) < self._next_look:
            return False
        self._next_look = now + LOOK_SECONDS
        if self._inherited is None:
            self._inherited = memory.private("self")
        used = self._counter.shared + memory.of_descendants(self._inherited)
        # Twice in a row: until it executes another program, the child of a vfork is seen to have all of its parent's.
        before, self._over = self._over, used > self._settings["memory_bytes"]
        return before and self._over

    def _hear(self, poller):
        """What the child says while it sets itself up: its listener, or why it can't."""
        message, descriptors, _, _ = socket.recv_fds(self._setup, 4096, 1)
        if descriptors:
            self._counter = _Counter(descriptors[0], self._settings)
            poller.register(descriptors[0], select.POLLIN)
        elif message:
            self.exhausted = message[:1] == b"x"
            self.failure = message[1:]
        else:
            poller.unregister(self._setup)

    def end(self):
        """Ends the run with all its processes; returns the main one's status."""
        # The main process stays a zombie until the others are gone, so that its number, to which they may send
        # signals, is nobody else's.
        os.kill(self._pid, signal.SIGKILL)
        os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
        clean = orphans.kill_children(spared={self._pid})
        _, status = os.waitpid(self._pid, 0)
        self._setup.close()
        self._forget_counter()
        if not clean:
            print("A run left processes that could not be ended in time", file=sys.stderr)
            os._exit(1)  # The zygote goes on hunting. The next run gets another keeper.
        return status

    def _forget_counter(self):
        """Nobody answers any more. What was counted is still known."""
        if self._counter is not None and self._counter.descriptor is not None:
            os.close(self._counter.descriptor)
            self._counter.descriptor = None


def _remove(work):
    try:
        os.unlink(os.path.join(work, "main.py"))
        os.rmdir(work)
        return
    except OSError:
        pass  # It has made more files, or has removed that one.
    with contextlib.suppress(RecursionError):
        shutil.rmtree(work, ignore_errors=True)
    if os.path.lexists(work):
        # Folders without permissions, or nested deep. Neither program follows links or minds the depth.
        # (Not the module subprocess, which brings threading: see zygote.py.)
        silent = [(os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0)]
        for command in (["/bin/chmod", "-R", "u+rwX", work], ["/bin/rm", "-rf", work]):
            os.waitpid(os.posix_spawn(command[0], command, {}, file_actions=silent), 0)
    if os.path.lexists(work):
        print(f"Could not remove a run's work folder {work}", file=sys.stderr)
