"""Recurring blocks of load in a target's history: what a person would write down as windows (algorithms 10)."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from core.times import A_DAY, MINUTE

BUSY = 0.5
"""A block is a stretch whose 3-minute mean is above so much of what one instance serves."""

PAUSE, SHORTEST = 20, 4
"""Minutes of silence that do not end a block, and that one has at least."""

SPREAD = 120
"""Minutes that the starts of one job lie apart at most."""

DAYS_SHARE, FEWEST_DAYS = 0.6, 4
AFTER = 10
"""Minutes after the latest start: then load that comes is seen."""

OPENING = 30
"""Minutes of a block that its capacity is for: by then what is seen was answered too, and carries on."""


Clock = Callable[[int], int]
"""What a clock shows at a minute of the history, in minutes since a midnight."""


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of load: minutes from the beginning of the history, `end` exclusive."""

    start: int
    end: int
    instances: int
    """What serves each of its first `OPENING` minutes."""


@dataclass(frozen=True, slots=True)
class Recurring:
    """A block that comes on most days."""

    earliest: int
    """Minute of the day; so is `latest`."""

    latest: int
    instances: int
    """What every one of its blocks was served by."""

    days: tuple[int, ...]
    """Days on which it came, counted from 0, the first; ascending."""

    known: int
    """Days in the history."""


def busy(loads: Sequence[float], capacity: float) -> Iterator[int]:
    """Yield the minutes of which the mean with the two beside is above `BUSY` of what one instance serves."""
    return (m for m in range(len(loads)) if sum(loads[max(0, m - 1) : m + 2]) > 3 * BUSY * capacity)


def wall_clock(first: datetime, zone: ZoneInfo) -> Clock:
    """Return what clocks in a zone show so many minutes after `first`, in minutes since the midnight before that."""
    midnight = first.astimezone(zone).date()

    def shown(minute: int) -> int:
        local = (first + minute * MINUTE).astimezone(zone)
        return (local.date() - midnight) // MINUTE + 60 * local.hour + local.minute

    return shown


def blocks(loads: Sequence[float], capacity: float) -> Iterator[Block]:
    """Yield the blocks of load.

    Args:
        loads: requests of each minute.
        capacity: requests a minute one instance serves, above 0.
    """
    minutes = [*busy(loads, capacity)]
    start = 0
    for index, minute in enumerate(minutes):
        if index + 1 < len(minutes) and minutes[index + 1] - minute <= PAUSE:
            continue
        if minute + 1 - minutes[start] >= SHORTEST:
            highest = max(loads[minutes[start] : min(minute + 1, minutes[start] + OPENING)])
            yield Block(minutes[start], minute + 1, max(math.ceil(round(highest / capacity, 9)), 1))
        start = index + 1


def recurring(loads: Sequence[float], capacity: float, shown: Clock = int) -> tuple[Recurring, ...]:
    """Return the blocks that begin at about one time on most days, by their time; jobs around midnight are not found.

    Nothing is found where load is the rule: at least half of the minutes lie in blocks.

    Args:
        loads: requests of each minute, of whole days if all are to count as known.
        capacity: requests a minute one instance serves, above 0.
        shown: what clocks show where the load comes from; without it the history begins at midnight.
    """
    found = [*blocks(loads, capacity)]
    known = len(loads) // A_DAY
    if 2 * sum(block.end - block.start for block in found) >= len(loads):
        return ()
    begun = ((shown(block.start), block) for block in found)
    starts = sorted(((at % A_DAY, at // A_DAY, block) for at, block in begun), key=lambda start: start[:2])
    jobs = list[Recurring]()
    while starts:
        near = [[s for s in starts if 0 <= s[0] - first[0] <= SPREAD] for first in starts]
        job = max(near, key=lambda group: len({day for _, day, _ in group}))
        days = tuple(sorted({day for _, day, _ in job}))
        if len(days) < max(FEWEST_DAYS, DAYS_SHARE * known):
            break
        jobs.append(Recurring(job[0][0], job[-1][0], max(block.instances for _, _, block in job), days, known))
        starts = [s for s in starts if s not in job]
    return tuple(sorted(jobs, key=lambda job: job.earliest))
