"""Windows are a pure function of now, on the clock of their own zone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from core.model import Observation, Point, Progress, ScalableTarget
from core.policy_windows import Window
from core.signals.window import LEAD, SPREAD, edge_within, lead_of, needs, openings, progress, work_since
from tests.builders import BATCH, REALTIME, context, minutes


def window(**changes: Any) -> Window:
    document: dict[str, Any] = {"name": "w", "start": "02:00", "min_capacity": 3, "lead": "10m", **changes}
    if not {"until", "finish_by"} & changes.keys():
        document.setdefault("duration", "4h")
    return Window.model_validate(document)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("name", "changes", "now", "is_open"),
    [
        ("before the lead", {}, "2026-11-18T01:49", False),
        ("in the lead", {}, "2026-11-18T01:50", True),
        ("the end is exclusive", {}, "2026-11-18T06:00", False),
        ("a day that is not listed", {"days": ["mon"]}, "2026-11-18T03:00", False),  # a Wednesday
        ("a listed day", {"days": ["wed"]}, "2026-11-18T03:00", True),
        ("past midnight belongs to the day it began", {"start": "23:00", "days": ["tue"]}, "2026-11-18T02:30", True),
        ("and not to the next", {"start": "23:00", "days": ["wed"]}, "2026-11-18T02:30", False),
        ("the lead reaches back into the day before", {"start": "00:05", "days": ["wed"]}, "2026-11-17T23:55", True),
        ("local time in winter: 02:00 in Berlin is 01:00 UTC", {"timezone": "Europe/Berlin"}, "2026-11-18T00:50", True),
        ("local time in summer: 02:00 in Berlin is 00:00 UTC", {"timezone": "Europe/Berlin"}, "2026-07-17T23:50", True),
        ("a zone whose date is ahead", {"timezone": "Asia/Tokyo", "days": ["wed"]}, "2026-11-17T17:00", True),
        ("a zone whose date is behind", {"timezone": "America/Los_Angeles", "days": ["tue"]}, "2026-11-17T10:00", True),
        ("a whole day long", {"duration": "24h", "days": ["tue"]}, "2026-11-18T01:59", True),
        ("until a wall clock time", {"until": "05:00"}, "2026-11-18T04:59", True),
        ("which is exclusive", {"until": "05:00"}, "2026-11-18T05:00", False),
        ("until the next morning", {"start": "22:00", "until": "05:00"}, "2026-11-18T04:59", True),
        ("until the same time is a whole day", {"until": "02:00", "days": ["tue"]}, "2026-11-18T01:59", True),
        ("a date", {"dates": ["2026-11-18"]}, "2026-11-18T03:00", True),
        ("and no other", {"dates": ["2026-11-18"]}, "2026-11-19T03:00", False),
        ("the first date", {"from": "2026-11-18"}, "2026-11-18T03:00", True),
        ("not before it", {"from": "2026-11-18"}, "2026-11-17T03:00", False),
        ("the last date", {"to": "2026-11-18"}, "2026-11-18T03:00", True),
        ("not after it", {"to": "2026-11-18"}, "2026-11-19T03:00", False),
        ("a start on the last date runs to its end", {"start": "23:00", "to": "2026-11-17"}, "2026-11-18T02:59", True),
        ("an exception", {"except": ["2026-11-18"]}, "2026-11-18T03:00", False),
        ("which has no lead either", {"except": ["2026-11-18"]}, "2026-11-18T01:55", False),
    ],
)  # fmt: skip
def test_openings(name: str, changes: dict[str, Any], now: str, is_open: bool) -> None:
    assert bool(openings([window(**changes)], at(now))) is is_open, name


RULES = [  # rule, from, starts on, does not start on
    ("FREQ=MONTHLY;BYDAY=-1FR", "2026-01-01", "2026-11-27", "2026-11-20"),  # the last Friday of a month
    ("FREQ=MONTHLY;BYMONTHDAY=-1", "2026-01-01", "2028-02-29", "2028-02-28"),  # the last day, leap years included
    ("FREQ=WEEKLY;INTERVAL=2;BYDAY=MO", "2026-11-02", "2026-11-16", "2026-11-09"),  # every second Monday
    ("FREQ=WEEKLY", "2026-11-04", "2026-11-18", "2026-11-19"),  # the weekday of `from`
    ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=1", "2026-01-01", "2026-08-03", "2026-08-01"),  # first working day
    ("FREQ=DAILY;COUNT=3", "2026-11-16", "2026-11-18", "2026-11-19"),
    ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "2026-01-01", "2028-02-29", "2027-03-01"),
    ("RRULE:FREQ=YEARLY;BYMONTH=12;BYMONTHDAY=24", "2026-01-01", "2031-12-24", "2031-12-25"),
]


@pytest.mark.parametrize(("rule", "first", "on", "off"), RULES)
def test_a_recurrence_rule_counts_from_the_first_date(rule: str, first: str, on: str, off: str) -> None:
    ruled = window(rrule=rule, **{"from": first})
    assert ruled.starts_on(at(on).date())
    assert not ruled.starts_on(at(off).date())


CLOCK_CHANGES = [  # zone, start, end, date, start and end in UTC
    # Berlin, 2026-03-29: 02:00 becomes 03:00 at 01:00 UTC; 2026-10-25: 03:00 becomes 02:00 at 01:00 UTC
    ("duration is elapsed time", "Europe/Berlin", "01:00", {"duration": "4h"}, "2026-03-29", "2026-03-29T00:00", "2026-03-29T04:00"),
    ("until is the wall clock: an hour less", "Europe/Berlin", "01:00", {"until": "05:00"}, "2026-03-29", "2026-03-29T00:00", "2026-03-29T03:00"),
    ("and an hour more in autumn", "Europe/Berlin", "01:00", {"until": "05:00"}, "2026-10-25", "2026-10-24T23:00", "2026-10-25T04:00"),
    ("a start that is skipped: right after the gap", "Europe/Berlin", "02:30", {"duration": "4h"}, "2026-03-29", "2026-03-29T01:00", "2026-03-29T05:00"),
    ("a start that comes twice: the first time", "Europe/Berlin", "02:30", {"duration": "4h"}, "2026-10-25", "2026-10-25T00:30", "2026-10-25T04:30"),
    ("an end that is skipped", "Europe/Berlin", "01:00", {"until": "02:30"}, "2026-03-29", "2026-03-29T00:00", "2026-03-29T01:00"),
    ("both are skipped: as long as written", "Europe/Berlin", "02:05", {"until": "02:50"}, "2026-03-29", "2026-03-29T01:00", "2026-03-29T01:45"),
    ("an end that comes twice", "Europe/Berlin", "01:00", {"until": "02:30"}, "2026-10-25", "2026-10-24T23:00", "2026-10-25T00:30"),
    ("over the change from the evening before", "Europe/Berlin", "22:00", {"until": "06:00"}, "2026-03-28", "2026-03-28T21:00", "2026-03-29T04:00"),
    # New York, 2026-03-08: 02:00 becomes 03:00 at 07:00 UTC; 2026-11-01: 02:00 becomes 01:00 at 06:00 UTC
    ("a start that is skipped", "America/New_York", "02:00", {"duration": "1h"}, "2026-03-08", "2026-03-08T07:00", "2026-03-08T08:00"),
    ("a start that comes twice", "America/New_York", "01:30", {"until": "03:00"}, "2026-11-01", "2026-11-01T05:30", "2026-11-01T08:00"),
    # Lord Howe changes by half an hour; 2026-10-04: 02:00 becomes 02:30 at 15:30 UTC; 2026-04-05: 02:00 becomes 01:30
    ("half an hour is skipped", "Australia/Lord_Howe", "02:15", {"duration": "1h"}, "2026-10-04", "2026-10-03T15:30", "2026-10-03T16:30"),
    ("half an hour comes twice", "Australia/Lord_Howe", "01:45", {"until": "03:00"}, "2026-04-05", "2026-04-04T14:45", "2026-04-04T16:30"),
]  # fmt: skip


@pytest.mark.parametrize(("_name", "zone", "start", "ending", "date", "begins", "ends"), CLOCK_CHANGES)
def test_where_clocks_change(  # noqa: PLR0917, PLR0913 - one argument a column
    _name: str, zone: str, start: str, ending: dict[str, str], date: str, begins: str, ends: str
) -> None:
    told = window(timezone=zone, start=start, dates=[date], **ending)
    assert told.times(at(date).date()) == (at(begins), at(ends))
    begin = at(begins)
    seen = [begin + timedelta(minutes=m) for m in range(-120, 26 * 60)]
    starts = {o.start for now in seen for o in openings([told], now)}
    assert starts <= {begin}  # once, whatever the clock shows twice


def test_work_in_an_hour_that_clocks_skip_is_planned_for_the_time_it_has() -> None:
    small = {"name": "w", "start": "02:05", "finish_by": "02:50", "timezone": "Europe/Berlin", "items": 1000}
    seen = context(BATCH, objectives={"requests_per_instance": 10}, windows=[small], now=at("2026-03-29T00:55"))
    assert [need.floor for need in needs(seen)] == [3]  # 1.1 / 0.9 * 1000 in 45 minutes


def test_work_keeps_its_capacity_for_a_quarter_of_an_hour_after_the_deadline() -> None:
    told = window(finish_by="06:00", items=1000, min_capacity=None)
    assert [bool(openings([told], at(now))) for now in ("2026-11-18T06:14", "2026-11-18T06:15")] == [True, False]


@pytest.mark.parametrize("finish_by", ["02:00", "01:50", "01:40"])
def test_work_is_over_when_the_next_begins(finish_by: str) -> None:
    """What the next has done was taken for what the one before had: all of it was late, and the maximum was ordered."""
    daily = {"name": "w", "start": "02:00", "finish_by": finish_by, "items": 24_000}
    seen = context(BATCH, objectives={"requests_per_instance": 12}, windows=[daily], now=at("2026-11-18T02:04"))
    [opening] = work_since(seen.enrolment, seen.now)
    done = progress(seen.enrolment, opening, minutes([15.0] * 1500, newest=at("2026-11-18T02:02")))
    [need] = needs(replace(seen, progress={"w": done}))
    assert (need.opening.start, need.floor, need.left) == (at("2026-11-18T02:00"), 2, 24_000 - 3 * 15)


@pytest.mark.parametrize(
    ("now", "expected"),
    [
        ("2026-11-18T01:49", False),
        ("2026-11-18T01:50", True),
        ("2026-11-18T01:54", True),
        ("2026-11-18T01:55", False),
        ("2026-11-18T06:00", True),
        ("2026-11-18T06:05", False),
    ],
)
def test_edges_are_looked_at_for_a_while_after(now: str, expected: bool) -> None:
    assert edge_within([window()], at(now), timedelta(minutes=5)) is expected


REFUSED = [
    ("two ends", {"duration": "4h", "until": "06:00"}, "exactly one of duration, until, finish_by must be given (seen duration, until)"),
    ("a deadline without work", {"finish_by": "06:00"}, "items and finish_by go together"),
    ("work without a deadline", {"items": 10, "min_capacity": None}, "items and finish_by go together"),
    ("work that gives way", {"finish_by": "06:00", "items": 10, "min_capacity": None, "hand_over": "30m"}, "goes without hand_over: the window ends when they are done"),
    ("giving way after days", {"hand_over": "25h"}, "must be from 0s to 24h"),
    ("two needs", {"requests_per_minute": 10}, "exactly one of items, requests_per_minute, min_capacity must be given (seen requests_per_minute, min_capacity)"),
    ("no need", {"min_capacity": None}, "exactly one of items, requests_per_minute, min_capacity must be given (seen none)"),
    ("a rule without its first date", {"rrule": "FREQ=DAILY"}, "needs `from`: the date it is counted from, in 2000 or later"),
    ("a rule from long ago", {"rrule": "FREQ=DAILY", "from": "1999-12-31"}, "needs `from`: the date it is counted from, in 2000 or later"),
    ("a rule by the hour", {"rrule": "FREQ=HOURLY", "from": "2026-01-01"}, "must be an RFC 5545 rule with FREQ=DAILY, WEEKLY, MONTHLY or YEARLY"),
    ("a rule with an end of its own", {"rrule": "FREQ=DAILY;UNTIL=20261231", "from": "2026-01-01"}, "may not say UNTIL (use `to`)"),
    ("a rule with a time of its own", {"rrule": "FREQ=DAILY;BYHOUR=3", "from": "2026-01-01"}, "may not say BYHOUR (use `start`)"),
    ("no rule", {"rrule": "FREQ=DAILY;BYDAY=XX", "from": "2026-01-01"}, "is no recurrence rule: invalid 'BYDAY': XX"),
    ("a rule that never comes", {"rrule": "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30", "from": "2026-01-01"}, "never comes"),
    ("a rule that stands still", {"rrule": "FREQ=DAILY;INTERVAL=0", "from": "2026-01-01"}, "must have an INTERVAL from 1 to 9999"),
    ("a rule that goes back", {"rrule": "freq=daily;interval=-1", "from": "2026-01-01"}, "must have an INTERVAL from 1 to 9999"),
    ("a rule in small letters, by the hour", {"rrule": "FREQ=DAILY;byhour=3", "from": "2026-01-01"}, "may not say BYHOUR (use `start`)"),
    ("a rule from no date", {"rrule": "FREQ=DAILY", "from": "bad"}, "must be a date such as 2026-12-24"),
    ("rule and dates", {"rrule": "FREQ=DAILY", "from": "2026-01-01", "dates": ["2026-01-02"]}, "only one of days, rrule and dates may say when it starts (seen rrule, dates)"),
    ("rule and days", {"rrule": "FREQ=DAILY", "from": "2026-01-01", "days": ["mon"]}, "only one of days, rrule and dates may say when it starts (seen days, rrule)"),
    ("no date", {"except": ["24.12.2026"]}, "must be a date such as 2026-12-24"),
    ("a time for a date", {"except": [at("2026-01-01T05:00")]}, "must be a date such as 2026-12-24"),
    ("the wrong way round", {"from": "2026-02-01", "to": "2026-01-01"}, "must not be before from (2026-02-01)"),
    ("a lead that is no time", {"lead": "soon"}, "must be a duration such as 90s, 15m, 4h or 1h30m"),
]  # fmt: skip


@pytest.mark.parametrize(("_name", "changes", "said"), REFUSED)
def test_refused(_name: str, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        window(**changes)
    assert [error["msg"].removeprefix("Value error, ") for error in refusal.value.errors()] == [said]


def test_a_window_reads_what_it_writes() -> None:
    told = window(
        rrule="FREQ=WEEKLY;BYDAY=MO", until="05:00", lead="auto", **{"from": "2026-01-01", "except": ["2026-01-05"]}
    )
    assert Window.model_validate_json(told.model_dump_json()) == told
    assert told.model_dump(mode="json")["except"] == ["2026-01-05"]


ORDERS = ScalableTarget.variant("orders", "AllTraffic")


def took(*minutes: float) -> tuple[timedelta, ...]:
    return tuple(timedelta(minutes=m) for m in minutes)


@pytest.mark.parametrize(
    ("_what", "loads", "begun"),
    [
        ("silence", [0] * 40, None),
        ("below half of what an instance serves", [400] * 40, None),
        ("a minute before the first of 10, 700, 900: their mean is above 500", [0] * 9 + [10, 700, 900], "02:10"),
        ("one burst of a minute is one too", [0] * 9 + [2000, 0, 0], "02:08"),
        ("load that is there already", [900] * 12, "02:00"),
        ("what came before the start does not count", [], None),
    ],
)
def test_load_is_seen_to_begin(_what: str, loads: list[float], begun: str | None) -> None:
    """An instance serves 1,000 a minute; the window begins at 02:00 and half an hour before that there was load."""
    [opening] = openings([window(hand_over="30m")], at("2026-11-18T03:00"))
    enrolment = context(REALTIME).enrolment
    first = opening.start - timedelta(minutes=30)
    seen = Observation(tuple(Point(first + timedelta(minutes=i), load) for i, load in enumerate([5000] * 30 + loads)))
    found = progress(enrolment, opening, seen)
    assert isinstance(found, Progress)
    assert found.begun == (at(f"2026-11-18T{begun}") if begun else None)
    assert found.done == sum(loads)


class TestLead:
    """`lead: auto` is the 95th percentile of this target's own starts, a minute, and a stable place in the spread."""

    @pytest.mark.parametrize(
        ("starts", "minutes"),
        [
            ((), 10),  # nothing known
            (took(3, 3, 3, 3), 10),  # too little
            (took(3, 3, 3, 3, 3), 4),
            (took(8, 3, 3, 3, 3), 9),  # of five the slowest
            (took(*[3] * 18, 4, 9), 5),  # of twenty the nineteenth
        ],
    )
    def test_it_is_learnt(self, starts: tuple[timedelta, ...], minutes: int) -> None:
        place = lead_of(ORDERS, ()) - LEAD
        assert lead_of(ORDERS, starts) == timedelta(minutes=minutes) + place

    def test_until_then_the_profile_may_state_it(self) -> None:
        stated = timedelta(minutes=20)
        place = lead_of(ORDERS, ()) - LEAD
        assert lead_of(ORDERS, (), stated) == timedelta(minutes=21) + place
        assert lead_of(ORDERS, took(3, 3, 3, 3, 3), stated) == timedelta(minutes=4) + place

    def test_a_fleet_spreads_its_orders_over_the_minutes_before_the_last_safe_one(self) -> None:
        fleet = [ScalableTarget.variant(f"job-{n}", "AllTraffic") for n in range(200)]
        leads = [lead_of(target, ()) for target in fleet]
        assert {min(leads), max(leads)} == {LEAD, LEAD + SPREAD - timedelta(minutes=1)}
        assert max(leads.count(lead) for lead in set(leads)) < 60  # of 200 in five minutes
        assert leads == [lead_of(target, ()) for target in fleet]

    def test_a_lead_that_is_stated_is_obeyed_to_the_minute(self) -> None:
        auto = timedelta(minutes=14)
        assert openings([window(lead="7m")], at("2026-11-18T01:53"), auto)[0].prewarm == at("2026-11-18T01:53")
        assert openings([window(lead="auto")], at("2026-11-18T01:53"), auto)[0].prewarm == at("2026-11-18T01:46")
