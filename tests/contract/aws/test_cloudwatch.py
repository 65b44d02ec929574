"""What the core may expect of CloudWatch: complete minutes or a reason why not, and alarms."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from math import inf, nan
from typing import Any

import pytest

from core.aws.cloudwatch import CloudWatch
from core.model import Missing, Observation, Point
from core.native import heard_alarms, native_policies
from core.ports import MetricQuery
from tests.builders import REALTIME, enrolment
from tests.contract.aws.accounts import Account, metrics_of
from tests.contract.aws.stubs import scripted

NOW = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
NEWEST = datetime(2026, 11, 22, 11, 58, tzinfo=UTC)
SPAN = timedelta(minutes=15)
REQUESTS = MetricQuery(
    "AWS/SageMaker", "InvocationsPerInstance", (("EndpointName", "orders"), ("VariantName", "AllTraffic")), "Sum"
)
BACKLOG = MetricQuery("AWS/SageMaker", "ApproximateBacklogSize", (("EndpointName", "doc-ocr"),), "Average")


def at(hhmm: str) -> datetime:
    hour, minute = hhmm.split(":")
    return NOW.replace(hour=int(hour), minute=int(minute), second=0)


def points(**values: float) -> tuple[Point, ...]:
    return tuple(Point(at(name.removeprefix("at_").replace("_", ":")), value) for name, value in values.items())


@dataclass(frozen=True)
class Case:
    """What CloudWatch says of one metric at 12:00:30, and what the core sees."""

    name: str
    want: Observation | Missing
    said: dict[str, float] = field(default_factory=dict)
    status: str = "Complete"
    messages: tuple[str, ...] = ()


CASES = [
    Case("ascending whatever the order", Observation(points(at_11_57=2, at_11_58=3)), {"11:58": 3, "11:57": 2}),
    Case("the minute that still fills is left out", Observation(points(at_11_58=3)), {"11:58": 3, "11:59": 1}),
    Case("so is the present one", Observation(points(at_11_58=3)), {"11:58": 3, "12:00": 1}),
    Case("zero is a measurement", Observation(points(at_11_58=0)), {"11:58": 0}),
    Case("silence is not zero", Missing("no data points")),
    Case("not a number is dropped", Observation(points(at_11_57=2)), {"11:57": 2, "11:58": nan}),
    Case("infinite is dropped", Observation(points(at_11_57=2)), {"11:57": 2, "11:58": inf}),
    Case("negative is dropped", Observation(points(at_11_57=2)), {"11:57": 2, "11:58": -1}),
    Case("nothing usable left", Missing("no finite value of 0 or more"), {"11:57": nan, "11:58": -inf}),
    Case("late, but not stale", Observation(points(at_11_53=2)), {"11:53": 2}),  # ends 5 minutes before 11:59
    Case("stale", Missing("stale: newest point is of 2026-11-22T11:52Z"), {"11:52": 2}),
    Case(
        "stale because what came since is unusable",
        Missing("stale: newest point is of 2026-11-22T11:50Z"),
        {"11:50": 2, "11:58": nan},
    ),
    Case("the oldest minute of 15", Observation(points(at_11_44=1, at_11_58=3)), {"11:44": 1, "11:58": 3}),
    Case("older than asked for", Observation(points(at_11_58=3)), {"11:43": 1, "11:58": 3}),
    Case("CloudWatch failed inside", Missing("InternalError"), {"11:58": 3}, status="InternalError"),
    Case("only a part came", Missing("PartialData"), {"11:58": 3}, status="PartialData"),
    Case(
        "not allowed",
        Missing("Forbidden: Access to this metric is denied"),
        status="Forbidden",
        messages=("Access to this metric is denied",),
    ),
]


def result(
    index: int, said: dict[str, float], status: str = "Complete", messages: tuple[str, ...] = ()
) -> dict[str, Any]:
    return {
        "Id": f"m{index}",
        "Timestamps": [at(when) for when in said],
        "Values": [*said.values()],
        "StatusCode": status,
        "Messages": [{"Code": "x", "Value": text} for text in messages],
    }


class TestFetch:
    @pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
    def test_what_is_seen_at_12_00_30(self, case: Case) -> None:
        with scripted("cloudwatch") as (client, script):
            answer = {"MetricDataResults": [result(0, case.said, case.status, case.messages)]}
            script.add_response("get_metric_data", answer)
            assert CloudWatch(client).fetch([REQUESTS], NOW, SPAN) == {REQUESTS: case.want}

    @pytest.mark.parametrize(
        ("said", "status", "want"),
        [
            ({}, "Complete", [0, 0, 0]),
            ({"11:52": 4}, "Complete", [0, 4, 0]),  # those of 11:54 to 11:58 may still come
            ({"11:52": 4, "11:56": 3, "11:59": 2}, "Complete", [0, 4, 0, 0, 0, 3]),  # 11:59 still fills
            ({"11:52": nan}, "Complete", [0, 0, 0]),
            ({}, "InternalError", None),
        ],
    )
    def test_of_a_sparse_metric_a_silent_minute_is_one_of_0(
        self, said: dict[str, float], status: str, want: list[float] | None
    ) -> None:
        refused = MetricQuery("AWS/SageMaker", "NoCapacityInvocationFailures", (), "Sum", sparse=True)
        with scripted("cloudwatch") as (client, script):
            script.add_response("get_metric_data", {"MetricDataResults": [result(0, said, status)]})
            seen = CloudWatch(client).fetch([refused], NOW, timedelta(minutes=8))[refused]
        if want is None:
            assert seen == Missing("InternalError")
        else:
            assert seen == Observation(points(**{f"at_11_5{1 + i}": value for i, value in enumerate(want)}))

    def test_a_span_of_seconds_too_hides_nothing_of_a_sparse_metric(self) -> None:
        done = MetricQuery("AWS/SageMaker", "InvocationsProcessed", (), "Sum", sparse=True)
        since = NOW - at("11:55") + timedelta(microseconds=1)  # no pass runs at a full minute
        with scripted("cloudwatch") as (client, script):
            script.add_response("get_metric_data", {"MetricDataResults": [result(0, {"11:56": 4, "11:58": 3})]})
            seen = CloudWatch(client).fetch([done], NOW, since)[done]
        assert seen == Observation(points(at_11_53=0, at_11_54=0, at_11_55=0, at_11_56=4, at_11_57=0, at_11_58=3))

    def test_one_call_asks_for_complete_minutes_of_all_metrics(self) -> None:
        with scripted("cloudwatch") as (client, script):
            script.add_response(
                "get_metric_data",
                {"MetricDataResults": [result(1, {"11:58": 7}), result(0, {"11:58": 3})]},
                {
                    "MetricDataQueries": [
                        {
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
                        for index, query in enumerate((REQUESTS, BACKLOG))
                    ],
                    "StartTime": at("11:44"),
                    "EndTime": at("11:59"),
                    "ScanBy": "TimestampAscending",
                },
            )
            seen = CloudWatch(client).fetch([REQUESTS, BACKLOG, REQUESTS], NOW, SPAN)
        assert seen == {REQUESTS: Observation(points(at_11_58=3)), BACKLOG: Observation(points(at_11_58=7))}

    def test_pages_are_joined_and_the_last_one_says_whether_all_came(self) -> None:
        first = result(0, {"11:56": 1, "11:57": 2}, "PartialData")
        with scripted("cloudwatch") as (client, script):
            script.add_response("get_metric_data", {"MetricDataResults": [first], "NextToken": "more"})
            script.add_response("get_metric_data", {"MetricDataResults": [result(0, {"11:58": 3})]})
            seen = CloudWatch(client).fetch([REQUESTS], NOW, SPAN)
        assert seen == {REQUESTS: Observation(points(at_11_56=1, at_11_57=2, at_11_58=3))}

    def test_500_metrics_a_call(self) -> None:
        queries = [MetricQuery("n", f"metric-{n}", (), "Sum") for n in range(501)]
        with scripted("cloudwatch") as (client, script):
            for size in (500, 1):
                results = [result(n, {"11:58": size}) for n in range(size)]
                script.add_response("get_metric_data", {"MetricDataResults": results})
            seen = CloudWatch(client).fetch(queries, NOW, SPAN)
        assert [seen[queries[499]], seen[queries[500]]] == [
            Observation(points(at_11_58=500)),
            Observation(points(at_11_58=1)),
        ]

    def test_a_metric_without_an_answer_is_missing(self) -> None:
        with scripted("cloudwatch") as (client, script):
            script.add_response("get_metric_data", {"MetricDataResults": []})
            assert CloudWatch(client).fetch([REQUESTS], NOW, SPAN) == {REQUESTS: Missing("not in the answer")}

    def test_nothing_is_asked_for_nothing(self) -> None:
        with scripted("cloudwatch") as (client, _):
            assert CloudWatch(client).fetch([], NOW, SPAN) == {}


ALARM: dict[str, Any] = {
    "AlarmName": "tidegate-target-test-realtime-orders",
    "Namespace": "AWS/SageMaker",
    "MetricName": "InvocationsPerInstance",
    "Dimensions": [{"Name": "EndpointName", "Value": "orders"}, {"Name": "VariantName", "Value": "AllTraffic"}],
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 2,
    "Threshold": 900.0,
    "ComparisonOperator": "GreaterThanOrEqualToThreshold",
    "TreatMissingData": "missing",
    "AlarmActions": [],
}


@pytest.fixture
def cloudwatch(account: Account) -> CloudWatch:
    return metrics_of(account)


def test_what_was_published_is_observed(cloudwatch: CloudWatch, account: Account) -> None:
    """3 and 4 in one minute: the sum of 11:57 is 7. Nobody published the backlog."""
    dimensions = [{"Name": name, "Value": value} for name, value in REQUESTS.dimensions]
    for when, value in [("11:57", 3.0), ("11:57", 4.0), ("11:58", 5.0), ("11:59", 9.0)]:
        datum = {"MetricName": REQUESTS.name, "Dimensions": dimensions, "Timestamp": at(when), "Value": value}
        account.client("cloudwatch").put_metric_data(Namespace=REQUESTS.namespace, MetricData=[datum])
    assert cloudwatch.fetch([REQUESTS, BACKLOG], NOW, SPAN) == {
        REQUESTS: Observation(points(at_11_57=7, at_11_58=5)),
        BACKLOG: Missing("no data points"),
    }


class TestAlarms:
    def named(self, name: str) -> dict[str, Any]:
        return {**ALARM, "AlarmName": name}

    def test_what_is_put_is_read_again(self, cloudwatch: CloudWatch) -> None:
        cloudwatch.put_alarm(ALARM)
        seen = cloudwatch.alarms("tidegate-target-test-")[ALARM["AlarmName"]]
        assert {name: seen[name] for name in ALARM} == ALARM

    def test_percentiles_are_put_and_read_again(self, cloudwatch: CloudWatch) -> None:
        """p95 is no `Statistic`; CloudWatch calls it extended, and takes one of the two."""
        promised = {**REALTIME, "objectives": {"requests_per_instance": 1000, "latency_p95": "200ms"}}
        slow = next(p.alarm for p in native_policies(enrolment(promised), "test") if p.name.endswith("-slow"))
        assert slow is not None
        for alarm in (slow, *heard_alarms(enrolment(promised), "test")):
            cloudwatch.put_alarm(alarm)
            seen = cloudwatch.alarms(alarm["AlarmName"])[alarm["AlarmName"]]
            assert {name: seen[name] for name in alarm} == alarm

    def test_putting_again_replaces(self, cloudwatch: CloudWatch) -> None:
        cloudwatch.put_alarm(ALARM)
        cloudwatch.put_alarm({**ALARM, "Threshold": 600.0})
        assert [alarm["Threshold"] for alarm in cloudwatch.alarms("tidegate-").values()] == [600.0]

    def test_only_those_with_the_prefix(self, cloudwatch: CloudWatch) -> None:
        for name in ("tidegate-target-test-a", "tidegate-target-prod-a", "ours"):
            cloudwatch.put_alarm(self.named(name))
        assert [*cloudwatch.alarms("tidegate-target-test-")] == ["tidegate-target-test-a"]

    def test_states_of_those_that_exist(self, cloudwatch: CloudWatch, account: Account) -> None:
        for name in ("quiet", "loud", "new"):
            cloudwatch.put_alarm(self.named(name))
        client = account.client("cloudwatch")
        for name, state in [("quiet", "OK"), ("loud", "ALARM"), ("new", "INSUFFICIENT_DATA")]:
            client.set_alarm_state(AlarmName=name, StateValue=state, StateReason="test")
        assert cloudwatch.alarm_states(["quiet", "loud", "new", "gone"]) == {
            "quiet": "OK",
            "loud": "ALARM",
            "new": "INSUFFICIENT_DATA",
        }

    def test_nothing_is_asked_for_nothing(self, cloudwatch: CloudWatch) -> None:
        """An empty list of names would mean all alarms of the account."""
        cloudwatch.put_alarm(ALARM)
        assert cloudwatch.alarm_states([]) == {}
        cloudwatch.delete_alarms([])
        assert len(cloudwatch.alarms("tidegate-")) == 1

    def test_more_than_a_call_takes(self, cloudwatch: CloudWatch) -> None:
        names = [f"alarm-{n}" for n in range(101)]
        for name in names:
            cloudwatch.put_alarm(self.named(name))
        assert len(cloudwatch.alarm_states(names)) == 101
        assert len(cloudwatch.alarms("alarm-")) == 101
        cloudwatch.delete_alarms(names)
        assert cloudwatch.alarms("alarm-") == {}

    def test_absent_ones_are_fine(self, cloudwatch: CloudWatch) -> None:
        cloudwatch.put_alarm(self.named("here"))
        cloudwatch.delete_alarms(["gone", "here"])
        assert cloudwatch.alarm_states(["here"]) == {}

    def test_an_absent_one_does_not_save_the_others(self) -> None:
        """One absent name fails the whole call, so each is then deleted by itself."""
        with scripted("cloudwatch") as (client, script):
            script.add_client_error("delete_alarms", "ResourceNotFound")
            script.add_client_error("delete_alarms", "ResourceNotFound", expected_params={"AlarmNames": ["gone"]})
            script.add_response("delete_alarms", {}, {"AlarmNames": ["here"]})
            CloudWatch(client).delete_alarms(["gone", "here"])
