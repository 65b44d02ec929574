"""`tidegate drift`: what people change by hand on a managed target, and what FleetSync really does about it then."""

import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from core.model import Mode
from handlers.wiring import PassFailedError
from tests.desk import NAMED, Desk, by_hand, desk, document

ORDERS: Any = {**NAMED, "ResourceId": "endpoint/orders/variant/AllTraffic"}
TRACK, EXPIRY = "tidegate-prod-track-requests_per_instance", "tidegate-prod-expiry"


def enrolled(found: Desk, *endpoints: dict[str, Any], **profile: Any) -> Desk:
    found.in_force.content = json.dumps(document(*endpoints, **profile)).encode()
    with suppress(PassFailedError):
        found.stack.invoke("FleetSync", {"trigger": "policy"})
    found.minutes(5)
    return found


@pytest.fixture
def managed() -> Iterator[Desk]:
    with desk() as found:
        yield enrolled(found, {"name": "orders", "adopt": True})


def drift(found: Desk, *arguments: str) -> dict[str, list[tuple[str, str]]]:
    """What `--json` says of each target: what stands, and what is done about it."""
    result = found.run("drift", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    said = json.loads(result.stdout)
    assert said["drift"] == bool(said["targets"])
    return {each["name"]: [(d["what"], d["then"]) for d in each["differences"]] for each in said["targets"]}


def set_bounds(found: Desk) -> None:
    found.account.client("application-autoscaling").register_scalable_target(**ORDERS, MinCapacity=1, MaxCapacity=20)


def change_policy(found: Desk) -> None:
    aas = found.account.client("application-autoscaling")
    (standing,) = (
        p
        for p in aas.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
        if p["PolicyName"] == TRACK
    )
    changed: Any = {**standing["TargetTrackingScalingPolicyConfiguration"], "TargetValue": 50.0}
    aas.put_scaling_policy(
        **ORDERS, PolicyName=TRACK, PolicyType="TargetTrackingScaling", TargetTrackingScalingPolicyConfiguration=changed
    )


def delete_policy(found: Desk) -> None:
    found.account.client("application-autoscaling").delete_scaling_policy(**ORDERS, PolicyName=TRACK)


def schedule(found: Desk) -> None:
    found.account.client("application-autoscaling").put_scheduled_action(
        **ORDERS, ScheduledActionName="night", Schedule="cron(0 22 * * ? *)", ScalableTargetAction={"MinCapacity": 1}
    )


def scale_beside(found: Desk) -> None:
    found.account.client("application-autoscaling").put_scaling_policy(
        **ORDERS, PolicyName="cpu-out", PolicyType="StepScaling",
        StepScalingPolicyConfiguration={
            "AdjustmentType": "ChangeInCapacity", "StepAdjustments": [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 2}],
        },
    )  # fmt: skip


def delete_alarm(found: Desk) -> None:
    found.account.client("cloudwatch").delete_alarms(
        AlarmNames=["tidegate-target-prod-realtime-orders-AllTraffic-errors"]
    )


def delete_low_alarm(found: Desk) -> None:
    cloudwatch = found.account.client("cloudwatch")
    (low,) = (a["AlarmName"] for a in cloudwatch.describe_alarms()["MetricAlarms"] if "AlarmLow" in a["AlarmName"])
    cloudwatch.delete_alarms(AlarmNames=[low])


def deregister(found: Desk) -> None:
    found.account.client("application-autoscaling").deregister_scalable_target(**ORDERS)


@dataclass(frozen=True)
class Case:
    change: Callable[[Desk], None]
    what: str
    then: str


REPAIRED = [
    Case(set_bounds, "bounds 2..8 were changed by somebody else: 1..20 stand", "set bounds to 2..8 (differs)"),
    Case(
        change_policy, f"policy {TRACK} is not as wanted (TargetValue 50.0 -> 300.0)", f"put policy {TRACK}"
    ),  # 0.5 x 600
    Case(delete_policy, f"policy {TRACK} is missing", f"put policy {TRACK}"),
    Case(schedule, "scheduled action night is of somebody else", "delete scheduled action night"),
    Case(scale_beside, "policy cpu-out is of somebody else", "delete policy cpu-out"),
    Case(
        delete_alarm,
        "alarm tidegate-target-prod-realtime-orders-AllTraffic-errors is missing or not as wanted",
        "put alarm tidegate-target-prod-realtime-orders-AllTraffic-errors",
    ),
    Case(delete_low_alarm, f"policy {TRACK} is not as wanted (its alarms)", f"put policy {TRACK}"),
    Case(deregister, "not registered with Application Auto Scaling any more", "set bounds to 2..8 (differs)"),
]


