"""What AWS's errors mean to the core: by code, and by text where AWS gives one code several meanings."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ConnectTimeoutError, EndpointConnectionError

from core.aws.application_autoscaling import ApplicationAutoScaling
from core.aws.cloudwatch import CloudWatch
from core.aws.errors import reading, writing
from core.aws.sagemaker import SageMaker
from core.aws.store import Table
from core.errors import ActuationError, ObservationError, TargetBusyError, TargetNotFoundError, ThrottledError
from core.model import Envelope, Missing, ScalableTarget
from core.ports import MetricQuery, NativePolicy, Original, ScheduledAction
from tests.contract.aws.stubs import Client, client, scripted

ORDERS = ScalableTarget.variant("orders", "AllTraffic")
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
ALARMS = "Unable to create alarms for scaling policy p due to reason: "
PAYLOAD = NativePolicy("p", "TargetTrackingScaling", {"TargetValue": 70.0})
ACTION = ScheduledAction("a", {"Schedule": "rate(15 minutes)", "ScalableTargetAction": {"MinCapacity": 1}})


def aas(c: Client) -> ApplicationAutoScaling:
    return ApplicationAutoScaling(c)


def sagemaker(c: Client) -> SageMaker:
    return SageMaker(lambda: c, lambda: c)


@dataclass(frozen=True)
class Write:
    """A write that AWS refuses: what it answers, and what the core hears."""

    name: str
    service: str
    operation: str
    code: str
    message: str
    call: Callable[[Client], object]
    want: type[ActuationError]


def register(c: Client) -> None:
    aas(c).register(ORDERS, Envelope(1, 4))


def put_policy(c: Client) -> object:
    return aas(c).put_policy(ORDERS, PAYLOAD)


def set_count(c: Client) -> None:
    sagemaker(c).set_count(ORDERS, 2)


AAS, SAGEMAKER, CLOUDWATCH = "application-autoscaling", "sagemaker", "cloudwatch"
WRITES = [
    Write(
        "throttled", AAS, "register_scalable_target", "ThrottlingException", "Rate exceeded", register, ThrottledError
    ),
    Write(
        "too many requests", AAS, "register_scalable_target", "TooManyRequestsException", "", register, ThrottledError
    ),
    Write(
        "CloudWatch throttled AAS",
        AAS,
        "put_scaling_policy",
        "FailedResourceAccessException",
        f"{ALARMS}Rate exceeded (Service: AmazonCloudWatch; Error Code: Throttling)",
        put_policy,
        ThrottledError,
    ),
    Write(
        "AAS may not make alarms",
        AAS,
        "put_scaling_policy",
        "FailedResourceAccessException",
        f"{ALARMS}Access denied",
        put_policy,
        ActuationError,
    ),
    Write(
        "another change is in flight",
        AAS,
        "register_scalable_target",
        "ConcurrentUpdateException",
        "You already have a pending update to an Auto Scaling resource.",
        register,
        ActuationError,
    ),
    Write(
        "the endpoint is being updated",
        SAGEMAKER,
        "update_endpoint_weights_and_capacities",
        "ValidationException",
        'Cannot update in-progress endpoint "arn:aws:sagemaker:eu-central-1:123456789012:endpoint/orders".',
        set_count,
        TargetBusyError,
    ),
    Write(
        "more instances than the account may have",
        SAGEMAKER,
        "update_endpoint_weights_and_capacities",
        "ResourceLimitExceeded",
        "The account-level service limit 'ml.g5.xlarge for endpoint usage' is 4 Instances, with current utilization of "
        "3 Instances and a request delta of 3 Instances. Please use AWS Service Quotas to request an increase.",
        set_count,
        ActuationError,
    ),
    Write(
        "more targets than the account may have",
        AAS,
        "register_scalable_target",
        "LimitExceededException",
        "Cannot have more than 500 scalable targets",
        register,
        ActuationError,
    ),
    Write(
        "the endpoint is gone",
        SAGEMAKER,
        "update_endpoint_weights_and_capacities",
        "ValidationException",
        'Could not find endpoint "orders".',
        set_count,
        TargetNotFoundError,
    ),
    Write(
        "the registration is gone, or not yet seen",
        AAS,
        "put_scaling_policy",
        "ObjectNotFoundException",
        "No scalable target registered for service namespace: sagemaker",
        put_policy,
        TargetNotFoundError,
    ),
    Write(
        "the instance quota is used up",
        SAGEMAKER,
        "update_endpoint_weights_and_capacities",
        "ResourceLimitExceeded",
        "The account-level service limit is 4 Instances",
        set_count,
        ActuationError,
    ),
    Write(
        "a bad argument", AAS, "register_scalable_target", "ValidationException", "min > max", register, ActuationError
    ),
    Write("no right to", AAS, "register_scalable_target", "AccessDeniedException", "no", register, ActuationError),
    Write(
        "an action on an unregistered target",
        AAS,
        "put_scheduled_action",
        "ObjectNotFoundException",
        "No target",
        lambda c: aas(c).put_scheduled_action(ORDERS, ACTION),
        TargetNotFoundError,
    ),
    Write(
        "deleting, but not now",
        AAS,
        "delete_scaling_policy",
        "ConcurrentUpdateException",
        "pending",
        lambda c: aas(c).delete_policy(ORDERS, "p"),
        ActuationError,
    ),
    Write(
        "alarms are throttled at 3 a second",
        CLOUDWATCH,
        "put_metric_alarm",
        "Throttling",
        "Rate exceeded",
        lambda c: CloudWatch(c).put_alarm({"AlarmName": "a", "EvaluationPeriods": 1}),
        ThrottledError,
    ),
    Write(
        "deleting alarms is throttled",
        CLOUDWATCH,
        "delete_alarms",
        "Throttling",
        "Rate exceeded",
        lambda c: CloudWatch(c).delete_alarms(["a", "b"]),
        ThrottledError,
    ),
    Write(
        "the table is throttled",
        "dynamodb",
        "update_item",
        "ProvisionedThroughputExceededException",
        "slow down",
        lambda c: Table(c, "t").claim(ORDERS, 1, "me", NOW, NOW),
        ThrottledError,
    ),
    Write(
        "the table is gone",
        "dynamodb",
        "put_item",
        "ResourceNotFoundException",
        "Requested resource not found",
        lambda c: Table(c, "t").put_original(ORDERS, Original(envelope=None)),
        ActuationError,
    ),
]


@pytest.mark.parametrize("case", WRITES, ids=[case.name for case in WRITES])
def test_a_failed_write_says_what_the_shell_must_do(case: Write) -> None:
    with scripted(case.service) as (c, script):
        script.add_client_error(case.operation, case.code, case.message)
        with pytest.raises(ActuationError) as caught:
            case.call(c)
    assert type(caught.value) is case.want
    assert case.code in str(caught.value)


def test_the_message_names_operation_and_resource() -> None:
    with scripted(AAS) as (c, script):
        script.add_client_error("register_scalable_target", "ThrottlingException", "Rate exceeded")
        with pytest.raises(
            ThrottledError, match=r"^RegisterScalableTarget endpoint/orders/variant/AllTraffic 1\.\.4: "
        ):
            register(c)


@dataclass(frozen=True)
class Read:
    """A read that AWS refuses: always the same to the core."""

    service: str
    operation: str
    call: Callable[[Client], object]


READS = [
    Read(AAS, "describe_scalable_targets", lambda c: aas(c).registered([ORDERS])),
    Read(AAS, "describe_scaling_policies", lambda c: aas(c).policies(ORDERS)),
    Read(AAS, "describe_scheduled_actions", lambda c: aas(c).scheduled_actions(ORDERS)),
    Read(
        CLOUDWATCH,
        "get_metric_data",
        lambda c: CloudWatch(c).fetch([MetricQuery("n", "m", (), "Sum")], NOW, timedelta(minutes=15)),
    ),
    Read(CLOUDWATCH, "describe_alarms", lambda c: CloudWatch(c).alarm_states(["a"])),
    Read(CLOUDWATCH, "describe_alarms", lambda c: CloudWatch(c).alarms("a")),
    Read(SAGEMAKER, "describe_endpoint", lambda c: sagemaker(c).capacity(ORDERS)),
    Read(SAGEMAKER, "describe_endpoint", lambda c: sagemaker(c).variants("orders")),
    Read("resourcegroupstaggingapi", "get_resources", lambda c: sagemaker(c).tagged()),
    Read("dynamodb", "batch_get_item", lambda c: Table(c, "t").memories([ORDERS])),
    Read("dynamodb", "query", lambda c: Table(c, "t").overrides()),
    Read("dynamodb", "query", lambda c: Table(c, "t").roster()),
    Read("dynamodb", "batch_get_item", lambda c: Table(c, "t").original(ORDERS)),
]


@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException", "InternalServerError"])
@pytest.mark.parametrize("case", READS, ids=[f"{case.service} {case.operation}" for case in READS])
def test_a_failed_read_decides_nothing(case: Read, code: str) -> None:
    with scripted(case.service) as (c, script):
        script.add_client_error(case.operation, code, "no")
        with pytest.raises(ObservationError, match=code):
            case.call(c)


ABSENT: list[tuple[str, str, Callable[[Client], object]]] = [
    (AAS, "deregister_scalable_target", lambda c: aas(c).deregister(ORDERS)),
    (AAS, "delete_scaling_policy", lambda c: aas(c).delete_policy(ORDERS, "p")),
    (AAS, "delete_scheduled_action", lambda c: aas(c).delete_scheduled_action(ORDERS, "a")),
    (CLOUDWATCH, "delete_alarms", lambda c: CloudWatch(c).delete_alarms(["a"])),
]


@pytest.mark.parametrize(("service", "operation", "call"), ABSENT, ids=[case[1] for case in ABSENT])
def test_deleting_what_is_gone_is_done(service: str, operation: str, call: Callable[[Client], object]) -> None:
    with scripted(service) as (c, script):
        script.add_client_error(operation, "ResourceNotFound" if service == CLOUDWATCH else "ObjectNotFoundException")
        call(c)


def test_a_missing_endpoint_is_missing_not_an_error() -> None:
    """SageMaker has no not-found error of its own (facts 2.7)."""
    with scripted(SAGEMAKER) as (c, script):
        for _ in range(2):
            script.add_client_error("describe_endpoint", "ValidationException", 'Could not find endpoint "orders".')
        assert sagemaker(c).capacity(ORDERS) == Missing("endpoint orders does not exist")
        assert sagemaker(c).variants("orders") == ()


NETWORK = [
    EndpointConnectionError(endpoint_url="https://application-autoscaling.eu-central-1.amazonaws.com"),
    ConnectTimeoutError(endpoint_url="https://application-autoscaling.eu-central-1.amazonaws.com"),
]


@pytest.mark.parametrize("error", NETWORK, ids=[type(error).__name__ for error in NETWORK])
def test_no_network_is_a_failed_read_or_write(error: Exception) -> None:
    with pytest.raises(ObservationError, match="DescribeEndpoint orders"), reading("DescribeEndpoint orders"):
        raise error
    with pytest.raises(ActuationError, match="RegisterScalableTarget orders"), writing("RegisterScalableTarget orders"):
        raise error


def test_a_request_that_botocore_refuses_never_left() -> None:
    with pytest.raises(ActuationError, match="AlarmName"):
        CloudWatch(client(CLOUDWATCH)).put_alarm({"EvaluationPeriods": 1})
