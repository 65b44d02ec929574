"""The load to come, as far as the past tells: fitted once a day (`core.learning`), multiplied each minute.

Sections 3 to 6 of the algorithms, of which each part here earned its place (algorithms 14).
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from core.learning.windows import AFTER, busy
from core.model import Habit, Learned, Observation, Option
from core.policy_windows import instant
from core.signals.utilisation import instances
from core.times import DAY, MINUTE

LAG, LATE = 2, 5
"""Minutes from the newest readable one until now (`l`), and how many more it may be before it is missing."""

SPARE = 2
"""Minutes before the last moment at which a window opens."""

SLOT = 5
"""Minutes of a place in the season's tables."""

LOOK = 60
"""Minutes of load that a forecast looks at."""

ACTIVE = 0.3
"""A minute with more than this of what one instance serves is not silence."""

KEPT = 3
"""Minutes for which all must agree before capacity is given up."""

SEEN = 5
"""Minutes after which a block that began needs no window any more."""

SILENT, BACK, HELD = 0.1, 30, timedelta(minutes=180)
"""Traffic below this share of what is usual is away (algorithms 8), and back when it was not so for so many minutes.

It is waited for so long; after that it is no outage."""

FRESH = timedelta(hours=26)
"""A fit is used so long: one that was missed is made up for in an hour or two."""

SCALE = 100
"""Logs are stored as whole hundredths."""

QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.8, 0.87, 0.92, 0.95, 0.97, 0.984, 0.993, 0.998)
_EDGES = (0.0, *((a + b) / 2 for a, b in pairwise(QUANTILES)), 1.0)
MASSES = tuple(high - low for low, high in pairwise(_EDGES))
BEYOND, RARE, CAUTIOUS = 1.1, 0.002, 100.0
"""A load so many times the largest that errors reach has this probability, from this price on: at `critical`."""

LEVELS = tuple(math.log(load + 0.05) for load in (0.0, 0.25, 1.0, 3.0, 8.0))
"""Forecast loads, in instances and on the scale of `level`, at which the errors are tabulated."""


