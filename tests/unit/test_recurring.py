"""Blocks of load that come at about one time on most days are found; others are not."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from core.learning.windows import Block, Recurring, blocks, recurring, wall_clock
from core.times import A_DAY

C = 100.0
"""Requests a minute that one instance serves."""

WEEK = tuple(range(7))


def load(*stretches: tuple[int, int, float], days: int = 7) -> list[float]:
    """Return minutes with `(first, length, requests)` stretches and silence between."""
    made = [0.0] * (days * A_DAY)
    for first, length, requests in stretches:
        made[first : first + length] = [requests] * length
    return made


def nightly(first: int, *, shifts: tuple[int, ...] = (0,) * 7, requests: float = 450) -> list[float]:
    return load(*[(day * A_DAY + first + shift, 60, requests) for day, shift in enumerate(shifts)])


@pytest.mark.parametrize(
    ("_what", "minutes", "found"),
    [
        ("silence", load(), []),
        ("a stretch: ceil(450 / 100)", load((60, 30, 450)), [Block(60, 90, 5)]),
        ("exactly what four serve", load((60, 30, 400)), [Block(60, 90, 4)]),
        ("below half of what an instance serves", load((60, 30, 40)), []),
        ("too short", load((60, 2, 90)), []),
        ("a pause of 20 minutes is none", load((60, 30, 450), (110, 30, 450)), [Block(60, 140, 5)]),
        ("a longer one is", load((60, 30, 90), (112, 30, 90)), [Block(60, 90, 1), Block(112, 142, 1)]),
        ("its highest minute counts", load((60, 25, 250), (85, 2, 900), (87, 30, 250)), [Block(59, 118, 9)]),
        ("but none after the first half hour", load((60, 40, 250), (100, 2, 900)), [Block(59, 103, 3)]),
    ],
)
def test_blocks(_what: str, minutes: list[float], found: list[Block]) -> None:
    # the mean of three minutes rises a minute before a load of more than 1.5 instances, and falls one after
    near = [
        (abs(a.start - b.start) <= 1, abs(a.end - b.end) <= 1, a.instances)
        for a, b in zip(blocks(minutes, C), found, strict=True)
    ]
    assert near == [(True, True, block.instances) for block in found]


@pytest.mark.parametrize(
    ("_what", "minutes", "found"),
    [
        ("each night", nightly(121), [Recurring(120, 120, 5, WEEK, 7)]),
        ("each night, sooner or later", nightly(121, shifts=(0, 40, 3, 99, 7, 60, 1)), [Recurring(120, 219, 5, WEEK, 7)]),
        ("one larger night counts", [a + b for a, b in zip(nightly(121), load((2 * A_DAY + 125, 9, 250)), strict=True)],
         [Recurring(120, 120, 7, WEEK, 7)]),
        ("too far apart to be one job", nightly(121, shifts=(0, 200, 400, 600, 800, 1000, 1200)), []),
        ("five nights of seven are 71 %", load(*[(d * A_DAY + 121, 60, 450) for d in range(5)]), [Recurring(120, 120, 5, WEEK[:5], 7)]),
        ("four nights are 57 %", load(*[(d * A_DAY + 121, 60, 450) for d in range(4)]), []),
        ("two jobs", [a + b for a, b in zip(nightly(121), nightly(901, requests=250), strict=True)],
         [Recurring(120, 120, 5, WEEK, 7), Recurring(900, 900, 3, WEEK, 7)]),
        ("three days are too few", load(*[(d * A_DAY + 121, 60, 450) for d in range(3)], days=3), []),
        ("load is the rule", load((0, 5 * A_DAY, 450)), []),
    ],
)  # fmt: skip
def test_recurring(_what: str, minutes: list[float], found: list[Recurring]) -> None:
    assert [*recurring(minutes, C)] == found


@pytest.mark.parametrize(
    ("_what", "first", "zone", "found"),
    [
        ("by this clock", "2026-03-25T10:00+00:00", "UTC", Recurring(720, 780, 5, WEEK, 7)),
        ("clocks go forward on the 29th", "2026-03-25T10:00+00:00", "Europe/Berlin", Recurring(840, 840, 5, WEEK, 7)),
        ("they went before", "2026-03-30T10:00+00:00", "Europe/Berlin", Recurring(840, 900, 5, WEEK, 7)),
        ("far away it is the next day", "2026-03-25T10:00+00:00", "Asia/Tokyo", Recurring(1260, 1320, 5, WEEK, 7)),
    ],
)
def test_a_job_is_found_by_the_clock_it_follows(_what: str, first: str, zone: str, found: Recurring) -> None:
    """It begins two hours into the history, and an hour sooner from the fifth day on."""
    minutes = nightly(121, shifts=(60, 60, 60, 60, 0, 0, 0))
    assert recurring(minutes, C, wall_clock(datetime.fromisoformat(first), ZoneInfo(zone))) == (found,)
