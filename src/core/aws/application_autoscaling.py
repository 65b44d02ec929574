"""Application Auto Scaling (AAS) as the port `Autoscaling`, which says what each method does."""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from core.aws.errors import absent_is_fine, reading, writing
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

_SETTINGS = ("Schedule", "Timezone", "StartTime", "EndTime", "ScalableTargetAction")


class ApplicationAutoScaling:
    """AAS in the namespace `sagemaker`; `pace` is that of writing alarms."""

    def __init__(self, client: "ApplicationAutoScalingClient", pace: Pace = UNPACED) -> None:
        self._client = client
        self._pace = pace

    def registered(self, targets: Sequence[ScalableTarget]) -> Mapping[ScalableTarget, Registration]:
        wanted = {(target.resource_id, target.dimension.value): target for target in targets}
        pages = self._client.get_paginator("describe_scalable_targets")
        found: dict[ScalableTarget, Registration] = {}
        for ids in batches(dict.fromkeys(target.resource_id for target in targets), TARGETS_A_CALL):
            with reading(f"DescribeScalableTargets of {ids[0]} and {len(ids) - 1} more"):
                for page in pages.paginate(ServiceNamespace="sagemaker", ResourceIds=ids):
                    for item in page["ScalableTargets"]:
                        target = wanted.get((item["ResourceId"], item["ScalableDimension"]))
                        if target:  # the resource may be registered under a dimension that is not ours
                            found[target] = _registration(item)
        return found

    def count(self) -> int:
        with reading("DescribeScalableTargets of the Region"):
            pages = self._client.get_paginator("describe_scalable_targets").paginate(ServiceNamespace="sagemaker")
            return sum(len(page["ScalableTargets"]) for page in pages)

    def refusal(self, target: ScalableTarget) -> Refusal | None:
        """Return why the newest finished scaling activity of the target failed, None if it did not (facts 1.7)."""
        found = self._activities(target, ACTIVITIES_LOOKED_AT)
        over = [item for item in found if item["StatusCode"] not in {"Pending", "InProgress"}]
        newest = max(over, key=lambda item: item["StartTime"], default=None)
        if newest is None or newest["StatusCode"] != "Failed":
            return None
        text = newest.get("StatusMessage", newest["Description"])
        code = next((code or part for part, code in _REFUSALS.items() if part in text), "Failed")
        return Refusal(newest.get("EndTime", newest["StartTime"]).astimezone(UTC), code, text)

    def starts(self, target: ScalableTarget, since: datetime | None) -> Starts:
        """Return how long the newest scale-outs ordered since then took to serve, the newest first (algorithms 1).

        An activity names only the count it asked for, so it is one if the successful one before it asked for less.
        """
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
        pages = self._client.get_paginator("describe_scaling_policies")
        with reading(f"DescribeScalingPolicies of {target.resource_id}"):
            return tuple(
                NativePolicy(
                    name=item["PolicyName"],
                    policy_type=item["PolicyType"],
                    configuration=dict[str, Any](item).get(_configuration_of(item["PolicyType"]), {}),
                    alarm_names=tuple(alarm["AlarmName"] for alarm in item.get("Alarms", ())),
                )
                for page in pages.paginate(**_names(target))
                for item in page["ScalingPolicies"]
            )

    def put_policy(self, target: ScalableTarget, policy: NativePolicy) -> str:
        """Create or replace a policy (not its alarm) and return its ARN.

        Raises:
            TargetNotFoundError: also right after the first registration, which AAS takes a moment to see (facts 1.3);
                the next pass puts the policy.
        """
        if policy.policy_type == "TargetTrackingScaling":
            self._pace.wait(ALARMS_OF_TRACKING)
        with writing(f"PutScalingPolicy {policy.name} on {target.resource_id}"):
            return self._client.put_scaling_policy(**policy_request(target, policy))["PolicyARN"]

    def delete_policy(self, target: ScalableTarget, name: str) -> None:
        with writing(f"DeleteScalingPolicy {name} on {target.resource_id}"), absent_is_fine():
            self._client.delete_scaling_policy(**_names(target), PolicyName=name)

    def scheduled_actions(self, target: ScalableTarget) -> tuple[ScheduledAction, ...]:
        """Return every scheduled action of the target, times in UTC."""
        pages = self._client.get_paginator("describe_scheduled_actions")
        with reading(f"DescribeScheduledActions of {target.resource_id}"):
            return tuple(
                ScheduledAction(item["ScheduledActionName"], _settings(dict(item)))
                for page in pages.paginate(**_names(target))
                for item in page["ScheduledActions"]
            )

    def put_scheduled_action(self, target: ScalableTarget, action: ScheduledAction) -> None:
        """Create or replace a scheduled action: what its settings leave out is removed (facts 1.6)."""
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


def _settings(item: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what PutScheduledAction would take; boto3 gives times in the machine's own zone."""
    kept = {name: item[name] for name in _SETTINGS if name in item}
    return {k: v.astimezone(UTC) if isinstance(v, datetime) else v for k, v in kept.items()}
