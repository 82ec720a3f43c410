# SPDX-License-Identifier: MIT
"""The process that runs are forked from: warm, so that a run starts fast, and without secrets.

It is a program of its own, started by runner.py with an empty environment. It forks keepers (keeper.py), which
wait on its control socket and start the runs, and replaces those that end. It never sees what a user sent. It
has one thread. Where the service is root it becomes nobody at once; the runs have its user.

On its control socket (SOCK_SEQPACKET; its argument is the descriptor) it first says what the kernel offers, and gets the settings,
both in JSON. After that each message is one run, for whichever keeper is free; descriptors come with it. When the other end is closed, which
is also what happens when the service is killed, the zygote waits for its runs and ends.
"""

import sys

if __name__ == "__main__":  # Under -I the script's own folder is not searched.
    sys.path.insert(0, __file__.rpartition("/")[0].rpartition("/")[0])

import base64
import gc
import json
import os
import select
import signal
import socket
import traceback

from playground import jail, keeper, kernel, orphans

MESSAGE_BYTES = 1 << 18
RETRY_MS = 200

# What programs in a playground tend to import, as long as it makes no fork much slower. Not random, for one, which
# brings OpenSSL and asks the kernel for a new seed in each fork; nor threading, which puts its locks and tables in
# order in each fork, longer than a tenth of a run.
WARM = """
    abc bisect collections copy dataclasses datetime enum functools heapq io itertools json linecache math
    operator re string textwrap time traceback typing
""".split()


def main():
    del sys.path[0]
    for name in WARM:
        __import__(name)
    control = socket.socket(fileno=int(sys.argv[1]))
    control.send(json.dumps(offers()).encode())
    message = control.recv(MESSAGE_BYTES)
    if not message:
        return  # The service has no use for it.
    settings = json.loads(message)
    settings.update({name: base64.b64decode(settings[name]) for name in ("allowed", "counted")})
    become(settings["user"])
    kernel.set_name(b"zygote")
    # Nobody of the same user may look into it, by /proc or by ptrace, or make it dump its memory.
    kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
    kernel.prctl(kernel.PR_SET_CHILD_SUBREAPER, 1)
    prison = jail.Jail(settings)
    leave_no_trace()
    # What is there now is shared with the runs for good, so the collector need not touch (and so copy) it.
    gc.collect()
    gc.freeze()
    gc.disable()
    serve(control, prison, settings)
    try:
        os.rmdir(settings["folder"])
    except OSError:
        pass  # Its parent may not be ours. Who made it removes it.


def become(user):
    """Becomes `user`, if one is named, without groups; gives up every capability."""
    if user is not None:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
    kernel.drop_capabilities()
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)


def leave_no_trace():
    """Runs find no modules of ours: they are of no use to them."""
    for name in [name for name in sys.modules if name.startswith("playground")]:
        del sys.modules[name]


def offers():
    """What the kernel has for runs."""
    return {"landlock": kernel.landlock_abi(), "seccomp": sorted(kernel.seccomp_kinds())}


def serve(control, prison, settings):
    """Keeps as many keepers as there may be runs at once, until the other end of `control` is closed."""
    keepers = set()
    ended, wakeup = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakeup, warn_on_full_buffer=False)
    poller = select.poll()
    poller.register(ended, select.POLLIN)
    poller.register(control, 0)  # only that the other end is closed; what comes is for the keepers
    listening = True
    while listening or keepers:
        while listening and len(keepers) < settings["runs"]:
            try:
                keepers.add(start_keeper(control, prison, settings, (ended, wakeup)))
            except OSError as problem:
                print(f"No process for a keeper: {problem}", file=sys.stderr)
                break
        # If some could not be started, another try soon.
        short = listening and len(keepers) < settings["runs"]
        ready = [descriptor for descriptor, _ in poller.poll(RETRY_MS if short else None)]
        if ended in ready:
            os.read(ended, 4096)
            reap(keepers)
        if control.fileno() in ready:
            listening = False
            poller.unregister(control)
            control.close()


def start_keeper(control, prison, settings, others):
    """Forks a keeper; returns its pid."""
    pid = os.fork()
    if pid != 0:
        return pid
    status = 70
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for other in others:
            os.close(other)
        keeper.keep(control, prison, settings)
        status = 0
    except BaseException:  # pylint: disable=broad-except
        traceback.print_exc()
    finally:
        os._exit(status)


def reap(keepers):
    """Fetches the keepers that have ended. What one that failed left behind has become ours, and is killed."""
    failed = False
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            break
        failed = failed or status != 0 or pid not in keepers
        keepers.discard(pid)
    if failed:
        orphans.kill_children(spared=keepers)


if __name__ == "__main__":
    main()
