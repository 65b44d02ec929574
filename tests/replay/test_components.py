"""The real handlers before an inference component and a serverless variant: by their own alarms, and without us."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.model import Reason
from simulator.account import SimulatedAccount
from simulator.components import Component, Managed
from simulator.stack import SimulatedStack
from simulator.workload import ComponentWorkload, NoWorkload, ServerlessWorkload

START = datetime(2026, 11, 18, 9, 0, tzinfo=UTC)
CHAT: dict[str, Any] = {
    "kind": "realtime",
    "serving": "inference_component",
    "min_capacity": 0,
    "max_capacity": 6,
    "objectives": {"requests_per_instance": 30},
}
LESS: dict[str, Any] = {
    "kind": "realtime",
    "serving": "serverless",
    "min_capacity": 1,
    "max_capacity": 40,
    "objectives": {"requests_per_instance": 100},
}


def stack(requests: list[int]) -> tuple[SimulatedStack, Component]:
    """An endpoint with one component, asleep; an instance takes 2 minutes to start, a copy 2 more."""
    account = SimulatedAccount(START)
    account.add_endpoint(
        name="llm",
        workload=NoWorkload(),
        instance_count=0,
        provisioning_delay=timedelta(minutes=2),
        managed=Managed(minimum=0, maximum=6),
    )
    component = account.add_component(
        name="chat-8b",
        endpoint="llm",
        workload=ComponentWorkload(per_minute_requests=requests, capacity_per_instance=30, gpus=1),
        copies=0,
    )
    entry = {"name": "llm", "inference_component": "chat-8b", "profile": "chat"}
    made = SimulatedStack(account, {"version": 1, "profiles": {"chat": CHAT}, "endpoints": [entry]}, direct=True)
    made.invoke("FleetSync", {"trigger": "policy"})
    return made, component


def play(made: SimulatedStack, minutes: int) -> None:
    for _ in range(minutes):
        made.minute()
    assert made.failures == []


ASLEEP, BUSY = 20, 40


def test_from_zero_to_what_is_needed_and_back_to_zero() -> None:
    """20 minutes of silence, 40 of 80 requests a minute (3 copies), then silence again."""
    made, component = stack([0] * ASLEEP + [80] * BUSY)
    play(made, ASLEEP)
    history = component.workload.history
    assert set(history.ready) == {0}  # nothing woke it, and silence was no reason to doubt
    play(made, BUSY)
    assert history.ready[-1] == history.desired[-1] == 6  # 80 a minute at half of 30 a copy: ceil(80 / 15)
    first = next(i for i, ready in enumerate(history.ready) if ready)
    enough = next(i for i, ready in enumerate(history.ready) if ready * 30 >= 80)
    assert first - ASLEEP <= 9  # seen after 3 minutes, an instance 2, a copy 2, and to the full minute
    assert enough == first  # the first that came were as many as the load needs, not one
    play(made, 60)
    assert (component.current_count, component.host.current_count) == (0, 0)  # idle instances go as well
    reasons = {outcome.decision.reason for _, outcome in made.outcomes if outcome.decision}
    assert Reason.NO_CAPACITY in reasons
    assert Reason.METRICS_UNKNOWN not in reasons


def test_native_policies_alone_wake_it_and_send_it_to_sleep() -> None:
    made, component = stack([0] * ASLEEP + [20] * BUSY)
    for _ in range(ASLEEP + BUSY + 60):
        made.account.advance()  # nobody is called any more
    history = component.workload.history
    assert history.ready[ASLEEP + 9] >= 1
    assert history.ready[-1] == 0


def less(requests: list[int], **profile: Any) -> tuple[SimulatedStack, ServerlessWorkload]:
    """A serverless variant with units of 100 requests a minute, which take 2 minutes to come."""
    account = SimulatedAccount(START)
    workload = ServerlessWorkload(per_minute_requests=requests, capacity_per_instance=100)
    account.add_endpoint(
        name="less", workload=workload, instance_count=1, serverless=True, provisioning_delay=timedelta(minutes=2)
    )
    entry = {"name": "less", "profile": "less"}
    made = SimulatedStack(
        account, {"version": 1, "profiles": {"less": {**LESS, **profile}}, "endpoints": [entry]}, direct=True
    )
    made.invoke("FleetSync", {"trigger": "policy"})
    return made, workload


def test_a_serverless_variant_has_the_concurrency_its_requests_need() -> None:
    made, workload = less([50] * 20 + [900] * 60 + [0] * 60)
    play(made, 140)
    ready = workload.history.ready
    assert ready[30] * 100 >= 900  # within ten minutes, without waiting for the native policy
    assert max(ready) == ready[79] == 18  # and no more than the native policy rests at, with half of it in use
    assert ready[-1] == 1


@pytest.mark.parametrize(
    ("out", "into", "unit_minutes", "most"),
    [("1m", "1m", 2546, 36), ("1m", "5m", 2198, 36), ("3m", "5m", 1874, 18), ("5m", "5m", 1874, 18)],
)
def test_cooldowns_shorter_than_the_metric_takes_to_show_swing(
    out: str, into: str, unit_minutes: int, most: int
) -> None:
    """The figures of docs/choosing-a-policy.md."""
    tracking = {"type": "target_tracking", "metric": "provisioned_concurrency", "target": 0.5}
    policy = {**tracking, "scale_out_cooldown": out, "scale_in_cooldown": into}
    made, workload = less([50] * 20 + [900] * 90 + [0] * 60, policies=[policy])
    play(made, 150)
    ready, late = workload.history.ready, workload.history.late
    assert (sum(ready), max(ready), sum(late)) == (unit_minutes, most, 4000)
