# SPDX-License-Identifier: MIT
"""Which system calls a run may make: two seccomp filters, made once by libseccomp and handed to the zygote.

The filter `allowed` is a list of what is allowed. What is not on it:
- ends the run, if no honest program has a use for it (DEADLY);
- fails with ENOSYS, ENOTSUP or EOPNOTSUPP where libraries then take another way;
- fails with EPERM otherwise, also what is newer than this list.

The filter `counted` sends the calls that start a process or thread, make a file, or map memory to be shared, to the
run's keeper, which counts them (keeper.py). The kernel obeys the stricter of the two, so it widens nothing. Both
look at numbers and registers only, never at memory, which another thread could change after the look.

libseccomp, not a table of our own: it knows the numbers on each machine, compares 64-bit arguments right, and
refuses calls of other ABIs (32-bit, x32), whose numbers mean something else.
"""

import errno
import platform
import re
import struct
import tempfile

import seccomp
from seccomp import ALLOW, EQ, ERRNO, KILL_PROCESS, MASKED_EQ, NOTIFY, Arg

# Stands for the run's own process in the filter; replaced in each run. No process has this number.
OWN_PID = 0x7E57C0DE

ALWAYS = """
    access arch_prctl brk chdir clock_getres clock_gettime clock_nanosleep close close_range copy_file_range
    dup dup2 dup3 epoll_create epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 epoll_wait eventfd eventfd2
    execve exit exit_group faccessat faccessat2 fadvise64 fchdir fchmod fdatasync flock fstat fstatfs
    fsync ftruncate futex getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer getpgid
    getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid getsockname
    getpeername getsockopt gettid gettimeofday getuid link linkat lseek lstat madvise mkdir mkdirat
    mprotect mremap msync munmap nanosleep newfstatat pause pipe pipe2 poll ppoll pread64 preadv preadv2
    pselect6 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv recvfrom rename renameat
    renameat2 restart_syscall rmdir rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigreturn rt_sigsuspend
    rt_sigtimedwait sched_get_priority_max sched_get_priority_min sched_yield select sendfile set_robust_list
    set_tid_address setitimer setpgid setsid shutdown sigaltstack signalfd signalfd4 stat statfs
    statx symlink symlinkat sysinfo time timerfd_create timerfd_gettime timerfd_settime times umask uname unlink
    unlinkat wait4 waitid write writev
""".split()

# Without an honest use here. A process that tries is ended by SIGSYS, and the run is counted as "forbidden".
DEADLY = """
    ptrace process_vm_readv process_vm_writev process_madvise process_mrelease kcmp pidfd_getfd
    pidfd_send_signal rt_sigqueueinfo rt_tgsigqueueinfo
    bpf perf_event_open userfaultfd io_uring_setup io_uring_enter io_uring_register
    add_key request_key keyctl
    mount umount2 pivot_root chroot unshare setns move_mount open_tree fsopen fsmount fsconfig fspick
    mount_setattr open_by_handle_at fanotify_init swapon swapoff
    init_module finit_module delete_module kexec_load kexec_file_load reboot acct quotactl iopl ioperm
    modify_ldt vmsplice lookup_dcookie nfsservctl
""".split()

# What fails in a way that libraries take for "not here", and then do without.
ABSENT = {
    errno.ENOSYS: "clone3 openat2 pidfd_open memfd_create memfd_secret execveat".split(),
    errno.ENOTSUP: """getxattr lgetxattr fgetxattr listxattr llistxattr flistxattr setxattr lsetxattr fsetxattr
        removexattr lremovexattr fremovexattr""".split(),
}

