# SPDX-License-Identifier: MIT
"""The seccomp filters, run by a small interpreter, for the machines that can't all be here."""

import struct

import pytest
import seccomp

from playground import policy

ALLOW, KILL, NOTIFY, EPERM, ENOSYS, EAGAIN, EDQUOT, ENOMEM = (
    0x7FFF0000, 0x80000000, 0x7FC00000, 0x50001, 0x50026, 0x5000B, 0x5007A, 0x5000C,
)  # fmt: skip
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
PID = 4321


def verdict(program, number, arguments, audit, most_steps=4096):
    """What the program returns for a call. It knows what libseccomp makes use of."""
    data = struct.pack("=iIQ6Q", number, audit, 0, *arguments, *[0] * (6 - len(arguments)))
    at = accumulator = 0
    for _ in range(most_steps):
        code, jump_true, jump_false, k = struct.unpack_from("=HBBI", program, at * 8)
        at += 1
        if code == 0x20:  # load a word
            (accumulator,) = struct.unpack_from("=I", data, k)
        elif code == 0x54:  # and
            accumulator &= k
        elif code == 0x05:  # jump
            at += k
        elif code in (0x15, 0x25, 0x35):  # equal, greater, greater or equal
            holds = {0x15: accumulator == k, 0x25: accumulator > k, 0x35: accumulator >= k}[code]
            at += jump_true if holds else jump_false
        elif code == 0x06:
            return k
        else:
            raise AssertionError(f"unknown instruction {code:#x}")
    raise AssertionError(f"call {number}: no verdict after {most_steps} instructions")


class Machine:
    def __init__(self, name, counting=True):
        self.name = name
        self.made = policy.filters(counting, name)
        allowed = bytearray(self.made["allowed"])
        for at in self.made["own_pid_at"]:
            struct.pack_into("=I", allowed, at, PID)
        self.allowed = bytes(allowed)

    def number(self, call):
        return seccomp.resolve_syscall(seccomp.Arch(self.name), call)

    def says(self, call, *arguments):
        return verdict(self.allowed, self.number(call), arguments, AUDIT[self.name])

    def counts(self, call, *arguments):
        return verdict(self.made["counted"], self.number(call), arguments, AUDIT[self.name]) == NOTIFY


@pytest.fixture(params=["x86_64", "aarch64"], scope="module")
def machine(request):
    return Machine(request.param)


CLONE_FORK, CLONE_THREAD = 0x01200011, 0x003D0F00
O_CREAT, O_TRUNC, O_WRONLY, O_TMPFILE = 0o100, 0o1000, 1, 0o20000000
CASES = [
    ("read", (), ALLOW),
    ("execve", (), ALLOW),
    ("ptrace", (), KILL),
    ("bpf", (), KILL),
    ("io_uring_setup", (), KILL),
    ("userfaultfd", (), KILL),
    ("process_vm_readv", (), KILL),
    ("keyctl", (), KILL),
    ("mount", (), KILL),
    ("unshare", (), KILL),
    ("setns", (), KILL),
    ("perf_event_open", (), KILL),
    ("clone3", (), ENOSYS),
    ("memfd_create", (), ENOSYS),
    ("pidfd_open", (), ENOSYS),
    ("socket", (2, 1, 0), EPERM),
    ("socket", (1, 1, 0), EPERM),
    ("connect", (), EPERM),
    ("sendmsg", (), EPERM),
    ("socketpair", (1, 0o2000001, 0), ALLOW),
    ("socketpair", (1, 2, 0), EPERM),
    ("socketpair", (2, 1, 0), EPERM),
    ("sendto", (3, 0, 0, 0, 0, 0), ALLOW),
    ("sendto", (3, 0, 0, 0, 1 << 40, 0), EPERM),
    ("kill", (PID, 9), ALLOW),
    ("kill", (0, 9), ALLOW),
    ("kill", (PID + 1, 9), EPERM),
    ("kill", (0xFFFFFFFF, 9), EPERM),
    ("kill", (2**64 - 1, 9), EPERM),
    ("kill", (1, 9), EPERM),
    ("tgkill", (PID, PID, 6), ALLOW),
    ("tgkill", (PID + 1, PID + 1, 6), EPERM),
    ("tkill", (PID, 6), EPERM),
    ("clone", (CLONE_FORK,), ALLOW),
    ("clone", (CLONE_THREAD,), ALLOW),
    *[("clone", (CLONE_FORK | bit,), EPERM) for bit in (1 << 17, 1 << 25, 1 << 26, 1 << 27, 1 << 28)],
    *[("clone", (CLONE_FORK | bit,), EPERM) for bit in (1 << 29, 1 << 30, 1 << 15, 1 << 13, 1 << 23)],
    ("mmap", (0, 4096, 3, 0x22), ALLOW),
    ("mmap", (0, 4096, 3, 0x21), ALLOW),
    ("setsockopt", (3, 1, 7), EPERM),
    ("fallocate", (3, 0, 0, 1), ALLOW),
    ("fallocate", (3, 1, 0, 1), EPERM),
    ("timer_create", (), EPERM),
    ("prlimit64", (0, 7, 0, 0), ALLOW),
    ("prlimit64", (1, 7, 0, 0), EPERM),
    ("prctl", (15,), ALLOW),
    *[("prctl", (option,), EPERM) for option in (1, 4, 22, 36, 38, 0x59616D61)],
    ("ioctl", (0, 0x5401), ALLOW),
    ("ioctl", (0, 0x5412), EPERM),
    ("fcntl", (0, 1), ALLOW),
    *[("fcntl", (0, command), EPERM) for command in (8, 10, 15, 1024, 1026, 1031)],
    ("openat", (0, 0, 0), ALLOW),
    ("openat", (0, 0, O_CREAT | O_WRONLY | O_TRUNC), ALLOW),
    ("openat", (0, 0, O_TRUNC | O_WRONLY), ALLOW),
    ("openat", (0, 0, O_TRUNC), EPERM),
    ("openat", (0, 0, O_TMPFILE | O_WRONLY), 0x5005F),
    ("fchmodat", (), EPERM),
    ("utimensat", (), EPERM),
    ("truncate", (), EPERM),
    ("shmget", (), EPERM),
    ("inotify_init1", (), EPERM),
    ("personality", (), EPERM),
    ("seccomp", (), EPERM),
    ("setpriority", (), EPERM),
]


