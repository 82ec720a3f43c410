# SPDX-License-Identifier: MIT
"""deploy/local/run: real backends, and a stand-in for the front end, which other tests cover."""

import contextlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request

import pytest

HERE = pathlib.Path(__file__).parent
PORTS = ("HOLDFAST_PORT", "HOLDFAST_ADMIN_PORT", "HOLDFAST_GCP_PORT", "HOLDFAST_AZURE_PORT")


@contextlib.contextmanager
def free_ports():
    """Settings with four ports that were free a moment ago."""
    with contextlib.ExitStack() as sockets:
        found = [sockets.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
        numbers = [str(listener.getsockname()[1]) for listener in found]
    yield dict(zip(PORTS, numbers))


@pytest.fixture
def folder():
    """A new folder that other users can reach too, unlike pytest's: root's backends run code as nobody."""
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name)
        path.chmod(0o1777)
        yield path


@pytest.fixture
def settings(folder):
    with free_ports() as ports:
        yield {"HOLDFAST_BINARY": str(HERE / "stand_in"), "TMPDIR": str(folder), **ports}
    assert list(folder.iterdir()) == []
    assert processes_with(str(folder)) == []


def processes_with(setting):
    """The processes that have `setting` in their environment."""
    found = []
    for process in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if setting.encode() in (process / "environ").read_bytes():
                found.append(process.name)
    return found


