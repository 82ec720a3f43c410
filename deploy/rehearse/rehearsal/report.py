# SPDX-License-Identifier: MIT
"""The report in words, the data behind it, and the timeline drawn by gnuplot."""
import shutil
import subprocess

from rehearsal.stage import DELAYS_MS

BIN_S = 1.0


def percentile(values, share):
    """The value that `share` (0 to 1) of the values do not exceed; 0 without values."""
    if not values:
        return 0.0
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered)) - 1))]


def bins(records, began, clouds, bin_s=BIN_S):
    """Rows of (begin of the bin, {cloud: answers per second}, failed per second, p50 ms, p99 ms), by the time at
    which requests ended."""
    filled = {}
    for record in records:
        filled.setdefault(int((record.ended - began) / bin_s), []).append(record)
    rows = []
    for number in range(max(filled, default=-1) + 1):
        here = filled.get(number, [])
        took_ms = [record.seconds * 1000 for record in here]
        by_cloud = {name: sum(record.cloud == name for record in here) / bin_s for name in clouds}
        failed = sum(bool(record.fault) for record in here) / bin_s
        rows.append((number * bin_s, by_cloud, failed, percentile(took_ms, 0.5), percentile(took_ms, 0.99)))
    return rows


def spread(records, begin, end):
    """pod: answers of it, for requests that ended between the two times."""
    counts = {}
    for record in records:
        if begin <= record.ended < end and record.backend:
            counts[record.backend] = counts.get(record.backend, 0) + 1
    return counts


def words(verdicts, course, stage, took_s):
    """The report as text."""
    plan, records = stage.plan, stage.seen.records
    took_ms = [record.seconds * 1000 for record in records]
    last = stage.seen.samples[-1]
    delays = " and ".join(f"{delay} ms ({name})" for name, delay in DELAYS_MS.items())
    pods = stage.pods
    lines = [
        "Rehearsal of the loss of each cloud",
        "",
        f"  one way to a cloud takes {delays}; pods are {stage.accounts.how}",
        f"  the autoscalers' clock runs {plan.speed:g} times as fast: they look every {stage.pace.sync_s:.2f} s",
        f"  a pod is a {plan.shrink}th of the real one: {pods.request_m / plan.shrink:.0f}m of CPU requested,"
        f" {pods.limit_m // plan.shrink}m allowed",
        f"  peak {course.peak_rate:.0f} requests/s at {course.calibrated_cpu_ms:.1f} ms of CPU each",
        f"  latency p50 {percentile(took_ms, 0.5):.0f} ms, p99 {percentile(took_ms, 0.99):.0f} ms,"
        f" max {max(took_ms, default=0):.0f} ms; {last.rescued} requests rescued",
        "",
    ]
    for verdict in verdicts:
        lines.append(f"{verdict.word:10}  {verdict.promise}")
        lines.append(f"            {verdict.facts}")
    broken = sum(verdict.kept is False for verdict in verdicts)
    open_ = sum(verdict.kept is None for verdict in verdicts)
    kept = len(verdicts) - broken - open_
    lines += ["", f"{kept} promises kept, {broken} broken, {open_} not judged, {took_s:.0f} s"]
    return "\n".join(lines) + "\n"


def write_data(stage, folder):
    """requests.tsv, samples.tsv, bins.tsv and events.tsv; times are seconds since the begin."""
    seen, names = stage.seen, list(stage.clusters)
    with open(folder / "requests.tsv", "w", encoding="utf-8") as out:
        print("begun\tlate_s\tseconds\tstatus\tbackend\tfault", file=out)
        for record in sorted(seen.records):
            print(record._replace(begun=record.begun - seen.began).line(), file=out)
    with open(folder / "samples.tsv", "w", encoding="utf-8") as out:
        columns = [f"{what}_{name}" for what in ("replicas", "ready", "cpu_percent", "failed") for name in names]
        print("time", "rate", *columns, "rescued", sep="\t", file=out)
        for sample in seen.samples:
            values = [of[name] for of in (sample.replicas, sample.ready) for name in names]
            values += ["NaN" if sample.utilization[name] is None else sample.utilization[name] for name in names]
            values += [sample.failed_attempts[name] for name in names]
            print(f"{sample.at - seen.began:.2f}", f"{sample.rate:.1f}", *values, sample.rescued, sep="\t", file=out)
    with open(folder / "bins.tsv", "w", encoding="utf-8") as out:
        print("time", *names, "failed", "p50_ms", "p99_ms", sep="\t", file=out)
        for begin, by_cloud, failed, p50, p99 in bins(seen.records, seen.began, names):
            values = [f"{begin:.1f}", *(by_cloud[name] for name in names), failed, f"{p50:.1f}", f"{p99:.1f}"]
            print(*values, sep="\t", file=out)
    with open(folder / "events.tsv", "w", encoding="utf-8") as out:
        for at, text in seen.events:
            print(f"{at - seen.began:.2f}\t{text}", file=out)