def around(learned: Learned, now: datetime) -> Learned:
    """Return the part of a fit that decisions at `now` look at."""
    place = int((now - learned.first) / MINUTE) // SLOT
    last = len(learned.season[0]) - 1
    low = min(max(place - 2 - BACK // SLOT, 0), last)
    high = min(max(place, 0), last) + 1 + (max(learned.horizons) + LAG) // SLOT + 1
    ahead = [minutes for horizon in learned.horizons for minutes in (horizon - LATE - KEPT, horizon)]
    hours = {_hour(learned, now + minutes * MINUTE) for minutes in ahead}
    return replace(
        learned,
        first=learned.first + low * SLOT * MINUTE,
        season=tuple(table[low : high + 1] for table in learned.season),
        errors={hour: learned.errors[hour] for hour in sorted(hours)},
        habits=tuple(habit for habit in learned.habits if _opened(learned, habit, now)),
        judged=(),
    )


def span(learned: Learned, now: datetime) -> timedelta:
    """Return how much of the past a decision needs to see."""
    opened = [at for habit in learned.habits if (at := _opened(learned, habit, now))]
    return max([LOOK * MINUTE, *(now - at for at in opened)]) + (2 * KEPT + LATE) * MINUTE


def _opened(learned: Learned, habit: Habit, now: datetime) -> datetime | None:
    """Return since when capacity is to be there or on its way for a block; None outside its window."""
    zone = ZoneInfo(learned.timezone)
    today = now.astimezone(zone).date()
    for day in (today - DAY, today, today + DAY):
        earliest = instant(day, time(*divmod(habit.earliest, 60)), zone)
        opened = earliest - (learned.horizons[1] + SPARE) * MINUTE
        if opened <= now < earliest + (habit.latest - habit.earliest + AFTER) * MINUTE:
            return opened
    return None


def ready_for(learned: Learned, habit: Habit, seen: Observation, capacity: float, price: float) -> int:
    """Return the instances that are worth waiting with for a block that has not begun (algorithms 10).

    One that was ordered only when the block is seen comes D + l + 2 minutes late; waiting takes half the window.
    """
    opened = _opened(learned, habit, seen.newest.at + LAG * MINUTE)
    if opened is None:
        return 0
    loads = [point.value for point in seen.points if point.at >= opened]
    begun = next(busy(loads, capacity), len(loads))
    if len(loads) - 1 - begun > SEEN:
        return 0
    start = learned.horizons[1] - 1
    late, waits = start + LAG + 2, (habit.latest - habit.earliest) / 2 + start + SEEN
    peaks = [(peak / capacity, 1 / len(habit.peaks)) for peak in habit.peaks]
    return worth(peaks, price * habit.kept * late / waits)


def usual(learned: Learned, at: datetime) -> tuple[float, float]:
    """Return the peak and the mean of yesterday or of a week ago, whichever is less; 0 where one is not known."""
    place = min(max(round((at - learned.first) / (SLOT * MINUTE)), 0), len(learned.season[0]) - 1)
    _, _, *days = (math.expm1(table[place] / SCALE) for table in learned.season)
    return (min(days[0], days[2]), min(days[1], days[3])) if learned.week else (0.0, 0.0)


def usual_floor(learned: Learned, now: datetime, capacity: float) -> int:
    """Return the instances that are usual from now until an order placed now serves."""
    peaks = (usual(learned, now + minutes * MINUTE)[0] for minutes in range(0, learned.horizons[1] + SLOT, SLOT))
    return instances(max(peaks), capacity)


def silent(learned: Learned, seen: Observation, capacity: float, *, fell: bool) -> bool | None:
    """Return whether in the last half hour the traffic was away that yesterday and a week ago had (algorithms 8).

    None where too little is known to tell. With `fell`, it is known that it was there before; else that must be seen.
    """
    newest = seen.newest.at
    load = known(seen, newest)
    if load is None:
        return None
    for end in range(len(load) - BACK + 1, len(load) + 1):
        mean = usual(learned, newest - (len(load) - end) * MINUTE)[1]
        away = mean > capacity / 2 and sum(load[end - 15 : end]) / 15 < SILENT * mean
        if away and (fell or sum(load[end - 30 : end - 15]) / 15 > mean / 2):
            return True
    return False


def _hour(learned: Learned, at: datetime) -> int:
    """Return the hour that clocks show where the load comes from."""
    return at.astimezone(ZoneInfo(learned.timezone)).hour


def known(seen: Observation, newest: datetime) -> list[float] | None:
    """Return the load of the last minutes until `newest`; a gap repeats the minute before it, three at most.

    None where more is missing: then the past says nothing of the next minutes.
    """
    values = {point.at: point.value for point in seen.points}
    length, found, missing = LOOK + KEPT - 1, list[float](), 0
    for back in range(length + KEPT - 1, -1, -1):  # what came before the oldest may have to stand for it
        value = values.get(newest - back * MINUTE)
        missing = missing + 1 if value is None else 0
        if missing > KEPT:
            return None
        if value is not None or found:
            found.append(found[-1] if value is None else value)
    return found[-length:] if len(found) >= length else None


def row(recent: Sequence[float], season: Sequence[float], capacity: float) -> tuple[float, list[float]]:
    """Return the anchor, the log of the last 15 minutes' mean, and what else is known, relative to it (algorithms 3).

    Args:
        recent: requests of the last 60 minutes, oldest first.
        season: logs from the days before.
        capacity: requests a minute one instance serves (`c`).
    """
    active = [value > ACTIVE * capacity for value in reversed(recent)]
    mean = sum(recent[-15:]) / 15
    a = math.log1p(mean)
    five = math.log1p(sum(recent[-5:]) / 5)
    before = math.log1p(sum(recent[-30:-15]) / 15)
    return a, [
        math.log1p(recent[-1]) - a,
        five - a,
        math.log1p(sum(recent) / len(recent)) - a,
        math.log1p(max(recent[-5:])) - a,
        math.log1p(max(recent[-30:])) - a,
        five - before - a,
        math.log1p(active.index(True) if any(active) else len(active)),
        3 * sum(active) / len(active),
        *(each - a for each in season),
    ]


def expected(line: Sequence[float], anchor: float, found: Sequence[float]) -> float:
    """Return the log of one plus the load that is expected."""
    return max(0.0, anchor + line[0] + math.fsum(w * x for w, x in zip(line[1:], found, strict=True)))


def level(log_load: float, capacity: float) -> float:
    """Return where a load stands on the scale by which errors are weighed."""
    return math.log(math.expm1(log_load) / capacity + 0.05)


Points = list[tuple[float, float]]
"""A load in instances and its probability."""


def outlook(learned: Learned, recent: Sequence[float], newest: datetime, capacity: float) -> list[Points]:
    """Return the distribution of the load at each horizon, as seen when `newest` was the newest readable minute."""
    place = (newest - learned.first) / MINUTE
    found = []
    for horizon, line in enumerate(learned.lines):
        ahead = learned.horizons[horizon] + LAG
        last = len(learned.season[0]) - 1
        slots = [min(max(round((place + minutes) / SLOT), 0), last) for minutes in (ahead, 0)]
        season = [table[slots[i % 2]] / SCALE for i, table in enumerate(learned.season)]
        log_load = expected(line, *row(recent, season, capacity))
        at = level(log_load, capacity)
        low = min(max(bisect_right(LEVELS, at) - 1, 0), len(LEVELS) - 2)
        share = min(max((at - LEVELS[low]) / (LEVELS[low + 1] - LEVELS[low]), 0.0), 1.0)
        tables = learned.errors[_hour(learned, newest + ahead * MINUTE)][horizon]
        errors = (a + share * (b - a) for a, b in zip(tables[low], tables[low + 1], strict=True))
        loads = (max(math.expm1(log_load + error / SCALE), 0.0) / capacity for error in errors)
        found.append(list(zip(loads, MASSES, strict=True)))
    return found


def _and_beyond(points: Points) -> Points:
    """Add what has not been seen yet: of some hundred errors like these the next may be the largest."""
    largest, mass = points[-1]
    return [*points[:-1], (largest, mass - RARE), (BEYOND * largest, RARE)]


def worth(points: Iterable[tuple[float, float]], price: float) -> int:
    """Return the instances that are worth their price: least n + price * sum of p z over the z > n (algorithms 5)."""
    best, count, lost = math.inf, 0, 0.0
    for load, mass in sorted(points, reverse=True):
        needed = math.ceil(round(load, 9))
        if needed + price * lost <= best:
            best, count = needed + price * lost, needed
        lost += mass * load
    return 0 if price * lost <= best else count


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a minute's outlook asks for: below `order`, order up to `up_to`; above `keep`, scale in to it."""

    order: int
    up_to: int
    keep: int
    promised: float = 0.0
    """Probability that a minute in which such an order would serve needs no more than `up_to`, or than one."""

    def floor(self, desired: int) -> int:
        """Return the floor where so many are ordered."""
        return self.up_to if desired < self.order else min(desired, self.keep)


def price_of(learned: Learned, price: float) -> float:
    """Return the price in force: the knob's, in proportion to what load costs here; but `critical` spares nothing."""
    return price if price >= CAUTIOUS else price * learned.dearness


def foresee(learned: Learned, seen: Observation, *, capacity: float, price: float) -> Wish | None:
    """Return the instances to order and to keep (algorithms 6), None where too little is known.

    Args:
        learned: the fit, or its part around `newest`.
        seen: requests of the last minutes (`span`).
        capacity: requests a minute one instance serves (`c`).
        price: instance-minutes that are worth one instance-minute of requests in time (`lambda`), where one such
            costs two: it is in proportion to what it costs here.
    """
    cautious, price = price >= CAUTIOUS, price_of(learned, price)
    habits = learned.habits if learned.chosen is not Option.GUARD else ()
    waiting = max([0, *(ready_for(learned, habit, seen, capacity, price) for habit in habits)])
    if learned.chosen is not Option.FORECAST:
        return Wish(order=waiting, up_to=waiting, keep=waiting)
    newest = seen.newest.at
    load = known(seen, newest)
    if load is None:
        return None
    cap = math.ceil(1.3 * max(learned.peak, *load) / capacity)

    def count(points: Iterable[tuple[float, float]], at: float) -> int:
        return min(worth(points, at), cap)

    keep, order, up_to, promised = waiting, 0, 0, 0.0
    for back in range(KEPT):
        recent = load[KEPT - 1 - back : len(load) - back]
        needed = instances(recent[-1], capacity)
        ahead = outlook(learned, recent, newest - back * MINUTE, capacity)
        if cautious:
            ahead = [_and_beyond(points) for points in ahead]
        first = max(needed, waiting, count(ahead[1], 0.7 * price))
        keep = max(keep, first, *(count(points, price) for points in ahead))
        if not back:
            # Too small an order blocks the next; too large a one is given back. So the later horizon counts twice.
            served = [*ahead[1], *ahead[2]]
            order, up_to = first, max(first, count([(z, p / 3) for z, p in (*served, *ahead[2])], price))
            promised = sum(p / 2 for z, p in served if z <= max(up_to, 1))
    return Wish(order=order, up_to=up_to, keep=max(keep, up_to), promised=promised)
