# SPDX-License-Identifier: MIT
"""Every rule of the controller, one by one, and one run of a real controller."""
import pytest

import hpa
from hpa import Behavior, Controller, NoMetrics, Pod, Policy, Rules, Sample, Spec, SpecError, Target

CPU70 = (Target("cpu", 70),)
AT_ONCE = Behavior(Rules(0, (Policy("Percent", 1000, 15),)), Rules(0, (Policy("Percent", 100, 15),)))


def pods_with(total_m, count, request_m=100):
    """Ready pods that share a load."""
    return [Pod.simple(f"pod-{number}", request_m, total_m // count) for number in range(count)]


def proposed(pods, target=Target("cpu", 50), replicas=None, now=0):
    return hpa.proposal(target, pods, len(pods) if replicas is None else replicas, now)[0]


def settle(controller, pods, now=0):
    """A first step, and a second after every window: what counts is the second."""
    controller.step(now, pods)
    return controller.step(now + 4000, pods)


def test_a_run_of_a_real_controller():
    """Observed with a sync of 3 s and made-up metrics: 150m, 900m, then 300m in all; the drop is 2 s after a
    sync."""
    down = Rules(20, (Policy("Percent", 50, 10),))
    controller = Controller(Spec(2, 10, CPU70, Behavior(down=down)), 2)
    rise, drop = 30, 62
    changes = []
    for now in range(0, 120, 3):
        load_m = 150 if now < rise else 900 if now < drop else 300
        before = controller.replicas
        if controller.step(now, pods_with(load_m, before)) != before:
            changes.append((now, before, controller.replicas))
    assert [(before, after) for _, before, after in changes] == [(2, 6), (6, 10), (10, 5)]
    assert changes[0][0] == rise
    assert changes[1][0] == rise + 15
    assert changes[2][0] == drop + 19


class TestRatio:
    def test_rounds_up(self):
        assert proposed(pods_with(160, 2)) == 4  # 80 / 50 * 2 = 3.2

    def test_percent_is_cut_to_a_whole_number(self):
        pods = [Pod.simple("a", 300, 100), Pod.simple("b", 300, 100), Pod.simple("c", 300, 100)]
        assert hpa.proposal(Target("cpu", 50), pods, 3, 0) == (2, 33)  # 33, not 33.3

    def test_keeps_within_a_tenth(self):
        assert proposed(pods_with(1080, 20)) == 20
        assert proposed(pods_with(900, 20)) == 20
        assert proposed(pods_with(1120, 20)) == 23
        assert proposed(pods_with(880, 20)) == 18

    def test_rounding_puts_a_tenth_more_outside(self):
        assert proposed(pods_with(1100, 20)) == 22  # 1 - 55 / 50 is a little less than -0.1

    def test_requests_of_all_containers_count(self):
        pods = [Pod("a", {"cpu": [100, 300]}, {"cpu": Sample(400)})]
        assert proposed(pods) == 2

    def test_counts_measured_pods_not_replicas(self):
        assert proposed(pods_with(200, 2), replicas=8) == 4

    def test_one_container_without_request_stops_it(self):
        pods = [*pods_with(200, 2), Pod("c", {"cpu": [100, None]}, {"cpu": Sample(0)})]
        with pytest.raises(NoMetrics, match="missing request for cpu in pod c"):
            proposed(pods)
        controller = Controller(Spec(1, 10, CPU70), 3)
        assert controller.step(0, pods) == 3
        assert "missing request" in controller.last.reason

    def test_average_value_needs_no_requests(self):
        pods = [Pod(name, samples={"cpu": Sample(150)}) for name in "ab"]
        assert proposed(pods, Target("cpu", 100, "AverageValue")) == 3


class TestMissingMetrics:
    def test_count_as_idle_on_the_way_up(self):
        pods = [*pods_with(270, 3), Pod.simple("missing", 100)]
        assert proposed(pods_with(270, 3)) == 6  # 90 / 50 * 3
        assert proposed(pods) == 6  # 270 / 400 = 67 %; 67 / 50 * 4
        half = [*pods_with(120, 2), Pod.simple("missing", 100)]
        assert proposed(half) == 3  # 60 % is above the target, 40 % below: stay

    def test_count_as_busy_on_the_way_down(self):
        pods = [*pods_with(30, 3), Pod.simple("missing", 100)]
        assert proposed(pods) == 3  # 130 / 400 = 32 %; 32 / 50 * 4
        assert proposed([*pods_with(90, 3), Pod.simple("missing", 100)]) == 4  # 47 %: within the tolerance

    def test_count_as_the_target_where_that_is_above_all(self):
        pods = [*pods_with(300, 3), Pod.simple("missing", 100)]
        assert proposed(pods, Target("cpu", 150)) == 3  # (300 + 150) / 400 = 112 %; 112 / 150 * 4

    def test_all_missing_keeps(self):
        pods = [Pod.simple("a", 100), Pod.simple("b", 100)]
        with pytest.raises(NoMetrics, match="did not receive metrics"):
            proposed(pods)
        assert settle(Controller(Spec(1, 9, CPU70), 2), pods) == 2

    def test_no_pods_keeps(self):
        controller = Controller(Spec(1, 9, CPU70), 2)
        assert controller.step(0, []) == 2
        assert controller.last.proposed is None


class TestUnreadyPods:
    def test_count_as_idle_on_the_way_up(self):
        pending = [Pod.simple(name, 100, phase="Pending", started_at=None) for name in "xy"]
        assert proposed([*pods_with(400, 2), *pending]) == 8  # 400 / 400 = 100 %; 2 * 4
        assert proposed([*pods_with(130, 2), *pending]) == 4  # 65 % becomes 32 %: stay

    def test_do_not_count_on_the_way_down(self):
        pending = [Pod.simple(name, 100, phase="Pending", started_at=None) for name in "xy"]
        assert proposed([*pods_with(40, 2), *pending]) == 1

    def test_may_not_turn_more_into_fewer(self):
        pending = [Pod.simple(name, 100, phase="Pending", started_at=None) for name in "xy"]
        # 4 pods of 60 % would be 5; 240 / 600 = 40 % would be 5 of 6. More was asked for: stay.
        assert proposed([*pods_with(240, 4), *pending], replicas=6) == 6

    def test_a_new_pod_is_unready_until_a_window_after_it_got_ready(self):
        def state(now, ready, ready_at, sampled_at):
            sample = {"cpu": Sample(500, sampled_at, 15)}
            return hpa.group([Pod("new", {"cpu": [100]}, sample, ready=ready, started_at=0,
                                  ready_changed_at=ready_at)], "cpu", now)
        assert state(60, False, 0, 50).unready
        assert state(60, True, 40, 54).unready
        assert state(60, True, 40, 55).measured == {"new": 500}

    def test_an_old_pod_that_fails_its_probe_counts(self):
        def pod(ready_changed_at):
            return Pod("old", {"cpu": [100]}, {"cpu": Sample(500, 999, 15)}, ready=False, started_at=0,
                       ready_changed_at=ready_changed_at)
        assert hpa.group([pod(900)], "cpu", 1000).measured
        assert hpa.group([pod(10)], "cpu", 1000).unready  # never was ready

    def test_readiness_does_not_matter_for_memory(self):
        pod = Pod("new", {"memory": [100]}, {"memory": Sample(90)}, ready=False, started_at=0, ready_changed_at=0)
        assert hpa.group([pod], "memory", 10).measured

    def test_pods_that_end_or_failed_are_nowhere(self):
        pods = [*pods_with(200, 2), Pod.simple("going", 100, 900, deleting=True),
                Pod.simple("failed", 100, 900, phase="Failed")]
        assert proposed(pods) == 4


class TestSeveralMetrics:
    TARGETS = (Target("cpu", 50), Target("memory", 50))

    @staticmethod
    def pods(cpu, memory):
        samples = {name: Sample(usage) for name, usage in (("cpu", cpu), ("memory", memory)) if usage is not None}
        return [Pod(name, {"cpu": [100], "memory": [100]}, samples) for name in "ab"]

    def test_the_largest_wins(self):
        controller = Controller(Spec(1, 20, self.TARGETS, AT_ONCE), 2)
        assert controller.step(0, self.pods(10, 200)) == 8
        assert controller.last.current == (10, 200)

    def test_a_broken_one_forbids_fewer_but_not_more(self):
        assert settle(Controller(Spec(1, 20, self.TARGETS, AT_ONCE), 2), self.pods(10, None)) == 2
        assert settle(Controller(Spec(1, 20, self.TARGETS, AT_ONCE), 2), self.pods(100, None)) == 4


class TestBounds:
    def test_outside_goes_to_the_bound_without_metrics(self):
        assert Controller(Spec(3, 9, CPU70), 1).step(0, []) == 3
        assert Controller(Spec(3, 9, CPU70), 12).step(0, []) == 9

    def test_zero_replicas_switches_it_off(self):
        controller = Controller(Spec(3, 9, CPU70), 0)
        assert controller.step(0, pods_with(100, 2)) == 0
        assert "disabled" in controller.last.reason

    def test_clamps_last(self):
        assert settle(Controller(Spec(2, 9, CPU70), 2), pods_with(2, 2)) == 2
        controller = Controller(Spec(2, 3, CPU70, AT_ONCE), 2)
        assert controller.step(0, pods_with(2000, 2)) == 3
        assert controller.last.stabilized == 29  # 1000 / 70 * 2

    def test_refuses_what_an_api_server_would(self):
        for minimum, maximum, targets in ((0, 3, CPU70), (4, 3, CPU70), (1, 3, ())):
            with pytest.raises(SpecError):
                Spec(minimum, maximum, targets)
        for bad in (lambda: Policy("Cores", 1, 15), lambda: Policy("Pods", 0, 15), lambda: Policy("Pods", 1, 1801),
                    lambda: Rules(3601, (Policy("Pods", 1, 15),)), lambda: Rules(0, ()),
                    lambda: Rules(0, (Policy("Pods", 1, 15),), "Most")):
            with pytest.raises(SpecError):
                bad()


class TestWithoutBehavior:
    def test_the_limit_up_is_twice_or_four(self):
        controller = Controller(Spec(1, 100, CPU70), 1)
        seen = []
        for now in range(0, 60, 15):
            seen.append(controller.step(now, pods_with(10000, controller.replicas)))
        assert seen == [4, 8, 16, 32]

    def test_the_limit_up_is_per_sync_whatever_was_before(self):
        controller = Controller(Spec(1, 100, CPU70), 3)
        assert controller.step(0, pods_with(10000, 3)) == 6
        assert controller.step(1, pods_with(10000, 6)) == 12

    def test_goes_down_to_the_highest_of_300_seconds(self):
        controller = Controller(Spec(1, 100, CPU70), 4)
        controller.step(0, pods_with(280, 4))
        steps = [(now, controller.step(now, pods_with(35, controller.replicas))) for now in range(15, 331, 15)]
        assert steps[19] == (300, 4)  # as old as the window still counts
        assert steps[20] == (315, 1)


class TestWindows:
    def test_a_new_controller_keeps_for_a_window(self):
        controller = Controller(Spec(1, 10, CPU70, Behavior()), 8)
        counts = {now: controller.step(now, pods_with(80, 8)) for now in range(0, 301, 15)}
        assert set(list(counts.values())[:-1]) == {8}
        assert counts[300] == 2

    def test_down_takes_the_highest_in_the_window(self):
        behavior = Behavior(down=Rules(60, (Policy("Percent", 100, 15),)))
        controller = Controller(Spec(1, 10, CPU70, behavior), 8)
        loads = {0: 560, 15: 420, 30: 280, 45: 140, 60: 140, 75: 140, 90: 140, 105: 140}
        counts = [controller.step(now, pods_with(load, controller.replicas)) for now, load in loads.items()]
        assert counts == [8, 8, 8, 8, 6, 4, 2, 2]

    def test_up_takes_the_lowest_in_the_window(self):
        behavior = Behavior(up=Rules(30, (Policy("Pods", 100, 15),)))
        controller = Controller(Spec(1, 20, CPU70, behavior), 2)
        loads = {0: 140, 15: 700, 30: 420, 45: 700, 60: 700}
        counts = [controller.step(now, pods_with(load, controller.replicas)) for now, load in loads.items()]
        assert counts == [2, 2, 6, 6, 10]

    def test_the_proposal_is_remembered_not_what_came_of_it(self):
        behavior = Behavior(up=Rules(0, (Policy("Pods", 1, 15),)), down=Rules(60, (Policy("Pods", 9, 15),)))
        controller = Controller(Spec(1, 20, CPU70, behavior), 2)
        assert controller.step(0, pods_with(700, 2)) == 3
        assert controller.last.proposed == 10
        assert controller.step(15, pods_with(140, 3)) == 3
        assert controller.last.stabilized == 3  # between 2 and 10: stay

    def test_a_window_of_zero_takes_the_newest(self):
        controller = Controller(Spec(1, 20, CPU70, AT_ONCE), 8)
        assert controller.step(0, pods_with(70, 8)) == 1


class TestRates:
    @staticmethod
    def up(*policies, select="Max", start=2, until=46, step=15):
        controller = Controller(Spec(1, 1000, CPU70, Behavior(up=Rules(0, policies, select))), start)
        return [controller.step(now, pods_with(10**6, controller.replicas)) for now in range(0, until, step)]

    @staticmethod
    def down(*policies, select="Max", start=64, until=46, step=15):
        controller = Controller(Spec(1, 1000, CPU70, Behavior(down=Rules(0, policies, select))), start)
        return [controller.step(now, pods_with(controller.replicas, controller.replicas))
                for now in range(0, until, step)]

    def test_the_defaults_up(self):
        assert self.up(*hpa.UP_DEFAULT.policies) == [6, 12, 24, 48]

    def test_pods(self):
        assert self.up(Policy("Pods", 3, 15)) == [5, 8, 11, 14]
        assert self.down(Policy("Pods", 3, 15)) == [61, 58, 55, 52]

    def test_percent_rounds_for_change(self):
        assert self.up(Policy("Percent", 10, 15)) == [3, 4, 5, 6]
        assert self.down(Policy("Percent", 10, 15), start=9) == [8, 7, 6, 5]

    def test_a_period_longer_than_a_sync(self):
        assert self.up(Policy("Pods", 4, 60), until=76) == [6, 6, 6, 6, 10, 10]
        assert self.down(Policy("Percent", 50, 30)) == [32, 32, 16, 16]

    def test_select(self):
        both = (Policy("Pods", 3, 15), Policy("Percent", 100, 15))
        assert self.up(*both, select="Max", until=1) == [5]
        assert self.up(*both, select="Min", until=1) == [4]
        assert self.up(*both, select="Disabled") == [2, 2, 2, 2]
        assert self.down(*both, select="Max", until=1) == [1]
        assert self.down(*both, select="Min", until=1) == [61]
        assert self.down(*both, select="Disabled") == [64, 64, 64, 64]

    def test_pods_removed_in_the_period_may_come_back_at_once(self):
        behavior = Behavior(Rules(0, (Policy("Pods", 2, 60),)), Rules(0, (Policy("Percent", 100, 15),)))
        controller = Controller(Spec(1, 100, CPU70, behavior), 8)
        assert controller.step(0, pods_with(70, 8)) == 1
        assert controller.step(15, pods_with(10000, 1)) == 10  # 8 at the start of the minute, plus 2

    def test_stabilizes_before_it_limits(self):
        behavior = Behavior(down=Rules(30, (Policy("Pods", 1, 15),)))
        controller = Controller(Spec(1, 100, CPU70, behavior), 8)
        loads = {0: 560, 15: 350, 30: 350, 45: 70, 60: 70}
        counts = [controller.step(now, pods_with(load, controller.replicas)) for now, load in loads.items()]
        # The windows allow 5 from 30 s on, one pod goes at a time.
        assert counts == [8, 8, 7, 6, 5]


class TestManifest:
    SPEC = {
        "minReplicas": 2, "maxReplicas": 9,
        "metrics": [{"type": "Resource", "resource": {
            "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 55}}}],
    }

    def test_reads_a_spec(self):
        assert Spec.from_manifest(self.SPEC) == Spec(2, 9, (Target("cpu", 55),))

    def test_what_is_left_out_of_behavior_has_defaults(self):
        assert Spec.from_manifest({**self.SPEC, "behavior": {}}).behavior == Behavior()
        given = {"scaleUp": {"stabilizationWindowSeconds": 30},
                 "scaleDown": {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}],
                               "selectPolicy": "Min"}}
        behavior = Spec.from_manifest({**self.SPEC, "behavior": given}).behavior
        assert behavior.up == Rules(30, hpa.UP_DEFAULT.policies)
        assert behavior.down == Rules(300, (Policy("Pods", 1, 60),), "Min")

    def test_says_what_is_wrong(self):
        with pytest.raises(SpecError, match="maxReplicas: missing"):
            Spec.from_manifest({"metrics": self.SPEC["metrics"]})
        with pytest.raises(SpecError, match="External"):
            Spec.from_manifest({**self.SPEC, "metrics": [{"type": "External"}]})

    def test_quantities(self):
        assert [hpa.milli(text) for text in ("250m", "0.5", 2, "1Ki")] == [250, 500, 2000, 1024000]
