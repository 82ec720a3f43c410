# SPDX-License-Identifier: MIT
"""The runner: what a run gives back, each of its limits, and that nothing is left behind."""

import dataclasses
import gc
import os
import pathlib
import subprocess
import tempfile
import textwrap
import threading
import time

import pytest

from playground import selfcheck
from playground.runner import Limits, Result, Runner

SHORT = Limits(wall_seconds=1.0)


@pytest.fixture(autouse=True)
def nothing_left(folder, monkeypatch):
    """After every test: no work folder is left, and no process that a run started."""
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield
    gc.collect()  # The zygote of a Runner that nobody closed ends with it.
    assert list(folder.iterdir()) == []
    processes = pathlib.Path("/proc").glob("[0-9]*")
    assert [process.name for process in processes if _works_in(process, str(folder))] == []


def _works_in(process, folder):
    try:
        return os.readlink(process / "cwd").startswith(folder)
    except OSError:
        return False


def run(code, without=(), **limits):
    with Runner(dataclasses.replace(SHORT, **limits), runs=1, without=without) as runner:
        return runner.run(textwrap.dedent(code))


def test_output_is_returned():
    assert run("print(1+1)") == Result("2\n", "", 0, False)


def test_streams_are_kept_apart():
    result = run("import sys\nprint('out')\nprint('err', file=sys.stderr)")
    assert (result.stdout, result.stderr) == ("out\n", "err\n")


def test_text_beyond_ascii_goes_both_ways():
    assert run("print('Grüße, 世界 🐍')").stdout == "Grüße, 世界 🐍\n"


def test_output_that_is_not_utf8_is_replaced():
    assert run(r"import os; os.write(1, b'a\xffb')").stdout == "a\ufffdb"


@pytest.mark.parametrize(
    "code, exit_code, stderr",
    [
        ("1/0", 1, 'File "main.py", line 1'),
        ("1/0", 1, "ZeroDivisionError: division by zero"),
        ("print(", 1, "SyntaxError"),
        ("import sys; sys.exit(3)", 3, ""),
        ("raise SystemExit('words')", 1, "words\n"),
        ("print(1)\0\nprint(2)", 1, "SyntaxError"),
        ("input()", 1, "EOFError"),
        ("import os; os.kill(os.getpid(), 15)", -15, ""),
        ("import ctypes; ctypes.string_at(0)", -11, ""),
    ],
)
def test_a_users_own_error_is_a_result(code, exit_code, stderr):
    result = run(code)
    assert (result.exit_code, result.timed_out) == (exit_code, False)
    assert stderr in result.stderr


def test_empty_code_runs():
    assert run("") == Result("", "", 0, False)


def test_wall_time_ends_a_run_and_keeps_its_output():
    start = time.monotonic()
    result = run("import time\nprint('before')\ntime.sleep(60)", wall_seconds=0.3)
    assert result == Result("before\n", "", -9, True)
    assert time.monotonic() - start < 2


def test_signals_can_be_ignored_but_the_end_cannot():
    code = """
        import signal, time
        for number in (1, 2, 15): signal.signal(number, signal.SIG_IGN)
        print('x')
        while True: time.sleep(1)
    """
    assert run(code, wall_seconds=0.3) == Result("x\n", "", -9, True)


def test_cpu_time_ends_a_run():
    result = run("while True: pass", wall_seconds=10.0, cpu_seconds=1)
    assert (result.exit_code, result.timed_out) == (-24, True)


def test_closed_output_does_not_end_the_wait():
    result = run("import os, time\nos.close(1)\nos.close(2)\ntime.sleep(0.2)\nos._exit(5)")
    assert (result.exit_code, result.timed_out) == (5, False)


def test_memory_is_limited():
    result = run("x = bytearray(1 << 30)")
    assert result.exit_code == 1
    assert "MemoryError" in result.stderr
    assert run("x = bytearray(100 << 20); print(len(x))").stdout == "104857600\n"


