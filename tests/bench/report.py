# SPDX-License-Identifier: MIT
"""Medians, spreads and ratios of the samples, as text tables and as docs/benchmarks.md."""
import os
import platform
import re
import statistics
import subprocess

import load
import rows

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
DOC_VALUES = {"listen": "127.0.0.1:PORT", "origin1": "127.0.0.1:ORIGIN1", "origin2": "127.0.0.1:ORIGIN2",
              "port": "PORT", "workdir": "WORKDIR", "when_killed": "", "user": "USER",
              "nofile": "NOFILE", "cores": "CORES", "workers": "256"}
HEAD = """\
# Benchmarks

How holdfast compares with other proxies on the same machine, in the same run, over the same two origins.
The part between the marks is written by `tests/bench/run --write`; write beside it, not in it.

"""
HOW_TO_READ = """\
## How to read it

- The rounds are interleaved: each proxy has its turn in every round, in an order that rotates, so that a
  slow minute of the machine hits all of them. A figure is the median of the rounds; the smallest and
  largest stand in brackets.
- A ratio is the first proxy's figure divided by the other's in the same round, and of these the median: a
  machine that gets slower from round to round does so for both. For requests/s more is better; for all else,
  less.
- CPU per request is the kernel's own account of the proxy's whole process tree (each process's CPU clock,
  in nanoseconds, threads that ended included), divided by the answers the clients got. It is the steadiest
  figure.
- Load generator, proxy and origins share the machine's cores. So requests/s and latency tell what is left
  after wrk and the origins took their part; the proxies' ratios are meaningful, the absolute values belong
  to this machine.
- One configuration per proxy serves all rows. haproxy's buffers are its default of 16 KB: larger ones make
  its 1 MB rows cheaper and its small rows dearer.
- wrk sends the next request when the answer is there. A stall delays the requests after it, which are then
  not measured, so the tail (p99, p99.9) is a lower bound.
- kill-64: after some seconds one origin gets SIGKILL and stays away; its port refuses. The figures are from
  the kill on (`tests/bench/mourner.c`); requests/s and the failed requests are of the whole run. p99.9 is
  that of the waits that began up to half a second after the kill. A wait ends with a good answer; a failure
  does not end it.
- Peak RSS sums each process's peak; pages that several processes share count once for each. The memory of
  idle clients is PSS: shared pages count once. The kernel's memory for sockets is in neither.
- A run in which anything went wrong (another status than 2xx or 3xx, a socket error, a timeout, a lost
  client, a proxy that ended) is not averaged: the proxy's column then says FAILED, and the script's exit
  status is 1.
"""


def number(value, digits):
    return f"{value:,.{digits}f}"


def cell(samples, key, digits):
    values = [sample[key] for sample in samples]
    return (f"{number(statistics.median(values), digits)} "
            f"({number(min(values), digits)}–{number(max(values), digits)})")


def failures(samples):
    return [sample["wrong"] for sample in samples if sample["wrong"]]


def ratio(mine, other, key):
    """The median of the rounds' own ratios: a machine that gets slower meanwhile does so for both. None where
    there is nothing to compare."""
    if failures(mine) or failures(other) or key not in mine[0] or not all(sample.get(key) for sample in other):
        return None
    return statistics.median(ours[key] / theirs[key] for ours, theirs in zip(mine, other))


def ratio_cell(mine, other, key):
    value = ratio(mine, other, key)
    return "-" if value is None else f"{value:.2f}"


def row_table(results):
    """`results`: samples by proxy. Returns the header and the lines of one row's table, as lists of cells."""
    names = list(results)
    first = names[0]
    header = ["", *names, *(f"{first} / {name}" for name in names[1:])]
    good = next((samples[0] for samples in results.values() if not failures(samples)), {})
    lines = []
    for key, (label, digits) in rows.METRICS.items():
        if key in good:
            cells = ["FAILED" if failures(samples) else cell(samples, key, digits)
                     for samples in results.values()]
            ratios = [ratio_cell(results[first], results[name], key) for name in names[1:]]
            lines.append([label, *cells, *ratios])
    return header, lines or [["all", *("FAILED" for _ in names), *("-" for _ in names[1:])]]


