"""EventBridge Scheduler as far as functions use it: one-time schedules that call Application Auto Scaling themselves.

Schedules that invoke functions are the deployed stack's, and are played by whoever plays the stack. What this one
cannot play is refused when it is made, not when it is due.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from simulator import schedule
from simulator.service import Service, ServiceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from simulator.events import World

UNIVERSAL = ":scheduler:::aws-sdk:"
"""Stands in the ARN of a target that is an operation of AWS: `arn:aws:scheduler:::aws-sdk:<service>:<operation>`."""

PLAYED = {"applicationautoscaling:putScalingPolicy": ("application-autoscaling", "PutScalingPolicy")}


USUAL = {"GroupName": "default", "State": "ENABLED", "ScheduleExpressionTimezone": "UTC"}


class Scheduler(Service):
    """The one-time schedules of one account, all in the group `default`.

    Args:
        world: says the time.
        services: who is called, by boto3's name.
    """

    name = "scheduler"

    def __init__(self, world: World, services: Mapping[str, Service]) -> None:
        self.world = world
        self.schedules: dict[str, dict[str, Any]] = {}
        self.dropped: list[tuple[str, str]] = []
        """Name and error of each schedule whose call was refused."""
        self._services = services

    def create_schedule(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Refused if there is one of that name."""
        if params["Name"] in self.schedules:
            raise ServiceError("ConflictException", f"Schedule {params['Name']} already exists.")
        return self._put(params)

    def update_schedule(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What is left out is not kept."""
        self._known(params)
        return self._put(params)

    def get_schedule(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Return it as it was made."""
        return {**self._known(params), "GroupName": "default", "Arn": self._arn(params["Name"])}

    def delete_schedule(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """Delete one."""
        self._known(params)
        del self.schedules[params["Name"]]
        return {}

    def run(self) -> None:
        """Call what is due in this minute; all of them were made to be deleted then."""
        for name, made in list(self.schedules.items()):
            if schedule.parse(made["ScheduleExpression"], "UTC", self.world.now).due(self.world.now):
                service, operation = called(made["Target"]["Arn"])
                try:
                    self._services[service].call(operation, json.loads(made["Target"]["Input"]))
                except ServiceError as error:
                    self.dropped.append((name, str(error)))
                del self.schedules[name]

    def _put(self, params: Mapping[str, Any]) -> dict[str, Any]:
        expression = params["ScheduleExpression"]
        once = expression.startswith("at(") and params.get("ActionAfterCompletion") == "DELETE"
        exact = params["FlexibleTimeWindow"] == {"Mode": "OFF"}
        if not (once and exact and all(params.get(name, value) == value for name, value in USUAL.items())):
            raise self.invalid(f"only one-time schedules that are deleted when done are played, with {USUAL}")
        try:
            schedule.parse(expression, "UTC", self.world.now)
            called(params["Target"]["Arn"])
            json.loads(params["Target"]["Input"])
        except ValueError as error:
            raise self.invalid(str(error)) from error
        self.schedules[params["Name"]] = dict(params)
        return {"ScheduleArn": self._arn(params["Name"])}

    def _known(self, params: Mapping[str, Any]) -> dict[str, Any]:
        found = self.schedules.get(params["Name"])
        if found is None or params.get("GroupName", "default") != "default":
            raise ServiceError("ResourceNotFoundException", f"Schedule {params['Name']} does not exist.")
        return found

    def _arn(self, name: str) -> str:
        return self.world.arn("scheduler", f"schedule/default/{name}")


def called(arn: str) -> tuple[str, str]:
    """Return service and operation of a universal target, as boto3 calls them. Raises ValueError for any not played."""
    _, universal, operation = arn.partition(UNIVERSAL)
    if not universal or operation not in PLAYED:
        raise ValueError(f"Target {arn!r} is not simulated: only {', '.join(PLAYED)} is called")
    return PLAYED[operation]
