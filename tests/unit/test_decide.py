"""The fold: numbers in, an envelope and a reason out."""

from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any
from zlib import crc32

import pytest

from core.context import CONTEXTS, Context
from core.decide import RULES, decide
from core.model import Envelope, Memory, Missing, Observation, Progress, Reason, Tracking
from tests.builders import (
    ASYNC,
    BATCH,
    COMPONENT,
    NOW,
    REALTIME,
    SERVERLESS,
    SETTLED_MEMORY,
    TARGET,
    context,
    minutes,
    override,
    refusal,
    running,
    steady,
)


@dataclass(frozen=True)
class Case:
    name: str
    seen: Context
    floor: int
    ceiling: int
    why: Reason


def night(hour: int, minute: int = 0) -> Any:
    return NOW.replace(hour=hour, minute=minute)


STALE = Missing("stale: 9 minutes old")

ASLEEP: dict[str, Any] = {"load": Missing("no data points"), "capacity": running(0), "registered": Envelope(0, 6)}
REMEMBERED = Memory(first_seen_at=NOW - timedelta(days=1), demand_floor=5, demand_at=NOW - timedelta(minutes=5))

CASES = [
    # demand: ceil(requests / 1000 per instance), at least the policy minimum of 2
    Case("idle stays at the minimum", context(load=steady(0)), 2, 12, Reason.POLICY_MINIMUM),
    Case("load within the minimum", context(load=steady(2000)), 2, 12, Reason.POLICY_MINIMUM),  # 2000/1000 = 2
    Case("load rounds up", context(load=steady(2001)), 3, 12, Reason.LOAD),  # 2.001
    Case(
        "the newest minute counts at once",
        context(load=minutes([500] * 14 + [6500]), capacity=running(7)),
        7,
        12,
        Reason.LOAD,
    ),
    Case("load above the maximum", context(load=steady(30_000)), 12, 12, Reason.LIMITED_BY_MAX_CAPACITY),
    Case("load above the fleet's cap", context(load=steady(9000), fleet_max=6), 6, 6, Reason.LIMITED_BY_MAX_CAPACITY),
    # asynchronous: an instance finishes 4 items a minute, and starts from zero in 8 minutes (tests/unit/test_queue.py)
    Case("empty queue", context(ASYNC, load=steady(0)), 0, 8, Reason.POLICY_MINIMUM),
    Case("one item wakes", context(ASYNC, load=minutes([0] * 14 + [1])), 1, 8, Reason.BACKLOG),
    Case(
        # 20 / 4 = 5 minutes of work in the 0.85 * 15 - 1 - 9 = 2.75 minutes left: ceil(1.8)
        "wake to what the backlog needs, not to 1, and let AAS add nothing before they are there",
        context(ASYNC, load=minutes([0] * 14 + [20]), capacity=running(0), registered=Envelope(0, 8)),
        2,
        2,
        Reason.BACKLOG,
    ),
    # inference components: one copy answers 30 requests a minute
    Case("an idle component may be gone", context(COMPONENT, load=steady(0)), 0, 6, Reason.POLICY_MINIMUM),
    Case("a request keeps a copy", context(COMPONENT, load=steady(1)), 1, 6, Reason.LOAD),
    Case("copies for the load", context(COMPONENT, load=steady(61)), 3, 6, Reason.LOAD),  # 61/30 = 2.03
    Case(
        "asleep, its requests are silent and nothing is unknown",
        context(COMPONENT, **ASLEEP),
        0,
        6,
        Reason.POLICY_MINIMUM,
    ),
    Case(
        "one refused request wakes",
        context(COMPONENT, **ASLEEP, refused=minutes([0] * 14 + [1])),
        1,
        6,
        Reason.NO_CAPACITY,
    ),
    Case(
        "wake to what was refused, not to 1",
        context(COMPONENT, **ASLEEP, refused=minutes([0] * 14 + [75])),
        3,
        6,
        Reason.NO_CAPACITY,
    ),  # 75/30 = 2.5
    Case(
        "without a known copy, wake to 1",
        context(COMPONENT, **ASLEEP, refused=minutes([0] * 14 + [75]), objectives={}),
        1,
        6,
        Reason.NO_CAPACITY,
    ),
    Case(
        "until the copy serves, the wish holds",
        context(COMPONENT, **ASLEEP, refused=minutes([0] * 9 + [75] + [0] * 5)),
        3,
        6,
        Reason.NO_CAPACITY,
    ),
    Case(
        "a copy whose requests are silent is unknown",
        context(COMPONENT, load=Missing("no data points"), capacity=running(2), memory=REMEMBERED),
        5,
        6,
        Reason.METRICS_UNKNOWN,
    ),
    Case(
        "nobody knows what was refused",
        context(COMPONENT, **ASLEEP, refused=Missing("InternalError"), memory=REMEMBERED),
        5,
        6,
        Reason.METRICS_UNKNOWN,
    ),
    # serverless: a unit of provisioned concurrency answers 120 requests a minute
    Case(
        "concurrency for the load", context(SERVERLESS, load=steady(601), capacity=running(7)), 6, 20, Reason.LOAD
    ),  # 601/120 = 5.01
    # stabilize: the floor falls to the highest floor of the last 10 minutes
    Case(
        "a dip lowers nothing yet",  # 5 minutes ago 6000 -> 6
        context(load=minutes([6000] * 10 + [1000] * 5), registered=Envelope(6, 12)),
        6,
        12,
        Reason.SCALE_IN_STABILIZED,
    ),
    Case(
        "a peak that could not be answered then is still owed",  # the endpoint was updating
        context(load=minutes([6000] * 10 + [1000] * 5), registered=Envelope(2, 12)),
        6,
        12,
        Reason.LOAD,
    ),
    Case("a peak before the window is over", context(load=minutes([9000] * 4 + [3000] * 11)), 3, 12, Reason.LOAD),
    # unknown is not zero
    Case(
        "missing metrics hold the last floor",
        context(
            load=STALE,
            memory=Memory(first_seen_at=NOW - timedelta(days=1), demand_floor=5, demand_at=NOW - timedelta(minutes=59)),
        ),
        5,
        12,
        Reason.METRICS_UNKNOWN,
    ),
    Case(
        "after 60 minutes the policy minimum",
        context(
            load=STALE,
            memory=Memory(first_seen_at=NOW - timedelta(days=1), demand_floor=5, demand_at=NOW - timedelta(minutes=61)),
        ),
        2,
        12,
        Reason.POLICY_MINIMUM,
    ),
    Case(
        "state lost lowers nothing",
        context(load=steady(0), memory=Memory(), registered=Envelope(7, 12)),
        7,
        12,
        Reason.STATE_LOST,
    ),
    Case(
        "state lost and metrics missing lower nothing",
        context(load=STALE, memory=Memory(), registered=Envelope(7, 12)),
        7,
        12,
        Reason.STATE_LOST,
    ),
    Case(
        "a stabilization window later the state is no longer fresh",
        context(load=steady(0), memory=Memory(first_seen_at=NOW - timedelta(minutes=10)), registered=Envelope(7, 12)),
        2,
        12,
        Reason.POLICY_MINIMUM,
    ),
    # windows: 02:00-06:00 UTC, ready 10 minutes before
    Case("before the lead", context(BATCH, now=night(1, 49)), 1, 10, Reason.POLICY_MINIMUM),
    Case("pre-warming", context(BATCH, now=night(1, 50)), 6, 10, Reason.WINDOW_PREWARMING),
    Case("open", context(BATCH, now=night(2)), 6, 10, Reason.WINDOW_OPEN),
    Case("last minute", context(BATCH, now=night(5, 59)), 6, 10, Reason.WINDOW_OPEN),
    Case("over", context(BATCH, now=night(6)), 1, 10, Reason.POLICY_MINIMUM),
    Case(
        "windows and demand: the higher floor",
        context(
            REALTIME,
            load=steady(8000),
            capacity=running(8),
            now=night(9),
            windows=[{"name": "w", "start": "08:00", "duration": "2h", "min_capacity": 5}],
        ),
        8,
        12,
        Reason.LOAD,
    ),
    Case(
        "a window's ceiling gives way to demand",
        context(
            REALTIME,
            load=steady(8000),
            capacity=running(8),
            windows=[{"name": "w", "start": "08:00", "duration": "2h", "min_capacity": 2, "max_capacity": 5}],
        ),
        8,
        8,
        Reason.WINDOW_OPEN,
    ),
    Case(
        "missing metrics do not keep a window open",
        context(
            REALTIME,
            load=STALE,
            now=night(10, 1),
            windows=[{"name": "w", "start": "08:00", "duration": "2h", "min_capacity": 9}],
        ),
        2,
        12,
        Reason.POLICY_MINIMUM,
    ),
    Case(
        "every kind may have windows: copies of a component",
        context(
            COMPONENT, load=steady(0), windows=[{"name": "w", "start": "08:00", "duration": "2h", "min_capacity": 4}]
        ),
        4,
        6,
        Reason.WINDOW_OPEN,
    ),
    Case(
        "units of a serverless variant",
        context(
            SERVERLESS, load=steady(0), windows=[{"name": "w", "start": "08:00", "duration": "2h", "min_capacity": 4}]
        ),
        4,
        20,
        Reason.WINDOW_OPEN,
    ),
    Case(
        "a queue in which nothing waits",
        context(ASYNC, load=steady(0), windows=[{"name": "w", "start": "08:00", "duration": "2h", "min_capacity": 4}]),
        4,
        8,
        Reason.WINDOW_OPEN,
    ),
    Case(
        "a component sleeps while a window closes it, and it is called",
        context(
            COMPONENT,
            load=steady(61),
            windows=[{"name": "w", "start": "08:00", "duration": "2h", "min_capacity": 0, "max_capacity": 0}],
        ),
        0,
        0,
        Reason.WINDOW_OPEN,
    ),
    Case(
        "but a window that closes is closed, whatever waits",
        context(
            ASYNC,
            load=steady(300),
            capacity=running(5),
            registered=Envelope(5, 8),
            windows=[{"name": "w", "start": "08:00", "duration": "2h", "min_capacity": 0, "max_capacity": 0}],
        ),
        0,
        0,
        Reason.WINDOW_OPEN,
    ),
    Case(
        "until another one opens it",
        context(
            ASYNC,
            windows=[
                {"name": "w", "start": "08:00", "duration": "2h", "min_capacity": 0, "max_capacity": 0},
                {"name": "v", "start": "08:00", "duration": "2h", "min_capacity": 2},
            ],
        ),
        2,
        2,
        Reason.WINDOW_OPEN,
    ),
    Case(
        "it closes at its start, not while something else is pre-warmed",
        context(
            ASYNC,
            now=night(7, 55),
            windows=[{"name": "w", "start": "08:00", "duration": "2h", "min_capacity": 0, "max_capacity": 0}],
        ),
        0,
        8,
        Reason.POLICY_MINIMUM,
    ),
    Case(
        "a rate becomes instances: ceil(4500 / 1000)",
        context(REALTIME, windows=[{"name": "w", "start": "08:00", "duration": "2h", "requests_per_minute": 4500}]),
        5,
        12,
        Reason.WINDOW_OPEN,
    ),
    # overrides: the narrowest scope, then the newest that has not expired
    Case("pin", context(load=steady(9000), overrides=[override("pin", 4)]), 4, 4, Reason.OVERRIDE_PIN),
    Case(
        "floor above demand", context(load=steady(3000), overrides=[override("floor", 9)]), 9, 12, Reason.OVERRIDE_FLOOR
    ),
    Case(
        "floor below demand changes nothing",
        context(load=steady(5000), capacity=running(6), overrides=[override("floor", 3)]),
        5,
        12,
        Reason.LOAD,
    ),
    Case(
        "ceiling below demand",
        context(load=steady(9000), overrides=[override("ceiling", 3)]),
        3,
        3,
        Reason.OVERRIDE_CEILING,
    ),
    *(
        Case(
            f"a ceiling of {asked} where a window closes at {closing}: the lower one",
            context(
                ASYNC,
                capacity=running(0),
                windows=[{"name": "w", "start": "08:00", "duration": "2h", "min_capacity": 0, "max_capacity": closing}],
                overrides=[override("ceiling", asked, scope="fleet")],
            ),
            0,
            min(asked, closing),
            why,
        )
        for asked, closing, why in [
            (4, 0, Reason.WINDOW_OPEN),  # a limit for all opens nothing that is closed
            (4, 3, Reason.WINDOW_OPEN),
            (2, 3, Reason.OVERRIDE_CEILING),
        ]
    ),
    Case(
        "pause keeps the wish",
        context(load=steady(9000), capacity=running(9), overrides=[override("pause")]),
        9,
        12,
        Reason.OVERRIDE_PAUSE,
    ),
    Case("expired", context(load=steady(3000), overrides=[override("pin", 9, minutes_left=0)]), 3, 12, Reason.LOAD),
    Case(
        "the newest wins whatever the order",
        context(
            load=steady(3000),
            overrides=[override("pin", 5, age=9), override("pin", 8, age=2), override("pin", 6, age=5)],
        ),
        8,
        8,
        Reason.OVERRIDE_PIN,
    ),
    Case(
        "a target's own beats newer ones of its tag, profile and fleet",
        context(
            load=steady(3000),
            overrides=[
                override("pin", 5, scope="fleet", age=1),
                override("pin", 6, scope="profile", age=2),
                override("pin", 7, scope="tag", age=3),
                override("floor", 8, age=4),
            ],
        ),
        8,
        12,
        Reason.OVERRIDE_FLOOR,
    ),
    Case(
        "a tag beats a profile and the fleet",
        context(
            overrides=[
                override("pin", 5, scope="fleet", age=1),
                override("pin", 6, scope="profile", age=2),
                override("pin", 7, scope="tag", age=3),
            ]
        ),
        7,
        7,
        Reason.OVERRIDE_PIN,
    ),
    Case(
        "a profile beats the fleet",
        context(overrides=[override("pin", 5, scope="fleet", age=1), override("pin", 6, scope="profile", age=2)]),
        6,
        6,
        Reason.OVERRIDE_PIN,
    ),
    Case(
        "once the narrow one has expired the wide one has its way",
        context(overrides=[override("pin", 5, scope="fleet"), override("pin", 8, minutes_left=0)]),
        5,
        5,
        Reason.OVERRIDE_PIN,
    ),
    Case(
        "a resume ends what came before it, and demand decides again",
        context(load=steady(3000), overrides=[override("pin", 8, age=9), override("pause", age=5), override("resume")]),
        3,
        12,
        Reason.LOAD,
    ),
    Case(
        "what came after the resume stands",
        context(load=steady(3000), overrides=[override("pin", 8, age=2), override("resume", age=5)]),
        8,
        8,
        Reason.OVERRIDE_PIN,
    ),
    Case(
        "a resume of the target leaves the fleet's in force",
        context(overrides=[override("pin", 5, scope="fleet", age=9), override("resume")]),
        5,
        5,
        Reason.OVERRIDE_PIN,
    ),
    Case(
        "a resume of the fleet leaves the target's in force",
        context(overrides=[override("pin", 5, age=9), override("resume", scope="fleet")]),
        5,
        5,
        Reason.OVERRIDE_PIN,
    ),
    Case(
        "a pin above the maximum is limited",
        context(overrides=[override("pin", 40)]),
        12,
        12,
        Reason.LIMITED_BY_MAX_CAPACITY,
    ),
    Case(
        "a real-time target is never pinned to 0",
        context(overrides=[override("pin", 0)]),
        1,
        1,
        Reason.LIMITED_BY_MIN_CAPACITY,
    ),
    Case("an asynchronous one may be", context(ASYNC, overrides=[override("pin", 0)]), 0, 0, Reason.OVERRIDE_PIN),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_fold(case: Case) -> None:
    decision = decide(case.seen)
    assert (decision.envelope, decision.reason) == (Envelope(case.floor, case.ceiling), case.why)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_steps_chain_from_the_policy_to_the_decision(case: Case) -> None:
    decision = decide(case.seen)
    assert decision.steps[0].before == case.seen.policy_envelope
    assert decision.steps[-1].after == decision.envelope
    for left, right in zip(decision.steps, decision.steps[1:], strict=False):
        assert left.after == right.before


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_decision_survives_being_written_down(case: Case) -> None:
    again = CONTEXTS.validate_json(CONTEXTS.dump_json(case.seen))
    assert decide(again).steps == decide(case.seen).steps


def test_the_order_of_the_rules_is_the_documented_precedence() -> None:
    names = [rule.__name__ for rule in RULES]
    assert names == [
        "demand",
        "guard",
        "forecast",
        "outage",
        "stabilize",
        "hold_unknown",
        "windows",
        "override",
        "echo",
        "bounds",
        "refused",
        "deadline",
        "blocked",
        "suspended",
    ]


@pytest.mark.parametrize(
    ("tries", "next_try"),
    # last written at 08:59: 2, 4, 8 and 30 minutes later
    [(0, "2026-11-18T09:01Z"), (1, "2026-11-18T09:03Z"), (2, "2026-11-18T09:07Z"), (9, "2026-11-18T09:29Z")],
)
def test_a_refusal_is_named_with_the_next_try_and_lowers_nothing(tries: int, next_try: str) -> None:
    written_at = NOW - timedelta(minutes=1)
    memory = replace(SETTLED_MEMORY, tries=tries, count=2, written=Envelope(6, 12), written_at=written_at)
    heard = refusal(minutes_ago=1)
    seen = context(load=steady(6000), capacity=running(2), registered=Envelope(6, 12), memory=memory, refusal=heard)
    decision = decide(seen)
    assert (decision.envelope, decision.reason) == (Envelope(6, 12), Reason.LOAD)
    last = decision.steps[-1]
    assert (last.reason, last.moved) == (Reason.CAPACITY_REFUSED, False)
    assert last.seen == {"code": "ResourceLimitExceeded", "text": heard.text, "next_try": next_try}


# The guard: 4 instances serve, 1000 requests a minute each; 4 * 1000 * 0.98 = 3920 is their ceiling.
@dataclass(frozen=True)
class Guarded:
    name: str
    floor: int
    reason: Reason
    seen: dict[str, Any] = field(default_factory=dict)


PROMISES = {"requests_per_instance": 1000, "latency_p95": "200ms", "concurrent_requests": 8}
UNSTATED = {
    "objectives": {},
    "policies": [{"type": "target_tracking", "metric": "requests_per_instance", "target": 1000}],
}
JUST_GREW = Memory(first_seen_at=NOW - timedelta(days=1), ready=4, ready_since=NOW - timedelta(minutes=3))


def ringing(*names: str) -> dict[str, Any]:
    return {"alarms": dict.fromkeys(names, "ALARM")}


GUARDED = [
    Guarded("at the ceiling what runs is doubled", 8, Reason.SATURATED, {"load": steady(3920)}),  # 2 * 4
    Guarded("below it the load is what it is", 4, Reason.LOAD, {"load": steady(3919)}),  # ceil(3.919)
    Guarded("an alarm tells of what the load does not", 8, Reason.SATURATED, {"load": steady(2500), **ringing("slow")}),
    Guarded("any of them", 8, Reason.SATURATED, {"load": steady(2500), **ringing("saturation")}),
    Guarded("concurrency too", 8, Reason.SATURATED, {"load": steady(2500), **ringing("congested")}),
    Guarded("and failures", 8, Reason.SATURATED, {"load": steady(2500), **ringing("errors")}),
    Guarded("below half the load sets the limit", 4, Reason.SATURATED, {"load": steady(1900), **ringing("errors")}),
    Guarded(
        "failures without load ask for nothing", 2, Reason.POLICY_MINIMUM, {"load": steady(0), **ringing("errors")}
    ),
    Guarded("failures of an unknown load too", 2, Reason.POLICY_MINIMUM, {"load": STALE, **ringing("errors")}),
    Guarded("other signs need no load", 8, Reason.SATURATED, {"load": STALE, **ringing("slow")}),
    Guarded(
        "latency by itself", 5, Reason.LATENCY_ABOVE_OBJECTIVE, {"load": steady(2500), **ringing("latency")}
    ),  # 4.7
    Guarded("latency with little load", 2, Reason.POLICY_MINIMUM, {"load": steady(900), **ringing("latency")}),
    Guarded("latency and more", 8, Reason.SATURATED, {"load": steady(2500), **ringing("latency", "slow")}),
    Guarded("OK is no sign", 3, Reason.LOAD, {"load": steady(2500), "alarms": dict.fromkeys(PROMISES, "OK")}),
    Guarded("nor is silence", 3, Reason.LOAD, {"load": steady(2500), "alarms": {"slow": "INSUFFICIENT_DATA"}}),
    Guarded(
        "at the maximum it says so",
        12,
        Reason.LIMITED_BY_MAX_CAPACITY,
        {"load": steady(5000), "capacity": running(8), **ringing("slow")},
    ),
    Guarded(
        "while more is on its way that is kept, whoever ordered it",
        7,
        Reason.SATURATED,
        {"capacity": running(4, desired=7, status="Updating"), **ringing("slow")},
    ),
    Guarded("a new instance is given time to show", 4, Reason.LOAD, {"memory": JUST_GREW, **ringing("slow")}),
    Guarded(
        "nor is it known of a state just lost",
        7,
        Reason.STATE_LOST,
        {"memory": Memory(), "registered": Envelope(7, 12)},
    ),
    Guarded("a target is not what an instance can serve", 4, Reason.LOAD, {"load": steady(4000), **UNSTATED}),
    Guarded(
        "unless an alarm says so", 8, Reason.SATURATED, {"load": steady(4000), **UNSTATED, **ringing("saturation")}
    ),
    Guarded("an endpoint that is gone", 4, Reason.LOAD, {"capacity": Missing("gone"), **ringing("slow")}),
]


@pytest.mark.parametrize("case", GUARDED, ids=lambda case: case.name)
def test_the_guard(case: Guarded) -> None:
    seen: dict[str, Any] = {"load": steady(4000 - 500), "objectives": PROMISES, **case.seen}
    if "capacity" in seen and not isinstance(seen["capacity"], Missing) and "memory" not in seen:
        seen["memory"] = replace(SETTLED_MEMORY, ready=seen["capacity"].current)
    decision = decide(context(**seen))
    assert (decision.envelope.floor, decision.reason) == (case.floor, case.reason)


FEW_JUST_CAME = replace(SETTLED_MEMORY, ready=5, ready_since=NOW - timedelta(minutes=3))
TWO: dict[str, Any] = {"capacity": running(2), "memory": replace(SETTLED_MEMORY, ready=2)}
AT_900 = [{"type": "target_tracking", "metric": "requests_per_instance", "target": 900}]


@dataclass(frozen=True)
class Ordered:
    name: str
    floor: int
    ceiling: int
    seen: dict[str, Any]


# An instance serves 1000 a minute, target tracking rests at 500 of them (or at 900): 4500 need 5, and rest at 9 (or 5).
ORDERED = [
    Ordered("an order is as large as tracking's", 9, 18, {"load": steady(4500), **TWO}),
    Ordered("whatever its target is", 5, 10, {"load": steady(4500), **TWO, "policies": AT_900}),
    Ordered("what runs is enough: no order, no ceiling", 4, 20, {"load": steady(3500)}),
    Ordered("what was refused is not asked for twice over", 5, 10, {"load": steady(4500), **TWO, "refusal": refusal()}),
    Ordered("while it is on its way it is kept", 9, 20, {"load": steady(4500), "capacity": running(4, desired=9)}),
    Ordered(
        "an alarm that rings for what served before is answered no more",
        5,
        10,
        {"load": steady(4500), "capacity": running(5), "memory": FEW_JUST_CAME, "scaling_out": True},
    ),
    Ordered(
        "nor is one that is not known",
        5,
        10,
        {"load": steady(4500), "capacity": running(5), "memory": FEW_JUST_CAME, "scaling_out": None},
    ),
    Ordered(
        "an alarm that is quiet needs no ceiling",
        5,
        20,
        {"load": steady(4500), "capacity": running(5), "memory": FEW_JUST_CAME},
    ),
    Ordered(
        "after four minutes metrics show what serves, and AAS may go on",
        5,
        20,
        {
            "load": steady(4500),
            "capacity": running(5),
            "memory": replace(FEW_JUST_CAME, ready_since=NOW - timedelta(minutes=4)),
            "scaling_out": True,
        },
    ),
    Ordered(
        "what is not known limits nothing",
        5,
        20,
        {"load": STALE, "memory": replace(SETTLED_MEMORY, demand_floor=5, demand_at=NOW), "scaling_out": True},
    ),
]


@pytest.mark.parametrize("case", ORDERED, ids=lambda case: case.name)
def test_an_order_and_its_ceiling(case: Ordered) -> None:
    decision = decide(context(max_capacity=20, registered=Envelope(2, 10), **case.seen))
    assert decision.envelope == Envelope(case.floor, case.ceiling)
    assert decision.reason is not Reason.ORDER_NOT_SHOWN


@pytest.mark.parametrize(("asked", "held"), [("pin", Envelope(6, 6)), ("ceiling", Envelope(5, 6))])
def test_what_is_on_its_way_lifts_no_ceiling_that_somebody_asked_for(asked: str, held: Envelope) -> None:
    """AAS has just ordered 10, and no metric shows them yet."""
    seen = context(
        load=steady(4500),
        capacity=running(5, desired=10),
        registered=Envelope(5, 10),
        memory=FEW_JUST_CAME,
        scaling_out=True,
        overrides=[override(asked, 6)],
    )
    assert decide(seen).envelope == held


def test_repeated_doubling_ends_where_load_is_known() -> None:
    """A broken model fails whatever runs; 2500 requests need 3: 4, 8, then 2 * 3 = 6 is the most that is asked for."""
    floors, count = [], 4
    for _ in range(4):
        memory = replace(SETTLED_MEMORY, ready=count)
        seen = context(load=steady(2500), capacity=running(count), memory=memory, **ringing("errors"))
        floors.append(decide(seen).envelope.floor)
        count = max(count, floors[-1])
    assert floors == [8, 6, 6, 6]


def test_a_batch_target_is_left_to_its_native_policies() -> None:
    assert decide(context(BATCH, **ringing("saturation"))).envelope == Envelope(1, 10)


def test_the_guard_says_what_it_saw() -> None:
    seen = decide(context(load=steady(2500), **ringing("slow", "latency"))).deciding_step.seen
    assert seen == {"ready": 4, "requests_per_minute": 2500, "requests_per_instance": 1000, "alarms": "latency, slow"}


# The request target: down by 0.85 as soon as latency is too high, up by 1.05 a day in an hour of the target's own.
OWN_HOUR = NOW.replace(hour=crc32(TARGET.resource_id.encode()) % 24)
CALM = {"latency": "OK", "slow": "OK"}


@dataclass(frozen=True)
class Tuned:
    name: str
    stands: float
    becomes: float
    alarms: dict[str, str]
    changed: timedelta | None = timedelta(hours=24)
    seen: dict[str, Any] = field(default_factory=dict)


TUNED = [
    Tuned("too slow", 1.0, 0.85, {"latency": "ALARM", "slow": "OK"}, None),
    Tuned("still too slow a stabilization later", 0.85, 0.7225, {"latency": "ALARM"}, timedelta(minutes=10)),
    Tuned("not before that", 0.85, 0.85, {"latency": "ALARM"}, timedelta(minutes=9)),
    Tuned("never below half", 0.5220, 0.5, {"latency": "ALARM"}),  # 0.44
    Tuned("calm for a day", 0.85, 0.8925, CALM),
    Tuned("never above what was declared", 0.98, 1.0, CALM),  # 1.03
    Tuned("calm for less", 0.85, 0.85, CALM, timedelta(hours=23)),
    Tuned("calm in another hour", 0.85, 0.85, CALM, seen={"now": OWN_HOUR + timedelta(hours=1)}),
    Tuned("one alarm is not known", 0.85, 0.85, {"latency": "OK"}),
    Tuned("one has no data", 0.85, 0.85, {"latency": "OK", "slow": "INSUFFICIENT_DATA"}),
    Tuned("the load is not known", 0.85, 0.85, CALM, seen={"load": STALE}),
    Tuned("nothing tracks requests", 1.0, 1.0, {"latency": "ALARM"}, seen={"policies": []}),
]


@pytest.mark.parametrize("case", TUNED, ids=lambda case: case.name)
def test_the_request_target_follows_latency(case: Tuned) -> None:
    seen = {"now": OWN_HOUR, "load": minutes([900] * 15, newest=OWN_HOUR - timedelta(minutes=2)), **case.seen}
    changed = seen["now"] - case.changed if case.changed else None
    memory = Memory(target_factor=case.stands, target_changed_at=changed)
    assert decide(context(memory=memory, alarms=case.alarms, **seen)).target_factor == case.becomes


def test_a_direct_scale_in_goes_no_further_than_the_target_that_stands() -> None:
    memory = replace(SETTLED_MEMORY, target_factor=0.5)  # 0.5 of 500 requests an instance: 2000 rest on 8, not on 4
    assert decide(context(load=steady(2000), capacity=running(10), memory=memory)).scale_in_to == 8


# Scale-in: 6 run where the floor is 2, and every tracking policy that may scale in must agree.
REQUESTS, MEMORY = Tracking(name="track-requests", low="r"), Tracking(name="track-memory", low="m")
NEVER = replace(REQUESTS, disabled=True)
THEIRS = Tracking(name="by-hand", low="h", foreign=True)
BY_CPU = [{"type": "target_tracking", "metric": "cpu", "target": 70}]
DOWN = [*BY_CPU, {"type": "step", "metric": "cpu", "steps": [{"upper": 30, "change": -1}]}]
SILENT = "its metric is or was silent, and scale-in needs all policies"


@pytest.mark.parametrize(
    ("what", "tracking", "states", "why"),
    [
        ("all agree", (REQUESTS, MEMORY), {"track-requests": "ALARM", "track-memory": "ALARM"}, {}),
        ("one does not yet", (REQUESTS, MEMORY), {"track-requests": "ALARM", "track-memory": "OK"}, {}),
        ("one cannot", (REQUESTS, MEMORY), {"track-memory": "INSUFFICIENT_DATA"}, {"track-memory": SILENT}),
        ("one may not, and is not asked", (NEVER, MEMORY), {"track-requests": "INSUFFICIENT_DATA"}, {}),
        ("states that are not known say nothing", (REQUESTS, MEMORY, THEIRS), {}, {}),
        ("none may", (NEVER,), {}, {"track-requests": "scale-in is disabled here and on every other policy"}),
        ("theirs", (REQUESTS, THEIRS), {"by-hand": "OK"}, {"by-hand": "made by somebody else, and it does not agree"}),
        ("theirs agrees", (REQUESTS, THEIRS), {"by-hand": "ALARM"}, {}),
    ],
)
def test_what_holds_scale_in_back_is_named(
    what: str, tracking: tuple[Tracking, ...], states: dict[str, str], why: dict[str, str]
) -> None:
    memory = replace(SETTLED_MEMORY, tracking=tracking, ready=6)
    seen = replace(context(load=steady(500), capacity=running(6), memory=memory, policies=BY_CPU), low_alarms=states)
    decision = decide(seen)
    assert {k: v for step in decision.steps if step.rule == "blocked" for k, v in step.seen.items()} == why, what
    assert (decision.envelope, decision.reason) == (Envelope(2, 12), Reason.POLICY_MINIMUM)  # it moves nothing
    at_the_floor = replace(seen, capacity=running(2))
    assert all(step.rule != "blocked" for step in decide(at_the_floor).steps)


UP = {"type": "step", "metric": "cpu", "steps": [{"lower": 80, "change": 2}]}
QUEUED = {"queue": {"sqs": "jobs"}, "objectives": {"items_per_minute": 4}}
NOBODY = {"policies": "none of them scales in, and direct scale-in needs one that tracks the load"}


@pytest.mark.parametrize(
    ("what", "document", "policies", "why"),
    [
        ("none at all", REALTIME, [], NOBODY),
        ("steps that only add", REALTIME, [UP], NOBODY),
        ("steps that scale in", REALTIME, DOWN[1:], {}),
        ("tracking, which nobody noted yet", REALTIME, BY_CPU, {}),
        ("a queue that AAS empties to zero", ASYNC, [], {}),
        ("a queue that keeps an instance", {**ASYNC, "min_capacity": 1}, [], NOBODY),
        ("messages, which AAS follows", {**REALTIME, **QUEUED}, None, {}),
        ("messages, which nobody follows", {**REALTIME, **QUEUED}, [], NOBODY),
    ],
)
def test_it_is_named_if_nothing_ever_scales_in(what: str, document: Any, policies: Any, why: dict[str, str]) -> None:
    memory = replace(SETTLED_MEMORY, tracking=(), ready=6)
    decision = decide(context(document, capacity=running(6), memory=memory, policies=policies))
    assert {k: v for step in decision.steps if step.rule == "blocked" for k, v in step.seen.items()} == why, what
    assert decision.scale_in_to is None


@pytest.mark.parametrize("changes", [{"policies": DOWN}, {}], ids=["steps do", "Tidegate does"])
def test_disabled_scale_in_blocks_nothing_where_somebody_else_scales_in(changes: dict[str, Any]) -> None:
    memory = replace(SETTLED_MEMORY, tracking=(NEVER,), ready=6)
    decision = decide(context(load=steady(500), capacity=running(6), memory=memory, **changes))
    assert all(step.rule != "blocked" for step in decision.steps)


# Direct scale-in: tracking rests at 0.5 of 1000 = 500 requests an instance.
@dataclass(frozen=True)
class ScaleIn:
    name: str
    to: int | None
    seen: dict[str, Any] = field(default_factory=dict)


def without(seen: Observation, *positions: int) -> Observation:
    """Some minutes were never published."""
    return Observation(tuple(point for i, point in enumerate(seen.points) if i not in positions))


SCALE_INS = [
    ScaleIn("10 run, 2500 need 5", 5),  # 2500 / 500
    ScaleIn("never below the floor", 6, {"overrides": [override("floor", 6)]}),
    ScaleIn("never above what runs", None, {"capacity": running(4)}),
    ScaleIn(
        "a higher load within the window counts", 7, {"load": minutes([2500] * 6 + [3500] + [2500] * 8)}
    ),  # 8 min ago
    ScaleIn("the window must be covered", None, {"load": minutes([2500] * 8)}),
    ScaleIn("two missing minutes are bridged", 5, {"load": without(steady(2500), 5, 6)}),
    ScaleIn("three are not: who knows what came then", None, {"load": without(steady(2500), 5, 6, 7)}),
    ScaleIn("one old minute says nothing", None, {"load": minutes([2500], newest=NOW - timedelta(minutes=11))}),
    ScaleIn("not while a change is in flight", None, {"capacity": running(10, desired=9)}),
    ScaleIn("not while the endpoint updates", None, {"capacity": running(10, status="Updating")}),
    ScaleIn("not while AAS wants to scale out", None, {"scaling_out": True}),
    ScaleIn("not if nobody knows whether it does", None, {"scaling_out": None}),
    ScaleIn("not while an alarm of ours rings", None, {"alarms": {"errors": "ALARM"}}),
    ScaleIn("one without data does not hold it back", 5, {"alarms": {"latency": "INSUFFICIENT_DATA"}}),
    ScaleIn("not when metrics are missing", None, {"load": Missing("no data")}),
    ScaleIn("not on a fresh state", None, {"memory": Memory()}),
    ScaleIn("not where the policy says native", None, {"scale_in": "native"}),
    ScaleIn(
        "not where CPU holds capacity too",
        None,
        {
            "policies": [
                {"type": "target_tracking", "metric": "requests_per_instance", "target": 500},
                {"type": "target_tracking", "metric": "cpu", "target": 70},
            ]
        },
    ),
    ScaleIn("not when the endpoint is gone", None, {"capacity": Missing("gone")}),
]


@pytest.mark.parametrize("case", SCALE_INS, ids=lambda case: case.name)
def test_direct_scale_in(case: ScaleIn) -> None:
    seen: dict[str, Any] = {"load": steady(2500), "capacity": running(10), **case.seen}
    assert decide(context(**seen)).scale_in_to == case.to


def test_a_queue_is_never_scaled_to_zero_directly() -> None:
    assert decide(context(ASYNC, load=steady(0), capacity=running(3), registered=Envelope(0, 8))).scale_in_to == 1


def test_a_batch_target_is_never_scaled_in_directly() -> None:
    assert decide(context(BATCH, capacity=running(9))).scale_in_to is None


@pytest.mark.parametrize("stabilization", ["1m", "2m", "3m"])
@pytest.mark.parametrize("seconds", [0, 7, 59])
@pytest.mark.parametrize(("newest", "to"), [(2, 4), (3, 4), (4, 4), (5, 4), (6, None)])  # over 4 minutes to be read
def test_direct_scale_in_with_a_window_shorter_than_minutes_take_to_be_read(
    stabilization: str, seconds: int, newest: int, to: int | None
) -> None:
    now, load = NOW + timedelta(seconds=seconds), minutes([2000] * 15, newest=NOW - timedelta(minutes=newest))
    seen = context(load=load, capacity=running(10), stabilization=stabilization, now=now)
    assert decide(seen).scale_in_to == to


@pytest.mark.parametrize("seconds", [0, 7, 59])
def test_the_floor_follows_the_same_minutes_whichever_second_a_pass_runs_at(seconds: int) -> None:
    """4,000 requests ten minutes ago, 4 instances' worth; each minute since needs the minimum."""
    load = minutes([4000, *[500] * 8], newest=NOW - timedelta(minutes=2))
    assert decide(context(load=load, now=NOW + timedelta(seconds=seconds))).envelope.floor == 4


def test_the_wish_holds_for_an_hour_or_until_its_reason_ends() -> None:
    assert decide(context()).valid_until == NOW + timedelta(minutes=60)
    long_pin = override("pin", 4, minutes_left=300)
    assert decide(context(overrides=[long_pin])).valid_until == NOW + timedelta(minutes=300)
    assert decide(context(BATCH, now=night(2))).valid_until == night(6)


def test_in_a_window_too_the_ceiling_of_an_order_outlives_nobody_for_long() -> None:
    day = {"name": "day", "start": "08:00", "duration": "12h", "lead": "10m", "min_capacity": 1}
    load = minutes([1000] * 13 + [15_000] * 2)
    decision = decide(context(load=load, max_capacity=100, registered=Envelope(2, 100), windows=[day]))
    assert decision.envelope == Envelope(30, 60)
    assert decision.valid_until == NOW + timedelta(minutes=20)


def test_an_order_has_no_ceiling_while_a_floor_was_asked_for() -> None:
    """`deploy-guard` asks for a floor and then pauses: a ceiling would stand for as long, whatever queue grows below it."""
    backlog = minutes([10.0 * n for n in range(1, 11)])
    seen: dict[str, Any] = {"load": backlog, "capacity": running(3), "registered": Envelope(0, 8)}
    assert decide(context(ASYNC, **seen)).envelope.ceiling < ASYNC["max_capacity"]
    held = decide(context(ASYNC, overrides=[override("floor", 3, minutes_left=90)], **seen))
    assert held.envelope == Envelope(3, ASYNC["max_capacity"])


def test_what_is_remembered_as_demand_holds_no_window_and_no_override() -> None:
    seen = context(
        load=steady(3000),
        overrides=[override("floor", 9)],
        windows=[{"name": "w", "start": "08:00", "duration": "2h", "min_capacity": 7}],
    )
    assert decide(seen).demand_floor == 3


def test_a_component_at_one_copy_is_left_to_the_native_policies() -> None:
    """Nothing was asked for in the window: one copy is more than that needs, and only they go to zero."""
    idle: dict[str, Any] = {"load": steady(0), "registered": Envelope(0, 6)}
    assert decide(context(COMPONENT, **idle, capacity=running(3))).scale_in_to == 1
    assert decide(context(COMPONENT, **idle, capacity=running(1))).scale_in_to is None
    assert decide(context(COMPONENT, **ASLEEP)).scale_in_to is None


def test_provisioned_concurrency_is_never_set_directly() -> None:
    for policies in (None, [], [{"type": "target_tracking", "metric": "provisioned_concurrency", "target": 0.6}]):
        seen = context(SERVERLESS, load=steady(0), capacity=running(9), policies=policies)
        assert decide(seen).scale_in_to is None


@pytest.mark.parametrize(
    ("_what", "now", "ours", "theirs", "bounds"),
    [
        ("one alone", night(8, 30), {"min_capacity": 3}, {}, "3..12"),
        ("the highest floor", night(9, 0), {"min_capacity": 3}, {"min_capacity": 5}, "5..12"),
        ("the lowest ceiling", night(9, 0), {"max_capacity": 8}, {"max_capacity": 6}, "2..6"),
        ("a floor wins over the other's ceiling", night(9, 0), {"min_capacity": 7}, {"max_capacity": 4}, "7..7"),
        ("as it does over its own need's", night(9, 0), {"requests_per_minute": 6500}, {"max_capacity": 4}, "7..7"),
        ("a floor holds from the lead on", night(8, 55), {}, {"min_capacity": 6}, "6..12"),
        ("a ceiling from the start on", night(8, 55), {"max_capacity": 8}, {"max_capacity": 6}, "2..8"),
        ("what ends as another begins", night(10, 0), {"min_capacity": 9}, {"min_capacity": 3}, "3..12"),
        (
            "never above the policy's maximum",
            night(9, 0),
            {"requests_per_minute": 30_000},
            {"min_capacity": 5},
            "12..12",
        ),
        (
            "two needs are not added: the higher",
            night(9, 0),
            {"requests_per_minute": 4500},
            {"min_capacity": 4},
            "5..12",
        ),
    ],
)
def test_windows_that_overlap(
    _what: str, now: datetime, ours: dict[str, Any], theirs: dict[str, Any], bounds: str
) -> None:
    """One from 08:00 to 10:00, the other from 09:00 to 11:00, ten minutes before ready; 1,000 a minute each, 2 to 12."""
    spans = ({"name": "a", "start": "08:00"}, {"name": "b", "start": "09:00"})
    told = [
        {
            **span,
            "duration": "2h",
            "lead": "10m",
            **({} if "requests_per_minute" in needs else {"min_capacity": 2}),
            **needs,
        }
        for span, needs in zip(spans, (ours, theirs), strict=True)
    ]
    for windows in (told, told[::-1]):
        assert str(decide(context(REALTIME, now=now, windows=windows, load=steady(0))).envelope) == bounds


@pytest.mark.parametrize(("scale_in", "count"), [("direct", 2), ("native", None)])
def test_after_its_end_instances_go_at_once_or_by_tracking(scale_in: str, count: int | None) -> None:
    window = {"name": "w", "start": "07:00", "duration": "2h", "min_capacity": 7}
    seen: dict[str, Any] = {"windows": [window], "load": steady(500), "capacity": running(7), "scale_in": scale_in}
    inside = decide(context(REALTIME, now=night(8, 59), registered=Envelope(7, 12), **seen))
    after = decide(context(REALTIME, now=night(9), registered=Envelope(7, 12), **seen))
    assert (inside.envelope.floor, inside.scale_in_to) == (7, None)
    assert (after.envelope.floor, after.scale_in_to) == (2, count)


BEGUN = Progress(0, (), night(8, 20))


@pytest.mark.parametrize(
    ("_what", "now", "seen", "hand_over", "load", "floor"),
    [
        ("its load has not come", night(10, 50), Progress(0, ()), "30m", 0, 7),
        ("it came at 08:20, 29 minutes ago", night(8, 49), BEGUN, "30m", 0, 7),
        ("half an hour ago: the window is over", night(8, 50), BEGUN, "30m", 0, 2),
        ("and demand carries on: 4,000 a minute, 1,000 each", night(8, 50), BEGUN, "30m", 4000, 4),
        ("at once", night(8, 20), BEGUN, "0m", 0, 2),
        ("without handing over it lasts", night(10, 59), BEGUN, None, 0, 7),
        ("until its end", night(11, 0), BEGUN, None, 0, 2),
        ("not known: nothing is given back", night(10, 50), Missing("throttled"), "30m", 0, 7),
        ("nor before it is asked", night(10, 50), None, "30m", 0, 7),
        ("what began yesterday says nothing of today", night(7, 55), BEGUN, "30m", 0, 7),
    ],
)
def test_a_window_gives_way_to_demand_once_its_load_has_begun(
    _what: str, now: datetime, seen: Progress | Missing | None, hand_over: str | None, load: int, floor: int
) -> None:
    told = {"name": "w", "start": "08:00", "duration": "3h", "min_capacity": 7}
    told |= {"hand_over": hand_over} if hand_over else {}
    made = context(REALTIME, now=now, windows=[told], load=steady(load), capacity=running(7))
    assert decide(replace(made, progress={"w": seen} if seen else {})).envelope.floor == floor


# Work and a deadline (algorithms 10). An instance serves 1,000 a minute: 240,000 from 08:00 to 10:00 are
# ceil(1.1 x 240,000 / (0.9 x 1,000 x 120)) = ceil(2.44) = 3 instances. The lead of `orders` is
# 10 minutes and its place in the spread, 2. What is known is two minutes old.
WORK = {"name": "w", "start": "08:00", "finish_by": "10:00", "items": 240_000}


def working(
    hour: int, minute: int, done: float | Missing, *, recent: float = 3000, count: int = 3, **more: Any
) -> Context:
    """Return a pass over the work: what is done until two minutes ago, and what came in each of the last ten."""
    now = night(hour, minute)
    newest = now - timedelta(minutes=3)
    seen = done if isinstance(done, Missing) else Progress(done, minutes([recent] * 10, newest=newest).points)
    memory = replace(SETTLED_MEMORY, ready=count, ready_since=now - timedelta(minutes=30))
    made = context(REALTIME, now=now, capacity=running(count), memory=memory, windows=[WORK], load=steady(0), **more)
    return replace(made, progress={"w": seen})


@pytest.mark.parametrize(
    ("_what", "seen", "floor", "finish"),
    [
        ("before the start: all of it", working(7, 55, 0), 3, None),
        ("on time: 120,000 are left for 62 minutes", working(9, 0, 120_000), 3, None),
        # 180,000 / 800 / 62 is 3.6, more than there are: the order takes its lead, so 180,000 / 800 / (62 - 12)
        ("slower than stated", working(9, 0, 60_000, recent=2400), 5, None),
        # 120,000 / 500 / 62 is 3.9, so 120,000 / 500 / 50
        ("a rate below half of what is stated is taken for a half", working(9, 0, 120_000, recent=300), 5, None),
        ("all is done: nothing is needed", working(9, 0, 240_000), 2, None),
        ("more than was stated", working(9, 0, 300_000), 2, None),
        ("not known: nothing is given back", working(9, 0, Missing("throttled"), registered=Envelope(7, 12)), 7, None),
        # 09:28 + 180,000 / 3,000
        ("nothing comes in: more would not help, and it is late", working(9, 30, 60_000, recent=0), 3, "10:28"),
        # 240,000 / 500 / 20 are 24; the 12 that may be do it in 40 minutes, from 09:42 on
        ("too much is left for all there may be", working(9, 30, 0, recent=1), 12, "10:22"),
        # 50,000 / 1,000 / 5, not / 3; ordered now, they serve at 10:11
        ("in the last minutes, what would do it in five", working(9, 59, 190_000), 10, "10:16"),
    ],
)
def test_work_and_a_deadline(_what: str, seen: Context, floor: int, finish: str | None) -> None:
    decision = decide(seen)
    risk = [step.seen["earliest_finish"] for step in decision.steps if step.reason is Reason.DEADLINE_AT_RISK]
    assert (decision.envelope.floor, risk) == (floor, [f"2026-11-18T{finish}Z"] if finish else [])


def test_what_is_refused_puts_the_deadline_at_risk() -> None:
    short = replace(working(8, 10, 0), refusal=refusal(), capacity=running(1, desired=3))
    step = next(step for step in decide(short).steps if step.reason is Reason.DEADLINE_AT_RISK)
    # 08:08 + 240,000 / 1,000
    assert (step.seen["earliest_finish"], step.seen["left"]) == ("2026-11-18T12:08Z", 240_000)


def test_a_late_window_changes_nothing_but_what_is_said() -> None:
    decision = decide(working(9, 59, 190_000))
    assert next(s for s in decision.steps if s.rule == "deadline").moved is False
    assert decision.reason is Reason.WINDOW_OPEN
