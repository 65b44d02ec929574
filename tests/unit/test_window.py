"""Windows are a pure function of now, on the clock of their own zone."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.policy import Window
from core.signals.window import edge_within, openings


def window(**changes: Any) -> Window:
    document = {"name": "w", "start": "02:00", "duration": "4h", "min_capacity": 3, "lead": "10m", **changes}
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
    ],
)
def test_openings(name: str, changes: dict[str, Any], now: str, is_open: bool) -> None:
    assert bool(openings([window(**changes)], at(now))) is is_open, name


def test_duration_is_elapsed_time_also_over_a_clock_change() -> None:
    # Berlin puts the clock forward on 2026-03-29 at 02:00: 01:00 + 4 h is 06:00 on the wall, 04:00 UTC
    opening = openings([window(start="01:00", timezone="Europe/Berlin")], at("2026-03-29T01:30"))[0]
    assert (opening.start, opening.end) == (at("2026-03-29T00:00"), at("2026-03-29T04:00"))


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