def test_memory_of_all_processes_is_limited():
    code = """
        import os, time
        for _ in range(2): os.fork()
        x = bytearray(60 << 20)  # less than each may have alone
        time.sleep(9)
    """
    start = time.monotonic()
    assert run(code, wall_seconds=5, memory_bytes=100 << 20) == Result("", "", -9, False)
    assert time.monotonic() - start < 3


def test_memory_that_was_shared_is_limited_though_most_of_it_is_mapped_no_more():
    code = """
        import ctypes
        libc = ctypes.CDLL(None)
        libc.mmap.restype = ctypes.c_void_p
        libc.munmap.argtypes = ctypes.c_void_p, ctypes.c_size_t
        size, all = 16 << 20, 0
        while all < 1 << 30:
            at = libc.mmap(None, ctypes.c_size_t(size), 3, 0x21, -1, ctypes.c_long(0))
            if at in (None, ctypes.c_void_p(-1).value): break
            libc.munmap(at + 4096, size - 4096)  # The first page keeps them all.
            all += size
        print(all >> 20)
    """
    assert run(code, memory_bytes=100 << 20).stdout == "96\n"


def test_some_memory_can_be_shared():
    code = """
        import mmap, os
        shared = mmap.mmap(-1, 13)
        if os.fork() == 0:
            shared.write(b'Hello world!')
            os._exit(0)
        os.wait()
        print(shared[:12])
    """
    assert run(code).stdout == "b'Hello world!'\n"


def test_big_programs_may_start_small_ones():
    code = """
        import subprocess
        x = bytearray(60 << 20)
        for n in range(8): print(subprocess.check_output(['echo', str(n)]).decode(), end='')
    """
    assert run(code, wall_seconds=5, memory_bytes=100 << 20).stdout == "".join(f"{n}\n" for n in range(8))


def test_file_size_is_limited():
    result = run("f = open('x', 'wb', buffering=0)\nprint(f.write(b'x' * (2 << 20)))\nf.write(b'y')")
    assert result.stdout == "1048576\n"
    assert "File too large" in result.stderr


def test_open_files_are_limited():
    assert "Too many open files" in run("files = [open('/dev/null') for _ in range(100)]").stderr


def test_processes_are_limited():
    code = """
        import os, time
        for n in range(500):
            print(n)
            if os.fork() == 0:
                time.sleep(9)
                os._exit(0)
    """
    result = run(code, processes=8)
    assert "BlockingIOError" in result.stderr
    assert result.stdout.split()[-1] == "8"


def test_new_files_are_limited():
    code = """
        import os
        made = 0
        for action in (lambda n: open(n, 'w'), os.mkdir, os.mkfifo, lambda n: os.symlink('x', n)) * 9:
            try: action(str(made))
            except OSError as problem: print(made, problem.strerror); break
            made += 1
        for n in range(200):
            try: open(f'more{n}', 'w'); print('made')
            except OSError: pass
        print(open('0').read(), 'still reads')
    """
    result = run(code, files=8)
    assert (result.stdout, result.stderr) == ("8 Disk quota exceeded\n still reads\n", "")


def test_some_processes_and_threads_are_allowed():
    code = """
        import subprocess, threading
        threads = [threading.Thread(target=print, args=('t',)) for _ in range(4)]
        for t in threads: t.start()
        for t in threads: t.join()
        print(subprocess.check_output(['echo', 'hi']))
    """
    assert run(code, wall_seconds=3).stdout.endswith("b'hi\\n'\n")


def test_limits_cannot_be_raised():
    code = """
        from resource import *
        for kind in (RLIMIT_CPU, RLIMIT_AS, RLIMIT_FSIZE, RLIMIT_NPROC):
            try:
                setrlimit(kind, (RLIM_INFINITY, RLIM_INFINITY))
                print('raised')
            except ValueError:
                print('no')
    """
    assert run(code).stdout == "no\n" * 4


def test_output_at_the_limit_is_whole():
    assert run("print('x' * 1023)", output_bytes=1024).stdout == "x" * 1023 + "\n"


