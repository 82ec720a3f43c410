# SPDX-License-Identifier: MIT
"""What the tests share: real backends under gunicorn, and a small HTTP client."""

import contextlib
import http.client
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

import pytest

BACKEND = pathlib.Path(__file__).parent.parent
START_LINE = re.compile(r"Listening at: http://127\.0\.0\.1:(\d+)")
sys.path.insert(0, str(BACKEND))
sys.dont_write_bytecode = True


class Backend:
    """A running backend. `prefix` is put before its command, to start it as another user, say."""

    def __init__(self, prefix=(), folder=BACKEND, **environment):
        # A backend that is killed can't remove the work folders of its runs.
        self.runs = pathlib.Path(tempfile.mkdtemp())
        self.runs.chmod(0o1777)
        self.process = subprocess.Popen(
            # The death signal: it doesn't outlive tests that are killed.
            ["/usr/bin/setpriv", "--pdeathsig", "TERM", *prefix]
            + [str(folder / "run"), "--bind", "127.0.0.1:0", "--name", "here"],
            env={**os.environ, "TMPDIR": str(self.runs), **environment},
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        # The kernel chose the port. The log is short, so nobody needs to read the rest of the pipe.
        lines = []
        for line in self.process.stderr:
            lines.append(line)
            if found := START_LINE.search(line):
                self.port = int(found[1])
                return
        self.stop()
        raise RuntimeError("the backend did not start:\n" + "".join(lines))

    def connect(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def stop(self):
        """Ends it, if it has not ended yet, and returns its exit status."""
        self.process.terminate()
        status = self.process.wait(timeout=20)
        self.process.stderr.close()
        for folder in self.runs.iterdir():
            folder.chmod(0o700)  # They can't be listed.
        shutil.rmtree(self.runs)
        return status

    def request(self, method, path, body=None, content_type="application/json"):
        """One request on a connection of its own: (status, headers, body)."""
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body, {"Content-Type": content_type} if body is not None else {})
            response = connection.getresponse()
            return response.status, response.headers, response.read()

    def metric(self, name):
        """The value of one sample of GET /metrics."""
        _, _, body = self.request("GET", "/metrics")
        (value,) = re.findall(rf"^{re.escape(name)} (\S+)$", body.decode(), re.MULTILINE)
        return float(value)

    def eval(self, code):
        status, _, body = self.request("POST", "/py/eval", json.dumps({"code": code}))
        return status, json.loads(body)


@pytest.fixture
def folder():
    """A new folder that other users can reach too, unlike pytest's: root's backends run code as nobody."""
    with tempfile.TemporaryDirectory() as name:
        path = pathlib.Path(name)
        path.chmod(0o1777)
        yield path


@pytest.fixture(scope="session")
def backend():
    running = Backend()
    yield running
    assert running.stop() == 0
