"""Metric alarms: what makes their state, and the event a change of state sends (facts 2.8, 6.1)."""

from __future__ import annotations

import functools
import json
import operator
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from simulator.events import stamp
from simulator.metrics import evaluated, from_epoch_minute, metric_key
from simulator.service import stable_uuid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from simulator.metrics import MetricStore, Series

COMPARISONS: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "GreaterThanThreshold": (operator.gt, "greater than"),
    "GreaterThanOrEqualToThreshold": (operator.ge, "greater than or equal to"),
    "LessThanThreshold": (operator.lt, "less than"),
    "LessThanOrEqualToThreshold": (operator.le, "less than or equal to"),
}
SPARE_PERIODS = 2  # the evaluation range is wider than the evaluation periods (facts 2.8: 5 points for 3)


class Point(NamedTuple):
    """One period of the evaluation range."""

    minute: int
    value: float | None


class State(NamedTuple):
    """A state and its explanation; `data` is the JSON string AWS calls reasonData."""

    value: str
    reason: str
    data: str | None
    since: datetime

    def as_event(self) -> dict[str, Any]:
        """Its form in `state` and `previousState`."""
        data = {"reasonData": self.data} if self.data is not None else {}
        return {"value": self.value, "reason": self.reason, **data, "timestamp": stamp(self.since)}


