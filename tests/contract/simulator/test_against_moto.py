"""The same calls against the simulator, in-process and over HTTP, and against moto: where both answer, they agree; where they differ, we say how.

A row holds what the simulator does and what moto does. A moto release that changes a row is welcome: correct the row.
"""

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws

from local_account.plant.server import Plant
from simulator.account import SimulatedAccount
from simulator.workload import RealtimeWorkload

VARIANT = {
    "ServiceNamespace": "sagemaker",
    "ResourceId": "endpoint/ranker/variant/AllTraffic",
    "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
}
SERVICES = ("application-autoscaling", "sagemaker", "cloudwatch")
NAMESPACE = {"ServiceNamespace": "sagemaker"}
TRACKING = {
    "TargetValue": 100.0,
    "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
}
ALARM = {
    "AlarmName": "hot",
    "Namespace": "AWS/SageMaker",
    "MetricName": "Invocations",
    "Statistic": "Sum",
    "Period": 60,
    "EvaluationPeriods": 1,
    "Threshold": 1.0,
    "ComparisonOperator": "GreaterThanThreshold",
}


@dataclass(frozen=True, slots=True)
class Clients:
    """One account's clients; untyped, since requests are built from parts."""

    autoscaling: Any
    sagemaker: Any
    cloudwatch: Any


def _account() -> SimulatedAccount:
    account = SimulatedAccount(now=datetime(2025, 4, 2, 6, 0, tzinfo=UTC))
    workload = RealtimeWorkload(per_minute_requests=(), capacity_per_instance=1.0)
    account.add_endpoint(name="ranker", workload=workload, instance_count=2, instance_type="ml.m5.xlarge")
    return account


@contextmanager
def simulated() -> Iterator[Clients]:
    account = _account()
    autoscaling, sagemaker = account.client("application-autoscaling"), account.client("sagemaker")
    yield Clients(autoscaling, sagemaker, account.client("cloudwatch"))


@contextmanager
def served() -> Iterator[Clients]:
    with Plant(_account()) as plant:
        yield Clients(*(plant.client(service) for service in SERVICES))


OURS = [simulated, served]


@functools.cache
def session() -> boto3.Session:
    return boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-central-1")  # noqa: S106 - moto


@contextmanager
def mocked() -> Iterator[Clients]:
    with mock_aws():
        clients = Clients(*(session().client(service) for service in SERVICES))  # type: ignore[call-overload]  # any service
        role = "arn:aws:iam::123456789012:role/service-role/any"
        clients.sagemaker.create_model(ModelName="m", ExecutionRoleArn=role, PrimaryContainer={"Image": "any"})
        variant = {"VariantName": "AllTraffic", "ModelName": "m", "InstanceType": "ml.m5.xlarge"}
        variants = [{**variant, "InitialInstanceCount": 2, "InitialVariantWeight": 1.0}]
        clients.sagemaker.create_endpoint_config(EndpointConfigName="c", ProductionVariants=variants)
        clients.sagemaker.create_endpoint(EndpointName="ranker", EndpointConfigName="c")
        yield clients


def register(clients: Clients, minimum: int = 1, maximum: int = 4, **more: Any) -> Any:
    request = {**VARIANT, "MinCapacity": minimum, "MaxCapacity": maximum, **more}
    return clients.autoscaling.register_scalable_target(**request)


def track(clients: Clients, name: str = "tt") -> Any:
    return clients.autoscaling.put_scaling_policy(
        **VARIANT,
        PolicyName=name,
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration=TRACKING,
    )


def registered_bounds(clients: Clients) -> tuple[int, int]:
    register(clients)
    clients.autoscaling.register_scalable_target(**VARIANT, MaxCapacity=6)
    target = clients.autoscaling.describe_scalable_targets(**NAMESPACE)["ScalableTargets"][0]
    return target["MinCapacity"], target["MaxCapacity"]


def policy_names(clients: Clients) -> list[str]:
    register(clients)
    track(clients)
    policies = clients.autoscaling.describe_scaling_policies(**NAMESPACE)["ScalingPolicies"]
    return [policy["PolicyName"] for policy in policies]


def policies_by_part_of_a_name(clients: Clients) -> int:
    register(clients)
    track(clients)
    wanted = clients.autoscaling.describe_scaling_policies(**NAMESPACE, PolicyNames=["t"])
    return len(wanted["ScalingPolicies"])


def policies_after_deregistration(clients: Clients) -> int:
    register(clients)
    track(clients)
    clients.autoscaling.deregister_scalable_target(**VARIANT)
    return len(clients.autoscaling.describe_scaling_policies(**NAMESPACE)["ScalingPolicies"])


def action_fields_after_update(clients: Clients) -> tuple[str | None, dict[str, int]]:
    register(clients)
    action = {**VARIANT, "ScheduledActionName": "night", "Schedule": "rate(1 day)"}
    put = clients.autoscaling.put_scheduled_action
    put(**action, ScalableTargetAction={"MinCapacity": 2}, Timezone="Europe/Berlin")
    put(**action, ScalableTargetAction={"MaxCapacity": 3})
    kept = clients.autoscaling.describe_scheduled_actions(**NAMESPACE)["ScheduledActions"][0]
    return kept.get("Timezone"), kept["ScalableTargetAction"]


def action_without_bounds(clients: Clients) -> None:
    register(clients)
    action = {**VARIANT, "ScheduledActionName": "night", "Schedule": "rate(1 day)", "ScalableTargetAction": {}}
    clients.autoscaling.put_scheduled_action(**action)


