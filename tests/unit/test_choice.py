"""What orders ahead for a target is what its own last weeks would have cost least under."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from core.context import CONTEXTS, Context
from core.decide import decide
from core.learning.choice import LEAST, MOST, choose, costs_of, judge
from core.learning.fit import EVERY
from core.model import Judged, Learned, Observation, Option, Point, Reason
from core.signals.forecast import LAG, around
from core.times import A_DAY, DAY, MINUTE
from tests.builders import NOW, REALTIME, context, profile, running
from tests.unit.test_forecast import HABIT, OFFICE, flat, job, learnt, trace

FORECAST, WINDOWS, GUARD = Option
PLAIN = profile(REALTIME, min_capacity=1, max_capacity=20)
NOTHING = flat(0.0, OFFICE.fitted_at - DAY)
"""A history of which no minute is of the day after the fit."""


def a_day(costs: tuple[float, float, float], late: tuple[float, float, float] = (0, 0, 0), price: float = 32) -> Judged:
    """Return a day under forecast, windows and guard: instance-minutes paid, and violated."""
    paid, violated = dict(zip(Option, costs, strict=True)), dict(zip(Option, late, strict=True))
    return Judged(price=price, load=1000, instances=paid, violated=violated, under=1, promised=1)  # type: ignore[arg-type] # whole numbers


class TestChoice:
    @pytest.mark.parametrize(
        ("day", "before", "chosen"),
        [
            (a_day((100, 100, 100)), FORECAST, FORECAST),
            (a_day((100, 91, 120)), FORECAST, FORECAST),  # cheaper, but by less than a tenth
            (a_day((100, 90, 120)), FORECAST, WINDOWS),
            (a_day((100, 90, 80)), FORECAST, GUARD),
            (a_day((100, 40, 40), (0, 2, 1.5)), FORECAST, GUARD),  # 100, 40 + 32 * 2 = 104, 40 + 32 * 1.5 = 88
            (a_day((100, 40, 20), (0, 2, 3)), FORECAST, FORECAST),  # 104 and 116
            (a_day((91, 100, 100)), WINDOWS, WINDOWS),  # and the way back takes as much
            (a_day((90, 100, 100)), WINDOWS, FORECAST),
        ],
    )
    def test_it_is_kept_until_another_is_cheaper_by_a_tenth(self, day: Judged, before: Option, chosen: Option) -> None:
        old = replace(OFFICE, chosen=before, judged=(day,) * LEAST)
        assert choose(OFFICE, old, NOTHING, PLAIN) == replace(OFFICE, chosen=chosen, judged=(day,) * LEAST)

    def test_the_first_week_is_the_forecasts(self) -> None:
        cheaper = a_day((100, 100, 10))
        assert choose(OFFICE, None, NOTHING, PLAIN) == OFFICE
        early = choose(OFFICE, replace(OFFICE, judged=(cheaper,) * (LEAST - 1)), NOTHING, PLAIN)
        assert (early.chosen, len(early.judged)) == (FORECAST, LEAST - 1)

    def test_another_price_begins_anew(self) -> None:
        old = replace(OFFICE, chosen=GUARD, judged=(a_day((100, 100, 10)),) * MOST)
        strict = profile(REALTIME, forecast="strict")
        assert choose(OFFICE, old, NOTHING, strict) == OFFICE

    def test_days_long_gone_do_not_count(self) -> None:
        """The newest is judged now, and the fourteenth before it is dropped: 13 cheap days and this one."""
        old = replace(OFFICE, judged=(a_day((100, 100, 100)), *[a_day((100, 100, 10))] * (MOST - 1)))
        found = choose(OFFICE, old, trace(2, until=OFFICE.fitted_at + DAY), PLAIN)
        assert len(found.judged) == MOST
        assert found.judged[1:] == old.judged[:-1]

    def test_parts_of_a_day_are_put_together(self) -> None:
        """Ten hours, to which three are added, are no day of their own; 22 and three are more than one."""
        seen = trace(2, until=OFFICE.fitted_at + timedelta(hours=3))
        part = judge(OFFICE, seen, PLAIN)
        assert part is not None
        for hours, entries in ((10, LEAST), (22, LEAST + 1)):
            short = replace(a_day((100, 100, 10)), minutes=hours * 60)
            found = choose(OFFICE, replace(OFFICE, judged=(short, *[a_day((100, 100, 10))] * (LEAST - 1))), seen, PLAIN)
            assert len(found.judged) == entries
            assert sum(day.minutes for day in found.judged) == (LEAST - 1) * A_DAY + hours * 60 + part.minutes
            assert sum(day.instances[GUARD] for day in found.judged) == LEAST * 10 + part.instances[GUARD]

    def test_a_share_of_parts_is_weighed_by_their_minutes(self) -> None:
        seen = trace(2, until=OFFICE.fitted_at + timedelta(hours=3))
        part = judge(OFFICE, seen, PLAIN)
        assert part is not None
        old = replace(OFFICE, judged=(replace(a_day((100, 100, 10)), minutes=600, under=0.5),))
        [day] = choose(OFFICE, old, seen, PLAIN).judged
        assert day.under == pytest.approx((600 * 0.5 + part.minutes * part.under) / (600 + part.minutes))

    def test_seven_parts_are_no_week(self) -> None:
        parts = (replace(a_day((100, 100, 10)), minutes=800),) * LEAST
        assert choose(OFFICE, replace(OFFICE, judged=parts), NOTHING, PLAIN).chosen is FORECAST

    def test_what_is_stored_comes_back_and_no_decision_needs_it(self) -> None:
        stored = TypeAdapter(Learned)
        full = replace(OFFICE, chosen=WINDOWS, judged=(a_day((12345, 12345, 12345), (123.4, 123.4, 123.4)),) * MOST)
        text = stored.dump_json(full)
        assert stored.validate_json(text) == full
        assert len(text) - len(stored.dump_json(OFFICE)) < 3000  # of 32 kB
        assert around(full, NOW).judged == ()
        assert around(full, NOW).chosen is WINDOWS


class TestPrice:
    """The knob's price is in proportion to what an instance-minute of load costs here; at two it is what it says."""

    @pytest.mark.parametrize(
        ("paid", "load", "dearness"),
        [
            ([2000], 5000, 1.0),  # two for each of 1000
            ([1300], 5000, 0.65),
            ([2000, 2800], 5000, 1.2),  # both days together
            ([9000], 5000, 2.0),  # 4.5, but two is the most: the price of the next position
            ([200], 5000, 0.5),  # a fifth of it was served, for the maximum allowed no more: that is no cheap load
            ([9000], 299, 1.0),  # an instance serves 1000 a minute: below 0.3 of it a minute is idle
            ([], 5000, 1.0),
        ],
    )
    def test_it_is_learned_from_what_was_judged(self, paid: list[int], load: float, dearness: float) -> None:
        old = replace(OFFICE, judged=tuple(a_day((each, 0, 0)) for each in paid))
        assert choose(OFFICE, old, flat(load, OFFICE.fitted_at - DAY), PLAIN).dearness == dearness

    @pytest.mark.parametrize(("active", "dearness"), [(0.39, 1.0), (0.4, 0.65)])
    def test_what_is_mostly_idle_says_nothing(self, active: float, dearness: float) -> None:
        newest = OFFICE.fitted_at - DAY
        load = Observation(tuple(Point(newest - i * MINUTE, 5000.0 * (i < 1000 * active)) for i in range(999, -1, -1)))
        old = replace(OFFICE, judged=(a_day((1300, 0, 0)),))
        assert choose(OFFICE, old, load, PLAIN).dearness == dearness

    def test_each_day_is_judged_at_the_knobs_own(self) -> None:
        """Or what is learned today would change what is learned tomorrow."""
        seen = trace(2, until=OFFICE.fitted_at + DAY)
        assert judge(replace(OFFICE, dearness=2.0), seen, PLAIN) == judge(OFFICE, seen, PLAIN)

    @pytest.mark.parametrize(("dearness", "price"), [(0.65, 20.8), (1.0, 32.0), (2.0, 64.0)])
    def test_a_decision_names_it(self, dearness: float, price: float) -> None:
        seen = chosen(FORECAST, flat(500.0, NOW), dearness=dearness)
        said = next(step.seen for step in decide(seen).steps if step.rule == "forecast")
        assert said["price"] == price
        assert decide(CONTEXTS.validate_json(CONTEXTS.dump_json(seen))) == decide(seen)


