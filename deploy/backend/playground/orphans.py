# SPDX-License-Identifier: MIT
"""Finds all that is below this process, and ends it, whatever it does to escape.

A process whose parent ends becomes the child of the nearest "subreaper" above it. So nothing that a run starts
leaves the tree below its keeper, and when the keeper has no child left, nothing of the run is left.
"""

import os
import signal
import time

TASKS = "/proc/{}/task"
HUNT_SECONDS = 2.0


def children(pid=None, thread=None):
    """The process ids of the children, dead ones too, of this process, which must have one thread; or of a thread of
    another process. Raises OSError if that has ended."""
    with open(f"{TASKS.format(pid or os.getpid())}/{thread or os.getpid()}/children", "rb", buffering=0) as file:
        # More than fits one read are fetched by the next look; whoever asks looks until none is left.
        return [int(pid) for pid in file.read(65536).rpartition(b" ")[0].split()]


def descendants():
    """The process ids of all that is below this process. One that starts or ends meanwhile may be missed."""
    found = children()
    for pid in found:  # which grows
        try:
            for thread in os.listdir(TASKS.format(pid)):
                found += children(pid, thread)
        except OSError:
            pass  # It has just ended.
    return found


def kill_children(spared=()):
    """Kills and fetches all children but the spared ones. Returns False if that can't be done in time.

    Killing one may make its children ours, hence the loop.
    """
    deadline = time.monotonic() + HUNT_SECONDS
    while time.monotonic() < deadline:
        found = [pid for pid in children() if pid not in spared]
        if not found:
            return True
        for pid in found:
            os.kill(pid, signal.SIGKILL)
        pause = 0.0
        for pid in found:
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                pause = 0.0005
        time.sleep(pause)
    return False
