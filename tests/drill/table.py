# SPDX-License-Identifier: MIT
"""The figures of the fault matrix, from what clients and origins wrote down: as text, as a page."""
import collections
import json
import os
import platform
import re
import time

import clients
import faults
import peers

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
COLUMNS = {"proxy": 9, "fault": 19, "origins": 7, "sent": 7, "failed": 6, "cut": 5, "wrong": 5, "p50": 7,
           "p99": 8, "p99.9": 8, "max": 8, "out after": 9, "then got": 8, "runs": 6, "most": 4, "twice": 5}
LEFT = ("proxy", "fault")

HEAD = """\
# Reliability

What clients see of a proxy while one of its backends turns faulty in mid-load. The part between the marks is
written by `tests/drill/matrix --write`; write beside it, not in it.

"""
HOW_IT_WAS_MEASURED = """\
## How it was measured

- {clients} keep-alive clients, each with one request at a time and no pause, for {seconds:g} s per run and
  until the last answer is there. After a quarter of it one origin turns faulty; the others stay sound. Two
  and three origins, each a process of its own.
- 40 % GET and 60 % POST; half of the POSTs chunked, half with Content-Length; bodies of 0 to 1 MiB, of every
  order of magnitude, no two the same. Answers of 0 to {answer_kib} KiB, half of them chunked. Each answer
  carries the request's id and the hash of the body that the origin got, and the client knows every byte of
  the right one.
- Each proxy may hold the longest answer whole: holdfast's `retry.hold_bytes` (256 KiB by default) and the
  others' buffers are made that large. When a longer one, or one that flows slowly, breaks in the middle, no
  proxy can hide it: its client is cut off.
- kill-9: SIGKILL. sigstop: SIGSTOP, never continued. sigstop-probed, black-hole-probed: the
  fault with holdfast's probes on (`health.probe`: {probe}); no request may take longer than {longest_ms:.0f}
  ms, which is the time until the probes have found out and one more attempt. refuse: the listener and all connections are closed.
  black-hole: the origin is in a network namespace of its own and its cable is pulled; both ends keep their
  addresses, and no packet arrives any more. accept-and-close: each connection is closed as soon as it is
  there. reset-after-request: a reset in place of an answer. reset-in-head: half the head, then a reset.
  truncated-body, truncated-chunks: the second half of the body is missing. garbage: what is no HTTP.
  latency-5s: a right answer, 5 s late. byte-per-10ms: a right answer with a Content-Length, so slowly.
  errors-30%: a 500 for three of ten requests. restart: SIGTERM, and {away:g} s later a new process at the
  same address. delete-and-recreate: the cable is pulled, the process and its network are gone, and {away:g} s
  later both are there anew.
- The deadlines of all proxies are the same: 500 ms to connect, 3 s for a response. The configs stand below. A
  fault that hangs takes as long as these: without active checks nobody can know it earlier.
- haproxy sends a request again only when it fits into one buffer, so its buffers are larger than the longest
  body. That costs it much of its speed here. With its default of 16 KB it is several times as fast, and its
  clients see failures.
- After restart and delete-and-recreate, holdfast is told so by `POST /admin/reset`, as its manual mode wants
  it; haproxy finds out by its checks, nginx by trying again after `fail_timeout`.

The columns:

- sent: requests of the clients. failed: no right answer, and the client could tell: an error status, a closed
  connection, what is no HTTP, or nothing in {patience} s. cut: a 200 that broke off in its body. wrong: an
  answer that looks whole and is not the right one.
- p50, p99, p99.9, max: milliseconds from the beginning of a request to the end of its answer, as the client
  sees it. Clients, proxy and origins share the machine's cores, so the p50 tells more about the machine than
  about the proxy.
- out after: milliseconds from the fault to the moment since which the proxy itself says that the backend is
  out; "-" if it never said so. (The free nginx has no way to tell.) then got: requests that were begun after
  that moment and reached the faulty origin all the same, by the origin's own count.
- runs: how often an origin got a whole request, per request. most: the most often for one request. twice:
  requests that ran more than once. A repeat is the price of answering a request whose backend failed after it
  had got it.
"""


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


