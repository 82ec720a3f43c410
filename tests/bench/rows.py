# SPDX-License-Identifier: MIT
"""The rows of the table: what load each puts on a proxy and what it measures.

A row has prepare(bench, proxy), called once before the rounds, and measure(bench, proxy, running), called
once per round, which returns a dict: figures by the keys of METRICS, and "wrong", empty if all went well.
A new kind of work is a new class with these two and a line in ROWS.
"""
import os
import statistics
import time
from dataclasses import dataclass

import load
from procs import Failed
from proxies import WORKERS

# Key: (label, digits after the point). In every one but requests/s, less is better.
METRICS = {
    "rps": ("requests/s", 0),
    "p50_ms": ("p50, ms", 2),
    "p99_ms": ("p99, ms", 2),
    "p999_ms": ("p99.9, ms", 2),
    "cpu_us": ("CPU per request, µs", 1),
    "peak_mb": ("peak RSS, MB", 1),
    "idle_mb": ("memory with the idle clients, MB", 1),
    "idle_kb": ("memory per idle client, KB", 2),
    "idle_cpu_us": ("CPU per second while idle, µs", 0),
    "new_client_ms": ("a new client's answer, ms", 2),
    "failed": ("failed requests", 0),
    "gap_ms": ("longest time without any good answer, ms", 1),
    "dip_ms": ("time below half the rate, ms", 0),
    "worst_ms": ("longest wait of one client, ms", 1),
    "start_ms": ("start to first answer, ms", 1),
}
MB = 1e6


@dataclass
class LoadRow:
    """wrk with `clients` connections, each sending its next request when it has its answer."""
    name: str
    about: str
    clients: int
    method: str = "GET"
    path: str = "/"
    body_bytes: int = 0
    answer_bytes: int = 100
    close: bool = False
    cores: int = 0  # The proxy may use the first so many; 0: all.
    workers: int = WORKERS

    def prepare(self, bench, proxy):
        if self.cores > os.cpu_count():
            raise Failed(f"there are {os.cpu_count()} cores")
        running = bench.start(proxy, cores=self.cores, workers=self.workers)
        load.verify(running.port, self)
        load.run_wrk(running.port, self, 1)
        return running

    def measure(self, bench, _proxy, running):
        running.child.settle()
        before = running.child.cpu_ns()
        figures = load.run_wrk(running.port, self, bench.seconds)
        running.child.check_alive()
        running.child.settle()
        cpu_ns = running.child.cpu_ns() - before
        requests = max(figures["requests"], 1)
        return {
            "rps": figures["requests"] / figures["seconds"],
            "p50_ms": figures["p50_ms"], "p99_ms": figures["p99_ms"], "p999_ms": figures["p999_ms"],
            "cpu_us": cpu_ns / 1e3 / requests,
            "peak_mb": running.child.peak_rss_bytes() / MB,
            "wrong": figures["wrong"],
        }


@dataclass
class IdleRow:
    """Clients that sent one request each and stay connected: what the proxy keeps for them."""
    name: str
    about: str
    clients: int

    def prepare(self, _bench, _proxy):
        return None

    def measure(self, bench, proxy, _running):
        running = bench.start(proxy)
        clients = load.IdleClients(running.port, self.clients)
        try:
            running.child.settle()
            empty = running.child.memory_bytes()
            clients.open()
            running.child.settle()
            full = running.child.memory_bytes()
            before = running.child.cpu_ns()
            time.sleep(1)  # The second whose CPU time is measured.
            idle_cpu_ns = running.child.cpu_ns() - before
            new_client = statistics.median(load.time_new_client(running.port) for _ in range(21))
            lost = clients.lost()
        finally:
            clients.close()
            running.child.stop()
        wrong = f"{lost} idle clients lost" if lost else ""
        if clients.count < self.clients:
            wrong = f"only {clients.count} clients fit under the limit of open files (ulimit -n)"
        return {"idle_mb": full / MB, "idle_kb": (full - empty) / clients.count / 1e3,
                "idle_cpu_us": idle_cpu_ns / 1e3, "new_client_ms": new_client, "wrong": wrong}


@dataclass
class KillRow:
    """One of the two origins gets SIGKILL in the midst of the load, and stays away. Proxies remember that an
    origin is dead, so each round has a new one."""
    name: str
    about: str
    clients: int

    def prepare(self, _bench, _proxy):
        return None

    def measure(self, bench, proxy, _running):
        running = bench.start(proxy, when_killed=proxy.when_killed)
        try:
            load.run_wrk(running.port, SMALL, 1)  # Warms up, as in the other rows.
            figures = load.run_mourner(running.port, self.clients, bench.ground.origins[0],
                                       max(1, bench.seconds // 2), bench.seconds)
            running.child.check_alive()
        finally:
            running.child.stop()
            bench.ground.restore_origins()
        return {**figures, "wrong": ""}


@dataclass
class StartRow:
    """From the start of the program until a client has a 200 from an origin."""
    name: str
    about: str
    starts: int = 5

    def prepare(self, _bench, _proxy):
        return None

    def measure(self, bench, proxy, _running):
        times = []
        for _ in range(self.starts):
            began = time.perf_counter()
            running = bench.start(proxy)
            times.append((time.perf_counter() - began) * 1e3)
            running.child.stop()
        return {"start_ms": statistics.median(times), "wrong": ""}


SMALL = LoadRow("small-64", "GET, 100-byte answers, 64 keep-alive clients", 64)
ROWS = {row.name: row for row in (
    SMALL,
    LoadRow("small-64-1core", "the same, the proxy on one core", 64, cores=1),
    LoadRow("small-1000", "GET, 100-byte answers, 1000 keep-alive clients", 1000),
    LoadRow("post-64", "POST of 100 bytes, 100-byte answers, 64 keep-alive clients", 64, "POST",
            body_bytes=100),
    LoadRow("delay20-1000", "GET, origins answer after 20 ms, 1000 keep-alive clients", 1000,
            path="/delay/20", workers=1024),
    LoadRow("body1m-16", "GET, answers of 1 MiB, 16 keep-alive clients", 16, path="/bytes/1048576",
            answer_bytes=1048576),
    LoadRow("upload1m-16", "POST of 1 MiB, 100-byte answers, 16 keep-alive clients", 16, "POST",
            body_bytes=1048576),
    LoadRow("connect", "GET, a new connection per request (Connection: close), 64 clients", 64, close=True),
    IdleRow("idle-10000", "10,000 keep-alive clients that sent one request each and now say nothing", 10000),
    KillRow("kill-64", "GET, 64 keep-alive clients; one of the two origins is killed in the midst of it", 64),
    StartRow("start", "start of the program to the first answer (median of 5 starts per round)"),
)}
