"""Schedules of scheduled actions, minute by minute."""

from datetime import UTC, datetime, timedelta

import pytest

from simulator.schedule import MINUTE, parse

DAY = datetime(2025, 4, 2, tzinfo=UTC)  # a Wednesday


def runs(expression: str, zone: str = "UTC", *, start: datetime = DAY, hours: int = 24) -> list[str]:
    """The minutes from `start` on at which it is due."""
    schedule = parse(expression, zone, start)
    minutes = (start + number * MINUTE for number in range(hours * 60))
    return [f"{minute:%d %H:%M}" for minute in minutes if schedule.due(minute)]


CASES = [
    ("once, in UTC", "at(2025-04-02T06:30:00)", "UTC", ["02 06:30"]),
    ("once, in local time", "at(2025-04-02T06:30:00)", "Europe/Berlin", ["02 04:30"]),  # +02:00 in April
    ("seconds fall into their minute", "at(2025-04-02T06:30:59)", "UTC", ["02 06:30"]),
    ("a rate begins one interval after its anchor", "rate(8 hours)", "UTC", ["02 08:00", "02 16:00"]),
    ("singular", "rate(1 day)", "UTC", []),
    ("daily, local", "cron(45 1 * * ? *)", "Europe/Berlin", ["02 23:45"]),
    ("list and range", "cron(0,30 1-2 * * ? *)", "UTC", ["02 01:00", "02 01:30", "02 02:00", "02 02:30"]),
    ("step from a start", "cron(5/20 3 * * ? *)", "UTC", ["02 03:05", "02 03:25", "02 03:45"]),
    ("weekday by name", "cron(0 9 ? * MON-FRI *)", "UTC", ["02 09:00"]),
    ("Wednesday is 4", "cron(0 9 ? * 4 *)", "UTC", ["02 09:00"]),
    ("another weekday", "cron(0 9 ? * SUN *)", "UTC", []),
    ("month by name", "cron(0 9 2 APR ? *)", "UTC", ["02 09:00"]),
    ("another year", "cron(0 9 * * ? 2026)", "UTC", []),
]


@pytest.mark.parametrize(("expression", "zone", "want"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_due(expression: str, zone: str, want: list[str]) -> None:
    assert runs(expression, zone) == want


def test_last_day_of_the_month_knows_february() -> None:
    assert runs("cron(0 6 L * ? *)", start=datetime(2025, 2, 27, tzinfo=UTC), hours=48) == ["28 06:00"]


def test_a_local_time_that_daylight_saving_skips_does_not_run() -> None:
    # Berlin, 30 March 2025: 02:00 becomes 03:00 at 01:00 UTC
    assert runs("cron(30 2 * * ? *)", "Europe/Berlin", start=datetime(2025, 3, 30, tzinfo=UTC)) == []


def test_a_local_time_that_daylight_saving_repeats_runs_once() -> None:
    # Berlin, 26 October 2025: 02:30 comes at 00:30 and at 01:30 UTC
    assert runs("cron(30 2 * * ? *)", "Europe/Berlin", start=datetime(2025, 10, 26, tzinfo=UTC)) == ["26 00:30"]


def test_a_rate_anchored_between_minutes_runs_once_an_interval() -> None:
    schedule = parse("rate(15 minutes)", "UTC", DAY + timedelta(seconds=30))
    due = [number for number in range(60) if schedule.due(DAY + number * MINUTE)]
    assert due == [15, 30, 45]


@pytest.mark.parametrize(
    ("expression", "zone", "why"),
    [
        ("every(5 minutes)", "UTC", "not at"),
        ("rate(0 minutes)", "UTC", "positive"),
        ("rate(5 weeks)", "UTC", "minute"),
        ("cron(0 9 * * ?)", "UTC", "six fields"),
        ("cron(0 9 * * * *)", "UTC", "exactly one"),
        ("cron(0 9 ? * ? *)", "UTC", "exactly one"),
        ("cron(0 24 * * ? *)", "UTC", "from 0 to 23"),
        ("cron(0 9 15W * ? *)", "UTC", "from 1 to 31"),
        ("cron(0 9 ? * 2#1 *)", "UTC", "not simulated"),
        ("rate(5 minutes)", "Mars/Olympus", "time zone"),
        ("at(tomorrow)", "UTC", "isoformat"),
    ],
)
def test_refused(expression: str, zone: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse(expression, zone, DAY)