def test_output_over_the_limit_is_cut_with_a_note():
    result = run("import sys\nprint('x' * 5000)\nprint('y' * 10, file=sys.stderr)", output_bytes=1024)
    assert result.stdout == "x" * 1024 + "\n[output cut here: the limit is 1024 bytes]\n"
    assert (result.stderr, result.exit_code) == ("y" * 10 + "\n", 0)


def test_a_cut_does_not_break_a_character():
    assert run("print('é' * 5000)", output_bytes=1023).stdout.startswith("é" * 511 + "\n[output cut")


def test_endless_output_ends_in_time():
    result = run("while True: print('x' * 9999)", wall_seconds=0.5, output_bytes=100)
    assert result.timed_out
    assert len(result.stdout) < 200


def test_no_environment_and_no_descriptors_are_inherited(monkeypatch):
    monkeypatch.setenv("SECRET", "told")
    with open("/dev/null", "rb") as file:
        os.set_inheritable(file.fileno(), True)
        code = """
            import os
            print(sorted(os.environ))
            for n in range(64):
                try: os.fstat(n); print(n)
                except OSError: pass
        """
        assert run(code).stdout == "['HOME', 'LANG', 'PATH', 'TMPDIR']\n0\n1\n2\n"


def test_sites_packages_are_not_importable():
    assert "No module named 'flask'" in run("import flask").stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only a service started as root drops its rights")
def test_a_run_of_roots_service_is_nobodys():
    code = "import os\nprint(os.getresuid(), os.getresgid(), os.getgroups())"
    assert run(code).stdout == "(65534, 65534, 65534) (65534, 65534, 65534) []\n"


def test_no_new_privileges():
    assert run("import ctypes; print(ctypes.CDLL(None).prctl(39, 0, 0, 0, 0))").stdout == "1\n"


def test_the_work_folder_is_the_runs_own_and_fresh():
    code = "import os; print(os.listdir(), oct(os.stat('.').st_mode & 0o777)); open('note', 'w').write('x')"
    runner = Runner(SHORT, runs=1)
    assert runner.run(code).stdout == runner.run(code).stdout == "['main.py'] 0o700\n"


@pytest.mark.parametrize("without", [[], ["landlock"]])
def test_no_run_can_list_the_work_folders_of_others(without):
    code = """
        import os
        for action in (os.listdir, lambda path: os.chmod(path, 0o700), lambda path: os.open(path, os.O_RDONLY)):
            try: print(action('..'))
            except OSError as problem: print(type(problem).__name__)
        try: os.fchmod(os.open('..', os.O_PATH), 0o700)
        except OSError as problem: print(problem.strerror)
    """
    assert run(code, without=without).stdout == "PermissionError\n" * 3 + "Bad file descriptor\n"


@pytest.mark.parametrize(
    "code",
    [
        "import os\nos.umask(0)\nos.mkdir('a')\nopen('a/c', 'w')\nos.mkdir('b', 0)\nos.mkdir('a/d', 0o100)",
        "import os\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')",
        "import os\nos.symlink('/etc', 'link')\nos.mkfifo('pipe')\nopen(b'\\xff\\n', 'w')",
        "import os\nos.remove('main.py')\nos.mkdir('main.py')\nos.mkdir('main.py/x')",
        "import os\nos.rmdir('../' + os.path.basename(os.getcwd()))",
    ],
    ids=["no permissions", "very deep", "odd kinds", "swapped", "away"],
)
def test_a_work_folder_can_always_be_removed(code):
    if "rmdir" in code:
        run(code)
    else:
        assert run(code, files=4000).stderr == ""  # The fixture looks that nothing is left.
    assert os.path.isdir("/etc")


DAEMON = """
import os, time
def away():
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            os.setsid()
            return True
        os._exit(0)
"""


