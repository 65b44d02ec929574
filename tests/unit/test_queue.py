"""The cohort rule (algorithms 9): what it orders, when, and what it makes of metrics that cannot be trusted."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.context import Context
from core.decide import decide
from core.model import Capacity, Envelope, Memory, Missing, Observation, Override, Reason, Refusal, Signal
from core.ports import MetricQuery
from core.signals import queries
from core.signals.queue import Crew, Line, asleep, learned, missing, recommend, remember, wanted
from tests.builders import (
    ASYNC,
    COMPONENT,
    NOW,
    REALTIME,
    SETTLED_MEMORY,
    context,
    enrolment,
    minutes,
    override,
    running,
    steady,
)

WITHIN = 12.75  # 0.85 of 15 minutes


def line(*items: tuple[float, float], arrivals: float = 0.0, seen: float = 1.0) -> Line:
    return Line(items=items, arrivals=arrivals, seen=seen)


def crew(count: int, *, ready: int | None = None, arrive_in: float = 0.0) -> Crew:
    """4 items a minute and instance; 6 minutes to start, 8 from zero, and one to act."""
    lead = 7.0 if count else 9.0
    return Crew(rate=4, ready=count if ready is None else ready, ordered=count, arrive_in=arrive_in, lead=lead)


@pytest.mark.parametrize(
    ("queue", "who", "extra", "due"),
    [
        # one item from zero: 12.75 - 1 - 9 = 2.75 minutes to spare, and 0.25 of work
        (line((1, 1)), crew(0), 0.25 / 2.75, False),
        # two minutes later there is no time to lose: 0.75 <= 0.25 + 1; no less than 0.3 x 9 = 2.7 is divided by
        (line((3, 1)), crew(0), 0.25 / 2.7, True),
        # 40 items are 10 minutes of work: due at once, in 2.75 minutes
        (line((1, 40)), crew(0), 10 / 2.75, True),
        # one instance serves 4 x (1 + 11.75) = 51 of them: nothing is missing
        (line((1, 40)), crew(1), 0.0, False),
        # 51 + 4 x 5 are 5 minutes short, with 12.75 - 1 - 7 = 4.75 minutes after a start
        (line((1, 71)), crew(1), 5 / 4.75, True),
        # one that is on its way for 4 minutes more serves 4 x (11.75 - 4) = 31 of 40
        (line((1, 40)), crew(1, ready=0, arrive_in=4), (40 - 31) / 4 / 4.75, False),
        # an old item that cannot be saved asks for what the shortest time allows, not for everything
        (line((20, 8)), crew(0), 2 / 2.7, True),
    ],
)
def test_what_is_missing_and_whether_it_is_due(queue: Line, who: Crew, extra: float, due: bool) -> None:
    found = missing(queue, who, WITHIN)
    # Without arrivals the unseen minutes add nothing, and the tight look ahead neither.
    assert found[0] == pytest.approx(extra)
    assert found[1] is due


def test_each_item_is_judged_by_its_own_age() -> None:
    """Of 20 items 10 waited for 3 minutes: they alone need 2.5 / 2.7, both together 5 / 2.75: the larger counts."""
    extra, due = missing(line((3, 10), (1, 10)), crew(0), WITHIN)
    assert extra == pytest.approx(5 / 2.75)
    assert due


def test_a_tight_objective_looks_ahead_to_the_next_order() -> None:
    """2 x 9 + 1 - 12.75 = 6.25: what arrives in the next 7 minutes waits for this order too."""
    alone, _ = missing(line((1, 4), arrivals=0), crew(0), WITHIN)
    busy, _ = missing(line((1, 4), arrivals=4), crew(0), WITHIN)
    # the last of them arrives in 7 minutes: 4 + 8 x 4 items, 12.75 + 7 - 9 = 10.75 minutes; the second has 3.75
    assert alone == pytest.approx(1 / 2.75)
    assert busy == pytest.approx(9 / 10.75)


@pytest.mark.parametrize(
    ("queue", "who", "orders"),
    [
        (line((1, 1)), crew(0), 0),  # a start is put off until one instance can just make it
        (line((3, 1)), crew(0), 1),
        (line((1, 40)), crew(0), 4),  # ceil(3.6): what the backlog needs, not 1
        (line((1, 40)), crew(1), 1),
        (line((1, 71)), crew(1), 3),  # 1 + ceil(1.05)
        # steady: floor(min(0.9 x 44, 280 / 7) / 4) = 9, before any deadline asks
        (line((1, 280), arrivals=44), crew(8), 9),
    ],
)
def test_orders(queue: Line, who: Crew, orders: int) -> None:
    assert wanted(queue, who, WITHIN) == orders


SLOW = Crew(rate=0.1, ready=1, ordered=1, lead=7.0)
"""An item takes an instance ten minutes, longer than there is left."""


@pytest.mark.parametrize(
    ("queue", "who", "orders"),
    [
        (line((200, 1)), SLOW, 1),  # it hangs: that four more could do it in two minutes helps nobody
        (line((12, 3)), replace(SLOW, ready=0, ordered=0, lead=9.0), 3),
        (line((12, 3)), SLOW, 3),
        (line((12, 3), arrivals=0.3), SLOW, 4),  # one more comes until the next order could be in time
        (line((1, 0.4), seen=8), replace(SLOW, ready=0, ordered=0, lead=9.0), 1),  # a mean: it came within the minute
        (
            line((1, 3), arrivals=3),
            replace(SLOW, rate=0.01),
            15,
        ),  # 3 and 12 that come; 2.7 a minute would keep 270 busy
    ],
)
def test_no_more_are_ordered_than_there_are_items(queue: Line, who: Crew, orders: int) -> None:
    assert wanted(queue, who, WITHIN) == orders


def test_no_more_are_kept_than_there_are_items() -> None:
    """An instance finishes 1.02 of an item in the objective: 6 times 0.68 would keep 9."""
    slow = {"objectives": {"items_per_minute": 0.1, "drain_within": "15m"}}
    ctx = context({**ASYNC, **slow}, load=minutes([6] * 20), capacity=running(8), registered=Envelope(0, 8))
    assert {(each.floor, each.settled) for each in recommend(ctx)} == {(6, 6)}


queues = st.lists(st.tuples(st.integers(1, 30), st.integers(1, 500)), min_size=1, max_size=15, unique_by=lambda i: i[0])


@given(queues, st.integers(0, 20), st.floats(0, 100), st.integers(1, 300))
def test_more_items_never_want_fewer_instances(
    items: list[tuple[int, int]], count: int, arrivals: float, more: int
) -> None:
    before = sorted(items, reverse=True)
    after = [(age, n + more * (i == 0)) for i, (age, n) in enumerate(before)]
    few, many = (line(*found, arrivals=arrivals, seen=min(found)[0]) for found in (before, after))
    assert wanted(few, crew(count), WITHIN) <= wanted(many, crew(count), WITHIN)


@given(queues, st.integers(0, 20), st.floats(0, 100))
def test_what_is_ordered_is_never_taken_back_by_an_order(
    items: list[tuple[int, int]], count: int, arrivals: float
) -> None:
    assert wanted(line(*sorted(items, reverse=True), arrivals=arrivals), crew(count), WITHIN) >= count


# --- what a pass sees ---------------------------------------------------------------------------------------------


def seen(backlog: Sequence[float] | Observation | Missing, count: int = 0, **sides: Any) -> Context:
    """A queue minute by minute, the newest two minutes ago, and instances that have run for an hour."""
    load = backlog if isinstance(backlog, Observation | Missing) else minutes([*[0] * (20 - len(backlog)), *backlog])
    return context(ASYNC, **{"load": load, "capacity": running(count), "registered": Envelope(0, 8), **sides})


def newest(ctx: Context) -> dict[str, float]:
    return dict(recommend(ctx)[-1].seen)


def test_arrivals_are_what_the_backlog_grew_by_and_what_was_processed() -> None:
    """10 + 6 and 2 + 8: 12 wait, the 10 of the last minute and 2 of the one before, so the oldest waited 2 minutes."""
    ctx = seen([10, 12], 2, processed=minutes([0] * 18 + [6, 8]))
    assert newest(ctx)["oldest_minutes"] == 2
    # weighted by exp(-minutes ago / 10): (10 + 16 x 0.9048) / 8.65
    assert newest(ctx)["arrivals_per_minute"] == pytest.approx((10 + 16 * 0.90484) / 9.0861, abs=2e-3)


def test_a_queue_that_was_there_before_us_is_as_old_as_its_oldest_item_is_said_to_be() -> None:
    ctx = seen(steady(40), 1, oldest=minutes([1800]))
    assert newest(ctx)["oldest_minutes"] == 31  # 1800 s, a minute ago
    assert decide(ctx).desired > 1


@pytest.mark.parametrize(
    ("backlog", "count", "desired", "why"),
    [
        ([0, 0], 0, 0, "nothing waits, nothing runs"),
        ([1], 0, 0, "one item, just arrived: put off"),
        ([1, 1, 1], 0, 1, "3 minutes old: 12.75 - 3 - 9 <= 0.25 + 1"),
        ([40], 0, 4, "10 minutes of work in 2.75"),
        ([1] * 9, 3, 1, "one is kept while there is work"),
        ([50] * 9, 3, 2, "50 / (0.8 x 12.75 x 4) = 1.2"),
    ],
)
def test_demand(backlog: Sequence[float], count: int, desired: int, why: str) -> None:
    assert decide(seen(backlog, count)).desired == desired, why


def test_as_in_awss_guide() -> None:
    """5 items an instance, at once: ceil(21 / 5)."""
    objectives = {"items_per_minute": 4, "items_per_instance": 5}
    assert decide(seen([21], 0, objectives=objectives)).desired == 5


def test_an_age_is_promised_until_work_begins() -> None:
    """20 minutes of waiting and 8 / 4 of its own: 0.85 x 22 - 9 - 0.25 - 1 leaves one item 9 minutes."""
    objectives = {"items_per_minute": 4, "oldest_age_at_most": "20m", "concurrency": 8}
    assert decide(seen([1] * 8, 0, objectives=objectives)).desired == 0
    assert decide(seen([1] * 9, 0, objectives=objectives)).desired == 1


# --- scale-in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("backlog", "concurrency", "to"),
    [
        ([0] * 20, 1, 1),  # zero is left to the idle policy, which knows that nothing is in flight
        ([6] * 20, 1, 6),  # each may be at work on another instance
        ([6] * 20, 8, 1),  # one instance can have them all
        ([80] * 20, 1, None),  # all are busy
    ],
)
def test_nothing_that_may_be_at_work_is_scaled_in(backlog: Sequence[float], concurrency: int, to: int | None) -> None:
    objectives = {"items_per_minute": 4, "drain_within": "60m", "concurrency": concurrency}
    assert decide(seen(backlog, 8, load=minutes([*backlog] * 4), objectives=objectives)).scale_in_to == to


def test_only_we_add_to_what_is_ordered_until_metrics_show_it() -> None:
    """Tracking would multiply the backlog per instance of before by the instances of now."""
    fresh = replace(SETTLED_MEMORY, ready=3, ready_since=NOW - timedelta(minutes=3))
    rings = {"registered": Envelope(3, 3), "scaling_out": True}
    assert decide(seen([50] * 9, 3, memory=fresh, **rings)).envelope == Envelope(2, 3)
    shown = replace(fresh, ready_since=NOW - timedelta(minutes=4))
    assert decide(seen([50] * 9, 3, memory=shown, **rings)).envelope == Envelope(2, 8)
    assert decide(seen([200] * 3, 3)).envelope == Envelope(8, 8)  # and demand goes beyond it


@pytest.mark.parametrize(
    ("backlog", "sides", "ceiling"),
    [
        (100, {}, 3),  # above 3 x 30, half of what 3 drain within 15 minutes, and they drain it in 8.3
        (90, {}, 8),  # tracking rests
        (100, {"policies": [{"type": "target_tracking", "metric": "backlog_per_instance", "target": 30}]}, 8),
        (100, {"capacity": running(0, desired=3)}, 8),  # nothing serves yet, so nothing is tracked
    ],
)
def test_what_tracking_would_order_too_early_is_kept_out(backlog: float, sides: dict[str, Any], ceiling: int) -> None:
    decision = decide(seen([backlog * grown / 10 for grown in range(1, 11)], 3, **sides))
    assert decision.envelope.ceiling == ceiling
    assert decision.valid_until == NOW + timedelta(minutes=20 if ceiling < 8 else 60)  # or AAS would be held for long


# --- expiry -------------------------------------------------------------------------------------------------------


def test_items_that_would_expire_force_a_scale_out_and_are_reported() -> None:
    """At most 8 instances finish 4 x 8 x 60 = 1,920 an hour, less what they cannot do before they are there."""
    objectives = {"items_per_minute": 4, "items_per_instance": 100, "expires_after": "1h"}
    calm, late = (seen([n], 2, objectives=objectives) for n in (400, 600))
    assert (decide(calm).desired, recommend(calm)[-1].reason) == (4, Reason.BACKLOG)
    # 600 / 100 = 6 from the 8th minute on and 2 until then finish 4 x (2 x 60 + 4 x 52) = 1,312: enough
    assert (decide(late).desired, recommend(late)[-1].reason) == (6, Reason.BACKLOG)
    lost = seen([3000], 2, objectives=objectives)
    assert recommend(lost)[-1].reason is Reason.REQUESTS_EXPIRING
    assert decide(lost).envelope == Envelope(8, 8)


@pytest.mark.parametrize(
    ("items", "wishes", "told", "why"),
    [
        (300, [], False, "5 are ordered: 4 x (2 + 52) x 5"),
        (300, [override("ceiling", 1, minutes_left=180)], True, "one finishes 4 x 60 = 240 before they expire"),
        (300, [override("pin", 1, minutes_left=180)], True, "likewise"),
        (300, [override("ceiling", 1, minutes_left=20)], False, "what is ordered then serves for half an hour"),
        (300, [override("ceiling", 2, minutes_left=180)], False, "two finish them"),
        (200, [override("ceiling", 1, minutes_left=180)], False, "so does one"),
        (300, [override("floor", 1, minutes_left=180)], False, "that holds nothing back"),
        (300, [override("ceiling", 1, scope="fleet"), override("floor", 1)], False, "another comes first"),
        (9, [override("ceiling", 1, minutes_left=180)], False, "and no order is due yet"),
    ],
)
def test_items_that_expire_under_an_override_are_reported_while_it_can_be_ended(
    items: int, wishes: list[Override], told: bool, why: str
) -> None:
    objectives = {"items_per_minute": 4, "drain_within": "30m", "expires_after": "1h"}
    ctx = seen([items], 1, objectives=objectives, overrides=wishes)
    assert (recommend(ctx)[-1].reason is Reason.REQUESTS_EXPIRING) is told, why
    bounds = Envelope(1, 1) if wishes and told else decide(ctx).envelope  # it is said, and held all the same
    assert decide(ctx).envelope == bounds


NIGHT = {"name": "night", "start": "08:30", "min_capacity": 0, "max_capacity": 0}  # it is 9:00 now


@pytest.mark.parametrize(
    ("items", "hours", "sides", "told", "why"),
    [
        (1, "3h", {}, True, "it expires at 9:59, the night ends at 11:30"),
        (1, "70m", {}, False, "it ends at 9:40, and from zero an instance takes 9 minutes"),
        (1, "80m", {}, True, "at 9:50: no instance is there before 9:59"),
        (320, "70m", {}, False, "8 instances finish 4 x 8 x (59 - 40 - 9) of them"),
        (325, "70m", {}, True, "and no more"),
        (0, "3h", {}, False, "nothing waits"),
        (1, "3h", {"overrides": [override("floor", 1)]}, False, "that opens it"),
        (1, "3h", {"overrides": [override("pin", 2)]}, False, "likewise"),
        (1, "3h", {"overrides": [override("ceiling", 5)]}, True, "that does not"),
        (1, "3h", {"overrides": [override("pause")]}, True, "nor that"),
        (1, "70m", {"overrides": [override("pin", 0, minutes_left=180)]}, True, "a pin of 0 holds one item back, too"),
    ],
)
def test_items_that_expire_while_a_window_is_closed_are_reported_while_it_can_be_opened(
    items: int, hours: str, sides: dict[str, Any], told: bool, why: str
) -> None:
    objectives = {"items_per_minute": 4, "drain_within": "30m", "expires_after": "1h"}
    ctx = seen([items], 0, objectives=objectives, windows=[{**NIGHT, "duration": hours}], **sides)
    assert (recommend(ctx)[-1].reason is Reason.REQUESTS_EXPIRING) is told, why


def test_an_open_window_beside_a_closed_one_counts_with_what_it_keeps() -> None:
    """One instance finishes 4 x 60 = 240 items before they expire."""
    objectives = {"items_per_minute": 4, "drain_within": "30m", "expires_after": "1h"}
    open_ = {"name": "open", "start": "08:00", "duration": "5h", "min_capacity": 1}
    few, many = (seen([n], 1, objectives=objectives, windows=[{**NIGHT, "duration": "3h"}, open_]) for n in (200, 300))
    assert recommend(few)[-1].reason is Reason.BACKLOG
    assert recommend(many)[-1].reason is Reason.REQUESTS_EXPIRING
    assert decide(many).envelope == Envelope(1, 1)  # it is said, and closed all the same


def test_what_is_refused_saves_nothing() -> None:
    """900 items, and 2 instances that finish 480 in the hour; AWS gives no more."""
    objectives = {"items_per_minute": 4, "items_per_instance": 100, "expires_after": "1h"}
    refusal = Refusal(NOW, "ResourceLimitExceeded", "quota")
    ctx = seen([900], 2, objectives=objectives, refusal=refusal, registered=Envelope(6, 8))
    assert recommend(ctx)[-1].reason is Reason.REQUESTS_EXPIRING
    assert any(step.reason is Reason.CAPACITY_REFUSED for step in decide(ctx).steps)


def test_a_quota_below_what_runs_asks_for_no_less_than_runs() -> None:
    text = "The account-level service limit 'ml.g5.xlarge for endpoint usage' is 3 Instances, with current utilization of 5 Instances"
    refusal = Refusal(NOW, "ResourceLimitExceeded", text)
    ctx = seen([50.0 * grown for grown in range(1, 11)], 5, refusal=refusal, registered=Envelope(5, 8))
    assert (refusal.room, decide(ctx).envelope.floor) == (0, 8)  # a lowered quota has no room, and is asked again


# --- service rate -------------------------------------------------------------------------------------------------


def rated(processed: Sequence[float], *, backlog: float = 500, count: int = 2, **sides: Any) -> float:
    """The rate after five minutes, 4 before: 2 instances that could work on 2 x (1.5 x 4 + 1) = 14 items all along."""
    memory = replace(
        SETTLED_MEMORY, rate=4.0, rate_at=NOW - timedelta(minutes=7), ready=count, ready_since=NOW - timedelta(hours=1)
    )
    sides = {"memory": memory, **sides}
    worked = minutes([*[0] * (20 - len(processed)), *processed])
    return learned(seen(minutes([backlog] * 20), count, processed=worked, **sides))[0]


@pytest.mark.parametrize(
    ("processed", "sides", "rate"),
    [
        ([12] * 5, {}, 4 + 10 / 40 * (6 - 4)),  # 60 in 10 instance-minutes; they count 10 / (10 + 30)
        ([8] * 5, {}, 4),
        ([6] * 5, {}, 4 + 0.25 * (3 - 4)),
        ([4] * 5, {}, 4 + 10 / 15 * (2 - 4)),  # half as fast as thought: they count 10 / (10 + 5), or items are late
        ([0] * 5, {}, 4 + 10 / 15 * (4 / 3 - 4)),  # an item that hangs: a third of what was thought, at the worst
        ([900] * 5, {}, 4 + 0.25 * (12 - 4)),
        ([4] * 5, {"backlog": 10}, 4),  # with 10 waiting, who knows whether all were busy
        ([40] * 5, {"backlog": 10}, 4 + 0.25 * (12 - 4)),  # but this cannot be done at 4 a minute
        ([12] * 5, {"failed": minutes([5] * 20)}, 4),  # failures that finish fast are no throughput
        ([12] * 5, {"count": 0}, 4),
    ],
)
def test_the_rate_is_measured(processed: Sequence[float], sides: dict[str, Any], rate: float) -> None:
    assert rated(processed, **sides) == pytest.approx(rate)


def spent(took: Sequence[float], *, waited: float = 10) -> tuple[Observation, Observation]:
    """Items that took so many minutes each after they had waited for ten; of 0 there is no point."""
    total, begun = minutes([60_000 * (waited + each) for each in took]), minutes([60_000 * waited] * len(took))
    kept = [i for i, each in enumerate(took) if each]
    return Observation(tuple(total.points[i] for i in kept)), Observation(tuple(begun.points[i] for i in kept))


def test_the_rate_stays_within_four_times_of_what_was_stated() -> None:
    memory = replace(SETTLED_MEMORY, ready=2, ready_since=NOW - timedelta(hours=1), rate_at=NOW - timedelta(minutes=9))
    assert rated([0] * 5, memory=replace(memory, rate=1.0)) == 1.0  # a model that hangs does not buy the maximum


SINCE_THREE_MINUTES = replace(
    SETTLED_MEMORY, rate=4.0, rate_at=NOW - timedelta(minutes=5), ready=2, ready_since=NOW - timedelta(hours=1)
)


def after_three_minutes(took: Sequence[float] = (1, 1, 1), *, each_minute: float = 2, **sides: Any) -> float:
    """The rate two minutes before it is learned from full instances; 10 items wait, which tells nothing."""
    sides = {"memory": SINCE_THREE_MINUTES, "backlog": 10, "times": spent(took), **sides}
    return rated([each_minute if each else 0 for each in took], **sides)


@pytest.mark.parametrize(
    ("took", "rate", "why"),
    [
        ([1, 1, 1], 4 + 6 / 16 * (4 / 3 - 4), "1 a minute, at most a third at once; 6 items count 6 / (6 + 10)"),
        ([0.5, 0.5, 0.5], 4 + 6 / 16 * (2 - 4), "2 a minute"),
        ([0.3, 0.3, 0.3], 4, "3.3 a minute: items differ"),
        ([0.05, 0.05, 0.05], 4, "that they are faster alone says nothing of many at once"),
        ([0.25, 60, 0.25], 4, "a poison item spoils its own minute"),
        ([0.25, 60, 0], 4, "and is not believed against one other"),
        ([0, 0, 1], 4, "nor alone"),
        ([0.5, 60, 0], 4 + 4 / 14 * (2 - 4), "two minutes, the faster of them"),
    ],
)
def test_items_that_prove_slower_lower_the_rate_at_once(took: Sequence[float], rate: float, why: str) -> None:
    assert after_three_minutes(took) == pytest.approx(rate), why


def test_slots_work_side_by_side() -> None:
    objectives = {"items_per_minute": 4, "concurrency": 8}
    assert after_three_minutes([4, 4, 4], objectives=objectives) == pytest.approx(4 + 6 / 16 * (8 / 4 - 4))


@pytest.mark.parametrize(
    ("sides", "why"),
    [
        ({"failed": minutes([5] * 20)}, "of what failed the time says nothing"),
        ({"each_minute": 40}, "20 a minute and instance were done: they can do that, whatever the times say"),
        ({"times": None}, "not asked for"),
        ({"times": (Missing("no data points"), spent([1] * 3)[1])}, "nothing was finished"),
        ({"times": (spent([1] * 3)[0], Missing("InternalError"))}, "without the wait all would be taken for work"),
        ({"times": (spent([1] * 3)[0], spent([0, 0, 1])[1])}, "so it is where minutes of it are missing"),
        ({"times": spent([1] * 3)[::-1]}, "more waiting than time altogether: the unit is not what it should be"),
    ],
)
def test_times_that_cannot_be_trusted_change_nothing(sides: dict[str, Any], why: str) -> None:
    assert after_three_minutes(**sides) == 4, why


def test_what_items_took_is_written_down_with_the_rest() -> None:
    """Each minute goes into the rate once."""
    ctx = seen(minutes([10] * 20), 2, memory=SINCE_THREE_MINUTES, processed=minutes([2] * 20), times=spent([1] * 20))
    assert learned(ctx)[0] < 4
    assert remember(ctx) == ctx.memory
    after = remember(replace(ctx, memory=replace(ctx.memory, rate_at=NOW - timedelta(minutes=7))))
    assert after.rate == pytest.approx(4 + 10 / 20 * (4 / 3 - 4))
    assert after.rate_at == NOW - timedelta(minutes=2)


@given(st.lists(st.floats(0, 1000), min_size=3, max_size=3), st.integers(0, 50), st.integers(1, 64))
def test_times_never_raise_the_rate_nor_lower_it_out_of_bounds(
    took: list[float], each_minute: int, concurrency: int
) -> None:
    objectives = {"items_per_minute": 4, "concurrency": concurrency}
    without = after_three_minutes(times=None, each_minute=each_minute, objectives=objectives)
    assert 1 <= after_three_minutes(took, each_minute=each_minute, objectives=objectives) <= without


def test_minutes_before_the_instances_ran_teach_nothing() -> None:
    memory = replace(
        SETTLED_MEMORY, rate_at=NOW - timedelta(minutes=7), ready=2, ready_since=NOW - timedelta(minutes=2)
    )
    assert rated([12] * 5, memory=memory) == 4


def test_the_rate_is_written_down_every_five_minutes_and_ends_with_the_model() -> None:
    memory = replace(SETTLED_MEMORY, rate=4.0, rate_at=NOW - timedelta(minutes=6), config="ocr-1")
    ctx = seen(minutes([500] * 20), 2, memory=memory)
    assert remember(ctx).rate_at == memory.rate_at
    assert remember(replace(ctx, now=NOW + timedelta(minutes=5))).rate_at == memory.rate_at  # nothing newer was seen
    after = memory.of(Capacity(2, 2, "InService", None, "ocr-2"), NOW)
    assert (after.rate, after.rate_at) == (None, None)
    assert memory.of(Capacity(2, 2, "InService", None, "ocr-1"), NOW).rate == 4.0


# --- metrics that cannot be trusted (facts 3.4, 5) ------------------------------------------------------------------


def test_each_metric_is_asked_for_with_its_own_dimensions() -> None:
    """Of a wrong set nothing comes back, and no error."""
    name, variant = ("EndpointName", "orders"), ("VariantName", "AllTraffic")
    assert {
        Signal.BACKLOG: MetricQuery("AWS/SageMaker", "ApproximateBacklogSize", (name,), "Maximum"),
        Signal.PROCESSED: MetricQuery("AWS/SageMaker", "InvocationsProcessed", (name, variant), "Sum", sparse=True),
        Signal.FAILED: MetricQuery("AWS/SageMaker", "InvocationFailures", (name, variant), "Sum", sparse=True),
        Signal.OLDEST: MetricQuery("AWS/SageMaker", "ApproximateAgeOfOldestRequest", (name,), "Maximum"),
        Signal.TURNAROUND: MetricQuery("AWS/SageMaker", "TotalProcessingTime", (name, variant), "Average"),
        Signal.WAITED: MetricQuery("AWS/SageMaker", "TimeInBacklog", (name, variant), "Average"),
    } == queries(enrolment(ASYNC), working=True)


def test_times_are_only_asked_for_while_the_queue_works() -> None:
    assert queries(enrolment(ASYNC), working=True).keys() - queries(enrolment(ASYNC), working=False).keys() == {
        Signal.TURNAROUND,
        Signal.WAITED,
    }


def test_a_queue_of_your_own_is_asked_for_by_its_name() -> None:
    jobs = (("QueueName", "jobs"),)
    assert {
        Signal.BACKLOG: MetricQuery("AWS/SQS", "ApproximateNumberOfMessagesVisible", jobs, "Average"),
        Signal.IN_FLIGHT: MetricQuery("AWS/SQS", "ApproximateNumberOfMessagesNotVisible", jobs, "Average", sparse=True),
        Signal.PROCESSED: MetricQuery("AWS/SQS", "NumberOfMessagesDeleted", jobs, "Sum", sparse=True),
        Signal.OLDEST: MetricQuery("AWS/SQS", "ApproximateAgeOfOldestMessage", jobs, "Maximum"),
    } == queries(enrolment(ASYNC, queue={"sqs": "jobs"}), working=True)


@pytest.mark.parametrize("document", [REALTIME, ASYNC, COMPONENT])
def test_messages_in_flight_are_work_too_before_any_kind_of_endpoint(document: dict[str, Any]) -> None:
    """30 wait and 12 are being worked on, all 15 minutes old: late already, so more than 42 / (4 x 9) is ordered."""
    capacity, objectives = running(1), {"items_per_minute": 4}
    sides: dict[str, Any] = {"load": minutes([30] * 20), "capacity": capacity, "registered": Envelope(1, 6)}
    ctx = context(document, queue={"sqs": "jobs"}, objectives=objectives, min_capacity=1, **sides)
    ctx = replace(ctx, signals={**ctx.signals, Signal.IN_FLIGHT: minutes([12] * 20)})
    assert newest(ctx)["backlog"] == 42
    decision = decide(ctx)
    assert (decision.reason, decision.envelope.floor > 2) == (Reason.BACKLOG, True)


@pytest.mark.parametrize("ringing", ["saturation", "errors"])
def test_an_instance_that_works_off_a_queue_is_busy_and_not_saturated(ringing: str) -> None:
    """It is, until the queue is empty: doubling on it would always end at the maximum."""
    sides: dict[str, Any] = {"load": steady(6), "capacity": running(3), "alarms": {ringing: "ALARM"}}
    ctx = context(REALTIME, queue={"sqs": "jobs"}, objectives={"items_per_minute": 4}, **sides)
    assert "guard" not in [step.rule for step in decide(ctx).steps]


@pytest.mark.parametrize("why", ["no data points", "stale: newest point is of 08:40", "InternalError"])
def test_a_silent_backlog_lowers_nothing(why: str) -> None:
    memory = replace(SETTLED_MEMORY, demand_floor=3, demand_at=NOW - timedelta(minutes=20))
    decision = decide(seen(Missing(why), 5, memory=memory, registered=Envelope(3, 8)))
    assert (decision.envelope.floor, decision.scale_in_to) == (3, None)


def test_age_and_times_may_be_silent() -> None:
    silent = Missing("no data points")
    decision = decide(seen([40], 0, oldest=silent, times=(silent, silent)))
    assert (decision.desired, decision.context.unknown) == (4, {})


def test_minutes_that_are_missing_make_no_item_younger() -> None:
    """The 30 that came somewhere in the gap count as of its first minute."""
    points = minutes([0] * 16 + [0, 0, 0, 30]).points
    whole, gap = (
        replace(seen([1]), signals=seen(Observation(found)).signals) for found in (points, points[:16] + points[19:])
    )
    assert (newest(whole)["oldest_minutes"], newest(gap)["oldest_minutes"]) == (1, 4)


def test_while_everything_fails_nothing_is_learned_and_the_queue_counts() -> None:
    failing = minutes([8] * 20)
    assert rated([8] * 5, failed=failing) == 4
    assert decide(seen([40], 0, failed=failing)).desired == 4


def test_a_backlog_that_comes_while_the_endpoint_updates_is_answered_when_it_is_in_service() -> None:
    ctx = seen([40], 1, capacity=Capacity(1, 2, "Updating"))
    assert decide(ctx).desired >= 2


@pytest.mark.parametrize(
    ("alarms", "capacity", "sleeps"),
    [
        ({"wake": "OK", "idle": "ALARM"}, running(0), True),
        ({"wake": "ALARM", "idle": "ALARM"}, running(0), False),
        ({"wake": "OK", "idle": "OK"}, running(0), False),  # something arrived
        ({"wake": "OK", "idle": "INSUFFICIENT_DATA"}, running(0), False),  # unknown is not idle
        ({"wake": "OK"}, running(0), False),  # the alarm is gone
        ({}, running(0), False),
        ({"wake": "OK", "idle": "ALARM"}, running(1), False),
        ({"wake": "OK", "idle": "ALARM"}, Capacity(0, 1, "Updating"), False),
        ({"wake": "OK", "idle": "ALARM"}, Missing("gone"), False),
    ],
)
def test_only_a_queue_that_is_known_to_be_empty_is_not_measured(
    alarms: dict[str, str], capacity: Capacity | Missing, sleeps: bool
) -> None:
    assert asleep(enrolment(ASYNC), capacity, alarms) is sleeps
    assert not asleep(enrolment(ASYNC, queue={"sqs": "jobs"}), capacity, alarms)  # they say nothing of your queue


def test_what_is_not_measured_asks_for_nothing() -> None:
    ctx = replace(seen([0], 0), signals={})
    assert decide(ctx).envelope == Envelope(0, 8)
    assert remember(ctx) == ctx.memory


def test_without_any_memory_the_stated_rate_counts() -> None:
    assert learned(seen([40], 1, memory=Memory()))[0] == 4
