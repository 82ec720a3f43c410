# SPDX-License-Identifier: MIT
"""How much memory a run uses, all its processes together.

The limit of the kernel (RLIMIT_AS) is for each process, and an unprivileged container can't make control groups. So
a keeper adds up what the processes of its run have. It matters beyond one run: where all that a container has ends,
Kubernetes 1.28 and later lets the kernel kill the whole container, the service included.
"""

import os

from playground import orphans

_PAGE = os.sysconf("SC_PAGE_SIZE")


def private(pid):
    """Bytes of a process that are no part of a file and not shared by mapping. Raises OSError if it has ended."""
    with open(f"/proc/{pid}/statm", "rb", buffering=0) as file:
        _, resident, shared, *_ = file.read(256).split()
    return (int(resident) - int(shared)) * _PAGE


def of_descendants(inherited):
    """The sum over all processes below this one. Of each, so many bytes are `inherited` and not counted.

    A page that a process and its child still share since the fork counts for both. That is too much, but what is
    shared still can't be seen without privileges.
    """
    total = 0
    for pid in orphans.descendants():
        try:
            total += max(0, private(pid) - inherited)
        except OSError:
            pass  # It has just ended.
    return total
