"""Alarm rules: M of N, missing data, comparison, and the event a change of state sends (facts 2.8, 6.1)."""

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.alarms import Alarm, Point, State, verdict
from simulator.metrics import MetricStore, sample
from tests.unit.simulator.worlds import DIMENSIONS, START, feed, play, put_alarm, realtime_account, states

KEEP = None
MODES = ("missing", "ignore", "breaching", "notBreaching")
# Five periods, oldest first: X breaches, 0 does not, - is missing.  N, M, then the state by mode in the order of MODES.
TABLE = [
    ("0-X-X", 3, 3, ("OK", "OK", "OK", "OK")),  # three real points decide: X X 0
    ("----0", 3, 3, ("OK", "OK", "OK", "OK")),
    ("-----", 3, 3, ("INSUFFICIENT_DATA", KEEP, "ALARM", "OK")),
    ("0XX-X", 3, 3, ("ALARM", "ALARM", "ALARM", "ALARM")),
    ("--X--", 3, 3, ("ALARM", KEEP, "ALARM", "OK")),  # three periods old, and nothing speaks against it
    ("----X", 3, 3, (KEEP, KEEP, "ALARM", "OK")),  # too young to be believed
    ("00X0X", 3, 2, ("ALARM", "ALARM", "ALARM", "ALARM")),
    ("0-X--", 3, 2, ("OK", "OK", "ALARM", "OK")),
    ("----0", 3, 2, ("OK", "OK", "ALARM", "OK")),
    ("XX00X", 3, 2, ("OK", "OK", "OK", "OK")),  # the newest three only
    ("XXXX-", 1, 1, ("ALARM", "ALARM", "ALARM", "ALARM")),
]


@pytest.mark.parametrize(
    ("row", "periods", "needed", "want"), TABLE, ids=[f"{row[0]} {row[2]}/{row[1]}" for row in TABLE]
)
def test_m_of_n_with_missing_data(row: str, periods: int, needed: int, want: tuple[str | None, ...]) -> None:
    numbers = {"X": 2.0, "0": 0.0, "-": None}
    points = [Point(minute, numbers[letter]) for minute, letter in enumerate(row)][::-1]
    config: dict[str, Any] = {"EvaluationPeriods": periods, "DatapointsToAlarm": needed, "Threshold": 1.0}
    config["ComparisonOperator"] = "GreaterThanThreshold"
    assert tuple(verdict(points, {**config, "TreatMissingData": mode})[0] for mode in MODES) == want


@pytest.mark.parametrize(
    ("operator", "at_99", "at_100", "at_101"),
    [
        ("GreaterThanThreshold", "OK", "OK", "ALARM"),
        ("GreaterThanOrEqualToThreshold", "OK", "ALARM", "ALARM"),
        ("LessThanThreshold", "ALARM", "OK", "OK"),
        ("LessThanOrEqualToThreshold", "ALARM", "ALARM", "OK"),
    ],
)
def test_comparison_operators(operator: str, at_99: str, at_100: str, at_101: str) -> None:
    config = {"EvaluationPeriods": 1, "Threshold": 100.0, "ComparisonOperator": operator, "TreatMissingData": "missing"}
    assert tuple(verdict([Point(0, value)], config)[0] for value in (99.0, 100.0, 101.0)) == (at_99, at_100, at_101)


def test_three_breaching_minutes_of_traffic_alarm_five_minutes_after_the_load_began() -> None:
    # minutes 0, 1, 2 breach; minute 2 ends at 3 and is readable at 3 + 2 = 5 (facts 2.8: "about 5 minutes")
    account = realtime_account([5000] * 10)
    options: dict[str, Any] = {"Namespace": "AWS/SageMaker", "Statistic": "Sum", "EvaluationPeriods": 3}
    put_alarm(account, "hot", metric="InvocationsPerInstance", **options)
    assert [len(states(account.advance())) for _ in range(6)] == [0, 0, 0, 0, 1, 0]


def test_a_wrong_dimension_set_never_sees_data() -> None:
    account = realtime_account([5000] * 10)
    options: dict[str, Any] = {"Namespace": "AWS/SageMaker", "Dimensions": DIMENSIONS[:1]}
    put_alarm(account, "blind", metric="Invocations", **options)
    assert states(play(account, 10)) == []
    assert account.client("cloudwatch").describe_alarms()["MetricAlarms"][0]["StateValue"] == "INSUFFICIENT_DATA"


def test_life_of_an_alarm() -> None:
    account = realtime_account()
    put_alarm(account, "load", EvaluationPeriods=2, DatapointsToAlarm=2)
    seen = states(feed(account, 150.0, minutes=2) + feed(account, 50.0) + feed(account, None, minutes=4))
    assert seen == [("INSUFFICIENT_DATA", "ALARM"), ("ALARM", "OK"), ("OK", "INSUFFICIENT_DATA")]


def test_periods_longer_than_a_minute_slide() -> None:
    account = realtime_account()
    put_alarm(account, "slow", Period=300)
    feed(account, 90.0, minutes=4)
    assert states(feed(account, 130.0)) == []  # (4 x 90 + 130) / 5 = 98
    assert states(feed(account, 130.0)) == [("OK", "ALARM")]  # (3 x 90 + 2 x 130) / 5 = 106


