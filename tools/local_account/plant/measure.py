"""How long a call to the plant takes: `python -m local_account.plant.measure`."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING, Any

from local_account.plant.server import Plant
from simulator.account import SimulatedAccount
from simulator.workload import RealtimeWorkload

if TYPE_CHECKING:
    from collections.abc import Callable

VARIANT = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/ranker/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
TRACKING = {
    "TargetValue": 100.0,
    "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
}
SPAN = timedelta(minutes=15)


def measure(calls: int) -> dict[str, float]:
    """Median milliseconds of a call, from boto3 to the simulator and back, over `calls` calls of each kind."""
    account = SimulatedAccount(datetime(2025, 4, 2, 6, tzinfo=UTC), record_calls=False)
    workload = RealtimeWorkload(per_minute_requests=[100] * 60, capacity_per_instance=1000.0)
    account.add_endpoint(name="ranker", workload=workload, instance_count=2)
    for _ in range(30):
        account.advance()
    with Plant(account, record_calls=False) as plant:
        aas: Any = plant.client("application-autoscaling")
        cloudwatch: Any = plant.client("cloudwatch")
        aas.register_scalable_target(**VARIANT, MinCapacity=1, MaxCapacity=4)
        newest = account.now - account.cloudwatch.lag
        queries = [_query(number) for number in range(6)]
        kinds: dict[str, Callable[[], Any]] = {
            "describe_scalable_targets": lambda: aas.describe_scalable_targets(ServiceNamespace="sagemaker"),
            "get_metric_data, 6 queries x 15 minutes": lambda: cloudwatch.get_metric_data(
                MetricDataQueries=queries, StartTime=newest - SPAN, EndTime=newest
            ),
            "put_scaling_policy, target tracking": lambda: aas.put_scaling_policy(
                **VARIANT,
                PolicyName="requests",
                PolicyType="TargetTrackingScaling",
                TargetTrackingScalingPolicyConfiguration=TRACKING,
            ),
        }
        return {name: median(_milliseconds(call) for _ in range(calls)) for name, call in kinds.items()}


def _query(number: int) -> dict[str, Any]:
    pairs = (("EndpointName", "ranker"), ("VariantName", "AllTraffic"))
    dimensions = [{"Name": name, "Value": value} for name, value in pairs]
    metric = {"Namespace": "AWS/SageMaker", "MetricName": "Invocations", "Dimensions": dimensions}
    return {"Id": f"m{number}", "MetricStat": {"Metric": metric, "Period": 60, "Stat": "Sum"}}


def _milliseconds(call: Callable[[], Any]) -> float:
    start = perf_counter()
    call()
    return (perf_counter() - start) * 1000


if __name__ == "__main__":
    for kind, taken in measure(1000).items():
        sys.stdout.write(f"{taken:6.2f} ms  {kind}\n")
