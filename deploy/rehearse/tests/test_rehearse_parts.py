# SPDX-License-Identifier: MIT
"""The parts of the rehearsal that need neither namespaces nor processes."""
import hashlib
import os
import subprocess
import sys
import time

import pytest
from rehearsal import cluster, cpu, load, manifests, net, plan, play, report, verdict
from rehearsal.cable import Line


# ------------------------------------------------------------------------------------------------------- cable


def test_what_goes_in_comes_out_later_and_in_order():
    line = Line(0.010)
    assert line.due() is None
    line.put(b"one", 1.000)
    line.put(b"two", 1.004)
    assert line.due() == pytest.approx(1.010)
    assert line.take(1.009) == []
    assert line.take(1.012) == [b"one"]
    assert line.take(2.0) == [b"two"]
    assert line.take(3.0) == []


def test_a_full_line_loses_packets():
    line = Line(1, limit=2)
    for packet in (b"1", b"2", b"3"):
        line.put(packet, 0)
    assert line.take(1) == [b"1", b"2"]


# ------------------------------------------------------------------------------------------------- nftables rules


def test_a_service_chooses_among_its_pods():
    rules = net.service_rules("10.1.0.80", ["10.1.1.1", "10.1.1.2"])
    assert "numgen random mod 2 vmap { 0 : goto pod-10-1-1-1, 1 : goto pod-10-1-1-2 }" in rules
    assert "dnat to 10.1.1.2:8000" in rules
    assert "reject" not in rules


def test_a_service_without_pods_refuses():
    rules = net.service_rules("10.1.0.80", [])
    assert "ip daddr 10.1.0.80 tcp dport 80 reject with tcp reset" in rules
    assert "numgen" not in rules


def test_no_rule_that_a_connection_needs_is_removed():
    assert "delete" not in net.service_rules("10.1.0.80", [])


def test_a_hole_swallows_both_ways_and_still_counts():
    clouds = [net.Cloud("gcp", 1), net.Cloud("azure", 2)]
    rules = net.router_rules(clouds, {"azure"}).splitlines()
    drops = [number for number, rule in enumerate(rules) if rule.endswith("drop")]
    counts = [number for number, rule in enumerate(rules) if "counter name" in rule]
    assert [rules[number].split()[5:8] for number in drops] == [
        ["ip", "daddr", "10.2.0.0/16"],
        ["ip", "saddr", "10.2.0.0/16"],
    ]
    assert len(counts) == 2 and max(counts) < min(drops)


def test_pod_addresses_come_round_within_their_subnet():
    cloud = net.Cloud("gcp", 1)
    addresses = {cloud.pod_address(index) for index in range(1000)}
    assert len(addresses) == 250
    assert "10.1.1.0" not in addresses and "10.1.1.255" not in addresses


# --------------------------------------------------------------------------------------------------------- CPU


def test_groups_of_both_versions_are_found():
    text = "4:memory:/a\n3:cpu,cpuacct:/b/c\n0::/d\n"
    assert cpu.own_groups(text) == {"memory": "/a", "cpu": "/b/c", "cpuacct": "/b/c", "": "/d"}


@pytest.mark.parametrize("limit_m, quota", [(1000, 20000), (250, 5000), (10, 1000), (2000, 40000)])
def test_a_quota_is_a_share_of_the_period(limit_m, quota):
    assert cpu.quota_us(limit_m) == quota


def test_usage_of_version_2():
    assert cpu.usage_of_stat("usage_usec 1500000\nuser_usec 1\n") == 1.5
    with pytest.raises(ValueError):
        cpu.usage_of_stat("user_usec 1\n")


def test_a_name_with_brackets_does_not_confuse():
    ticks = cpu.TICKS_PER_S
    stat = f"7 (a) b) c) S 3 7 7 0 -1 0 0 0 0 0 {ticks} {2 * ticks} {3 * ticks} {4 * ticks} 20 0"
    assert cpu.parse_stat(stat) == (3, 10.0)


