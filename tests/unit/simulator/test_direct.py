"""The direct adapters see and do what those over botocore see and do, in any state of the account."""

from datetime import timedelta
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.aws.application_autoscaling import ApplicationAutoScaling
from core.aws.cloudwatch import CloudWatch
from core.aws.sagemaker import SageMaker
from core.errors import ObservationError, TidegateError
from core.model import Envelope, ScalableTarget
from core.ports import MetricQuery
from simulator.account import SimulatedAccount
from simulator.direct import DirectAutoscaling, DirectMetrics, DirectServing
from simulator.metrics import sample
from tests.unit.simulator.worlds import START, realtime_account, register

RANKER = ScalableTarget.variant("ranker", "AllTraffic")
QUERY = MetricQuery("Test", "load", (("VariantName", "AllTraffic"), ("EndpointName", "ranker")), "Sum")
KEY = ("Test", "load", (("EndpointName", "ranker"), ("VariantName", "AllTraffic")))
VALUES = st.floats(0, 1e6) | st.sampled_from([nan, inf, -1.0])


@given(
    points=st.dictionaries(st.integers(-30, 5), VALUES, max_size=20),
    later=st.dictionaries(st.integers(-30, 5), VALUES, max_size=5),
    seconds=st.integers(0, 300),
    lag=st.integers(0, 3),
)
def test_metrics_are_seen_alike(points: dict[int, float], later: dict[int, float], seconds: int, lag: int) -> None:
    """Also after a second look, when points came in addition, and old ones changed."""
    account = SimulatedAccount(START)
    account.cloudwatch.lag = timedelta(minutes=lag)
    direct, reference = DirectMetrics(account), CloudWatch(account.client("cloudwatch"))
    start = int(START.timestamp()) // 60
    for arrived in (points, later):
        for minute, value in arrived.items():
            account.cloudwatch.store.put(KEY, start + minute, sample(value))
        now, span = START + timedelta(seconds=seconds), timedelta(minutes=15)
        assert repr(direct.fetch([QUERY], now, span)) == repr(reference.fetch([QUERY], now, span))


def adapters(account: SimulatedAccount, *, direct: bool) -> tuple[Any, Any, Any]:
    if direct:
        return DirectMetrics(account), DirectAutoscaling(account), DirectServing(account)
    sagemaker, tagging = account.client("sagemaker"), account.client("resourcegroupstaggingapi")
    autoscaling = ApplicationAutoScaling(account.client("application-autoscaling"))
    return CloudWatch(account.client("cloudwatch")), autoscaling, SageMaker(lambda: sagemaker, lambda: tagging)


@pytest.mark.parametrize(
    ("service", "operation", "port", "read"),
    [
        ("cloudwatch", "GetMetricData", 0, lambda m: m.fetch([QUERY], START, timedelta(minutes=15))),
        ("cloudwatch", "DescribeAlarms", 0, lambda m: m.alarm_states(["any"])),
        ("application-autoscaling", "DescribeScalableTargets", 1, lambda a: a.registered([RANKER])),
        ("sagemaker", "DescribeEndpoint", 2, lambda s: s.capacity(RANKER)),
    ],
)
@pytest.mark.parametrize("direct", [True, False])
def test_a_scripted_failure_is_seen_once(service: str, operation: str, port: int, read: Any, direct: bool) -> None:
    account = realtime_account()
    account.fail_next(service, operation, "InternalServiceError", "try again")
    seen = adapters(account, direct=direct)[port]
    with pytest.raises(ObservationError, match="try again"):
        read(seen)
    read(seen)


@pytest.mark.parametrize(
    "write",
    [
        lambda a, _: a.register(RANKER, Envelope(0, 5)),  # zero is for queues
        lambda a, _: a.register(ScalableTarget.variant("gone", "AllTraffic"), Envelope(1, 5)),
        lambda _, s: (s.set_count(RANKER, 3), s.set_count(RANKER, 4)),  # the second meets an endpoint under change
        lambda _, s: s.set_count(ScalableTarget.variant("gone", "AllTraffic"), 1),
    ],
)
def test_refusals_are_the_same_errors_in_the_same_words(write: Any) -> None:
    said = []
    for direct in (True, False):
        account = realtime_account()
        register(account)
        _, autoscaling, serving = adapters(account, direct=direct)
        with pytest.raises(TidegateError) as refused:
            write(autoscaling, serving)
        said.append((refused.type, str(refused.value)))
    assert said[0] == said[1]
