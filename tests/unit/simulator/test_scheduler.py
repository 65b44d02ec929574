"""One-time schedules that call Application Auto Scaling in simulated time."""

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from simulator.account import SimulatedAccount
from tests.unit.simulator.worlds import START, VARIANT, custom, realtime_account, register, track

if TYPE_CHECKING:
    from collections.abc import Mapping

PUT = "arn:aws:scheduler:::aws-sdk:applicationautoscaling:putScalingPolicy"


def made(value: float = 50.0, minutes: int = 3, **changes: Any) -> dict[str, Any]:
    """A request that takes the policy `load` to a value, so many minutes after the start."""
    tracking = {"TargetValue": value, "CustomizedMetricSpecification": custom("load")}
    policy = {"PolicyName": "load", "PolicyType": "TargetTrackingScaling"}
    body = {**VARIANT, **policy, "TargetTrackingScalingPolicyConfiguration": tracking}
    target = {"Arn": PUT, "RoleArn": "arn:aws:iam::123456789012:role/fallback", "Input": json.dumps(body)}
    return {
        "Name": "back",
        "ScheduleExpression": f"at({START + timedelta(minutes=minutes):%Y-%m-%dT%H:%M:%S})",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "ActionAfterCompletion": "DELETE",
        "Target": target,
        **changes,
    }


def values(account: SimulatedAccount, minutes: int) -> list[float]:
    """The target value after each minute."""
    found = []
    for _ in range(minutes):
        account.advance()
        policies: Mapping[str, Any] = account.snapshot("ranker")["policies"]
        found.append(policies["load"]["TargetTrackingScalingPolicyConfiguration"]["TargetValue"])
    return found


def test_it_calls_in_its_minute_and_is_gone() -> None:
    account = realtime_account()
    register(account)
    track(account, 90.0)
    account.client("scheduler").create_schedule(**made())
    assert values(account, 4) == [90, 90, 50, 50]
    assert (account.scheduler.schedules, account.scheduler.dropped) == ({}, [])


def test_an_update_moves_it_on() -> None:
    account = realtime_account()
    register(account)
    track(account, 90.0)
    client = account.client("scheduler")
    client.create_schedule(**made())
    client.update_schedule(**made(40, minutes=4))
    assert values(account, 5) == [90, 90, 90, 40, 40]


def test_a_call_that_is_refused_is_dropped() -> None:
    account = realtime_account()
    account.client("scheduler").create_schedule(**made(minutes=1))
    account.advance()
    ((name, error),) = account.scheduler.dropped
    assert (name, error.split(":")[0]) == ("back", "ObjectNotFoundException")


@pytest.mark.parametrize(
    ("operation", "code"),
    [("create", "ConflictException"), ("update", None), ("get", None), ("delete", None)],
)
def test_what_is_there_and_what_is_not(operation: str, code: str | None) -> None:
    client = realtime_account().client("scheduler")
    call = getattr(client, f"{operation}_schedule")
    request = made() if operation in {"create", "update"} else {"Name": "back"}
    if operation != "create":
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            call(**request)
    client.create_schedule(**made())
    if code is None:
        call(**request)
    else:
        with pytest.raises(ClientError, match=code):
            call(**request)


@pytest.mark.parametrize(
    "change",
    [
        {"ScheduleExpression": "rate(5 minutes)"},
        {"ScheduleExpression": "at(tomorrow)"},
        {"ActionAfterCompletion": "NONE"},
        {"State": "DISABLED"},
        {"GroupName": "tidegate-prod"},
        {"ScheduleExpressionTimezone": "Europe/Berlin"},
        {"FlexibleTimeWindow": {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5}},
        {"Target": {**made()["Target"], "Arn": PUT.replace("putScalingPolicy", "deleteScalingPolicy")}},
        {"Target": {**made()["Target"], "Arn": "arn:aws:lambda:eu-central-1:123456789012:function:f"}},
        {"Target": {**made()["Target"], "Input": "no JSON"}},
    ],
    ids=str,
)
def test_what_cannot_be_played_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ClientError, match="ValidationException"):
        realtime_account().client("scheduler").create_schedule(**made(**change))
