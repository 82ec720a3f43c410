# SPDX-License-Identifier: MIT
"""Shuts a run in, and runs its code. All of this happens in the run's own process.

The order matters: what needs a right comes before that right is given up, the seccomp filter last.
"""

import atexit
import gc
import os
import resource
import signal
import socket
import stat
import struct
import sys
import types

from playground import kernel

# Python, its libraries and the programs of Debian; no secrets are there. Missing ones are left out.
READABLE = (
    "/usr/bin",
    "/usr/lib",
    "/usr/lib32",
    "/usr/lib64",
    "/usr/libexec",
    "/usr/share",
    "/bin",
    "/lib",
    "/lib64",
    "/etc/ld.so.cache",
    f"/etc/python{sys.version_info[0]}.{sys.version_info[1]}",
)
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
READ = kernel.FS_EXECUTE | kernel.FS_READ_FILE | kernel.FS_READ_DIR
READ_FILE = kernel.FS_EXECUTE | kernel.FS_READ_FILE
# No right to execute: what a run writes, it can only interpret.
WORK = (
    kernel.FS_READ_FILE | kernel.FS_WRITE_FILE | kernel.FS_READ_DIR | kernel.FS_REMOVE_DIR
    | kernel.FS_REMOVE_FILE | kernel.FS_MAKE_DIR | kernel.FS_MAKE_REG | kernel.FS_MAKE_FIFO
    | kernel.FS_MAKE_SYM | kernel.FS_REFER | kernel.FS_TRUNCATE
)  # fmt: skip
STDOUT, STDERR = 1, 2
EXIT_BROKEN = 70
PENDING_SIGNALS = 256
LENGTH = struct.Struct("=I")


class Jail:
    """What is the same for all runs of a zygote, made ready once."""

    def __init__(self, settings):
        self._settings = settings
        self._layers = settings["layers"]
        self._own_pid_at = settings["own_pid_at"]
        self._allowed = kernel.Program(settings["allowed"])
        self._counted = kernel.Program(settings["counted"]) if settings["counted"] else None
        self._rights = [] if self._layers["landlock"] == 0 else list(_opened())
        self._limits = [
            # One more second until the hard limit, so that the soft one's signal tells why the run ended.
            _possible(resource.RLIMIT_CPU, settings["cpu_seconds"], settings["cpu_seconds"] + 1),
            *(
                _possible(kind, value, value)
                for kind, value in (
                    (resource.RLIMIT_AS, settings["memory_bytes"]),
                    (resource.RLIMIT_FSIZE, settings["file_bytes"]),
                    (resource.RLIMIT_NOFILE, settings["open_files"]),
                    (resource.RLIMIT_CORE, 0),
                    (resource.RLIMIT_MEMLOCK, 0),
                    (resource.RLIMIT_MSGQUEUE, 0),
                    (resource.RLIMIT_SIGPENDING, PENDING_SIGNALS),  # the kernel counts them by user
                )
            ),
        ]

    def run(self, client, work, keeper, setup, stdout, stderr):
        """Becomes the run: reads its code, shuts itself in, and runs it. Never returns."""
        try:
            code = _receive(client)
            with open(os.path.join(work, "main.py"), "wb", buffering=0) as file:
                file.write(code)
            self._shut(work, keeper, setup, stdout, stderr)
        except BaseException as problem:  # pylint: disable=broad-except
            _tell(setup, problem)
            os._exit(EXIT_BROKEN)
        try:
            setup.close()
            _execute(code)
        finally:
            os._exit(EXIT_BROKEN)  # Never back into the keeper's code.

    def _shut(self, work, keeper, setup, stdout, stderr):
        os.setsid()
        # The keeper ends its run. If it is killed itself, this ends the run.
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != keeper:
            os._exit(EXIT_BROKEN)
        kernel.set_name(b"run")
        os.chdir(work)
        os.dup2(stdout, STDOUT)
        os.dup2(stderr, STDERR)
        _go_first_when_memory_ends()
        landlock = self._landlock(work)  # while the descriptors are still open
        if landlock is not None:
            landlock.restrict()
        if "notify" in self._layers["seccomp"] and self._counted is not None:
            listener = self._counted.load_listening()
            socket.send_fds(setup, [b"l"], [listener])
            os.close(listener)
        kernel.close_others(setup.fileno())
        for kind, limits in self._limits:
            resource.setrlimit(kind, limits)
        os.environ["HOME"] = os.environ["TMPDIR"] = work  # PATH and LANG are there, runner.py sets no more.
        if "filter" in self._layers["seccomp"]:
            for at in self._own_pid_at:
                self._allowed.put(at, os.getpid())
            self._allowed.load()

    def _landlock(self, work):
        if self._layers["landlock"] == 0:
            return None
        ruleset = kernel.Ruleset(self._layers["landlock"])
        for descriptor, rights in self._rights:
            ruleset.allow(descriptor, rights)
        folder = os.open(work, os.O_PATH | os.O_CLOEXEC)
        ruleset.allow(folder, WORK)
        return ruleset