class Watched:
    """What an alarm's configuration comes to, worked out once.

    Args:
        config: as of `Alarm`.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.config = config
        self.queries: list[dict[str, Any]] = list(config["Metrics"]) if "Metrics" in config else [_plain(config)]
        self.returned = next(query["Id"] for query in self.queries if query.get("ReturnData", True))
        specs = [query["MetricStat"] for query in self.queries if "MetricStat" in query]
        self.period = max(int(spec["Period"]) for spec in specs) // 60
        self.length: int = config["EvaluationPeriods"] + SPARE_PERIODS
        self.only = (_key(specs[0]["Metric"]), str(specs[0]["Stat"])) if len(self.queries) == 1 else None
        fills = any("FILL" in query.get("Expression", "") for query in self.queries)
        self.by_the_minute = self.period == 1 and not fills  # then a minute's value depends on that minute alone

    def points(self, store: MetricStore, newest: int, length: int | None = None) -> list[Point]:
        """The last `length` periods, newest first; all of the evaluation range if left out."""
        count = length or self.length
        buckets = range(newest + 1 - count * self.period, newest + 1, self.period)
        if self.only:
            series = store.series(*self.only, buckets, newest)
        else:
            series = evaluated(self.queries, functools.partial(self._fetch, store, buckets), buckets)[self.returned]
        return [Point(minute, series.get(minute)) for minute in reversed(buckets)]

    def _fetch(self, store: MetricStore, buckets: range, spec: Mapping[str, Any]) -> Series:
        return store.series(_key(spec["Metric"]), spec["Stat"], buckets, buckets[-1] + buckets.step - 1)


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    metric = {key: config[key] for key in ("Namespace", "MetricName")} | {"Dimensions": config["Dimensions"]}
    stat = config.get("Statistic") or config["ExtendedStatistic"]
    query_id = stable_uuid(metric["Namespace"], metric["MetricName"], stat, metric["Dimensions"])
    return {"Id": query_id, "MetricStat": {"Metric": metric, "Stat": stat, "Period": config["Period"]}}


@dataclass(slots=True)
class Alarm:
    """One metric alarm. `config` is what PutMetricAlarm was given, defaults filled in."""

    arn: str
    config: dict[str, Any]
    state: State
    configured: datetime
    latest: float | None = None  # newest value seen by the last evaluation; Auto Scaling sizes its step by it
    _watched: Watched | None = None
    _points: deque[Point] = field(default_factory=deque)
    _seen: tuple[Watched | None, int, int] = (None, 0, 0)

    @property
    def name(self) -> str:
        """Unique in the account."""
        return str(self.config["AlarmName"])

    @property
    def actions(self) -> list[str]:
        """What runs in ALARM."""
        return list(self.config["AlarmActions"]) if self.config["ActionsEnabled"] else []

    @property
    def watched(self) -> Watched:
        """What the configuration comes to."""
        if self._watched is None or self._watched.config is not self.config:
            self._watched = Watched(self.config)
        return self._watched

    @property
    def queries(self) -> list[dict[str, Any]]:
        """The metrics watched, as metric-data queries; one without an expression for a plain alarm."""
        return self.watched.queries

    @property
    def period_minutes(self) -> int:
        """The longest period among its metrics."""
        return self.watched.period

    def points(self, store: MetricStore, newest: int) -> Sequence[Point]:
        """The evaluation range, newest period first; it ends with the minute `newest`.

        From one minute to the next only the newest is read, unless an older one was revised.
        """
        watched = self.watched
        seen = (watched, newest - 1, store.revised)
        if not (watched.by_the_minute and self._seen == seen):
            self._points = deque(watched.points(store, newest), watched.length)
        else:
            self._points.appendleft(watched.points(store, newest, 1)[0])
        self._seen = (watched, newest, store.revised)
        store.judged = max(store.judged, newest)
        return self._points

    def evaluate(self, store: MetricStore, newest: int, now: datetime) -> State | None:
        """The new state, or None where it stays."""
        points = self.points(store, newest)
        self.latest = next((point.value for point in points if point.value is not None), None)
        value, evidence = verdict(points, self.config)
        if value is None or value == self.state.value:
            return None
        return State(value, self._reason(value, evidence), self._reason_data([*points], store, now), now)

    def _reason(self, value: str, evidence: list[Point]) -> str:
        periods = self.config["EvaluationPeriods"]
        if value == "INSUFFICIENT_DATA":
            return f"Insufficient Data: {periods} datapoints were unknown."
        treated = "Breaching" if value == "ALARM" else "NonBreaching"
        if not evidence:
            return (
                f"Threshold Crossed: no datapoints were received for {periods} periods and {periods} missing "
                f"datapoints were treated as [{treated}]."
            )
        wanted = self.config.get("DatapointsToAlarm")
        shown = ", ".join(f"{point.value} ({from_epoch_minute(point.minute):%d/%m/%y %H:%M:%S})" for point in evidence)
        many = len(evidence) > 1
        out_of = f" out of the last {periods} datapoints" if wanted else f" datapoint{'s' * many}"
        verb = ("were" if many else "was") + ("" if value == "ALARM" else " not")
        words = COMPARISONS[self.config["ComparisonOperator"]][1]
        limit = self.config["Threshold"]
        text = f"Threshold Crossed: {len(evidence)}{out_of} [{shown}] {verb} {words} the threshold ({limit})"
        if not wanted:
            return f"{text}."
        needed = wanted if value == "ALARM" else periods - wanted + 1
        change = "OK -> ALARM" if value == "ALARM" else "ALARM -> OK"
        return f"{text} (minimum {needed} datapoint{'s' * (needed > 1)} for {change} transition)."

    def _reason_data(self, points: Sequence[Point], store: MetricStore, now: datetime) -> str:
        shown = points[: self.config["EvaluationPeriods"]]
        plain = "Metrics" not in self.config
        spec = self.queries[0].get("MetricStat") if plain else None
        judged = []
        for point in shown:
            entry: dict[str, Any] = {"timestamp": stamp(from_epoch_minute(point.minute))}
            if point.value is not None:
                if spec is not None:
                    datum = store.read(_key(spec["Metric"]), point.minute, self.period_minutes)
                    entry["sampleCount"] = float(datum.count) if datum else 0.0
                entry["value"] = point.value
            judged.append(entry)
        data = {
            "version": "1.0",
            "queryDate": stamp(now),
            "startDate": stamp(from_epoch_minute(shown[-1].minute)),
            **({"statistic": spec["Stat"]} if spec else {}),
            "period": self.period_minutes * 60,
            "recentDatapoints": [point.value for point in reversed(shown) if point.value is not None],
            "threshold": self.config["Threshold"],
            "evaluatedDatapoints": judged,
        }
        return json.dumps(data, separators=(",", ":"))

    def event_detail(self, before: State) -> dict[str, Any]:
        """The `detail` of a CloudWatch Alarm State Change event."""
        metrics = []
        for query in self.queries:
            entry: dict[str, Any] = {"id": query["Id"]}
            if "Expression" in query:
                entry["expression"] = query["Expression"]
                entry["label"] = query.get("Label", query["Id"])
            else:
                spec = query["MetricStat"]
                dimensions = {item["Name"]: item["Value"] for item in spec["Metric"].get("Dimensions", [])}
                metric = {"namespace": spec["Metric"]["Namespace"], "name": spec["Metric"]["MetricName"]}
                entry["metricStat"] = {
                    "metric": {**metric, "dimensions": dimensions},
                    "period": spec["Period"],
                    "stat": spec["Stat"],
                }
            metrics.append({**entry, "returnData": query.get("ReturnData", True)})
        description = self.config.get("AlarmDescription")
        about = {"description": description} if description is not None else {}
        return {
            "alarmName": self.name,
            "state": self.state.as_event(),
            "previousState": before.as_event(),
            "configuration": {**about, "metrics": metrics},
        }


def _key(metric: Mapping[str, Any]) -> tuple[str, str, tuple[tuple[str, str], ...]]:
    return metric_key(metric["Namespace"], metric["MetricName"], metric.get("Dimensions", []))


def verdict(points: Sequence[Point], config: Mapping[str, Any]) -> tuple[str | None, list[Point]]:
    """M of N over the evaluation range, newest first: the state (None: keep it) and the points that made it.

    With N real points in the range the newest N decide and TreatMissingData plays no part. With fewer, the gap is
    filled as configured. `missing`: any real point within bounds gives OK; breaching points alone give ALARM once the
    oldest of them is as old as M periods, and nothing at all gives INSUFFICIENT_DATA.
    """
    periods = config["EvaluationPeriods"]
    needed = config.get("DatapointsToAlarm") or periods
    breaches = COMPARISONS[config["ComparisonOperator"]][0]
    real = [(age, point, point.value) for age, point in enumerate(points, 1) if point.value is not None][:periods]
    bad = [point for _, point, value in real if breaches(value, config["Threshold"])]
    good = [point for _, point, value in real if not breaches(value, config["Threshold"])]
    unknown = periods - len(real)
    mode = config["TreatMissingData"]
    if len(bad) + (unknown if mode == "breaching" else 0) >= needed:
        return "ALARM", bad
    if not unknown or mode in ("breaching", "notBreaching") or good:
        return "OK", good
    if mode == "missing" and not real:
        return "INSUFFICIENT_DATA", []
    if mode == "missing" and real[-1][0] >= needed:
        return "ALARM", bad
    return None, []
