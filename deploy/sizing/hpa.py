# SPDX-License-Identifier: MIT
"""What a HorizontalPodAutoscaler (autoscaling/v2) decides, without a cluster.

A Controller holds what the real one remembers of one HPA: recommendations and scale events. Call step() once per
sync (SYNC_S in a real cluster) with the pods as the API and the metrics server show them. It returns how many
replicas the target shall have. Nothing in here reads a clock, sleeps or starts anything: all times are seconds
on a clock of the caller's.

The rules are those of the page "Horizontal Pod Autoscaling" of the Kubernetes documentation and of the controller
of Kubernetes 1.26. From 1.33 on a ratio that is exactly 1.1 is inside the tolerance; before, rounding puts it
outside. This follows 1.26 there.
"""
import math
from collections import deque
from dataclasses import dataclass, field

SYNC_S = 15                    # --horizontal-pod-autoscaler-sync-period
TOLERANCE = 0.1                # --horizontal-pod-autoscaler-tolerance
DOWNSCALE_WINDOW_S = 300       # --horizontal-pod-autoscaler-downscale-stabilization
CPU_INITIALIZATION_S = 300     # --horizontal-pod-autoscaler-cpu-initialization-period
INITIAL_READINESS_S = 30       # --horizontal-pod-autoscaler-initial-readiness-delay
UNSET_UP_FACTOR, UNSET_UP_PODS = 2, 4  # the limit up, where `behavior` is not set
LONG_AGO = -math.inf


class SpecError(ValueError):
    """A spec that no API server would accept; the text names the field."""


class NoMetrics(Exception):
    """A metric from which no number of replicas follows; the text says why, as `kubectl describe hpa` would."""


@dataclass(frozen=True)
class Policy:
    """At most `value` pods, or percent of the pods, within any `period_s`."""
    kind: str  # "Pods" or "Percent"
    value: int
    period_s: int

    def __post_init__(self):
        if self.kind not in ("Pods", "Percent"):
            raise SpecError(f"policies.type {self.kind}: expected Pods or Percent")
        if self.value < 1 or not 1 <= self.period_s <= 1800:
            raise SpecError("policies: expected a value of 1 or more and periodSeconds from 1 to 1800")


@dataclass(frozen=True)
class Rules:
    """One direction of `behavior`. `select`: "Max" takes the policy that allows most change, "Min" the one that
    allows least, "Disabled" allows none."""
    window_s: int
    policies: tuple
    select: str = "Max"

    def __post_init__(self):
        if not 0 <= self.window_s <= 3600:
            raise SpecError("stabilizationWindowSeconds: expected 0 to 3600")
        if not self.policies:
            raise SpecError("policies: expected at least one")
        if self.select not in ("Max", "Min", "Disabled"):
            raise SpecError(f"selectPolicy {self.select}: expected Max, Min or Disabled")


# What a field that is left out means, where `behavior` is set.
UP_DEFAULT = Rules(0, (Policy("Pods", 4, 15), Policy("Percent", 100, 15)))
DOWN_DEFAULT = Rules(DOWNSCALE_WINDOW_S, (Policy("Percent", 100, 15),))


@dataclass(frozen=True)
class Behavior:
    up: Rules = UP_DEFAULT
    down: Rules = DOWN_DEFAULT


@dataclass(frozen=True)
class Target:
    """One entry of `metrics`, of type Resource. `kind` "Utilization": percent of the requests. "AverageValue": per
    pod, in thousandths of the resource's unit."""
    resource: str
    value: int
    kind: str = "Utilization"


@dataclass(frozen=True)
class Spec:
    """The part of an HPA's spec that decides. `behavior` None: not set, which is not the same as defaults."""
    min_replicas: int
    max_replicas: int
    targets: tuple
    behavior: Behavior = None

    def __post_init__(self):
        if not 1 <= self.min_replicas <= self.max_replicas:
            raise SpecError("minReplicas: expected 1 or more, and not more than maxReplicas")
        if not self.targets:
            raise SpecError("metrics: expected at least one")

    @classmethod
    def from_manifest(cls, spec):
        """Reads the `spec` of an autoscaling/v2 document, as a dict. Raises SpecError."""
        try:
            targets = tuple(_target(metric) for metric in spec["metrics"])
            behavior = _behavior(spec["behavior"]) if spec.get("behavior") is not None else None
            return cls(int(spec.get("minReplicas", 1)), int(spec["maxReplicas"]), targets, behavior)
        except KeyError as error:
            raise SpecError(f"{error.args[0]}: missing") from error