def desired_after_raising_the_minimum(clients: Clients) -> int:
    register(clients, 3)
    described = clients.sagemaker.describe_endpoint(EndpointName="ranker")
    return int(described["ProductionVariants"][0]["DesiredInstanceCount"])


def counts(clients: Clients) -> tuple[str, int, int]:
    described = clients.sagemaker.describe_endpoint(EndpointName="ranker")
    variant = described["ProductionVariants"][0]
    return described["EndpointStatus"], variant["CurrentInstanceCount"], variant["DesiredInstanceCount"]


def instance_type(clients: Clients) -> str:
    name = clients.sagemaker.describe_endpoint(EndpointName="ranker")["EndpointConfigName"]
    config = clients.sagemaker.describe_endpoint_config(EndpointConfigName=name)
    return str(config["ProductionVariants"][0]["InstanceType"])


def alarm_actions(clients: Clients) -> list[str]:
    clients.cloudwatch.put_metric_alarm(**ALARM, AlarmActions=["arn:aws:sns:eu-central-1:123456789012:x"])
    return list(clients.cloudwatch.describe_alarms(AlarmNames=["hot"])["MetricAlarms"][0]["AlarmActions"])


def first_alarm_state(clients: Clients) -> str:
    clients.cloudwatch.put_metric_alarm(**ALARM)
    return str(clients.cloudwatch.describe_alarms(AlarmNames=["hot"])["MetricAlarms"][0]["StateValue"])


def tracking_alarms(clients: Clients) -> int:
    register(clients)
    track(clients)
    return len(clients.cloudwatch.describe_alarms(AlarmNamePrefix="TargetTracking-")["MetricAlarms"])


def activities(clients: Clients) -> int:
    return len(clients.autoscaling.describe_scaling_activities(**NAMESPACE)["ScalingActivities"])


def delete_missing_policy(clients: Clients) -> None:
    register(clients)
    clients.autoscaling.delete_scaling_policy(**VARIANT, PolicyName="absent")


def delete_missing_target(clients: Clients) -> None:
    clients.autoscaling.deregister_scalable_target(**VARIANT)


UNKNOWN: dict[str, Any] = {"ResourceId": "endpoint/absent/variant/AllTraffic"}
Scenario = Callable[[Clients], object]
Opened = Callable[[], AbstractContextManager[Clients]]
AGREED: list[tuple[Scenario, object]] = [
    (registered_bounds, (1, 6)),
    (policy_names, ["tt"]),
    (counts, ("InService", 2, 2)),
    (instance_type, "ml.m5.xlarge"),
    (alarm_actions, ["arn:aws:sns:eu-central-1:123456789012:x"]),
]
DIFFERENT: list[tuple[str, Scenario, object, object]] = [  # what it is about, scenario, simulator, moto
    ("min above max", lambda clients: register(clients, 5, 4) and "fine", "ValidationException", "fine"),
    ("unknown endpoint", lambda clients: register(clients, **UNKNOWN) and "fine", "ValidationException", "fine"),
    ("real-time minimum 0", lambda clients: register(clients, 0) and "fine", "ValidationException", "fine"),
    ("policy without target", lambda clients: track(clients) and "fine", "ObjectNotFoundException", "fine"),
    ("bounds move capacity", desired_after_raising_the_minimum, 3, 2),
    ("target tracking has alarms", tracking_alarms, 2, 0),
    ("deregistering takes policies along", policies_after_deregistration, 0, 1),
    ("policy names match whole", policies_by_part_of_a_name, 0, 1),
    (
        "an action update drops fields",
        action_fields_after_update,
        (None, {"MaxCapacity": 3}),
        ("Europe/Berlin", {"MaxCapacity": 3}),
    ),
    ("an action needs a bound", action_without_bounds, "ValidationException", None),
    ("missing policy", delete_missing_policy, "ObjectNotFoundException", "ValidationException"),
    ("missing target", delete_missing_target, "ObjectNotFoundException", "ValidationException"),
    ("a new alarm knows nothing", first_alarm_state, "INSUFFICIENT_DATA", "OK"),
    ("activities", activities, 0, "NotImplementedError"),
]


def outcome(scenario: Scenario, clients: Clients) -> object:
    """What it returned, or the code of its error."""
    try:
        return scenario(clients)
    except ClientError as error:
        return error.response["Error"]["Code"]
    except NotImplementedError:
        return "NotImplementedError"


@pytest.mark.parametrize("simulator", OURS, ids=["in-process", "http"])
@pytest.mark.parametrize(("scenario", "want"), AGREED, ids=[case[0].__name__ for case in AGREED])
def test_both_agree(scenario: Scenario, want: object, simulator: Opened) -> None:
    with simulator() as ours, mocked() as moto:
        assert (outcome(scenario, ours), outcome(scenario, moto)) == (want, want)


@pytest.mark.parametrize("simulator", OURS, ids=["in-process", "http"])
@pytest.mark.parametrize(
    ("scenario", "ours", "theirs"), [case[1:] for case in DIFFERENT], ids=[case[0] for case in DIFFERENT]
)
def test_where_the_simulator_is_closer_to_aws(
    scenario: Scenario, ours: object, theirs: object, simulator: Opened
) -> None:
    with simulator() as clients, mocked() as moto:
        assert (outcome(scenario, clients), outcome(scenario, moto)) == (ours, theirs)
