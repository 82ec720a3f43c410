# SPDX-License-Identifier: MIT
"""deploy/rehearse/run as a whole: the short play, and that nothing is left behind, however it ends."""
import os
import pathlib
import re
import signal
import subprocess
import tempfile
import time

import pytest

RUN = pathlib.Path(__file__).resolve().parents[1] / "run"


def start(folder, *options, **environment):
    return subprocess.Popen(
        [RUN, "--quick", "--out", folder / "out", *options],
        env={**os.environ, "TMPDIR": str(folder / "tmp"), **environment},
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        start_new_session=True,
    )  # fmt: skip


@pytest.fixture
def folder():
    """A new folder that other users can reach too, unlike pytest's: the backends run code as nobody."""
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name)
        path.chmod(0o711)
        (path / "tmp").mkdir()
        yield path
        assert list((path / "tmp").iterdir()) == []
        assert processes_of(path) == []


def processes_of(folder):
    """Processes that were started with this TMPDIR, or a folder in it."""
    setting = f"TMPDIR={folder / 'tmp'}".encode()
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            if setting in (process / "environ").read_bytes():
                found.append(process.name)
        except OSError:
            pass
    return found


def groups_of(pid):
    return list(pathlib.Path("/sys/fs/cgroup").glob(f"**/holdfast-rehearsal-{pid}"))


def skip_if_not_here(process, output):
    if process.returncode == 77:
        pytest.skip(output.strip().splitlines()[-1])


def test_every_promise_is_kept(folder):
    process = start(folder)
    output, _ = process.communicate(timeout=200)
    skip_if_not_here(process, output)
    assert process.returncode == 0, output
    assert re.search(r"^\d+ promises kept, 0 broken", output, re.MULTILINE)
    for name in ("report.txt", "requests.tsv", "samples.tsv", "front-end.log", "holdfast.json"):
        assert (folder / "out" / name).stat().st_size > 0
    assert groups_of(process.pid) == []


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_nothing_behind(folder, signal_number):
    process = start(folder)
    seen = ""
    for line in process.stdout:
        seen += line
        if "load rises" in line:
            break
    else:
        process.wait()
        skip_if_not_here(process, seen)
        pytest.fail(seen)
    begun = time.monotonic()
    process.send_signal(signal_number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal_number
    assert time.monotonic() - begun < 60
    assert groups_of(process.pid) == []


@pytest.mark.parametrize("options", [["--nonsense"], ["--out"]])
def test_wrong_usage_is_one_line(tmp_path, options):
    done = subprocess.run([RUN, *options], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("run: ") and done.stderr.count("\n") == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_another_user_than_root_is_told_why(tmp_path):
    if subprocess.run(["setpriv", "--reuid=65534", "test", "-x", RUN], check=False).returncode != 0:
        pytest.skip("another user can't read the sources here")
    command = ["setpriv", "--reuid=65534", "--clear-groups", RUN, "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/", check=False)
    assert done.returncode == 77
    assert done.stdout == "not possible on this machine: needs root, to make network namespaces\n"
