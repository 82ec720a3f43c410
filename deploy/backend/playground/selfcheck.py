# SPDX-License-Identifier: MIT
"""Whether runs work on this machine, and whether the layers that are said to be active really hold."""

# Tries, from inside, what each layer must refuse. Prints the names of the things that succeeded.
PROBE = """
import ctypes, os, socket
libc = ctypes.CDLL(None, use_errno=True)
def attempt(name, action):
    try: action()
    except OSError: return
    print(name)
def readable(path):
    return lambda: os.close(os.open(path, os.O_RDONLY))
def privileged():
    if libc.prctl(39, 0, 0, 0, 0) != 1: return
    raise OSError
def more_children_than_allowed():
    for _ in range(PROCESSES + 1):
        if os.fork() == 0: os._exit(0)
        os.wait()
attempt("landlock: reads /etc/passwd", readable("/etc/passwd"))
attempt("landlock: reads /proc", readable("/proc/self/status"))
attempt("landlock: lists /", lambda: os.listdir("/"))
attempt("landlock: writes beside its folder", lambda: os.mkdir("../escaped"))
attempt("seccomp: makes a socket", socket.socket)
attempt("seccomp: signals its parent", lambda: os.kill(os.getppid(), 0))
attempt("seccomp: changes modes", lambda: os.chmod(".", 0o755))
attempt("counting: starts more processes than it may", more_children_than_allowed)
attempt("no_new_privs: it is not set", privileged)
print(6 * 7)
"""


def problem(run, layers, processes):
    """What is wrong, or None. `run` runs code, which may start so many `processes`."""
    result = run(PROBE.replace("PROCESSES", str(processes)))
    *broken, last = result.stdout.split("\n")[:-1] or [""]
    if last != "42" or result.exit_code != 0:
        return f"a first run failed with exit code {result.exit_code}: {result.stderr.strip()}"
    broken = [line for line in broken if line.partition(":")[0] in layers]
    if broken:
        return f"a layer does not hold: {'; '.join(broken)}"
    return None