class Row:
    """One run."""

    def __init__(self, proxy, fault, count, load, watch, origins, hurt_at, back_at, notes):
        self.proxy = proxy
        self.fault = fault.name
        self.count = count
        self.outcomes = load.outcomes
        self.notes = [note for note in notes if note]
        self.notes += [f"{load.outcomes[outcome]} x {outcome}, such as {line}, {self._since(line, hurt_at)}"
                       for outcome, line in load.examples.items()]
        records = {origin: origin.records() for origin in origins}
        runs = collections.Counter(identity for lines in records.values() for _, identity, event in lines
                                   if event == "ran")
        self.sent = len(load.begun)
        self.wrong = load.outcomes["wrong body"]
        self.cut = load.outcomes["cut in the body of a 200"]
        self.failed = sum(load.outcomes.values()) - load.outcomes["good"] - self.cut - self.wrong
        self.ms = {share: percentile(load.taken_ms, share) for share in (0.5, 0.99, 0.999, 1)}
        self.too_long = fault.longest_ms is not None and self.ms[1] > fault.longest_ms
        if self.too_long:
            self.notes.append(f"a request took {self.ms[1]:.0f} ms, at most {fault.longest_ms:.0f} are right")
        self.runs = sum(runs.values()) / max(1, self.sent)
        self.most = max(runs.values(), default=0)
        self.twice = sum(1 for times in runs.values() if times > 1)
        self._judge_victim(origins[0], records[origins[0]], load, watch, hurt_at, back_at)

    @staticmethod
    def _since(line, hurt_at):
        begun = float(re.search(r"begun at (\S+)$", line).group(1))
        return f"{1000 * (begun - hurt_at):.0f} ms after the fault"

    def _judge_victim(self, victim, lines, load, watch, hurt_at, back_at):
        """Only requests begun while the backend was out count: one that was under way may still reach it."""
        first = next((begin for begin, _ in watch.intervals if begin > hurt_at), None)
        if watch.intervals and watch.intervals[0][0] < hurt_at:
            early = hurt_at - watch.intervals[0][0]
            self.notes.append(f"{victim.name} was out {early:.2f} s BEFORE the fault")
        self.out_after_ms = None if first is None else 1000 * (first - hurt_at)
        late = sorted({identity for when, identity, _ in lines
                       if watch.covers(load.begun.get(identity, 0), when)})
        self.then_got = len(late)
        if late:
            self.notes.append(f"reached {victim.name} while it was out: {', '.join(late[:5])}")
        if back_at is not None:
            after = sum(1 for when, _, event in lines if event == "got" and when > back_at)
            self.notes.append(f"after its return {victim.name} got {after} requests")

    def is_good(self):
        return self.failed == self.cut == self.wrong == self.then_got == 0 and not self.too_long

    def cells(self):
        return {
            "proxy": self.proxy, "fault": self.fault, "origins": str(self.count), "sent": str(self.sent),
            "failed": str(self.failed), "cut": str(self.cut), "wrong": str(self.wrong),
            "p50": f"{self.ms[0.5]:.1f}", "p99": f"{self.ms[0.99]:.1f}", "p99.9": f"{self.ms[0.999]:.1f}",
            "max": f"{self.ms[1]:.0f}",
            "out after": "-" if self.out_after_ms is None else f"{self.out_after_ms:.0f}",
            "then got": "-" if self.out_after_ms is None and not self.then_got else str(self.then_got),
            "runs": f"{self.runs:.3f}", "most": str(self.most), "twice": str(self.twice),
        }

    def text(self, first=False):
        lines = [padded({name: name for name in COLUMNS})] if first else []
        lines.append(padded(self.cells()))
        return "\n".join(lines + [f"    {note}" for note in self.notes])