@pytest.mark.parametrize(
    "code",
    [
        "import os, time\nif os.fork() == 0: time.sleep(99)",
        "import subprocess\nsubprocess.Popen(['sleep', '99'])",
        "import subprocess\nsubprocess.Popen(['sleep', '99'], start_new_session=True)",
        DAEMON + "if away(): time.sleep(99)",
        DAEMON + "if away():\n  for fd in (0, 1, 2): os.close(fd)\n  time.sleep(99)",
        DAEMON + "for _ in range(3):\n  if away():\n    away()\n    time.sleep(99)",
        DAEMON + "if away():\n  while True:\n    if os.fork(): os._exit(0)\n    os.setsid()",
    ],
    ids=["fork", "child", "session", "daemon", "silent daemon", "daemons of daemons", "runaway"],
)
def test_no_process_survives(code):
    start = time.monotonic()
    assert run(code).exit_code == 0  # The fixture looks that no process is left.
    assert time.monotonic() - start < 3


def test_no_process_survives_a_timeout():
    result = run(DAEMON + "if away(): time.sleep(99)\nprint('left')\ntime.sleep(99)", wall_seconds=0.4)
    assert result.timed_out


def test_children_of_the_service_itself_are_left_alone():
    own = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        run(DAEMON + "if away(): time.sleep(99)")
        assert own.poll() is None
    finally:
        own.kill()
        own.wait()


