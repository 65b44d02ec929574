"""CloudWatch as the port `Metrics`, which says what each method does."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from core.aws.errors import is_absent, listed, reading, writing
from core.aws.pace import UNPACED, Pace
from core.batches import batches
from core.model import Missing, Observation, Point
from core.ports import MetricQuery
from core.times import MINUTE

if TYPE_CHECKING:
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_cloudwatch.type_defs import MetricDataQueryTypeDef

QUERIES_A_CALL = 500
ALARMS_A_CALL = 100

SETTLED_AFTER = timedelta(minutes=2)
"""A minute counts as complete this long after its start: until then values still arrive (facts 2.8)."""

STALE_AFTER = timedelta(minutes=5)
"""The newest point may end this long before the newest complete minute does; older ones say nothing of now."""


class CloudWatch:
    """Metrics and alarms; `pace` is that of writing alarms."""

    def __init__(self, client: "CloudWatchClient", pace: Pace = UNPACED) -> None:
        self._client = client
        self._pace = pace

    def fetch(
        self, queries: Sequence[MetricQuery], now: datetime, span: timedelta
    ) -> Mapping[MetricQuery, Observation | Missing]:
        end = newest_complete_minute(now) + MINUTE
        start = (end - span).replace(second=0, microsecond=0)  # as CloudWatch does; silent minutes are counted from it
        seen: dict[MetricQuery, Observation | Missing] = {}
        for batch in batches(dict.fromkeys(queries), QUERIES_A_CALL):
            results = self._results([_request(i, query) for i, query in enumerate(batch)], start, end)
            seen |= {query: _observed(results.get(f"m{i}"), query, start, end) for i, query in enumerate(batch)}
        return seen

    def _results(
        self, queries: "Sequence[MetricDataQueryTypeDef]", start: datetime, end: datetime
    ) -> dict[str, "_Result"]:
        """Return what GetMetricData says, the pages of each metric joined."""
        pages = self._client.get_paginator("get_metric_data")
        results: dict[str, _Result] = {}
        with reading(f"GetMetricData of {len(queries)} metrics"):
            asked = pages.paginate(MetricDataQueries=queries, StartTime=start, EndTime=end, ScanBy="TimestampAscending")
            for page in asked:
                for item in page["MetricDataResults"]:
                    result = results.setdefault(item["Id"], _Result())
                    result.points += zip(item.get("Timestamps", ()), item.get("Values", ()), strict=True)
                    result.status = item.get("StatusCode", "Complete")  # the last page's counts
                    result.messages += [message.get("Value", "") for message in item.get("Messages", ())]
        return results

    def alarm_states(self, names: Sequence[str]) -> Mapping[str, str]:
        states: dict[str, str] = {}
        for batch in batches(dict.fromkeys(names), ALARMS_A_CALL):
            found = self._alarms(f"of {batch[0]} and {len(batch) - 1} more", AlarmNames=batch)
            states |= {alarm["AlarmName"]: alarm["StateValue"] for alarm in found}
        return states

    def alarms(self, prefix: str) -> Mapping[str, Mapping[str, Any]]:
        found = self._alarms(f"beginning with {prefix}", AlarmNamePrefix=prefix, AlarmTypes=["MetricAlarm"])
        return {alarm["AlarmName"]: alarm for alarm in found}

    def _alarms(self, which: str, **asked: object) -> list[dict[str, Any]]:
        return listed(self._client, "describe_alarms", "MetricAlarms", f"DescribeAlarms {which}", **asked)

    def put_alarm(self, alarm: Mapping[str, Any]) -> None:
        request: dict[str, Any] = dict(alarm)
        self._pace.wait(1)
        with writing(f"PutMetricAlarm {request.get('AlarmName')}"):
            self._client.put_metric_alarm(**request)

    def delete_alarms(self, names: Sequence[str]) -> None:
        for batch in batches(dict.fromkeys(names), ALARMS_A_CALL):
            with writing(f"DeleteAlarms {batch[0]} and {len(batch) - 1} more"):
                self._delete(batch)

    def _delete(self, names: Sequence[str]) -> None:
        """Delete alarms; one absent name spoils a whole call, so then each is deleted by itself."""
        self._pace.wait(1)
        try:
            self._client.delete_alarms(AlarmNames=names)
        except ClientError as err:
            if not is_absent(err):
                raise
            for name in names if len(names) > 1 else ():
                self._delete([name])


class _Result:
    """One metric's part of GetMetricData's answer."""

    def __init__(self) -> None:
        self.points: list[tuple[datetime, float]] = []
        self.status = "Complete"
        self.messages: list[str] = []


def newest_complete_minute(now: datetime) -> datetime:
    """Return the start of the newest minute whose values have all arrived."""
    return (now - SETTLED_AFTER).astimezone(UTC).replace(second=0, microsecond=0)


def _request(index: int, query: MetricQuery) -> "MetricDataQueryTypeDef":
    return {
        "Id": f"m{index}",
        "MetricStat": {
            "Metric": {
                "Namespace": query.namespace,
                "MetricName": query.name,
                "Dimensions": [{"Name": name, "Value": value} for name, value in query.dimensions],
            },
            "Period": 60,
            "Stat": query.stat,
        },
    }


def _observed(result: _Result | None, query: MetricQuery, start: datetime, end: datetime) -> Observation | Missing:
    """Return the usable points from `start` until before `end`, or why there are none."""
    if result is None:
        return Missing("not in the answer")
    if result.status != "Complete":
        return Missing(": ".join([result.status, *result.messages]))
    inside = sorted((at.astimezone(UTC), value) for at, value in result.points if start <= at < end)
    return observed([Point(at, value) for at, value in inside], end, start if query.sparse else None)


def observed(inside: Sequence[Point], end: datetime, counted_from: datetime | None = None) -> Observation | Missing:
    """Return the usable ones among the points until `end`, oldest first, or why there are none.

    With `counted_from`, each minute from there on without a point is one of 0: the metric is published sparsely. Not so
    the newest, whose points may be on their way: taken for 0, they made what is at work look slow.
    """
    points = tuple(point for point in inside if isfinite(point.value) and point.value >= 0)
    if counted_from is not None:
        counted = {point.at: point for point in points}
        until = max([end - STALE_AFTER, counted_from + MINUTE, *(at + MINUTE for at in counted)])
        minutes = [counted_from + MINUTE * i for i in range((until - counted_from) // MINUTE)]
        return Observation(tuple(counted.get(at, Point(at, 0.0)) for at in minutes))
    if not points:
        return Missing("no finite value of 0 or more" if inside else "no data points")
    if end - (points[-1].at + MINUTE) > STALE_AFTER:
        return Missing(f"stale: newest point is of {points[-1].at:%Y-%m-%dT%H:%MZ}")
    return Observation(points)
