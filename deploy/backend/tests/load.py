#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""Lets a backend run print(1+1) on CONNECTIONS connections at once for SECONDS, and tells how long that took.

usage: load.py PORT CONNECTIONS SECONDS PID

PID is the backend's first process. The CPU time, which says what a run costs also where other programs take their
share of the cores, is that of all its processes, those that have ended too.
Each connection sends its next request when it has its answer. The times are those that were seen: wrk, for one,
adds times to its list that it thinks a stall has hidden, so that one stall of 0.15 s in 10 s makes its p99.
"""

import os
import pathlib
import selectors
import socket
import sys
import time

BODY = b'{"code": "print(1+1)"}'
REQUEST = (
    b"POST /py/eval HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    % len(BODY)
) + BODY
ANSWER_START, ANSWER_END = b"HTTP/1.1 200 OK\r\n", b'"timed_out":false}\n'
SILENCE_SECONDS = 20.0


class Connection:
    """One connection with one request on its way."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self):
        self._answer = b""
        self._since = time.perf_counter()
        self.socket.sendall(REQUEST)

    def hear(self):
        """Reads once. Returns the seconds the answer took, or None while it is not whole."""
        piece = self.socket.recv(65536)
        self._answer += piece
        if not piece or not self._answer.startswith(ANSWER_START[: len(self._answer)]):
            raise SystemExit(f"not the answer expected: {self._answer!r}")
        return time.perf_counter() - self._since if self._answer.endswith(ANSWER_END) else None


def load(port, connections, seconds):
    """Returns how long each answer took, sorted."""
    times = []
    until = time.perf_counter() + seconds
    with selectors.DefaultSelector() as selector:
        for _ in range(connections):
            connection = Connection(port)
            selector.register(connection.socket, selectors.EVENT_READ, connection)
            connection.ask()
        while selector.get_map():
            ready = selector.select(SILENCE_SECONDS)
            if not ready:
                raise SystemExit(f"no answer for {SILENCE_SECONDS} s")
            for key, _ in ready:
                took = key.data.hear()
                if took is None:
                    continue
                times.append(took)
                if time.perf_counter() < until:
                    key.data.ask()
                else:
                    selector.unregister(key.data.socket)
                    key.data.socket.close()
    return sorted(times)


def cpu_seconds(pid):
    """What the process and all below it have used. What ended and was waited for counts for its parent."""
    process = pathlib.Path("/proc", str(pid))
    try:
        # proc(5): after the name, which ends with the last bracket, utime is the 12th field; three more follow.
        ticks = sum(map(int, (process / "stat").read_text().rpartition(")")[2].split()[11:15]))
        children = [child for path in process.glob("task/*/children") for child in path.read_text().split()]
    except OSError:
        return 0.0  # It has just ended.
    return ticks / os.sysconf("SC_CLK_TCK") + sum(map(cpu_seconds, children))


def main():
    port, connections, seconds, pid = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    cpu = -cpu_seconds(pid)
    since = time.perf_counter()
    times = load(port, connections, seconds)
    rate = len(times) / (time.perf_counter() - since)
    cpu += cpu_seconds(pid)
    p50, p99, most = (times[int(share * (len(times) - 1))] * 1000 for share in (0.5, 0.99, 1))
    print(f"{rate:.0f} runs/s, p50 {p50:.2f} ms, p99 {p99:.2f} ms, longest {most:.0f} ms, CPU {cpu / len(times) * 1000:.2f} ms")


main()
