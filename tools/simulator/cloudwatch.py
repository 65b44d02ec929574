"""Amazon CloudWatch: metrics that become readable late, and alarms over them."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from simulator.alarms import COMPARISONS, Alarm, State
from simulator.metrics import (
    MetricStore,
    epoch_minute,
    evaluated,
    from_epoch_minute,
    is_statistic,
    metric_key,
    sample,
    samples,
)
from simulator.service import Page, Service, ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from simulator.events import World
    from simulator.metrics import Measured, MetricKey, Series

INITIAL_REASON = "Unchecked: Initial alarm creation"
MAX_DATAPOINTS = 100_800  # per GetMetricData call (facts 8.1)
MAX_QUERIES = 500
HOUR, LOOKED_BACK = 3600, 86_400  # seconds; alarms whose periods are shorter look back a day in all (facts 8.1)
TREATMENTS = ("missing", "notBreaching", "breaching", "ignore")
DEFAULTS: dict[str, Any] = {"ActionsEnabled": True, "TreatMissingData": "missing"}
LIST_DEFAULTS = ("AlarmActions", "OKActions", "InsufficientDataActions", "Dimensions")
STATE_FIELDS = ("StateValue", "StateReason", "StateReasonData", "StateUpdatedTimestamp", "StateTransitionedTimestamp")


class CloudWatch(Service):
    """Metrics and metric alarms of one account.

    Args:
        world: clock and event queue.
        lag: from the end of a minute until its points can be read, by alarms and by GetMetricData alike.
    """

    name = "cloudwatch"
    validation_code = "ValidationError"
    paging_error = "InvalidNextToken"

    def __init__(self, world: World, lag: timedelta = timedelta(minutes=2)) -> None:
        self.world = world
        self.lag = lag
        self.store = MetricStore()
        self.alarms: dict[str, Alarm] = {}
        self.silenced: set[tuple[str, str, str]] = set()  # namespace, metric, endpoint or queue

    @property
    def newest_minute(self) -> int:
        """The newest epoch minute whose points are readable: it started `lag` and one minute ago."""
        return epoch_minute(self.world.now - self.lag) - 1

    def publish(self, key: MetricKey, minute: int, datum: Measured) -> None:
        """What AWS itself sends, unless that metric of the endpoint or queue was silenced."""
        if self.silenced:
            namespace, metric, dimensions = key
            if any((namespace, metric, value) in self.silenced for _, value in dimensions):
                return
        self.store.put(key, minute, datum)

    def evaluate_alarms(self) -> None:
        """One evaluation of every alarm; changes send events."""
        newest = self.newest_minute
        for alarm in self.alarms.values():
            if state := alarm.evaluate(self.store, newest, self.world.now):
                self._change(alarm, state)

    def _change(self, alarm: Alarm, state: State) -> None:
        before, alarm.state = alarm.state, state
        self.world.emit("aws.cloudwatch", "CloudWatch Alarm State Change", [alarm.arn], alarm.event_detail(before))

    def put_metric_data(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Points of any time; they become readable as late as SageMaker's own."""
        for item in params.get("MetricData", []):
            minute = epoch_minute(item.get("Timestamp", self.world.now))
            if "Values" in item:
                datum = samples(item["Values"], item.get("Counts", [1.0] * len(item["Values"])))
            elif "Value" in item:
                datum = sample(item["Value"])
            else:
                raise self.invalid("StatisticValues are not simulated: pass Value, or Values with Counts")
            self.store.put(
                metric_key(params["Namespace"], item["MetricName"], item.get("Dimensions", [])), minute, datum
            )
        return {}

    def get_metric_data(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Readable points, newest first unless asked otherwise; periods begin at multiples of themselves."""
        queries = params["MetricDataQueries"]
        start, end = epoch_minute(params["StartTime"]), epoch_minute(params["EndTime"] + timedelta(seconds=59))
        self._check_queries(queries, start, end)
        step = min((query["MetricStat"]["Period"] for query in queries if "MetricStat" in query), default=60) // 60
        newest = self.newest_minute

        def fetch(spec: Mapping[str, Any]) -> Series:
            metric, minutes = spec["Metric"], spec["Period"] // 60
            key = metric_key(metric["Namespace"], metric["MetricName"], metric.get("Dimensions", []))
            return self.store.series(
                key, spec["Stat"], range(start - start % minutes, min(end, newest + 1), minutes), newest
            )

        try:
            series = evaluated(queries, fetch, range(start - start % step, min(end, newest + 1), step))
        except ValueError as error:
            raise self.invalid(str(error)) from error
        wanted = [(query, series[query["Id"]]) for query in queries if query.get("ReturnData", True)]
        newest_first = params.get("ScanBy", "TimestampDescending") == "TimestampDescending"
        return self._result_page(wanted, params, newest_first=newest_first)

    def _result_page(
        self, wanted: Sequence[tuple[Mapping[str, Any], Series]], params: Mapping[str, Any], *, newest_first: bool
    ) -> dict[str, Any]:
        """Results up to MaxDatapoints; what does not fit follows under NextToken as `skip` points over all series."""
        room = params.get("MaxDatapoints", MAX_DATAPOINTS)
        token = params.get("NextToken", "0")
        if not token.isdigit():
            raise ServiceError(self.paging_error, f"Invalid NextToken: {token}")
        skip = read = int(token)
        results = []
        for query, series in wanted:
            minutes = sorted(series, reverse=newest_first)[skip:]
            skip = max(0, skip - len(series))
            taken = minutes[:room]
            room -= len(taken)
            read += len(taken)
            label = query.get("Label") or (
                query["MetricStat"]["Metric"]["MetricName"] if "MetricStat" in query else query["Id"]
            )
            status = "Complete" if len(taken) == len(minutes) else "PartialData"
            stamps, values = [from_epoch_minute(minute) for minute in taken], [series[minute] for minute in taken]
            results.append(
                {"Id": query["Id"], "Label": label, "Timestamps": stamps, "Values": values, "StatusCode": status}
            )
        more = {"NextToken": str(read)} if read < sum(len(series) for _, series in wanted) else {}
        return {"MetricDataResults": results, "Messages": [], **more}

    def _check_queries(self, queries: Sequence[Mapping[str, Any]], start: int, end: int) -> None:
        if len(queries) > MAX_QUERIES:
            raise self.invalid(f"The collection MetricDataQueries must not have a size greater than {MAX_QUERIES}.")
        if start >= end:
            raise self.invalid("The parameter StartTime must be less than the parameter EndTime.")
        ids = [query["Id"] for query in queries]
        if len(set(ids)) < len(ids):
            raise self.invalid("The values for parameter id in MetricDataQueries are not unique.")
        for query in queries:
            self._check_query(query)

    def _check_query(self, query: Mapping[str, Any]) -> None:
        if ("Expression" in query) == ("MetricStat" in query):
            raise self.invalid(f"Query '{query['Id']}' must have exactly one of Expression and MetricStat")
        if spec := query.get("MetricStat"):
            if spec.get("Period", 0) % 60 or not spec.get("Period"):
                raise self.invalid(
                    f"Period of '{query['Id']}' must be a multiple of 60; shorter ones are not simulated"
                )
            if not is_statistic(spec["Stat"]):
                raise self.invalid(f"The value {spec['Stat']} for parameter Stat is not supported")

    def put_metric_alarm(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """A metric alarm, plain or metric math."""
        self._check_alarm(params)
        self._check_span(params)
        self.put_alarm({key: value for key, value in params.items() if key != "Tags"})
        return {}

    def put_alarm(self, params: Mapping[str, Any]) -> Alarm:
        """Create an alarm, or overwrite one without touching its state, as AWS does."""
        config = {**DEFAULTS, **{key: [] for key in LIST_DEFAULTS}, **params}
        name, now = config["AlarmName"], self.world.now
        if old := self.alarms.get(name):
            old.config, old.configured = config, now
            return old
        initial = State("INSUFFICIENT_DATA", INITIAL_REASON, None, now)
        self.alarms[name] = Alarm(self.world.arn("cloudwatch", f"alarm:{name}"), config, initial, now)
        return self.alarms[name]

    def _check_alarm(self, params: Mapping[str, Any]) -> None:
        plain = "MetricName" in params
        if plain == ("Metrics" in params):
            raise self.invalid("Exactly one of MetricName and Metrics must be given")
        if params["ComparisonOperator"] not in COMPARISONS or "Threshold" not in params:
            raise self.invalid("Threshold is required; anomaly detection is not simulated")
        if params.get("TreatMissingData", "missing") not in TREATMENTS:
            raise self.invalid(f"TreatMissingData must be one of {', '.join(TREATMENTS)}")
        if "EvaluationPeriods" not in params or params.get("DatapointsToAlarm", 1) > params["EvaluationPeriods"]:
            raise self.invalid("EvaluationPeriods is required, and DatapointsToAlarm must not exceed it")
        if not plain:
            self._check_queries(params["Metrics"], 0, 1)
            if [query.get("ReturnData", True) for query in params["Metrics"]].count(True) != 1:
                raise self.invalid("Exactly one element of the metrics list should return data")
        elif ("Statistic" in params) == ("ExtendedStatistic" in params):
            raise self.invalid("Exactly one of Statistic and ExtendedStatistic must be given")
        elif not is_statistic(params.get("ExtendedStatistic", "p95")):
            raise self.invalid(f"The value {params['ExtendedStatistic']} for ExtendedStatistic is not supported")
        elif not params.get("Period") or params["Period"] % 60:
            raise self.invalid("Period must be a multiple of 60; shorter ones are not simulated")

    def _check_span(self, params: Mapping[str, Any]) -> None:
        queries = [query.get("MetricStat", query) for query in params.get("Metrics", [params])]
        period = max(query.get("Period", 0) for query in queries)
        if period < HOUR and period * params["EvaluationPeriods"] > LOOKED_BACK:
            why = f"EvaluationPeriods * Period must be <= {LOOKED_BACK}"
            raise self.invalid(f"Metrics cannot be checked across more than a day ({why})")

    def describe_alarms(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """By name; a hundred to a page."""
        if "AlarmNames" in params and "AlarmNamePrefix" in params:
            raise self.invalid("AlarmNamePrefix and AlarmNames cannot be used together")
        named = params.get("AlarmNames")
        prefix, action = params.get("AlarmNamePrefix", ""), params.get("ActionPrefix", "")
        candidates = self.alarms.values() if named is None else (self.alarms[n] for n in named if n in self.alarms)
        found = [
            alarm
            for alarm in candidates
            if alarm.name.startswith(prefix)
            and params.get("StateValue", alarm.state.value) == alarm.state.value
            and (not action or any(arn.startswith(action) for arn in alarm.config["AlarmActions"]))
            and "MetricAlarm" in params.get("AlarmTypes", ["MetricAlarm"])
        ]
        found.sort(key=lambda alarm: alarm.name)
        alarms, token = self.page(found, params, Page(100, 100, "MaxRecords"))
        more = {"NextToken": token} if token else {}
        return {"MetricAlarms": [_described(alarm) for alarm in alarms], "CompositeAlarms": [], **more}

    def delete_alarms(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """All or nothing: one unknown name refuses the call."""
        missing = [name for name in params["AlarmNames"] if name not in self.alarms]
        if missing:
            raise ServiceError("ResourceNotFound", f"Alarms [{', '.join(missing)}] do not exist")
        for name in params["AlarmNames"]:
            del self.alarms[name]
        return {}

    def set_alarm_state(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Until the next evaluation, as on AWS."""
        alarm = self.alarms.get(params["AlarmName"])
        if alarm is None:
            raise ServiceError("ResourceNotFound", f"Alarm {params['AlarmName']} does not exist")
        if data := params.get("StateReasonData"):
            json.loads(data)
        if params["StateValue"] != alarm.state.value:
            self._change(alarm, State(params["StateValue"], params["StateReason"], data, self.world.now))
        return {}


def _described(alarm: Alarm) -> dict[str, Any]:
    state = alarm.state
    values = (state.value, state.reason, state.data, state.since, state.since)
    shown = {key: value for key, value in zip(STATE_FIELDS, values, strict=True) if value is not None}
    return {**alarm.config, "AlarmArn": alarm.arn, "AlarmConfigurationUpdatedTimestamp": alarm.configured, **shown}