# fcntl and ioctl can do much: owners of descriptors get signals, pipes grow, terminals take input.
FCNTL_COMMANDS = (0, 1, 2, 3, 4, 5, 6, 7, 36, 37, 38, 1030, 1032)  # dup, flags, locks, size of a pipe
IOCTL_COMMANDS = (0x5401, 0x5413, 0x541B, 0x5421, 0x5450, 0x5451)  # isatty, its size, FIONREAD, FIONBIO, FIO*CLEX
PRCTL_OPTIONS = (3, 15, 16, 39)  # get dumpable, set and get name, get no_new_privs

CLONE_NAMESPACES = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
CLONE_TRACED = 0x00002000 | 0x00800000  # CLONE_PTRACE, CLONE_UNTRACED
# A child of the caller's parent would be the keeper's child, a signal other than SIGCHLD could be the keeper's.
CLONE_PARENT = 0x00008000
O_CREAT, O_TRUNC, O_ACCMODE, O_TMPFILE = 0o100, 0o1000, 0o3, 0o20000000
AF_UNIX, SOCK_STREAM, SOCK_TYPE_MASK = 1, 1, 0xF
MAP_SHARED = 1  # and MAP_SHARED_VALIDATE, which is 3; MAP_PRIVATE is 2

BINARY_TREE = 2  # seccomp_attr_set(3)

STARTS = ("clone", "fork", "vfork")
MAKES = ("creat", "mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat", "link", "linkat")
PAIRS = ("socketpair",)  # Counted as files: their buffers are memory.
OPENS = (("open", 1), ("openat", 2))  # and where its flags are
MAPS = ("mmap",)


def filters(counting, machine=None):
    """What the zygote needs: {"allowed", "counted": BPF programs, "own_pid_at": where in `allowed` the run's
    pid belongs, "starts", "makes", "maps": the numbers of the counted calls}.

    Without `counting`, for kernels that can't, there is no filter `counted`: runs can't start processes or
    threads, nor make files, nor share memory. `machine` is for tests: another architecture than this one's, by
    libseccomp's name.
    """
    allowed = _export(_allowed(counting), machine)
    return {
        "allowed": allowed,
        "own_pid_at": [m.start() for m in re.finditer(re.escape(struct.pack("=I", OWN_PID)), allowed)],
        "counted": _export(_counted(), machine) if counting else b"",
        "starts": _numbers(STARTS, machine),
        "makes": _numbers(MAKES + PAIRS + tuple(name for name, _ in OPENS), machine),
        "maps": _numbers(MAPS, machine),
    }


