# SPDX-License-Identifier: MIT
"""Hostile programs (escapes.py): each fails to do harm, sees no more than it may, and the service goes on.

    ESCAPES_URL=http://127.0.0.1:8000 /usr/bin/python3 -m pytest tests/test_escapes.py

attacks a service that runs already, in its container, say. Without, one is started here.
"""

import http.client
import json
import os
import re
import threading
import urllib.parse

import pytest
from backends import Backend
from escapes import ESCAPES, PRELUDE

ANSWER_SECONDS = 30


class Target:
    """The service that is attacked."""

    def __init__(self, host, port):
        self._address = host, port

    def request(self, method, path, body=None):
        connection = http.client.HTTPConnection(*self._address, timeout=ANSWER_SECONDS)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def eval(self, code):
        status, body = self.request("POST", "/py/eval", json.dumps({"code": code}))
        assert status == 200, body
        return json.loads(body)

    def metric(self, name):
        _, body = self.request("GET", "/metrics")
        found = re.findall(rf"^{re.escape(name)} (\S+)$", body, re.MULTILINE)
        return float(found[0]) if found else None


@pytest.fixture(scope="module")
def target():
    url = os.environ.get("ESCAPES_URL")
    if url:
        parts = urllib.parse.urlsplit(url)
        yield Target(parts.hostname, parts.port or 80)
        return
    running = Backend(WEB_CONCURRENCY="1", PLAYGROUND_WALL_SECONDS="3", PLAYGROUND_CPU_SECONDS="2", ESCAPES_SECRET="told")
    yield Target("127.0.0.1", running.port)
    for folder in running.runs.iterdir():
        folder.chmod(0o700)
    leftovers = [path for folder in running.runs.iterdir() for path in folder.iterdir()]
    assert running.stop() == 0
    assert leftovers == []


@pytest.fixture(scope="module", autouse=True)
def layers(target):
    """Without Landlock, by design, more can be seen: such a kernel is no place for this suite."""
    if target.metric('playground_layer{layer="landlock"}') is None:
        pytest.skip("this kernel, or this container's seccomp profile, has no Landlock")


@pytest.mark.parametrize("escape", ESCAPES, ids=lambda escape: escape.name.replace(" ", "-"))
def test_escape(target, escape):
    zygotes = target.metric("playground_zygotes_total")
    victim = []
    thread = threading.Thread(target=lambda: victim.append(target.eval(escape.victim)))
    if escape.victim:
        thread.start()
    answer = target.eval(PRELUDE + escape.code)
    told = json.dumps(answer)[:2000]
    assert "HARM" not in answer["stdout"] + answer["stderr"], told
    assert re.fullmatch(escape.sees, answer["stdout"]), told
    assert answer["exit_code"] in escape.exit_codes, told
    if escape.stderr or 1 not in escape.exit_codes:
        assert re.search(escape.stderr, answer["stderr"]), told
    assert answer["timed_out"] or not escape.timed_out, told
    if escape.victim:
        thread.join()
        assert victim == [{"stdout": escape.victim_prints, "stderr": "", "exit_code": 0, "timed_out": False}]
    # The service answers the next run, in a new folder, and neither the zygote nor anything of it was lost.
    after = target.eval("import os; print(1 + 1, os.listdir('.'))")
    assert after == {"stdout": "2 ['main.py']\n", "stderr": "", "exit_code": 0, "timed_out": False}
    assert target.metric("playground_zygotes_total") == zygotes
    assert target.metric("playground_runs_in_flight") == 0


def test_nothing_is_left_of_a_run_in_the_next(target):
    target.eval("import os; os.umask(0); open('note', 'w').write('x'); import string; string.digits = 'spoilt'")
    answer = target.eval("import os, string; print(os.listdir('.'), string.digits, oct(os.umask(0)))")
    assert answer["stdout"] == "['main.py'] 0123456789 0o22\n"


def test_runs_have_different_folders_and_no_way_to_each_other(target):
    first = target.eval("import os; print(os.getcwd())")["stdout"]
    second = target.eval("import os; print(os.getcwd())")["stdout"]
    assert first != second


def test_there_are_enough_of_them():
    assert len(ESCAPES) >= 40
