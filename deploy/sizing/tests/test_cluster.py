# SPDX-License-Identifier: MIT
"""The simulated cluster, over a made-up curve; and that the manifests carry what was recommended."""
import importlib.machinery
import importlib.util
import json
import pathlib

import pytest

import hpa
from cluster import Cloud, Cluster, Curve, simulate, traces

HERE = pathlib.Path(__file__).parent.parent
CURVE = Curve([(50, 0.25, 10), (80, 0.4, 50), (90, 0.45, 300), (100, 0.5, 900)], 250)
CLOUD = Cloud(pod_start_s=5, node_start_s=60, metric_period_s=15, metric_delay_s=5, room_pods=4, pods_per_node=2)
SPEC = hpa.Spec(2, 20, (hpa.Target("cpu", 60),), hpa.Behavior())


def run(load, **changes):
    return simulate(changes.get("spec", SPEC), changes.get("cloud", CLOUD), CURVE, 500, load, replicas=2)


def test_the_curve_knows_its_rates():
    assert (CURVE.good_rate, CURVE.capacity) == (80, 100)
    assert CURVE.usage_m(65) == pytest.approx(325)
    assert CURVE.usage_m(1000) == 500


def test_a_late_good_row_does_not_count():
    assert Curve([(50, 0.2, 10), (60, 0.3, 999), (70, 0.4, 10)], 250).good_rate == 50


def test_a_curve_that_never_keeps_the_objective_is_refused():
    with pytest.raises(ValueError, match="no measured rate"):
        Curve([(50, 0.2, 300), (60, 0.3, 300)], 250)


def test_steady_load_changes_nothing():
    report = run([120] * 900)
    assert (report.overload_s, report.turned_away, report.flaps) == (0, 0, 0)
    assert report.pod_s == 2 * 900


def test_more_load_brings_more_pods_and_in_the_end_enough():
    report = run([60] * 60 + [300] * 600)
    assert report.peak_pods >= 5
    assert 0 < report.overload_s < 200
    assert report.history[-1][4] == 0


def test_requests_past_the_queue_are_turned_away():
    spec = hpa.Spec(2, 2, SPEC.targets)
    assert run([300] * 60, spec=spec).turned_away == pytest.approx(60 * 100 - 200 * CLOUD.queue_s)


def test_a_slow_pod_start_costs_overload():
    slow = Cloud(60, 60, 15, 5, 4, 2)
    load = [60] * 60 + [300] * 600
    assert run(load, cloud=slow).overload_s > run(load).overload_s


def test_a_pod_without_room_waits_for_a_node():
    cluster = Cluster(SPEC, CLOUD, CURVE, 500, 2)
    cluster.scale(100, 7)
    assert [pod.ready_at for pod in cluster.pods[2:]] == [105, 105, 165, 165, 165]
    assert len(cluster.nodes) == 3


def test_pods_that_are_not_ready_go_first():
    cluster = Cluster(SPEC, CLOUD, CURVE, 500, 2)
    cluster.scale(100, 4)
    cluster.scale(101, 2)
    assert {pod.name for pod in cluster.pods} == {"pod-0", "pod-1"}


def test_growing_soon_after_shrinking_is_a_flap():
    behavior = hpa.Behavior(down=hpa.Rules(0, (hpa.Policy("Percent", 100, 15),)))
    spec = hpa.Spec(1, 20, SPEC.targets, behavior)
    load = ([150] * 120 + [20] * 120) * 4
    assert run(load, spec=spec).flaps >= 2
    assert run(load).flaps == 0


def test_the_same_run_twice_is_the_same():
    load = traces(200, 60)["wave"]
    assert run(load) == run(load)


def test_the_spike_is_twice_the_peak():
    loads = traces(200, 60)
    assert (max(loads["ramp"]), max(loads["spike"])) == (200, 400)


@pytest.mark.parametrize("cloud", ["gcp", "azure"])
def test_the_manifests_carry_what_was_recommended(cloud):
    yaml = pytest.importorskip("yaml")
    if not (HERE / "recommended.json").exists():
        pytest.skip("nothing is recommended yet: deploy/sizing/measure --write, then recommend --write")
    manifest = next(document for document in yaml.safe_load_all(
        (HERE.parent / "k8s" / cloud / "autoscaling.yaml").read_text())
        if document["metadata"]["name"] == "playground")
    want = json.loads((HERE / "recommended.json").read_text())["clouds"][cloud]
    assert hpa.Spec.from_manifest(manifest["spec"]) == hpa.Spec.from_manifest(want)


def program(name):
    """A program of this folder, as a module."""
    loader = importlib.machinery.SourceFileLoader(name, str(HERE / name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


@pytest.mark.parametrize("slow_from, rates", [(95, 9), (100, 9), (105, 10), (125, 12), (999, 14)])
def test_rates_rise_until_the_objective_is_passed(monkeypatch, slow_from, rates):
    measure = program("measure")
    monkeypatch.setattr(measure, "most", lambda port, seconds: 100)
    monkeypatch.setattr(measure, "once", lambda pod, rate, seconds: {
        "rate": f"{rate:.1f}", "p99_ms": "900.0" if rate > slow_from - 1e-6 else "9.0"})
    pod = measure.Pod.__new__(measure.Pod)
    pod.port = 1
    assert len(list(measure.measure(pod, 1, 3, 250))) == rates


def test_the_row_that_passes_the_objective_is_more_than_the_pod_can_do():
    assert Curve([(80, 0.4, 50), (100, 0.5, 90), (110, 0.5, 2000)], 250).capacity == 100
    assert Curve([(80, 0.4, 50), (90, 0.45, 300), (100, 0.5, 900)], 250).capacity == 100
    assert Curve([(80, 0.4, 50), (100, 0.5, 90)], 250).capacity == 100


@pytest.mark.parametrize("cloud", ["gcp", "azure"])
def test_what_is_recommended_is_what_the_search_finds(cloud):
    recommend = program("recommend")
    given = json.loads((HERE / "assumptions.json").read_text())
    curve = Curve.read(recommend.DOCS / "autoscaling-curve.csv", given["objective_p99_ms"])
    best, reports = recommend.search(Cloud(**given["clouds"][cloud]), curve, given)[0]
    recommended = json.loads((HERE / "recommended.json").read_text())
    assert recommended["clouds"][cloud] == best
    page = (recommend.DOCS / "autoscaling-search.md").read_text().partition(f"## {cloud}\n")[2]
    assert page.partition("|---:|\n")[2].startswith(recommend.row(best, reports))


def test_the_manifest_requests_what_was_measured():
    yaml = pytest.importorskip("yaml")
    pod = yaml.safe_load((HERE.parent / "k8s/base/playground/deployment.yaml").read_text())["spec"]["template"]["spec"]
    requested = pod["containers"][0]["resources"]["requests"]["cpu"]
    assert hpa.milli(requested) == json.loads((HERE / "recommended.json").read_text())["request_m"]
