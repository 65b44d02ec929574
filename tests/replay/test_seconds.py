"""Passes run some seconds after the full minute, and metrics come late; what is decided differs by those minutes only."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typing_extensions import override

from simulator.account import SimulatedAccount
from simulator.components import Managed
from simulator.fleet_run import FLEET, account_with
from simulator.stack import SimulatedStack
from simulator.workload import ComponentWorkload, NoWorkload, RealtimeWorkload

TRACES = Path(__file__).parents[2] / "traces"
START = datetime(2025, 4, 9, tzinfo=UTC)
HOURS = 12
CHAT = {"kind": "realtime", "min_capacity": 1, "max_capacity": 14, "objectives": {"requests_per_instance": 400}}
# A promise of no whole number of minutes, and a window that is over when its items are done: both look back by seconds.
DOCUMENTS = {
    "kind": "async",
    "min_capacity": 0,
    "max_capacity": 10,
    "objectives": {"items_per_minute": 29, "oldest_age_at_most": "15m"},
}
NIGHTLY = {
    "kind": "batch",
    "min_capacity": 1,
    "max_capacity": 8,
    "objectives": {"requests_per_instance": 40},
    "windows": [{"name": "night", "start": "00:40", "finish_by": "08:00", "items": 12000}],
}
DOCUMENT: Mapping[str, Any] = {
    "version": 1,
    "profiles": {"chat": CHAT, "documents": DOCUMENTS, "nightly": NIGHTLY},
    "endpoints": [
        {"name": "chat-prod", "profile": "chat"},
        {"name": "documents-prod", "profile": "documents"},
        {"name": "scoring-nightly", "profile": "nightly"},
    ],
}


class Late(SimulatedStack):
    """A stack whose functions start so many seconds after the minute."""

    def __init__(self, account: SimulatedAccount, seconds: int, document: Mapping[str, Any] = DOCUMENT) -> None:
        self._late = timedelta(seconds=seconds)
        super().__init__(account, document, direct=document is not DOCUMENT)

    @override
    def now(self) -> datetime:
        return self.account.now + self._late


def instance_hours(seconds: int) -> dict[str, float]:
    """What AAS was told to keep, in instance-hours."""
    made = Late(account_with(FLEET, TRACES, START, HOURS), seconds)
    made.invoke("FleetSync", {"trigger": "policy"})
    kept = dict.fromkeys((endpoint["name"] for endpoint in DOCUMENT["endpoints"]), 0.0)
    for _ in range(HOURS * 60):
        made.minute()
        for name in kept:
            kept[name] += made.account.snapshot(name)["bounds"][0] / 60
    assert made.failures == []
    return kept


@pytest.fixture(scope="module")
def at_full_minutes() -> dict[str, float]:
    return instance_hours(0)


@pytest.mark.parametrize("seconds", [7, 59])
def test_what_is_kept_does_not_depend_on_the_second(seconds: int, at_full_minutes: dict[str, float]) -> None:
    assert instance_hours(seconds) == pytest.approx(at_full_minutes, rel=0.03)


class Kind(NamedTuple):
    """An endpoint with one instance, or a component with no copy, that serve so many requests a minute each."""

    capacity: int
    load: tuple[int, ...]
    profile: Mapping[str, Any]


def realtime(*, capacity: int = 400, **more: Any) -> dict[str, Any]:
    objectives = {"requests_per_instance": capacity, **more.pop("objectives", {})}
    return {"kind": "realtime", "min_capacity": 1, "max_capacity": 14, "objectives": objectives, **more}


HOUR = 60
BURST = (300,) * HOUR + (2000,) * HOUR + (300,) * HOUR
STEPS = [{"upper": 25, "change": -1}, {"lower": 25, "upper": 60, "change": 0}, {"lower": 60, "change": 2}]
CALLS = (0,) * 20 + (80,) * 40 + (0,) * HOUR
WORK = {"name": "night", "start": "01:00", "finish_by": "06:00", "items": 45_000}  # 150 a minute, four instances' worth
KINDS = {
    "load": Kind(400, BURST, realtime()),
    "latency": Kind(400, BURST, realtime(capacity=700, objectives={"latency_p95": "500ms"})),
    "steps": Kind(
        400,
        BURST,
        {
            "kind": "realtime",
            "min_capacity": 1,
            "max_capacity": 14,
            "policies": [{"type": "step", "metric": "cpu", "steps": STEPS}],
        },
    ),
    "window": Kind(
        400,
        (300,) * 4 * HOUR,
        realtime(windows=[{"name": "day", "start": "01:00", "duration": "90m", "min_capacity": 6}]),
    ),
    "work": Kind(
        40, (0,) * HOUR + (150,) * 5 * HOUR + (0,) * HOUR, realtime(capacity=40, windows=[WORK]) | {"kind": "batch"}
    ),
    "component": Kind(
        30,
        CALLS,
        realtime(capacity=30, serving="inference_component", stabilization="1m")
        | {"min_capacity": 0, "max_capacity": 6},
    ),
}


@cache
def ordered(name: str, seconds: int, lag: int) -> list[int]:
    """Return what was ordered in each minute, in instances or copies; a minute is readable `lag` after its end."""
    kind, account = KINDS[name], SimulatedAccount(START)
    account.cloudwatch.lag = timedelta(minutes=lag)
    component = kind.profile.get("serving") is not None
    serves = ComponentWorkload if component else RealtimeWorkload
    workload = serves(per_minute_requests=kind.load, capacity_per_instance=kind.capacity, vcpus=8)
    account.add_endpoint(
        name="web",
        workload=NoWorkload() if component else workload,
        instance_type="ml.c5.2xlarge",
        instance_count=0 if component else 1,
        provisioning_delay=timedelta(minutes=2 if component else 6),
        managed=Managed(minimum=0, maximum=6) if component else None,
    )
    if component:
        account.add_component(name="chat", endpoint="web", workload=workload, copies=0)
    entry = {"name": "web", "profile": "p"} | ({"inference_component": "chat"} if component else {})
    made = Late(account, seconds, {"version": 1, "profiles": {"p": kind.profile}, "endpoints": [entry]})
    made.invoke("FleetSync", {"trigger": "policy"})
    for _ in kind.load:
        made.minute()
    assert made.failures == []
    return workload.history.desired


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(("seconds", "lag"), [(7, 1), (37, 2), (59, 3), (7, 4)])
def test_what_is_paid_does_not_depend_on_second_and_lag(name: str, seconds: int, lag: int) -> None:
    assert sum(ordered(name, seconds, lag)) == pytest.approx(sum(ordered(name, 0, 2)), rel=0.06)


@pytest.mark.parametrize("lag", [1, 2, 3, 4])
def test_work_whose_newest_minutes_are_still_on_their_way_is_not_slow(lag: int) -> None:
    """45,000 in five hours at 40 an instance and minute, with a margin of 1.22: five, and eight once that is seen late.

    Its newest minutes taken for 0, what an instance does seemed half, and it had twelve in its last hour.
    """
    assert [count for count, _ in groupby(ordered("work", 7, lag))] == [1, 5, 8, 1]
