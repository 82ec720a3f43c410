# SPDX-License-Identifier: MIT
"""The origins of the fault matrix as processes, and everything that is done to one of them."""
import asyncio
import os
import signal
import subprocess
import sys
from dataclasses import dataclass

from origin import MODES
from procs import Child, Failed, until_ready

HERE = os.path.dirname(os.path.abspath(__file__))
AWAY_SECONDS = 1.5  # how long an origin that comes back is away
NETWORK = "HOLDFAST_DRILL_NETWORK"  # set in the environment when we are in a network of our own
BRIDGE, BRIDGE_ADDRESS, FAR_ADDRESS = "drill0", "10.77.0.1", "10.77.0.2"
BRIDGE_MAC, FAR_MAC = "02:00:00:00:00:01", "02:00:00:00:00:02"


def run(*words):
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(words)}: {done.stderr.strip()}")


def in_own_network():
    """Starts this script again in a network namespace, if it may; the kernel takes that away when the last
    process in it is gone. Returns why it may not, or None when we are there."""
    if NETWORK in os.environ:
        return None
    if os.geteuid() != 0:
        return "only root may make a network"
    able = subprocess.run(["unshare", "--net", "ip", "link", "add", BRIDGE, "type", "bridge"],
                          capture_output=True, text=True, check=False)
    if able.returncode != 0:
        return f"this machine refuses to make a network: {able.stderr.strip()}"
    os.environ[NETWORK] = "yes"
    os.execvp("unshare", ["unshare", "--net", sys.executable, *sys.argv])
    return None


