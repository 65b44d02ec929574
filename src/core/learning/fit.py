"""The daily fit: ridge regression on logs, and the quantiles of its errors by hour and level (algorithms 3 and 4)."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate
from zoneinfo import ZoneInfo

from core.learning.windows import AFTER, Recurring, blocks, recurring, wall_clock
from core.model import Habit, Learned, Observation
from core.signals.forecast import (
    FRESH,
    HELD,
    LAG,
    LEVELS,
    LOOK,
    QUANTILES,
    SCALE,
    SILENT,
    SLOT,
    expected,
    known,
    level,
    outlook,
    row,
)
from core.times import A_DAY, MINUTE

HISTORY = timedelta(days=14)
LEAST = timedelta(days=3)
"""Less history than this is not fitted."""

EVERY = 7
"""Minutes between two rows of the fit: no divisor of an hour, so jobs by the clock meet rows in all their minutes."""

RIDGE = 50.0
WEEK = 7
AROUND = 3
"""Minutes to both sides of one that its peak is taken of."""

FIRST = 20
"""Minutes of a block in which its size cannot be ordered any more."""

EARLY = 15
"""A block that begins so many minutes before its window is no surprise either."""

DOUBTED, UNLIKELY, MORE = 120, QUANTILES.index(0.97), 1.05
"""Minutes in which a fit that is belied shows, above which quantile, and how far: one of quiet days has no width."""

RECENT = timedelta(minutes=DOUBTED + 2 * LOOK)
"""What `belied` looks at, with the longest way ahead."""

JUDGED = 14
"""Predictions by which the next are judged."""

BY_CLOCK = [1 + 5 * math.exp(-((((m + A_DAY // 2) % A_DAY - A_DAY // 2) / 45) ** 2) / 2) for m in range(A_DAY)]
"""How much an error counts that was made so many minutes of the clock later; earlier ones count from the end."""


class _Days:
    """The history by minutes, with what the rows look up in it; a minute that is missing repeats the one before.

    An outage is taken for what was usual (algorithms 8). Its days are those of the wall clock in `zone`: an hour that
    is skipped is that of the hour after it.
    """

    def __init__(self, seen: Observation, zone: ZoneInfo, capacity: float) -> None:
        self.first, self.last = seen.points[0].at, seen.points[-1].at
        values = {point.at: point.value for point in seen.points}
        self.load: list[float] = []
        for i in range(int((self.last - self.first) / MINUTE) + 1):
            self.load.append(values.get(self.first + i * MINUTE, self.load[-1] if self.load else 0.0))
        self.shown = wall_clock(self.first, zone)
        hours = range(len(self.load) // 60 + 2 * A_DAY // 60)
        local = [(self.first + hour * timedelta(hours=1)).astimezone(zone) for hour in hours]
        self.offsets = [int((at.utcoffset() or timedelta(0)) / MINUTE) for at in local]
        self._repair(capacity)
        load = self.load
        self.logs = [math.log1p(value) for value in load]
        self.peaks = [max(load[max(0, i - AROUND) : i + AROUND + 1]) for i in range(len(load))]
        self.tops = [math.log1p(value) for value in self.peaks]
        self.means = [math.log1p(mean) for mean in self._means()]

    def _means(self) -> list[float]:
        """Return the mean of the 15 minutes until each."""
        sums = [0.0, *accumulate(self.load)]
        return [(sums[i + 1] - sums[max(0, i - 14)]) / min(15, i + 1) for i in range(len(self.load))]

    def _repair(self, capacity: float) -> None:
        """Put what was usual in the place of each silence that was over as long as it was waited for."""
        means, began = self._means(), None
        for i in range(WEEK * A_DAY, len(means)):
            day = min(self.before(i, 1), self.before(i, WEEK), key=means.__getitem__)
            if means[day] > capacity / 2 and means[i] < SILENT * means[day]:
                began = i if began is None and means[i - 15] > means[day] / 2 else began
            elif began is not None:
                if i - began <= HELD / MINUTE:
                    for j in range(began - 14, i):
                        usual = min(self.load[self.before(j, 1)], self.load[self.before(j, WEEK)])
                        self.load[j] = max(self.load[j], usual)
                began = None

    def before(self, at: int, days: int) -> int:
        """Return the minute so many days before at which clocks showed the same; -1 before all history."""
        place = at - days * A_DAY
        return max(place + self.offsets[at // 60] - self.offsets[place // 60], 0) if place >= 0 else -1

    def clock(self, at: int) -> int:
        """Return the minute of the day that clocks show."""
        return (self.first.hour * 60 + self.first.minute + at + self.offsets[at // 60]) % A_DAY

    def season(self, at: int, ahead: int) -> list[float]:
        """Return the logs of the days before: peak at `at + ahead` and mean at `at`, over 7 days, a day and a week ago.

        A day that is not known is the mean of the others.
        """
        found = []
        for series, when in ((self.tops, at + ahead), (self.means, at)):
            places = {d: self.before(when, d) for d in range(1, WEEK + 1)}
            days = {d: series[place] for d, place in places.items() if 0 <= place < len(series)}
            mean = sum(days.values()) / len(days)
            found.append((mean, days.get(1, mean), days.get(WEEK, mean)))
        return [value for pair in zip(*found, strict=True) for value in pair]


def fit(
    seen: Observation, capacity: float, timezone: str = "UTC", start: timedelta = timedelta(minutes=6)
) -> Learned | None:
    """Learn from up to 14 days of requests a minute; None if they are fewer than three.

    Args:
        seen: requests of each minute.
        capacity: requests a minute one instance serves (`c`).
        timezone: IANA zone of the clock by which the load repeats.
        start: from an order until instances serve (`D`).
    """
    days = _Days(seen, ZoneInfo(timezone), capacity)
    if days.last - days.first < LEAST:
        return None
    minutes = math.ceil(start / MINUTE)
    horizons = (3, minutes + 1, 2 * minutes + 1)
    lines, errors = [], []
    for horizon in horizons:
        line, table = _horizon(days, horizon + LAG, capacity)
        lines.append(line)
        errors.append(table)
    places = range(int(FRESH / MINUTE) // SLOT + 4)
    season = [days.season(len(days.load) - 1 + place * SLOT, 0) for place in places]
    return Learned(
        fitted_at=days.last,
        timezone=timezone,
        horizons=horizons,
        peak=max(days.load),
        lines=tuple(lines),
        first=days.last,
        week=len(days.load) >= WEEK * A_DAY,
        season=tuple(tuple(round(SCALE * each[i]) for each in season) for i in range(6)),
        errors={hour: tuple(table[hour] for table in errors) for hour in range(24)},
        habits=_habits(days, capacity),
    )


def belied(learned: Learned, seen: Observation, capacity: float) -> bool:
    """Return whether over a tenth of the last two hours was above what 97 % should stay below, since the fit.

    Then today is of another kind than the fit knows; one that is made anew has its errors.
    """
    ahead, values = (learned.horizons[1] + LAG) * MINUTE, {point.at: point.value for point in seen.points}
    judged = [seen.newest.at - back * MINUTE for back in range(0, DOUBTED, 2)]
    above = 0
    for at in judged:
        recent = known(seen, at - ahead) if at > learned.fitted_at and at in values else None
        if recent is not None:
            likely, _ = outlook(learned, recent[-LOOK:], at - ahead, capacity)[1][UNLIKELY]
            above += values[at] > max(MORE * likely, 1.0) * capacity
    return above > len(judged) / 10


def _habits(days: _Days, capacity: float) -> tuple[Habit, ...]:
    """Return the blocks of load of the last week that come again, judged by what such predictions were worth before."""
    end = len(days.load)
    starts = [(days.shown(block.start), block.start) for block in blocks(days.load, capacity)]

    def jobs(until: int) -> tuple[Recurring, ...]:
        first = max(0, until - WEEK * A_DAY)
        return recurring(days.load[first:until], capacity, lambda minute: days.shown(first + minute))

    def days_before(job: Recurring, until: int, back: int) -> range:
        """Return what clocks show when it is to begin in the day that lies so many days before `until`."""
        now = days.shown(until)
        first = now - back * A_DAY + (job.earliest - now) % A_DAY
        return range(first, first + job.latest - job.earliest + 1)

    hits = []
    for until in range(end - A_DAY, 0, -A_DAY):
        for job in jobs(until):
            due = days_before(job, until, 0)
            hits.append(any(due.start - EARLY <= at < due.stop + AFTER for at, _ in starts))
    recent = hits[:JUDGED]
    found = []
    for job in jobs(end):
        peaks = []
        for back in range(1, job.known + 1):
            begun = [start for at, start in starts if at in days_before(job, end, back)]
            peaks.append(max(days.load[begun[0] : begun[0] + FIRST]) if begun else 0.0)
        kept = (sum(recent) + 2) / (len(recent) + 2)
        found.append(Habit(earliest=job.earliest, latest=job.latest, peaks=tuple(peaks), kept=round(kept, 3)))
    return tuple(found)


def _horizon(days: _Days, ahead: int, capacity: float) -> tuple[tuple[float, ...], list[tuple[tuple[int, ...], ...]]]:
    """Fit one horizon; return its line, and for each hour and level the quantiles of its errors."""
    ends = range(len(days.load) - 1 - ahead - AROUND, A_DAY + LOOK, -EVERY)
    rows = [row(days.load[at - LOOK + 1 : at + 1], days.season(at, ahead), capacity) for at in ends]
    # One load test would bend the line for all other minutes; what comes on three days is no such thing.
    most = 10 * sorted(max(days.load[at : at + A_DAY]) for at in range(0, len(days.load), A_DAY))[-3]
    a_day = A_DAY // EVERY
    blocks = [range(first, min(first + a_day, len(rows))) for first in range(0, len(rows), a_day)]
    parts = []
    for block in blocks:
        tops = [days.tops[ends[i] + ahead] - rows[i][0] for i in block]
        weights = [min(days.peaks[ends[i] + ahead], most) / capacity + 0.02 for i in block]
        parts.append(_moments([[1.0, *rows[i][1], top] for i, top in zip(block, tops, strict=True)], weights))
    total = [[math.fsum(cells) for cells in zip(*lines, strict=True)] for lines in zip(*parts, strict=True)]
    scores = []
    for block, part in zip(blocks, parts, strict=True):
        # Errors are those of days that the line has not seen: of its own rows they would be too small.
        others = [[a - b for a, b in zip(*pair, strict=True)] for pair in zip(total, part, strict=True)]
        line = _ridge(others, len(rows) - len(block)) if len(blocks) > 1 else _ridge(total, len(rows))
        for i in block:
            log_load = expected(line, *rows[i])
            place = level(log_load, capacity)
            near = [0.1 + math.exp(-(((place - each) / 0.7) ** 2) / 2) for each in LEVELS]
            scores.append((days.logs[ends[i] + ahead] - log_load, days.clock(ends[i] + ahead), near))
    errors, minutes, nearness = zip(*sorted(scores), strict=True)
    levels = list(zip(*nearness, strict=True))
    return _ridge(total, len(rows)), [_quantiles(errors, minutes, levels, hour) for hour in range(24)]


Matrix = list[list[float]]


def _moments(rows: Sequence[Sequence[float]], weights: Sequence[float]) -> Matrix:
    """Return the weighted sums of the products of each two columns; those of disjoint rows may be added."""
    columns = list(zip(*rows, strict=True))
    weighed = [[v * x for v, x in zip(weights, column, strict=True)] for column in columns]
    half = [[sum(map(float.__mul__, left, right)) for right in columns[: i + 1]] for i, left in enumerate(weighed)]
    return [[half[max(i, j)][min(i, j)] for j in range(len(half))] for i in range(len(half))]


def _ridge(moments: Matrix, count: int) -> tuple[float, ...]:
    """Return the offset and the weights of a weighted ridge regression on standardized columns.

    Args:
        moments: of rows of 1, what is known, and what came of it.
        count: of the rows.
    """
    total, size = moments[0][0], len(moments) - 2
    means = [value / total for value in moments[0][1:]]
    spreads = [[moments[i + 1][j + 1] / total - means[i] * means[j] for j in range(size + 1)] for i in range(size)]
    sd = [math.sqrt(max(spreads[i][i], 0.0)) + 1e-6 for i in range(size)]
    matrix = [[count * spreads[i][j] / (sd[i] * sd[j]) + RIDGE * (i == j) for j in range(size)] for i in range(size)]
    right = [count * spreads[i][size] / sd[i] for i in range(size)]
    slopes = [slope / each for slope, each in zip(_solved(matrix, right), sd, strict=True)]
    return (means[size] - sum(s * mean for s, mean in zip(slopes, means[:size], strict=True)), *slopes)


def _solved(matrix: Sequence[Sequence[float]], right: Sequence[float]) -> list[float]:
    """Solve a positive definite system by elimination; the ridge keeps its diagonal far from 0."""
    rows = [[*row, value] for row, value in zip(matrix, right, strict=True)]
    for i, pivot in enumerate(rows):
        for below in rows[i + 1 :]:
            factor = below[i] / pivot[i]
            below[i:] = [b - factor * p for b, p in zip(below[i:], pivot[i:], strict=True)]
    found = [0.0] * len(rows)
    for i in reversed(range(len(rows))):
        found[i] = (rows[i][-1] - sum(rows[i][k] * found[k] for k in range(i + 1, len(rows)))) / rows[i][i]
    return found


def _quantiles(
    errors: Sequence[float], minutes: Sequence[int], levels: Sequence[Sequence[float]], hour: int
) -> tuple[tuple[int, ...], ...]:
    """Return the quantiles of the errors for each level, weighed towards this hour of the day and that level.

    Args:
        errors: ascending.
        minutes: of the day, of each.
        levels: for each of `LEVELS` how near each was to it.
        hour: of the day.
    """
    middle = hour * 60 + 30
    weights = [BY_CLOCK[minute - middle] for minute in minutes]
    found = []
    for near in levels:
        sums = list(accumulate(map(float.__mul__, weights, near)))
        places = (min(bisect_left(sums, share * sums[-1]), len(sums) - 1) for share in QUANTILES)
        found.append(tuple(round(SCALE * errors[place]) for place in places))
    return tuple(found)
