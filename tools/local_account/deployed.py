"""What `sam deploy` left in the emulator, read back from it: functions, rules, schedules, alarms, outputs."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from local_account.iam import Statement, statements
from simulator.schedule import Schedule, parse
from simulator.service import service_model

FUNCTION = "Function"
"""Ends the logical ID of every function; callers leave it out."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a rule or a schedule invokes.

    Args:
        function: its name in the account.
        fixed: the input it is given instead of the event, if any.
    """

    function: str
    fixed: str | None = None


@dataclass(frozen=True, slots=True)
class Rule:
    """An EventBridge rule; only EventBridge itself says what its pattern matches."""

    name: str
    arn: str
    pattern: str
    targets: tuple[Target, ...]


@dataclass(frozen=True, slots=True)
class Tick:
    """A schedule of EventBridge Scheduler."""

    name: str
    arn: str
    schedule: Schedule
    role: str
    target: Target

    def payload(self, now: datetime) -> dict[str, Any]:
        """Return the input with Scheduler's keywords replaced."""
        text = self.target.fixed or "{}"
        keywords = {
            "<aws.scheduler.scheduled-time>": f"{now:%Y-%m-%dT%H:%M:%SZ}",
            "<aws.scheduler.schedule-arn>": self.arn,
            "<aws.scheduler.execution-id>": f"{now:%Y%m%d%H%M%S}",
            "<aws.scheduler.attempt-number>": "1",
        }
        for keyword, value in keywords.items():
            text = text.replace(keyword, value)
        payload: dict[str, Any] = json.loads(text)
        return payload


@dataclass(frozen=True, slots=True)
class Deployed:
    """One stack.

    `functions` maps the logical ID without "Function" to the name; `roles` and `invokers` map the name to the role it
    runs as and to its resource policy.
    """

    functions: Mapping[str, str]
    roles: Mapping[str, str]
    invokers: Mapping[str, tuple[Statement, ...]]
    rules: tuple[Rule, ...]
    ticks: tuple[Tick, ...]
    alarms: tuple[dict[str, Any], ...]
    outputs: Mapping[str, str]
    revision: str = ""


NOTHING = Deployed({}, {}, {}, (), (), (), {})
"""No stack."""


def read_stack(aws: Mapping[str, Any], stack: str, now: datetime) -> Deployed:
    """Read a stack, and switch its schedules off: they are fired in simulated time from here on.

    Args:
        aws: boto3 clients of the emulator by service.
        stack: its name.
        now: the simulated time from which rates count.
    """
    pages = aws["cloudformation"].get_paginator("list_stack_resources").paginate(StackName=stack)
    resources = [resource for page in pages for resource in page["StackResourceSummaries"]]

    def names(kind: str) -> list[str]:
        return sorted(r["PhysicalResourceId"] for r in resources if r["ResourceType"] == kind)

    functions = {
        r["LogicalResourceId"].removesuffix(FUNCTION): r["PhysicalResourceId"]
        for r in resources
        if r["ResourceType"] == "AWS::Lambda::Function"
    }
    described = aws["cloudformation"].describe_stacks(StackName=stack)["Stacks"][0]
    groups = names("AWS::Scheduler::ScheduleGroup")
    return Deployed(
        functions=functions,
        roles={name: _role(aws, name) for name in functions.values()},
        invokers={name: _invokers(aws, name) for name in functions.values()},
        rules=tuple(_rule(aws, name) for name in names("AWS::Events::Rule")),
        ticks=tuple(tick for group in groups for tick in _ticks(aws, group, now)),
        alarms=tuple(_alarms(aws, names("AWS::CloudWatch::Alarm"))),
        outputs={output["OutputKey"]: output["OutputValue"] for output in described.get("Outputs", ())},
        revision=revision(described),
    )


def revision(described: Mapping[str, Any]) -> str:
    """Return what changes whenever a stack is made or updated."""
    return f"{described['StackId']} {described.get('LastUpdatedTime')}"


def _role(aws: Mapping[str, Any], function: str) -> str:
    return str(aws["lambda"].get_function_configuration(FunctionName=function)["Role"]).rsplit("/", 1)[-1]


def _invokers(aws: Mapping[str, Any], function: str) -> tuple[Statement, ...]:
    try:
        policy = aws["lambda"].get_policy(FunctionName=function)["Policy"]
    except aws["lambda"].exceptions.ResourceNotFoundException:
        return ()
    return tuple(statements(json.loads(policy)))


def _rule(aws: Mapping[str, Any], name: str) -> Rule:
    rule = aws["events"].describe_rule(Name=name)
    targets = aws["events"].list_targets_by_rule(Rule=name)["Targets"]
    for target in targets:
        unsupported = {"InputTransformer", "InputPath"} & target.keys()
        if unsupported:
            raise NotImplementedError(f"rule {name}: {', '.join(unsupported)} is not replayed")
    return Rule(
        name=name,
        arn=rule["Arn"],
        pattern=rule["EventPattern"],
        targets=tuple(Target(t["Arn"].rsplit(":", 1)[-1], t.get("Input")) for t in targets),
    )


def _ticks(aws: Mapping[str, Any], group: str, now: datetime) -> Iterator[Tick]:
    scheduler = aws["scheduler"]
    for found in scheduler.list_schedules(GroupName=group)["Schedules"]:
        schedule = scheduler.get_schedule(Name=found["Name"], GroupName=group)
        zone = schedule.get("ScheduleExpressionTimezone", "UTC")
        target = schedule["Target"]
        yield Tick(
            name=schedule["Name"],
            arn=schedule["Arn"],
            schedule=parse(schedule["ScheduleExpression"], zone, now),
            role=target["RoleArn"].rsplit("/", 1)[-1],
            target=Target(target["Arn"].rsplit(":", 1)[-1], target.get("Input")),
        )
        known = {"Name", "GroupName", "ScheduleExpression", "FlexibleTimeWindow", "Target"}
        kept = {key: value for key, value in schedule.items() if key in known}
        scheduler.update_schedule(**kept, ScheduleExpressionTimezone=zone, State="DISABLED")


def _alarms(aws: Mapping[str, Any], names: list[str]) -> Iterator[dict[str, Any]]:
    """Yield each alarm as the request that makes it again."""
    shape = service_model("cloudwatch").operation_model("PutMetricAlarm").input_shape
    settable = set(shape.members) if shape is not None else set()
    for start in range(0, len(names), 100):
        for alarm in aws["cloudwatch"].describe_alarms(AlarmNames=names[start : start + 100])["MetricAlarms"]:
            yield {key: value for key, value in alarm.items() if key in settable and value not in ([], "", None)}