def _target(metric):
    if metric["type"] != "Resource":
        raise SpecError(f"metrics.type {metric['type']}: only Resource can be followed here")
    resource, target = metric["resource"]["name"], metric["resource"]["target"]
    if target["type"] == "Utilization":
        return Target(resource, int(target["averageUtilization"]))
    if target["type"] == "AverageValue":
        return Target(resource, milli(target["averageValue"]), "AverageValue")
    raise SpecError(f"target.type {target['type']}: expected Utilization or AverageValue")


def milli(quantity):
    """Thousandths of the unit from a quantity such as "250m", "0.5", 2 or "64Mi"."""
    text = str(quantity)
    scale = {"m": 1, "k": 10**6, "M": 10**9, "G": 10**12,
             "Ki": 1000 * 2**10, "Mi": 1000 * 2**20, "Gi": 1000 * 2**30}
    for suffix in sorted(scale, key=len, reverse=True):
        if text.endswith(suffix):
            return round(float(text[:-len(suffix)]) * scale[suffix])
    return round(float(text) * 1000)


def _rules(given, default):
    if given is None:
        return default
    window = given.get("stabilizationWindowSeconds")
    policies = default.policies
    if given.get("policies") is not None:
        policies = tuple(Policy(policy["type"], int(policy["value"]), int(policy["periodSeconds"]))
                         for policy in given["policies"])
    return Rules(default.window_s if window is None else int(window), policies,
                 given.get("selectPolicy") or "Max")


def _behavior(given):
    return Behavior(_rules(given.get("scaleUp"), UP_DEFAULT), _rules(given.get("scaleDown"), DOWN_DEFAULT))


@dataclass(frozen=True)
class Sample:
    """What the metrics server says of one pod: the mean use over the `window_s` that ended at `at`."""
    usage_m: int
    at: float = 0
    window_s: float = 0


@dataclass
class Pod:
    """A pod as the controller sees it. The defaults are those of one that has been running and ready for long.

    `requests_m` has the request of each container in thousandths; None: it has none. `samples` is by resource; a
    pod without one has missing metrics. `ready_changed_at` is when `ready` last changed. As in a real cluster a
    pod that is unready, but was ready before, still counts once it is older than CPU_INITIALIZATION_S.
    """
    name: str
    requests_m: dict = field(default_factory=dict)  # resource: [request of each container]
    samples: dict = field(default_factory=dict)
    phase: str = "Running"  # "Pending", "Running" or "Failed"
    deleting: bool = False
    ready: bool = True
    started_at: float = LONG_AGO  # None: the node has not taken it yet
    ready_changed_at: float = LONG_AGO

    @classmethod
    def simple(cls, name, request_m, usage_m=None, **state):
        """A pod of one container, of which only CPU matters."""
        samples = {} if usage_m is None else {"cpu": Sample(usage_m)}
        return cls(name, {"cpu": [request_m]}, samples, **state)

    def unready(self, now, sample):
        """Whether the sample says nothing yet: the pod is new and starting, or was ready for less than a window."""
        if self.started_at is None:
            return True
        if self.started_at + CPU_INITIALIZATION_S > now:
            return not self.ready or sample.at < self.ready_changed_at + sample.window_s
        return not self.ready and self.started_at + INITIAL_READINESS_S > self.ready_changed_at


@dataclass
class Groups:
    """The pods of one metric, by what is known of them. Those that end or have failed are in none."""
    measured: dict = field(default_factory=dict)  # pod: usage
    missing: list = field(default_factory=list)
    unready: list = field(default_factory=list)


