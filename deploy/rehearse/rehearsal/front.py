# SPDX-License-Identifier: MIT
"""The processes between client and clouds: the front end, and the submitter before it."""
import contextlib
import http.client
import json
import queue
import subprocess
import sys
import threading
import time

from rehearsal import net
from rehearsal.load import Record

LISTEN_PORT, ADMIN_PORT = 80, 8081
START_S = 20
ASK_S = 10


class FrontEnd:
    """holdfast with its defaults: the rule of the mission to the letter."""

    def __init__(self, binary, network, folder):
        self._namespace = network.front
        self.log_path = folder / "front-end.log"
        config = {
            "listen": f"{net.FRONT}:{LISTEN_PORT}",
            "admin": {"listen": f"127.0.0.1:{ADMIN_PORT}"},
            "backends": [{"name": cloud.name, "url": f"http://{cloud.address}"} for cloud in network.clouds],
        }
        path = folder / "holdfast.json"
        path.write_text(json.dumps(config, indent=2) + "\n")
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self._namespace.command(str(binary), "--config", str(path)),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        self._wait_ready()

    def _wait_ready(self):
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError, http.client.HTTPException, net.Failed):
                self.ask("GET", "/admin/readyz")
                return
            time.sleep(0.05)
        raise net.Failed(f"the front end did not come up:\n{self.log_path.read_text()}")

    def ask(self, method, path):
        """The JSON that the admin endpoint answers with."""
        connection = http.client.HTTPConnection("127.0.0.1", ADMIN_PORT)
        connection.sock = self._namespace.connect("127.0.0.1", ADMIN_PORT, ASK_S)
        with contextlib.closing(connection):
            connection.request(method, path)
            response = connection.getresponse()
            body = response.read()
        if response.status != 200:
            raise net.Failed(f"{method} {path}: status {response.status}: {body[:200]!r}")
        return json.loads(body)

    def stats(self):
        """The statistics, with the backends by name."""
        stats = self.ask("GET", "/admin/stats")
        stats["backends"] = {backend["name"]: backend for backend in stats["backends"]}
        return stats

    def reset(self):
        self.ask("POST", "/admin/reset")

    def stop(self):
        """Ends it by SIGTERM; its exit status."""
        self.process.terminate()
        return self.process.wait(timeout=30)


class Submitter:
    def __init__(self, network, workers):
        argv = [sys.executable, "-m", "rehearsal.load", net.FRONT, str(LISTEN_PORT), str(workers)]
        self.process = subprocess.Popen(
            network.clients.command(*argv), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._records = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.process.stdout:
            self._records.put(Record.of_line(line))

    def set_rate(self, rate):
        self.process.stdin.write(f"{rate:.3f}\n")
        self.process.stdin.flush()

    def take(self):
        """The records that came since the last call."""
        taken = []
        with contextlib.suppress(queue.Empty):
            while True:
                taken.append(self._records.get_nowait())
        return taken

    def stop(self):
        """Begins no more requests and waits for the answers of those under way."""
        self.process.stdin.close()
        status = self.process.wait(timeout=120)
        self._reader.join()
        if status != 0:
            raise net.Failed(f"the submitter ended with status {status}")
