# SPDX-License-Identifier: MIT
"""Runs the pods of a Deployment with podman, as a kubelet would: under the manifest's users, limits and security
context, with its volumes, environment, probes and hooks, each in a network namespace of its own.

A field of a pod that this does not know is an error, so that nothing in a manifest is left untried by silence.
"""
import base64
import http.client
import json
import os
import pathlib
import subprocess
import time

from pods import environment, expand

CONTAINERS_CONF = str(pathlib.Path(__file__).with_name("containers.conf"))
BRIDGE = "pods"
NETWORK = "10.93.0."
POD_FIELDS = {"automountServiceAccountToken", "containers", "enableServiceLinks", "securityContext",
              "serviceAccountName", "terminationGracePeriodSeconds", "topologySpreadConstraints", "volumes"}
CONTAINER_FIELDS = {"args", "env", "image", "imagePullPolicy", "lifecycle", "livenessProbe", "name", "ports",
                    "readinessProbe", "resources", "securityContext", "startupProbe", "volumeMounts"}
UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30}


def run(*command, check=True, timeout=60, **more):
    return subprocess.run([str(word) for word in command], check=check, timeout=timeout, text=True,
                          capture_output=True, **more)


def podman(*words, **more):
    return run("podman", *words, env={**os.environ, "CONTAINERS_CONF": CONTAINERS_CONF}, **more)


def quantity(text):
    return int(text[:-2]) * UNITS[text[-2:]]


def cores(text):
    return float(text[:-1]) / 1000 if text.endswith("m") else float(text)


def make_network():
    """A bridge in this network namespace, on which all pods are."""
    run("ip", "link", "set", "lo", "up")
    # With an address of its own: otherwise it takes the lowest of its ports', another one when pods come, and
    # those who knew the last one can't reach it for a while.
    run("ip", "link", "add", BRIDGE, "address", "02:00:00:00:00:01", "type", "bridge")
    run("ip", "address", "add", NETWORK + "1/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")


