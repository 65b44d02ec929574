"""The metric store and metric arithmetic: points by the minute, statistics, simple expressions."""

from __future__ import annotations

import ast
import functools
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MetricKey = tuple[str, str, tuple[tuple[str, str], ...]]  # namespace, name, sorted dimensions
Series = dict[int, float]  # epoch minute -> value


@dataclass(frozen=True, slots=True)
class Datum:
    """What arrived for one metric in one minute. `values` with `counts` only where percentiles are wanted."""

    total: float
    count: float
    low: float
    high: float
    values: tuple[float, ...] = ()
    counts: tuple[float, ...] = ()

    def plus(self, other: Datum) -> Datum:
        """Both together."""
        return Datum(
            self.total + other.total,
            self.count + other.count,
            min(self.low, other.low),
            max(self.high, other.high),
            self.values + other.values,
            self.counts + other.counts,
        )


Measured = Datum | Callable[[], Datum]
"""A datum, or what works it out when somebody reads it: of most metrics nobody ever does."""


def sample(value: float, count: float = 1.0) -> Datum:
    """`count` samples of the same value."""
    return Datum(value * count, count, value, value, (value,), (count,))


def samples(values: Sequence[float], counts: Sequence[float]) -> Datum:
    """Values, each seen `counts` times; those seen zero times are left out."""
    pairs = [(value, count) for value, count in zip(values, counts, strict=True) if count > 0]
    kept, weights = tuple(value for value, _ in pairs), tuple(count for _, count in pairs)
    return Datum(math.fsum(v * c for v, c in pairs), sum(weights), min(kept), max(kept), kept, weights)


STATISTICS: dict[str, Callable[[Datum], float]] = {
    "Sum": lambda datum: datum.total,
    "Average": lambda datum: datum.total / datum.count,
    "Maximum": lambda datum: datum.high,
    "Minimum": lambda datum: datum.low,
    "SampleCount": lambda datum: float(datum.count),
}


def statistic(datum: Datum, stat: str) -> float:
    """One CloudWatch statistic; a percentile is the smallest value that many samples do not exceed."""
    if stat in STATISTICS:
        return STATISTICS[stat](datum)
    rank = float(stat.removeprefix("p")) / 100 * datum.count
    seen = 0.0
    for value, count in sorted(zip(datum.values, datum.counts, strict=True)):
        seen += count
        if seen >= rank - 1e-9:
            return value
    return datum.high


def is_statistic(stat: str) -> bool:
    """Whether CloudWatch would compute it: a plain statistic or a percentile such as p95."""
    return stat in STATISTICS or bool(re.fullmatch(r"p(100|\d{1,2}(\.\d+)?)", stat))


def metric_key(namespace: str, name: str, dimensions: Iterable[Mapping[str, str]]) -> MetricKey:
    """Dimensions in any order make the same key."""
    return namespace, name, tuple(sorted((item["Name"], item["Value"]) for item in dimensions))


def epoch_minute(moment: datetime) -> int:
    """The minute a moment lies in, counted from 1970."""
    return int(moment.timestamp()) // 60


def from_epoch_minute(minute: int) -> datetime:
    """The start of that minute."""
    return datetime.fromtimestamp(minute * 60, UTC)


class MetricStore:
    """All points of the account, exact dimension sets only: `{A}` and `{A, B}` are different metrics (facts 3.4).

    Attributes:
        judged: the newest minute that alarms have looked at.
        revised: counts what came for that minute or an older one: whoever kept points must read them again.

    Args:
        kept: minutes of points at least kept for each metric; CloudWatch keeps 15 days by the minute (facts 2.8).
    """

    def __init__(self, kept: int = 15 * 24 * 60) -> None:
        self._points: dict[MetricKey, dict[int, Measured]] = {}
        self._kept = kept
        self.judged = 0
        self.revised = 0

    def put(self, key: MetricKey, minute: int, datum: Measured) -> None:
        """Add to what the minute holds already."""
        points = self._points.setdefault(key, {})
        before = points.get(minute)
        points[minute] = datum if before is None else known_datum(before).plus(known_datum(datum))
        if minute <= self.judged:
            self.revised += 1
        if len(points) > self._kept * 5 // 4:
            self._points[key] = {each: points[each] for each in sorted(points)[-self._kept :]}

    def read(self, key: MetricKey, first: int, length: int) -> Datum | None:
        """The points of `length` minutes from `first` as one, or None without any."""
        points = self._points.get(key)
        if points is None:
            return None
        merged: Datum | None = None
        for minute in range(first, first + length):
            datum = points.get(minute)
            if datum is None:
                continue
            if not isinstance(datum, Datum):
                datum = points[minute] = datum()
            merged = datum if merged is None else merged.plus(datum)
        return merged

    def series(self, key: MetricKey, stat: str, buckets: range, newest: int) -> Series:
        """`stat` per bucket of `buckets.step` minutes, from points up to the minute `newest`."""
        points = self._points.get(key, {})
        if len(points) < len(buckets):  # weeks are asked for, hours are known
            places = {(minute - buckets.start) // buckets.step for minute in points}
            buckets_known = [buckets[place] for place in sorted(places) if 0 <= place < len(buckets)]
        else:
            buckets_known = list(buckets)
        found = ((bucket, self.read(key, bucket, min(buckets.step, newest + 1 - bucket))) for bucket in buckets_known)
        return {bucket: statistic(datum, stat) for bucket, datum in found if datum is not None}


def known_datum(datum: Measured) -> Datum:
    """The datum itself, worked out if need be."""
    return datum if isinstance(datum, Datum) else datum()


OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
}
FUNCTIONS: dict[str, Callable[[list[float]], float]] = {"MAX": max, "MIN": min, "SUM": math.fsum}


