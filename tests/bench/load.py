# SPDX-License-Identifier: MIT
"""What is done to a proxy: one request, a run of wrk, thousands of idle clients."""
import http.client
import json
import os
import resource
import select
import socket
import subprocess
import time

from procs import Child, Failed, wait_until

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
OUT = f"{ROOT}/build/bench"  # Where the tools in C are built.
SMALL_GET = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def first_answer(port, child):
    """Asks until the proxy answers 200: the socket may not be there yet."""
    def answered():
        child.check_alive()
        try:
            with socket.create_connection(("127.0.0.1", port), 5) as client:
                client.sendall(SMALL_GET)
                return client.recv(65536).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False
    wait_until(answered, 10, f"the first answer of {child.name}")


def verify(port, row):
    """One request of the row, looked at closely: a fast wrong answer must not win."""
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        client.request(row.method, row.path, b"x" * row.body_bytes if row.body_bytes else None)
        answer = client.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"{row.method} {row.path}: {error!r}") from error
    finally:
        client.close()
    if answer.status != 200 or body != b"x" * row.answer_bytes:
        raise Failed(f"{row.method} {row.path}: status {answer.status}, {len(body)} bytes")


def wrk_argv(port, row, seconds):
    return ["wrk", f"-t{min(row.clients, 2)}", f"-c{row.clients}", f"-d{seconds}s", "--latency", "-s",
            f"{HERE}/wrk.lua", f"http://127.0.0.1:{port}{row.path}", "--", row.method, str(row.body_bytes),
            "close" if row.close else "keep"]


def run_wrk(port, row, seconds):
    """Runs wrk; returns its figures, with what was wrong in words under "wrong" (empty if nothing was)."""
    child = Child("wrk", wrk_argv(port, row, seconds), stdout=subprocess.PIPE)
    try:
        output = child.popen.communicate(timeout=seconds + 30)[0].decode()
        line = next((line for line in output.splitlines() if line.startswith("RESULT ")), None)
        if child.popen.returncode != 0 or not line:
            status = child.popen.returncode
            raise Failed(f"wrk ended with status {status}: {child.error_text()} {output[-200:]}")
    except subprocess.TimeoutExpired as error:
        raise Failed("wrk did not end") from error
    finally:
        child.stop()
    figures = json.loads(line[len("RESULT "):])
    wrong = [f"{count} {kind}" for kind, count in figures["errors"].items() if count]
    if figures["requests"] == 0 or figures["bytes"] < figures["requests"] * row.answer_bytes:
        wrong.append(f"{figures['requests']} answers in {figures['bytes']} bytes")
    figures["wrong"] = ", ".join(wrong)
    return figures


def run_mourner(port, clients, origin, before_s, after_s):
    """Loads the proxy with keep-alive clients, kills `origin` after before_s, goes on for after_s."""
    child = Child("mourner", [f"{OUT}/mourner", "--port", str(port), "--clients", str(clients), "--pid",
                              str(origin.popen.pid), "--before", str(before_s * 1000), "--after",
                              str(after_s * 1000)], stdout=subprocess.PIPE)
    try:
        output = child.popen.communicate(timeout=before_s + after_s + 30)[0].decode()
        if child.popen.returncode != 0:
            raise Failed(f"mourner ended with status {child.popen.returncode}: {child.error_text()}")
    except subprocess.TimeoutExpired as error:
        raise Failed("mourner did not end") from error
    finally:
        child.stop()
    figures = json.loads(output)
    return {key: figures[key] for key in ("rps", "p999_ms", "failed", "gap_ms", "dip_ms", "worst_ms")}


class IdleClients:
    """Keep-alive connections that have been used once and then stay silent."""
    BATCH = 64

    def __init__(self, port, wanted):
        self.port = port
        self.count = min(wanted, resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 200)
        self.clients = []

    def open(self):
        while len(self.clients) < self.count:
            batch = [socket.create_connection(("127.0.0.1", self.port), 10)
                     for _ in range(min(self.BATCH, self.count - len(self.clients)))]
            self.clients += batch
            for client in batch:
                client.sendall(SMALL_GET)
            for client in batch:
                if not self._answered(client):
                    raise Failed(f"client {len(self.clients)} was not answered with 200")

    @staticmethod
    def _answered(client):
        answer = b""
        while not answer.endswith(b"x" * 100):
            piece = client.recv(65536)
            if not piece:
                break
            answer += piece
        return answer.startswith(b"HTTP/1.1 200 ")

    def lost(self):
        """How many the proxy has closed. None of them was to send anything."""
        poll = select.poll()
        for client in self.clients:
            poll.register(client, select.POLLIN | select.POLLRDHUP)
        return len(poll.poll(0))

    def close(self):
        for client in self.clients:
            client.close()


def time_new_client(port):
    """Milliseconds from connect to the answer for one new client."""
    began = time.perf_counter()
    with socket.create_connection(("127.0.0.1", port), 10) as client:
        client.sendall(SMALL_GET)
        if not client.recv(65536).startswith(b"HTTP/1.1 200 "):
            raise Failed("a new client beside the idle ones was not answered with 200")
    return (time.perf_counter() - began) * 1e3