def _allowed(counting):
    """The rules of the filter `allowed`: (default action, [(action, call, comparisons...)])."""
    rules = [(ALLOW, name) for name in ALWAYS]
    rules += [(KILL_PROCESS, name) for name in DEADLY]
    rules += [(ERRNO(number), name) for number, names in ABSENT.items() for name in names]
    rules += [(ALLOW, "fcntl", Arg(1, EQ, command)) for command in FCNTL_COMMANDS]
    rules += [(ALLOW, "ioctl", Arg(1, EQ, command)) for command in IOCTL_COMMANDS]
    rules += [(ALLOW, "prctl", Arg(0, EQ, option)) for option in PRCTL_OPTIONS]
    # Signals: to itself, or to the group it leads.
    rules += [(ALLOW, "kill", Arg(0, EQ, pid)) for pid in (0, OWN_PID)]
    rules += [(ALLOW, "tgkill", Arg(0, EQ, OWN_PID))]
    # Only itself: the keeper has the same user, and so its limits and CPUs could be changed.
    rules += [(ALLOW, name, Arg(0, EQ, 0)) for name in ("prlimit64", "sched_getaffinity", "sched_getscheduler", "sched_getparam")]
    rules += [(ALLOW, "setrlimit")]
    # A pair of connected streams can't reach anybody else; asyncio lives on one. sendto with an address could,
    # sendmsg could park descriptors by the thousand, and setsockopt make buffers huge.
    rules += [(ALLOW, name, Arg(0, EQ, AF_UNIX), Arg(1, MASKED_EQ, SOCK_TYPE_MASK, SOCK_STREAM)) for name in PAIRS]
    rules += [(ALLOW, "sendto", Arg(4, EQ, 0))]
    # Without a mode. With FALLOC_FL_KEEP_SIZE some file systems forget the limit on a file's size.
    rules += [(ALLOW, "fallocate", Arg(1, EQ, 0))]
    # Files. A truncating open for reading asks Landlock for nothing before ABI 3.
    plain = O_TRUNC | O_TMPFILE | O_CREAT
    for name, at in OPENS:
        rules += [(ALLOW, name, Arg(at, MASKED_EQ, plain, 0))]
        for mode in (1, 2):
            rules += [(ALLOW, name, Arg(at, MASKED_EQ, plain | O_ACCMODE, O_TRUNC | mode))]
            if counting:
                rules += [(ALLOW, name, Arg(at, MASKED_EQ, plain | O_ACCMODE, O_TRUNC | O_CREAT | mode))]
        if counting:
            rules += [(ALLOW, name, Arg(at, MASKED_EQ, plain, O_CREAT))]
        rules += [(ERRNO(errno.EOPNOTSUPP), name, Arg(at, MASKED_EQ, O_TMPFILE, O_TMPFILE))]
    if counting:
        rules += [(ALLOW, name) for name in ("fork", "vfork", "creat", "mknod", "mknodat", *MAPS)]
        forbidden = CLONE_NAMESPACES | CLONE_TRACED | CLONE_PARENT
        rules += [(ALLOW, "clone", Arg(0, MASKED_EQ, forbidden, 0))]
    else:
        rules = [rule for rule in rules if rule[1] not in MAKES]
        rules += [(ERRNO(errno.EAGAIN), name) for name in STARTS]
        rules += [(ERRNO(errno.EDQUOT), name) for name in MAKES]
        rules += [(ERRNO(errno.EDQUOT), name, Arg(at, MASKED_EQ, O_CREAT, O_CREAT)) for name, at in OPENS]
        rules += [(ALLOW, name, Arg(3, MASKED_EQ, MAP_SHARED, 0)) for name in MAPS]
        rules += [(ERRNO(errno.ENOMEM), name, Arg(3, MASKED_EQ, MAP_SHARED, MAP_SHARED)) for name in MAPS]
    return ERRNO(errno.EPERM), rules


def _counted():
    rules = [(NOTIFY, name) for name in STARTS + MAKES + PAIRS]
    rules += [(NOTIFY, name, Arg(at, MASKED_EQ, O_CREAT, O_CREAT)) for name, at in OPENS]
    rules += [(NOTIFY, name, Arg(3, MASKED_EQ, MAP_SHARED, MAP_SHARED)) for name in MAPS]
    return ALLOW, rules


def _export(policy, machine):
    default, rules = policy
    made = seccomp.SyscallFilter(default)
    made.set_attr(seccomp.Attr.ACT_BADARCH, KILL_PROCESS)
    # When the filter is loaded, the kernel walks it once for each call there is, to know what is always allowed.
    # In a tree these walks are short, in a list they are a twentieth of what a run costs.
    made.set_attr(seccomp.Attr.CTL_OPTIMIZE, BINARY_TREE)
    if machine not in (None, platform.machine()):
        made.add_arch(seccomp.Arch(machine))
        made.remove_arch(seccomp.Arch())
    for action, name, *comparisons in rules:
        if seccomp.resolve_syscall(seccomp.Arch(), name) == -1:
            continue  # Newer than this libseccomp. So it is refused anyway, by the default.
        made.add_rule(action, name, *comparisons)
    with tempfile.TemporaryFile() as file:
        made.export_bpf(file)
        file.seek(0)
        return file.read()


def _numbers(names, machine):
    arch = seccomp.Arch(machine) if machine else seccomp.Arch()
    numbers = (seccomp.resolve_syscall(arch, name) for name in names)
    return [number for number in numbers if number >= 0]