class Pod:
    """One pod. Made: not started; start(), then delete() or kill(). close() at the end, whatever happened."""

    def __init__(self, documents, deployment, number, image, folder, secrets, values=None):
        """number: of its address, from 2 to 254, and unique; secrets: name -> {key: text}; values: of the
        ConfigMap "cloud", instead of those in documents."""
        self.documents = documents
        self.spec = deployment["spec"]["template"]["spec"]
        (self.container,) = self.spec["containers"]
        unknown = (set(self.spec) - POD_FIELDS) | (set(self.container) - CONTAINER_FIELDS)
        assert not unknown, f"this kubelet does not know {unknown}"
        self.name = f"{deployment['metadata']['name']}-{os.getpid()}-{number}"
        self.address = f"{NETWORK}{number}"
        self.image = image
        self.folder = folder / self.name
        self.secrets = secrets
        self.values = values or {}
        self.port = self.container["ports"][0]["containerPort"]

    def start(self):
        self._plug_in()
        podman("run", "--detach", "--pull=never", "--name", self.name, f"--network=ns:/run/netns/{self.name}",
               "--no-hosts", "--no-healthcheck", *self._security(), *self._resources(), *self._volumes(),
               *self._environment(), self.image, *self._arguments())

    def _plug_in(self):
        link = f"p{self.address.rsplit('.', 1)[1]}"
        run("ip", "netns", "add", self.name)
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", self.name)
        run("ip", "link", "set", link, "master", BRIDGE, "up")
        for words in (["link", "set", "lo", "up"], ["address", "add", self.address + "/24", "dev", "eth0"],
                      ["link", "set", "eth0", "up"]):
            run("ip", "-netns", self.name, *words)

    def _security(self):
        pod, own = self.spec["securityContext"], self.container["securityContext"]
        assert pod["runAsNonRoot"] and pod["runAsUser"] > 0 and pod["seccompProfile"] == {"type": "RuntimeDefault"}
        words = [f"--user={pod['runAsUser']}:{pod['runAsGroup']}", f"--group-add={pod['fsGroup']}"]
        words += [f"--cap-drop={name}" for name in own["capabilities"]["drop"]]
        if own["readOnlyRootFilesystem"]:
            words += ["--read-only", "--read-only-tmpfs=false"]
        if not own["allowPrivilegeEscalation"]:
            words += ["--security-opt=no-new-privileges"]
        return words

    def _resources(self):
        limits = self.container["resources"]["limits"]
        return [f"--memory={quantity(limits['memory'])}", f"--cpus={cores(limits['cpu'])}", "--pids-limit=1024"]

    def _volumes(self):
        group = self.spec["securityContext"]["fsGroup"]
        words = []
        for mount in self.container["volumeMounts"]:
            volume = next(one for one in self.spec["volumes"] if one["name"] == mount["name"])
            here = self.folder / volume["name"]
            here.mkdir(parents=True)
            if "emptyDir" in volume:
                scratch = volume["emptyDir"]
                if scratch.get("medium") == "Memory":
                    words.append(f"--tmpfs={mount['mountPath']}:rw,nosuid,nodev,mode=1777,"
                                 f"size={quantity(scratch['sizeLimit'])}")
                    continue
                os.chown(here, 0, group)
                here.chmod(0o2777)
            else:
                source = volume.get("configMap") or volume.get("secret")
                data = self._data(source["name"]) if "configMap" in volume else self.secrets[source["secretName"]]
                for key, text in data.items():
                    (here / key).write_text(text, encoding="utf-8")
                    os.chown(here / key, 0, group)
                    (here / key).chmod(source["defaultMode"])
            words.append(f"--volume={here}:{mount['mountPath']}:{'ro' if mount.get('readOnly') else 'rw'}")
        return words

    def _data(self, name):
        """What is in a ConfigMap."""
        data = next(document["data"] for document in self.documents
                    if document["kind"] == "ConfigMap" and document["metadata"]["name"] == name)
        return {**data, **self.values} if name.startswith("cloud-") else data

    def _variables(self):
        return environment(self.container, self._data, {"metadata.name": self.name})

    def _environment(self):
        return [f"--env={name}={value}" for name, value in self._variables().items()]

    def _arguments(self):
        return [expand(argument, self._variables()) for argument in self.container.get("args", [])]

    def probe(self, name):
        """Asks once what a probe of the manifest asks. Whether the answer was good."""
        ask = self.container[name]["httpGet"]
        port = next(port["containerPort"] for port in self.container["ports"] if port["name"] == ask["port"])
        connection = http.client.HTTPConnection(self.address, port, timeout=self.container[name]["timeoutSeconds"])
        try:
            connection.request("GET", ask["path"])
            return 200 <= connection.getresponse().status < 400
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def wait_started(self):
        """Until the startup probe is good; it has as long as the manifest says."""
        probe = self.container["startupProbe"]
        deadline = time.monotonic() + probe["periodSeconds"] * probe["failureThreshold"]
        while not self.probe("startupProbe"):
            assert time.monotonic() < deadline, f"{self.name} did not start:\n{self.log()}"
            time.sleep(0.1)

    def delete(self):
        """As when a pod is deleted: the hook, SIGTERM, and SIGKILL when the grace period is over. Returns the
        seconds that were left of it."""
        grace = self.spec["terminationGracePeriodSeconds"]
        began = time.monotonic()
        hook = self.container.get("lifecycle", {}).get("preStop")
        if hook:
            podman("exec", self.name, *hook["exec"]["command"], timeout=grace)
        left = int(grace - (time.monotonic() - began))
        podman("stop", f"--time={left}", self.name, timeout=left + 30)
        return grace - (time.monotonic() - began)

    def kill(self):
        podman("kill", "--signal=KILL", self.name)

    def exec(self, *command, **more):
        return podman("exec", self.name, *command, **more)

    def status(self):
        """/proc/1/status of the container, from outside, as a dictionary."""
        pid = podman("inspect", "--format={{.State.Pid}}", self.name).stdout.strip()
        with open(f"/proc/{pid}/status", encoding="ascii") as file:
            return dict(line.strip().split(":\t", 1) for line in file if ":\t" in line)

    def exit_code(self):
        return int(podman("inspect", "--format={{.State.ExitCode}}", self.name).stdout)

    def log(self):
        done = podman("logs", self.name, check=False)
        return done.stdout + done.stderr

    def close(self):
        podman("rm", "--force", "--time=0", self.name, check=False)
        run("ip", "netns", "delete", self.name, check=False)


def token_of(secret):
    return base64.b64decode(json.loads(secret)["data"]["token"]).decode()
