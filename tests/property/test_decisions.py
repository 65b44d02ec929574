"""Properties that hold for whatever a pass may see."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.context import CONTEXTS, DECISIONS, Context
from core.decide import decide
from core.model import (
    Memory,
    Missing,
    Observation,
    Override,
    OverrideAction,
    Reason,
    Scope,
    Starts,
)
from core.native import native_policies
from core.overrides import in_force
from core.policy import LEAST_RATE
from tests.builders import (
    ASYNC,
    COMPONENT,
    NOW,
    REALTIME,
    SERVERLESS,
    context,
    minutes,
    override,
    running,
    steady,
)
from tests.strategies import changing, contexts, documents, loads, memories, moments, overrides, series


@given(contexts())
def test_an_alarm_never_lowers_and_one_that_does_not_ring_changes_nothing(seen: Context) -> None:
    quiet = decide(replace(seen, alarms={}))
    heard = decide(seen)
    assert heard.envelope.floor >= quiet.envelope.floor
    assert heard.envelope.ceiling >= quiet.envelope.ceiling
    assert heard.scale_in_to is None or heard.scale_in_to == quiet.scale_in_to
    if "ALARM" not in seen.alarms.values():
        assert heard.steps == quiet.steps


@given(contexts())
def test_a_target_rises_only_in_calm_and_stays_within_half_and_all(seen: Context) -> None:
    factor, before = decide(seen).target_factor, seen.memory.target_factor
    assert 0.5 <= factor <= 1
    if factor > before:
        assert (seen.alarms.get("latency"), seen.alarms.get("slow"), len(seen.unknown)) == ("OK", "OK", 0)
        assert factor <= before * 1.05 + 1e-4
    if factor < before:
        assert seen.alarms["latency"] == "ALARM"


@given(contexts())
def test_nothing_escapes_the_policy_and_the_fleet(seen: Context) -> None:
    envelope = decide(seen).envelope
    assert envelope.ceiling <= min(seen.profile.max_capacity, seen.enrolment.fleet_max)
    assert envelope.floor >= min(seen.profile.serving.lowest, seen.enrolment.fleet_max)


@given(contexts())
def test_every_decision_explains_itself(seen: Context) -> None:
    decision = decide(seen)
    assert decision.steps[0].rule == "demand"
    assert decision.steps[-1].after == decision.envelope
    ordering = any(step.reason is Reason.ORDER_NOT_SHOWN for step in decision.steps)  # its ceiling must not outlive us
    assert decision.valid_until >= seen.now + timedelta(minutes=20 if ordering else 60)


@given(documents, st.lists(loads, min_size=1, max_size=15), st.floats(0, 1e5))
def test_more_load_never_means_less_capacity(document: dict[str, Any], values: list[float], more: float) -> None:
    less = decide(context(document, load=minutes(values))).envelope
    assert decide(context(document, load=minutes([v + more for v in values]))).envelope.floor >= less.floor


@given(contexts())
def test_a_direct_scale_in_only_lowers_and_stays_inside(seen: Context) -> None:
    decision = decide(seen)
    if decision.scale_in_to is not None:
        assert not isinstance(seen.capacity, Missing)
        assert decision.scale_in_to < seen.capacity.desired
        assert decision.envelope.holds(decision.scale_in_to)
        assert not seen.unknown


@given(contexts(), st.randoms())
def test_the_order_of_overrides_and_signals_is_irrelevant(seen: Context, chance: Any) -> None:
    shuffled: list[Override] = list(seen.overrides)
    chance.shuffle(shuffled)
    assert decide(replace(seen, overrides=tuple(shuffled))).envelope == decide(seen).envelope


@given(overrides, moments)
def test_the_override_that_decides_stands_and_none_that_stands_comes_before_it(
    wishes: list[Override], minute: int
) -> None:
    """The definition, said another way than the code does."""
    seen = context(overrides=wishes, now=NOW + timedelta(minutes=minute))
    ended = {
        o
        for o in seen.overrides
        for r in seen.overrides
        if r.action is OverrideAction.RESUME
        and r.place == o.place
        and r.created_at >= o.created_at
        and r.expires_at >= o.expires_at  # it is known for as long as what it saw
    }
    stand = [o for o in seen.overrides if o not in ended and seen.now < o.expires_at]
    said = [step.seen["id"] for step in decide(seen).steps if step.rule == "override"]
    assert bool(said) == bool(stand)
    for each in stand:
        (winner,) = (o for o in stand if o.override_id == said[0])
        narrower = list(Scope).index(winner.scope) - list(Scope).index(each.scope)
        assert narrower < 0 or (narrower == 0 and winner.created_at >= each.created_at)


@given(st.one_of(contexts(), changing()))
def test_the_override_that_decides_has_its_way_within_the_policy(seen: Context) -> None:
    """Whatever runs, was ordered or rings: a pin is both bounds, nothing is above a ceiling or below a floor."""
    chosen = next(iter(in_force(seen.overrides, seen.now)), None)
    if chosen is None or chosen.capacity is None:
        return
    highest = min(seen.profile.max_capacity, seen.enrolment.fleet_max)
    asked = min(max(chosen.capacity, min(seen.profile.serving.lowest, highest)), highest)
    envelope = decide(seen).envelope
    assert envelope.floor >= asked or chosen.action is OverrideAction.CEILING
    assert envelope.ceiling <= asked or chosen.action is OverrideAction.FLOOR


@given(contexts())
def test_once_all_overrides_have_expired_the_signals_decide_alone(seen: Context) -> None:
    later = replace(seen, now=seen.now + timedelta(minutes=2000))
    assert all(o.expires_at <= later.now for o in later.overrides)
    alone = decide(replace(later, overrides=()))
    assert (decide(later).envelope, decide(later).steps) == (alone.envelope, alone.steps)


@given(contexts(), st.sampled_from(Scope))
def test_what_was_ended_is_as_if_it_had_never_been(seen: Context, scope: Scope) -> None:
    resume = override("resume", scope=scope, age=0, minutes_left=120)  # as long as the longest that it sees
    others = tuple(o for o in seen.overrides if o.scope is not scope)
    ended = decide(replace(seen, overrides=(*seen.overrides, resume)))
    never = decide(replace(seen, overrides=others))
    assert (ended.envelope, ended.steps, ended.paused) == (never.envelope, never.steps, never.paused)


@given(st.sampled_from([REALTIME, ASYNC, COMPONENT, SERVERLESS]), st.integers(0, 12), st.integers(0, 59))
def test_stale_metrics_never_lower_a_remembered_floor(document: dict[str, Any], floor: int, age: int) -> None:
    memory = Memory(
        first_seen_at=NOW - timedelta(days=1), demand_floor=floor, demand_at=NOW - timedelta(minutes=age), enrolled=True
    )
    seen = context(document, load=Missing("stale"), memory=memory)
    assert decide(seen).envelope.floor >= min(floor, seen.profile.max_capacity)


@given(contexts())
def test_a_lost_state_lowers_nothing_registered(seen: Context) -> None:
    ceilings = seen.overrides or any(window.max_capacity is not None for window in seen.profile.windows)
    if seen.registered is None or ceilings:  # what somebody states now is no question of memory
        return
    lost = replace(seen, memory=Memory())
    limit = min(seen.profile.max_capacity, seen.enrolment.fleet_max)
    assert decide(lost).envelope.floor >= min(seen.registered.floor, limit)
    assert decide(lost).envelope.ceiling >= min(seen.registered.ceiling, limit)


@given(st.floats(0, 12_000))
def test_deciding_again_from_the_decided_bounds_changes_nothing(load: float) -> None:
    first = decide(context(load=steady(load)))
    again = decide(context(load=steady(load), registered=first.envelope))
    assert again.envelope == first.envelope


@given(contexts())
def test_a_decision_survives_log_and_replay(seen: Context) -> None:
    again = decide(CONTEXTS.validate_json(CONTEXTS.dump_json(seen)))
    assert (again.envelope, again.steps, again.scale_in_to) == (
        decide(seen).envelope,
        decide(seen).steps,
        decide(seen).scale_in_to,
    )


@given(st.sampled_from([REALTIME, ASYNC, COMPONENT, SERVERLESS]), series)
def test_the_newest_minute_is_always_served(document: dict[str, Any], load: Observation) -> None:
    seen = context(document, load=load)
    each = seen.profile.objectives.requests_per_instance or 60  # a queue's instance works off 60 items in time
    served = decide(seen).envelope.floor * each
    assert served >= min(load.newest.value, seen.policy_envelope.ceiling * each) - 1e-3


@given(series, st.booleans())
def test_what_was_refused_for_want_of_a_copy_wakes_and_is_served(refused: Observation, known: bool) -> None:
    objectives = {"requests_per_instance": 30} if known else {}
    seen = context(
        COMPONENT, objectives=objectives, load=Missing("no data points"), refused=refused, capacity=running(0)
    )
    floor = decide(seen).envelope.floor
    asked = refused.newest.value > 0
    assert floor >= asked
    if known:
        assert floor * 30 >= min(refused.newest.value, seen.policy_envelope.ceiling * 30) - 1e-3


EXTREMES = st.one_of(
    st.builds(lambda rate: (REALTIME, {"requests_per_instance": rate}), st.sampled_from([LEAST_RATE, 1e9])),
    st.builds(
        lambda rate, slots, promise: (ASYNC, {"items_per_minute": rate, "concurrency": slots, **promise}),
        st.sampled_from([0.001, 1e9]),
        st.sampled_from([1, 1000]),
        st.sampled_from(
            [
                {"drain_within": "1s"},
                {"drain_within": "14d", "expires_after": "14d"},
                {"oldest_age_at_most": "1s"},
                {"items_per_instance": 0.001},
            ]
        ),
    ),
)


STATED = st.sampled_from([{}, {"provisioning": "1s"}, {"provisioning": "24h"}])


@settings(max_examples=30)
@given(EXTREMES, STATED, series, memories, st.sampled_from([1, 30 * 60]))
def test_whatever_a_policy_file_may_say_can_be_reckoned_with_and_written_down(
    said: tuple[dict[str, Any], dict[str, Any]], start: dict[str, Any], load: Observation, memory: Memory, took: int
) -> None:
    document, objectives = said
    memory = replace(memory, starts=Starts((timedelta(minutes=took),) * 5, (timedelta(minutes=took),) * 5))
    seen = context(document, objectives=objectives, **start, load=load, memory=memory)
    seen = replace(seen, enrolment=replace(seen.enrolment, profile=seen.profile.started(memory.starts)))
    assert native_policies(seen.enrolment, "prod")
    again = DECISIONS.validate_json(DECISIONS.dump_json(decide(seen)))
    assert decide(again.context).envelope == again.envelope
