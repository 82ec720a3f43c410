# SPDX-License-Identifier: MIT
"""One pod: a real backend (deploy/backend under gunicorn) with processes, files and an address of its own.

    starting -> ready -> leaving -> stopping -> gone
    any      -> gone, when it is killed

Leaving: out of the Service, but still answering (preStop). Stopping: SIGTERM was sent.
"""
import contextlib
import http.client
import os
import signal
import subprocess
import threading
import time

from rehearsal import cpu
from rehearsal.manifests import DEPLOY
from rehearsal.net import POD_PORT

PROBE_S, PROBE_TIMEOUT_S = 0.1, 2.0

# Joins the control groups named before "--", then becomes the first process of the pod's process namespace,
# whose death is that of all others, with a /tmp of its own.
START = """
while [ "$1" != -- ]; do echo $$ >"$1"; shift; done; shift
exec unshare --mount --pid --fork --kill-child --mount-proc -- /bin/sh -c '
mount -t tmpfs -o size=64m,mode=1777 tmpfs "$TMPDIR" && exec "$@"' pod "$@"
"""


class Pod:
    def __init__(self, name, cloud, address, namespace, accounts, folder):
        self.name = name
        self.address = address
        self.state = "starting"
        self.started_at = time.monotonic()
        self.ready_at = None
        self.stopped_at = None
        self.log_path = folder / f"{cloud}-{name}.log"
        self._namespace = namespace
        self._group = accounts.group(f"{cloud}-{name}")
        self._answers = threading.Event()
        environment = {
            **os.environ,
            "PLAYGROUND_BIND": f"{address}:{POD_PORT}",
            "PLAYGROUND_NAME": f"{cloud}.{name}",
            "TMPDIR": str(folder / "tmp"),
            # Runs take turns, so that their wall time stays short where a pod has a small share of a core.
            "WEB_CONCURRENCY": "1",
            "PLAYGROUND_RUNS": "4",
            "PLAYGROUND_QUEUE": "200",
            "PLAYGROUND_QUEUE_SECONDS": "25",
        }
        command = ["/bin/sh", "-ec", START, "sh", *self._group.join_files, "--", str(DEPLOY / "backend" / "run")]
        with open(self.log_path, "ab") as log:
            self._process = subprocess.Popen(
                namespace.command(*command), env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self._group.began(self._process.pid)
        threading.Thread(target=self._probe, daemon=True).start()

    def _probe(self):
        """Asks until it answers, as a startup probe does."""
        while self._process.poll() is None and not self._answers.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection(self.address)
                connection.sock = self._namespace.connect(self.address, POD_PORT, PROBE_TIMEOUT_S)
                with contextlib.closing(connection):
                    connection.request("GET", "/healthz")
                    if connection.getresponse().status == 200:
                        self._answers.set()
            time.sleep(PROBE_S)

    def became_ready(self, limit_m):
        """Whether it has come up since the last call. From then on it may use no more than `limit_m`: its start
        is not bounded, as a start does not shrink with a pod's share."""
        if self.state != "starting" or not self._answers.is_set():
            return False
        self._group.limit(limit_m)
        self.state = "ready"
        self.ready_at = time.monotonic()
        return True

    def usage_s(self):
        return self._group.usage_s()

    def ended(self):
        """Whether its processes are gone, on purpose or not."""
        return self._process.poll() is not None

    def leave(self):
        self.state = "leaving"
        self.stopped_at = time.monotonic()

    def terminate(self):
        """SIGTERM to the first process of the pod, as the kubelet does it."""
        self.state = "stopping"
        self.stopped_at = time.monotonic()
        table = cpu.processes()
        for pid, (parent, _) in table.items():
            if parent == self._process.pid:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)

    def kill(self):
        """SIGKILL to all its processes at once."""
        self._process.kill()
        self._process.wait()
        self.forget()

    def forget(self):
        self.state = "gone"
        self._answers.set()  # ends the probe
        self._group.remove()
