# SPDX-License-Identifier: MIT
"""A simulation of many front ends before the same backends, of which one dies.

Each front end counts the failures that it sees itself, and takes a backend out of rotation when they are more
than `eject_after`. Requests come at random times and fall on a random front end; each backend gets its equal
share of them. So the attempts on the dead backend are a Poisson stream, until somebody takes it out. An
attempt on it fails `fail_ms` after it began: at once where the port refuses, after the connect timeout where
the host is silent. Only an attempt that has failed counts; those that are under way meanwhile fail, too.

Nothing here waits or opens a socket, and the same seed gives the same figures.
"""
import heapq
import random
import statistics
from dataclasses import dataclass

OWN, PROBES, SHARED = "own counters", "own counters and probes", "shared counter"
ARRIVAL, FAILURE, NEWS = range(3)


@dataclass(frozen=True)
class Fleet:
    """`requests_per_s` is of the whole fleet. `unrepeatable`: this part of requests may not be sent twice."""
    front_ends: int
    requests_per_s: float
    how: str = OWN
    backends: int = 2
    eject_after: int = 10
    fail_ms: float = 1.0
    probe_interval_ms: float = 2000.0
    probe_fall: int = 3
    share_ms: float = 100.0  # Until the others know of a failure.
    unrepeatable: float = 0.01


@dataclass
class Death:
    """What one death cost: attempts that failed, those whose request could not be repeated, and when the last
    attempt was sent to the dead backend."""
    failed: int = 0
    shown: int = 0
    last_ms: float = 0.0


class Simulation:
    """One death at time 0."""

    def __init__(self, fleet, seed):
        self.fleet = fleet
        self.random = random.Random(seed)
        self.death = Death()
        self.own = [0] * fleet.front_ends
        self.told = [0] * fleet.front_ends  # How many of its own failures all others know of.
        self.all_told = 0
        self.probed_out_ms = [self._probed_out_ms() for _ in range(fleet.front_ends)]
        self.is_out = [False] * fleet.front_ends
        self.left = fleet.front_ends
        self.events = []

    def _probed_out_ms(self):
        """When the last of `fall` probes has failed. The first comes at any moment of an interval."""
        fleet = self.fleet
        if fleet.how != PROBES:
            return float("inf")
        return (self.random.random() + fleet.probe_fall - 1) * fleet.probe_interval_ms + fleet.fail_ms

    def known(self, front_end):
        """The failures that this front end counts."""
        if self.fleet.how != SHARED:
            return self.own[front_end]
        return self.own[front_end] + self.all_told - self.told[front_end]

    def _look(self, front_end, now_ms):
        """Takes the backend out of rotation where it is time."""
        over = self.known(front_end) > self.fleet.eject_after or now_ms >= self.probed_out_ms[front_end]
        if over and not self.is_out[front_end]:
            self.is_out[front_end] = True
            self.left -= 1

    def _arrive(self, now_ms):
        fleet = self.fleet
        front_end = self.random.randrange(fleet.front_ends)
        self._look(front_end, now_ms)
        if not self.is_out[front_end]:
            self.death.failed += 1
            self.death.shown += self.random.random() < fleet.unrepeatable
            self.death.last_ms = now_ms
            heapq.heappush(self.events, (now_ms + fleet.fail_ms, FAILURE, front_end))
        # Only those that would go to the dead backend; the mean time between two of them, in ms.
        mean_ms = 1000 * fleet.backends / fleet.requests_per_s
        heapq.heappush(self.events, (now_ms + self.random.expovariate(1 / mean_ms), ARRIVAL, 0))

    def _fail(self, now_ms, front_end):
        if self.is_out[front_end]:
            return
        self.own[front_end] += 1
        self._look(front_end, now_ms)
        if self.fleet.how == SHARED:
            heapq.heappush(self.events, (now_ms + self.fleet.share_ms, NEWS, front_end))

    def _spread(self, front_end):
        self.all_told += 1
        self.told[front_end] += 1
        if self.all_told > self.fleet.eject_after:
            self.left = 0  # Everybody knows of enough failures.

    def run(self):
        self._arrive(0.0)
        while self.left > 0:
            now_ms, kind, front_end = heapq.heappop(self.events)
            if kind == ARRIVAL:
                self._arrive(now_ms)
            elif kind == FAILURE:
                self._fail(now_ms, front_end)
            else:
                self._spread(front_end)
            if kind == ARRIVAL and now_ms > max(self.probed_out_ms):
                break  # Every front end's probes have failed.
        return self.death


def deaths(fleet, runs=5):
    return [Simulation(fleet, seed).run() for seed in range(1, runs + 1)]


def median(found, key):
    return statistics.median(getattr(death, key) for death in found)


def wrong_ejections(front_ends, failures_per_s, shared, eject_after=10, runs=101, seed=1):
    """A backend that is well and fails now and then: the median seconds until the first front end, and until
    the last, has taken it out. `failures_per_s` is what one front end sees."""
    source = random.Random(seed)
    firsts, lasts = [], []
    for _ in range(runs):
        if shared:
            times = [source.gammavariate(eject_after + 1, 1 / (failures_per_s * front_ends))]
        else:
            times = [source.gammavariate(eject_after + 1, 1 / failures_per_s) for _ in range(front_ends)]
        firsts.append(min(times))
        lasts.append(max(times))
    return statistics.median(firsts), statistics.median(lasts)
