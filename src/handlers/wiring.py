"""The one place where everything is put together, and the only one that reads the environment."""

import functools
import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil
from typing import Any, Protocol

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit

from core.aws import clients, clock
from core.aws.application_autoscaling import ApplicationAutoScaling
from core.aws.cloudwatch import CloudWatch
from core.aws.events import EventBus
from core.aws.pace import Pace
from core.aws.parts import Part, PartsQueue, part_in
from core.aws.policies import AppConfigPolicies
from core.aws.sagemaker import SageMaker
from core.aws.scheduler import Scheduler
from core.aws.store import Table
from core.context import Enrolment
from core.errors import TidegateError
from core.model import ALWAYS_TOLD, Capacity, Mode, Reason
from core.reconcile import SPARE, Outcome, Pass, Ports, Reconciler, Status


class LambdaContext(Protocol):
    """What we use of Lambda's context object."""

    @property
    def function_name(self) -> str:
        """The deployed function's name."""

    @property
    def aws_request_id(self) -> str:
        """The invocation's ID."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda ends the invocation."""


LambdaHandler = Callable[[dict[str, Any], LambdaContext], dict[str, Any]]


class PassFailedError(TidegateError):
    """Some targets failed; every target was tried. The invocation counts as failed, so that it is retried and seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """What a handler needs: the reconciler, a clock, a voice, patience, and where to put what is too much."""

    reconciler: Reconciler
    clock: Callable[[], datetime]
    tell: Callable[[str, tuple[Outcome, ...]], None]
    sleep: Callable[[float], None] = time.sleep
    parts: PartsQueue | None = None
    """Where a large tick is put in parts, if the stack has the queue for it."""

    def begin(self, context: LambdaContext, **more: bool) -> Pass:
        """Read the clock once, for the whole pass; `more` are fields of it."""
        now = self.clock()
        deadline = now + timedelta(milliseconds=context.get_remaining_time_in_millis()) - SPARE
        holder = f"{context.function_name}/{context.aws_request_id}"
        return Pass(now=now, deadline=deadline, holder=holder, **more)

    def finish(self, context: LambdaContext, outcomes: tuple[Outcome, ...], *, asked: bool = False) -> dict[str, Any]:
        """Tell what was done and return it; to somebody who asked, with what is wrong with the policy document.

        Raises:
            PassFailedError: if any target failed, after all were tried; or, if nobody waits for the reply, if the
                document in force is not the newest one, so that the alarm on errors says it and rolls a bad one back.
        """
        self.tell(context.function_name, outcomes)
        failed = [outcome for outcome in outcomes if outcome.status is Status.FAILED]
        if failed:
            what = "; ".join(f"{outcome.target.resource_id}: {outcome.error}" for outcome in failed)
            raise PassFailedError(f"{len(failed)} of {len(outcomes)} targets failed: {what}")
        trouble = self.reconciler.ports.policies.trouble
        if trouble and not asked:
            raise PassFailedError(f"all {len(outcomes)} targets were looked at, but {trouble}")
        return {"targets": [summary(outcome) for outcome in outcomes], **({"policy": trouble} if trouble else {})}


def summary(outcome: Outcome) -> dict[str, Any]:
    """Return one outcome as a person or a log query wants it: what stood, what is wanted, and why."""
    said: dict[str, Any] = {"target": outcome.target.resource_id, "status": outcome.status.value}
    if outcome.decision is not None:
        decision, ctx = outcome.decision, outcome.decision.context
        said |= {
            "reason": decision.reason.value,
            "seen": dict(decision.deciding_step.seen),
            "registered": str(ctx.registered) if ctx.registered else None,
            "min_capacity": decision.envelope.floor,
            "max_capacity": decision.envelope.ceiling,
            "desired": decision.desired,
            "running": ctx.capacity.desired if isinstance(ctx.capacity, Capacity) else None,
            "scale_in_to": decision.scale_in_to,
            "steps": [f"{s.rule} {s.reason.value} {s.before} -> {s.after}" for s in decision.steps],
        }
        if by := _figures(outcome, Reason.SCALE_IN_BLOCKED):
            said["scale_in_blocked_by"] = "; ".join(f"{policy}: {why}" for policy, why in by.items())
        for reason in (Reason.DEADLINE_AT_RISK, Reason.REQUESTS_EXPIRING, Reason.SCALING_SUSPENDED):
            if seen := _figures(outcome, reason):
                said[reason.name.lower()] = dict(seen)
    if outcome.actions:
        said["actions"] = list(map(str, outcome.actions))
    for name in ("error", "remark"):
        if text := getattr(outcome, name):
            said[name] = text
    return said


class PowertoolsTelemetry:
    """One structured log line a target that changed or failed; fleet metrics (EMF) without per-target dimensions."""

    def __init__(self) -> None:
        self._logger = Logger()
        logging.getLogger(self._logger.name).setLevel(os.environ.get("POWERTOOLS_LOG_LEVEL", "INFO"))  # not Lambda's
        self._metrics = Metrics()

    def tell(self, function: str, outcomes: tuple[Outcome, ...]) -> None:
        """Log and count the outcomes of one pass."""
        quiet = {Status.UNCHANGED, Status.WAITING, Status.PAUSED, Status.BUSY, Status.NOT_ENROLLED}
        for outcome in outcomes:
            told = outcome.error or any(_figures(outcome, reason) for reason in ALWAYS_TOLD)
            level = self._logger.info if told or outcome.status not in quiet else self._logger.debug
            if outcome.status is Status.FAILED:
                level = self._logger.error
            level("target looked at", extra=summary(outcome))
        if quota := next((o.quota for o in outcomes if o.quota), None):
            left = quota.of - quota.used
            self._logger.info("scalable targets", extra={"used": quota.used, "quota": quota.of, "left": left})
        self._metrics.add_dimension("function", function)
        for name, value in sent(outcomes).items():
            self._metrics.add_metric(name=name, unit=MetricUnit.Count, value=value)
        self._metrics.flush_metrics()


def counts(outcomes: tuple[Outcome, ...]) -> Mapping[str, int]:
    """Return the fleet metrics of a pass."""
    return {
        "Heartbeat": 1,
        "TargetsSeen": len(outcomes),
        "TargetsFailed": sum(o.status is Status.FAILED for o in outcomes),
        "ScalableTargets": max((o.quota.used for o in outcomes if o.quota and o.quota.nearly_used_up), default=0),
        "MetricsMissing": sum(bool(o.decision and o.decision.context.unknown) for o in outcomes),
        "CapacityRefused": sum(bool(o.decision and o.decision.context.refusal) for o in outcomes),
        **{reason.value: sum(bool(_figures(o, reason)) for o in outcomes) for reason in ALWAYS_TOLD},
    }


def sent(outcomes: tuple[Outcome, ...]) -> Mapping[str, int]:
    """Return those that are sent: a metric is paid in each hour that has it, so no trouble is not told."""
    return {name: value for name, value in counts(outcomes).items() if value or name == "TargetsSeen"}


def _figures(outcome: Outcome, reason: Reason) -> Mapping[str, float | str]:
    """Return what the step that spoke for this reason looked at; empty if none did."""
    steps = outcome.decision.steps if outcome.decision else ()
    return next((step.seen for step in steps if step.reason is reason), {})


def resource_named_by(event: Any) -> str | None:  # noqa: ANN401 - whatever somebody sends
    """Return what an event is about, `endpoint/<name>` or `inference-component/<name>`, or None for all.

    For all are schedules, composite and multi-series alarms (facts 6), and what is no event at all. Only the name is
    taken; what the event says of state is read again.
    """
    with suppress(AttributeError, TypeError):  # something is not of the shape that AWS sends
        detail = event.get("detail", {})
        metrics = detail.get("configuration", {}).get("metrics", ())
        measured = (metric.get("metricStat", {}).get("metric", {}).get("dimensions", {}) for metric in metrics)
        for names in (detail, *measured):
            for kind, name in (("inference-component", "InferenceComponentName"), ("endpoint", "EndpointName")):
                if name in names:
                    return f"{kind}/{names[name]}"
    return None


def make_owner(
    owns: Callable[[Enrolment, datetime], bool], runtime: Callable[[], Runtime], *, tunes: bool = False
) -> LambdaHandler:
    """Return the function Lambda calls for an owner: a pass over its targets, over those an event names, or a part.

    A tick over more targets than one invocation serves is put as messages to this very function (ADR 0004).
    """

    def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
        tidegate = runtime()
        records = messages_in(event)
        resource = None if records else resource_named_by(event)

        def visit(part: Part | None) -> dict[str, Any]:
            when = tidegate.begin(context, tunes=tunes)
            chosen = tidegate.reconciler.chosen(lambda e: owns(e, when.now) and e.concerned_by(resource))
            if part and when.now - part.at > LATE:
                raise PassFailedError(f"{part} came late: it takes more PartsAtOnce, or a smaller TargetsAPass")
            if part is None and tidegate.parts and len(chosen) > tidegate.parts.most:
                of = ceil(len(chosen) / tidegate.parts.most)
                tidegate.parts.put(of, when.now)  # it has no heartbeat of its own: theirs says that they are looked at
                return {"parts": of}
            mine = chosen[part.part :: part.of] if part else chosen
            return tidegate.finish(context, tidegate.reconciler.look(mine, when))

        return each(records, visit) if records else visit(None)

    return handler


LATE = timedelta(minutes=1)
"""A part this old is in the next tick too."""


def messages_in(event: Any) -> list[dict[str, Any]]:  # noqa: ANN401 - whatever somebody sends
    """Return the messages that SQS delivers, none if the event is another."""
    found = event.get("Records") if isinstance(event, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def each(records: list[dict[str, Any]], visit: Callable[[Part], object]) -> dict[str, Any]:
    """Visit the part of each message, whatever becomes of the others; SQS is told which failed.

    Raises:
        PassFailedError: if all of them failed, so that the invocation counts as failed.
    """
    failed: dict[str, str] = {}
    for record in records:
        try:
            visit(part_in(record))
        except TidegateError as err:
            failed[str(record.get("messageId"))] = str(err)
    if len(failed) == len(records):
        raise PassFailedError("; ".join(failed.values()))
    return {"batchItemFailures": [{"itemIdentifier": message} for message in failed]}  # and only these


def _now() -> datetime:
    """Read the clock through its module, so that whoever replaces it is heard."""
    return clock.now()


@functools.cache
def from_environment() -> Runtime:
    """Return the deployed stack's runtime; made once in each execution environment."""
    env = os.environ
    pace = Pace(float(env["TIDEGATE_ALARM_WRITES_PER_SECOND"]))
    table = Table(clients.dynamodb(), env["TIDEGATE_TABLE"])
    ports = Ports(
        policies=AppConfigPolicies(
            env["TIDEGATE_APPCONFIG_APPLICATION"],
            env["TIDEGATE_APPCONFIG_ENVIRONMENT"],
            env["TIDEGATE_APPCONFIG_PROFILE"],
            table,
        ),
        store=table,
        metrics=CloudWatch(clients.cloudwatch(), pace),
        autoscaling=ApplicationAutoScaling(clients.application_autoscaling(), pace),
        schedules=Scheduler(clients.scheduler, env["TIDEGATE_STAGE"], env["TIDEGATE_FALLBACK_ROLE"]),
        serving=SageMaker(clients.sagemaker, clients.tagging),
        events=EventBus(clients.events, env["TIDEGATE_STAGE"]),
        clock=_now,
    )
    reconciler = Reconciler(ports, stage=env["TIDEGATE_STAGE"], mode=Mode(env["TIDEGATE_MODE"]))
    queue = env.get("TIDEGATE_PARTS_QUEUE")
    parts = PartsQueue(clients.sqs, queue, int(float(env["TIDEGATE_TARGETS_A_PASS"]))) if queue else None
    return Runtime(reconciler=reconciler, clock=_now, tell=PowertoolsTelemetry().tell, parts=parts)
