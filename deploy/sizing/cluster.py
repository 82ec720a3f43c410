# SPDX-License-Identifier: MIT
"""A Deployment under an HPA and a load, second by second: what the controller sees, and when its pods serve.

Deterministic: the same arguments give the same Report. Load is shared evenly by the ready pods (the front end does
so); what they can't serve at once waits, and what waits longer than the cloud's `queue_s` is turned away.
"""
import csv
import math
from dataclasses import dataclass, field

import hpa


class Curve:
    """What one pod can do, as measured: rows of (rate per second, CPU in cores, p99 in ms), by rising rate."""

    def __init__(self, rows, objective_ms):
        self.rows = sorted(rows)
        if len(self.rows) < 2:
            raise ValueError("a curve needs two rates or more")
        # Of all rows but the last, which may have been more than the pod could do.
        self.cpu_per_request_m = max(1000 * cpu / rate for rate, cpu, _ in self.rows[:-1])
        good = [rate for rate, _, p99 in self.rows if p99 <= objective_ms]
        bad = [rate for rate, _, p99 in self.rows if p99 > objective_ms]
        # Where the last row alone passes the objective, measuring ended there because the pod could do no more.
        self.capacity = self.rows[-2 if bad == [self.rows[-1][0]] else -1][0]
        # The rate that keeps the objective: the last one before the first that did not.
        self.good_rate = max((rate for rate in good if not bad or rate < min(bad)), default=0)
        if not self.good_rate:
            raise ValueError(f"no measured rate keeps p99 under {objective_ms} ms")

    @classmethod
    def read(cls, path, objective_ms):
        with open(path, encoding="utf-8", newline="") as file:
            return cls([(float(row["rate"]), float(row["cpu_cores"]), float(row["p99_ms"]))
                        for row in csv.DictReader(file)], objective_ms)

    def usage_m(self, rate):
        """CPU at a rate, in thousandths of a core, between the measured points on a straight line."""
        before = (0, self.rows[0][1] * 0.05)
        for at, cpu, _ in self.rows:
            if rate <= at:
                share = (rate - before[0]) / (at - before[0])
                return 1000 * (before[1] + share * (cpu - before[1]))
            before = (at, cpu)
        return 1000 * self.rows[-1][1]


@dataclass(frozen=True)
class Cloud:
    """Assumptions about one cloud: guesses, not measured and without a source, until assumptions.json has what one sees on
    one's own. Times in seconds."""
    pod_start_s: int        # from the decision to ready, on a node that has room and the image
    node_start_s: int       # from a pod that finds no room to a node that takes it
    metric_period_s: int    # between two samples, and the time each is a mean of
    metric_delay_s: int     # from the end of a sample to when the controller sees it
    room_pods: int          # pods that the nodes hold before one is added
    pods_per_node: int
    queue_s: int = 5


@dataclass
class Life:
    """One simulated pod."""
    name: str
    running_at: float
    ready_at: float
    used_m: list = field(default_factory=list)
    sample: hpa.Sample = None
    pending_samples: list = field(default_factory=list)


@dataclass
class Report:
    overload_s: int = 0     # seconds with p99 over the objective, or with requests that wait
    turned_away: float = 0  # requests
    pod_s: int = 0
    peak_pods: int = 0
    flaps: int = 0          # times it grew within 600 s of having shrunk
    history: list = field(default_factory=list)  # (time, rate, replicas, ready pods, backlog)