def _receive(client):
    """The code: a 4-byte length and so many bytes. (No deadline: the keeper has one.)"""
    client.setblocking(True)
    data = bytearray()
    wanted = LENGTH.size
    while len(data) < wanted:
        piece = client.recv(wanted - len(data))
        if not piece:
            raise ConnectionResetError("the client is gone")
        data += piece
        if wanted == LENGTH.size == len(data):
            wanted += LENGTH.unpack(data)[0]
    return bytes(data[LENGTH.size :])


def _opened():
    """(descriptor, rights) of what every run may use."""
    seen = set()
    for path in READABLE:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        # Usually /lib is /usr/lib. Each rule costs each run some time.
        status = os.fstat(descriptor)
        if (status.st_dev, status.st_ino) in seen:
            os.close(descriptor)
            continue
        seen.add((status.st_dev, status.st_ino))
        yield descriptor, READ if stat.S_ISDIR(status.st_mode) else READ_FILE
    for path in DEVICES:
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            continue
        yield descriptor, kernel.FS_READ_FILE | (kernel.FS_WRITE_FILE if path in ("/dev/null", "/dev/full") else 0)


def _possible(kind, soft, hard):
    """(kind, (soft, hard)) for setrlimit; no run may set a limit higher than the zygote's own."""
    own = resource.getrlimit(kind)[1]
    if own != resource.RLIM_INFINITY:
        soft, hard = min(soft, own), min(hard, own)
    return kind, (soft, hard)


def _go_first_when_memory_ends():
    """Asks the kernel to end a run, not the service, when the memory of machine or container ends."""
    # The files of a process in /proc are its own only while it is "dumpable".
    kernel.prctl(kernel.PR_SET_DUMPABLE, 1)
    try:
        with open("/proc/self/oom_score_adj", "wb", buffering=0) as file:
            file.write(b"1000")
    except OSError:
        pass  # A help, no protection of anybody else.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)


def _tell(setup, problem):
    exhausted = isinstance(problem, MemoryError) or (
        isinstance(problem, OSError) and kernel.is_exhaustion(problem)
    )
    text = f"{type(problem).__name__}: {problem}"
    try:
        setup.send((b"x" if exhausted else b"f") + text.encode(errors="replace")[:4000])
    except OSError:
        pass


# The code runs as `python3 main.py` would run it.


def _execute(code):
    """Runs the code as the module __main__ and exits as Python would."""
    sys.argv[:] = ["main.py"]
    sys.orig_argv[:] = ["/usr/bin/python3", "main.py"]
    main = types.ModuleType("__main__")
    main.__file__ = "main.py"
    main.__builtins__ = sys.modules["builtins"]
    sys.modules["__main__"] = main
    gc.enable()
    status = 0
    try:
        exec(_compiled(code), main.__dict__)  # pylint: disable=exec-used
    except BaseException as problem:  # pylint: disable=broad-except
        status = _report(problem)
    os._exit(_finish(main, status))


def _compiled(code):
    try:
        return compile(code, "main.py", "exec", dont_inherit=True)
    except ValueError as problem:
        if isinstance(problem, (SyntaxError, UnicodeError)):
            raise
        # A zero byte. In a file it is a SyntaxError, in a string it is this.
        raise SyntaxError(str(problem)) from None


def _report(problem):
    """Says on stderr what ended the code; returns the exit status."""
    if isinstance(problem, SystemExit):
        if problem.code is None or isinstance(problem.code, int):
            return (problem.code or 0) & 0xFF
        _try(lambda: print(problem.code, file=sys.stderr))
        return 1
    # Without the frames of this module, which come first.
    trace = problem.__traceback__
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    problem.__traceback__ = trace
    try:
        sys.excepthook(type(problem), problem, trace)
    except BaseException:  # pylint: disable=broad-except
        _try(lambda: sys.__excepthook__(type(problem), problem, trace))
    return 1


def _finish(main, status):
    """What Python does at its end, as far as a program can tell: threads, atexit, last words of objects."""

    def forget():
        names = [name for name in main.__dict__ if name != "__builtins__"]
        for name in sorted(names, key=lambda name: not name.startswith("_")):
            main.__dict__[name] = None
        gc.collect()

    def wait_for_threads():
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()

    for step in (wait_for_threads, atexit._run_exitfuncs, forget, lambda: sys.stderr.flush()):
        _try(step)
    try:
        sys.stdout.flush()
    except BaseException:  # pylint: disable=broad-except
        return status or 120  # as Python does
    return status


def _try(step):
    try:
        step()
    except BaseException:  # pylint: disable=broad-except
        pass
