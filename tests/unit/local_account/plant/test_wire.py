"""Values that JSON cannot say by itself, and answers that AWS would not give."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.model import OperationModel

from local_account.plant import wire
from simulator.service import service_model


def operation(name: str) -> OperationModel:
    return service_model("cloudwatch").operation_model(name)


@pytest.mark.parametrize(
    ("said", "meant"), [('"NaN"', math.nan), ('"Infinity"', math.inf), ('"-Infinity"', -math.inf), ("1.5", 1.5)]
)
def test_doubles_that_are_no_numbers(said: str, meant: float) -> None:
    body = f'{{"Namespace": "n", "MetricData": [{{"MetricName": "m", "Value": {said}}}]}}'.encode()
    value = wire.parameters(body, "", operation("PutMetricData"))["MetricData"][0]["Value"]
    assert repr(value) == repr(meant)
    answered = wire.answer({"MetricDataResults": [{"Values": [meant]}]}, operation("GetMetricData"))
    assert answered == f'{{"MetricDataResults":[{{"Values":[{said}]}}]}}'.encode()


def test_bytes_travel_as_base64() -> None:
    assert (
        wire.answer({"MetricWidgetImage": b"png"}, operation("GetMetricWidgetImage")) == b'{"MetricWidgetImage":"cG5n"}'
    )


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        (datetime(2025, 4, 2, 6, tzinfo=UTC), b"1743573600"),
        (datetime(2025, 4, 2, 6, 0, 0, 250000, UTC), b"1743573600.25"),
    ],
)
def test_moments_travel_as_seconds(moment: datetime, said: bytes) -> None:
    results: dict[str, Any] = {"MetricDataResults": [{"Timestamps": [moment]}]}
    assert wire.answer(results, operation("GetMetricData")) == b'{"MetricDataResults":[{"Timestamps":[%b]}]}' % said


@pytest.mark.parametrize(
    ("said", "kept"),
    [("true", True), ('"soon"', "soon"), ("1e300", 1e300), ("[1]", [1]), ('"2025-13-01"', "2025-13-01")],
)
def test_what_is_no_moment_stays_for_the_service_to_refuse(said: str, kept: object) -> None:
    body = f'{{"StartTime": {said}}}'.encode()
    assert wire.parameters(body, "", operation("GetMetricData")) == {"StartTime": kept}


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("GetMetricData", {"Shoesize": 44}),
        ("DescribeAlarms", {"MetricAlarms": [{"Shoesize": 44}]}),
        ("PutMetricData", {"a": 1}),
    ],
)
def test_a_field_that_aws_does_not_have_is_a_bug_of_the_simulator(name: str, result: dict[str, Any]) -> None:
    with pytest.raises(KeyError):
        wire.answer(result, operation(name))


def test_what_has_no_answer_answers_nothing() -> None:
    assert wire.answer({}, operation("PutMetricData")) == b"{}"