def group(pods, resource, now):
    groups = Groups()
    for pod in pods:
        if pod.deleting or pod.phase == "Failed":
            continue
        sample = pod.samples.get(resource)
        if pod.phase == "Pending":
            groups.unready.append(pod)
        elif sample is None:
            groups.missing.append(pod)
        elif resource == "cpu" and pod.unready(now, sample):
            groups.unready.append(pod)
        else:
            groups.measured[pod.name] = sample.usage_m
    return groups


class Measure:
    """A metric on its way to a ratio: the use of some pods, compared with the target."""

    def __init__(self, target, pods):
        self.target = target
        self.requests = {}
        if target.kind == "Utilization":
            for pod in pods:
                parts = pod.requests_m.get(target.resource) or [None]
                if None in parts:
                    raise NoMetrics(f"missing request for {target.resource} in pod {pod.name}")
                self.requests[pod.name] = sum(parts)

    def current(self, usage):
        """Percent of the requests, or thousandths per pod; whole, the rest is cut off."""
        if self.target.kind == "AverageValue":
            return sum(usage.values()) // len(usage)
        requests = sum(self.requests[name] for name in usage)
        if requests == 0:
            raise NoMetrics(f"no {self.target.resource} requests")
        return sum(usage.values()) * 100 // requests

    def ratio(self, usage):
        return self.current(usage) / self.target.value

    def pessimistic(self, name):
        """What a pod without metrics is taken to use when the rest says: fewer."""
        if self.target.kind == "AverageValue":
            return self.target.value
        return self.requests[name] * max(100, self.target.value) // 100


def proposal(target, pods, replicas, now):
    """(replicas, current value) that one metric asks for. Raises NoMetrics."""
    if not pods:
        raise NoMetrics("no pods returned by selector")
    groups = group(pods, target.resource, now)
    measure = Measure(target, pods)
    usage = groups.measured
    if not usage:
        raise NoMetrics("did not receive metrics for any ready pods")
    current = measure.current(usage)
    ratio = measure.ratio(usage)
    wake = bool(groups.unready) and ratio > 1
    if not wake and not groups.missing:
        if abs(1 - ratio) <= TOLERANCE:
            return replicas, current
        return math.ceil(ratio * len(usage)), current
    # What is not known speaks against the change: a missing pod is busy when there seem to be too many, and
    # missing or starting ones are idle when there seem to be too few.
    filled = dict(usage)
    for pod in groups.missing:
        if ratio != 1 or target.kind == "AverageValue":
            filled[pod.name] = measure.pessimistic(pod.name) if ratio < 1 else 0
    if wake:
        filled.update((pod.name, 0) for pod in groups.unready)
    second = measure.ratio(filled)
    if abs(1 - second) <= TOLERANCE or (ratio - 1) * (second - 1) < 0:
        return replicas, current
    proposed = math.ceil(second * len(filled))
    if (second < 1 and proposed > replicas) or (second > 1 and proposed < replicas):
        return replicas, current
    return proposed, current


@dataclass(frozen=True)
class Decision:
    """What a step did and why. `current` has each target's value in its own unit, None where it had none.
    `proposed` is what the metrics asked for, before windows, rates and bounds; None if they were not asked."""
    now: float
    before: int
    after: int
    proposed: int
    stabilized: int
    current: tuple
    reason: str


