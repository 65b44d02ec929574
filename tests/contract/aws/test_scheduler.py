"""The contract of the port `Schedules`: held by the fake, and by EventBridge Scheduler on moto and the simulator."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from botocore.validate import ParamValidator

from core.aws.application_autoscaling import policy_request
from core.aws.scheduler import Scheduler, schedule_name
from core.errors import ActuationError, ThrottledError
from core.model import Dimension, ScalableTarget
from core.ports import NativePolicy, Schedules
from simulator.service import service_model
from tests.contract.aws.accounts import Account, chosen
from tests.contract.aws.stubs import Client, scripted
from tests.fakes.aws import FakeSchedules

ROLE = "arn:aws-cn:iam::123456789012:role/fallback"
ORDERS, RANKS = ScalableTarget.variant("orders", "AllTraffic"), ScalableTarget.variant("ranks", "AllTraffic")
CHAT = ScalableTarget.component("chat")
AT = datetime(2038, 1, 18, 9, 0, tzinfo=UTC)


def tracking(value: float) -> NativePolicy:
    metric = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
    configuration = {"TargetValue": value, "PredefinedMetricSpecification": metric, "ScaleOutCooldown": 60}
    return NativePolicy("tidegate-prod-track", "TargetTrackingScaling", configuration)


@dataclass(frozen=True)
class Held:
    """A port, and how to see when a target has which request made."""

    port: Schedules
    due: Callable[[ScalableTarget], tuple[datetime, dict[str, Any]] | None]


@pytest.fixture(params=["fake", "moto", "simulator"])
def held(request: pytest.FixtureRequest) -> Held:
    if request.param == "fake":
        fake = FakeSchedules()
        return Held(fake, lambda t: (fake.due[t][0], policy_request(t, fake.due[t][1])) if t in fake.due else None)
    account: Account = chosen(request)
    client = account.client("scheduler")
    return Held(Scheduler(lambda: client, "prod", ROLE), lambda target: described(client, target))


def described(client: Client, target: ScalableTarget) -> tuple[datetime, dict[str, Any]] | None:
    try:
        found = client.get_schedule(Name=schedule_name("prod", target))
    except client.exceptions.ResourceNotFoundException:
        return None
    assert found["ActionAfterCompletion"] == "DELETE"
    at = datetime.strptime(found["ScheduleExpression"], "at(%Y-%m-%dT%H:%M:%S)").replace(tzinfo=UTC)
    return at, json.loads(found["Target"]["Input"])


def test_a_policy_is_put_at_its_time(held: Held) -> None:
    held.port.put(ORDERS, tracking(500), AT)
    assert held.due(ORDERS) == (AT, policy_request(ORDERS, tracking(500)))


def test_a_target_has_one_schedule_and_another_has_its_own(held: Held) -> None:
    held.port.put(ORDERS, tracking(500), AT)
    held.port.put(RANKS, tracking(300), AT)
    held.port.put(ORDERS, tracking(600), AT + timedelta(minutes=30))
    assert held.due(ORDERS) == (AT + timedelta(minutes=30), policy_request(ORDERS, tracking(600)))
    assert held.due(RANKS) == (AT, policy_request(RANKS, tracking(300)))


def test_what_is_deleted_is_not_due_and_what_is_not_there_may_be_deleted(held: Held) -> None:
    held.port.put(CHAT, tracking(15), AT)
    held.port.delete(CHAT)
    held.port.delete(CHAT)
    assert held.due(CHAT) is None
    held.port.put(CHAT, tracking(15), AT)
    assert held.due(CHAT) is not None


def test_what_is_left_behind_is_what_the_schedule_puts(held: Held) -> None:
    assert held.port.left_behind(ORDERS) is None
    held.port.put(ORDERS, tracking(312.5), AT)
    assert (held.port.left_behind(ORDERS), held.port.left_behind(RANKS)) == (312.5, None)


# ---- what only the adapter knows ----------------------------------------------------------------------------------


def test_the_request_is_what_application_auto_scaling_takes() -> None:
    shape: Any = service_model("application-autoscaling").operation_model("PutScalingPolicy").input_shape
    written = json.loads(json.dumps(policy_request(CHAT, tracking(15))))
    assert not ParamValidator().validate(written, shape).has_errors()
    assert written["ScalableDimension"] == Dimension.COPIES.value


def test_the_call_is_made_in_the_partition_and_by_the_role_of_the_stack() -> None:
    with scripted("scheduler") as (client, script):
        script.add_response(
            "update_schedule",
            {"ScheduleArn": "arn:aws-cn:scheduler:cn-north-1:123456789012:schedule/default/x"},
            {
                "Name": "tidegate-prod-orders-4a93bbc1b2793ead",
                "Description": "Takes tidegate-prod-track back to 500 if Tidegate does not renew this in time.",
                "ScheduleExpression": "at(2038-01-18T09:00:00)",
                "FlexibleTimeWindow": {"Mode": "OFF"},
                "ActionAfterCompletion": "DELETE",
                "Target": {
                    "Arn": "arn:aws-cn:scheduler:::aws-sdk:applicationautoscaling:putScalingPolicy",
                    "RoleArn": ROLE,
                    "Input": json.dumps(policy_request(ORDERS, tracking(500))),
                },
            },
        )
        Scheduler(lambda: client, "prod", ROLE).put(ORDERS, tracking(500), AT)


@pytest.mark.parametrize(
    ("operation", "code", "error"),
    [
        ("update_schedule", "AccessDeniedException", ActuationError),
        ("update_schedule", "ThrottlingException", ThrottledError),
        ("delete_schedule", "InternalServerException", ActuationError),
    ],
)
def test_a_refusal_names_the_schedule(operation: str, code: str, error: type[ActuationError]) -> None:
    with scripted("scheduler") as (client, script):
        script.add_client_error(operation, code, "no")
        port = Scheduler(lambda: client, "prod", ROLE)
        ask = partial(port.delete, ORDERS) if "delete" in operation else partial(port.put, ORDERS, tracking(500), AT)
        with pytest.raises(error, match=rf"Schedule tidegate-prod-orders-\w+: .*{code}"):
            ask()


@pytest.mark.parametrize(
    "target",
    [ScalableTarget.variant("a" * 63, "b" * 63), ScalableTarget.component("c" * 63), ScalableTarget.variant("x", "y")],
)
def test_a_name_is_one_that_scheduler_takes(target: ScalableTarget) -> None:
    assert re.fullmatch(r"[0-9a-zA-Z-_.]{1,64}", schedule_name("abcdefghijkl", target))


def test_targets_that_begin_alike_have_names_of_their_own() -> None:
    long = "endpoint-of-a-very-long-name-"
    targets = [ScalableTarget.variant(f"{long}{end}", variant) for end in "ab" for variant in ("one", "two")]
    assert len({schedule_name("prod", each) for each in targets}) == 4
