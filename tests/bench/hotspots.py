# SPDX-License-Identifier: MIT
"""Where a proxy's CPU time goes, sampled by perf on the CPU's clock (virtual machines may have no other)."""
import os
import subprocess

import load
from calls import table
from ground import Ground
from procs import Child, Failed
from rows import SMALL

NEEDS = {"perf": "linux-perf"}
HERTZ = 1999
TOP = 25
PLACES = ("kernel", "own code", "libraries")


def place_of(dso, program):
    if dso.startswith(("[kernel", "[guest.kernel", "[unknown")) or dso.endswith(".ko"):
        return "kernel"
    return "own code" if dso == program else "libraries"


def parse_report(text, program):
    """(share, place, dso, symbol) of each line of perf report -t '|', the largest share first."""
    found = []
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if len(fields) >= 3 and fields[0].endswith("%"):
            dso, symbol = fields[1], fields[2].split("] ", 1)[-1]
            found.append((float(fields[0][:-1]), place_of(dso, program), dso, symbol))
    return sorted(found, key=lambda entry: (-entry[0], entry[3]))


def shares(entries):
    whole = sum(entry[0] for entry in entries) or 1
    return {place: 100 * sum(entry[0] for entry in entries if entry[1] == place) / whole for place in PLACES}


def record(proxy, seconds):
    with Ground() as ground:
        running = ground.start(proxy)
        load.run_wrk(running.port, SMALL, 1)
        data = f"{ground.workdir}/perf.data"
        # `sleep` ends the recording before the load ends.
        perf = Child("perf", ["perf", "record", "-q", "-e", "cpu-clock", "-F", str(HERTZ), "-o", data, "-p",
                              ",".join(map(str, running.child.pids())), "--", "sleep", str(seconds)])
        figures = load.run_wrk(running.port, SMALL, seconds + 1)
        status = perf.popen.wait(30)
        if status != 0 or not os.path.exists(data) or figures["wrong"]:
            raise Failed(f"perf ended with status {status}: {perf.error_text()} {figures['wrong']}")
        report = subprocess.run(["perf", "report", "--stdio", "-i", data, "--sort", "dso,symbol", "-t", "|"],
                                capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if report.returncode != 0:
        raise Failed(f"perf report: {report.stderr[-300:]}")
    return report.stdout


def section(proxy, seconds):
    entries = parse_report(record(proxy, seconds), os.path.basename(proxy.argv[0]))
    if not entries:
        raise Failed("perf saw nothing")
    parts = shares(entries)
    top = [[f"`{symbol}`", place if place != "libraries" else dso, f"{share:.1f} %"]
           for share, place, dso, symbol in entries[:TOP]]
    return "\n".join([
        f"## Where the time of {proxy.name} goes", "",
        f"Samples of the CPU's clock, {HERTZ} in a second, under the load of small-64 (`tests/bench/profile`,",
        "which runs `perf record -e cpu-clock`). A function's share is its own, without what it calls.",
        "The clock can't interrupt where the kernel has interrupts switched off; that time is charged to the",
        "function that switches them on again (`finish_task_switch` after a thread was put to sleep or woken,",
        "`_raw_spin_unlock_irqrestore`).", "",
        table(["where", "share"], [[place, f"{share:.1f} %"] for place, share in parts.items()]), "",
        f"The {len(top)} dearest functions:", "", table(["function", "where", "share"], top), ""])
