"""Alarms are written at a pace that CloudWatch takes from the whole account (facts 8.1)."""

from typing import Any

import pytest

from core.aws.application_autoscaling import ApplicationAutoScaling
from core.aws.cloudwatch import CloudWatch
from core.aws.pace import Pace
from core.model import Envelope, ScalableTarget
from core.native import native_policies
from simulator.account import SimulatedAccount
from simulator.workload import RealtimeWorkload
from tests.builders import NOW, REALTIME, enrolment

ORDERS = ScalableTarget.variant("orders", "AllTraffic")


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(
    ("writes", "takes"),
    [
        ([], 0.0),
        ([1], 0.0),  # the first waits for nobody
        ([1] * 6, 2.5),  # five halves of a second
        ([2, 1, 1], 1.5),  # those of a tracking policy are two
    ],
)
def test_writes_wait_for_their_turn(writes: list[int], takes: float) -> None:
    clock = Clock()
    pace = Pace(2, clock, clock.sleep)
    for count in writes:
        pace.wait(count)
    assert clock.now - 100 == pytest.approx(takes)


def test_who_comes_late_makes_up_for_nothing() -> None:
    clock = Clock()
    pace = Pace(2, clock, clock.sleep)
    pace.wait(1)
    clock.sleep(60)
    for _ in range(3):
        pace.wait(1)
    assert clock.now == pytest.approx(161)


def test_policies_and_alarms_share_one_pace() -> None:
    """Of 20 enrolments: 2 alarms of tracking and one of ours each, so 60 writes."""
    clock = Clock()
    account = SimulatedAccount(NOW)
    pace = Pace(2.5, clock, clock.sleep)
    aas = ApplicationAutoScaling(account.client("application-autoscaling"), pace)
    metrics = CloudWatch(account.client("cloudwatch"), pace)
    account.add_endpoint(
        name="orders", instance_count=2, workload=RealtimeWorkload(per_minute_requests=[], capacity_per_instance=1)
    )
    aas.register(ORDERS, Envelope(2, 12))
    written: list[float] = []
    for _ in range(20):
        for policy in native_policies(enrolment(REALTIME), "prod"):
            arn = aas.put_policy(ORDERS, policy)
            written += [clock.now] * (2 if policy.alarm is None else 0)
            if policy.alarm is not None:
                alarm: dict[str, Any] = {**policy.alarm, "AlarmActions": [arn]}
                metrics.put_alarm(alarm)
                written.append(clock.now)
    assert len(written) == 60
    assert all(sum(at <= each < at + 1 for each in written) <= 3 for at in written)
    metrics.delete_alarms(["one"])
    assert clock.now > written[-1]
