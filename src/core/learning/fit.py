"""The daily fit: ridge regression on logs, and the quantiles of its errors by hour and level (algorithms 3 and 4)."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from datetime import timedelta
from itertools import accumulate

from core.model import Learned, Observation
from core.signals.forecast import (
    FRESH,
    HORIZONS,
    LAG,
    LEVELS,
    LOOK,
    MINUTE,
    QUANTILES,
    SCALE,
    SLOT,
    expected,
    level,
    row,
)

DAY = 24 * 60
HISTORY = timedelta(days=14)
LEAST = timedelta(days=3)
"""Less history than this is not fitted."""

EVERY = 10
"""Minutes between two rows of the fit. Every 5 gave no better result."""

RIDGE = 50.0
WEEK = 7
AROUND = 3
"""Minutes to both sides of one that its peak is taken of."""


class _Days:
    """The history by minutes, with what the rows look up in it; a minute that is missing repeats the one before."""

    def __init__(self, seen: Observation) -> None:
        self.first, self.last = seen.points[0].at, seen.points[-1].at
        values = {point.at: point.value for point in seen.points}
        self.load: list[float] = []
        for i in range(int((self.last - self.first) / MINUTE) + 1):
            self.load.append(values.get(self.first + i * MINUTE, self.load[-1] if self.load else 0.0))
        load, sums = self.load, [0.0, *accumulate(self.load)]
        self.logs = [math.log1p(value) for value in load]
        self.peaks = [max(load[max(0, i - AROUND) : i + AROUND + 1]) for i in range(len(load))]
        self.tops = [math.log1p(value) for value in self.peaks]
        self.means = [math.log1p((sums[i + 1] - sums[max(0, i - 14)]) / min(15, i + 1)) for i in range(len(load))]

    def season(self, at: int, ahead: int) -> list[float]:
        """Return the logs of the days before: peak at `at + ahead` and mean at `at`, over 7 days, a day and a week ago.

        A day that is not known is the mean of the others.
        """
        found = []
        for series, when in ((self.tops, at + ahead), (self.means, at)):
            days = {d: series[when - d * DAY] for d in range(1, WEEK + 1) if 0 <= when - d * DAY < len(series)}
            mean = sum(days.values()) / len(days)
            found.append((mean, days.get(1, mean), days.get(WEEK, mean)))
        return [value for pair in zip(*found, strict=True) for value in pair]


def fit(seen: Observation, capacity: float) -> Learned | None:
    """Learn from up to 14 days of requests a minute; None if they are fewer than three.

    Args:
        seen: requests of each minute.
        capacity: requests a minute one instance serves (`c`).
    """
    days = _Days(seen)
    if days.last - days.first < LEAST:
        return None
    lines, errors = [], []
    for horizon in HORIZONS:
        line, table = _horizon(days, horizon + LAG, capacity)
        lines.append(line)
        errors.append(table)
    places = range(int(FRESH / MINUTE) // SLOT + 4)
    season = [days.season(len(days.load) - 1 + place * SLOT, 0) for place in places]
    return Learned(
        fitted_at=days.last,
        peak=max(days.load),
        lines=tuple(lines),
        first=days.last,
        season=tuple(tuple(round(SCALE * each[i]) for each in season) for i in range(6)),
        errors={hour: tuple(table[hour] for table in errors) for hour in range(24)},
    )


def _horizon(days: _Days, ahead: int, capacity: float) -> tuple[tuple[float, ...], list[tuple[tuple[int, ...], ...]]]:
    """Fit one horizon; return its line, and for each hour and level the quantiles of its errors."""
    ends = range(len(days.load) - 1 - ahead - AROUND, DAY + LOOK, -EVERY)
    rows = [row(days.load[at - LOOK + 1 : at + 1], days.season(at, ahead)) for at in ends]
    wanted = [days.tops[at + ahead] - anchor for at, (anchor, _) in zip(ends, rows, strict=True)]
    weights = [days.peaks[at + ahead] / capacity + 0.02 for at in ends]
    line = _ridge([found for _, found in rows], wanted, weights)
    scores = []
    for at, (anchor, found) in zip(ends, rows, strict=True):
        log_load = expected(line, anchor, found)
        place = level(log_load, capacity)
        near = [0.1 + math.exp(-(((place - each) / 0.7) ** 2) / 2) for each in LEVELS]
        minute = days.first + (at + ahead) * MINUTE
        scores.append((days.logs[at + ahead] - log_load, minute.hour * 60 + minute.minute, near))
    scores.sort()
    return line, [_quantiles(scores, hour) for hour in range(24)]


def _ridge(rows: Sequence[Sequence[float]], wanted: Sequence[float], weights: Sequence[float]) -> tuple[float, ...]:
    """Return the offset and the weights of a weighted ridge regression on standardized columns."""
    total, size = sum(weights), len(rows[0])
    columns = list(zip(*rows, strict=True))
    means = [math.fsum(v * x for v, x in zip(weights, column, strict=True)) / total for column in columns]
    spread = [
        math.sqrt(math.fsum(v * (x - mean) ** 2 for v, x in zip(weights, column, strict=True)) / total) + 1e-6
        for column, mean in zip(columns, means, strict=True)
    ]
    middle = math.fsum(v * r for v, r in zip(weights, wanted, strict=True)) / total
    scaled = [[(x - mean) / sd for x in column] for column, mean, sd in zip(columns, means, spread, strict=True)]
    shares = [v * len(weights) / total for v in weights]
    weighed = [[v * x for v, x in zip(shares, column, strict=True)] for column in scaled]
    matrix = [[sum(map(float.__mul__, left, right)) for right in scaled] for left in weighed]
    for i in range(size):
        matrix[i][i] += RIDGE
    right = [sum(x * (r - middle) for x, r in zip(column, wanted, strict=True)) for column in weighed]
    slopes = [slope / sd for slope, sd in zip(_solved(matrix, right), spread, strict=True)]
    return (middle - sum(s * mean for s, mean in zip(slopes, means, strict=True)), *slopes)


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


def _quantiles(scores: Sequence[tuple[float, int, list[float]]], hour: int) -> tuple[tuple[int, ...], ...]:
    """Return the quantiles of the errors for each level, weighed towards this hour of the day and that level."""
    middle = hour * 60 + 30
    clock = [1 + 5 * math.exp(-((((m - middle + 720) % DAY - 720) / 45) ** 2) / 2) for m in range(DAY)]
    nearness = [clock[minute] for _, minute, _ in scores]
    found = []
    for i in range(len(LEVELS)):
        sums = list(accumulate(near * each[2][i] for near, each in zip(nearness, scores, strict=True)))
        places = (min(bisect_left(sums, share * sums[-1]), len(sums) - 1) for share in QUANTILES)
        found.append(tuple(round(SCALE * scores[place][0]) for place in places))
    return tuple(found)
