# SPDX-License-Identifier: MIT
"""What one request costs in system calls and in allocations, counted and not sampled."""
import os
import re
import signal
import struct
import tempfile
import time

import load
from ground import Ground, build_tool
from procs import Child, Failed, wait_until
from rows import LoadRow

NEEDS = {"strace": "strace"}
CLIENTS = (1, 64)
SHOWN_FROM = 0.005  # Calls for each request; what is rarer stands under "other".
LINE = re.compile(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$")


def run_load(port, clients, seconds):
    figures = load.run_wrk(port, LoadRow(f"small-{clients}", "", clients), seconds)
    if figures["wrong"] or not figures["requests"]:
        raise Failed(f"{clients} clients: {figures['wrong'] or 'no answer'}")
    return figures["requests"]


def strace_table(text):
    """The counts by call of what strace -c wrote."""
    return {match.group(2): int(match.group(1)) for match in map(LINE.match, text.splitlines())
            if match and match.group(2) != "total"}


def count_syscalls(proxy, clients, seconds):
    """System calls for each request by name, while `clients` keep-alive clients send small requests. strace
    is there before they connect, so no request goes uncounted."""
    with Ground() as ground, tempfile.NamedTemporaryFile("r", encoding="ascii") as output:
        running = ground.start(proxy)
        run_load(running.port, clients, 1)
        pids = [word for pid in running.child.pids() for word in ("-p", str(pid))]
        tracer = Child("strace", ["strace", "-f", "-c", "-o", output.name, *pids])
        wait_until(lambda: traced(running.child.pids()), 10, "strace at every thread")
        requests = run_load(running.port, clients, seconds)
        running.child.check_alive()
        tracer.popen.send_signal(signal.SIGINT)
        tracer.popen.wait(20)
        counts = strace_table(output.read())
        tracer.stop()
    if not counts:
        raise Failed("strace counted nothing")
    return {name: count / requests for name, count in counts.items()}


def traced(pids):
    """Does every thread have a tracer?"""
    for pid in pids:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/status", encoding="ascii", errors="replace") as status:
                if "\nTracerPid:\t0\n" in status.read():
                    return False
    return True


def count_allocations(proxy, clients, seconds):
    """(allocations until the load is warm, allocations under the load after that, requests of that load)."""
    library = build_tool("allocations", "-shared", "-fPIC")
    with Ground() as ground, tempfile.NamedTemporaryFile() as counter:
        counter.write(bytes(8))
        counter.flush()
        running = ground.start(proxy, environment={"LD_PRELOAD": library, "ALLOCATIONS": counter.name})
        run_load(running.port, clients, 1)
        settled = counted(counter.name)
        requests = run_load(running.port, clients, seconds)
        time.sleep(0.05)
        return settled, counted(counter.name) - settled, requests


def counted(path):
    with open(path, "rb") as file:
        return struct.unpack("=Q", file.read(8))[0]


def syscall_rows(columns):
    """`columns`: the counts of each number of clients. The lines of the table, the dearest call first."""
    names = {name for counts in columns for name in counts}
    names = sorted(names, key=lambda name: (-max(counts.get(name, 0) for counts in columns), name))
    shown = [name for name in names if max(counts.get(name, 0) for counts in columns) >= SHOWN_FROM]
    lines = [[f"`{name}`", *(f"{counts.get(name, 0):.2f}" for counts in columns)] for name in shown]
    other = [sum(count for name, count in counts.items() if name not in shown) for counts in columns]
    lines.append(["other", *(f"{count:.2f}" for count in other)])
    lines.append(["all", *(f"{sum(counts.values()):.2f}" for counts in columns)])
    return lines


def table(header, lines):
    return "\n".join(["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|",
                      *("| " + " | ".join(line) + " |" for line in lines)])


def allocation_rows(proxy, seconds):
    lines = []
    for clients in CLIENTS:
        before, during, requests = count_allocations(proxy, clients, seconds)
        lines.append([str(clients), f"{before:,}", f"{during:,}", f"{requests:,}",
                      f"{during / requests:.4f}"])
    return lines


def section(proxy, seconds):
    header = ["call", *("1 client" if clients == 1 else f"{clients} clients" for clients in CLIENTS)]
    columns = [count_syscalls(proxy, clients, seconds) for clients in CLIENTS]
    return "\n".join([
        f"## What a request costs {proxy.name}", "",
        "System calls for each small GET on a keep-alive connection (`tests/bench/syscalls`, which counts with",
        "`strace -f -c`). strace makes every call dear, so threads sleep and wake more often than they do",
        "without it. wrk's connects, and what the other threads do beside, are in the counts.", "",
        table(header, syscall_rows(columns)), "",
        "Calls of malloc and its kin, counted by `tests/bench/allocations.c` (LD_PRELOAD). Those of the load",
        "include what wrk's new connections need.", "",
        table(["clients", "until warm", "under load", "requests", "for each request"],
              allocation_rows(proxy, seconds)), ""])