class TestJudge:
    """A fit of 03:00, and the day after it."""

    def test_a_day_that_goes_as_days_go(self) -> None:
        """500 a minute, and 6500 from 09:00 to 17:00, one instance for each 1000.

        Of 26 hours from the fit on, 24 are known: 206 passes of 7 minutes. Tracking at 0.5 keeps 1 and 13: the guard
        orders 7 when it sees 09:00, 13 after three minutes, and has them 7 minutes later.
        """
        found = judge(OFFICE, trace(2, until=OFFICE.fitted_at + DAY), PLAIN)
        assert found is not None
        passes = range(LAG, A_DAY + 1, EVERY)
        busy = [m for m in passes if 6 * 60 <= m < 14 * 60]  # minutes after 03:00
        assert found.load == pytest.approx(EVERY * (6.5 * len(busy) + 0.5 * (len(passes) - len(busy))), rel=0.001)
        seen = [m for m in passes if 6 * 60 <= m - LAG < 14 * 60]
        kept = [m for m in passes if 14 * 60 <= m - LAG < 14 * 60 + 9]
        ordered = 13 * len([*seen, *kept]) + len(passes) - len([*seen, *kept])
        assert found.instances[GUARD] == pytest.approx(EVERY * ordered, abs=EVERY * 12)
        late = [m for m in busy if m - EVERY < 6 * 60 + LAG]
        assert found.violated[GUARD] == EVERY * 6.5 * len(late) > 0
        assert found.violated[FORECAST] == 0
        assert found.instances[FORECAST] < found.instances[GUARD]
        early = [m for m in passes if 6 * 60 - 10 <= m < 6 * 60 + LAG]  # 09:00 is a window too, for 7 in place of 1
        assert found.instances[WINDOWS] == found.instances[GUARD] + EVERY * 6 * len(early)
        assert found.violated[WINDOWS] == 0
        assert found.under == 1
        assert 0.9 < found.promised <= 1

    def test_a_job_that_comes_each_day_is_waited_for_by_its_window_alone(self) -> None:
        """Half an hour of 12 000 a minute, at 06:00 or at 06:10."""
        fitted = learnt(job(10))
        found = judge(fitted, job(10, days=3, until=fitted.fitted_at + DAY), PLAIN)
        assert found is not None
        assert fitted.habits
        assert found.violated[WINDOWS] == 0 < found.violated[GUARD]
        assert found.instances[WINDOWS] > found.instances[GUARD]
        costs = costs_of([found])
        assert costs[WINDOWS] < costs[GUARD]

    def test_what_nobody_foresaw_is_as_late_under_each(self) -> None:
        """An hour of 9000 a minute at 22:00: paid and violated alike, but for the room that tracking keeps."""
        seen = trace(2, until=OFFICE.fitted_at + DAY)
        surprise = Observation(tuple(replace(p, value=9000.0) if p.at.hour == 22 else p for p in seen.points))
        before, after = judge(OFFICE, seen, PLAIN), judge(OFFICE, surprise, PLAIN)
        assert before is not None
        assert after is not None
        extra = {option: after.violated[option] - before.violated[option] for option in Option}
        assert extra[GUARD] == extra[WINDOWS] > 0
        assert after.under < 1

    @pytest.mark.parametrize(("hours", "known"), [(24, True), (3, True), (1, False)])
    def test_a_day_of_which_little_is_known_says_nothing(self, hours: int, *, known: bool) -> None:
        seen = trace(2, until=OFFICE.fitted_at + timedelta(hours=hours))
        assert (judge(OFFICE, seen, PLAIN) is not None) == known

    def test_nor_does_one_full_of_gaps(self) -> None:
        seen = trace(2, until=OFFICE.fitted_at + DAY).points
        assert judge(OFFICE, Observation(tuple(p for p in seen if p.at.minute % 6 < 1)), PLAIN) is None

    def test_bounds_of_the_policy_hold_in_it(self) -> None:
        bound = profile(REALTIME, min_capacity=3, max_capacity=5)
        found = judge(OFFICE, trace(2, until=OFFICE.fitted_at + DAY), bound)
        assert found is not None
        passes = len(range(LAG, A_DAY + 1, EVERY))
        assert all(3 * EVERY * passes < paid < 5 * EVERY * passes for paid in found.instances.values())


