# SPDX-License-Identifier: MIT
"""What was promised, and whether it was kept: values in, verdicts out."""
from dataclasses import dataclass

EJECT_AFTER = 10
SHOWN_FAULTS = 5


@dataclass(frozen=True)
class Verdict:
    promise: str
    kept: bool  # None: it could not be judged; `facts` says why
    facts: str

    @property
    def word(self):
        return {True: "kept", False: "BROKEN", None: "not judged"}[self.kept]


def every_answer_good(records):
    faults = [record for record in records if record.fault]
    facts = f"{len(records)} requests, {len(faults)} failed"
    if faults:
        facts += "; the first: " + "; ".join(record.fault for record in faults[:SHOWN_FAULTS])
    return Verdict("Every request is answered with 200 and the right output", bool(records) and not faults, facts)


def grew(course, starved):
    facts = ", ".join(f"{name} {course.minimum[name]} -> {ready}" for name, ready in course.grew_to.items())
    kept = all(ready > course.minimum[name] for name, ready in course.grew_to.items())
    if not kept and starved:
        return Verdict("Each cloud grows with the load", None, f"{facts}; the machine was too busy: {starved}")
    return Verdict("Each cloud grows with the load", kept, facts + " pods ready")


def ejected(outage):
    """All ejections of one outage: over the limit, masked, and left alone from then on."""
    verdicts = []
    for number, ejection in enumerate(outage.ejections):
        when = "" if number == 0 else ", and again after a reset that came too early"
        verdicts.append(
            Verdict(
                f"{outage.cloud} lost ({outage.how}): failures > {EJECT_AFTER} and ejected{when}",
                ejection.state == "ejected" and ejection.failures > EJECT_AFTER,
                f"state {ejection.state}, failures {ejection.failures}, {ejection.masked} failed attempts masked",
            )
        )
        sent = ejection.attempts[1] - ejection.attempts[0]
        begun = ejection.connects[1] - ejection.connects[0]
        verdicts.append(
            Verdict(
                f"{outage.cloud} lost: from then on nothing is sent to it",
                ejection.answers > 0 and sent == 0 and begun == 0,
                f"{sent} attempts, {begun} connections on the wire, during {ejection.answers} further requests",
            )
        )
    return verdicts


def none_lost(outage, records):
    first, end = outage.records
    faults = sum(bool(record.fault) for record in records[first:end])
    return Verdict(
        f"{outage.cloud} lost and restored: no client sees it", end > first and faults == 0,
        f"{end - first} requests meanwhile, {faults} failed",
    )  # fmt: skip


def came_back(outage):
    return Verdict(
        f"{outage.cloud} restored: after POST /admin/reset it serves again", outage.back,
        f"{outage.answers_when_back} answers of its own",
    )  # fmt: skip


def fell(course):
    facts = ", ".join(f"{name} {course.most[name]} -> {left}" for name, left in course.fell_to.items())
    kept = all(left < course.most[name] for name, left in course.fell_to.items())
    return Verdict("Each cloud shrinks when the load has fallen", kept, f"{facts} replicas")


def ended_well(status, crashed):
    facts = f"front end: exit status {status}; pods that ended unasked: {len(crashed)}"
    return Verdict("Front end and pods live to the end", status == 0 and not crashed, facts)


def starvation(records, rate_wanted):
    """Words for a machine that could not bring up the load: "" if it could. `records` are those of the peak."""
    if not records or rate_wanted <= 0:
        return ""
    late = sum(record.late_s > 0.25 for record in records)
    return f"{late} of {len(records)} requests began late" if late * 10 > len(records) else ""


def judge(course, seen, crashed, exit_status):
    """All verdicts, the most important first."""
    verdicts = [every_answer_good(seen.records)]
    for outage in course.outages:
        verdicts += ejected(outage)
        verdicts += [none_lost(outage, seen.records), came_back(outage)]
    verdicts.append(grew(course, starvation(seen.records, course.peak_rate)))
    if course.fell_to:
        verdicts.append(fell(course))
    verdicts.append(ended_well(exit_status, crashed))
    return verdicts
