# SPDX-License-Identifier: MIT
"""The service over HTTP, under gunicorn as it is deployed."""

import base64
import contextlib
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import socket
import threading
import time

import pytest
from backends import BACKEND, Backend

from playground.metrics import OUTCOMES

CODE = '{"code": "print(1+1)"}'


def test_eval_answers_with_exactly_four_fields(backend):
    status, headers, body = backend.request("POST", "/py/eval", CODE)
    assert (status, headers["Content-Type"], headers["X-Backend"]) == (200, "application/json", "here")
    assert json.loads(body) == {"stdout": "2\n", "stderr": "", "exit_code": 0, "timed_out": False}


def test_a_users_own_error_is_200(backend):
    status, answer = backend.eval("import sys; sys.exit(3)")
    assert (status, answer["exit_code"]) == (200, 3)
    status, answer = backend.eval("1/0")
    assert (status, answer["exit_code"]) == (200, 1)
    assert "ZeroDivisionError" in answer["stderr"]


def test_the_type_may_have_parameters(backend):
    assert backend.request("POST", "/py/eval", CODE, "application/json; charset=utf-8")[0] == 200


@pytest.mark.parametrize(
    "body, reason",
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b"print(1)", "not valid JSON"),
        (b'{"code": "\xff"}', "not valid JSON"),
        (b"[" * 100000, "not valid JSON"),
        (b'{"code": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"[]", "expected a JSON object"),
        (b'"code"', "expected a JSON object"),
        (b"null", "expected a JSON object"),
        (b"{}", '"code" is missing'),
        (b'{"Code": "1"}', '"code" is missing'),
        (b'{"code": 1}', "must be a string"),
        (b'{"code": null}', "must be a string"),
        (b'{"code": ["1"]}', "must be a string"),
        (b'{"code": "\\ud800"}', "surrogate"),
    ],
)
def test_malformed_input_is_400_with_the_reason(backend, body, reason):
    status, headers, answer = backend.request("POST", "/py/eval", body)
    assert (status, headers["Content-Type"], headers["X-Backend"]) == (400, "application/json", "here")
    answer = json.loads(answer)
    assert list(answer) == ["error"]
    assert reason in answer["error"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_another_type_is_415(backend, content_type):
    status, _, body = backend.request("POST", "/py/eval", CODE, content_type)
    assert (status, json.loads(body)) == (415, {"error": "expected Content-Type: application/json"})


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_too_large_is_413_and_the_connection_goes_on(backend, chunked):
    body = json.dumps({"code": "#" * 300000}).encode()
    headers = {"Content-Type": "application/json"}
    with contextlib.closing(backend.connect()) as connection:
        pieces = iter([body]) if chunked else body
        connection.request("POST", "/py/eval", pieces, headers, encode_chunked=chunked)
        response = connection.getresponse()
        assert response.status == 413
        assert json.loads(response.read()) == {"error": "the body is larger than 262144 bytes"}
        connection.request("POST", "/py/eval", CODE, headers)
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["stdout"]) == (200, "2\n")


def test_a_body_just_small_enough_is_taken(backend):
    body = json.dumps({"code": "print(3)#"})
    body = body.replace("#", "#" * (262144 - len(body) + 1))
    assert len(body) == 262144
    status, _, answer = backend.request("POST", "/py/eval", body)
    assert (status, json.loads(answer)["stdout"]) == (200, "3\n")


@pytest.mark.parametrize(
    "method, path", [("GET", "/py/eval"), ("PUT", "/py/eval"), ("POST", "/"), ("DELETE", "/healthz")]
)
def test_another_method_is_405(backend, method, path):
    status, headers, body = backend.request(method, path)
    assert (status, list(json.loads(body))) == (405, ["error"])
    assert ("POST" if path == "/py/eval" else "GET") in headers["Allow"].split(", ")


def test_an_unknown_path_is_404(backend):
    status, _, body = backend.request("GET", "/nothing")
    assert (status, list(json.loads(body))) == (404, ["error"])


def test_healthz(backend):
    status, headers, body = backend.request("GET", "/healthz")
    assert (status, json.loads(body), headers["X-Backend"]) == (200, {"status": "ok"}, "here")