GNUPLOT = """
set terminal svg size 1000,1000 font "sans-serif,13" background rgb "white"
set output "timeline.svg"
set datafile separator "\\t"
set multiplot layout 5,1 margins 0.08,0.83,0.05,0.97 spacing 0.04
set xrange [0:{end}]
set key outside right top Left reverse samplen 2
set grid y lc rgb "#dddddd"
set tics nomirror
{marks}
set format x ""
set ylabel "requests/s"
set yrange [0:*]
plot "bins.tsv" using 1:($2+$3) with fillsteps fs solid noborder fc rgb "#8ab4f8" title "azure answers", \\
     "" using 1:2 with fillsteps fs solid noborder fc rgb "#81c995" title "gcp answers", \\
     "samples.tsv" using 1:2 with lines lc rgb "black" title "sent", \\
     "bins.tsv" using 1:4 with impulses lw 3 lc rgb "red" title "failed"
set ylabel "pods"
plot "samples.tsv" using 1:3 with steps dt 2 lc rgb "#34a853" title "gcp wanted", \\
     "" using 1:5 with steps lw 2 lc rgb "#34a853" title "gcp ready", \\
     "" using 1:4 with steps dt 2 lc rgb "#4285f4" title "azure wanted", \\
     "" using 1:6 with steps lw 2 lc rgb "#4285f4" title "azure ready"
set ylabel "CPU, % of requests"
plot "samples.tsv" using 1:7 with steps lw 2 lc rgb "#34a853" title "gcp", \\
     "" using 1:8 with steps lw 2 lc rgb "#4285f4" title "azure", \\
     {target} with lines dt 3 lc rgb "black" title "target"
set ylabel "failures masked"
plot "samples.tsv" using 1:9 with steps lw 2 lc rgb "#34a853" title "gcp", \\
     "" using 1:10 with steps lw 2 lc rgb "#4285f4" title "azure", \\
     "" using 1:11 with steps dt 2 lc rgb "black" title "rescued"
set format x "%g"
set ylabel "latency, ms"
set logscale y
set yrange [1:*]
plot "bins.tsv" using 1:6 with steps lc rgb "#888888" title "p99", \\
     "" using 1:5 with steps lw 2 lc rgb "black" title "p50"
"""


def marks(events, began):
    """gnuplot lines: one for each loss, each reset and each return."""
    lines = []
    for at, text in events:
        colour = {"deleted": "#d93025", "applied again": "#188038", "reset": "#f9ab00"}
        for word, value in colour.items():
            if word in text:
                at_s = f"{at - began:.2f}"
                lines.append(
                    f'set arrow from {at_s}, graph 0 to {at_s}, graph 1 nohead lw 1.5 lc rgb "{value}" back'
                )
    return "\n".join(lines)


def draw(stage, folder):
    """timeline.svg, from the data; returns why it could not be drawn, or ""."""
    if shutil.which("gnuplot") is None:
        return "gnuplot is not installed"
    seen = stage.seen
    target = max(cluster.spec.targets[0].value for cluster in stage.clusters.values())
    script = GNUPLOT.format(
        end=f"{seen.samples[-1].at - seen.began:.0f}", marks=marks(seen.events, seen.began), target=target
    )
    (folder / "timeline.gp").write_text(script)
    done = subprocess.run(["gnuplot", "timeline.gp"], text=True, capture_output=True, cwd=folder, check=False)
    return done.stderr.strip() if done.returncode != 0 else ""
