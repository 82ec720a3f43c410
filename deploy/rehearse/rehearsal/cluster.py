# SPDX-License-Identifier: MIT
"""One cluster: a Deployment's pods, the Service before them, and the autoscaler that watches them."""
import time

from rehearsal import net
from rehearsal.manifests import hpa
from rehearsal.pod import Pod


class Pace:
    """How much smaller and faster the rehearsal is than the real thing.

    speed   one second here stands for so many
    shrink  one core here stands for so many
    """

    def __init__(self, speed, shrink):
        self.speed = speed
        self.shrink = shrink
        self._since = time.monotonic()

    def virtual(self, at):
        """The time on the autoscaler's clock."""
        return (at - self._since) * self.speed

    @property
    def sync_s(self):
        """Seconds here between two looks of the autoscaler."""
        return hpa.SYNC_S / self.speed


class Meter:
    """Turns the CPU seconds that a pod has used into the samples of a metrics server."""

    def __init__(self, usage_s, now):
        self._last = usage_s, now
        self.sample = None
        self.share_m = 0

    def read(self, usage_s, now, pace):
        before_s, before = self._last
        if now <= before:
            return
        self.share_m = max(0.0, usage_s - before_s) * 1000 / (now - before)
        self.sample = hpa.Sample(
            round(self.share_m * pace.shrink), pace.virtual(now), (now - before) * pace.speed
        )
        self._last = usage_s, now


class Cluster:
    def __init__(self, cloud, network, accounts, folder, pods, spec, pace, tell):
        self.cloud = cloud
        self.name = cloud.name
        self.spec = spec
        self.deployed = False
        self.crashed = []  # pods that ended unasked
        self.peak = 0
        self.utilization = None  # percent of the requests, as the autoscaler saw it last
        self._network = network
        self._namespace = network.of[cloud.name]
        self._accounts = accounts
        self._folder = folder
        self._shape = pods
        self._pace = pace
        self._tell = tell
        self._pods = []
        self._meters = {}
        self._made = 0
        self._autoscaler = hpa.Controller(spec, 0)
        self._next_sync = 0.0
        self._endpoints = None
        self._publish()

    @property
    def replicas(self):
        return self._autoscaler.replicas

    @property
    def ready(self):
        return sum(pod.state == "ready" for pod in self._pods)

    def cpu_s(self):
        """CPU that its ready pods have used since they started."""
        return sum(pod.usage_s() for pod in self._pods if pod.state == "ready")

    def deploy(self):
        """Applies the Deployment. It names no replicas, so the API server begins with one; the autoscaler, which
        was never deleted, brings it up to its minimum."""
        self.deployed = True
        self._autoscaler.replicas = 1
        self._next_sync = 0.0

    def delete(self):
        """Deletes the Deployment without grace: all processes at once. Nobody answers at the Service then."""
        self.deployed = False
        self._autoscaler.replicas = 0
        for pod in self._pods:
            if pod.state != "gone":
                pod.kill()
        self._pods.clear()
        self._meters.clear()
        self.utilization = None
        self._publish()

    def tick(self, now):
        """To be called often: moves pods on, keeps their number, and lets the autoscaler look when it is time."""
        for pod in self._pods:
            self._move(pod, now)
        self._pods = [pod for pod in self._pods if pod.state != "gone"]
        if now >= self._next_sync:
            self._next_sync = max(now, self._next_sync + self._pace.sync_s) if self._next_sync else now
            self._sync(now)
        self._keep_number()
        self._publish()

    def _move(self, pod, now):
        waited = (now - pod.stopped_at) * self._pace.speed if pod.stopped_at is not None else 0
        if pod.became_ready(max(1, self._shape.limit_m // self._pace.shrink)):
            self._meters[pod.name] = Meter(pod.usage_s(), now)
        elif pod.state == "leaving" and waited >= self._shape.pre_stop_s:
            pod.terminate()
        elif pod.ended():
            if pod.state in ("starting", "ready"):
                self.crashed.append(pod)
                self._tell(f"{self.name}: {pod.name} ended unasked, see {pod.log_path}")
            pod.forget()
            self._meters.pop(pod.name, None)
        elif pod.state == "stopping" and waited >= self._shape.grace_s * self._pace.speed:
            pod.kill()  # its grace is not sped up: gunicorn doesn't know of our clock

    def _wanted(self):
        return [pod for pod in self._pods if pod.state in ("starting", "ready")]

    def _keep_number(self):
        """What a ReplicaSet does: starts what is missing; what is too much leaves, starting and young ones first."""
        wanted = self._wanted()
        for _ in range(self.replicas - len(wanted)):
            name = f"pod-{self._made}"
            address = self.cloud.pod_address(self._made)
            self._made += 1
            self._namespace.ip("addr", "replace", f"{address}/32", "dev", "lo")
            self._pods.append(
                Pod(name, self.name, address, self._namespace, self._accounts, self._folder)
            )
        young_first = sorted(wanted, key=lambda pod: (pod.state == "ready", -pod.started_at))
        for pod in young_first[: max(0, len(wanted) - self.replicas)]:
            pod.leave()

    def _publish(self):
        """The Service's endpoints are the pods that are ready."""
        endpoints = [pod.address for pod in self._pods if pod.state == "ready"]
        if endpoints != self._endpoints:
            self._namespace.nft(net.service_rules(self.cloud.address, endpoints))
            self._endpoints = endpoints

    def _seen(self, pod):
        """The pod as the autoscaler sees it."""
        meter = self._meters.get(pod.name)
        ready = pod.state == "ready"
        return hpa.Pod(
            pod.name,
            {"cpu": [self._shape.request_m]},
            {"cpu": meter.sample} if meter and meter.sample else {},
            deleting=pod.state in ("leaving", "stopping"),
            ready=ready,
            started_at=self._pace.virtual(pod.started_at),
            ready_changed_at=self._pace.virtual(pod.ready_at if ready else pod.started_at),
        )

    def _sync(self, now):
        for pod in self._pods:
            if pod.state == "ready" and pod.name in self._meters:
                self._meters[pod.name].read(pod.usage_s(), now, self._pace)
        before = self.replicas
        after = self._autoscaler.step(self._pace.virtual(now), [self._seen(pod) for pod in self._pods])
        decision = self._autoscaler.last
        if decision.current and decision.current[0] is not None:
            self.utilization = decision.current[0]
        if after != before:
            seen = "" if self.utilization is None else f" at {self.utilization} %"
            self._tell(f"{self.name}: autoscaler {before} -> {after}{seen}")
        self.peak = max(self.peak, after)