def failure_lines(results):
    lines = []
    for name, samples in results.items():
        wrong = failures(samples)
        if wrong:
            causes = "; ".join(sorted(set(wrong)))
            lines.append(f"FAILED: {name}, {len(wrong)} of {len(samples)} runs: {causes}")
    return lines


def text(row, results):
    header, lines = row_table(results)
    widths = [max(len(line[at]) for line in [header, *lines]) for at in range(len(header))]
    out = [f"\n{row.name}: {row.about}"]
    for line in [header, *lines]:
        out.append("  ".join([line[0].ljust(widths[0]),
                              *(word.rjust(width) for word, width in zip(line[1:], widths[1:]))]))
    return "\n".join([*out, *(f"!!! {line}" for line in failure_lines(results))])


def markdown(row, results):
    header, lines = row_table(results)
    about = row.about[0].upper() + row.about[1:]
    out = [f"### {row.name}", "", f"{about}.", "", "| " + " | ".join(header) + " |",
           "|---" + "|---:" * (len(header) - 1) + "|"]
    out += ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([*out, "", *(f"**{line}**\n" for line in failure_lines(results))])


def _first_match(path, pattern):
    with open(path, encoding="utf-8") as file:
        found = re.search(pattern, file.read(), re.MULTILINE)
    return found.group(1) if found else "unknown"


def machine():
    model = _first_match("/proc/cpuinfo", r"^model name\s*:\s*(.*)")
    system = _first_match("/etc/os-release", r"^PRETTY_NAME=.(.*).$")
    memory_gb = int(_first_match("/proc/meminfo", r"^MemTotal:\s+(\d+)")) / 1e6
    wrk = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
    return {
        "CPU": f"{model}, {os.cpu_count()} cores",
        "Memory": f"{memory_gb:.0f} GB",
        "System": f"{system}, Linux {platform.release()}",
        "Load generator": " ".join(wrk.split()[:2]),
    }


def _commands(proxies, chosen_rows):
    out = ["## What was run", "",
           "Ports are chosen at the start; WORKDIR is a temporary folder, CORES the number of cores, NOFILE",
           "the hard limit of open files. The origins are two processes of `tests/bench/origin.c`, one",
           "thread each.", ""]
    for proxy in proxies:
        program, *words = proxy.command(DOC_VALUES)
        command = " ".join([os.path.basename(program), *words])
        out += [f"{proxy.name}:", "", "```", command, "```", ""]
        if proxy.config:
            config = proxy.config_text(DOC_VALUES).rstrip()
            out += [f"with `{proxy.name}.conf`:", "", "```", config, "```", ""]
        if proxy.when_killed:
            out += ["In the row kill-64 its backends also have:", "", "```",
                    proxy.when_killed.strip("\n"), "```", ""]
    out += ["The load, for each row that uses wrk (what follows `--` is for `tests/bench/wrk.lua`):", "",
            "```"]
    for row in chosen_rows:
        if isinstance(row, rows.LoadRow):
            out.append(" ".join(load.wrk_argv("PORT", row, "SECONDS")).replace(load.HERE, "tests/bench"))
    return "\n".join([*out, "```", ""])


def document(path, bench, results, sections=()):
    """Writes the measured part of the page; what people wrote outside the marks stays."""
    measured = [BEGIN, "", "## The machine", "", "| | |", "|---|---|"]
    measured += [f"| {key} | {value} |" for key, value in machine().items()]
    measured += [f"| {proxy.name} | {proxy.version()} |" for proxy in bench.proxies]
    measured += ["", f"{bench.rounds} interleaved rounds of {bench.seconds} s for each row and proxy.", "",
                 "## Results", ""]
    measured += ["![Ratios of each row](benchmarks.svg)", ""]
    measured += [markdown(row, results[row.name]) for row in bench.rows]
    measured += [*sections]
    measured += [_commands(bench.proxies, bench.rows), HOW_TO_READ, END]
    page = HEAD + f"{BEGIN}\n{END}\n"
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            page = file.read()
    before, found, rest = page.partition(BEGIN)
    after = rest.partition(END)[2]
    if not found:
        raise SystemExit(f"{path}: no line '{BEGIN}' to write the figures after")
    with open(path, "w", encoding="utf-8") as file:
        file.write(before + "\n".join(measured) + after)
