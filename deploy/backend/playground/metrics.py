# SPDX-License-Identifier: MIT
"""What the service counts, and how it tells Prometheus (text format 0.0.4).

A scrape reaches one of several worker processes, but must show all of them. So the numbers lie in memory that
the workers share: each writes only a row of its own, and a scrape adds the rows up.
"""

import mmap
import threading

OUTCOMES = ("ok", "error", "killed", "timeout", "forbidden", "failed")
BUCKETS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
# A row: runs by outcome, runs by bucket (the last: longer than all), seconds, in flight, rejected, zygotes.
_BUCKETS_AT = len(OUTCOMES)
_SECONDS_AT = _BUCKETS_AT + len(BUCKETS) + 1
_IN_FLIGHT_AT, _REJECTED_AT, _ZYGOTES_AT = _SECONDS_AT + 1, _SECONDS_AT + 2, _SECONDS_AT + 3
_ROW = _ZYGOTES_AT + 1
_ROWS = 64


class Board:
    """The shared memory. Made before the workers are forked; each then takes a row."""

    def __init__(self):
        self._cells = memoryview(mmap.mmap(-1, _ROWS * _ROW * 8)).cast("d")

    def row(self, number):
        """The row of worker `number`. Who takes a dead worker's row goes on with its sums."""
        at = number % _ROWS * _ROW
        return self._cells[at : at + _ROW]

    def forget_in_flight(self, number):
        """For the row of a worker that has ended: what was on its way there has ended too."""
        self.row(number)[_IN_FLIGHT_AT] = 0

    def sums(self):
        return [sum(self._cells[at :: _ROW]) for at in range(_ROW)]


class Metrics:
    """Counts for one worker; text() shows all workers of the board."""

    def __init__(self, board=None, number=0):
        self._board = board or Board()
        self._row = self._board.row(number)
        self._row[_IN_FLIGHT_AT] = 0
        self._lock = threading.Lock()  # guards the row

    def began(self):
        with self._lock:
            self._row[_IN_FLIGHT_AT] += 1

    def ended(self, outcome, seconds):
        bucket = next((at for at, bound in enumerate(BUCKETS) if seconds <= bound), len(BUCKETS))
        with self._lock:
            self._row[_IN_FLIGHT_AT] -= 1
            self._row[OUTCOMES.index(outcome)] += 1
            self._row[_BUCKETS_AT + bucket] += 1
            self._row[_SECONDS_AT] += seconds

    def rejected(self):
        with self._lock:
            self._row[_REJECTED_AT] += 1

    def zygotes(self, count):
        """Says how many zygotes this worker has started so far."""
        with self._lock:
            self._row[_ZYGOTES_AT] += count - getattr(self, "_zygotes", 0)
            self._zygotes = count

    def text(self, layers):
        sums = self._board.sums()
        lines = []

        def family(name, kind, meaning, *samples):
            lines.append(f"# HELP {name} {meaning}")
            lines.append(f"# TYPE {name} {kind}")
            lines.extend(f"{name}{labels} {value:.17g}" for labels, value in samples)

        family(
            "playground_runs_total",
            "counter",
            "Runs by how they ended.",
            *((f'{{outcome="{name}"}}', sums[at]) for at, name in enumerate(OUTCOMES)),
        )
        family("playground_runs_in_flight", "gauge", "Runs that go on now.", ("", sums[_IN_FLIGHT_AT]))
        family("playground_rejected_total", "counter", "Requests refused with 503.", ("", sums[_REJECTED_AT]))
        family("playground_zygotes_total", "counter", "Zygotes started.", ("", sums[_ZYGOTES_AT]))
        name = "playground_run_seconds"
        family(name, "histogram", "How long runs took, without their wait for a place.")
        total = 0
        for at, bound in enumerate((*BUCKETS, "+Inf")):
            total += sums[_BUCKETS_AT + at]
            lines.append(f'{name}_bucket{{le="{bound}"}} {total:.17g}')
        lines.append(f"{name}_sum {sums[_SECONDS_AT]:.17g}")
        lines.append(f"{name}_count {total:.17g}")
        family(
            "playground_layer",
            "gauge",
            "Layers of the sandbox that are active, by the version the kernel has.",
            *((f'{{layer="{layer}"}}', version) for layer, version in layers.items()),
        )
        return "\n".join(lines) + "\n"


shared = None  # The Metrics of this worker process, where gunicorn.conf.py has made it.


def outcome(result):
    """How a run ended, as one of OUTCOMES."""
    if result.timed_out:
        return "timeout"
    if result.exit_code == 0:
        return "ok"
    if result.exit_code == -31:  # SIGSYS, from the seccomp filter
        return "forbidden"
    return "error" if result.exit_code > 0 else "killed"