def test_metric_math_alarm_and_its_event() -> None:
    account = realtime_account()
    metric = {"Namespace": "Test", "MetricName": "load", "Dimensions": DIMENSIONS}
    queries: list[Any] = [
        {"Id": "e1", "Expression": "m1/4", "Label": "CPU per vCPU", "ReturnData": True},
        {"Id": "m1", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Average"}, "ReturnData": False},
    ]
    account.client("cloudwatch").put_metric_alarm(
        AlarmName="per-cpu",
        EvaluationPeriods=1,
        Threshold=70.0,
        ComparisonOperator="GreaterThanThreshold",
        Metrics=queries,
    )
    assert feed(account, 280.0)[-1]["detail"]["state"]["value"] == "OK"  # 280 / 4 = 70
    event = feed(account, 281.0)[-1]
    metrics = event["detail"]["configuration"]["metrics"]
    assert metrics[0] == {"id": "e1", "expression": "m1/4", "label": "CPU per vCPU", "returnData": True}
    assert metrics[1]["metricStat"]["metric"]["dimensions"] == {"EndpointName": "ranker", "VariantName": "AllTraffic"}
    data = json.loads(event["detail"]["state"]["reasonData"])
    assert "statistic" not in data
    assert data["recentDatapoints"] == [70.25]


def test_event_of_a_plain_alarm_has_awss_form() -> None:
    account = realtime_account()
    put_alarm(account, "load", AlarmDescription="too hot", DatapointsToAlarm=1)
    feed(account, 50.0)
    event = feed(account, 150.0)[-1]
    arn = "arn:aws:cloudwatch:eu-central-1:123456789012:alarm:load"
    assert (event["source"], event["detail-type"]) == ("aws.cloudwatch", "CloudWatch Alarm State Change")
    assert (event["resources"], event["time"]) == ([arn], "2025-04-02T06:02:00Z")
    state, config = event["detail"]["state"], event["detail"]["configuration"]
    assert state["timestamp"] == "2025-04-02T06:02:00.000+0000"
    assert state["reason"] == (
        "Threshold Crossed: 1 out of the last 1 datapoints [150.0 (02/04/25 05:59:00)] was greater than the threshold "
        "(100.0) (minimum 1 datapoint for OK -> ALARM transition)."
    )
    assert json.loads(state["reasonData"]) == {
        "version": "1.0",
        "queryDate": "2025-04-02T06:02:00.000+0000",
        "startDate": "2025-04-02T05:59:00.000+0000",
        "statistic": "Average",
        "period": 60,
        "recentDatapoints": [150.0],
        "threshold": 100.0,
        "evaluatedDatapoints": [{"timestamp": "2025-04-02T05:59:00.000+0000", "sampleCount": 1.0, "value": 150.0}],
    }
    assert config["description"] == "too hot"
    assert config["metrics"][0]["metricStat"]["stat"] == "Average"
    assert event["detail"]["previousState"]["value"] == "OK"


def test_the_first_event_names_the_initial_state_without_data() -> None:
    account = realtime_account()
    put_alarm(account, "load")
    previous = feed(account, 50.0)[-1]["detail"]["previousState"]
    assert previous == {
        "value": "INSUFFICIENT_DATA",
        "reason": "Unchecked: Initial alarm creation",
        "timestamp": "2025-04-02T06:00:00.000+0000",
    }


def test_set_alarm_state_lasts_until_the_next_evaluation_and_sends_an_event() -> None:
    account = realtime_account()
    put_alarm(account, "load")
    feed(account, 50.0)
    account.client("cloudwatch").set_alarm_state(AlarmName="load", StateValue="ALARM", StateReason="drill")
    assert states(feed(account, 50.0)) == [("OK", "ALARM"), ("ALARM", "OK")]


def test_overwriting_an_alarm_keeps_its_state() -> None:
    account = realtime_account()
    put_alarm(account, "load")
    feed(account, 150.0)
    put_alarm(account, "load", Threshold=1000.0)
    described = account.client("cloudwatch").describe_alarms()["MetricAlarms"][0]
    assert (described["StateValue"], described["Threshold"]) == ("ALARM", 1000.0)
    assert described["StateUpdatedTimestamp"] == START + timedelta(minutes=1)


# ---- reading minute by minute ----------------------------------------------------------------------------------------

KEY = ("Test", "load", (("EndpointName", "ranker"), ("VariantName", "AllTraffic")))
LOAD: dict[str, Any] = {"Namespace": "Test", "MetricName": "load", "Dimensions": DIMENSIONS}
WATCHES: dict[str, dict[str, Any]] = {
    "plain": {**LOAD, "Statistic": "Sum", "Period": 60},
    "three minutes": {**LOAD, "Statistic": "Maximum", "Period": 180},
    **{
        text: {
            "Metrics": [
                {"Id": "m", "MetricStat": {"Metric": LOAD, "Stat": "Sum", "Period": 60}, "ReturnData": False},
                {"Id": "e", "Expression": text},
            ]
        }
        for text in ("m / 4", "FILL(m, REPEAT) + 1")
    },
}
WRITES = st.lists(st.tuples(st.integers(-6, 1), st.floats(0, 100)), max_size=2)


@pytest.mark.parametrize("watch", WATCHES.values(), ids=WATCHES)
@given(minutes=st.lists(WRITES, max_size=12))
def test_an_alarm_that_reads_the_newest_minute_sees_what_one_that_reads_all_sees(
    watch: dict[str, Any], minutes: list[list[tuple[int, float]]]
) -> None:
    """Also where points come late, for minutes that were looked at already."""
    rule = {"Threshold": 50.0, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "missing"}
    config = {**watch, **rule, "AlarmName": "a", "AlarmActions": [], "EvaluationPeriods": 3}
    unchecked = State("INSUFFICIENT_DATA", "", None, START)
    store, steady = MetricStore(), Alarm("arn", config, unchecked, START)
    for newest, writes in enumerate(minutes, 1000):
        for age, value in writes:
            store.put(KEY, newest + age, sample(value))
        fresh = Alarm("arn", config, unchecked, START)
        assert [*steady.points(store, newest)] == [*fresh.points(store, newest)]
