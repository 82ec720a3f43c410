# SPDX-License-Identifier: MIT
"""How long, how much, how fast: the numbers of the play, and what follows from them."""
from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """Times are seconds on the wall, `*_at_most_s` are ends of patience: nothing is judged by time."""
    speed: float  # one second stands for so many, for the autoscaler
    shrink: int  # one core stands for so many
    pods_at_peak: int  # of both clouds together, at the autoscaler's target
    low_share: float  # of the peak's rate, before and after it
    ramp_s: float
    hold_s: float  # how long a state is kept at least, to be seen in the timeline
    answers: int  # how many requests a state must have lasted at least
    early_reset: bool  # also reset while the cloud is still away
    wait_for_fewer: bool  # at the end, until the autoscaler has taken pods away
    at_most_s: float = 60.0
    workers: int = 128  # enough that those which hang in a black hole never stop the rest

    least_rate: float = 8.0
    most_rate: float = 250.0


FULL = Plan(speed=10, shrink=5, pods_at_peak=9, low_share=0.25, ramp_s=12, hold_s=6, answers=200,
            early_reset=True, wait_for_fewer=True)  # fmt: skip
QUICK = Plan(speed=20, shrink=6, pods_at_peak=7, low_share=0.4, ramp_s=3, hold_s=1, answers=40,
             early_reset=False, wait_for_fewer=False)  # fmt: skip


def peak_rate(plan, request_m, target_percent, cpu_s_per_request):
    """Requests per second that keep `plan.pods_at_peak` pods at the autoscaler's target."""
    cores = plan.pods_at_peak * request_m / plan.shrink / 1000 * target_percent / 100
    return min(plan.most_rate, max(plan.least_rate, cores / cpu_s_per_request))


def ramp(begin, end, seconds, elapsed):
    """The rate `elapsed` seconds into a ramp."""
    if elapsed >= seconds:
        return end
    return begin + (end - begin) * max(0.0, elapsed) / seconds
