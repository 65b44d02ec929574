"""The real handlers on real traffic: what must hold whatever is delivered, lost or in the way."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from simulator.account import SimulatedAccount
from simulator.fleet_run import FLEET, account_with, serving
from simulator.stack import OWNERS, SimulatedStack

TRACES = Path(__file__).parents[2] / "traces"
START = datetime(2025, 4, 9, tzinfo=UTC)
DOCUMENT: dict[str, Any] = {
    "version": 1,
    "profiles": {
        "chat": {
            "kind": "realtime",
            "min_capacity": 1,
            "max_capacity": 14,
            "objectives": {"requests_per_instance": 400},
        },
        "documents": {
            "kind": "async",
            "min_capacity": 0,
            "max_capacity": 10,
            "objectives": {"items_per_minute": 29},
            "stabilization": "10m",
        },
        "assistant": {
            "kind": "realtime",
            "serving": "inference_component",
            "min_capacity": 0,
            "max_capacity": 6,
            "objectives": {"requests_per_instance": 160},
        },
        "nightly": {
            "kind": "batch",
            "min_capacity": 1,
            "max_capacity": 8,
            "objectives": {"requests_per_instance": 40},
            "windows": [{"name": "night", "start": "00:40", "duration": "4h", "min_capacity": 5}],
        },
    },
    "endpoints": [
        {"name": "chat-prod", "profile": "chat"},
        {"name": "documents-prod", "profile": "documents"},
        {"name": "scoring-nightly", "profile": "nightly"},
        {"name": "assistant-llm", "inference_component": "assistant-llm", "profile": "assistant"},
    ],
}
NAMES = [scenario.endpoint for scenario in FLEET]
POLICY_BOUNDS = {"chat-prod": (1, 14), "documents-prod": (0, 10), "scoring-nightly": (1, 8), "assistant-llm": (0, 6)}


def stack(start: datetime = START, hours: float = 12) -> SimulatedStack:
    """A fleet that has just been enrolled."""
    made = SimulatedStack(account_with(FLEET, TRACES, start, hours), DOCUMENT, direct=True)
    made.invoke("FleetSync", {"trigger": "policy"})
    return made


def run(made: SimulatedStack, minutes: int) -> None:
    for _ in range(minutes):
        made.minute()
    assert made.failures == []


def state(account: SimulatedAccount) -> dict[str, Any]:
    """What AAS and SageMaker hold."""
    served = {scenario.endpoint: serving(account, scenario) for scenario in FLEET}
    counts = {name: (each.current_count, each.desired_count) for name, each in served.items()}
    return {"counts": counts, **{name: account.snapshot(name) for name in NAMES}}


def bounds(made: SimulatedStack) -> dict[str, tuple[int, int]]:
    return {name: made.account.snapshot(name)["bounds"] for name in NAMES}


class Storm:
    """Delivers every event and every tick twice, some up to 20 minutes late, in another order."""

    def __init__(self, made: SimulatedStack, seed: int) -> None:
        self._stack = made
        self._chance = random.Random(seed)  # noqa: S311 - an order of delivery, not a secret
        self._late: list[tuple[datetime, dict[str, Any]]] = []

    def minute(self) -> None:
        account = self._stack.account
        for event in account.advance():
            for _ in range(2):
                self._late.append((account.now + timedelta(minutes=self._chance.choice([0, 0, 1, 3, 20])), event))
        due = [event for when, event in self._late if when <= account.now]
        self._late = [(when, event) for when, event in self._late if when > account.now]
        jobs: list[dict[str, Any] | None] = [*due, None, None]  # None: the schedules fire
        self._chance.shuffle(jobs)
        for job in jobs:
            if job is None:
                self._stack.tick()
            else:
                self._stack.deliver(job)


@pytest.mark.parametrize("seed", [1, 2])
def test_events_twice_late_and_shuffled_leave_the_state_of_delivering_them_once(seed: int) -> None:
    once, storm = stack(), stack()
    weather = Storm(storm, seed)
    pin = {
        "request_id": "r-1",
        "action": "floor",
        "target": "chat-prod",
        "capacity": 4,
        "reason": "campaign",
        "requested_by": "maria",
        "expires_at": f"{START + timedelta(hours=3):%Y-%m-%dT%H:%M:%SZ}",
    }
    for minute in range(4 * 60):
        once.minute()
        weather.minute()
        if minute == 120:
            once.invoke("Override", pin)
        if minute in {120, 121, 140}:  # the same request again, and again
            storm.invoke("Override", pin)
        assert state(storm.account) == state(once.account), f"minute {minute}"
    assert (once.failures, storm.failures) == ([], [])
    assert storm.invocations.total() > 2 * once.invocations.total() - 10


def test_with_the_table_emptied_nothing_is_lowered() -> None:
    made = stack(START + timedelta(hours=8), 3)
    run(made, 100)
    made.invoke(
        "Override",
        {
            "request_id": "r-2",
            "action": "floor",
            "target": "documents-prod",
            "capacity": 6,
            "reason": "re-run of May",
            "requested_by": "maria",
            "expires_at": f"{made.account.now + timedelta(hours=2):%Y-%m-%dT%H:%M:%SZ}",
        },
    )
    before = bounds(made)
    made.store.__init__()  # type: ignore[misc]  # an emptied table, seen through the same client
    for _ in range(9):  # one stabilization window
        run(made, 1)
        for name, (low, high) in bounds(made).items():
            assert low >= before[name][0], name
            assert high >= before[name][1], name


def test_with_metrics_missing_nothing_is_lowered_for_an_hour() -> None:
    made = stack(START + timedelta(hours=8), 4)
    run(made, 100)
    before = bounds(made)
    assert before["chat-prod"][0] > 1
    for metric in ("Invocations", "InvocationsPerInstance"):
        made.account.silence("AWS/SageMaker", metric, "chat-prod")
    count = made.account.endpoint("chat-prod").desired_count
    for _ in range(55):
        run(made, 1)
        assert bounds(made)["chat-prod"][0] >= before["chat-prod"][0]
        assert made.account.endpoint("chat-prod").desired_count >= min(count, before["chat-prod"][0])


def test_while_the_endpoint_updates_nothing_is_written_and_the_wish_is_kept() -> None:
    made = stack(START + timedelta(hours=8), 3)
    run(made, 45)
    made.account.deploy("chat-prod", 3)
    before = bounds(made)["chat-prod"]
    while made.account.endpoint("chat-prod").status != "InService":
        assert bounds(made)["chat-prod"] == before
        run(made, 1)
    run(made, 1)
    assert bounds(made)["chat-prod"] != before


def test_a_count_that_a_deployment_reset_is_repaired_though_the_bounds_are_equal() -> None:
    made = stack(START + timedelta(minutes=50), 3)
    run(made, 30)
    endpoint = made.account.endpoint("scoring-nightly")
    assert (bounds(made)["scoring-nightly"], endpoint.desired_count >= 5) == ((5, 8), True)
    made.account.deploy("scoring-nightly", 1)
    run(made, 12)
    assert bounds(made)["scoring-nightly"] == (5, 8)
    assert endpoint.desired_count >= 5


@pytest.mark.parametrize("kill_minute", [35, 250, 595])
def test_with_the_controller_dead_every_bound_returns_to_the_policy_and_aas_goes_on(kill_minute: int) -> None:
    made = stack()
    run(made, kill_minute)
    left = bounds(made)
    assert left != POLICY_BOUNDS  # there is something to expire
    made.stop()
    latest = max(timedelta(minutes=60 + 30), START + timedelta(hours=4, minutes=40) - made.account.now)
    for _ in range(int(latest / timedelta(minutes=1)) + 16):
        made.account.advance()
    assert bounds(made) == POLICY_BOUNDS
    activities = made.account.client("application-autoscaling").describe_scaling_activities(
        ServiceNamespace="sagemaker"
    )
    assert activities["ScalingActivities"][0]["StartTime"] >= START + timedelta(minutes=kill_minute)


def test_an_override_ends_by_itself() -> None:
    made = stack(START + timedelta(hours=5), 3)
    run(made, 30)
    ends = made.account.now + timedelta(minutes=45)
    reply = made.invoke(
        "Override",
        {
            "request_id": "r-3",
            "action": "pin",
            "target": "chat-prod",
            "capacity": 6,
            "reason": "load test",
            "requested_by": "maria",
            "expires_at": f"{ends:%Y-%m-%dT%H:%M:%SZ}",
        },
    )
    assert (reply["targets"][0]["reason"], bounds(made)["chat-prod"]) == ("OverridePin", (6, 6))
    while made.account.now < ends:
        assert bounds(made)["chat-prod"] == (6, 6)
        run(made, 1)
    assert bounds(made)["chat-prod"] != (6, 6)


def test_an_asynchronous_endpoint_goes_to_zero_and_wakes_to_what_the_backlog_needs() -> None:
    made = stack(START + timedelta(hours=3), 9)
    counts = [made.account.endpoint("documents-prod").current_count for _ in _minutes(made, 9 * 60)]
    assert 0 in counts
    assert max(counts) >= 4
    assert made.account.endpoint("documents-prod").workload.history.late.count(0) == 9 * 60


def _minutes(made: SimulatedStack, count: int) -> Iterator[int]:
    for minute in range(count):
        run(made, 1)
        yield minute


def test_every_owner_ticks_every_minute() -> None:
    made = stack()
    run(made, 60)
    for owner in OWNERS.values():
        assert made.invocations[owner] >= 60