class Controller:
    """One HPA over its life. `replicas` is the target's spec.replicas: whoever else scales the target sets it.

    A new Controller takes the replicas that are there for a first recommendation, so it does not scale down for a
    whole window. Not safe for use by several threads at once.
    """

    def __init__(self, spec, replicas):
        self.spec = spec
        self.replicas = replicas
        self.last = None
        self._recommended = None  # of (time, replicas), oldest first
        self._ups = deque()       # of (time, pods added)
        self._downs = deque()     # of (time, pods removed)

    def step(self, now, pods):
        """One sync at the time `now`, which never goes back. Returns the replicas that the target shall have."""
        before = self.replicas
        if self._recommended is None:
            self._recommended = deque([(now, before)])
        proposed = stabilized = None
        current = ()
        if before == 0:
            after, reason = 0, "scaling is disabled: the target has 0 replicas"
        elif before > self.spec.max_replicas:
            after, reason = self.spec.max_replicas, "above maxReplicas"
        elif before < self.spec.min_replicas:
            after, reason = self.spec.min_replicas, "below minReplicas"
        else:
            proposed, current, reason = self._propose(now, pods)
            after = before
            if proposed is not None:
                stabilized, after = self._normalize(now, proposed)
        if after != before and self.spec.behavior is not None:
            (self._ups if after > before else self._downs).append((now, abs(after - before)))
        self._forget(now)
        self.replicas = after
        self.last = Decision(now, before, after, proposed, stabilized, current, reason)
        return after

    def _propose(self, now, pods):
        """(the largest proposal or None, current values, reason). One broken metric forbids only fewer."""
        proposals, current, broken = [], [], []
        for target in self.spec.targets:
            try:
                wanted, value = proposal(target, pods, self.replicas, now)
                proposals.append(wanted)
                current.append(value)
            except NoMetrics as error:
                broken.append(str(error))
                current.append(None)
        wanted = max(proposals, default=None)
        if wanted is None or (broken and wanted < self.replicas):
            return None, tuple(current), broken[0]
        return wanted, tuple(current), broken[0] if broken else "metrics"

    def _normalize(self, now, proposed):
        """(after the windows, after windows, rates and bounds). Remembers the proposal as it came."""
        spec, behavior, replicas = self.spec, self.spec.behavior, self.replicas
        if behavior is None:
            stabilized = max([proposed] + [count for at, count in self._recommended
                                           if at >= now - DOWNSCALE_WINDOW_S])
            ceiling = max(UNSET_UP_FACTOR * replicas, UNSET_UP_PODS)
            after = min(stabilized, ceiling, spec.max_replicas)
        else:
            stabilized = after = self._stabilize(now, proposed)
            if after > replicas:
                after = min(after, max(self._limit_up(now), replicas), spec.max_replicas)
            elif after < replicas:
                after = max(after, min(self._limit_down(now), replicas))
        self._recommended.append((now, proposed))
        return stabilized, max(after, spec.min_replicas)

    def _stabilize(self, now, proposed):
        """Up to the lowest of the up-window, down to the highest of the down-window; between the two: stay."""
        behavior = self.spec.behavior
        floor = min([proposed] + [count for at, count in self._recommended
                                  if at > now - behavior.up.window_s])
        ceiling = max([proposed] + [count for at, count in self._recommended
                                    if at > now - behavior.down.window_s])
        return min(max(self.replicas, floor), ceiling)

    def _period_start(self, now, period_s):
        """How many replicas there were when the period began, own changes only."""
        added = sum(count for at, count in self._ups if at > now - period_s)
        removed = sum(count for at, count in self._downs if at > now - period_s)
        return self.replicas - added + removed

    def _limit_up(self, now):
        rules = self.spec.behavior.up
        if rules.select == "Disabled":
            return self.replicas
        limits = []
        for policy in rules.policies:
            start = self._period_start(now, policy.period_s)
            limits.append(start + policy.value if policy.kind == "Pods"
                          else math.ceil(start * (1 + policy.value / 100)))
        return min(limits) if rules.select == "Min" else max(limits)

    def _limit_down(self, now):
        rules = self.spec.behavior.down
        if rules.select == "Disabled":
            return self.replicas
        limits = []
        for policy in rules.policies:
            start = self._period_start(now, policy.period_s)
            limits.append(start - policy.value if policy.kind == "Pods"
                          else int(start * (1 - policy.value / 100)))
        return max(limits) if rules.select == "Min" else min(limits)

    def _forget(self, now):
        """Drops what no window and no period can reach any more."""
        behavior = self.spec.behavior or Behavior()
        window = max(behavior.up.window_s, behavior.down.window_s)
        longest = max(policy.period_s for rules in (behavior.up, behavior.down) for policy in rules.policies)
        for memory, reach in ((self._recommended, window), (self._ups, longest), (self._downs, longest)):
            while memory and memory[0][0] < now - reach:
                memory.popleft()
