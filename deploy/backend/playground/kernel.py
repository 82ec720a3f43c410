# SPDX-License-Identifier: MIT
"""The few system calls that the sandbox needs and that Python's standard library has no function for.

Only the standard library is used here: the zygote, which has nothing else, imports this.
"""

import ctypes
import errno
import os
import platform
import struct

_libc = ctypes.CDLL(None, use_errno=True)
_syscall = _libc.syscall
_syscall.restype = ctypes.c_long
# With declared arguments ctypes converts plain numbers by itself, without an object for each.
_prctl = _libc["prctl"]
_prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
_prctl_text = _libc["prctl"]
_prctl_text.argtypes = [ctypes.c_int, ctypes.c_char_p] + [ctypes.c_ulong] * 3

# asm/unistd.h. Landlock's numbers are the same everywhere; seccomp's is not.
_LANDLOCK_CREATE_RULESET, _LANDLOCK_ADD_RULE, _LANDLOCK_RESTRICT_SELF = 444, 445, 446
_SECCOMP = {"x86_64": 317, "aarch64": 277}.get(platform.machine())

# linux/prctl.h
PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

# linux/seccomp.h
_SECCOMP_SET_MODE_FILTER = 1
_SECCOMP_GET_ACTION_AVAIL = 2
_FILTER_FLAG_NEW_LISTENER = 1 << 3
_RET_KILL_PROCESS = 0x80000000
_RET_USER_NOTIF = 0x7FC00000
NOTIF_RECV = 0xC0502100  # ioctl: takes struct seccomp_notif, NOTIF_BYTES long, zeroed
NOTIF_SEND = 0xC0182101  # ioctl: takes struct seccomp_notif_resp
NOTIF_BYTES = 80
NOTIF_CONTINUE = 1

# linux/landlock.h: rights to files, by the ABI version that knows them.
FS_EXECUTE, FS_WRITE_FILE, FS_READ_FILE, FS_READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
FS_REMOVE_DIR, FS_REMOVE_FILE, FS_MAKE_DIR, FS_MAKE_REG = 1 << 4, 1 << 5, 1 << 7, 1 << 8
FS_MAKE_FIFO, FS_MAKE_SYM, FS_REFER, FS_TRUNCATE = 1 << 10, 1 << 12, 1 << 13, 1 << 14
_FS_ALL_OF_ABI = ((1, 13), (2, 14), (3, 15), (5, 16))  # (ABI, how many rights it knows)
_NET_BIND_AND_CONNECT_TCP = 3  # ABI 4
_SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS = 3  # ABI 6
_LANDLOCK_CREATE_VERSION = 1
_LANDLOCK_QUIET = 1  # ABI 7: what is denied is no news for the log of the machine
_LANDLOCK_RULE_PATH_BENEATH = 1

_CAPABILITY_VERSION_3 = 0x20080522


def _checked(result, what):
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def prctl(option, value=0):
    """prctl(2) with one argument. Raises OSError."""
    return _checked(_prctl(option, value, 0, 0, 0), f"prctl {option}")


def set_name(text):
    """How `ps` names this process: at most 15 bytes."""
    _checked(_prctl_text(PR_SET_NAME, text, 0, 0, 0), "prctl name")


def drop_capabilities():
    """Gives up every capability, and that a program executed later gets one (without a set-user-ID bit)."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    _checked(_libc.capset(header, bytes(24)), "capset")
    _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)


def close_others(spared):
    """Closes every descriptor but the standard ones and `spared`, close_range(2)."""
    for first, last in ((3, spared - 1), (spared + 1, 0xFFFFFFFF)):
        if first <= last:
            _checked(_libc.close_range(ctypes.c_uint(first), ctypes.c_uint(last), 0), "close_range")


# Seccomp.


def seccomp_kinds():
    """What the kernel can do of seccomp: a set of "filter" and "notify"."""
    if _SECCOMP is None:
        return set()
    found = set()
    for name, action in (("filter", _RET_KILL_PROCESS), ("notify", _RET_USER_NOTIF)):
        code = ctypes.c_uint32(action)
        if _syscall(_SECCOMP, _SECCOMP_GET_ACTION_AVAIL, 0, ctypes.byref(code)) == 0:
            found.add(name)
    return found


class Program:
    """A BPF program, as struct sock_fprog points to it."""

    def __init__(self, instructions):
        self._instructions = ctypes.create_string_buffer(instructions, len(instructions))
        self._head = struct.pack("HxxxxxxP", len(instructions) // 8, ctypes.addressof(self._instructions))

    def put(self, at, number):
        """Replaces the 32-bit number at the byte `at`, before it is loaded."""
        struct.pack_into("=I", self._instructions, at, number)

    def load(self):
        """Adds the filter to this thread, for good. Needs no_new_privs."""
        _checked(_syscall(_SECCOMP, _SECCOMP_SET_MODE_FILTER, 0, self._head), "seccomp")

    def load_listening(self):
        """The same; returns the descriptor on which calls can be received and answered."""
        flags = _FILTER_FLAG_NEW_LISTENER
        return _checked(_syscall(_SECCOMP, _SECCOMP_SET_MODE_FILTER, flags, self._head), "seccomp listener")


# Landlock.


def landlock_abi():
    """The version of Landlock's interface, 0 where the kernel has none or it is switched off."""
    return max(0, _syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), _LANDLOCK_CREATE_VERSION))


class Ruleset:
    """What a process may still do once restrict() is called; everything is denied that is not allowed."""

    def __init__(self, abi):
        self._abi = abi
        rights = max(count for least, count in _FS_ALL_OF_ABI if abi >= least)
        self._handled = (1 << rights) - 1
        attributes = struct.pack(
            "QQQ",
            self._handled,
            _NET_BIND_AND_CONNECT_TCP if abi >= 4 else 0,
            _SCOPE_ABSTRACT_SOCKETS_AND_SIGNALS if abi >= 6 else 0,
        )
        size = 24 if abi >= 6 else 16 if abi >= 4 else 8
        self._ruleset = _checked(
            _syscall(_LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0), "landlock ruleset"
        )

    def allow(self, descriptor, rights):
        """Allows `rights` (FS_*) on the open file or folder, and below it."""
        rule = struct.pack("=Qi", rights & self._handled, descriptor)
        _checked(_syscall(_LANDLOCK_ADD_RULE, self._ruleset, _LANDLOCK_RULE_PATH_BENEATH, rule, 0), "landlock rule")

    def restrict(self):
        """Restricts this thread and all it starts, for good. Needs no_new_privs."""
        flags = _LANDLOCK_QUIET if self._abi >= 7 else 0
        _checked(_syscall(_LANDLOCK_RESTRICT_SELF, self._ruleset, flags), "landlock")
        os.close(self._ruleset)


def is_exhaustion(problem):
    """Whether an OSError says that something ran out, which may be different soon."""
    return problem.errno in (errno.EAGAIN, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.EMFILE, errno.ENFILE)