class Cluster:
    def __init__(self, spec, cloud, curve, request_m, replicas):
        self.cloud, self.curve, self.request_m = cloud, curve, request_m
        self.controller = hpa.Controller(spec, replicas)
        self.pods = [Life(f"pod-{number}", hpa.LONG_AGO, hpa.LONG_AGO) for number in range(replicas)]
        self.made = replicas
        self.nodes = [(hpa.LONG_AGO, max(cloud.room_pods, replicas))]  # (from when, pods)
        self.backlog = 0.0

    def _place(self, now):
        """When a new pod finds room. Adds a node where none is free or on its way."""
        room, count = 0, len(self.pods)
        for at, pods in self.nodes:
            room += pods
            if count < room:
                return max(now, at)
        self.nodes.append((now + self.cloud.node_start_s, self.cloud.pods_per_node))
        return now + self.cloud.node_start_s

    def scale(self, now, wanted):
        while len(self.pods) < wanted:
            at = self._place(now)
            self.pods.append(Life(f"pod-{self.made}", at, at + self.cloud.pod_start_s))
            self.made += 1
        if len(self.pods) > wanted:  # those that are not ready go first, then the newest
            self.pods.sort(key=lambda pod: pod.ready_at)
            del self.pods[wanted:]

    def serve(self, now, rate):
        """One second of load. Returns (ready pods, whether it was too much, requests turned away)."""
        ready = [pod for pod in self.pods if pod.ready_at <= now]
        capacity = self.curve.capacity * len(ready)
        served = min(rate + self.backlog, capacity)
        waiting = rate + self.backlog - served
        self.backlog = min(waiting, capacity * self.cloud.queue_s)
        for pod in self.pods:
            if pod.running_at <= now:
                share = served / len(ready) if pod.ready_at <= now else 0
                pod.used_m.append(self.curve.usage_m(share))
        over = not ready or waiting > 0 or rate > self.curve.good_rate * len(ready)
        return len(ready), over, waiting - self.backlog

    def sample(self, now):
        """The metrics server at work: a mean per period, seen a while later."""
        for pod in self.pods:
            period = self.cloud.metric_period_s
            if now % period == 0 and len(pod.used_m) >= period:
                mean = round(sum(pod.used_m[-period:]) / period)
                pod.pending_samples.append(hpa.Sample(mean, now, period))
                del pod.used_m[:-period]
            while pod.pending_samples and pod.pending_samples[0].at + self.cloud.metric_delay_s <= now:
                pod.sample = pod.pending_samples.pop(0)

    def seen(self, now):
        """The pods as the controller sees them."""
        for pod in self.pods:
            running, ready = pod.running_at <= now, pod.ready_at <= now
            yield hpa.Pod(pod.name, {"cpu": [self.request_m]}, {"cpu": pod.sample} if pod.sample else {},
                          phase="Running" if running else "Pending", ready=ready,
                          started_at=pod.running_at if running else None,
                          ready_changed_at=pod.ready_at if ready else pod.running_at)


def simulate(spec, cloud, curve, request_m, trace, replicas=None, phase_s=0):
    """Runs `trace` (requests per second, one for each second) through a cluster. `phase_s` shifts the controller's
    syncs against the metrics. The first `trace` value is what it has settled on before."""
    start = replicas or min(spec.max_replicas, max(spec.min_replicas, math.ceil(
        trace[0] / curve.good_rate)))
    cluster, report, shrunk_at = Cluster(spec, cloud, curve, request_m, start), Report(), hpa.LONG_AGO
    for now, rate in enumerate(trace):
        ready, over, lost = cluster.serve(now, rate)
        cluster.sample(now)
        if (now + phase_s) % hpa.SYNC_S == 0:
            before = cluster.controller.replicas
            wanted = cluster.controller.step(now, list(cluster.seen(now)))
            if wanted > before and now - shrunk_at <= 600:
                report.flaps += 1
                shrunk_at = hpa.LONG_AGO
            elif wanted < before:
                shrunk_at = now
            cluster.scale(now, wanted)
        report.overload_s += over
        report.turned_away += lost
        report.pod_s += len(cluster.pods)
        report.peak_pods = max(report.peak_pods, len(cluster.pods))
        if now % 5 == 0:
            report.history.append((now, rate, len(cluster.pods), ready, cluster.backlog))
    return report


def traces(peak, ramp_s):
    """The loads that a choice has to stand, by name: requests per second for each second. `peak` is one cloud's
    part while both are there."""
    low = peak / 5
    ramp = [low] * 300 + [low + (peak - low) * at / ramp_s for at in range(ramp_s)] + [peak] * 600 + [low] * 900
    spike = [peak] * 600 + [2 * peak] * 900 + [peak] * 900
    wave = [low + (peak - low) * (1 - math.cos(2 * math.pi * at / 7200)) / 2 * (
        1 + 0.15 * math.sin(at / 37) * math.sin(at / 91)) for at in range(7200)]
    return {"ramp": ramp, "spike": spike, "wave": wave}