@pytest.mark.parametrize("call, arguments, expected", CASES, ids=lambda value: str(value))
def test_a_call_gets_its_verdict(machine, call, arguments, expected):
    assert machine.says(call, *arguments) == expected


def test_what_starts_or_makes_is_counted(machine):
    assert machine.counts("clone", CLONE_FORK)
    assert machine.counts("clone", CLONE_THREAD)
    assert machine.counts("openat", 0, 0, O_CREAT)
    assert machine.counts("mkdirat")
    assert machine.counts("linkat")
    assert machine.counts("socketpair")
    assert machine.counts("mmap", 0, 4096, 3, 0x21)  # MAP_SHARED
    assert machine.counts("mmap", 0, 4096, 3, 3)  # MAP_SHARED_VALIDATE
    assert not machine.counts("mmap", 0, 4096, 3, 0x22)
    assert not machine.counts("openat", 0, 0, O_WRONLY)
    assert not machine.counts("read")
    assert machine.number("clone") in machine.made["starts"]
    assert machine.number("openat") in machine.made["makes"]
    assert machine.number("mmap") in machine.made["maps"]


def test_every_counted_call_is_known_by_its_number(machine):
    known = machine.made["starts"] + machine.made["makes"] + machine.made["maps"]
    for number in range(600):
        counted = [verdict(machine.made["counted"], number, (O_CREAT | 1,) * 6, AUDIT[machine.name])]
        assert (counted == [NOTIFY]) == (number in known)


def test_other_ways_into_the_kernel_are_deadly(machine):
    other = {"x86_64": 0x40000003, "aarch64": 0x40000028}[machine.name]  # i386, 32-bit ARM
    assert verdict(machine.allowed, machine.number("read"), (), other) == KILL
    if machine.name == "x86_64":
        assert verdict(machine.allowed, 0x40000000 | 59, (), AUDIT["x86_64"]) == KILL  # x32


def test_what_is_newer_than_the_list_is_refused(machine):
    assert verdict(machine.allowed, 900, (), AUDIT[machine.name]) == EPERM


def test_no_call_takes_a_long_way(machine):
    # The kernel goes all these ways whenever a run loads the filter.
    for number in range(600):
        verdict(machine.allowed, number, (), AUDIT[machine.name], most_steps=64)


@pytest.mark.parametrize("name", ["x86_64", "aarch64"])
def test_without_counting_nothing_is_started_or_made(name):
    machine = Machine(name, counting=False)
    assert machine.made["counted"] == b""
    assert machine.says("clone", CLONE_FORK) == EAGAIN
    assert machine.says("clone", CLONE_THREAD) == EAGAIN
    assert machine.says("mkdirat") == EDQUOT
    assert machine.says("openat", 0, 0, O_CREAT | O_WRONLY | O_TRUNC) == EDQUOT
    assert machine.says("openat", 0, 0, O_WRONLY | O_TRUNC) == ALLOW
    assert machine.says("openat", 0, 0, 0) == ALLOW
    assert machine.says("mmap", 0, 4096, 3, 0x21) == ENOMEM
    assert machine.says("mmap", 0, 4096, 3, 0x22) == ALLOW
