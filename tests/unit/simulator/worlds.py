"""Small accounts that the simulator's tests start from."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from simulator.account import SimulatedAccount
from simulator.events import Event
from simulator.metrics import metric_key, sample
from simulator.workload import AsyncWorkload, RealtimeWorkload

START = datetime(2025, 4, 2, 6, 0, tzinfo=UTC)
VARIANT: dict[str, Any] = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/ranker/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
DIMENSIONS = [{"Name": "EndpointName", "Value": "ranker"}, {"Name": "VariantName", "Value": "AllTraffic"}]


def realtime_account(
    requests: Sequence[int] = (), *, count: int = 2, capacity: float = 1000.0, **endpoint: Any
) -> SimulatedAccount:
    """One real-time endpoint `ranker`; provisioning takes six minutes, removal one."""
    account = SimulatedAccount(now=START)
    workload = RealtimeWorkload(per_minute_requests=requests, capacity_per_instance=capacity)
    account.add_endpoint(name="ranker", workload=workload, instance_count=count, **endpoint)
    return account


def async_account(
    requests: Sequence[int] = (), work: Sequence[float] = (), *, count: int = 0, **workload: Any
) -> SimulatedAccount:
    """One asynchronous endpoint `ranker`."""
    account = SimulatedAccount(now=START)
    options: dict[str, Any] = {"objective": timedelta(minutes=15), **workload}
    queue = AsyncWorkload(per_minute_requests=requests, per_minute_work_seconds=work, **options)
    account.add_endpoint(name="ranker", workload=queue, instance_count=count, asynchronous=True)
    return account


def register(account: SimulatedAccount, minimum: int = 1, maximum: int = 10) -> None:
    account.client("application-autoscaling").register_scalable_target(
        **VARIANT, MinCapacity=minimum, MaxCapacity=maximum
    )


def custom(name: str) -> dict[str, Any]:
    """A customized metric that no workload publishes: the test feeds it."""
    return {"MetricName": name, "Namespace": "Test", "Dimensions": DIMENSIONS, "Statistic": "Average"}


def track(account: SimulatedAccount, target: float = 100.0, *, metric: str = "load", **options: Any) -> None:
    """A target-tracking policy on the fed metric; named like it."""
    configuration: Any = {"TargetValue": target, "CustomizedMetricSpecification": custom(metric), **options}
    account.client("application-autoscaling").put_scaling_policy(
        **VARIANT,
        PolicyName=metric,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=configuration,
    )


def step(
    account: SimulatedAccount,
    steps: list[dict[str, Any]],
    *,
    name: str = "step",
    metric: str = "steps",
    operator: str = "GreaterThanOrEqualToThreshold",
    **options: Any,
) -> None:
    """A step policy and an alarm (threshold 100, one minute) on the fed metric that calls it."""
    configuration: Any = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": steps, **options}
    answer = account.client("application-autoscaling").put_scaling_policy(
        **VARIANT, PolicyName=name, PolicyType="StepScaling", StepScalingPolicyConfiguration=configuration
    )
    put_alarm(account, name, metric=metric, operator=operator, AlarmActions=[answer["PolicyARN"]])


def put_alarm(
    account: SimulatedAccount,
    name: str,
    *,
    metric: str = "load",
    operator: str = "GreaterThanThreshold",
    **options: Any,
) -> None:
    settings: dict[str, Any] = {
        "AlarmName": name,
        "MetricName": metric,
        "Namespace": "Test",
        "Dimensions": DIMENSIONS,
        "Statistic": "Average",
        "Period": 60,
        "EvaluationPeriods": 1,
        "Threshold": 100.0,
        "ComparisonOperator": operator,
        **options,
    }
    account.client("cloudwatch").put_metric_alarm(**settings)


def feed(account: SimulatedAccount, value: float | None, metric: str = "load", *, minutes: int = 1) -> list[Event]:
    """Play minutes in which the metric reads `value`, or is silent, at once: two minutes' lag are filled in."""
    events = []
    for _ in range(minutes):
        if value is not None:
            minute = account.cloudwatch.newest_minute + 1
            account.cloudwatch.store.put(metric_key("Test", metric, DIMENSIONS), minute, sample(value))
        events += account.advance()
    return events


def play(account: SimulatedAccount, minutes: int) -> list[Event]:
    return [event for _ in range(minutes) for event in account.advance()]


def count(account: SimulatedAccount) -> tuple[int, int]:
    """Current and desired instances."""
    endpoint = account.endpoint("ranker")
    return endpoint.current_count, endpoint.desired_count


def values(account: SimulatedAccount, name: str, stat: str = "Sum", **options: Any) -> list[float]:
    """Readable points of the last hour, oldest first; of AWS/SageMaker unless `namespace` or `dimensions` say otherwise."""
    namespace, dimensions = options.get("namespace", "AWS/SageMaker"), options.get("dimensions", DIMENSIONS)
    spec = {
        "Metric": {"Namespace": namespace, "MetricName": name, "Dimensions": dimensions},
        "Stat": stat,
        "Period": 60,
    }
    query: Any = {"Id": "m", "MetricStat": spec}
    answer = account.client("cloudwatch").get_metric_data(
        MetricDataQueries=[query],
        StartTime=account.now - timedelta(hours=1),
        EndTime=account.now,
        ScanBy="TimestampAscending",
    )
    return list(answer["MetricDataResults"][0]["Values"])


def states(events: Iterable[Event]) -> list[tuple[str, str]]:
    """Alarm changes: previous and new state."""
    details = [event["detail"] for event in events if event["source"] == "aws.cloudwatch"]
    return [(detail["previousState"]["value"], detail["state"]["value"]) for detail in details]
