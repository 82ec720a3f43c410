# SPDX-License-Identifier: MIT
"""What every measurement stands on: the programs built, two origins, and a proxy started over them."""
import argparse
import os
import pwd
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass

import load
from load import OUT, ROOT
from procs import Child, Failed, stop_all
from proxies import WORKERS, make_proxies


@dataclass
class Running:
    """A proxy that answers on `port`."""
    port: int
    child: Child


class Ground:
    """Two origins and a folder for configs, from __enter__ to __exit__. An origin that died can be had again
    on its port."""

    def __init__(self):
        self.workdir = None
        self.origins = [None, None]
        self.addresses = ["127.0.0.1:0", "127.0.0.1:0"]

    def __enter__(self):
        raise_descriptor_limit()
        self.workdir = tempfile.mkdtemp(prefix="holdfast-bench-")
        try:
            self.restore_origins()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_cause):
        ignore_signals()
        stop_all()
        shutil.rmtree(self.workdir, ignore_errors=True)

    def restore_origins(self):
        """Starts those origins that do not run."""
        for at, origin in enumerate(self.origins):
            if origin and origin.popen.poll() is None:
                continue
            if origin:
                origin.stop()
            child = Child(f"origin {at + 1}", [f"{OUT}/origin", "--listen", self.addresses[at]],
                          stdout=subprocess.PIPE)
            self.origins[at] = child
            port = child.popen.stdout.readline().strip()
            if not port:
                child.popen.wait()
                child.check_alive()
            self.addresses[at] = f"127.0.0.1:{int(port)}"

    def start(self, proxy, cores=None, environment=None, **more):
        """Starts the proxy on a free port, on the first `cores` only, and waits for its first answer."""
        port = free_port()
        values = {
            "listen": f"127.0.0.1:{port}", "port": port, "origin1": self.addresses[0],
            "origin2": self.addresses[1], "workdir": self.workdir, "cores": cores or os.cpu_count(),
            "user": pwd.getpwuid(os.getuid()).pw_name,
            "nofile": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            "workers": WORKERS, "when_killed": "", **more,
        }
        proxy.write_config(values)
        pinned = ["taskset", "-c", f"0-{cores - 1}"] if cores else []
        child = Child(proxy.name, pinned + proxy.command(values), environment=environment)
        load.first_answer(port, child)
        return Running(port, child)


def free_port():
    """A port nobody listens on, below those that the kernel gives to outgoing connections."""
    for port in range(20000 + os.getpid() % 10000, 32768):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise Failed("no free port")


def build_tool(name, *flags):
    """Builds tests/bench/NAME.c; returns the path of what came out."""
    os.makedirs(OUT, exist_ok=True)
    subprocess.run(["cc", "-std=c17", "-D_GNU_SOURCE", "-O2", "-Wall", "-Wextra", "-pthread", *flags,
                    f"{load.HERE}/{name}.c", "-o", f"{OUT}/{name}"], check=True)
    return f"{OUT}/{name}"


def build_holdfast():
    for command in (["cmake", "--preset", "release"],
                    ["cmake", "--build", "--preset", "release", "-j", "--target", "holdfast"]):
        subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)


def parse_options(description):
    """The options of the scripts that look into holdfast."""
    parser = argparse.ArgumentParser(description=description,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=3, help="seconds of load per run (default 3)")
    parser.add_argument("--binary", metavar="PATH", help="this holdfast, not a release build of the tree")
    parser.add_argument("--proxy", default="holdfast", help="look into another proxy (default holdfast)")
    options = parser.parse_args()
    if options.seconds < 1:
        parser.error("--seconds: expected 1 or more")
    return parser, options


def look_into(description, needs, section):
    """The main of such a script: prints what section(proxy, seconds) found."""
    os.environ["PATH"] += ":/usr/sbin"
    parser, options = parse_options(description)
    proxies = make_proxies(os.path.abspath(options.binary) if options.binary else f"{ROOT}/build/holdfast")
    if options.proxy not in proxies:
        parser.error(f"--proxy {options.proxy}: expected one of {', '.join(proxies)}")
    proxy = proxies[options.proxy]
    for program, package in {"wrk": "wrk", **needs}.items():
        if not shutil.which(program):
            parser.error(f"{program} is not installed: apt-get install {package}")
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    build_tool("origin")
    if proxy.yardstick:
        build_tool(proxy.name)
    elif proxy.name == "holdfast" and not options.binary:
        build_holdfast()
    try:
        print(section(proxy, options.seconds))
    except Failed as error:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {error}")


def raise_descriptor_limit():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def ignore_signals():
    """A second Ctrl-C must not leave a program behind."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