@pytest.fixture
def start(settings):
    """Starts the script, with further settings if given, and stops it at the end if the test did not."""
    started = []

    def start_with(**more):
        process = subprocess.Popen(
            ["/usr/bin/setpriv", "--pdeathsig", "TERM", HERE.parent / "run"],
            env={**os.environ, **settings, **more},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start_with
    for process in started:
        process.terminate()
        process.communicate(timeout=30)


def read_until(stream, pattern):
    """The text up to the line with the pattern. The stream's end before it is a failure."""
    text = ""
    for line in stream:
        text += line
        if re.search(pattern, line):
            return text
    raise AssertionError(f"no {pattern!r} in:\n{text}")


def get(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
        return response.headers["X-Backend"]


def end(process, signal_number):
    process.send_signal(signal_number)
    return process.communicate(timeout=30) + (process.returncode,)


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_it_starts_all_and_a_signal_stops_all(settings, start, signal_number):
    process = start()
    text = read_until(process.stdout, "Ctrl-C stops everything")
    for name, port in settings.items():
        if name in PORTS:
            assert f"127.0.0.1:{port}" in text
    assert f" http://127.0.0.1:{settings['HOLDFAST_ADMIN_PORT']}/\n" in text  # the dashboard page
    assert get(settings["HOLDFAST_GCP_PORT"], "/healthz") == "gcp"
    assert get(settings["HOLDFAST_AZURE_PORT"], "/healthz") == "azure"
    assert end(process, signal_number) == ("\nStopping.\n", "", 0)
    # The fixture looks that no process and no file is left.


@pytest.mark.parametrize("target", ["group", "first process"])
def test_a_killed_backend_is_told_and_the_rest_goes_on(settings, start, target):
    process = start()
    text = read_until(process.stdout, "Ctrl-C stops everything")
    pid = int(re.search(r"kill -KILL -- -(\d+) +# gcp", text)[1])
    if target == "group":
        os.killpg(pid, signal.SIGKILL)
    else:
        os.kill(pid, signal.SIGKILL)
    read_until(process.stdout, r"^Backend gcp has ended\. The front end goes on\.$")
    with pytest.raises(urllib.error.URLError):
        get(settings["HOLDFAST_GCP_PORT"], "/healthz")
    assert get(settings["HOLDFAST_AZURE_PORT"], "/healthz") == "azure"
    get(settings["HOLDFAST_ADMIN_PORT"], "/admin/readyz")
    assert end(process, signal.SIGTERM) == ("\nStopping.\n", "", 0)


def test_a_front_end_that_fails_shows_its_log_and_stops_all(settings, start):
    stdout, stderr = start(STAND_IN_FAILS="1").communicate(timeout=30)
    assert stdout == ""
    assert stderr == "run: front-end ended early; the end of its log:\nstand-in: told to fail\n"


def test_a_front_end_that_dies_later_stops_all(settings, start):
    process = start()
    read_until(process.stdout, "Ctrl-C stops everything")
    pids = processes_with(settings["TMPDIR"])
    (front_end,) = [pid for pid in pids if b"stand_in" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(int(front_end), signal.SIGKILL)
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr.split(";")[0]) == (1, "run: front-end ended early")


def test_a_backend_that_cannot_start_shows_its_log(start):
    process = start(PLAYGROUND_RUNS="many")
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "run: gcp ended early" in stderr
    assert "PLAYGROUND_RUNS=many: expected a number" in stderr


@pytest.mark.parametrize("name", PORTS)
def test_a_taken_port_is_one_line(settings, start, name):
    with socket.create_server(("127.0.0.1", int(settings[name]))):
        process = start()
        stdout, stderr = process.communicate(timeout=30)
    assert (process.returncode, stdout) == (1, "")
    assert re.fullmatch(rf"run: port {settings[name]} is taken: choose another, such as {name}=\d+\n", stderr)


@pytest.mark.parametrize("value", ["0", "65536", "http", "08080", "123456"])
def test_a_wrong_port_is_one_line(start, value):
    process = start(HOLDFAST_PORT=value)
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 1
    assert stderr == f"run: HOLDFAST_PORT={value} is not a port: expected 1 to 65535\n"


def test_the_same_port_twice_is_one_line(settings, start):
    port = settings["HOLDFAST_PORT"]
    _, stderr = start(HOLDFAST_AZURE_PORT=port).communicate(timeout=30)
    names = "HOLDFAST_AZURE_PORT and HOLDFAST_PORT"
    assert stderr == f"run: {names} are both {port}: each needs a port of its own\n"


def test_a_killed_script_takes_all_with_it(settings, start):
    process = start()
    read_until(process.stdout, "Ctrl-C stops everything")
    process.kill()
    process.communicate(timeout=30)
    deadline = time.monotonic() + 20
    while processes_with(settings["TMPDIR"]) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert processes_with(settings["TMPDIR"]) == []
    for path in pathlib.Path(settings["TMPDIR"]).iterdir():  # Nobody is there to remove these.
        subprocess.run(["rm", "-rf", path], check=True)


# packages.sh, with stand-ins for the programs it calls.


def need_packages(
    folder, *names, installed=(), apt_status=0, programs=("apt-get", "dpkg-query", "sudo"), user=None
):
    """Runs need_packages and returns (status, output, the calls of apt-get)."""
    programs_folder = folder / "bin"
    programs_folder.mkdir()
    bodies = {
        "apt-get": f"""echo "$*" >>{folder}/calls
            case $* in *" install "*) echo "E: no luck"; exit {apt_status};; esac""",
        "dpkg-query": f'case " {" ".join(installed)} " in *" $3 "*) printf installed;; *) exit 1;; esac',
        "sudo": f'echo sudo >>{folder}/calls; exec "$@"',
    }
    for program in programs:
        (programs_folder / program).write_text(f"#!/bin/sh\n{bodies[program]}\n")
        (programs_folder / program).chmod(0o755)
    for program in ("env", "mktemp", "tail", "rm", "sh"):
        (programs_folder / program).symlink_to(f"/usr/bin/{program}")
    shutil.copy(HERE.parent / "packages.sh", folder)
    command = ["/bin/bash", "-c", f"source {folder}/packages.sh; need_packages {' '.join(names)}"]
    if os.geteuid() == 0 and user:
        command = ["/usr/bin/setpriv", f"--reuid={user}", "--clear-groups", *command]
    environment = {"PATH": str(programs_folder)}
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    calls = folder / "calls"
    lines = calls.read_text().splitlines() if calls.exists() else []
    return done.returncode, done.stdout + done.stderr, lines


def test_nothing_missing_calls_nobody(folder):
    assert need_packages(folder, "a", "b", installed=("a", "b")) == (0, "", [])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_only_what_is_missing_is_installed(folder):
    status, output, calls = need_packages(folder, "a", "b", "c", installed=("b",))
    assert (status, output) == (0, "Installing a c\n")
    assert [re.sub(r"-o \S+ ", "", call) for call in calls] == [
        "-q -y update",
        "-q -y install --no-install-recommends a c",
    ]


def test_another_user_than_root_takes_sudo(folder):
    status, _, calls = need_packages(folder, "a", user="65534")
    assert (status, calls[0], calls[2]) == (0, "sudo", "sudo")


def test_what_cannot_be_installed_is_told(folder):
    status, output, _ = need_packages(folder, "a", apt_status=100)
    assert status == 1
    assert output.endswith("E: no luck\napt-get could not install: a\n")


@pytest.mark.parametrize(
    "programs, told",
    [(("dpkg-query",), "no apt-get here"), (("dpkg-query", "apt-get"), "no sudo here")],
)
def test_a_machine_that_cannot_install_is_told_what_is_missing(folder, programs, told):
    status, output, calls = need_packages(folder, "a", "b", programs=programs, user="65534")
    assert (status, calls) == (1, [])
    assert output.startswith(told)
    assert output.endswith("a b\n")
