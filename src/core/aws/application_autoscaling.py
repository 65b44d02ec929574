"""Application Auto Scaling (AAS) as the port `Autoscaling`, which says what each method does."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from core.aws.errors import absent_is_fine, listed, reading, writing
from core.aws.pace import UNPACED, Pace
from core.batches import batches
from core.model import Envelope, Refusal, ScalableTarget, Starts
from core.ports import NativePolicy, Registration, ScheduledAction

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_application_autoscaling.type_defs import ScalableTargetTypeDef, ScalingActivityTypeDef

TARGETS_A_CALL = 50
ALARMS_OF_TRACKING = 2
"""AAS writes them with the right and in the name of its caller (facts 2.1)."""

ACTIVITIES_LOOKED_AT = 10
ACTIVITIES_LEARNT_FROM = 50
STARTS_KEPT = 20
_ORDER = re.compile(r"Setting desired .* to (\d+)")
_REFUSALS = {"account-level service limit": "ResourceLimitExceeded", "InsufficientInstanceCapacity": ""}
"""A part of what an activity says to the error code it stands for; "" if it is the code itself."""

SCHEDULE = ("Schedule", "Timezone", "StartTime", "EndTime", "ScalableTargetAction")
"""What PutScheduledAction takes beside the target and the name."""


class ApplicationAutoScaling:
    """AAS in the namespace `sagemaker`; `pace` is that of writing alarms."""

    def __init__(self, client: "ApplicationAutoScalingClient", pace: Pace = UNPACED) -> None:
        self._client = client
        self._pace = pace

    def registered(self, targets: Sequence[ScalableTarget]) -> Mapping[ScalableTarget, Registration]:
        wanted = {(target.resource_id, target.dimension.value): target for target in targets}
        found: dict[ScalableTarget, Registration] = {}
        for ids in batches(dict.fromkeys(target.resource_id for target in targets), TARGETS_A_CALL):
            for item in self._targets(f"{ids[0]} and {len(ids) - 1} more", ResourceIds=ids):
                target = wanted.get((item["ResourceId"], item["ScalableDimension"]))
                if target:  # the resource may be registered under a dimension that is not ours
                    found[target] = _registration(item)
        return found

    def count(self) -> int:
        return len(self._targets("the Region"))

    def _targets(self, whose: str, **more: object) -> "list[ScalableTargetTypeDef]":
        what = f"DescribeScalableTargets of {whose}"
        return listed(
            self._client, "describe_scalable_targets", "ScalableTargets", what, ServiceNamespace="sagemaker", **more
        )

    def refusal(self, target: ScalableTarget) -> Refusal | None:
        found = self._activities(target, ACTIVITIES_LOOKED_AT)
        over = [item for item in found if item["StatusCode"] not in {"Pending", "InProgress"}]
        newest = max(over, key=lambda item: item["StartTime"], default=None)
        if newest is None or newest["StatusCode"] != "Failed":
            return None
        text = newest.get("StatusMessage", newest["Description"])
        code = next((code or part for part, code in _REFUSALS.items() if part in text), "Failed")
        return Refusal(newest.get("EndTime", newest["StartTime"]).astimezone(UTC), code, text)

    def starts(self, target: ScalableTarget, since: datetime | None) -> Starts:
        """An activity names only the count it asked for: it scales out if the successful one before asked for less."""
        done = sorted(
            (item["StartTime"], item["EndTime"], int(order[1]))
            for item in self._activities(target, ACTIVITIES_LEARNT_FROM)
            if item["StatusCode"] == "Successful" and (order := _ORDER.search(item["Description"]))
        )
        took = [
            (before, end - start)
            for (_, _, before), (start, end, count) in pairwise(done)
            if count > before and (since is None or start >= since)
        ]
        newest = took[: -STARTS_KEPT - 1 : -1]
        return Starts(tuple(t for before, t in newest if before), tuple(t for before, t in newest if not before))

    def _activities(self, target: ScalableTarget, most: int) -> "Sequence[ScalingActivityTypeDef]":
        with reading(f"DescribeScalingActivities of {target.resource_id}"):
            found = self._client.describe_scaling_activities(**_names(target), MaxResults=most)
        return found["ScalingActivities"]

    def register(self, target: ScalableTarget, envelope: Envelope) -> None:
        with writing(f"RegisterScalableTarget {target.resource_id} {envelope.floor}..{envelope.ceiling}"):
            self._client.register_scalable_target(
                **_names(target), MinCapacity=envelope.floor, MaxCapacity=envelope.ceiling
            )

    def deregister(self, target: ScalableTarget) -> None:
        with writing(f"DeregisterScalableTarget {target.resource_id}"), absent_is_fine():
            self._client.deregister_scalable_target(**_names(target))

    def policies(self, target: ScalableTarget) -> tuple[NativePolicy, ...]:
        what = f"DescribeScalingPolicies of {target.resource_id}"
        return tuple(
            NativePolicy(
                name=item["PolicyName"],
                policy_type=item["PolicyType"],
                configuration=item.get(_configuration_of(item["PolicyType"]), {}),
                alarm_names=tuple(alarm["AlarmName"] for alarm in item.get("Alarms", ())),
            )
            for item in listed(self._client, "describe_scaling_policies", "ScalingPolicies", what, **_names(target))
        )

    def put_policy(self, target: ScalableTarget, policy: NativePolicy) -> str:
        if policy.policy_type == "TargetTrackingScaling":
            self._pace.wait(ALARMS_OF_TRACKING)
        with writing(f"PutScalingPolicy {policy.name} on {target.resource_id}"):
            return self._client.put_scaling_policy(**policy_request(target, policy))["PolicyARN"]

    def delete_policy(self, target: ScalableTarget, name: str) -> None:
        with writing(f"DeleteScalingPolicy {name} on {target.resource_id}"), absent_is_fine():
            self._client.delete_scaling_policy(**_names(target), PolicyName=name)

    def scheduled_actions(self, target: ScalableTarget) -> tuple[ScheduledAction, ...]:
        what = f"DescribeScheduledActions of {target.resource_id}"
        found = listed(self._client, "describe_scheduled_actions", "ScheduledActions", what, **_names(target))
        return tuple(map(scheduled_action, found))

    def put_scheduled_action(self, target: ScalableTarget, action: ScheduledAction) -> None:
        settings: dict[str, Any] = dict(action.settings)
        with writing(f"PutScheduledAction {action.name} on {target.resource_id}"):
            self._client.put_scheduled_action(**_names(target), ScheduledActionName=action.name, **settings)

    def delete_scheduled_action(self, target: ScalableTarget, name: str) -> None:
        with writing(f"DeleteScheduledAction {name} on {target.resource_id}"), absent_is_fine():
            self._client.delete_scheduled_action(**_names(target), ScheduledActionName=name)


def _registration(item: "ScalableTargetTypeDef") -> Registration:
    suspended = sorted(name.removesuffix("Suspended") for name, on in item.get("SuspendedState", {}).items() if on)
    return Registration(Envelope(item["MinCapacity"], item["MaxCapacity"]), tuple(suspended))


def policy_request(target: ScalableTarget, policy: NativePolicy) -> dict[str, Any]:
    """Return what PutScalingPolicy is given."""
    configuration = {_configuration_of(policy.policy_type): policy.configuration}
    return {**_names(target), "PolicyName": policy.name, "PolicyType": policy.policy_type, **configuration}


def _names(target: ScalableTarget) -> dict[str, Any]:
    """Return the three names every call needs."""
    return {
        "ServiceNamespace": "sagemaker",
        "ResourceId": target.resource_id,
        "ScalableDimension": target.dimension.value,
    }


def _configuration_of(policy_type: str) -> str:
    """Return the field that carries a policy of this type, such as `StepScalingPolicyConfiguration`."""
    return f"{policy_type}PolicyConfiguration"


def scheduled_action(item: Mapping[str, Any]) -> ScheduledAction:
    """Return one as PutScheduledAction would take it; boto3 gives times in the machine's own zone."""
    kept = {name: item[name] for name in SCHEDULE if name in item}
    in_utc = {k: v.astimezone(UTC) if isinstance(v, datetime) else v for k, v in kept.items()}
    return ScheduledAction(item["ScheduledActionName"], in_utc)