def evaluate(expression: str, known: Mapping[str, Series], buckets: Sequence[int]) -> Series:
    """Metric math over series: + - * / **, FILL(m, REPEAT | number), MAX, MIN and SUM of [m1, m2].

    A bucket where an operand has no point, or a division by zero, has no result. Raises ValueError otherwise.
    """
    result = _value(_parsed(expression), known, buckets)
    return result if isinstance(result, dict) else dict.fromkeys(buckets, result)


@functools.lru_cache
def _parsed(expression: str) -> ast.expr:
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except SyntaxError:
        raise ValueError(f"Error in expression '{expression}'") from None


def _value(node: ast.expr, known: Mapping[str, Series], buckets: Sequence[int]) -> Series | float:
    match node:
        case ast.Constant(value=int() | float() as number):
            return float(number)
        case ast.Name(id=name) if name in known:
            return known[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return _combined(operator.mul, -1.0, _value(operand, known, buckets))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in OPERATORS:
            return _combined(OPERATORS[type(op)], _value(left, known, buckets), _value(right, known, buckets))
        case ast.Call():
            return _call(node, known, buckets)
        case _:
            raise ValueError(f"'{ast.unparse(node)}' is not simulated in metric math")


def _call(node: ast.Call, known: Mapping[str, Series], buckets: Sequence[int]) -> Series:
    match node:
        case ast.Call(func=ast.Name(id="FILL"), args=[inner, ast.Name(id="REPEAT")]):
            return _filled(_value(inner, known, buckets), None, buckets)
        case ast.Call(func=ast.Name(id="FILL"), args=[inner, filler]):
            return _filled(_value(inner, known, buckets), _value(filler, known, buckets), buckets)
        case ast.Call(func=ast.Name(id=name), args=[ast.List(elts=items)]) if name in FUNCTIONS:
            return _reduced(FUNCTIONS[name], [_value(item, known, buckets) for item in items], buckets)
    raise ValueError(f"'{ast.unparse(node)}' is not simulated in metric math")


def _combined(function: Callable[[float, float], float], left: Series | float, right: Series | float) -> Series | float:
    if not isinstance(left, dict) and not isinstance(right, dict):
        return function(left, right)
    keys = (left.keys() if isinstance(left, dict) else None, right.keys() if isinstance(right, dict) else None)
    both = [side for side in keys if side is not None]
    result: Series = {}
    for bucket in sorted(set.intersection(*map(set, both))):
        a = left[bucket] if isinstance(left, dict) else left
        b = right[bucket] if isinstance(right, dict) else right
        try:
            result[bucket] = function(a, b)
        except ZeroDivisionError:
            continue
    return result


def _reduced(function: Callable[[list[float]], float], parts: list[Series | float], buckets: Sequence[int]) -> Series:
    result: Series = {}
    for bucket in buckets:
        values = [part.get(bucket) if isinstance(part, dict) else part for part in parts]
        present = [value for value in values if value is not None]
        if present:
            result[bucket] = function(present)
    return result


def _filled(series: Series | float, filler: Series | float | None, buckets: Sequence[int]) -> Series:
    """FILL: `filler` None repeats the last point before the gap."""
    if not isinstance(series, dict) or isinstance(filler, dict):
        raise ValueError("FILL needs a metric and REPEAT or a number")  # noqa: TRY004 - wrong text, not a wrong type
    result: Series = {}
    last = filler
    for bucket in sorted(buckets):
        value = series.get(bucket, last)
        if filler is None:
            last = value
        if value is not None and (series or filler is not None):
            result[bucket] = value
    return result


def evaluated(
    queries: Sequence[Mapping[str, Any]], fetch: Callable[[Mapping[str, Any]], Series], buckets: Sequence[int]
) -> dict[str, Series]:
    """The series of every query by its Id; expressions may use ids that come later in the list."""
    known: dict[str, Series] = {query["Id"]: fetch(query["MetricStat"]) for query in queries if "MetricStat" in query}
    waiting = {query["Id"]: query["Expression"] for query in queries if "Expression" in query}
    while waiting:
        ready = [key for key, text in waiting.items() if not waiting.keys() & set(re.findall(r"\b[a-z]\w*", text))]
        if not ready:
            raise ValueError(f"Expressions refer to each other in a circle: {', '.join(waiting)}")
        for key in ready:
            known[key] = evaluate(waiting.pop(key), known, buckets)
    return known
