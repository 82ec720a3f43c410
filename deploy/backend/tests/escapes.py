# SPDX-License-Identifier: MIT
"""The hostile programs of test_escapes.py: what each tries, and what it may see.

A program says HARM if it got what it wanted. `sees` is a pattern for what else it may print, or the exit codes
it may end with. What helps several programs is in PRELUDE, which is put before each.
"""

import dataclasses

PRELUDE = r"""
import ctypes, errno, mmap, os, platform, signal, socket, stat, struct, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
X86 = platform.machine() == "x86_64"
NUMBERS = {  # x86_64, aarch64
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271),
    "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240),
    "pidfd_open": (434, 434), "pidfd_getfd": (438, 438), "pidfd_send_signal": (424, 424),
    "io_uring_setup": (425, 425), "userfaultfd": (323, 282), "keyctl": (250, 219), "add_key": (248, 217),
    "bpf": (321, 280), "perf_event_open": (298, 241), "mount": (165, 40), "umount2": (166, 39),
    "unshare": (272, 97), "setns": (308, 268), "chroot": (161, 51), "pivot_root": (155, 41),
    "open_tree": (428, 428), "fsopen": (430, 430), "clone": (56, 220), "clone3": (435, 435),
    "personality": (135, 92), "memfd_create": (319, 279), "execveat": (322, 281), "seccomp": (317, 277),
    "kcmp": (312, 272), "process_madvise": (440, 440), "vmsplice": (278, 75), "init_module": (175, 105),
    "open_by_handle_at": (304, 265), "name_to_handle_at": (303, 264), "fanotify_init": (300, 262),
    "inotify_init1": (294, 26), "mq_open": (240, 180), "shmget": (29, 194), "semget": (64, 190),
    "msgget": (68, 186), "setuid": (105, 146), "capset": (126, 91), "landlock_restrict_self": (446, 446),
    "sched_setscheduler": (144, 119), "ioprio_set": (251, 30), "prlimit64": (302, 261), "fallocate": (285, 47),
    "quotactl": (179, 60), "syslog": (103, 116), "reboot": (169, 142), "openat2": (437, 437),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "mlock": (149, 228), "timer_create": (222, 107), "sethostname": (170, 161),
}
libc.syscall.restype = ctypes.c_long
def call(name, *arguments):
    "A raw system call: (result, errno)."
    ctypes.set_errno(0)
    number = NUMBERS[name][0 if X86 else 1]
    result = libc.syscall(number, *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
    return result, ctypes.get_errno()
def tried(name, *arguments):
    result, number = call(name, *arguments)
    print("HARM" if result >= 0 else "refused", name, result, errno.errorcode.get(number))
def attempt(what, action, *arguments):
    "Calls; success is harm."
    try:
        got = action(*arguments)
    except (OSError, ValueError, RuntimeError) as problem:
        print("refused", what, type(problem).__name__)
    else:
        print("HARM", what, repr(got)[:80])
def opened(path, flags=os.O_RDONLY):
    descriptor = os.open(path, flags)
    return os.read(descriptor, 99) if not flags & os.O_WRONLY else descriptor
def others():
    "Processes that may be the service's."
    me = os.getpid()
    return [1, os.getppid(), *(pid for pid in range(me - 60, me) if pid > 1 and os.path.exists(f"/proc/{pid}"))]
"""


@dataclasses.dataclass(frozen=True)
class Escape:
    name: str
    code: str
    sees: str = r"(refused [^\n]*\n)+"  # all of stdout
    exit_codes: tuple = (0,)
    stderr: str = r""
    timed_out: bool = False
    # Given: a program that runs meanwhile and must get on undisturbed, and what it prints.
    victim: str = ""
    victim_prints: str = ""


SIGSYS = (-31,)
VICTIM = "import time\nopen('mine', 'w').write('mine')\ntime.sleep(1.5)\nprint(open('mine').read())"


def deadly(name, *arguments):
    """A call that ends the run."""
    return Escape(name, f"tried('{name}', {', '.join(map(str, arguments))})", r"", SIGSYS)


def refused(name, *arguments):
    return Escape(name, f"tried('{name}', {', '.join(map(str, arguments))})")


def paths(*names):
    return "for path in " + repr(names) + ": attempt(path, opened, path)"


