# SPDX-License-Identifier: MIT
"""Network namespaces, and what is in them: cables, addresses, a Service, a router that counts.

A namespace here has no name in the file system. It lives as long as this process has its descriptor and a
process is in it, so nothing is left when the rehearsal ends, however that is.
"""
import ctypes
import json
import os
import socket
import subprocess
import sys
import threading

CLONE_NEWNET = 0x40000000
SERVICE_PORT = 80
POD_PORT = 8000
FRONT, CLIENTS = "10.0.2.2", "10.0.1.2"

_libc = ctypes.CDLL(None, use_errno=True)


class Failed(Exception):
    """Something that must work for the rehearsal to mean anything did not; the text says what."""


def run(argv, text=None):
    """Runs a command to its end; its standard output. Raises Failed with what it complained of."""
    done = subprocess.run(argv, input=text, text=True, capture_output=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip()}")
    return done.stdout


def _in_thread(work):
    """What work() returns, from a thread of its own: a thread may change its namespace, the process stays."""
    result = []

    def body():
        try:
            result.append((work(), None))
        except (OSError, Failed) as error:
            result.append((None, error))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    value, error = result[0]
    if error is not None:
        raise error
    return value


def _check(status, what):
    if status != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def enter(path):
    """Moves the calling thread into the namespace at `path`."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _check(_libc.setns(fd, CLONE_NEWNET), f"setns {path}")
    finally:
        os.close(fd)


class Namespace:
    def __init__(self, name):
        self.name = name
        self._fd = _in_thread(self._make)
        self.path = f"/proc/{os.getpid()}/fd/{self._fd}"
        self.ip("link", "set", "lo", "up")

    @staticmethod
    def _make():
        _check(_libc.unshare(CLONE_NEWNET), "unshare")
        return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    def command(self, *argv):
        """`argv` as a command that runs in here."""
        return ["nsenter", f"--net={self.path}", "--", *argv]

    def run(self, *argv, text=None):
        return run(self.command(*argv), text)

    def ip(self, *argv):
        return self.run("ip", *argv)

    def nft(self, rules):
        self.run("nft", "-f", "-", text=rules)

    def connect(self, host, port, timeout_s):
        """A socket that is connected from in here. A socket stays in the namespace where it was made."""

        def work():
            enter(self.path)
            return socket.create_connection((host, port), timeout_s)

        return _in_thread(work)


def join(a, b, a_cidr, b_cidr, a_device, b_device):
    """A cable without latency between two namespaces."""
    a.ip("link", "add", a_device, "type", "veth", "peer", "name", b_device, "netns", b.path)
    for namespace, device, cidr in ((a, a_device, a_cidr), (b, b_device, b_cidr)):
        namespace.ip("addr", "add", cidr, "dev", device)
        namespace.ip("link", "set", device, "up")


class Cloud:
    """The network of one cloud: `10.NUMBER.0.0/16`, behind a cable with latency."""

    def __init__(self, name, number):
        self.name = name
        self.subnet = f"10.{number}.0.0/16"
        self.near, self.far = f"10.{number}.0.1", f"10.{number}.0.2"
        self.address = f"10.{number}.0.80"  # of the Service: what the front end knows
        self.number = number

    def pod_address(self, index):
        """`index` counts the pods of the cloud from 0; addresses come round after 250."""
        return f"10.{self.number}.1.{index % 250 + 1}"


def service_rules(address, pods):
    """nftables rules that stand for a Service: each new connection to `address` goes to one of `pods` (their
    addresses) by lot and stays there, as kube-proxy has it; without pods it is reset, as by a host on whose port
    nobody listens. (kube-proxy answers with an ICMP message instead, which kernels send only now and then; what
    is not answered is rehearsed too, with a black hole.) Chains are refilled and never removed, so connections that exist keep their translation."""
    lines = [
        "add table ip service",
        "add chain ip service choose { type nat hook prerouting priority dstnat; }",
        "add chain ip service refuse { type filter hook input priority filter; }",
        "flush chain ip service choose",
        "flush chain ip service refuse",
    ]
    choices = []
    for number, pod in enumerate(pods):
        chain = f"pod-{pod.replace('.', '-')}"
        lines += [
            f"add chain ip service {chain}",
            f"flush chain ip service {chain}",
            f"add rule ip service {chain} meta l4proto tcp dnat to {pod}:{POD_PORT}",
        ]
        choices.append(f"{number} : goto {chain}")
    match = f"ip daddr {address} tcp dport {SERVICE_PORT}"
    if choices:
        lines.append(
            f"add rule ip service choose {match} numgen random mod {len(choices)} vmap {{ {', '.join(choices)} }}"
        )
    else:
        lines.append(f"add rule ip service refuse {match} reject with tcp reset")
    return "\n".join(lines) + "\n"


def router_rules(clouds, holes=()):
    """nftables rules for the router: counts the connections begun toward each cloud's Service, and drops all
    packets from and to the clouds named in `holes`."""
    lines = ["add table ip router"]
    lines += [f"add counter ip router {cloud.name}" for cloud in clouds]
    lines += [
        "add chain ip router forward { type filter hook forward priority filter; }",
        "flush chain ip router forward",
    ]
    for cloud in clouds:
        lines.append(
            f"add rule ip router forward ip daddr {cloud.address} tcp flags & (syn | ack) == syn"
            f" counter name {cloud.name}"
        )
    for cloud in clouds:
        if cloud.name in holes:
            lines.append(f"add rule ip router forward ip daddr {cloud.subnet} drop")
            lines.append(f"add rule ip router forward ip saddr {cloud.subnet} drop")
    return "\n".join(lines) + "\n"


class Network:
    """All of it: clients and front end at a router, and a cable with latency to each cloud."""

    def __init__(self, clouds, delays_ms):
        self.clouds = clouds
        self.router = Namespace("router")
        self.clients = Namespace("clients")
        self.front = Namespace("front")
        self.of = {cloud.name: Namespace(cloud.name) for cloud in clouds}
        self.cables = []
        self._holes = set()
        join(self.router, self.clients, "10.0.1.1/24", f"{CLIENTS}/24", "clients", "out")
        join(self.router, self.front, "10.0.2.1/24", f"{FRONT}/24", "front", "out")
        self.clients.ip("route", "add", "default", "via", "10.0.1.1")
        self.front.ip("route", "add", "default", "via", "10.0.2.1")
        for cloud in clouds:
            self._lay_cable(cloud, delays_ms[cloud.name])
        for namespace in (self.router, *self.of.values()):
            namespace.run("sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward")
        self._set_rules()

    def _lay_cable(self, cloud, delay_ms):
        namespace = self.of[cloud.name]
        argv = [sys.executable, "-m", "rehearsal.cable", self.router.path, cloud.name, namespace.path, "out"]
        cable = subprocess.Popen([*argv, str(delay_ms)], stdout=subprocess.PIPE, text=True)
        self.cables.append(cable)
        if cable.stdout.readline() != "ready\n":
            raise Failed(f"no cable to {cloud.name}: see above")
        self.router.ip("addr", "add", cloud.near, "peer", cloud.far, "dev", cloud.name)
        namespace.ip("addr", "add", cloud.far, "peer", cloud.near, "dev", "out")
        self.router.ip("link", "set", cloud.name, "up")
        namespace.ip("link", "set", "out", "up")
        self.router.ip("route", "add", cloud.subnet, "via", cloud.far)
        namespace.ip("route", "add", "default", "via", cloud.near)
        namespace.ip("addr", "add", f"{cloud.address}/32", "dev", "lo")

    def _set_rules(self):
        self.router.nft(router_rules(self.clouds, self._holes))

    def swallow(self, cloud):
        """From now on every packet from and to the cloud is lost without a word."""
        self._holes.add(cloud.name)
        self._set_rules()

    def heal(self, cloud):
        self._holes.discard(cloud.name)
        self._set_rules()

    def connects(self, cloud):
        """How many connections were begun toward the cloud's Service: SYN packets, repeated ones too."""
        listed = json.loads(self.router.run("nft", "-j", "list", "counter", "ip", "router", cloud.name))
        return next(item["counter"]["packets"] for item in listed["nftables"] if "counter" in item)

    def stop(self):
        for cable in self.cables:
            cable.kill()
            cable.wait()