def chosen(option: Option, load: Observation, count: int = 2, dearness: float = 1.0) -> Context:
    """Return what a pass sees under an option, as the reconciler makes it: no forecast, no other target."""
    now = load.newest.at + LAG * MINUTE
    learned = around(replace(OFFICE, chosen=option, habits=(HABIT,), dearness=dearness), now)
    made = context(load=load, now=now, capacity=running(count), learned=learned)
    standing_by = PLAIN.forecasting if option is FORECAST else PLAIN
    assert standing_by is not None
    return replace(made, enrolment=replace(made.enrolment, profile=standing_by))


loads = st.lists(st.floats(0, 9000), min_size=66, max_size=66)


class TestRule:
    @settings(max_examples=60, deadline=None)
    @given(loads, st.sampled_from(Option), st.integers(1, 12), st.integers(0, A_DAY - 1))
    def test_no_option_goes_below_the_guard(self, values: list[float], option: Option, count: int, minute: int) -> None:
        newest = OFFICE.fitted_at + minute * MINUTE
        load = Observation(tuple(Point(newest - (65 - i) * MINUTE, value) for i, value in enumerate(values)))
        seen = chosen(option, load, count=count)
        decision, reactive = decide(seen), decide(replace(seen, learned=None))
        assert decision.envelope.floor >= reactive.envelope.floor
        if option is GUARD and all(step.rule != "outage" for step in decision.steps):
            assert (decision.envelope, decision.scale_in_to) == (reactive.envelope, reactive.scale_in_to)
        if option is WINDOWS and decision.scale_in_to is not None:
            assert decision.scale_in_to >= (reactive.scale_in_to or 0)

    @pytest.mark.parametrize(
        ("option", "minute", "floor"),
        [
            (FORECAST, 5 * 60 + 52, 12),
            (WINDOWS, 5 * 60 + 52, 12),  # HABIT is 12 000 a minute at 06:00
            (GUARD, 5 * 60 + 52, 1),
            (WINDOWS, 8 * 60 + 53, 1),  # the ramp of 09:00 is the forecast's business
            (GUARD, 8 * 60 + 53, 1),
        ],
    )
    def test_what_each_waits_for(self, option: Option, minute: int, floor: int) -> None:
        now = NOW.replace(hour=0) + minute * MINUTE
        decision = decide(chosen(option, flat(500.0, now - LAG * MINUTE), count=1))
        assert decision.envelope.floor >= floor if option is FORECAST else decision.envelope.floor == floor
        said = next(step for step in decision.steps if step.rule == "forecast")
        assert said.seen["chosen"] == option.value
        assert (decision.reason is Reason.FORECAST) == (floor > 1)

    @pytest.mark.parametrize("option", Option)
    def test_a_recorded_decision_is_made_again(self, option: Option) -> None:
        seen = chosen(option, flat(500.0, NOW.replace(hour=5, minute=50)))
        again = CONTEXTS.validate_json(CONTEXTS.dump_json(seen))
        assert again == seen
        assert decide(again) == decide(seen)
