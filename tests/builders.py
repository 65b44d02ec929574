"""Short ways to say what a test sees. Every builder's arguments show up in what it builds."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from core.context import Context, Enrolment
from core.model import (
    Capacity,
    Envelope,
    Learned,
    Memory,
    Missing,
    Observation,
    Override,
    OverrideAction,
    Point,
    Refusal,
    ScalableTarget,
    Scope,
    Signal,
)
from core.policy import Fleet, Profile, parse_fleet
from core.reconcile import as_measured

NOW = datetime(2026, 11, 18, 9, 0, tzinfo=UTC)  # a Wednesday
TARGET = ScalableTarget.variant("orders", "AllTraffic")
CHAT = ScalableTarget.component("chat-8b")  # on the endpoint `orders`
SETTLED_MEMORY = Memory(
    version=7,
    first_seen_at=NOW - timedelta(days=1),
    enrolled=True,
    scale_out_alarms=("high",),
    ready=4,
    ready_since=NOW - timedelta(hours=1),
)

REALTIME: dict[str, Any] = {
    "kind": "realtime",
    "min_capacity": 2,
    "max_capacity": 12,
    "objectives": {"requests_per_instance": 1000},
}
ASYNC: dict[str, Any] = {
    "kind": "async",
    "min_capacity": 0,
    "max_capacity": 8,
    "objectives": {"items_per_minute": 4, "drain_within": "15m"},  # one instance works off 60 items in time
}
NIGHT = {"name": "night", "start": "02:00", "duration": "4h", "lead": "10m", "min_capacity": 6}
BATCH: dict[str, Any] = {"kind": "batch", "min_capacity": 1, "max_capacity": 10, "windows": [NIGHT]}
COMPONENT: dict[str, Any] = {
    "kind": "realtime",
    "serving": "inference_component",
    "min_capacity": 0,
    "max_capacity": 6,
    "objectives": {"requests_per_instance": 30},  # a copy
}
SERVERLESS: dict[str, Any] = {
    "kind": "realtime",
    "serving": "serverless",
    "min_capacity": 1,
    "max_capacity": 20,
    "objectives": {"requests_per_instance": 120},  # a unit of provisioned concurrency: half a second each
}


def fleet(profile: Mapping[str, Any], **endpoint: Any) -> Fleet:
    """Return a document with one endpoint, `orders`, or its inference component `chat-8b`."""
    entry = {"name": "orders", "profile": "p", **endpoint}
    if profile.get("serving") == "inference_component":
        entry.setdefault("inference_component", "chat-8b")
    return parse_fleet({"version": 1, "profiles": {"p": profile}, "endpoints": [entry]})


def profile(document: Mapping[str, Any], **changes: Any) -> Profile:
    """Return a profile with some fields changed."""
    return fleet({**document, **changes}).profiles["p"]


def enrolment(document: Mapping[str, Any], **changes: Any) -> Enrolment:
    """Return `orders` enrolled under a profile with some fields changed, on an 8-vCPU instance type."""
    described = fleet({**document, **changes})
    [target] = described.targets
    return Enrolment(target=target, profile_name="p", profile=described.profiles["p"], endpoint="orders", vcpus=8)


def minutes(values: Sequence[float], newest: datetime = NOW - timedelta(minutes=2)) -> Observation:
    """Return a value a minute, oldest first, the last at `newest`."""
    first = newest - timedelta(minutes=len(values) - 1)
    return Observation(tuple(Point(first + timedelta(minutes=i), value) for i, value in enumerate(values)))


def steady(value: float) -> Observation:
    """Return a quarter of an hour at one value: a whole stabilization window and more."""
    return minutes([value] * 15)


def context(  # noqa: PLR0913 - a context has this many sides, and each test names the one it is about
    document: Mapping[str, Any] = REALTIME,
    *,
    load: Observation | Missing | None = None,
    refused: Observation | Missing | None = None,
    processed: Observation | Missing | None = None,
    failed: Observation | Missing | None = None,
    oldest: Observation | Missing = Missing("no data points"),
    times: tuple[Observation | Missing, Observation | Missing] | None = None,
    capacity: Capacity | Missing | None = None,
    registered: Envelope | None = Envelope(2, 12),
    memory: Memory = SETTLED_MEMORY,
    overrides: Sequence[Override] = (),
    scaling_out: bool | None = False,
    alarms: Mapping[str, str] | None = None,
    now: datetime = NOW,
    fleet_max: int = 100,
    refusal: Refusal | None = None,
    learned: Learned | None = None,
    **changes: Any,
) -> Context:
    """Return what a pass sees of `orders`; the load is requests or backlog, whichever the kind measures.

    Of requests that were refused for want of a copy there are none but `refused`. The `times` are those from arrival to
    result and until work begins.
    """
    enrolled = enrolment(document, **changes)
    enrolled = replace(enrolled, profile=as_measured(enrolled.profile, memory))
    capacity = capacity if capacity is not None else running(4)
    if memory is SETTLED_MEMORY and isinstance(capacity, Capacity) and enrolled.profile.queued:
        memory = replace(memory, ready=capacity.current, ready_since=NOW - timedelta(hours=1))
    signals: dict[Signal, Observation | Missing] = {}
    for signal in enrolled.profile.signals:
        signals[signal] = load if load is not None else steady(0)
    for signal, given in {
        Signal.NO_CAPACITY: refused,
        Signal.PROCESSED: processed,
        Signal.FAILED: failed,
        Signal.OLDEST: oldest,
        Signal.IN_FLIGHT: None,
    }.items():
        if signal in signals:
            signals[signal] = given if given is not None else steady(0)
    if times is not None:
        signals[Signal.TURNAROUND], signals[Signal.WAITED] = times
    return Context(
        now=now,
        enrolment=replace(enrolled, fleet_max=fleet_max),
        capacity=capacity,
        registered=registered,
        signals=signals,
        scaling_out=scaling_out,
        memory=memory,
        overrides=tuple(overrides),
        refusal=refusal,
        learned=learned,
        alarms=alarms or {},
    )


def running(count: int, *, desired: int | None = None, status: str = "InService") -> Capacity:
    """Return a capacity; without `desired` no change is in flight."""
    return Capacity(count, count if desired is None else desired, status)


def refusal(*, minutes_ago: int = 1) -> Refusal:
    """Return what AAS says of an account that may have no more of these instances."""
    text = (
        "Failed to set desired instance count to 4. Reason: The account-level service limit 'ml.g5.xlarge for endpoint "
        "usage' is 4 Instances, with current utilization of 3 Instances and a request delta of 3 Instances. Please use "
        "AWS Service Quotas to request an increase for this quota."
    )
    return Refusal(NOW - timedelta(minutes=minutes_ago), "ResourceLimitExceeded", text)


def override(  # noqa: PLR0913 - what an override says, in one line of a test
    action: str,
    capacity: int | None = None,
    *,
    scope: str = "target",
    subject: str | None = None,
    minutes_left: float = 60,
    age: float = 1,
) -> Override:
    """Return an override of `orders`, of its tag `team=search`, its profile or the fleet, made `age` minutes ago."""
    usual = {"target": TARGET.resource_id, "tag": "team=search", "profile": "p", "fleet": ""}
    return Override(
        override_id=f"{scope}-{action}-{capacity}-{age}",
        action=OverrideAction(action),
        scope=Scope(scope),
        subject=usual[scope] if subject is None else subject,
        capacity=capacity,
        created_at=NOW - timedelta(minutes=age),
        expires_at=NOW + timedelta(minutes=minutes_left),
        reason="campaign",
        requested_by="maria",
    )
