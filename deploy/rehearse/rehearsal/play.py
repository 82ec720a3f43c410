# SPDX-License-Identifier: MIT
"""The play: load rises, each cloud is lost once and comes back, load falls. It notes; it does not judge."""
from dataclasses import dataclass, field

from rehearsal.plan import peak_rate
from rehearsal.stage import failed_attempts

CALIBRATION_RATE, CALIBRATION_ANSWERS = 10.0, 40
BACK_ANSWERS = 20  # so many of its own answers show that a cloud is back


@dataclass
class Ejection:
    """What the front end said of a lost backend, and whether it then left it alone."""
    state: str
    failures: int
    masked: int  # attempts that failed and that no client heard of
    attempts: tuple  # sent to it, when its last one had ended and some time after that
    connects: tuple  # connections begun toward it on the wire, at the same two moments
    answers: int  # requests answered between the two


@dataclass
class Outage:
    cloud: str
    how: str
    survivor: str
    ejections: list = field(default_factory=list)
    survivor_ready: tuple = ()  # pods of the other cloud when it began, and the most while it lasted
    back: bool = False
    answers_when_back: int = 0
    records: tuple = ()  # of the list of records: first, behind the last


@dataclass
class Course:
    """All that the play noted besides what the stage saw."""
    calibrated_cpu_ms: float = 0.0
    peak_rate: float = 0.0
    minimum: dict = field(default_factory=dict)
    grew_to: dict = field(default_factory=dict)  # pods ready at the peak
    outages: list = field(default_factory=list)
    most: dict = field(default_factory=dict)  # replicas, before load fell
    fell_to: dict = field(default_factory=dict)  # replicas, after load fell; empty if that was not waited for


def perform(stage):
    course = Course(minimum={name: cluster.spec.min_replicas for name, cluster in stage.clusters.items()})
    start(stage, course)
    rise(stage, course)
    course.outages.append(outage(stage, "gcp", "azure", swallowed=False))
    course.outages.append(outage(stage, "azure", "gcp", swallowed=True))
    fall(stage, course)
    stage.tell("no more load")
    stage.stop_load()
    return course


def start(stage, course):
    """Both Deployments are applied; a little load tells what a request costs."""
    stage.tell("both clouds: Deployment applied")
    clusters = stage.clusters.values()
    for cluster in clusters:
        cluster.deploy()
    if not stage.until(lambda: all(cluster.ready >= cluster.spec.min_replicas for cluster in clusters)):
        logs = [pod.log_path for cluster in clusters for pod in cluster.crashed]
        why = f"; the last log:\n{logs[-1].read_text()[-2000:]}" if logs else ""
        raise RuntimeError(f"the pods did not come up{why}")
    before_s = sum(cluster.cpu_s() for cluster in clusters)
    stage.ramp_to(CALIBRATION_RATE, 0)
    stage.until(stage.answered(CALIBRATION_ANSWERS))
    used_s = sum(cluster.cpu_s() for cluster in clusters) - before_s
    course.calibrated_cpu_ms = max(0.5, used_s / CALIBRATION_ANSWERS * 1000)


def rise(stage, course):
    """Load rises until the autoscalers have followed it."""
    plan = stage.plan
    target = min(cluster.spec.targets[0].value for cluster in stage.clusters.values())
    course.peak_rate = peak_rate(plan, stage.pods.request_m, target, course.calibrated_cpu_ms / 1000)
    stage.tell(f"load rises to {course.peak_rate:.0f} requests/s ({course.calibrated_cpu_ms:.1f} ms of CPU each)")
    stage.ramp_to(course.peak_rate * plan.low_share, 0)
    stage.until(lambda: True, plan.hold_s)
    stage.ramp_to(course.peak_rate, plan.ramp_s)
    stage.until(lambda: True, plan.ramp_s)
    stage.until(
        lambda: all(c.ready > c.spec.min_replicas and c.ready == c.replicas for c in stage.clusters.values()),
        plan.hold_s,
    )
    course.grew_to = {name: cluster.ready for name, cluster in stage.clusters.items()}


def outage(stage, lost, other, swallowed):
    plan, cluster, survivor = stage.plan, stage.clusters[lost], stage.clusters[other]
    how = "its address swallows all packets" if swallowed else "its address refuses"
    noted = Outage(lost, how, other)
    first, ready_before = len(stage.seen.records), survivor.ready
    if swallowed:
        stage.network.swallow(cluster.cloud)
    cluster.delete()
    stage.tell(f"{lost}: Deployment deleted in mid-load, {how}")
    noted.ejections.append(ejection(stage, cluster, survivor))
    if plan.early_reset:
        stage.reset()
        noted.ejections.append(ejection(stage, cluster, survivor))
    noted.survivor_ready = (ready_before, max(ready_before, survivor.ready))
    if swallowed:
        stage.network.heal(cluster.cloud)
    cluster.deploy()
    stage.tell(f"{lost}: Deployment applied again")
    stage.until(lambda: cluster.ready >= cluster.spec.min_replicas)
    stage.reset()
    come_back(stage, noted)
    noted.records = first, len(stage.seen.records)
    return noted


def ejection(stage, cluster, survivor):
    """Waits until the lost backend is ejected and nothing is under way to it, then for enough answers, and for the
    other cloud to have grown to what it needs."""
    plan, name = stage.plan, cluster.name

    def backend():
        return stage.stats["backends"][name]

    stage.until(lambda: backend()["state"] == "ejected" and backend()["in_flight"] == 0)
    stage.look()
    early = backend()
    connects = stage.network.connects(cluster.cloud)
    first = len(stage.seen.records)
    stage.tell(f"{name}: {early['state']}, {early['failures']} failures")
    enough = stage.answered(plan.answers)
    stage.until(lambda: enough() and survivor.ready >= survivor.replicas, plan.hold_s)
    stage.look()
    late = backend()
    return Ejection(
        late["state"], late["failures"], failed_attempts(late), (early["attempts"], late["attempts"]),
        (connects, stage.network.connects(cluster.cloud)), len(stage.seen.records) - first,
    )  # fmt: skip


def come_back(stage, noted):
    """Waits until the cloud answers again as others do."""
    first = len(stage.seen.records)

    def answers():
        return sum(record.cloud == noted.cloud for record in stage.seen.records[first:])

    stage.until(lambda: answers() >= BACK_ANSWERS, stage.plan.hold_s)
    stage.look()
    noted.answers_when_back = answers()
    noted.back = noted.answers_when_back >= BACK_ANSWERS and stage.stats["backends"][noted.cloud]["state"] == "up"
    stage.tell(f"{noted.cloud}: {stage.stats['backends'][noted.cloud]['state']}, {noted.answers_when_back} answers")


def fall(stage, course):
    plan, clusters = stage.plan, stage.clusters
    if plan.wait_for_fewer:  # until the lost cloud, too, has grown again
        stage.until(lambda: all(cluster.ready == cluster.replicas for cluster in clusters.values()), plan.hold_s)
    course.most = {name: cluster.peak for name, cluster in clusters.items()}
    stage.tell("load falls")
    stage.ramp_to(course.peak_rate * plan.low_share, plan.ramp_s / 2)
    if plan.wait_for_fewer:
        stage.until(lambda: all(cluster.replicas < cluster.peak for cluster in clusters.values()), plan.ramp_s / 2)
        stage.until(lambda: True, plan.hold_s)
        course.fell_to = {name: cluster.replicas for name, cluster in clusters.items()}
    else:
        stage.until(stage.answered(plan.answers // 2), plan.ramp_s / 2)
