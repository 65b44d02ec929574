"""What hypothesis may make up: loads, overrides, windows, and anything else a pass may see."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import strategies as st

from core.context import Context
from core.model import Envelope, Memory, Missing, Progress, Scope
from tests.builders import (
    ASYNC,
    BATCH,
    COMPONENT,
    NOW,
    REALTIME,
    SERVERLESS,
    context,
    minutes,
    override,
    running,
)

documents = st.sampled_from([REALTIME, ASYNC, BATCH, COMPONENT, SERVERLESS])
loads = st.floats(0, 1e6, allow_nan=False)
series = st.lists(loads, min_size=1, max_size=15).map(minutes)
observed = st.one_of(series, st.just(Missing("no data")))
when: dict[str, Any] = {"scope": st.sampled_from(Scope), "age": st.integers(0, 99)}
lives = st.integers(-30, 120)
bounding = st.sampled_from(["pin", "floor", "ceiling"])
overrides = st.lists(
    st.one_of(
        st.builds(override, bounding, st.integers(0, 60), **when, minutes_left=lives),
        st.builds(override, st.sampled_from(["pause", "resume"]), **when, minutes_left=lives),
    ),
    max_size=6,
    unique_by=lambda o: o.override_id,
)
envelopes = st.tuples(st.integers(0, 20), st.integers(0, 20)).map(lambda pair: Envelope(min(pair), max(pair)))
memories = st.builds(
    Memory,
    enrolled=st.just(True),
    first_seen_at=st.sampled_from([None, NOW - timedelta(minutes=3), NOW - timedelta(days=1)]),
    demand_floor=st.one_of(st.none(), st.integers(0, 12)),
    demand_at=st.sampled_from([None, NOW - timedelta(minutes=5), NOW - timedelta(hours=2)]),
    ready=st.integers(0, 20),
    ready_since=st.sampled_from([None, NOW - timedelta(minutes=3), NOW - timedelta(days=1)]),
    target_factor=st.floats(0.5, 1),
    target_changed_at=st.sampled_from([None, NOW - timedelta(minutes=3), NOW - timedelta(days=3)]),
)
alarm_names = st.sampled_from(["saturation", "slow", "congested", "errors", "latency"])
alarm_states = st.dictionaries(alarm_names, st.sampled_from(["OK", "ALARM", "INSUFFICIENT_DATA"]))
counts = st.integers(0, 20)
ordered = st.builds(lambda current, desired: running(current, desired=desired), counts, counts)
capacities = st.one_of(st.builds(running, counts), ordered, st.just(Missing("gone")))
moments = st.one_of(st.integers(0, 90), st.integers(0, 1440))  # while overrides stand, and any hour of the day


ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]
rates = st.floats(1, 1e5, allow_nan=False)
clocks = st.integers(0, 1439).map(lambda minute: f"{minute // 60:02}:{minute % 60:02}")
spans = st.integers(1, 1440).map(lambda minute: f"{minute}m")
nearby = st.integers(-2, 2).map(lambda days: f"{NOW + timedelta(days=days):%Y-%m-%d}")
calendars = st.one_of(
    st.just({}),
    st.sets(st.sampled_from(["mon", "tue", "wed", "thu", "fri"]), min_size=1).map(lambda days: {"days": sorted(days)}),
    st.sets(nearby, min_size=1).map(lambda dates: {"dates": sorted(dates)}),
    nearby.map(lambda date: {"except": [date]}),
    nearby.map(lambda date: {"from": date}),
    nearby.map(lambda date: {"to": date}),
    st.just({"from": "2026-11-16", "rrule": "FREQ=DAILY;INTERVAL=2"}),
)


work = st.one_of(
    st.just(Missing("no data")),
    st.builds(
        Progress,
        loads,
        st.lists(loads, max_size=15).map(lambda seen: minutes(seen).points if seen else ()),
        st.one_of(st.none(), st.integers(0, 300).map(lambda ago: NOW - timedelta(minutes=ago))),
    ),
)


@st.composite
def windows(draw: st.DrawFn, document: dict[str, Any]) -> dict[str, Any]:
    """Return a window that a profile may have, without a name."""
    measured = bool(document.get("objectives"))
    need = draw(st.sampled_from(["min_capacity", *(["requests_per_minute", "items"] if measured else [])]))
    lowest = 0 if document is ASYNC or document is COMPONENT else 1
    told: dict[str, Any] = {
        "start": draw(clocks),
        "timezone": draw(st.sampled_from(ZONES)),
        "lead": draw(st.one_of(st.just("auto"), st.integers(0, 120).map(lambda minute: f"{minute}m"))),
        **draw(calendars),
    }
    if need == "items":
        told |= {"items": draw(st.integers(1, 10**6)), "finish_by": draw(clocks)}
    else:
        asked = draw(st.integers(0, int(document["max_capacity"]))) if need == "min_capacity" else draw(rates)
        told |= {need: asked, **draw(st.one_of(st.builds(dict, duration=spans), st.builds(dict, until=clocks)))}
        told |= draw(st.sampled_from([{}, {}, {"hand_over": "0m"}, {"hand_over": "40m"}])) if measured else {}
    if draw(st.booleans()):
        told["max_capacity"] = draw(st.integers(max(lowest, int(told.get("min_capacity", 0))), 30))
    return told


@st.composite
def contexts(draw: st.DrawFn) -> Context:
    """Return anything a pass may see."""
    document = draw(documents)
    needed = 1 if document is BATCH else 0
    told = draw(st.lists(windows(document), min_size=needed, max_size=3))
    found = context(
        {**document, "windows": [{"name": f"w{place}", **each} for place, each in enumerate(told)]},
        load=draw(observed),
        refused=draw(observed),
        capacity=draw(capacities),
        registered=draw(st.one_of(st.none(), envelopes)),
        memory=draw(memories),
        overrides=draw(overrides),
        scaling_out=draw(st.sampled_from([True, False, None])),
        now=NOW + timedelta(minutes=draw(moments)),
        fleet_max=draw(st.integers(1, 30)),
        alarms=draw(alarm_states),
    )
    return replace(found, progress={w.name: draw(work) for w in found.profile.windows if draw(st.booleans())})


@st.composite
def changing(draw: st.DrawFn) -> Context:
    """Return what a pass sees while instances are ordered, and somebody holds the bounds."""
    return context(
        draw(st.sampled_from([REALTIME, COMPONENT, SERVERLESS])),
        load=draw(series),
        capacity=draw(ordered),
        registered=draw(envelopes),
        overrides=[draw(st.builds(override, bounding, st.integers(0, 20)))],
        scaling_out=draw(st.sampled_from([True, None])),
    )