def test_a_family_is_all_below():
    table = {1: (0, 0), 2: (1, 0), 3: (2, 0), 4: (1, 0), 5: (3, 0)}
    assert cpu.family(2, table) == {2, 3, 5}
    assert cpu.family(9, table) == set()


def test_without_control_groups_it_says_so_and_still_counts(tmp_path):
    accounts = cpu.Accounts("x", tmp_path, {"": "/"})
    assert "not bounded" in accounts.how
    group = accounts.group("pod")
    group.began(os.getpid())
    before_s = group.usage_s()
    while group.usage_s() <= before_s:
        hashlib.sha256(b"x" * 1000000)
    assert group.usage_s() > before_s


def test_version_2_is_taken_where_its_cpu_controller_is(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpu memory\n")
    (tmp_path / "cgroup.subtree_control").write_text("")
    accounts = cpu.Accounts("x", tmp_path, {"": "/"})
    assert accounts.version == 2
    group = accounts.group("pod")
    group.limit(100)
    (tmp_path / "x" / "pod" / "cpu.stat").write_text("usage_usec 250000\n")
    assert (tmp_path / "x" / "pod" / "cpu.max").read_text() == "2000 20000"
    assert group.usage_s() == 0.25


# -------------------------------------------------------------------------------------------------- autoscaling


def test_a_meter_shows_the_real_thing():
    pace = cluster.Pace(speed=10, shrink=5)
    now = time.monotonic()
    meter = cluster.Meter(1.0, now)
    meter.read(1.1, now + 1, pace)  # 100m here
    assert meter.share_m == pytest.approx(100)
    assert meter.sample.usage_m == 500
    assert meter.sample.window_s == pytest.approx(10)
    assert meter.sample.at == pytest.approx(pace.virtual(now + 1))


def test_the_autoscaler_looks_as_often_on_its_clock_as_a_real_one():
    assert cluster.Pace(speed=10, shrink=5).sync_s == 1.5


@pytest.mark.parametrize("cloud", ["gcp", "azure"])
def test_the_shipped_manifests_can_be_rehearsed(cloud):
    spec, pods = manifests.autoscaler(cloud), manifests.pods()
    assert spec.targets[0].resource == "cpu"
    assert 1 <= spec.min_replicas < spec.max_replicas
    assert 0 < pods.request_m <= pods.limit_m
    assert 0 < pods.pre_stop_s < pods.grace_s


def test_the_peak_keeps_so_many_pods_at_the_target():
    # 10 pods of 500m / 5 at 60 % are 0.6 cores; at 6 ms each that is 100 requests per second.
    assert plan.peak_rate(plan.Plan(10, 5, 10, 0.25, 1, 1, 1, True, True), 500, 60, 0.006) == pytest.approx(100)


def test_the_peak_is_bounded():
    assert plan.peak_rate(plan.FULL, 500, 60, 1e-9) == plan.FULL.most_rate
    assert plan.peak_rate(plan.FULL, 500, 60, 10) == plan.FULL.least_rate


def test_a_ramp_begins_and_ends_where_it_should():
    assert [plan.ramp(10, 30, 4, elapsed) for elapsed in (-1, 0, 1, 4, 9)] == [10, 10, 15, 30, 30]
    assert plan.ramp(10, 30, 0, 0) == 30


# --------------------------------------------------------------------------------------------------------- load


def test_arrivals_are_even_and_a_pause_is_no_burst():
    arrivals = load.Arrivals(100.0)
    arrivals.set_rate(10, 100.0)
    assert [round(arrivals.take(lambda: 100.35), 2) for _ in range(3)] == [100.0, 100.1, 100.2]
    assert arrivals.take(lambda: 200.0) == 199.0  # a second of backlog, not 100
    arrivals.stop()
    assert arrivals.take(lambda: 300.0) is None


def test_every_question_has_the_answer_that_python_gives():
    import random

    for seed in range(12):
        code, expected, exit_code = load.question(random.Random(seed))
        environment = {"PYTHONIOENCODING": "utf-8"}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False)
        assert (done.stdout.decode(), done.returncode) == (expected, exit_code)


