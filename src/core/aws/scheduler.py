"""EventBridge Scheduler as the port `Schedules`, which says what each method does: it calls AAS without any of us."""

import json
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from typing import Any

from botocore.exceptions import ClientError

from core.aws.application_autoscaling import policy_request
from core.aws.errors import absent_is_fine, is_absent, or_none, writing
from core.model import ScalableTarget
from core.ports import NativePolicy


class Scheduler:
    """One-time schedules in the group `default`, which outlives the stack; each is deleted once it was due.

    Args:
        client: returns boto3's `scheduler`, the same one each time; most passes have nothing to schedule.
        stage: of the stack; begins every name.
        role: ARN of the role by which Scheduler puts the policy.
    """

    def __init__(self, client: Callable[[], Any], stage: str, role: str) -> None:
        self._client = client
        self._stage = stage
        self._role = role

    def put(self, target: ScalableTarget, policy: NativePolicy, at: datetime) -> None:
        schedule: dict[str, Any] = {
            "Name": schedule_name(self._stage, target),
            "Description": f"Takes {policy.name} back to {policy.target:g} if Tidegate does not renew this in time.",
            "ScheduleExpression": f"at({at:%Y-%m-%dT%H:%M:%S})",
            "FlexibleTimeWindow": {"Mode": "OFF"},
            "ActionAfterCompletion": "DELETE",
            "Target": {
                "Arn": f"arn:{self._role.split(':')[1]}:scheduler:::aws-sdk:applicationautoscaling:putScalingPolicy",
                "RoleArn": self._role,
                "Input": json.dumps(policy_request(target, policy)),
            },
        }
        with writing(f"UpdateSchedule {schedule['Name']}"):
            try:
                self._client().update_schedule(**schedule)
            except ClientError as err:
                if not is_absent(err):
                    raise
                self._client().create_schedule(**schedule)

    def delete(self, target: ScalableTarget) -> None:
        name = schedule_name(self._stage, target)
        with writing(f"DeleteSchedule {name}"), absent_is_fine():
            self._client().delete_schedule(Name=name)

    def left_behind(self, target: ScalableTarget) -> float | None:
        name = schedule_name(self._stage, target)
        found = or_none(f"GetSchedule {name}", lambda: self._client().get_schedule(Name=name))
        return found and json.loads(found["Target"]["Input"])["TargetTrackingScalingPolicyConfiguration"]["TargetValue"]


def schedule_name(stage: str, target: ScalableTarget) -> str:
    """Return the name of a target's schedule: at most 64 characters, as Scheduler wants, and its own."""
    name = next(iter(target.names.values()))
    return f"tidegate-{stage}-{name[:25]}-{sha256(target.resource_id.encode()).hexdigest()[:16]}"