def lay_cables():
    """The near end: the loopback, and a switch to which the far origin is plugged."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", BRIDGE, "address", BRIDGE_MAC, "type", "bridge")
    run("ip", "address", "add", f"{BRIDGE_ADDRESS}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    run("ip", "neigh", "replace", FAR_ADDRESS, "lladdr", FAR_MAC, "nud", "permanent", "dev", BRIDGE)


class OriginProcess:
    """One origin. It can be killed and started again at the same address."""

    def __init__(self, name, workdir, port):
        self.name = name
        self.host = "127.0.0.1"
        self.port = port
        self.control = f"{workdir}/{name}.control"
        self.log = f"{workdir}/{name}.log"
        self.child = None

    @property
    def authority(self):
        return f"{self.host}:{self.port}"

    @property
    def pid(self):
        return self.child.popen.pid

    def words(self):
        return [sys.executable, f"{HERE}/origin.py", self.host, str(self.port), self.control, self.log]

    async def connect_to_network(self):
        """Nothing to do on the loopback."""

    async def start(self):
        self.child = Child(self.name, self.words())
        await self.connect_to_network()
        await until_ready(self.child, self._answers)

    async def _answers(self):
        try:
            _, writer = await asyncio.open_connection(self.host, self.port)
            writer.close()
            await self.become("sound")
            return True
        except OSError:
            return False

    async def become(self, mode):
        reader, writer = await asyncio.open_unix_connection(self.control)
        writer.write(mode.encode() + b"\n")
        if await reader.readline() != b"ok\n":
            raise Failed(f"{self.name} does not obey")
        writer.close()

    async def end_with(self, number):
        os.kill(self.pid, number)
        await asyncio.to_thread(self.child.popen.wait)

    async def kill(self):
        await self.end_with(signal.SIGKILL)

    async def terminate(self):
        await self.end_with(signal.SIGTERM)

    async def stop(self):
        os.kill(self.pid, signal.SIGSTOP)

    def records(self):
        """Everything it wrote down: (seconds, id, event)."""
        if not os.path.exists(self.log):
            return []
        with open(self.log, encoding="ascii") as file:
            return [(float(when), identity, event) for when, identity, event in map(str.split, file)]


class FarOriginProcess(OriginProcess):
    """An origin in a network namespace of its own, at the other end of a cable that can be pulled. When the
    process ends, the kernel takes its namespace and its cable away."""

    cables = 0  # how many were laid in all; the kernel is in no hurry to take one away

    def __init__(self, name, workdir, port):
        super().__init__(name, workdir, port)
        self.host = FAR_ADDRESS

    def words(self):
        near, python, script, _, *rest = ["unshare", *super().words()]
        return [near, "--net", python, script, "0.0.0.0", *rest]

    def _is_away(self):
        return os.readlink(f"/proc/{self.pid}/ns/net") != os.readlink("/proc/self/ns/net")

    async def connect_to_network(self):
        while not self._is_away():
            self.child.check_alive()
            await asyncio.sleep(0.005)
        if FarOriginProcess.cables:
            last = f"cable{FarOriginProcess.cables}"
            subprocess.run(["ip", "link", "delete", last], stderr=subprocess.DEVNULL, check=False)
        FarOriginProcess.cables += 1
        cable = f"cable{FarOriginProcess.cables}"
        run("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "address", FAR_MAC, "netns",
            str(self.pid))
        far = ["nsenter", "--net", f"--target={self.pid}", "ip"]
        run(*far, "link", "set", "lo", "up")
        run(*far, "address", "add", f"{FAR_ADDRESS}/24", "dev", "eth0")
        run(*far, "link", "set", "eth0", "up")
        run(*far, "neigh", "replace", BRIDGE_ADDRESS, "lladdr", BRIDGE_MAC, "nud", "permanent", "dev", "eth0")
        run("ip", "link", "set", cable, "master", BRIDGE, "up")

    async def pull_cable(self):
        """From here on all packets, either way, are lost without a word: both ends keep their addresses."""
        run("ip", "link", "set", f"cable{FarOriginProcess.cables}", "nomaster")

    async def delete(self):
        """As a machine is deleted: no connection is closed, nothing answers any more."""
        await self.pull_cable()
        await self.kill()


@dataclass
class Fault:
    """What is done to an origin, and whether it is started again after a while. far: it needs a network. For
    holdfast alone: the config laid over its own, and the most milliseconds that a request may take."""
    name: str
    inflict: object
    returns: bool = False
    far: bool = False
    overlay: dict | None = None
    longest_ms: float | None = None

    def concerns(self, proxy):
        return self.overlay is None or proxy.name == "holdfast"


# With active checks a backend that hangs is known long before a response is overdue, and requests that wait
# for it are taken away from it at once.
PROBE = {"path": "/healthz", "interval_ms": 250, "timeout_ms": 500, "fall": 2}
PROBE_JITTER = 1.1  # two probes are so many intervals apart at the most
ATTEMPT_MS = 1000  # one at a sound origin, on a busy machine: far more than it takes, far less than response_ms


def detected_ms():
    """After how long a backend that hangs is out at the latest. It hangs when a probe has just been good, so
    there is one interval until the next; each of the FALL that it takes ends by its timeout, which is longer
    than an interval, so that one follows the other at once."""
    assert PROBE["timeout_ms"] > PROBE_JITTER * PROBE["interval_ms"]
    return PROBE_JITTER * PROBE["interval_ms"] + PROBE["fall"] * PROBE["timeout_ms"]


def _probed(name, inflict, **more):
    return Fault(name, inflict, overlay={"health": {"probe": PROBE}}, longest_ms=detected_ms() + ATTEMPT_MS, **more)


def _mode(name):
    return Fault(name, lambda origin: origin.become(name))


FAULTS = {fault.name: fault for fault in (
    Fault("kill-9", OriginProcess.kill),
    Fault("sigstop", OriginProcess.stop),
    _probed("sigstop-probed", OriginProcess.stop),
    _mode("refuse"),
    Fault("black-hole", FarOriginProcess.pull_cable, far=True),
    _probed("black-hole-probed", FarOriginProcess.pull_cable, far=True),
    _mode("accept-and-close"),
    *(_mode(name) for name in MODES if name != "sound"),
    Fault("restart", OriginProcess.terminate, returns=True),
    Fault("delete-and-recreate", FarOriginProcess.delete, returns=True, far=True),
)}