def test_the_page_stands_alone_and_its_policy_fits(backend):
    status, headers, body = backend.request("GET", "/")
    page = body.decode()
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "<textarea" in page
    assert 'fetch("py/eval"' in page
    assert not re.search(r"""(?:src|href)=["'](?!data:)|@import|url\(""", page)
    policy = headers["Content-Security-Policy"]
    for tag in ("script", "style"):
        (text,) = re.findall(rf"<{tag}[^>]*>(.*?)</{tag}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert not re.search(r"\son\w+=|\sstyle=", page)  # The policy would block these.


def test_a_connection_is_kept_and_answers_stay_in_order(backend):
    with contextlib.closing(backend.connect()) as connection:
        connection.connect()
        first = connection.sock
        for number in range(20):
            body = json.dumps({"code": f"print({number})"})
            connection.request("POST", "/py/eval", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            assert (response.status, json.loads(response.read())["stdout"]) == (200, f"{number}\n")
        assert connection.sock is first  # http.client drops it when the server closes.


def test_idle_connections_hold_no_thread(backend):
    idle = []
    try:
        for _ in range(300):
            connection = backend.connect()
            connection.request("GET", "/healthz")
            assert connection.getresponse().read() == b'{"status":"ok"}\n'
            idle.append(connection)
        assert backend.eval("print(5)")[1]["stdout"] == "5\n"
    finally:
        for connection in idle:
            connection.close()


@pytest.mark.parametrize("said", [b"", b"POST /py/eval HTTP/1.1\r\nHost: here\r\nContent-Le"])
def test_clients_that_say_nothing_or_half_do_not_stop_the_service(small_backend, said):
    # More than it has threads.
    clients = [socket.create_connection(("127.0.0.1", small_backend.port)) for _ in range(20)]
    try:
        for client in clients:
            client.sendall(said)
        assert small_backend.request("GET", "/healthz")[0] == 200
        assert small_backend.eval("print(2)")[1]["stdout"] == "2\n"
        if said:  # Who is too slow is gone.
            for client in clients:
                client.settimeout(20)
                assert client.recv(99) == b""
    finally:
        for client in clients:
            client.close()


def test_a_body_that_never_ends_is_400_and_the_end_of_the_connection(small_backend):
    with socket.create_connection(("127.0.0.1", small_backend.port), timeout=20) as client:
        head = b"POST /py/eval HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n"
        client.sendall(head + b'{"code": ')
        answer = b""
        while piece := client.recv(9999):
            answer += piece
        assert answer.startswith(b"HTTP/1.1 400 ")
        assert answer.count(b"HTTP/1.1") == 1


def test_a_client_that_does_not_read_its_answers_is_cut(small_backend):
    body = json.dumps({"code": "print('\\0' * 65000)"}).encode()
    request = b"POST /py/eval HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(60)
        client.connect(("127.0.0.1", small_backend.port))
        # A time-out of this side would be an OSError too.
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            while True:  # until the service has closed it
                client.sendall((request % len(body)) + body)


def test_the_connection_that_was_idle_for_longest_makes_room(small_backend):
    first = socket.create_connection(("127.0.0.1", small_backend.port), timeout=20)
    others = []
    try:
        for _ in range(1000):
            others.append(socket.create_connection(("127.0.0.1", small_backend.port), timeout=20))
        assert first.recv(1) == b""
        assert small_backend.request("GET", "/healthz")[0] == 200
    finally:
        for client in (first, *others):
            client.close()


def test_the_connection_that_makes_room_may_have_said_something_just_now(small_backend):
    worker = _worker(small_backend)
    idle = [socket.create_connection(("127.0.0.1", small_backend.port), timeout=20) for _ in range(1001)]
    newest = small_backend.connect()
    try:
        assert idle[0].recv(1) == b""  # So all are accepted, and the next one's room is that of the second.
        with _stopped(worker):  # Then it hears of both at once, in this order.
            newest.request("GET", "/healthz")
            idle[1].sendall(b"G")
        assert newest.getresponse().status == 200
        assert _worker(small_backend) == worker
    finally:
        newest.close()
        for client in idle:
            client.close()


def test_a_low_limit_of_open_files_bounds_the_idle_connections():
    with _small_backend(["/usr/bin/prlimit", "--nofile=200:200"]) as running:
        worker = _worker(running)
        clients = [socket.create_connection(("127.0.0.1", running.port), timeout=20) for _ in range(300)]
        try:
            assert clients[0].recv(1) == b""
            assert running.eval("print(2)")[1]["stdout"] == "2\n"
            assert _worker(running) == worker
        finally:
            for client in clients:
                client.close()


def test_without_a_descriptor_for_a_connection_the_oldest_idle_one_makes_room(small_backend):
    worker = _worker(small_backend)
    clients = [socket.create_connection(("127.0.0.1", small_backend.port), timeout=20) for _ in range(40)]
    try:
        assert small_backend.request("GET", "/healthz")[0] == 200  # So all of them are accepted.
        _, most = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (30, most))
        for _ in range(10):
            clients.append(socket.create_connection(("127.0.0.1", small_backend.port), timeout=20))
        assert small_backend.request("GET", "/healthz")[0] == 200
        assert clients[0].recv(1) == b""
        assert _worker(small_backend) == worker
    finally:
        for client in clients:
            client.close()


def test_many_clients_get_their_own_answers(backend):
    wrong = []

    def client(number):
        for turn in range(5):
            status, answer = backend.eval(f"print({number}, {turn})")
            if (status, answer.get("stdout")) != (200, f"{number} {turn}\n"):
                wrong.append((status, answer))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@contextlib.contextmanager
def _small_backend(prefix=(), folder=BACKEND):
    """One worker, one run at a time, and one request may wait half a second for it."""
    running = Backend(
        prefix,
        folder,
        WEB_CONCURRENCY="1",
        PLAYGROUND_RUNS="1",
        PLAYGROUND_QUEUE="1",
        PLAYGROUND_QUEUE_SECONDS="0.5",
        PLAYGROUND_WALL_SECONDS="4",
    )
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def small_backend():
    with _small_backend() as running:
        yield running


def _worker(small):
    """The process of its worker, as soon as that answers."""
    assert small.request("GET", "/healthz")[0] == 200
    with open(f"/proc/{small.process.pid}/task/{small.process.pid}/children") as file:
        (pid,) = file.read().split()
    return int(pid)


@contextlib.contextmanager
def _stopped(pid):
    """Meanwhile the process stands still. It is stopped while it waits for something to happen."""
    deadline = time.monotonic() + 10
    state = None
    while state != "T":
        assert time.monotonic() < deadline
        with open(f"/proc/{pid}/stat") as file:
            state = file.read().rpartition(") ")[2][0]
        if state == "S":
            os.kill(pid, signal.SIGSTOP)
        time.sleep(0.01)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_too_many_runs_are_503_but_healthz_answers(small_backend):
    answers = []
    code = "import time; time.sleep(3); print('went')"
    thread = threading.Thread(target=lambda: answers.append(small_backend.eval(code)))
    thread.start()
    deadline = time.monotonic() + 3
    while small_backend.metric("playground_runs_in_flight") != 1 and time.monotonic() < deadline:
        time.sleep(0.01)
    status, headers, body = small_backend.request("POST", "/py/eval", CODE)
    assert (status, headers["Retry-After"], list(json.loads(body))) == (503, "1", ["error"])
    assert small_backend.metric("playground_rejected_total") == 1
    assert small_backend.request("GET", "/healthz")[0] == 200
    thread.join()
    assert answers == [(200, {"stdout": "went\n", "stderr": "", "exit_code": 0, "timed_out": False})]
    assert small_backend.eval("print(1)")[0] == 200  # Every place was given back.


def test_metrics_count_runs_of_all_workers_by_how_they_ended(backend):
    def counts():
        return {name: backend.metric(f'playground_runs_total{{outcome="{name}"}}') for name in OUTCOMES}

    before = counts()
    programs = {
        "ok": "print(1)",
        "error": "1/0",
        "killed": "import os; os.kill(os.getpid(), 9)",
        "timeout": "import time; time.sleep(99)",
        "forbidden": "import ctypes; ctypes.CDLL(None).unshare(0)",
    }
    for code in programs.values():
        assert backend.eval(code)[0] == 200
    assert counts() == {name: before[name] + (name in programs) for name in OUTCOMES}
    status, headers, body = backend.request("GET", "/metrics")
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    text = body.decode()
    count = backend.metric("playground_run_seconds_count")
    assert count == sum(counts().values())
    assert backend.metric('playground_run_seconds_bucket{le="+Inf"}') == count
    assert backend.metric("playground_runs_in_flight") == 0
    assert 'playground_layer{layer="seccomp"} 1\n' in text
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) playground_\w+ .+|playground_\w+(\{\w+=\"[^\"]+\"\})? [0-9.e+-]+", line)


def test_limits_come_from_the_environment(small_backend):
    start = time.monotonic()
    status, answer = small_backend.eval("import time\ntime.sleep(60)")
    assert (status, answer["exit_code"], answer["timed_out"]) == (200, -9, True)
    assert 3.5 < time.monotonic() - start < 8


def test_sigterm_lets_a_run_finish():
    running = Backend()
    answers = []
    with contextlib.closing(running.connect()) as connection:
        body = '{"code": "import time; time.sleep(2); print(7)"}'
        connection.request("POST", "/py/eval", body, {"Content-Type": "application/json"})
        _wait_for_a_run(running)
        stopper = threading.Thread(target=lambda: answers.append(running.stop()))
        stopper.start()
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["stdout"]) == (200, "7\n")
        stopper.join()
    assert answers == [0]


