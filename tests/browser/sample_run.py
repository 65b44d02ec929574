"""A run for looking at: three targets with all that a report can show, hostile names included."""

import math
from datetime import UTC, datetime, timedelta

from simulator.report import Compared, FleetRun, Mark, Series, TargetRun, Totals

START = datetime(2026, 3, 2, tzinfo=UTC)
HOURS = 12.0
MINUTES = [START + timedelta(minutes=m) for m in range(int(HOURS * 60))]


def lagging(wanted: list[int], minutes: int) -> list[int]:
    """Capacity is ready some minutes after it was asked for; less capacity is gone at once."""
    return [min(wanted[max(i - k, 0)] for k in range(minutes + 1)) for i in range(len(wanted))]


def series(demand: list[float], each: float, headroom: float, delay: int, *, queue: bool = False) -> Series:
    wanted = [min(14, max(1, math.ceil(value / each * headroom))) for value in demand]
    held = [max(wanted[max(0, i - 15) : i + 1]) for i in range(len(wanted))]
    ready = lagging(held, delay)
    return Series(
        minutes=MINUTES,
        demand=demand,
        ready=ready,
        desired=held,
        floor=[max(1, count - 1) if i > 5 else None for i, count in enumerate(held)],
        ceiling=[14 if i > 5 else None for i in range(len(held))],
        harmed=[max(0.0, value - count * each) for value, count in zip(demand, ready, strict=True)],
        target=[0.8 * each if i > 5 else None for i in range(len(held))],
        backlog=[max(0.0, value - count * each) for value, count in zip(demand, ready, strict=True)] if queue else [],
    )


def totals(run: Series, demand: list[float]) -> Totals:
    return Totals(
        requests=sum(demand),
        harmed=sum(run.harmed),
        instance_hours=sum(run.ready) / 60,
        changes=sum(a != b for a, b in zip(run.desired, run.desired[1:], strict=False)),
    )


def wave(minute: int, high: float) -> float:
    noise = 0.06 * math.sin(minute * 1.7) + 0.04 * math.sin(minute * 0.61)
    surge = 0.5 if 400 <= minute <= 425 else 0.0
    return high * (0.35 - 0.3 * math.cos(2 * math.pi * minute / 720) + noise * 0.5 + surge)


def target(name: str, kind: str, unit: str, each: float, *, queue: bool = False) -> TargetRun:
    demand = [wave(i, 11 * each) for i in range(len(MINUTES))]
    ours, plain = series(demand, each, 1.25, 4, queue=queue), series(demand, each, 1.15, 9, queue=queue)
    if kind == "async":
        plain = Series(**{**vars(plain), "demand": [value * 1.3 for value in demand]})
    moved = [i for i in range(1, len(MINUTES)) if ours.floor[i] != ours.floor[i - 1]]
    return TargetRun(
        name=name,
        kind=kind,
        unit=unit,
        capacity_per_instance=each,
        tidegate=ours,
        plain=plain,
        totals=totals(ours, demand),
        plain_totals=totals(plain, demand),
        marks=[
            Mark(
                MINUTES[i],
                "Load",
                f"floor {ours.floor[i - 1]} -> {ours.floor[i]}: {demand[i]:,.0f} {unit} at {each:g} an instance",
            )
            for i in moved
        ],
        notes=["Target tracking keeps 0.8 of what one instance serves; the floor follows the last ten minutes."],
    )


def sample_run() -> FleetRun:
    return FleetRun(
        title="Replay of a <b>Monday</b> & its night",
        start=START,
        hours=HOURS,
        targets=[
            target("chat-prod", "realtime", "requests/min", 240.0),
            target("documents-prod", "async", "items queued", 60.0),
            target('scoring-<script>alert("x")</script>', "batch", "requests/min", 90.0, queue=True),
        ],
        lines=[
            "Under Tidegate 0.4% of requests were violated, under plain AAS 2.9%.",
            "It used 4% more instance-hours than plain AAS on the same traffic.",
        ],
        facts={"trace": "a week of <requests>", "seed": "7", "start-up time": "4 min", "policy": "fleet.yaml"},
        compared=[
            Compared("clairvoyant", "", 1.0, 0.0, 100.0, 24.0, 141.0),
            Compared("aas-target-tracking", "0.5", 1.9, 0.004, 190.0, 50.0, 267.9),
            Compared("aas-target-tracking", "0.7", 1.4, 0.014, 140.0, 48.0, 197.4),
            Compared("<i>hpa</i>", "0.6", 1.5, 0.007, 150.0, 60.0, 211.5),
            Compared("tidegate", "balanced", 1.3, 0.003, 130.0, 36.0, 183.3),
        ],
    )
