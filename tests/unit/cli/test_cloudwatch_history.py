"""Two weeks of an endpoint out of what GetMetricData answers: pages, newest first, holes and all."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from cli.backtest import told
from cli.cloudwatch_history import History, NoHistoryError, read_history
from core.aws.cloudwatch import CloudWatch
from core.errors import ObservationError
from core.model import ScalableTarget
from tests.contract.aws.stubs import scripted

TARGET = ScalableTarget.variant("orders", "AllTraffic")
NOW = datetime(2026, 11, 22, 12, 0, 30, tzinfo=UTC)
LAST = datetime(2026, 11, 22, 11, 58, tzinfo=UTC)


def result(name: str, values: dict[int, float], status: str = "Complete") -> dict[str, Any]:
    """A part of GetMetricData's answer; values by minutes before 11:58, newest first as AWS sends them."""
    return {
        "Id": name,
        "Label": name,
        "Timestamps": [LAST - timedelta(minutes=back) for back in sorted(values)],
        "Values": [values[back] for back in sorted(values)],
        "StatusCode": status,
    }


def read(*pages: list[dict[str, Any]], days: int = 14, asked: dict[str, Any] | None = None) -> History:
    """Read the history that CloudWatch answers with these pages."""
    with scripted("cloudwatch") as (client, script):
        for index, page in enumerate(pages):
            more = {"NextToken": f"page {index + 1}"} if index + 1 < len(pages) else {}
            script.add_response("get_metric_data", {"MetricDataResults": page, "Messages": []} | more, asked)
        return read_history(CloudWatch(client), TARGET, NOW, timedelta(days=days))


SILENT = [result("m1", {}), result("m2", {}), result("m3", {})]
ASKED: dict[str, tuple[dict[int, float], list[float], int]] = {
    "every minute known": ({0: 5, 1: 4, 2: 3}, [3, 4, 5], 0),
    "three silent minutes repeat the last value": ({0: 9, 4: 2}, [2, 2, 2, 2, 9], 0),
    "a longer silence is unknown from its fourth minute": ({0: 9, 5: 2}, [2, 2, 2, 2, 0, 9], 1),
    "zero is a measurement": ({0: 1, 1: 0, 2: 7}, [7, 0, 1], 0),
}


@pytest.mark.parametrize(("values", "requests", "unknown"), ASKED.values(), ids=ASKED)
def test_requests_by_the_minute(values: dict[int, float], requests: list[float], unknown: int) -> None:
    history = read([result("m0", values), *SILENT])
    assert history.trace.requests.tolist() == requests
    assert history.trace.start == LAST - timedelta(minutes=max(values))
    assert history.unknown == unknown


def test_pages_are_joined_and_units_are_seconds_and_instances() -> None:
    first = [result("m0", {0: 30, 1: 20}), result("m1", {0: 900_000.0}), result("m2", {0: 3, 1: 3})]
    second = [result("m0", {2: 10, 3: 40}), result("m1", {1: 250_000.0, 3: 100_000.0}), result("m2", {2: 2})]
    history = read(first, second)
    assert history.trace.requests.tolist() == [40, 10, 20, 30]
    np.testing.assert_allclose(history.latency_p95, [0.1, np.nan, 0.25, 0.9])  # published in microseconds
    assert history.share_slower_than(timedelta(milliseconds=200)) == pytest.approx(2 / 3)
    assert "Its ModelLatency p95 was 250 ms in the median minute, in one of twenty above 835 ms." in told(history)
    assert history.instance_hours == pytest.approx(
        (2 + 3 + 3) / 3 * 4 / 60
    )  # the mean of three known minutes, four times


def test_what_is_asked_of_cloudwatch_is_four_metrics_of_at_most_15_days() -> None:
    def query(number: int, namespace: str, name: str, stat: str) -> dict[str, Any]:
        dimensions = [{"Name": "EndpointName", "Value": "orders"}, {"Name": "VariantName", "Value": "AllTraffic"}]
        metric = {"Namespace": namespace, "MetricName": name, "Dimensions": dimensions}
        return {"Id": f"m{number}", "MetricStat": {"Metric": metric, "Period": 60, "Stat": stat}}

    asked = {
        "MetricDataQueries": [
            query(0, "AWS/SageMaker", "Invocations", "Sum"),
            query(1, "AWS/SageMaker", "ModelLatency", "p95"),
            query(2, "/aws/sagemaker/Endpoints", "CPUUtilization", "SampleCount"),
            query(3, "/aws/sagemaker/Endpoints", "CPUUtilization", "Average"),
        ],
        "StartTime": LAST + timedelta(minutes=1) - timedelta(days=15),
        "EndTime": LAST + timedelta(minutes=1),
        "ScanBy": "TimestampAscending",
    }
    assert read([result("m0", {0: 1}), *SILENT], days=90, asked=asked).trace.requests.tolist() == [1]


@pytest.mark.parametrize(
    ("page", "error", "why"),
    [
        ([result("m0", {})], NoHistoryError, "no invocations in the last 14 days (no data points)"),
        ([result("m0", {0: 1}, "InternalError")], NoHistoryError, "InternalError"),
    ],
)
def test_nothing_to_replay_is_said(page: list[dict[str, Any]], error: type[ObservationError], why: str) -> None:
    with pytest.raises(error) as raised:
        read([*page, *SILENT])
    assert why in str(raised.value)