def test_a_request_that_comes_with_sigterm_is_answered(folder):
    copy = folder / "backend"
    shutil.copytree(BACKEND, copy, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    with open(copy / "playground" / "worker.py", "a") as file:
        file.write(TERM_AT_SECOND_CONNECTION)
    with _small_backend(folder=copy) as running, contextlib.closing(running.connect()) as connection:
        worker = _worker(running)
        with _stopped(worker):  # Then the request is there when the connection is accepted.
            connection.request("POST", "/py/eval", CODE, {"Content-Type": "application/json"})
        response = connection.getresponse()
        assert (response.status, json.loads(response.read())["stdout"]) == (200, "2\n")
        assert response.headers["Connection"] == "close"


TERM_AT_SECOND_CONNECTION = """
import signal

class Worker(Worker):
    def accept(self, *arguments):
        super().accept(*arguments)
        if self.nr > 0:
            signal.raise_signal(signal.SIGTERM)
"""


def test_a_killed_backend_leaves_no_run_behind():
    running = Backend()
    with contextlib.closing(running.connect()) as connection:
        body = '{"code": "import time; time.sleep(60)"}'
        connection.request("POST", "/py/eval", body, {"Content-Type": "application/json"})
        _wait_for_a_run(running)
        runs = _runs_below(running.process.pid)
        assert runs
        os.killpg(running.process.pid, signal.SIGKILL)
        running.stop()
        deadline = time.monotonic() + 5
        while any(os.path.exists(f"/proc/{pid}") for pid in runs) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not any(os.path.exists(f"/proc/{pid}") for pid in runs)


def _wait_for_a_run(running):
    """Until a request's run goes on. (Those with which the workers check themselves are not counted.)"""
    deadline = time.monotonic() + 10
    while running.metric("playground_runs_in_flight") != 1:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _runs_below(ancestor):
    """The processes of runs below `ancestor`, as soon as there are any."""
    deadline = time.monotonic() + 5
    found = []
    waiting = []
    while not found and time.monotonic() < deadline:
        pid = waiting.pop() if waiting else ancestor
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{thread}/children") as file:
                    waiting += [int(child) for child in file.read().split()]
            with open(f"/proc/{pid}/comm") as file:
                if file.read() == "run\n":
                    found.append(pid)
    return found


def test_a_layer_that_is_none_stops_the_start():
    with pytest.raises(RuntimeError, match="PLAYGROUND_REQUIRE: moat is no layer"):
        Backend(PLAYGROUND_REQUIRE="seccomp,moat")


def test_a_wrong_setting_stops_the_start_with_its_name():
    with pytest.raises(RuntimeError, match="PLAYGROUND_RUNS=many: expected a number, at least 1"):
        Backend(PLAYGROUND_RUNS="many")


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run without privileges already")
def test_everything_works_without_privileges(folder):
    copy = folder / "backend"
    shutil.copytree(BACKEND, copy, ignore=shutil.ignore_patterns("tests", "__pycache__"))
    setpriv = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
    # One worker: a second one might still be busy with its first check of a run.
    running = Backend(setpriv, copy, PLAYGROUND_WALL_SECONDS="2", WEB_CONCURRENCY="1")
    try:
        assert running.eval("print(1+1)")[1]["stdout"] == "2\n"
        assert "MemoryError" in running.eval("bytearray(1 << 30)")[1]["stderr"]
        bomb = "import os, time\nwhile True:\n  if os.fork() == 0:\n    os.setsid()\n    time.sleep(99)"
        # The first process is refused politely, then the kernel refuses by itself.
        assert re.search("BlockingIOError|Function not implemented", running.eval(bomb)[1]["stderr"])
        # Were the bomb's processes still there, this one could not start a process.
        assert running.eval("import subprocess; subprocess.run(['echo', 'ok'])")[1]["stdout"] == "ok\n"
        locked = "import os; os.umask(0); os.mkdir('a'); open('a/c', 'w'); os.mkdir('b', 0); os.mkdir('a/d', 0o100)"
        assert running.eval(locked)[1]["stderr"] == ""
        assert list(running.runs.glob("*/*")) == []
    finally:
        assert running.stop() == 0
