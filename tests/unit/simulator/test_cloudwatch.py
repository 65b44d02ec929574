"""GetMetricData and the alarm API."""

from datetime import timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from simulator.account import SimulatedAccount
from simulator.metrics import Datum, epoch_minute, metric_key, sample, samples, statistic
from tests.unit.simulator.worlds import DIMENSIONS, START, play, put_alarm, realtime_account, values

MINUTE = timedelta(minutes=1)


def account_with(points: dict[int, Datum], name: str = "load", *, minutes_later: int = 60) -> SimulatedAccount:
    """Points by minutes after START, all readable now."""
    account = realtime_account()
    for minute, datum in points.items():
        account.cloudwatch.store.put(metric_key("Test", name, DIMENSIONS), epoch_minute(START) + minute, datum)
    play(account, minutes_later)
    return account


def query(account: SimulatedAccount, *queries: dict[str, Any], **options: Any) -> dict[str, Any]:
    request: dict[str, Any] = {"MetricDataQueries": list(queries), "StartTime": START, "EndTime": START + 60 * MINUTE}
    return dict(account.client("cloudwatch").get_metric_data(**{**request, **options}))


def stat(name: str = "load", statistic: str = "Sum", *, id: str = "m1", period: int = 60) -> dict[str, Any]:  # noqa: A002 - the API's word
    metric = {"Namespace": "Test", "MetricName": name, "Dimensions": DIMENSIONS}
    return {"Id": id, "MetricStat": {"Metric": metric, "Stat": statistic, "Period": period}}


DATUM = samples((10.0, 20.0, 40.0), (5, 4, 1))  # 5 x 10 + 4 x 20 + 40 = 170 over 10 samples


@pytest.mark.parametrize(
    ("name", "want"),
    [
        ("Sum", 170.0),
        ("Average", 17.0),
        ("Minimum", 10.0),
        ("Maximum", 40.0),
        ("SampleCount", 10.0),
        ("p50", 10.0),  # the fifth of ten
        ("p51", 20.0),
        ("p90", 20.0),
        ("p95", 40.0),
        ("p99.9", 40.0),
    ],
)
def test_statistics(name: str, want: float) -> None:
    assert statistic(DATUM, name) == want
    assert query(account_with({0: DATUM}), stat(statistic=name))["MetricDataResults"][0]["Values"] == [want]


def test_a_minute_is_readable_two_minutes_after_its_end() -> None:
    account = realtime_account([7] * 10)
    readable = []
    for _ in range(6):
        account.advance()
        readable.append(len(values(account, "Invocations")))
    assert readable == [0, 0, 1, 2, 3, 4]


def test_newest_first_unless_asked_otherwise() -> None:
    account = account_with({0: sample(1.0), 1: sample(2.0), 2: sample(3.0)})
    assert query(account, stat())["MetricDataResults"][0]["Values"] == [3.0, 2.0, 1.0]
    assert query(account, stat(), ScanBy="TimestampAscending")["MetricDataResults"][0]["Values"] == [1.0, 2.0, 3.0]


def test_start_is_inside_and_end_outside() -> None:
    account = account_with({0: sample(1.0), 1: sample(2.0), 2: sample(3.0)})
    answer = query(account, stat(), StartTime=START + MINUTE, EndTime=START + 2 * MINUTE)["MetricDataResults"][0]
    assert (answer["Values"], answer["Timestamps"], answer["StatusCode"]) == ([2.0], [START + MINUTE], "Complete")


def test_longer_periods_begin_at_multiples_of_themselves() -> None:
    account = account_with({minute: sample(1.0) for minute in range(3, 8)})
    answer = query(account, stat(period=300))["MetricDataResults"][0]
    assert answer["Timestamps"] == [START + 5 * MINUTE, START]
    assert answer["Values"] == [3.0, 2.0]  # minutes 5, 6, 7 and 3, 4


def test_dimensions_must_match_exactly() -> None:
    wrong = stat()
    wrong["MetricStat"]["Metric"] = {**wrong["MetricStat"]["Metric"], "Dimensions": DIMENSIONS[:1]}
    answer = query(account_with({0: sample(1.0)}), wrong)["MetricDataResults"][0]
    assert (answer["Values"], answer["StatusCode"]) == ([], "Complete")


MATH = [
    ("m1/8", [1.0, 3.0]),  # no point where the metric has none
    ("m1*2", [16.0, 48.0]),
    ("m1+m2", [9.0, 26.0]),
    ("m1-m2*2", [6.0, 20.0]),
    ("-m1", [-8.0, -24.0]),
    ("(m1+m2)/m1", [1.125, 26 / 24]),
    ("m2/(m1-8)", [2 / 16]),  # 1 / 0 has no result
    ("FILL(m1, REPEAT)", [8.0, 8.0, 24.0]),
    ("FILL(m1, 0)", [8.0, 0.0, 24.0]),
    ("MAX([m1, m2])", [8.0, 24.0]),
]


@pytest.mark.parametrize(("expression", "want"), MATH, ids=[case[0] for case in MATH])
def test_metric_math(expression: str, want: list[float]) -> None:
    account = account_with({0: sample(8.0), 2: sample(24.0)})
    for minute, value in ((0, 1.0), (2, 2.0)):
        account.cloudwatch.store.put(
            metric_key("Test", "other", DIMENSIONS), epoch_minute(START) + minute, sample(value)
        )
    hidden = [{**stat(), "ReturnData": False}, {**stat("other", id="m2"), "ReturnData": False}]
    math = {"Id": "e1", "Expression": expression}
    options = {"ScanBy": "TimestampAscending", "EndTime": START + 3 * MINUTE}
    answer = query(account, math, *hidden, **options)["MetricDataResults"]
    assert [result["Id"] for result in answer] == ["e1"]
    assert answer[0]["Values"] == pytest.approx(want)


