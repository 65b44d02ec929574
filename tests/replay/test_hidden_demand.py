"""Demand that no request shows: throughput is capped, so each metric stays at its ceiling however many callers wait."""

from datetime import UTC, datetime
from typing import Any

import pytest

from core.model import Reason
from simulator.account import SimulatedAccount
from simulator.stack import SimulatedStack
from simulator.workload import RealtimeWorkload

START = datetime(2026, 11, 18, 9, tzinfo=UTC)
QUIET = 35
EACH = 1000
DEMAND = 12_800
"""Four times 80 % of four instances (algorithms 7): 13 instances serve it, and 16 are two doublings away."""


def stack(*, disable_scale_in: bool = False, **objectives: Any) -> SimulatedStack:
    """Four instances at 80 %, tracked at 0.9 of what they serve, until demand quadruples and 1.05 of it gets through."""
    account = SimulatedAccount(START)
    workload = RealtimeWorkload(
        per_minute_requests=[3200] * QUIET + [DEMAND] * 240, capacity_per_instance=EACH, turned_away_above=1.05
    )
    account.add_endpoint(name="orders", instance_type="ml.c5.xlarge", instance_count=4, workload=workload)
    stated = {"requests_per_instance": EACH, **objectives}
    tracking = {
        "type": "target_tracking",
        "metric": "requests_per_instance",
        "target": 0.9 * stated["requests_per_instance"],
        "disable_scale_in": disable_scale_in,
    }
    profile = {
        "kind": "realtime",
        "min_capacity": 4,
        "max_capacity": 24,
        "objectives": stated,
        "policies": [tracking],
    }
    document = {"version": 1, "profiles": {"p": profile}, "endpoints": [{"name": "orders", "profile": "p"}]}
    made = SimulatedStack(account, document, direct=True)
    made.invoke("FleetSync", {"trigger": "policy"})
    for _ in range(QUIET):
        made.minute()
    return made


def overloaded_minutes(made: SimulatedStack) -> int:
    """Play until all demand is served."""
    for minute in range(240):
        if made.account.endpoint("orders").current_count * EACH >= DEMAND:
            return minute
        made.minute()
    return 240


def without_doubling(made: SimulatedStack) -> SimulatedStack:
    """Take the native policy away that doubles."""
    made.account.client("application-autoscaling").delete_scaling_policy(
        PolicyName="tidegate-local-saturation",
        ServiceNamespace="sagemaker",
        ResourceId="endpoint/orders/variant/AllTraffic",
        ScalableDimension="sagemaker:variant:DesiredInstanceCount",
    )
    return made


def test_the_guard_escapes_where_tracking_creeps() -> None:
    guarded, dead, plain = stack(), stack(), without_doubling(stack())
    dead.stop()
    plain.stop()
    minutes = {name: overloaded_minutes(made) for name, made in {"us": guarded, "native": dead, "plain": plain}.items()}
    assert guarded.failures == []
    assert minutes == {
        "us": 17,
        "native": 33,
        "plain": 72,
    }  # algorithms 7: doubling 18, native at 0.9 56 with a cooldown of one minute


def test_it_says_so_and_comes_down_again() -> None:
    made = stack()
    workload = made.account.endpoint("orders").workload
    assert isinstance(workload, RealtimeWorkload)
    overloaded_minutes(made)
    reasons = {outcome.decision.reason for _, outcome in made.outcomes if outcome.decision}
    assert Reason.SATURATED in reasons
    for _ in range(30):
        made.minute()
    count = made.account.endpoint("orders").desired_count
    assert 13 <= count <= 15  # ceil(12,800 / 900) = 15 is where tracking rests


@pytest.mark.parametrize("dead", [False, True], ids=["with us", "natively"])
def test_latency_doubles_where_requests_say_nothing(dead: bool) -> None:
    """An instance serves half of what was stated: requests are at 52 %, latency is at 1,250 ms of 600."""
    made = stack(disable_scale_in=True, requests_per_instance=2 * EACH, latency_p95="600ms")
    made.alive = not dead
    orders = made.account.endpoint("orders")
    before = orders.current_count
    for _ in range(22):
        made.minute()
    assert orders.current_count >= 2 * before
    assert made.failures == []
    alarms = made.account.client("cloudwatch").describe_alarms(AlarmNamePrefix="tidegate-target-")["MetricAlarms"]
    quiet = {alarm["AlarmName"].rpartition("-")[2] for alarm in alarms if alarm["StateValue"] != "ALARM"}
    assert {"saturation", "errors"} <= quiet