def test_concurrent_runs_are_independent():
    runner = Runner(Limits())
    results = {}

    def client(number):
        results[number] = runner.run(f"print({number} * 7)").stdout

    threads = [threading.Thread(target=client, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: f"{n * 7}\n" for n in range(24)}


def test_no_descriptor_leaks():
    runner = Runner(SHORT)
    runner.run("")
    before = os.listdir("/proc/self/fd")
    for _ in range(5):
        runner.run("print(1)")
    assert os.listdir("/proc/self/fd") == before


def test_no_process_is_left_by_a_runner():
    runner = Runner(SHORT, runs=3)
    runner.run("")
    zygote = runner._zygote._process.pid
    runner.close()
    assert not os.path.exists(f"/proc/{zygote}")


def test_a_fresh_zygote_takes_over():
    with Runner(SHORT, runs=2, zygote_runs=5) as runner:
        first = runner._zygote._process.pid
        deadline = time.monotonic() + 20
        while runner.zygotes_started < 3 and time.monotonic() < deadline:
            assert runner.run("print(4)").stdout == "4\n"
        assert runner.zygotes_started >= 3
        assert runner._zygote._process.pid != first
        while os.path.exists(f"/proc/{first}") and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not os.path.exists(f"/proc/{first}")


def test_a_run_whose_zygote_has_just_retired_gets_the_fresh_one(monkeypatch):
    with Runner(SHORT, runs=2) as runner:
        old = runner._zygote
        runner._install(runner._new_zygote())
        old.close()
        chosen = [runner._zygote, old]  # The first is chosen last.
        monkeypatch.setattr(runner, "_current", chosen.pop)
        assert runner.run("print(5)").stdout == "5\n"


def test_a_dead_zygote_is_replaced():
    with Runner(SHORT, runs=2) as runner:
        keepers = _children_of(runner._zygote._process.pid)
        for pid in (runner._zygote._process.pid, *keepers):
            os.kill(pid, 9)
        runner._zygote._process.wait()
        assert runner.run("print(4)").stdout == "4\n"
        assert runner.zygotes_started == 2


def test_a_dead_keeper_is_replaced_and_its_run_repeated():
    with Runner(Limits(), runs=1) as runner:
        zygote = runner._zygote._process.pid
        (keeper,) = _wait_for(lambda: _children_of(zygote))
        results = []
        code = "import time, os\nif os.fork(): time.sleep(1)\nelse:\n os.setsid(); time.sleep(99)\nprint('end')"
        thread = threading.Thread(target=lambda: results.append(runner.run(code)))
        thread.start()
        (run,) = _wait_for(lambda: _children_of(keeper))
        _wait_for(lambda: _children_of(run))
        os.kill(keeper, 9)
        thread.join()
        assert results == [Result("end\n", "", 0, False)]
        assert runner.zygotes_started == 1  # The fixture looks that the stray child is gone.


def _children_of(pid):
    return [int(child) for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _wait_for(look):
    deadline = time.monotonic() + 5
    while not (found := look()):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return found


def test_the_check_notices_that_runs_do_not_work(monkeypatch):
    with Runner(SHORT) as runner:
        runner.check()
    monkeypatch.setattr("playground.runner.ZYGOTE", "/nowhere/zygote.py")
    with pytest.raises(OSError, match="/nowhere/zygote.py, did not start"):
        Runner(SHORT)


@pytest.mark.parametrize("layer", ["landlock", "filter", "notify"])
def test_it_works_without_a_layer_but_says_so_if_that_is_required(layer):
    name = {"filter": "seccomp", "notify": "counting"}.get(layer, layer)
    with Runner(SHORT, without=[layer]) as runner:
        assert name not in runner.layers
        runner.check()
        assert runner.run("print(2)").stdout == "2\n"
    with Runner(SHORT, require=[name], without=[layer]) as runner:
        with pytest.raises(OSError, match=f"required, but not offered by this kernel: {name}"):
            runner.check()


@pytest.mark.parametrize("layer", ["landlock", "seccomp", "counting"])
def test_the_check_notices_that_a_layer_does_not_hold(layer):
    without = {"landlock": ["landlock"], "seccomp": ["filter", "notify"], "counting": ["filter", "notify"]}
    with Runner(SHORT, without=without[layer]) as runner:
        problem = selfcheck.problem(runner.run, {layer: 1}, 16)
        assert problem and problem.startswith(f"a layer does not hold: {layer}: ")


def test_without_counting_nothing_can_be_started_or_made():
    code = """
        import mmap, os, threading
        for action in (os.fork, lambda: open('x', 'w'), lambda: os.mkdir('y'), lambda: mmap.mmap(-1, 9)):
            try: action(); print('made')
            except OSError as problem: print(problem.strerror)
        try: threading.Thread(target=print).start()
        except RuntimeError as problem: print(problem)
    """
    assert run(code, without=["notify"]).stdout == (
        "Resource temporarily unavailable\nDisk quota exceeded\nDisk quota exceeded\nCannot allocate memory\n"
        "can't start new thread\n"
    )


@pytest.mark.parametrize(
    "code, stdout",
    [
        ("import atexit; atexit.register(print, 'bye'); print('hi')", "hi\nbye\n"),
        ("class A:\n  def __del__(self): print('gone')\na = A()\nprint('end')", "end\ngone\n"),
        ("import threading, time\nthreading.Thread(target=lambda: (time.sleep(.1), print('t'))).start()", "t\n"),
        ("import asyncio\nasync def f(): return 7\nprint(asyncio.run(f()))", "7\n"),
        ("print(__name__, __file__)", "__main__ main.py\n"),
        ("import sys; print(sys.argv, [m for m in sys.modules if 'playground' in m])", "['main.py'] []\n"),
        ("import sys; print('threading' in sys.modules)", "False\n"),  # It would make every fork slower.
        ("def f(): return g()\ndef g(): return 3\nprint(f())", "3\n"),
        ("import sys; sys.stdout.write('no newline')", "no newline"),
        ("import random, tempfile, sqlite3, hashlib, decimal, uuid; print(3)", "3\n"),
        ("import pickle\nclass A: pass\nprint(type(pickle.loads(pickle.dumps(A()))).__name__)", "A\n"),
    ],
)
def test_a_program_runs_as_python_runs_a_script(code, stdout):
    assert run(code) == Result(stdout, "", 0, False)


def test_runs_do_not_share_their_chance():
    with Runner(SHORT, runs=1) as runner:
        code = "import random, uuid, os; print(random.random(), uuid.uuid4(), os.urandom(8))"
        assert runner.run(code).stdout != runner.run(code).stdout


def test_a_traceback_shows_only_the_users_frames():
    lines = run("def f():\n    1/0\nf()").stderr.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert [line for line in lines if "File" in line] == [
        '  File "main.py", line 3, in <module>',
        '  File "main.py", line 2, in f',
    ]
    assert "    1/0" in lines