@pytest.mark.parametrize(
    "status, body, good",
    [
        (200, b'{"stdout": "4\\n", "exit_code": 0}', True),
        (200, b'{"stdout": "5\\n", "exit_code": 0}', False),
        (200, b'{"stdout": "4\\n", "exit_code": 1}', False),
        (200, b"<html>", False),
        (200, b"[]", False),
        (502, b'{"stdout": "4\\n", "exit_code": 0}', False),
    ],
)
def test_only_the_right_answer_is_good(status, body, good):
    assert (load.fault_of(status, body, "4\n", 0) == "") == good


def test_a_record_survives_its_line():
    record = load.Record(1.5, 0.25, 0.125, 200, "gcp.pod-1", "")
    assert load.Record.of_line(record.line() + "\n") == record
    assert record.cloud == "gcp"


# ----------------------------------------------------------------------------------------------------- verdicts


def records(count, **differing):
    return [load.Record(float(n), 0.0, 0.01, 200, "gcp.pod-1", "")._replace(**differing) for n in range(count)]


def lost(**differing):
    ejection = play.Ejection("ejected", 11, 11, (500, 500), (40, 40), 200)
    for name, value in differing.items():
        setattr(ejection, name, value)
    return play.Outage("gcp", "its address refuses", "azure", [ejection], (2, 4), True, 20, (0, 10))


def test_all_good_is_kept():
    assert verdict.every_answer_good(records(3)).kept
    assert all(one.kept for one in verdict.ejected(lost()))


def test_one_bad_answer_breaks_the_promise_and_is_shown():
    bad = verdict.every_answer_good(records(99) + records(1, status=502, fault="status 502"))
    assert bad.kept is False
    assert "1 failed; the first: status 502" in bad.facts


def test_no_request_is_no_proof():
    assert verdict.every_answer_good([]).kept is False
    assert verdict.none_lost(play.Outage("gcp", "", "azure", records=(5, 5)), records(9)).kept is False


@pytest.mark.parametrize(
    "differing",
    [
        {"state": "up"},
        {"failures": 10},
        {"attempts": (500, 501)},
        {"connects": (40, 41)},
        {"answers": 0},
    ],
)
def test_each_way_to_break_an_ejection_is_seen(differing):
    assert [one.kept for one in verdict.ejected(lost(**differing))].count(False) == 1


def test_a_starved_machine_is_not_judged_for_growth():
    course = play.Course(minimum={"gcp": 2}, grew_to={"gcp": 2}, peak_rate=50)
    assert verdict.grew(course, "").kept is False
    assert verdict.grew(course, verdict.starvation(records(10, late_s=1.0), 50)).kept is None
    assert verdict.starvation(records(10), 50) == ""
    course.grew_to = {"gcp": 3}
    assert verdict.grew(course, "").kept


def test_a_crash_breaks_the_last_promise():
    assert verdict.ended_well(0, []).kept
    assert verdict.ended_well(1, []).kept is False
    assert verdict.ended_well(0, ["pod"]).kept is False


# ------------------------------------------------------------------------------------------------------- report


def test_bins_hold_what_ended_in_them():
    rows = report.bins(records(2) + records(1, begun=3.5, fault="x", backend="azure.pod-0"), 0.0, ["gcp", "azure"])
    assert [(row[0], row[1]["gcp"], row[1]["azure"], row[2]) for row in rows] == [
        (0.0, 1.0, 0.0, 0.0),
        (1.0, 1.0, 0.0, 0.0),
        (2.0, 0.0, 0.0, 0.0),
        (3.0, 0.0, 1.0, 1.0),
    ]


@pytest.mark.parametrize("share, value", [(0.5, 50), (0.99, 99), (1.0, 100)])
def test_percentiles(share, value):
    assert report.percentile(list(range(1, 101)), share) == value
    assert report.percentile([], share) == 0


def test_losses_resets_and_returns_are_marked():
    drawn = report.marks([(11.0, "gcp: Deployment deleted"), (12.0, "gcp: up"), (13.5, "POST /admin/reset")], 10.0)
    assert [line.split()[3] for line in drawn.splitlines()] == ["1.00,", "3.50,"]