class FailedRow:
    """A run that did not come about."""

    def __init__(self, proxy, fault, count, why):
        self.proxy = proxy
        self.fault = fault
        self.count = count
        self.why = why

    def is_good(self):
        return False

    def cells(self):
        return {"proxy": self.proxy, "fault": self.fault, "origins": str(self.count), "sent": "NOT RUN"}

    def text(self, first=False):
        return f"{padded(self.cells())} {self.why}"


def padded(cells):
    return " ".join(cells.get(name, "").ljust(width) if name in LEFT else cells.get(name, "").rjust(width)
                    for name, width in COLUMNS.items()).rstrip()


def _first_match(path, pattern):
    with open(path, encoding="utf-8") as file:
        found = re.search(pattern, file.read(), re.MULTILINE)
    return found.group(1) if found else "unknown"


def machine():
    model = _first_match("/proc/cpuinfo", r"^model name\s*:\s*(.*)")
    system = _first_match("/etc/os-release", r"^PRETTY_NAME=.(.*).$")
    return f"{model}, {os.cpu_count()} cores; {system}, Linux {platform.release()}"


def markdown(rows, proxies):
    """A table for each number of origins, the proxies of one fault below each other."""
    out = []
    for count in sorted({row.count for row in rows}):
        names = [name for name in COLUMNS if name != "origins"]
        out += [f"### {count} origins, one of them faulty", "", f"| {' | '.join(names)} |",
                "|" + "|".join("---" if name in LEFT else "---:" for name in names) + "|"]
        for fault in faults.FAULTS:
            for proxy in proxies:
                out += ["| " + " | ".join(row.cells().get(name, "") for name in names) + " |" for row in rows
                        if (row.count, row.fault, row.proxy) == (count, fault, proxy.name)]
        out.append("")
    return out


def configs(proxies):
    out = ["## The configs", ""]
    for proxy in proxies:
        config = proxy.config
        if isinstance(config, dict):
            text = json.dumps(config, indent=2)
            out += [f"{proxy.name}: its defaults, but for", "", "```json", text, "```", ""]
        else:
            values = {"user": "USER", "cores": os.cpu_count(), "nofile": "NOFILE", "workdir": "WORKDIR",
                      "listen": "127.0.0.1:PORT",
                      "servers": proxy.server_line.format(name="origin1", authority="ADDRESS:PORT") + "\n" +
                                 proxy.server_line.format(name="origin2", authority="ADDRESS:PORT")}
            out += [f"{proxy.name}:", "", "```", config.format(**values).rstrip(), "```", ""]
    return out


def document(path, rows, proxies, options, load_before):
    """Writes the measured part of the page; what people wrote outside the marks stays."""
    versions = ", ".join(f"{proxy.name} {peers.version(proxy)}" for proxy in proxies)
    measured = [BEGIN, "", "## The machine", "", f"{machine()}.", f"{versions}.",
                f"Measured on {time.strftime('%Y-%m-%d')}; load of the machine {load_before:.1f} before.", "",
                "## Results", "", *markdown(rows, proxies)]
    measured += [HOW_IT_WAS_MEASURED.format(
        clients=clients.CLIENTS, seconds=options.seconds, away=faults.AWAY_SECONDS,
        probe=", ".join(f"`{key}` {value}" for key, value in faults.PROBE.items()),
        longest_ms=faults.FAULTS["sigstop-probed"].longest_ms,
        answer_kib=options.answer_bytes // 1024, patience=clients.PATIENCE_SECONDS)]
    measured += [*configs(proxies), END]
    page = HEAD + f"{BEGIN}\n{END}\n"
    if os.path.exists(path):
        with open(path, encoding="utf-8") as file:
            page = file.read()
    before, found, rest = page.partition(BEGIN)
    if not found:
        raise SystemExit(f"{path}: no line '{BEGIN}' to write the figures after")
    with open(path, "w", encoding="utf-8") as file:
        file.write(before + "\n".join(measured) + rest.partition(END)[2])