@pytest.mark.parametrize(
    ("queries", "why"),
    [
        ([{"Id": "e1", "Expression": "m9 * 2"}], "m9"),
        ([{"Id": "e1", "Expression": "1 +"}], "Error in expression"),
        ([{"Id": "e1", "Expression": "ANOMALY_DETECTION_BAND(m1)"}, stat()], "not simulated"),
        ([{"Id": "e1", "Expression": "e2"}, {"Id": "e2", "Expression": "e1"}], "circle"),
        ([stat(), stat()], "not unique"),
        ([stat(period=90)], "multiple of 60"),
        ([stat(statistic="Median")], "not supported"),
        ([{"Id": "m1"}], "exactly one"),
        ([stat(id=f"m{number}") for number in range(501)], "500"),
    ],
)
def test_bad_queries(queries: list[dict[str, Any]], why: str) -> None:
    with pytest.raises(ClientError, match=f"ValidationError.*{why}"):
        query(realtime_account(), *queries)


def test_a_long_answer_comes_in_pages() -> None:
    account = account_with({minute: sample(float(minute)) for minute in range(5)})
    paginator: Any = account.client("cloudwatch").get_paginator("get_metric_data")
    queries = [stat(), stat(id="m2")]
    window = {"StartTime": START, "EndTime": START + 10 * MINUTE, "MaxDatapoints": 4}
    pages = list(paginator.paginate(MetricDataQueries=queries, **window))
    read: dict[str, list[float]] = {"m1": [], "m2": []}
    for page in pages:
        for result in page["MetricDataResults"]:
            read[result["Id"]] += result["Values"]
    assert len(pages) == 3  # 4 + 4 + 2
    assert read == {"m1": [4.0, 3.0, 2.0, 1.0, 0.0], "m2": [4.0, 3.0, 2.0, 1.0, 0.0]}
    assert pages[0]["MetricDataResults"][0]["StatusCode"] == "PartialData"


def test_put_metric_data_adds_up_within_a_minute() -> None:
    account = realtime_account()
    client = account.client("cloudwatch")
    for value in (1.0, 3.0):
        point: Any = {"MetricName": "own", "Timestamp": START, "Value": value, "Dimensions": DIMENSIONS}
        client.put_metric_data(Namespace="Test", MetricData=[point])
    several: Any = {"MetricName": "own", "Timestamp": START, "Values": [5.0], "Counts": [2.0], "Dimensions": DIMENSIONS}
    client.put_metric_data(Namespace="Test", MetricData=[several])
    play(account, 3)
    assert values(account, "own", "Sum", namespace="Test") == [14.0]
    assert values(account, "own", "Average", namespace="Test") == [3.5]


def test_describe_alarms_filters_and_pages() -> None:
    account = realtime_account()
    for number in range(103):
        put_alarm(account, f"alarm-{number:03}", AlarmActions=["arn:aws:sns:x"] if number == 7 else [])
    client = account.client("cloudwatch")
    pages = [len(page["MetricAlarms"]) for page in client.get_paginator("describe_alarms").paginate()]
    assert pages == [100, 3]
    assert [a["AlarmName"] for a in client.describe_alarms(AlarmNames=["alarm-001", "no"])["MetricAlarms"]] == [
        "alarm-001"
    ]
    assert len(client.describe_alarms(AlarmNamePrefix="alarm-10")["MetricAlarms"]) == 3
    assert [a["AlarmName"] for a in client.describe_alarms(ActionPrefix="arn:aws:sns")["MetricAlarms"]] == ["alarm-007"]
    assert client.describe_alarms(AlarmTypes=["CompositeAlarm"])["MetricAlarms"] == []
    assert client.describe_alarms(StateValue="ALARM")["MetricAlarms"] == []


def test_deleting_alarms_is_all_or_nothing() -> None:
    account = realtime_account()
    put_alarm(account, "here")
    with pytest.raises(ClientError, match=r"ResourceNotFound.*gone"):
        account.client("cloudwatch").delete_alarms(AlarmNames=["here", "gone"])
    account.client("cloudwatch").delete_alarms(AlarmNames=["here"])
    assert account.client("cloudwatch").describe_alarms()["MetricAlarms"] == []


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"Period": 30}, "multiple of 60"),
        ({"DatapointsToAlarm": 2}, "must not exceed"),
        ({"EvaluationPeriods": 1441}, "more than a day"),
        ({"TreatMissingData": "guess"}, "TreatMissingData"),
        ({"ExtendedStatistic": "p95"}, "Exactly one of Statistic"),
        ({"ComparisonOperator": "GreaterThanUpperThreshold"}, "anomaly detection"),
        ({"ComparisonOperator": "Above"}, "Member must satisfy enum"),
    ],
)
def test_bad_alarms(wrong: dict[str, Any], why: str) -> None:
    with pytest.raises(ClientError, match=f"ValidationError.*{why}"):
        put_alarm(
            realtime_account(), "bad", **{"operator": wrong.pop("ComparisonOperator", "LessThanThreshold"), **wrong}
        )
