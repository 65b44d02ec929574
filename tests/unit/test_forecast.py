"""The forecast: a fit of two weeks, what a minute makes of it, and the rule that orders by it."""

import math
from dataclasses import replace
from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from core.aws.cloudwatch import STALE_AFTER
from core.context import CONTEXTS, Context
from core.decide import decide, silent_since
from core.learning.fit import RECENT, belied, fit
from core.model import Envelope, Habit, Learned, Memory, Missing, Observation, Point, Reason
from core.policy_windows import instant
from core.signals.forecast import (
    LAG,
    LEVELS,
    QUANTILES,
    SLOT,
    around,
    foresee,
    known,
    ready_for,
    span,
    worth,
)
from core.times import A_DAY, DAY, MINUTE
from tests.builders import BATCH, NOW, REALTIME, SETTLED_MEMORY, context, profile, running

C = 1000.0
STORED = TypeAdapter(Learned)
LONG = 66  # minutes that a pass fetches


def trace(days: float, load: "list[float] | None" = None, *, until: datetime = NOW - 2 * MINUTE) -> Observation:
    """Return days of a load that repeats each day: 500 a minute, and 6500 from 09:00 to 17:00."""
    minutes = int(days * A_DAY)
    first = until - (minutes - 1) * MINUTE
    points = []
    for i in range(minutes):
        at = first + i * MINUTE
        value = load[i % len(load)] if load else (6500.0 if 9 <= at.hour < 17 else 500.0)
        points.append(Point(at, value))
    return Observation(tuple(points))


def learnt(seen: Observation) -> Learned:
    found = fit(seen, C)
    assert found is not None
    return found


OFFICE = learnt(trace(14, until=NOW.replace(hour=3)))
"""Fitted at 03:00 on the day of NOW, which is 09:00."""


def flat(value: float, newest: datetime) -> Observation:
    return Observation(tuple(Point(newest - back * MINUTE, value) for back in reversed(range(LONG))))


@pytest.mark.parametrize(
    ("points", "price", "count"),
    [
        # 4 instances or 1, equally likely. n = 0 costs 2.5 prices, n = 1 one instance and 2 prices, n = 4 four instances
        ([(4.0, 0.5), (1.0, 0.5)], 1, 0),  # 2.5, 3, 4
        ([(4.0, 0.5), (1.0, 0.5)], 1.7, 4),  # 4.25, 4.4, 4
        ([(4.0, 0.5), (1.0, 0.5)], 100, 4),
        ([(3.2, 1.0)], 32, 4),  # whole instances
        ([(0.0, 1.0)], 128, 0),
        ([(10.0, 0.01), (2.0, 0.99)], 32, 2),  # n=2: 2 + 32*0.1 = 5.2 < 10
        ([(10.0, 0.01), (2.0, 0.99)], 128, 10),  # n=2: 2 + 12.8 > 10
    ],
)
def test_instances_are_held_while_they_are_worth_their_price(
    points: list[tuple[float, float]], price: float, count: int
) -> None:
    assert worth(points, price) == count


loads = st.lists(st.tuples(st.floats(0, 100), st.floats(0.01, 1)), min_size=1, max_size=30)


@given(loads, st.floats(0.1, 200), st.floats(1, 3))
def test_who_pays_more_holds_no_less(points: list[tuple[float, float]], price: float, more: float) -> None:
    assert worth(points, price * more) >= worth(points, price)


@given(loads, st.floats(0.1, 200))
def test_no_other_count_is_cheaper(points: list[tuple[float, float]], price: float) -> None:
    def cost(count: int) -> float:
        return count + price * math.fsum(p * z for z, p in points if math.ceil(round(z, 9)) > count)

    assert cost(worth(points, price)) <= min(map(cost, range(101))) + 1e-6


@pytest.mark.parametrize(
    ("missing", "there"),
    [
        ((), True),
        ((1,), True),
        ((1, 2, 3), True),
        ((1, 2, 3, 4), False),
        ((61,), True),  # the oldest that is looked at: the one before it stands for it
        ((59, 60, 61), True),
        ((59, 60, 61, 62), False),
        ((62, 63, 64), True),  # nobody looks at these
        ((61, 62, 63, 64), False),
        ((10, 30, 50), True),
    ],
)
def test_a_gap_repeats_the_minute_before_it_and_more_than_three_are_unknown(
    missing: tuple[int, ...], *, there: bool
) -> None:
    newest = NOW - 2 * MINUTE
    points = [Point(newest - back * MINUTE, float(back)) for back in reversed(range(65)) if back not in missing]
    found = known(Observation(tuple(points)), newest)
    assert (found is not None) == there
    if found is not None:
        assert len(found) == 62
        assert found[-1] == 0
        for back in (b for b in missing if b < 62):
            assert found[61 - back] == next(b for b in range(back, 65) if b not in missing)


