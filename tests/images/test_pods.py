# SPDX-License-Identifier: MIT
"""The pods of both Deployments run as their manifests say, behind the front end's image, and may go under load."""
import concurrent.futures
import http.client
import itertools
import json
import os
import pathlib
import subprocess
import threading
import time

import pytest

from kubelet import NETWORK, Pod, run
from render import render
from service import Service

ROOT = pathlib.Path(__file__).resolve().parents[2]
TOKEN = "a token that is only for this test"
ESCAPES = ROOT / "deploy/backend/tests/test_escapes.py"
CLIENTS = 4


class Clouds:
    """Two clouds: two Playground pods each, and two front ends of GCP's."""

    def __init__(self, images, folder):
        self._numbers = itertools.count(10)
        self._images = images
        self._folder = folder
        for number in (2, 3, 4):
            run("ip", "address", "add", f"{NETWORK}{number}/24", "dev", "pods")
        self.services = {"gcp": Service(f"{NETWORK}2", 80), "azure": Service(f"{NETWORK}3", 80),
                         "front": Service(f"{NETWORK}4", 80)}
        self.pods = {name: [] for name in self.services}

    def add(self, name, image=None):
        """Starts one more pod: of the Playground of a cloud, or "front"."""
        overlay, deployment = ("gcp", "holdfast") if name == "front" else (name, "playground")
        documents = render(ROOT / "deploy/k8s" / overlay)
        found = next(document for document in documents
                     if document["kind"] == "Deployment" and document["metadata"]["name"] == deployment)
        pod = Pod(documents, found, next(self._numbers), self._images[image or deployment], self._folder,
                  {"holdfast-admin": {"token": TOKEN}},
                  {"gcp": f"http://{NETWORK}2", "azure": f"http://{NETWORK}3"})
        self.pods[name].append(pod)
        pod.start()
        return pod

    def ready(self, name, pod):
        pod.wait_started()
        self.services[name].add(pod)

    def delete(self, name, pod):
        self.services[name].remove(pod)
        return pod.delete()

    def close(self):
        for service in self.services.values():
            service.close()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            list(pool.map(Pod.close, itertools.chain(*self.pods.values())))


@pytest.fixture(scope="module")
def clouds(images, node, tmp_path_factory):
    clouds = Clouds(images, tmp_path_factory.mktemp("pods"))
    try:
        started = [(name, clouds.add(name)) for name in ("gcp", "gcp", "azure", "azure", "front", "front")]
        for name, pod in started:
            clouds.ready(name, pod)
        yield clouds
    finally:
        clouds.close()


def ask(address, port, method, path, body=None, headers=None):
    """One request on a connection of its own. Its status and body."""
    connection = http.client.HTTPConnection(address, port, timeout=30)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def evaluate(number):
    """Has a Playground compute, by way of the front end's Service. What went wrong, or None."""
    body = json.dumps({"code": f"print({number} * 2)"})
    try:
        status, answer = ask(f"{NETWORK}4", 80, "POST", "/py/eval", body, {"Content-Type": "application/json"})
    except (OSError, http.client.HTTPException) as problem:
        return f"{number}: {type(problem).__name__} {problem}"
    if status != 200 or json.loads(answer)["stdout"] != f"{number * 2}\n":
        return f"{number}: {status} {answer[:200]}"
    return None


class Load:
    """Clients that ask without pause, for as long as the `with` goes on."""

    def __init__(self):
        self.asked = 0
        self.wrong = []
        self._stop = threading.Event()
        self._numbers = itertools.count(1)
        self._clients = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]

    def _ask(self):
        while not self._stop.is_set():
            wrong = evaluate(next(self._numbers))
            self.asked += 1
            if wrong:
                self.wrong.append(wrong)

    def wait_for(self, more):
        """Until so many more requests are answered."""
        goal = self.asked + more
        deadline = time.monotonic() + 60
        while self.asked < goal:
            assert time.monotonic() < deadline, "the load stands still"
            time.sleep(0.05)

    def __enter__(self):
        for client in self._clients:
            client.start()
        self.wait_for(20)
        return self

    def __exit__(self, *_):
        self._stop.set()
        for client in self._clients:
            client.join()


@pytest.mark.parametrize("name", ["gcp", "front"])
def test_security_context(clouds, name):
    pod = clouds.pods[name][0]
    status = pod.status()
    user = str(pod.spec["securityContext"]["runAsUser"])
    assert status["Uid"].split() == [user] * 4
    for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb"):
        assert int(status[f"Cap{kind}"], 16) == 0
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    for path in ("/etc/x", "/usr/x", "/opt/x", "/var/x", "/home/x"):
        assert pod.exec("touch", path, check=False).returncode != 0
    assert pod.exec("touch", "/tmp/x", check=False).returncode == 0


@pytest.mark.parametrize("name", ["gcp", "front"])
def test_probes(clouds, name):
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert clouds.pods[name][0].probe(probe)


def test_the_admin_endpoint_wants_the_token(clouds):
    pod = clouds.pods["front"][0]
    assert ask(pod.address, 8081, "GET", "/admin/stats")[0] == 401
    status, stats = ask(pod.address, 8081, "GET", "/admin/stats", headers={"Authorization": f"Bearer {TOKEN}"})
    assert status == 200
    assert [backend["name"] for backend in json.loads(stats)["backends"]] == ["gcp", "azure"]


@pytest.mark.skipif(not ESCAPES.exists(), reason="no deploy/backend/tests/test_escapes.py: nobody tries to escape")
def test_nobody_escapes_from_the_pod(clouds):
    pod = clouds.pods["azure"][0]
    done = subprocess.run(["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", ESCAPES], check=False,
                          capture_output=True, text=True, timeout=150, cwd=ESCAPES.parent,
                          env={**os.environ, "ESCAPES_URL": f"http://{pod.address}:{pod.port}"})
    assert done.returncode == 0, done.stdout[-6000:]
    assert pod.probe("readinessProbe")


def test_nothing_is_lost_when_pods_go(clouds):
    """A rolling update of both, then a whole cloud that dies, and comes back."""
    with Load() as load, concurrent.futures.ThreadPoolExecutor(2) as pool:
        # Each is replaced the way that a rolling update with maxUnavailable 0 does it.
        for name in ("gcp", "front"):
            clouds.ready(name, clouds.add(name))
        going = [pool.submit(clouds.delete, name, clouds.pods[name][0]) for name in ("gcp", "front")]
        for gone in going:
            assert gone.result() > 0, "it took the whole grace period and was killed"
        load.wait_for(50)
        assert load.wrong == []

        for pod in clouds.pods["gcp"][1:]:
            pod.kill()
            clouds.services["gcp"].remove(pod)
        load.wait_for(200)
        assert load.wrong == []

        clouds.ready("gcp", clouds.add("gcp"))
        load.wait_for(50)
    assert load.wrong == [] and load.asked > 300
    assert clouds.pods["front"][0].exit_code() == 0
    assert clouds.pods["gcp"][0].exit_code() == 0


def test_the_minimal_image_serves_too(clouds):
    """It starts by its config, serves, leaves and stops, with next to nothing but the program in it."""
    pod = clouds.add("front", image="holdfast-minimal")
    pod.wait_started()
    status, _ = ask(pod.address, pod.port, "GET", "/healthz")
    assert status == 200
    assert pod.exec("/usr/bin/holdfast-health", "8081", "/admin/healthz").returncode == 0
    assert pod.exec("/usr/bin/holdfast-health", "8080", "/no/such/page", check=False).returncode == 1
    assert pod.delete() > 0
    assert pod.exit_code() == 0