@pytest.mark.parametrize("case", REPAIRED, ids=lambda case: case.change.__name__)
def test_what_somebody_changed_is_told_with_what_fleet_sync_does_about_it_and_then_does(
    managed: Desk, case: Case
) -> None:
    assert drift(managed) == {}
    case.change(managed)
    assert (case.what, case.then) in drift(managed)["orders"]
    managed.stack.invoke("FleetSync", {"trigger": "schedule"})
    assert drift(managed) == {}
    told = managed.stack.outcomes[-1][1].actions
    assert case.then in map(str, told)


def test_a_look_changes_nothing_and_check_makes_it_an_exit_status(managed: Desk) -> None:
    fine = managed.run("drift", "--check")
    assert (fine.exit_code, fine.stdout) == (0, "No drift: everything stands as Tidegate left it.\n")
    set_bounds(managed)
    before = managed.account.snapshot("orders")
    assert managed.run("drift").exit_code == 0
    found = managed.run("drift", "orders", "--check")
    assert (found.exit_code, found.stdout.splitlines()[-1]) == (1, "1 difference on 1 target.")
    assert managed.account.snapshot("orders") == before


def test_what_follows_the_load_is_no_drift(managed: Desk) -> None:
    managed.account.sagemaker.endpoints["orders"].workload.per_minute_requests[:] = [3000] * 3000  # type: ignore[attr-defined]
    managed.stack.stop()
    for _ in range(3):
        managed.stack.minute()
    (row,) = json.loads(managed.run("status", "--json").stdout)["targets"]
    assert row["following"][0] == "set bounds to 8..8 (differs)"
    assert drift(managed) == {}


def test_what_somebody_suspended_is_told_and_left_as_it_is(managed: Desk) -> None:
    aas = managed.account.client("application-autoscaling")
    aas.register_scalable_target(**ORDERS, SuspendedState={"DynamicScalingOutSuspended": True})
    told = {
        "orders": [("suspended by somebody: DynamicScalingOut", "nothing: resume it where it was suspended")],
    }
    assert drift(managed) == told
    managed.stack.invoke("FleetSync", {"trigger": "schedule"})
    assert drift(managed) == told


def test_an_expiry_that_was_deleted_or_changed_is_told_and_put_again(managed: Desk) -> None:
    pin = {"request_id": "r-1", "action": "pin", "target": "orders", "capacity": 2, "duration": "2h", "reason": "mail"}
    managed.stack.invoke("Override", {**pin, "requested_by": "maria"})
    assert drift(managed) == {}
    aas = managed.account.client("application-autoscaling")
    aas.put_scheduled_action(
        **ORDERS, ScheduledActionName=EXPIRY, Schedule="rate(15 minutes)", StartTime=managed.account.now + timedelta(hours=1),
        ScalableTargetAction={"MinCapacity": 0, "MaxCapacity": 99},
    )  # fmt: skip
    [(what, then)] = drift(managed)["orders"]
    assert what == f"scheduled action {EXPIRY} was changed or deleted by somebody"
    assert then.startswith("let bounds fall back to 2..8 at ")
    managed.stack.invoke("FleetSync", {"trigger": "schedule"})
    assert drift(managed) == {}
    aas.delete_scheduled_action(**ORDERS, ScheduledActionName=EXPIRY)
    assert drift(managed)["orders"] == [(what, then)]
    managed.stack.invoke("FleetSync", {"trigger": "schedule"})
    assert drift(managed) == {}


def test_bounds_that_fell_back_were_changed_by_nobody(managed: Desk) -> None:
    """A pin ends within the hour although nobody is there to end it."""
    pin = {"request_id": "r-1", "action": "pin", "target": "orders", "capacity": 2, "duration": "5m", "reason": "mail"}
    managed.stack.invoke("Override", {**pin, "requested_by": "maria"})
    managed.stack.stop()
    managed.minutes(61)
    fell = ("bounds 2..2 fell back, for no pass renewed them: 2..8 stand", "nothing: 2..8 is what is wanted")
    assert drift(managed) == {"orders": [fell]}


def test_what_is_left_alone_missing_or_leaving_is_told() -> None:
    with desk() as found:
        by_hand(found.account, "chat")
        enrolled(found, {"name": "orders"}, {"name": "chat"}, {"name": "typo"})
        said = drift(found)
        assert said["chat"][0][0].startswith("left alone: others made chat-cpu-out, chat-invocations, chat-night")
        assert "no such endpoint in SageMaker" in said["typo"][0][0]
        found.in_force.content = json.dumps(document({"name": "chat", "adopt": True}, {"name": "search"})).encode()
        said = drift(found)
    assert said["orders"][0][0] == "enrolled, and the document in force names it no more"
    assert said["search"][0][0] == "not enrolled yet"
    assert "save what stands now, for release; " in said["search"][0][1]


def test_in_shadow_there_is_nothing_that_could_drift() -> None:
    with desk(Mode.SHADOW) as found:
        by_hand(found.account, "orders")
        enrolled(found, {"name": "orders", "adopt": True})
        assert drift(found) == {}
