# SPDX-License-Identifier: MIT
"""What the play is played on: clouds, front end and submitter, kept going by one thread, and all that was seen."""
import pathlib
import time
from dataclasses import dataclass, field

from rehearsal import cpu, manifests, net
from rehearsal.cluster import Cluster, Pace
from rehearsal.front import FrontEnd, Submitter
from rehearsal.plan import ramp

TICK_S = 0.05
SAMPLE_S = 0.5
DELAYS_MS = {"gcp": 4, "azure": 9}  # one way


@dataclass
class Sample:
    """The state of things at one moment, for the timeline."""
    at: float
    rate: float
    replicas: dict
    ready: dict
    utilization: dict
    failed_attempts: dict  # of the front end, since the begin
    rescued: int


@dataclass
class Seen:
    """All that is judged and drawn. Times are seconds of the monotonic clock."""
    began: float = field(default_factory=time.monotonic)
    records: list = field(default_factory=list)
    samples: list = field(default_factory=list)
    events: list = field(default_factory=list)  # (time, text)


def failed_attempts(backend):
    return backend["non_200"] + sum(backend["errors"].values())


class Stage:
    def __init__(self, plan, binary, folder, name):
        self.plan = plan
        self.seen = Seen()
        self.folder = pathlib.Path(folder)
        (self.folder / "tmp").mkdir(exist_ok=True)
        self.pace = Pace(plan.speed, plan.shrink)
        self.accounts = cpu.Accounts(name)
        self.pods = manifests.pods()
        clouds = [net.Cloud("gcp", 1), net.Cloud("azure", 2)]
        self.network = net.Network(clouds, DELAYS_MS)
        self.clusters = {
            cloud.name: Cluster(
                cloud, self.network, self.accounts, self.folder, self.pods,
                manifests.autoscaler(cloud.name), self.pace, self.tell,
            )
            for cloud in clouds
        }  # fmt: skip
        self.front = FrontEnd(binary, self.network, self.folder)
        self.submitter = Submitter(self.network, plan.workers)
        self.rate = 0.0
        self.stats = self.front.stats()
        self._ramp = None  # (from, to, seconds, since)
        self._next_sample = 0.0
        self._before_reset = {"rescued": 0, "failed": {cloud.name: 0 for cloud in clouds}}

    def tell(self, text):
        now = time.monotonic()
        self.seen.events.append((now, text))
        print(f"{now - self.seen.began:6.1f} s  {text}", flush=True)

    def ramp_to(self, rate, seconds):
        self._ramp = (self.rate, rate, seconds, time.monotonic())

    def tick(self):
        now = time.monotonic()
        if self.front.process.poll() is not None:
            raise net.Failed(f"the front end ended: see {self.front.log_path}")
        if self._ramp is not None:
            begin, end, seconds, since = self._ramp
            rate = ramp(begin, end, seconds, now - since)
            if rate != self.rate:
                self.rate = rate
                self.submitter.set_rate(rate)
            if rate == end:
                self._ramp = None
        for cluster in self.clusters.values():
            cluster.tick(now)
        self.seen.records += self.submitter.take()
        if now >= self._next_sample:
            self._next_sample = now + SAMPLE_S
            self.look()

    def look(self):
        """Asks the front end for its statistics and notes how things are."""
        self.stats = self.front.stats()
        before = self._before_reset
        names = list(self.clusters)
        self.seen.samples.append(
            Sample(
                time.monotonic(), self.rate,
                {name: self.clusters[name].replicas for name in names},
                {name: self.clusters[name].ready for name in names},
                {name: self.clusters[name].utilization for name in names},
                {name: before["failed"][name] + failed_attempts(self.stats["backends"][name]) for name in names},
                before["rescued"] + self.stats["requests"]["rescued"],
            )
        )  # fmt: skip

    def reset(self):
        """POST /admin/reset, which begins all counts anew."""
        self.look()
        last = self.seen.samples[-1]
        self.front.reset()
        self._before_reset = {"rescued": last.rescued, "failed": last.failed_attempts}
        self.tell("POST /admin/reset")
        self.stats = self.front.stats()

    def until(self, so, at_least_s=0.0):
        """Keeps all going until so(), and for `at_least_s`. False when the plan's patience ended before."""
        begun = time.monotonic()
        while True:
            self.tick()
            waited = time.monotonic() - begun
            if waited >= at_least_s and so():
                return True
            if waited >= self.plan.at_most_s + at_least_s:
                return False
            time.sleep(TICK_S)

    def answered(self, count):
        """A condition for until(): that many more requests have ended."""
        enough = len(self.seen.records) + count
        return lambda: len(self.seen.records) >= enough

    def stop_load(self):
        self.submitter.stop()
        self.seen.records += self.submitter.take()

    def stop(self):
        for cluster in self.clusters.values():
            cluster.delete()
        self.network.stop()
        self.accounts.remove()
