"""One simulated minute of a deployed stack: what AWS would deliver to its Lambdas, in order, one at a time."""

import json
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from botocore.exceptions import ClientError

from local_account.clock import ClockFile
from local_account.deployed import Deployed, Rule, Target
from local_account.emf import metrics_in
from local_account.iam import allowed
from local_account.plant.server import Plant
from local_account.rights import Request, Rights
from simulator.events import Event
from simulator.metrics import Datum, MetricKey, epoch_minute, metric_key, sample
from simulator.schedule import parse
from simulator.scheduler import called
from simulator.service import ServiceError


class InvocationFailed(Exception):  # noqa: N818 - reads as what happened, and a demo or a test catches it by this name
    """A deployed function ended with an error."""

    def __init__(self, function: str, why: str) -> None:
        super().__init__(f"{function}: {why}")
        self.function = function
        self.why = why


@dataclass(frozen=True, slots=True)
class Invocation:
    """A finished invocation: what came in, and the reply or why there is none."""

    at: datetime
    function: str
    event: Mapping[str, Any]
    reply: dict[str, Any] | None
    error: str = ""


@dataclass(slots=True)
class Pump:
    """Drives a deployed stack with the simulator's events and time.

    Args:
        plant: the simulator as the Lambdas see it.
        clock: the time as the Lambdas see it.
        aws: boto3 clients of the emulator by service.
        rights: of the deployed roles.
        stack: what is deployed.
    """

    plant: Plant
    clock: ClockFile
    aws: Mapping[str, Any]
    rights: Rights
    stack: Deployed
    listener: Callable[[Invocation], None] = lambda _: None
    invocations: Counter[str] = field(default_factory=Counter)
    failures: list[tuple[str, str]] = field(default_factory=list)

    def minute(self) -> list[Event]:
        """Let one minute pass: AWS moves, its events are delivered, due schedules fire. Returns the events."""
        account = self.plant.account
        with self.plant.lock:
            events = account.advance()
            now = account.now
        self.clock.set(now)
        self._call_due(now)
        for event in events:
            self.deliver(event)
        for tick in self.stack.ticks:
            if tick.schedule.due(now):
                allowed_to = Request("lambda:InvokeFunction", self._function_arn(tick.target.function))
                self._hand_over(
                    tick.name, tick.target, tick.payload(now), permitted=self.rights.may(tick.role, allowed_to)
                )
        self._publish_queue()
        return events

    def _call_due(self, now: datetime) -> None:
        """Let the one-time schedules that functions made call AWS by their roles, as Scheduler does, and end.

        Raises:
            ValueError: for a target that the simulator does not play.
        """
        scheduler, group = self.aws["scheduler"], self._arn("scheduler", "schedule-group/default")
        for page in scheduler.get_paginator("list_schedules").paginate(GroupName="default"):
            for name in [found["Name"] for found in page["Schedules"]]:
                made = scheduler.get_schedule(Name=name)
                if not parse(made["ScheduleExpression"], made["ScheduleExpressionTimezone"], now).due(now):
                    continue
                service, operation = called(made["Target"]["Arn"])
                role, params = made["Target"]["RoleArn"].rsplit("/", 1)[-1], json.loads(made["Target"]["Input"])
                try:
                    with self.plant.lock:
                        self.rights.check_trust(role, "scheduler.amazonaws.com", group)
                        self.rights.check(role, "scheduler", service, operation, params)
                        self.plant.account.call(service, operation, params)
                except ServiceError as error:
                    self.failures.append((name, str(error)))
                scheduler.delete_schedule(Name=name)

    def deliver(self, event: Event) -> None:
        """Hand an event to the targets of every deployed rule that matches, as EventBridge does."""
        text = json.dumps(event)
        for rule in self.stack.rules:
            if self.aws["events"].test_event_pattern(EventPattern=rule.pattern, Event=text)["Result"]:
                for target in rule.targets:
                    self._hand_over(rule.name, target, event, permitted=self._admits(target.function, rule))

    def invoke(self, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
        """Invoke a function by its logical ID without "Function", and wait for its reply.

        Raises:
            InvocationFailed: if it raised, timed out or could not be started.
        """
        self.invocations[function] += 1
        physical, now = self.stack.functions[function], self.plant.account.now
        answer = self.aws["lambda"].invoke(FunctionName=physical, Payload=json.dumps(event), LogType="Tail")
        reply = json.load(answer["Payload"])
        failed = "FunctionError" in answer
        self._publish_call(physical, answer.get("LogResult", ""), now, failed=failed)
        if failed:
            why = str(reply.get("errorMessage", reply))
            self.listener(Invocation(now, function, event, None, why))
            raise InvocationFailed(function, why)
        self.listener(Invocation(now, function, event, reply))
        return reply if isinstance(reply, dict) else {}

    def _hand_over(self, source: str, target: Target, event: Event, *, permitted: bool) -> None:
        function = next(name for name, physical in self.stack.functions.items() if physical == target.function)
        if not permitted:
            self.failures.append((function, f"{source} is not permitted to invoke it"))
            return
        try:
            self.invoke(function, json.loads(target.fixed) if target.fixed and "detail-type" in event else event)
        except (InvocationFailed, ClientError) as error:  # ends here, as it does in Lambda
            self.failures.append((function, str(error)))

    def _admits(self, function: str, rule: Rule) -> bool:
        """Whether the function's resource policy lets this rule in."""
        policy = [each for each in self.stack.invokers[function] if each.service == "events.amazonaws.com"]
        context = {"aws:SourceArn": rule.arn, "AWS:SourceArn": rule.arn, "aws:SourceAccount": self.rights.account_id}
        return allowed(policy, "lambda:InvokeFunction", self._function_arn(function), context)

    def _function_arn(self, name: str) -> str:
        return self._arn("lambda", f"function:{name}")

    def _arn(self, service: str, resource: str) -> str:
        return f"arn:aws:{service}:{self.rights.region}:{self.rights.account_id}:{resource}"

    def _publish_call(self, function: str, log_tail: str, now: datetime, *, failed: bool) -> None:
        """Publish what Lambda counts, and what CloudWatch reads from the log, at simulated time."""
        dimensions = [{"Name": "FunctionName", "Value": function}]
        counts = {"Invocations": 1.0, "Errors": float(failed)}
        with self.plant.lock:
            for name, value in counts.items():
                self._publish(("AWS/Lambda", name, metric_key("", "", dimensions)[2]), now, sample(value))
            for key, datum in metrics_in(log_tail):
                self._publish(key, now, datum)

    def _publish_queue(self) -> None:
        """Publish how many dead letters wait; the queue itself is the emulator's."""
        url = self.stack.outputs.get("DeadLetterQueueUrl")
        if url is None:
            return
        counted = "ApproximateNumberOfMessages"
        try:
            found = self.aws["sqs"].get_queue_attributes(QueueUrl=url, AttributeNames=[counted])["Attributes"][counted]
        except self.aws["sqs"].exceptions.QueueDoesNotExist:  # somebody deletes the stack
            return
        key = metric_key(
            "AWS/SQS", "ApproximateNumberOfMessagesVisible", [{"Name": "QueueName", "Value": url.rsplit("/", 1)[-1]}]
        )
        with self.plant.lock:
            self._publish(key, self.plant.account.now, sample(float(found)))

    def _publish(self, key: MetricKey, now: datetime, datum: Datum) -> None:
        self.plant.account.cloudwatch.publish(key, epoch_minute(now), datum)