ESCAPES = [
    # Files.
    Escape("files outside", paths("/etc/passwd", "/etc/shadow", "/etc/hostname", "/root/.bashrc", "/var/log/dpkg.log")),
    Escape("listing folders", "for p in ('/', '/tmp', '/home', '/etc', '/proc', '/sys', '..'): attempt(p, os.listdir, p)"),
    Escape("the service's own code", "attempt('code', opened, sys.exc_info.__doc__ and '/opt/playground/playground/app.py')\nattempt('cgroup', opened, '/sys/fs/cgroup/cgroup.procs')"),
    Escape("writing outside", "for p in ('/x', '/tmp/x', '/dev/shm/x', '/var/tmp/x', '/usr/lib/x', '../x', '/run/x'): attempt(p, opened, p, os.O_WRONLY | os.O_CREAT)"),
    Escape("writing programs and libraries", "for p in (sys.executable, os.__file__, '/usr/bin/env'): attempt(p, opened, p, os.O_WRONLY)"),
    Escape("truncating by reading", "attempt('trunc', opened, os.__file__, os.O_RDONLY | os.O_TRUNC)\nattempt('truncate', os.truncate, '/tmp', 0)"),
    Escape("symlinks", "for n, p in enumerate(('/etc/passwd', '/proc/self/environ', '/tmp')):\n  os.symlink(p, str(n))\n  attempt(p, opened, str(n))\nos.symlink('/tmp', 'd')\nattempt('through', opened, 'd/x', os.O_WRONLY | os.O_CREAT)"),
    Escape("hard links", "for p in ('/usr/bin/env', '/etc/passwd', os.__file__): attempt(p, os.link, p, 'link')"),
    Escape("leaving by dot-dot and a descriptor", "d = os.open('..', os.O_PATH)\nattempt('list', os.listdir, d)\nattempt('make', lambda: os.mkdir('x', dir_fd=d))\nos.fchdir(d)\nattempt('read', opened, '/etc/passwd')"),
    Escape("renaming outside", "open('f', 'w')\nfor p in ('/tmp/f', '../f', '/dev/shm/f'): attempt(p, os.rename, 'f', p)\nattempt('own folder', os.rename, os.getcwd(), os.getcwd() + 'x')"),
    Escape("modes and owners", "attempt('parent', os.chmod, '..', 0)\nattempt('own', os.chmod, '.', 0o777)\nattempt('owner', os.chown, 'main.py', 0, 0)\nattempt('time', os.utime, '..')\nattempt('attribute', os.setxattr, '.', 'user.x', b'1')"),
    Escape("removing the parent's things", "attempt('rmdir', os.rmdir, '..')\nattempt('own', os.rmdir, os.getcwd())\nattempt('unlink', os.unlink, '/tmp')"),
    Escape("set-user-ID files", "for mode in (0o4755, 0o2755):\n  d = os.open(f's{mode}', os.O_CREAT | os.O_WRONLY, mode)\n  os.fchmod(d, mode)\n  os.write(d, b'#!/bin/sh\\necho HARM')\n  os.close(d)\n  attempt(mode, os.execv, f's{mode}', ['x'])"),
    Escape("executing what it wrote", "open('p', 'wb').write(open('/usr/bin/env', 'rb').read(60000))\nos.fchmod(os.open('p', os.O_RDONLY), 0o755)\nattempt('exec', os.execv, './p', ['p'])"),
    Escape("device nodes", "attempt('disk', os.mknod, 'sda', stat.S_IFBLK | 0o666, os.makedev(8, 0))\nattempt('mem', os.mknod, 'mem', stat.S_IFCHR | 0o666, os.makedev(1, 1))"),
    Escape("/dev", paths("/dev/mem", "/dev/kmsg", "/dev/sda", "/dev/vda", "/dev/fuse", "/dev/tty", "/dev/ptmx", "/dev/shm", "/dev/kvm")),
    Escape("handles", "buffer = ctypes.create_string_buffer(struct.pack('IiQQ', 128, 0, 0, 0), 200)\ntried('name_to_handle_at', -100, b'..', buffer, buffer, 0)"),
    deadly("open_by_handle_at", -100, "b''", 0),
    deadly("fanotify_init", 0, 0),
    refused("inotify_init1", 0),
    # /proc.
    Escape("/proc of others", "for p in others():\n  for n in ('fd/0', 'fd/1', 'fd/2', 'fd/5', 'mem', 'environ', 'maps', 'cmdline', 'status', 'root', 'cwd', 'fd', 'stack', 'limits'): attempt((p, n), opened, f'/proc/{p}/{n}')"),
    Escape("/proc of itself", "for n in ('mem', 'environ', 'maps', 'status', 'cmdline', 'root/etc/passwd', 'task', 'oom_score_adj', 'uid_map'): attempt(n, opened, '/proc/self/' + n)"),
    Escape("writing to /proc", "for p in ('self/oom_score_adj', 'self/mem', 'self/uid_map', f'{os.getppid()}/mem', 'sys/kernel/core_pattern', 'sysrq-trigger'): attempt(p, opened, '/proc/' + p, os.O_WRONLY)"),
    Escape("links of /proc", "for p in others():\n  for n in ('exe', 'cwd', 'root', 'fd/3', 'ns/pid'): attempt((p, n), os.readlink, f'/proc/{p}/{n}')"),
    Escape("secrets in environment and arguments", "print(sorted(os.environ), sys.argv, sys.orig_argv)\nlibc.getenv.restype = ctypes.c_char_p\nprint(libc.getenv(b'PLAYGROUND_BIND'), libc.getenv(b'ESCAPES_SECRET'))", r"\['HOME', 'LANG', 'PATH', 'TMPDIR'\] \['main.py'\] \[[^\n]*\]\nNone None\n"),
    Escape("secrets on the heap", "import gc\nmine = [o for o in gc.get_objects() if isinstance(o, dict) and any(isinstance(k, str) and k.startswith(('PLAYGROUND_', 'GUNICORN', 'SERVER_')) for k in o)]\nprint('HARM' if mine else 'nothing', len(mine))", r"nothing 0\n"),
    # Descriptors.
    Escape("inherited descriptors", "def is_open(n):\n  try: os.fstat(n); return True\n  except OSError: return False\nprint([n for n in range(4096) if is_open(n)], stat.S_ISCHR(os.fstat(0).st_mode))", r"\[0, 1, 2\] True\n"),
    Escape("closing all descriptors", "os.closerange(0, 100)\nos._exit(7)", r"", (7,)),
    Escape("reading its outputs", "attempt('out', os.read, 1, 9)\nattempt('err', os.read, 2, 9)"),
    # The network.
    Escape("sockets of all kinds", "for family in range(46):\n  for kind in (1, 2, 3, 5, 10):\n    attempt((family, kind), socket.socket, family, kind)"),
    Escape("the metadata service and the service itself", "for address in (('169.254.169.254', 80), ('127.0.0.1', 8000), ('10.0.0.1', 443)): attempt(address, socket.create_connection, address, 1)"),
    Escape("names", "attempt('resolve', socket.getaddrinfo, 'example.org', 80)"),
    Escape("abstract and named sockets", "for address in ('\\0x', '/tmp/x', 'x'):\n  attempt(address, lambda: socket.socket(socket.AF_UNIX).connect(address))\n  attempt(address, lambda: socket.socket(socket.AF_UNIX).bind(address))"),
    Escape("datagrams from a pair", "attempt('pair', lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))\na, b = socket.socketpair()\nattempt('sendto', a.sendto, b'x', '\\0x')\nattempt('bind', b.bind, '\\0y')\nattempt('connect', a.connect, '\\0y')"),
    Escape("parking descriptors in flight", "a, b = socket.socketpair()\nattempt('descriptors', socket.send_fds, a, [b'x'], [0, 1])"),
    # Processes and threads.
    Escape("fork bomb", "while True:\n  try: os.fork()\n  except OSError: pass", r"", (-9, -24), timed_out=True, victim=VICTIM, victim_prints="mine\n"),
    Escape("fork bomb of vforks and shells", "import subprocess\nwhile True:\n  try: subprocess.Popen(['/bin/sh', '-c', 'while :; do /bin/sh -c \"sleep 9\" & done'], stderr=subprocess.DEVNULL)\n  except OSError: time.sleep(0.01)", r"", (-9, -24), timed_out=True, victim=VICTIM, victim_prints="mine\n"),
    Escape("thread bomb", "threading.stack_size(32768)\nstarted = 0\ntry:\n  while True:\n    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n    started += 1\nexcept RuntimeError: print('refused threads after', started if started > 99 else 'few')", r"refused threads after few\n"),
    Escape("processes that stay", "for n in range(300):\n  try:\n    if os.fork() == 0: time.sleep(60)\n  except OSError: print('refused after', n if n > 64 else 'few'); break", r"refused after few\n"),
    Escape("daemon that outlives its run", "if os.fork() == 0:\n  os.setsid()\n  if os.fork() == 0:\n    os.setsid(); os.closerange(0, 9)\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    while True: time.sleep(1)\n  os._exit(0)\nprint('left')", r"left\n"),
    Escape("running away by forks", "if os.fork() == 0:\n  while True:\n    os.setsid()\n    try:\n      if os.fork(): os._exit(0)\n    except OSError: pass\nprint('left')", r"left\n"),
    Escape("namespaces by clone", "for flag in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000, 0x8000):\n  tried('clone', flag | 17, 0, 0, 0, 0)"),
    refused("clone3", 0, 0),
    deadly("unshare", 0x10000000),
    deadly("setns", 0, 0),
    # Signals.
    Escape("signals to the service", "for p in others():\n  for s in (0, signal.SIGTERM, signal.SIGKILL, signal.SIGSTOP): attempt((p, s), os.kill, p, s)", victim=VICTIM, victim_prints="mine\n"),
    Escape("signals to everybody", "attempt('all', os.kill, -1, signal.SIGKILL)\nfor p in others(): attempt(p, os.killpg, p, signal.SIGKILL)", victim=VICTIM, victim_prints="mine\n"),
    Escape("signals to siblings by number", "me = os.getpid()\nhit = 0\nfor p in list(range(2, me)) + list(range(me + 1, me + 2000)):\n  try: os.kill(p, 9); hit += 1\n  except OSError: pass\nprint('HARM' if hit else 'refused')", r"refused\n", victim=VICTIM, victim_prints="mine\n"),
    Escape("tkill and tgkill", "for p in others():\n  tried('tkill', p, 9)\n  tried('tgkill', p, p, 9)"),
    deadly("rt_sigqueueinfo", 1, 9, 0),
    deadly("rt_tgsigqueueinfo", 1, 1, 9, 0),
    refused("pidfd_open", "os.getppid()", 0),
    deadly("pidfd_send_signal", 0, 9, 0, 0),
    deadly("pidfd_getfd", 0, 0, 0),
    Escape("signals by owners of descriptors", "import fcntl\nr, w = os.pipe()\nfor p in others():\n  attempt(('owner', p), fcntl.fcntl, r, fcntl.F_SETOWN, p)\n  attempt(('ex', p), fcntl.fcntl, r, 15, struct.pack('ii', 1, p))\n  attempt(('ioctl', p), fcntl.ioctl, r, 0x8901, struct.pack('i', p))\nattempt('signal', fcntl.fcntl, r, fcntl.F_SETSIG, 9)"),
    Escape("stopping itself", "os.kill(os.getpid(), signal.SIGSTOP)", r"", (-9,), timed_out=True),
    # Other processes' memory.
    deadly("ptrace", 16, "os.getppid()", 0, 0),
    Escape("ptrace, to be traced", "tried('ptrace', 0, 0, 0, 0)", r"", SIGSYS),
    deadly("process_vm_readv", "os.getppid()", 0, 0, 0, 0, 0),
    deadly("process_vm_writev", "os.getppid()", 0, 0, 0, 0, 0),
    deadly("process_madvise", 0, 0, 0, 0, 0),
    deadly("kcmp", "os.getpid()", "os.getppid()", 0, 0, 0),
    refused("migrate_pages", "os.getppid()", 0, 0, 0),
    refused("move_pages", "os.getppid()", 0, 0, 0, 0, 0),
    # The kernel's corners.
    deadly("io_uring_setup", 8, "bytes(120)"),
    deadly("userfaultfd", 0),
    deadly("userfaultfd", 1),
    deadly("keyctl", 0, -3, 0),
    deadly("add_key", "b'user'", "b'x'", "b'y'", 1, -3),
    deadly("bpf", 0, "bytes(120)", 120),
    deadly("perf_event_open", "bytes(120)", 0, -1, -1, 0),
    deadly("vmsplice", 1, 0, 0, 0),
    deadly("init_module", 0, 0, "b''"),
    deadly("quotactl", 0, 0, 0, 0),
    deadly("reboot", 0, 0, 0, 0),
    refused("syslog", 3, 0, 0),
    refused("personality", 0x0040000),
    refused("memfd_create", "b'x'", 0),
    refused("execveat", -1, "b''", 0, 0, 0x1000),
    refused("openat2", -100, "b'.'", "bytes(24)", 24),
    refused("seccomp", 1, 0, 0),
    refused("landlock_restrict_self", 0, 0),
    refused("mlock", 0, 4096),
    refused("sethostname", "b'x'", 1),
    Escape("another machine's calls", "code = mmap.mmap(-1, 4096, prot=7)\ncode.write(b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3' if X86 else b'\\x00\\x00\\x00\\x00')\naddress = ctypes.addressof(ctypes.c_char.from_buffer(code))\nprint('HARM', ctypes.CFUNCTYPE(ctypes.c_int)(address)())", r"", (-31, -11, -4)),
    Escape("x32 calls", "libc.syscall(ctypes.c_long(0x40000000 | 39))\nprint('refused' if not X86 else 'HARM')", r"(refused\n)?", (-31, 0)),
    # File systems.
    deadly("mount", "b'none'", "b'/tmp'", "b'tmpfs'", 0, 0),
    deadly("umount2", "b'/tmp'", 2),
    deadly("chroot", "b'.'"),
    deadly("pivot_root", "b'.'", "b'.'"),
    deadly("open_tree", -100, "b'/'", 1),
    deadly("fsopen", "b'tmpfs'", 0),
    # Rights.
    Escape("another user", "for action in (os.setuid, os.setgid, os.seteuid): attempt(action.__name__, action, 0)\nattempt('setgroups', os.setgroups, [0])\nattempt('resuid', os.setresuid, 0, 0, 0)"),
    Escape("capabilities", "tried('capset', struct.pack('Ii', 0x20080522, 0), b'\\xff' * 24)"),
    Escape("set-user-ID programs", "import subprocess\nfor p in ('su', 'mount', 'passwd', 'sudo'):\n  try: done = subprocess.run([p, '-h'], capture_output=True)\n  except OSError: continue\nuid = subprocess.run(['id', '-u'], capture_output=True, text=True).stdout\nprint('HARM' if uid.strip() == '0' else 'refused root')"),
    Escape("prctl, undoing", "for o, v in ((38, 0), (4, 1), (22, 0), (36, 1), (1, 0), (0x59616d61, -1), (23, 0), (24, 0), (47, 1), (21, 0), (53, 0)):\n  print('HARM' if libc.prctl(o, v, 0, 0, 0) >= 0 else 'refused', o)"),
    Escape("its own limits", "import resource as r\nfor k in (r.RLIMIT_CPU, r.RLIMIT_AS, r.RLIMIT_FSIZE, r.RLIMIT_NOFILE, r.RLIMIT_CORE): attempt(k, r.setrlimit, k, (r.RLIM_INFINITY, r.RLIM_INFINITY))"),
    Escape("the service's limits", "import resource as r\nfor p in others(): attempt(p, r.prlimit, p, r.RLIMIT_NOFILE, (0, 0))"),
    Escape("priorities", "attempt('nice', os.nice, -5)\nattempt('user', os.setpriority, os.PRIO_USER, 0, 19)\nattempt('parent', os.setpriority, os.PRIO_PROCESS, os.getppid(), 19)\nattempt('fifo', os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1))\nattempt('cpus', os.sched_setaffinity, os.getppid(), {0})\ntried('ioprio_set', 3, 0, 0)"),
    # What runs could share.
    Escape("System V memory", "tried('shmget', 1234, 4096, 0o1666)\ntried('semget', 1234, 1, 0o1666)\ntried('msgget', 1234, 0o1666)"),
    Escape("queues", "tried('mq_open', b'x', 0o100, 0o666, 0)"),
    Escape("shared memory files", "from multiprocessing import shared_memory\nattempt('shm', lambda: shared_memory.SharedMemory(create=True, size=9))"),
    Escape("other runs' files", "base = os.path.dirname(os.getcwd())\nattempt('list', os.listdir, base)\nattempt('scan', lambda: list(os.scandir(base)))\nattempt('mode', os.chmod, base, 0)\nattempt('rename', os.rename, base, base + 'x')\nattempt('glob', lambda: 1 / len(__import__('glob').glob('/tmp/*/*')) if __import__('glob').glob('/tmp/*/*') else opened('/etc/passwd'))", victim=VICTIM, victim_prints="mine\n"),
    # Resources.
    Escape("memory", "x = []\nwhile True: x.append(bytearray(1 << 20))", r"", (1, -9), r"MemoryError"),
    Escape("memory in many processes", "for _ in range(3): os.fork()\nx = []\ntry:\n  while True: x.append(bytearray(1 << 20))\nexcept MemoryError: os._exit(3)", r"", (3, -9), r"(?s).*", victim=VICTIM, victim_prints="mine\n"),
    Escape("memory by mapping", "x = []\ntry:\n  while len(x) < 1000: x.append(mmap.mmap(-1, 1 << 24))\nexcept (OSError, MemoryError): n = len(x); x.clear(); print('refused after', n if n > 20 else 'few')", r"refused after few\n"),
    Escape("memory in many processes, some later", "import itertools\nfor n in range(6):\n  if os.fork() == 0:\n    x = bytearray(90 << 20); time.sleep(9)\n  time.sleep(0.1)\ntime.sleep(1); print('HARM')", r"", (-9,), victim=VICTIM, victim_prints="mine\n"),
    Escape("shared memory that is mapped no more", "libc.mmap.restype = ctypes.c_void_p\nlibc.munmap.argtypes = ctypes.c_void_p, ctypes.c_size_t\nn, size = 0, 16 << 20\nwhile n < 100:\n  at = libc.mmap(None, ctypes.c_size_t(size), 3, 0x21, -1, ctypes.c_long(0))\n  if at in (None, ctypes.c_void_p(-1).value): break\n  libc.munmap(at + 4096, size - 4096); n += 1\nprint('HARM' if n > 20 else 'refused')", r"(refused\n)?", (0, -9)),
    Escape("shared memory in small pieces", "n = 0\nkept = []\ntry:\n  while n < 20000: kept.append(mmap.mmap(-1, 4096)); n += 1\nexcept OSError: print('refused after', n if n > 5000 else 'few')", r"(refused after few\n)?", (0, -9)),
    Escape("buffers of sockets", "kept = []\ntry:\n  while True:\n    kept += socket.socketpair()\n    attempt('size', kept[-1].setsockopt, socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 24)\nexcept OSError: print('HARM' if len(kept) > 40 else 'refused more')"),
    Escape("CPU", "while True: pass", r"", (-24, -9), timed_out=True),
    Escape("CPU, ignoring the signal", "signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass", r"", (-9,), timed_out=True),
    Escape("time", "for s in (1, 2, 3, 15, 24): signal.signal(s, signal.SIG_IGN)\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64))\nwhile True: time.sleep(60)", r"", (-9,), timed_out=True),
    Escape("a calculation that nothing interrupts", "print(len(str(9 ** 9 ** 9)))", r"", (-9, -24, 1), r"(?s).*", timed_out=True),
    Escape("disk, one file", "f = open('big', 'wb', buffering=0)\nsignal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nn = 0\ntry:\n  while n < 1 << 30: n += f.write(bytes(1 << 16))\nexcept OSError: print('refused after', n if n > 64 << 20 else 'few')\nattempt('allocate', os.posix_fallocate, f.fileno(), 0, 1 << 30)\nattempt('grow', os.ftruncate, f.fileno(), 1 << 30)", r"refused after few\n(refused [^\n]*\n)+"),
    Escape("disk, room beyond a file's end", "f = os.open('big', os.O_CREAT | os.O_RDWR)\ntried('fallocate', f, 1, 0, 1 << 28)\nprint('HARM' if os.fstat(f).st_blocks > 99 else 'refused room')"),
    Escape("disk, many files", "n = 0\ntry:\n  while n < 5000:\n    open(str(n), 'wb').write(bytes(1 << 16)); n += 1\nexcept OSError: print('refused after', n if n > 500 else 'few')", r"refused after few\n"),
    Escape("disk, unlinked files", "n = 0\nkept = []\ntry:\n  while n < 5000:\n    f = open('x', 'wb'); kept.append(os.dup(f.fileno())); f.write(bytes(1 << 16)); os.unlink('x'); n += 1\nexcept OSError: print('refused after', n if n > 500 else 'few')\nattempt('unnamed', opened, '.', os.O_TMPFILE | os.O_WRONLY)", r"refused after few\n(refused [^\n]*\n)+"),
    Escape("deep folders", "n = 0\ntry:\n  while n < 5000: os.mkdir('d'); os.chdir('d'); n += 1\nexcept OSError: print('refused after', n if n > 500 else 'few')", r"refused after few\n"),
    Escape("links and pipes without end", "n = 0\ntry:\n  while n < 5000: os.symlink('x', str(n)); n += 1; os.mkfifo(str(n) + 'p')\nexcept OSError: print('refused after', n if n > 500 else 'few')", r"refused after few\n"),
    Escape("open files", "x = []\ntry:\n  while len(x) < 5000: x.append(os.open('main.py', 0))\nexcept OSError: print('refused after', len(x) if len(x) > 500 else 'few')", r"refused after few\n"),
    Escape("timers, which the kernel counts by user", "identity = ctypes.c_int()\nfor _ in range(9): tried('timer_create', 1, 0, ctypes.byref(identity))"),
    Escape("pipes that eat memory", "import fcntl\nr, w = os.pipe()\nattempt('size', fcntl.fcntl, w, 1031, 1 << 20)"),
    Escape("output flood", "while True: os.write(1, b'x' * 65536)", r"x{1,1100000}\n\[output cut here[^\n]*\n", (-9, -24), timed_out=True, victim=VICTIM, victim_prints="mine\n"),
    Escape("output flood on both streams by all", "for _ in range(4): os.fork()\nwhile True: os.write(1, b'x' * 9999); os.write(2, b'y' * 9999)", r"x{1,1100000}\n\[output cut here[^\n]*\n", (-9, -24), r"y{1,1100000}\n\[output cut here[^\n]*\n", timed_out=True),
    Escape("core dump", "os.abort()", r"", (-6,)),
    Escape("crash", "ctypes.string_at(0)", r"", (-11,)),
    Escape("huge exception", "raise Exception('x' * 100_000_000)", r"", (1,), r"(?s)Traceback.*\[output cut here[^\n]*\n|(?s:.*)MemoryError.*|"),
    Escape("recursion", "def f(): f()\nf()", r"", (1,), r"(?s).*RecursionError: maximum recursion depth exceeded\n"),
    Escape("recursion without a limit", "sys.setrecursionlimit(1 << 30)\ndef f(x): return f([x])\nimport functools\nf = functools.lru_cache(None)(lambda x: f(x + 1))\nf(0)", r"", (-11, 1, -9, -24), r"(?s).*"),
    Escape("deep syntax", "eval('(' * 100000)", r"", (1, -11), r"(?s).*"),
    # The way back.
    Escape("corrupting the zygote's modules", "import gc\nfor m in list(sys.modules.values()):\n  for n in list(vars(m)):\n    try: setattr(m, n, None)\n    except Exception: pass", r"", (0, 1, 70, 120, -6, -11), r"(?s).*"),
    Escape("climbing to the jail's frames", "f = sys._getframe()\nseen = []\nwhile f:\n  seen += [k for k in f.f_globals if 'secret' in k.lower() or 'token' in k.lower() and k.islower() and 'control' in k]\n  f = f.f_back\nprint('HARM' if seen else 'nothing')", r"nothing\n"),
    Escape("raising into the keeper's code", "class E(BaseException):\n  def __str__(self): raise E\nsys.excepthook = None\nraise E", r"", (1, 70), r"(?s).*"),
    Escape("exit hooks without end", "import atexit\natexit.register(lambda: time.sleep(99))\nprint('x')", r"x\n", (-9,), timed_out=True),
    Escape("threads that do not end", "threading.Thread(target=time.sleep, args=(99,)).start()\nprint('x')", r"x\n", (-9,), timed_out=True),
    Escape("answering for the keeper", "for n in range(3, 64):\n  attempt(n, os.write, n, bytes(8))"),
]