class TestFit:
    def test_three_days_are_needed(self) -> None:
        assert fit(trace(3), C) is None
        assert fit(trace(3.01), C) is not None

    def test_what_is_stored_fits_into_32_kb_and_what_is_recorded_into_16(self) -> None:
        noisy = [abs(5000 * math.sin(i / 229) + 700 * math.sin(i * i)) for i in range(5 * A_DAY + 77)]
        found = learnt(trace(14, noisy))
        body = STORED.dump_json(found)
        assert len(body) < 32_000
        assert STORED.validate_json(body) == found
        seen = context(load=trace(0.05, noisy), learned=around(found, NOW))
        assert len(CONTEXTS.dump_json(seen)) < 16_000

    def test_two_fits_of_the_same_minutes_are_equal(self) -> None:
        assert fit(trace(5), C) == fit(trace(5), C)

    def test_a_missing_hour_is_not_an_hour_of_silence(self) -> None:
        whole = trace(10)
        holed = Observation(tuple(p for i, p in enumerate(whole.points) if not 5000 <= i < 5060))
        assert learnt(holed).peak == learnt(whole).peak

    @pytest.mark.parametrize("load", [[0.0], [1e9, 0.0], [0.0] * 1439 + [5000.0]])
    def test_empty_and_wild_loads_stay_finite(self, load: list[float]) -> None:
        found = learnt(trace(8, load))
        assert all(math.isfinite(weight) for line in found.lines for weight in line)
        wish = foresee(found, flat(load[0], NOW - 2 * MINUTE), capacity=C, price=32)
        assert wish is not None
        assert 0 <= wish.order <= wish.up_to <= wish.keep <= math.ceil(1.3 * max(load) / C)

    def test_the_season_is_that_of_the_days_before(self) -> None:
        """Minute i of each day has load i: one minute ahead of 12:00, the days before had their peaks 3 minutes later."""
        found = learnt(trace(14, [float(i) for i in range(A_DAY)], until=NOW.replace(hour=23, minute=59)))
        noon = 12 * 60 // SLOT
        place = round((noon * SLOT + 1) / SLOT)  # the first place is 23:59, a minute before midnight
        mean_of_peaks, _, yesterday, *_ = (table[place] for table in found.season)
        at = place * SLOT - 1
        assert mean_of_peaks == yesterday == round(100 * math.log1p(at + 3))

    @pytest.mark.parametrize(("timezone", "noon"), [("UTC", 12), ("Europe/Berlin", 11)])
    def test_days_are_those_of_the_wall_clock(self, timezone: str, noon: int) -> None:
        """Clocks in Berlin go forward on 30 March 2025, so what came at 12:00 UTC comes at 11:00 from then on."""
        until = datetime(2025, 3, 30, 6, tzinfo=NOW.tzinfo)
        hourly = [1000.0 if i // 60 == 12 else 10.0 for i in range(A_DAY)]  # of UTC days, until then
        points = trace(10, until=until).points
        seen = Observation(tuple(Point(p.at, hourly[p.at.hour * 60 + p.at.minute]) for p in points))
        found = fit(seen, C, timezone)
        assert found is not None
        yesterday = found.season[3]
        busy = [i for i, log in enumerate(yesterday) if log > 100 * math.log1p(990)]
        assert (found.first + busy[0] * SLOT * MINUTE).hour == noon
        assert (found.first + busy[-1] * SLOT * MINUTE).hour == noon

    def test_what_a_decision_needs_of_it_says_the_same(self) -> None:
        for minutes in range(0, 24 * 60, 37):
            now = OFFICE.fitted_at + (minutes + LAG) * MINUTE
            seen = flat(700.0, now - LAG * MINUTE)
            part = around(OFFICE, now)
            assert foresee(part, seen, capacity=C, price=32) == foresee(OFFICE, seen, capacity=C, price=32)
            assert len(STORED.dump_json(part)) < 4_000

    @pytest.mark.parametrize("late", range(STALE_AFTER // MINUTE + 1))
    def test_that_part_is_enough_however_late_a_load_comes_that_is_not_missing(self, late: int) -> None:
        """Nor however a pass stands to the hour: at 09:07:59 the newest minute may be that of 09:00."""
        for minute in range(-20, 20):
            now = NOW.replace(hour=9, minute=0, second=59) + minute * MINUTE
            seen = flat(700.0, now.replace(second=0) - (LAG + late) * MINUTE)
            part = around(OFFICE, now)
            assert foresee(part, seen, capacity=C, price=32) == foresee(OFFICE, seen, capacity=C, price=32)

    @pytest.mark.parametrize("minutes", [1, 10, 300])
    @pytest.mark.parametrize("requests", [1e6, 1e9])
    def test_one_load_test_orders_nothing_on_other_days(self, minutes: int, requests: float) -> None:
        """Of nervous traffic far below one instance: its row once weighed more than those of two weeks, and bent them."""
        usual = [float(max(0, 25 - abs(i % A_DAY - 720) // 20) + (i * i * 7919) % 31) for i in range(14 * A_DAY)]
        tested = [*usual[:10_000], *[requests] * minutes, *usual[10_000 + minutes :]]
        learned = learnt(trace(14, tested))
        for hour in range(24):
            now = NOW + hour * timedelta(hours=1)
            seen = trace(0.1, usual, until=now - LAG * MINUTE)
            wish = foresee(around(learned, now), seen, capacity=C, price=32)
            assert wish is not None
            assert wish.up_to <= 1


class TestForesight:
    @pytest.mark.parametrize("start", [2, 6, 15, 45])
    def test_what_starts_slowly_is_ordered_earlier(self, start: int) -> None:
        slow = fit(trace(14, until=NOW.replace(hour=3)), C, start=start * MINUTE)
        assert slow is not None
        orders = {}
        for ahead in (start + 21, start + 1):
            now = NOW - ahead * MINUTE
            wish = foresee(around(slow, now), flat(500.0, now - LAG * MINUTE), capacity=C, price=32)
            assert wish is not None
            orders[ahead] = wish.order
        assert orders[start + 21] <= 2
        assert orders[start + 1] >= 6

    def test_the_morning_is_ordered_before_it_comes(self) -> None:
        """500 requests need one instance; from 09:00 on 6500 need seven, ordered at 08:53 at the latest (D + 1)."""
        wishes = {}
        for minute in (30, 53):
            newest = NOW.replace(hour=8, minute=minute) - LAG * MINUTE
            wish = foresee(OFFICE, flat(500.0, newest), capacity=C, price=32)
            assert wish is not None
            wishes[minute] = wish
        assert wishes[30].order <= 2
        assert wishes[53].order >= 6

    @pytest.mark.parametrize(
        ("tail", "up_to"),
        [
            (4, 3),  # 4.0 % above: 2/3 * 0.040 * 2.7 * 32 = 2.3 is more than two instances; half of it would be 1.7
            (3, 1),  # 2.3 %: 1.3
        ],
    )
    def test_the_later_horizon_counts_twice_in_what_is_ordered(self, tail: int, up_to: int) -> None:
        """0.9 instances are needed by D + 1; by 2 D + 1 three times as many, at as many of the upper quantiles."""
        none, later = (0,) * len(QUANTILES), (0,) * (len(QUANTILES) - tail) + (round(100 * math.log(3)),) * tail
        tables = tuple((row,) * len(LEVELS) for row in (none, none, later))
        as_now = (0.0,) * len(OFFICE.lines[0])
        learned = replace(OFFICE, lines=(as_now,) * 3, errors=dict.fromkeys(range(24), tables))
        wish = foresee(learned, flat(0.9 * C, OFFICE.fitted_at), capacity=C, price=32)
        assert wish is not None
        assert (wish.order, wish.up_to) == (1, up_to)

    @pytest.mark.parametrize(
        ("price", "load", "dearness", "order"),
        [
            pytest.param(64, 9.5, 1.0, 10, id="strict: no error was ever above 9.5 instances"),
            pytest.param(64, 9.5, 2.0, 10, id="strict, where load is dear: it is still strict"),
            pytest.param(
                128, 9.5, 1.0, 11, id="critical: 10.45 comes once in 500; 128 x 0.7 x 0.002 x 10.45 = 1.9 > 1"
            ),
            pytest.param(
                128, 9.5, 0.5, 11, id="critical, where load is cheap: it spares nothing (at 64 it would be 0.9)"
            ),
            pytest.param(128, 1.9, 1.0, 2, id="critical: a third instance for 2.09 is not worth it: 0.37 < 1"),
        ],
    )
    def test_critical_counts_on_what_no_error_reached(
        self, price: float, load: float, dearness: float, order: int
    ) -> None:
        tables = (((0,) * len(QUANTILES),) * len(LEVELS),) * 3
        as_now = (0.0,) * len(OFFICE.lines[0])
        learned = replace(OFFICE, lines=(as_now,) * 3, errors=dict.fromkeys(range(24), tables), peak=20 * C)
        learned = replace(learned, dearness=dearness)
        wish = foresee(learned, flat(load * C, OFFICE.fitted_at), capacity=C, price=price)
        assert wish is not None
        assert wish.order == order
        assert 0.99 < wish.promised <= 1

    @given(st.integers(0, 23), st.floats(0, 9000), st.sampled_from([12.0, 32.0, 64.0]), st.floats(1.1, 4))
    @settings(max_examples=40, deadline=None)
    def test_a_higher_price_never_wants_less(self, hour: int, load: float, price: float, more: float) -> None:
        seen = flat(load, OFFICE.fitted_at + timedelta(hours=hour))
        low = foresee(OFFICE, seen, capacity=C, price=price)
        high = foresee(OFFICE, seen, capacity=C, price=price * more)
        assert low is not None
        assert high is not None
        assert low.order <= high.order
        assert low.keep <= high.keep

    @given(st.integers(0, 23), st.floats(0, 20_000))
    @settings(max_examples=40, deadline=None)
    def test_it_never_wants_less_than_the_newest_minute_needs(self, hour: int, load: float) -> None:
        wish = foresee(OFFICE, flat(load, OFFICE.fitted_at + timedelta(hours=hour)), capacity=C, price=12)
        assert wish is not None
        assert math.ceil(round(load / C, 9)) <= wish.order <= wish.up_to <= wish.keep

    def test_the_tables_agree_in_size(self) -> None:
        assert len(OFFICE.lines) == len(OFFICE.horizons)
        assert {len(levels) for horizons in OFFICE.errors.values() for levels in horizons} == {len(LEVELS)}
        assert {len(row) for hs in OFFICE.errors.values() for levels in hs for row in levels} == {len(QUANTILES)}


class TestBelied:
    @pytest.mark.parametrize(
        ("every", "usual", "burst", "fitted_ago", "wrong"),
        [
            # 60 minutes of two hours are judged, every other one; more than 6 of them must be above 97 %
            (40, 6500, 26_000, 600, True),  # three bursts of eight minutes: 12
            (120, 6500, 26_000, 600, False),  # one of eight: 4
            (40, 500, 990, 600, False),  # no more than an instance serves
            (40, 6500, 26_000, 30, False),  # since the fit there was one
        ],
    )
    def test_a_fit_is_wrong_where_a_tenth_of_two_hours_comes_above_what_was_likely(
        self, every: int, usual: float, burst: float, fitted_ago: int, *, wrong: bool
    ) -> None:
        newest = NOW.replace(hour=14 if usual > C else 7)
        count = int(RECENT / MINUTE)
        points = (Point(newest - back * MINUTE, burst if back % every < 8 else usual) for back in range(count))
        learned = replace(OFFICE, fitted_at=newest - fitted_ago * MINUTE)
        assert belied(learned, Observation(tuple(points)[::-1]), C) == wrong

    def test_minutes_that_are_not_known_belie_nothing(self) -> None:
        newest = NOW.replace(hour=14)
        assert not belied(OFFICE, Observation((Point(newest, 26_000.0),)), C)


def foreseen(load: float, at: datetime, count: int, **seen: object) -> Context:
    """What a pass sees of `orders` where the fit is fresh."""
    made = context(
        load=flat(load, at - LAG * MINUTE),
        now=at,
        capacity=running(count),
        memory=replace(SETTLED_MEMORY, ready=count, first_seen_at=at - timedelta(days=9)),
        learned=around(OFFICE, at),
    )
    standing_by = made.profile.forecasting
    assert standing_by is not None
    return replace(made, enrolment=replace(made.enrolment, profile=standing_by), **seen)  # type: ignore[arg-type] # fields of a context


def job(spread: int = 0, days: int = 14, until: datetime = NOW.replace(hour=3)) -> Observation:
    """Return days of silence but for half an hour of 12 000 a minute, from 06:00 or so many minutes later."""
    points = []
    for point in trace(days, [0.0], until=until).points:
        late = spread * (point.at.day % 2)
        points.append(Point(point.at, 12_000.0 if 0 <= point.at.hour * 60 + point.at.minute - 360 - late < 30 else 0.0))
    return Observation(tuple(points))


HABIT = Habit(earliest=360, latest=370, peaks=(12_000.0,) * 7, kept=1.0)


class TestHabits:
    def test_a_job_that_comes_each_day_is_found(self) -> None:
        """It begins a minute early: a block is where the mean of three minutes is above half of an instance."""
        assert learnt(job(10)).habits == (replace(HABIT, earliest=359, latest=369),)

    @pytest.mark.parametrize(
        ("zone", "changes", "before", "after"),
        [
            ("UTC", "2025-03-30", "06:00", "06:00"),
            ("Europe/Berlin", "2025-03-30", "05:00", "04:00"),
            ("Europe/Berlin", "2025-10-26", "04:00", "05:00"),
            ("America/New_York", "2025-03-09", "11:00", "10:00"),
            ("Australia/Lord_Howe", "2025-10-05", "19:30", "19:00"),  # half an hour, and the day before in UTC
        ],
    )
    def test_it_comes_at_a_time_of_the_wall_clock(self, zone: str, changes: str, before: str, after: str) -> None:
        """A job of 06:00, four days before clocks change and four from then on: one time, waited for at that time."""
        local, changed = ZoneInfo(zone), datetime.fromisoformat(changes).date()
        starts = {instant(changed + offset * DAY, time(6), local) for offset in range(-4, 6)}
        assert {f"{at:%H:%M}" for at in sorted(starts)[:4]} == {before}
        assert {f"{at:%H:%M}" for at in sorted(starts)[4:]} == {after}
        first, due = min(starts) - 6 * 60 * MINUTE, max(starts)
        minutes = [first + i * MINUTE for i in range((due - 90 * MINUTE - first) // MINUTE)]
        busy = {at + i * MINUTE for at in starts for i in range(30)}
        found = fit(Observation(tuple(Point(at, 12_000.0 * (at in busy)) for at in minutes)), C, zone)
        assert found is not None
        [habit] = found.habits
        assert habit == replace(HABIT, earliest=359, latest=359)
        seen = (due + i * MINUTE for i in range(-60, 60))
        waits = [now for now in seen if ready_for(found, habit, flat(0.0, now - LAG * MINUTE), C, price=32)]
        assert (waits[0], waits[-1]) == (due - 10 * MINUTE, due + 8 * MINUTE)

    def test_where_load_is_the_rule_there_is_none(self) -> None:
        assert learnt(trace(14, [6500.0] * 700 + [0.0] * 500)).habits == ()

    def test_predictions_that_did_not_come_true_count_against_the_next(self) -> None:
        """14 days, of which the last two stay silent: four to learn from, then 8 of 10 came; (8 + 2) / (10 + 2)."""
        silent = NOW.replace(hour=3) - timedelta(days=2)
        seen = Observation(tuple(Point(p.at, p.value * (p.at < silent)) for p in job().points))
        [habit] = learnt(seen).habits
        assert habit.peaks == (0.0, 0.0, *[12_000.0] * 5)
        assert habit.kept == round(10 / 12, 3)

    @pytest.mark.parametrize(
        ("minute", "begun", "count"),
        [
            (350, None, 0),
            (351, None, 12),  # an order takes D + 1 minutes, and three to spare
            (379, None, 12),
            (380, None, 0),  # ten minutes after the latest it does not come any more
            (366, 360, 12),  # seen for four minutes: the third above half of an instance is 06:02, the newest 06:04
            (369, 360, 0),  # from here on the load says what is needed
        ],
    )
    def test_capacity_waits_for_it_from_its_order_until_it_is_seen(
        self, minute: int, begun: int | None, count: int
    ) -> None:
        newest = NOW.replace(hour=0) + (minute - LAG) * MINUTE
        points = flat(0.0, newest).points
        loads = [12_000.0 * (begun is not None and p.at.hour * 60 + p.at.minute >= begun) for p in points]
        seen = Observation(tuple(Point(p.at, load) for p, load in zip(points, loads, strict=True)))
        assert ready_for(OFFICE, HABIT, seen, C, price=32) == count

    @pytest.mark.parametrize(
        ("spread", "on", "kept", "price", "count"),
        [
            # To be late by D + l + 2 = 10 minutes, weighed against half the spread and D + 5 = 11 of waiting
            (0, 7, 1.0, 1.2, 12),  # 1.2 * 12 * 10/11 = 13.1 > 12
            (0, 7, 1.0, 1.0, 0),  # 10.9
            (120, 7, 1.0, 32, 12),  # 32 * 12 * 10/71 = 54
            (120, 3, 1.0, 12, 0),  # 12 * 12 * 10/71 * 3/7 = 8.7
            (120, 3, 1.0, 32, 12),  # 23
            (120, 3, 0.5, 32, 0),  # 11.6
        ],
    )
    def test_it_waits_only_if_that_is_worth_it(
        self, spread: int, on: int, kept: float, price: float, count: int
    ) -> None:
        habit = Habit(earliest=360, latest=360 + spread, peaks=(12_000.0,) * on + (0.0,) * (7 - on), kept=kept)
        assert ready_for(OFFICE, habit, flat(0.0, NOW.replace(hour=6, minute=0)), C, price) == count

    @pytest.mark.parametrize("late", [0, 1, 2, 3])
    def test_metrics_that_come_late_are_looked_at_as_any(self, late: int) -> None:
        """What a pass fetches is `span` before now; the newest minute it finds there may be older than usual."""
        part = around(OFFICE, NOW)
        newest = NOW - (LAG + late) * MINUTE
        fetched = [NOW - back * MINUTE for back in reversed(range(1, span(part, NOW) // MINUTE + 1))]
        seen = Observation(tuple(Point(at, 500.0) for at in fetched if at <= newest))
        assert foresee(part, seen, capacity=C, price=32) is not None

    def test_the_forecast_orders_it(self) -> None:
        found = learnt(job())
        now = NOW.replace(hour=5, minute=52)
        wish = foresee(around(found, now), flat(0.0, now - LAG * MINUTE), capacity=C, price=32)
        assert wish is not None
        assert (wish.order, wish.keep) >= (12, 12)

    def test_a_wide_window_needs_more_of_the_past(self) -> None:
        wide = replace(OFFICE, habits=(replace(HABIT, latest=480),))
        assert span(around(wide, NOW.replace(hour=8)), NOW.replace(hour=8)) == (8 * 60 - 351 + 11) * MINUTE
        assert (
            span(around(wide, NOW), NOW) == (60 + 11) * MINUTE
        )  # three for KEEP, three for a gap, five that the newest may be late
        assert around(wide, NOW).habits == ()


class TestRule:
    def test_the_floor_rises_before_the_ramp(self) -> None:
        decision = decide(foreseen(500, NOW - 7 * MINUTE, 2))
        assert decision.reason is Reason.FORECAST
        assert decision.envelope.floor >= 6
        assert decision.deciding_step.seen["fit"] == f"{OFFICE.fitted_at:%Y-%m-%dT%H:%MZ}"

    @pytest.mark.parametrize(
        ("at", "count", "limited"), [(NOW - 7 * MINUTE, 2, True), (NOW.replace(hour=12), 7, False)]
    )
    def test_an_order_leaves_aas_no_room_beside_it(self, at: datetime, count: int, *, limited: bool) -> None:
        """AAS, still ringing, would order one more as soon as it has come, and block what is foreseen next."""
        decision = decide(foreseen(500 if limited else 6500, at, count))
        assert (decision.envelope.ceiling == decision.envelope.floor) == limited
        assert decision.valid_until - at == timedelta(minutes=20 if limited else 60)

    def test_at_night_what_nobody_will_need_is_given_back_at_once(self) -> None:
        decision = decide(foreseen(500, NOW.replace(hour=4), 6))
        assert (decision.envelope.floor, decision.scale_in_to) == (2, 2)

    def test_what_runs_is_kept_while_the_next_minutes_want_it(self) -> None:
        decision = decide(foreseen(6500, NOW.replace(hour=12), 7))
        assert (decision.envelope.floor, decision.scale_in_to) == (7, None)

    def test_the_newest_minute_beats_a_forecast_of_less(self) -> None:
        assert decide(foreseen(9000, NOW.replace(hour=4), 2)).envelope.floor >= 9

    def test_a_decision_replays_equal_from_its_record(self) -> None:
        seen = foreseen(500, NOW - 7 * MINUTE, 2)
        again = CONTEXTS.validate_json(CONTEXTS.dump_json(seen))
        assert decide(again).steps == decide(seen).steps
        assert len(CONTEXTS.dump_json(seen)) < 16_000

    def test_unknown_load_lowers_nothing(self) -> None:
        known_floor = Memory(first_seen_at=NOW - timedelta(days=1), demand_floor=5, demand_at=NOW - 5 * MINUTE)
        seen = foreseen(500, NOW.replace(hour=4), 6, memory=known_floor, registered=Envelope(5, 12))
        seen = replace(seen, signals=dict.fromkeys(seen.signals, Missing("no data points")))
        decision = decide(replace(seen, now=NOW))
        assert (decision.envelope.floor, decision.reason, decision.scale_in_to) == (5, Reason.METRICS_UNKNOWN, None)

    def test_with_gaps_it_is_left_to_what_was_measured(self) -> None:
        seen = foreseen(500, NOW - 7 * MINUTE, 2)
        [signal] = seen.signals
        observed = seen.signals[signal]
        assert isinstance(observed, Observation)
        holed = Observation(tuple(p for i, p in enumerate(observed.points) if not 40 <= i < 44))
        decision = decide(replace(seen, signals={signal: holed}))
        assert "forecast" not in [step.rule for step in decision.steps]
        assert decision.envelope.floor == 2


OWN = [{"type": "target_tracking", "metric": "requests_per_instance", "target": 700}]


@pytest.mark.parametrize(
    ("changes", "target"),
    [
        ({}, 900.0),
        ({"forecast": "critical"}, 900.0),
        ({"forecast": "off"}, None),
        ({"policies": OWN}, None),  # what somebody declared is theirs
        ({"scale_in": "native"}, None),
        ({"objectives": {}}, None),  # nobody knows what an instance serves
    ],
)
def test_tracking_stands_by_where_a_forecast_holds_the_room(changes: dict[str, object], target: float | None) -> None:
    found = profile(REALTIME, **changes).forecasting
    assert (found.native_policies[0].target if found else None) == target  # type: ignore[union-attr] # it tracks


@pytest.mark.parametrize(
    ("document", "stated", "knob"),
    [
        (REALTIME, {}, "balanced"),
        (BATCH, {}, "economy"),  # nobody waits for one answer of a batch
        (BATCH, {"forecast": "strict"}, "strict"),
        (BATCH, {"forecast": False}, "off"),
    ],
)
def test_the_price_is_that_of_the_kind_unless_it_is_stated(
    document: dict[str, Any], stated: dict[str, Any], knob: str
) -> None:
    assert profile(document, **stated).forecast == knob


@pytest.mark.parametrize(
    ("knob", "price"), [("off", 0), ("economy", 12), ("balanced", 32), ("strict", 64), ("critical", 128)]
)
def test_the_knob_is_a_price(knob: str, price: float) -> None:
    assert profile(REALTIME, forecast=knob).forecast_price == price


NOON = NOW.replace(hour=12)
USUAL = 7  # instances for 6500 a minute, yesterday and a week ago


def fallen(silent: int, back: int = 0) -> Context:
    """What a pass sees at noon where the usual load was away for so many minutes, and came back so many ago."""
    loads = [6500.0] * (LONG - silent - back) + [0.0] * silent + [6500.0] * back
    points = tuple(Point(NOON - (LONG + 1 - i) * MINUTE, load) for i, load in enumerate(loads))
    seen = foreseen(6500, NOON, USUAL)
    return replace(seen, signals=dict.fromkeys(seen.signals, Observation(points)))


def silent_for(seen: Context, minutes: int) -> Context:
    return replace(seen, memory=replace(seen.memory, silent_since=seen.now - minutes * MINUTE))


def holed(seen: Context, missing: set[int]) -> Context:
    """The same without these minutes, counted back from the newest but one."""
    [(signal, observed)] = seen.signals.items()
    assert isinstance(observed, Observation)
    points = tuple(p for i, p in enumerate(reversed(observed.points)) if i == 0 or i not in missing)
    return replace(seen, signals={signal: Observation(tuple(reversed(points)))})


class TestOutage:
    @pytest.mark.parametrize(
        ("seen", "held"),
        [
            (fallen(0), False),
            (fallen(13), False),  # the mean of 15 minutes is 2 * 6500 / 15 = 867, more than a tenth of 6500
            (fallen(14), True),  # 433
            (fallen(45), True),
            (fallen(60), False),  # it was not seen to go: a job that is late, or one that retired
            (silent_for(fallen(60), 180), True),
            (silent_for(fallen(60), 181), False),  # longer than that is no outage
            (silent_for(fallen(30, back=30), 60), True),  # at a minute back the mean is 433 for the last time,
            (silent_for(fallen(30, back=31), 61), False),  # and half an hour later that is forgotten
        ],
    )
    def test_what_is_usual_is_held_while_traffic_is_away(self, seen: Context, *, held: bool) -> None:
        steps = {step.rule: step for step in decide(seen).steps}
        assert ("outage" in steps) == held
        if held:
            assert steps["outage"].reason is Reason.OUTAGE_HOLD
            assert steps["outage"].after.floor == 9  # 1.25 times the usual 6500 need 8.1
            assert decide(seen).scale_in_to is None

    def test_a_batch_that_ends_early_is_done(self) -> None:
        seen = fallen(45)
        job = profile(BATCH, objectives={"requests_per_instance": 1000})
        assert job.capacity_per_instance == seen.profile.capacity_per_instance
        assert silent_since(replace(seen, enrolment=replace(seen.enrolment, profile=job))) is None

    def test_a_weekend_is_none(self) -> None:
        """What is away was not there a week ago either, or nobody knows whether it was."""
        for since in (timedelta(days=6), timedelta(days=8)):
            points = trace(14, until=NOW.replace(hour=3)).points
            quiet = (NOW - since).date()
            known = [p for p in points if p.at > NOW - since] if since.days < 7 else points
            found = learnt(Observation(tuple(Point(p.at, p.value * (p.at.date() != quiet)) for p in known)))
            seen = replace(fallen(45), learned=around(found, NOON))
            assert (silent_since(seen) is None) == (since.days < 7)

    def test_it_is_remembered_when_it_began(self) -> None:
        assert silent_since(fallen(20)) == NOON
        assert silent_since(silent_for(fallen(60), 100)) == NOON - 100 * MINUTE
        assert silent_since(silent_for(fallen(0), 100)) is None

    @given(st.sets(st.integers(1, LONG)), st.sampled_from([None, 10, 170]))
    @settings(max_examples=60, deadline=None)
    def test_minutes_that_are_not_known_neither_begin_nor_end_it(self, missing: set[int], since: int | None) -> None:
        usual, away = fallen(0), fallen(LONG)
        if since is not None:
            away = silent_for(away, since)
        assert silent_since(holed(usual, missing)) is None
        assert silent_since(holed(away, missing)) == away.memory.silent_since
        gone = replace(away, signals=dict.fromkeys(away.signals, Missing("no data points")))
        assert silent_since(gone) == away.memory.silent_since

    def test_without_metrics_what_is_usual_follows_the_last_known_floor(self) -> None:
        """5 were known an hour ago; nobody has seen since that the day's 7 are not needed."""
        for minutes, floor in ((59, 5), (61, USUAL)):
            memory = Memory(first_seen_at=NOW, demand_floor=5, demand_at=NOON - minutes * MINUTE)
            seen = replace(
                fallen(0), memory=memory, signals=dict.fromkeys(fallen(0).signals, Missing("no data points"))
            )
            assert decide(seen).envelope.floor == floor

    @pytest.mark.parametrize(("minutes", "alike"), [(90, True), (240, False)])
    def test_an_outage_that_ended_teaches_nothing(self, minutes: int, *, alike: bool) -> None:
        whole = trace(14, until=NOW.replace(hour=3))
        begun = NOON - timedelta(days=1)
        away = Observation(
            tuple(Point(p.at, p.value * (not begun <= p.at < begun + minutes * MINUTE)) for p in whole.points)
        )
        assert (learnt(away) == OFFICE) == alike
