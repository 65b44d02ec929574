"""Properties of windows, whatever calendars, zones, needs and leads they have, and of overrides on top of them."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from core.context import Context
from core.decide import decide
from core.model import Reason
from core.overrides import in_force
from core.policy_windows import Window
from core.signals.window import lead, needs, openings
from tests.builders import BATCH
from tests.strategies import contexts, windows

MOMENT = timedelta(microseconds=1)
LONGEST = timedelta(days=4)
"""From before any window that is near now pre-warms until all of those are over: leads and spans are at most a day."""


def with_windows(seen: Context, kept: Sequence[Window]) -> Context:
    profile = seen.profile.model_copy(update={"windows": tuple(kept)})
    return replace(seen, enrolment=replace(seen.enrolment, profile=profile))


def now_open(seen: Context) -> list[Window]:
    return [opening.window for opening in openings(seen.profile.windows, seen.now, lead(seen))]


def highest(seen: Context) -> int:
    return min(seen.profile.max_capacity, seen.enrolment.fleet_max)


@given(contexts())
def test_what_is_not_open_is_as_if_it_were_not_there(seen: Context) -> None:
    alone = decide(with_windows(seen, now_open(seen)))
    decision = decide(seen)
    assert (decision.envelope, decision.steps, decision.valid_until) == (alone.envelope, alone.steps, alone.valid_until)


@given(contexts())
def test_a_window_leaves_nothing_behind(seen: Context) -> None:
    """Days later, every date of these windows and every override is over."""
    dated = [window for window in seen.profile.windows if window.dates is not None]
    later = replace(with_windows(seen, dated), now=seen.now + 2 * LONGEST)
    never = replace(with_windows(later, ()), overrides=())
    assert (decide(later).envelope, decide(later).steps) == (decide(never).envelope, decide(never).steps)


@given(contexts(), st.randoms())
def test_the_order_of_windows_and_overrides_is_irrelevant(seen: Context, chance: Any) -> None:
    shuffled, wishes = [*seen.profile.windows], [*seen.overrides]
    chance.shuffle(shuffled)
    chance.shuffle(wishes)
    again = decide(replace(with_windows(seen, shuffled), overrides=tuple(wishes)))
    assert (again.envelope, again.steps) == (decide(seen).envelope, decide(seen).steps)


@given(contexts())
def test_every_open_window_has_what_it_needs_within_the_policy(seen: Context) -> None:
    seen = replace(seen, overrides=())
    envelope = decide(seen).envelope
    for need in needs(seen):
        assert envelope.floor >= min(need.floor, highest(seen)) or need.left == 0


@given(contexts())
def test_windows_ask_for_more_only_and_a_ceiling_gives_way_to_need(seen: Context) -> None:
    seen = replace(seen, overrides=())
    decision, without = decide(seen), decide(with_windows(seen, ()))
    closed = any(w.max_capacity == 0 for w in now_open(seen))
    assert decision.envelope.floor >= without.envelope.floor or closed
    if any(step.rule == "windows" for step in decision.steps):
        begun = [n.opening.window for n in needs(seen) if n.opening.start <= seen.now and n.left != 0]
        ceilings = [w.max_capacity for w in begun if w.max_capacity is not None]
        lowest = min(seen.profile.serving.lowest, highest(seen))
        for ceiling in ceilings:
            assert decision.envelope.ceiling <= max(ceiling, decision.envelope.floor, lowest)


@given(contexts())
def test_an_override_on_top_of_windows_has_its_way_and_ends_in_what_they_want(seen: Context) -> None:
    chosen = next(iter(in_force(seen.overrides, seen.now)), None)
    under = decide(replace(seen, overrides=()))
    if chosen is not None and chosen.action == "floor":
        asked = min(max(chosen.capacity or 0, under.envelope.floor), highest(seen))
        assert decide(seen).envelope.floor == asked
    ended = decide(replace(seen, overrides=tuple(replace(o, expires_at=seen.now) for o in seen.overrides)))
    assert (ended.envelope, ended.steps) == (under.envelope, under.steps)


@given(contexts())
def test_bounds_stand_at_least_until_the_windows_that_asked_for_them_close(seen: Context) -> None:
    decision = decide(seen)
    ordering = any(step.reason is Reason.ORDER_NOT_SHOWN for step in decision.steps)  # its ceiling must not outlive us
    for step in decision.steps:
        if step.rule == "windows" and not ordering:
            assert decision.valid_until >= max(need.opening.closes for need in needs(seen) if need.left != 0)


DATES = st.dates(date(2026, 1, 1), date(2027, 12, 31))


@given(windows({**BATCH, "objectives": {"requests_per_instance": 600}}), DATES)
def test_an_occurrence_is_open_from_its_lead_to_its_end_and_at_no_other_moment(told: dict[str, Any], day: date) -> None:
    """In every zone, on any date of two years; clocks change in between."""
    for name in ("days", "dates", "except", "from", "to", "rrule"):
        told.pop(name, None)
    window = Window.model_validate({"name": "w", **told, "dates": [f"{day}"]})
    start, end = window.times(day)
    assert timedelta(0) < end - start <= timedelta(hours=25)
    if window.duration is not None:
        assert end - start == window.duration

    def is_open(moment: datetime) -> bool:
        return bool(openings([window], moment))

    (only,) = openings([window], start)
    assert (only.start, only.end) == (start, end)
    assert is_open(only.prewarm)
    assert is_open(only.closes - MOMENT)
    assert not is_open(only.prewarm - MOMENT)
    assert not is_open(only.closes)
    local = start.astimezone(window.zone)
    assert (local.date(), f"{local:%H:%M}") >= (day, window.start)  # later only where that time is skipped
