"""`tidegate explain` and `tidegate replay`: recorded decisions, from the table or a file, in words a person reads."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from rich.table import Table

from cli.delivery import outputs_of
from cli.errors import RefusedError
from cli.tables import plain
from cli.targets import nearest, spelled, targets_of
from core.aws.store import Table as Store
from core.aws.store import unpacked
from core.context import DECISIONS, Decision
from core.decide import RULES, decide, newest
from core.model import Capacity, Recommendation, ScalableTarget, Scope, Step
from core.overrides import in_force
from core.plan import fallbacks
from core.signals.window import needs
from core.times import MINUTE

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient
    from mypy_boto3_dynamodb import DynamoDBClient

    from cli.options import Clients


ACTIVITIES_SHOWN = 5
OUTCOMES = {
    "changed": "written to AWS",
    "shadow": "recorded, and not written because the mode says so",
    "paused": "nothing was written because an override pauses it",
    "waiting": "written when the endpoint is InService",
    "failed": "AWS refused a write; the next pass decides again",
    "busy": "the endpoint changed before all was written; the next pass decides again",
}
_MINUTE = "%Y-%m-%dT%H:%MZ"


@dataclass(frozen=True, slots=True)
class Did:
    """A scaling activity of AAS, in its own words."""

    at: datetime
    what: str
    why: str
    status: str


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision as it was written down, and what became of it."""

    name: str
    """`<resource ID>@<time>`: what `tidegate replay` takes."""

    outcome: str
    document: Mapping[str, Any]
    """The decision with its context, as JSON."""

    @property
    def at(self) -> datetime:
        """When it was made."""
        return datetime.fromisoformat(self.name.rpartition("@")[2])

    @property
    def decision(self) -> Decision:
        """The decision as types.

        Raises:
            RefusedError: another release wrote it, with other fields.
        """
        try:
            return DECISIONS.validate_json(json.dumps(self.document))
        except ValidationError as error:
            text = f"{self.name}: cannot be read, another release wrote it ({error.error_count()} fields differ)"
            raise RefusedError(text) from error


def time_of(said: str | None, called: str = "TIME") -> datetime | None:
    """Read a time, `called` so on the command line; one without an offset is local.

    Raises:
        RefusedError: it is none.
    """
    try:
        return None if said is None else datetime.fromisoformat(said).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise RefusedError(f"{called} = {said!r}: must be a time such as 2026-11-18T12:00Z") from error


def until_of(said: str | None) -> datetime | None:
    """Read the time that `--at` says; a whole minute is all of it, for so `history` prints what some second decided.

    Raises:
        RefusedError: it is none.
    """
    found = time_of(said, "--at")
    return found if found is None or found.second or found.microsecond else found + MINUTE - timedelta(milliseconds=1)


def recorded_in(stack: str, aws: "Clients", target: str, at: datetime | None = None) -> Recorded:
    """Return the newest decision of a stack about a target, at or before a time.

    Raises:
        RefusedError: none is recorded.
    """
    names = outputs_of(aws.of("cloudformation"), stack, {"table": "TableName"})
    found = newest_of(aws.of("dynamodb"), names["table"], target, at)
    if found is None:
        at_or_before = "" if at is None else f" at or before {at:%Y-%m-%dT%H:%MZ}"
        roster = Store(aws.of("dynamodb"), names["table"]).roster() or {}
        known = any(each in roster for each in targets_of(target))
        why = "it is enrolled" if known else nearest(target, map(spelled, roster))
        raise RefusedError(f"TARGET = {target!r}: no decision is recorded{at_or_before}; {why}")
    return found


def newest_of(dynamodb: "DynamoDBClient", table: str, target: str, at: datetime | None) -> Recorded | None:
    """Return the newest decision about a target (at or before a time), None if none is recorded.

    Args:
        dynamodb: boto3's `dynamodb`.
        table: the stack's table; its layout stands in `core.aws.store`.
        target: as on the command line, or a resource ID.
        at: None for the newest of all.
    """
    last = "" if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds")
    found = [
        item
        for each in targets_of(target)
        for item in dynamodb.query(
            TableName=table,
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            ExpressionAttributeValues={
                ":pk": {"S": f"TARGET#{each.resource_id}#{each.dimension.value}"},
                ":first": {"S": "DECISION#"},
                ":last": {"S": f"DECISION#{last}~"},  # after the time comes what tells those of one millisecond apart
            },
            ScanIndexForward=False,
            Limit=1,
        )["Items"]
    ]
    return recorded(max(found, key=lambda item: item["sk"]["S"])) if found else None


def recorded_since(dynamodb: "DynamoDBClient", table: str, target: ScalableTarget, since: datetime) -> list[Recorded]:
    """Return every decision recorded about a target from a time on, oldest first."""
    pages = dynamodb.get_paginator("query").paginate(
        TableName=table,
        KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
        ExpressionAttributeValues={
            ":pk": {"S": f"TARGET#{target.resource_id}#{target.dimension.value}"},
            ":first": {"S": f"DECISION#{since.astimezone(UTC).isoformat(timespec='milliseconds')}"},
            ":last": {"S": "DECISION#~"},
        },
    )
    return [recorded(item) for page in pages for item in page["Items"]]


def recorded(item: Mapping[str, Any]) -> Recorded:
    """Return a decision item of the table."""
    resource, at = item["pk"]["S"].split("#")[1], item["sk"]["S"].split("#")[1]
    document = {**json.loads(item["decision"]["S"]), "context": json.loads(unpacked(item["context"]))}
    return Recorded(f"{resource}@{at}", item["outcome"]["S"], document)


def read_file(file: Path) -> Recorded:
    """Return the decision in a file that `tidegate explain --json` wrote.

    Raises:
        RefusedError: there is none in it.
    """
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        return Recorded(read["id"], read["outcome"], read["decision"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        why = f"{type(error).__name__}: {error}"  # a decoding error's repr is the whole file
        raise RefusedError(f"{file}: must be a file that `tidegate explain --json` wrote ({why})") from error


def differences(before: Decision) -> list[tuple[str, str, str]]:
    """Decide again from what was seen then, with today's code; return what comes out otherwise: what, then, today."""
    after = decide(before.context)
    found = [
        (name, str(then), str(today))
        for name in ("envelope", "desired", "scale_in_to", "target_factor", "paused", "valid_until")
        if (then := getattr(before, name)) != (today := getattr(after, name))
    ]
    if before.steps != after.steps:
        then, today = ("\n".join(f"{_rule(s)}  {figures(s.seen)}" for s in d.steps) for d in (before, after))
        found.append(("steps", then, today))
    return found


def activities_of(
    autoscaling: "ApplicationAutoScalingClient", target: ScalableTarget, at: datetime | None
) -> list[Did]:
    """Return what AAS last did to a target's capacity (until a time), newest first."""
    found = activities(autoscaling, target)
    return [*islice((did for did in found if at is None or did.at <= at), ACTIVITIES_SHOWN)]


def activities(autoscaling: "ApplicationAutoScalingClient", target: ScalableTarget) -> Iterator[Did]:
    """Yield everything that AAS did to a target's capacity and still knows, newest first: six weeks."""
    pages = autoscaling.get_paginator("describe_scaling_activities").paginate(
        ServiceNamespace="sagemaker", ResourceId=target.resource_id, ScalableDimension=target.dimension.value
    )
    for page in pages:
        for each in page["ScalingActivities"]:
            message = each.get("StatusMessage", "") if each["StatusCode"] == "Failed" else ""
            status = ": ".join(filter(None, (each["StatusCode"], message)))
            yield Did(at=each["StartTime"].astimezone(UTC), what=each["Description"], why=each["Cause"], status=status)


def document_of(found: Recorded, done: Sequence[Did]) -> dict[str, Any]:
    """Return a decision as JSON says it: what `replay` reads, and beside it what the tables show."""
    decision = found.decision
    ctx = decision.context
    best = _highest(decision)
    return {
        "id": found.name,
        "outcome": found.outcome,
        "reason": decision.reason.value,
        "recommendations": [
            {
                "at": f"{r.at:{_MINUTE}}",
                "reason": r.reason,
                "floor": r.floor,
                "seen": dict(r.seen),
                "highest": r == best,
            }
            for r in newest(ctx)
        ],
        "windows": {need.opening.window.name: need.floor for need in needs(ctx)},
        "overrides": [o.override_id for o in in_force(ctx.overrides, ctx.now)],
        "decides": decision.deciding_step.rule,
        "activities": [{**asdict(each), "at": f"{each.at:{_MINUTE}}"} for each in done],
        "decision": found.document,
    }


def heading_of(found: Recorded) -> Iterable[str]:
    """Yield what was decided, what stood then, and what became of it."""
    decision, ctx = found.decision, found.decision.context
    yield found.name
    running = "what runs is unknown"
    if isinstance(ctx.capacity, Capacity):
        running = f"{ctx.capacity.current} serving, {ctx.capacity.desired} ordered, {ctx.capacity.status}"
    stood = ctx.registered or "nothing"
    yield f"Wanted {decision.envelope}, because {decision.reason}. Registered was {stood}; {running}."
    if decision.scale_in_to is not None:
        yield f"Nothing above {decision.scale_in_to} is needed: what runs above it may go at once."
    memory = ctx.memory
    if memory.falls_back_at is not None and memory.raised(ctx.now):
        for back in fallbacks(decision, "", memory.falls_back_at):
            told = f"falls back to {back.policy.target:g} ({back.whose}) at {back.at:{_MINUTE}} unless renewed"
            yield f"Target tracking is raised to {memory.tracked:g} requests and {told}."
    yield f"Outcome: {', '.join(filter(None, (found.outcome, OUTCOMES.get(found.outcome))))}."


def asked_of(decision: Decision) -> Table:
    """Return what policy, signals and overrides asked for; of several overrides the first decides, the others wait."""
    ctx = decision.context
    table = plain("asked by", "at", "for", "figures")
    table.add_row("policy", "", str(ctx.policy_envelope), f"profile {ctx.enrolment.profile_name}")
    best = _highest(decision)
    for each in newest(ctx):
        who = f"{each.reason}{', highest' * (each == best)}"
        table.add_row(who, f"{each.at:{_MINUTE}}", f"at least {each.floor}", figures(each.seen))
    for signal, missing in ctx.unknown.items():
        table.add_row(signal.value, "", "unknown", missing.why)
    for need in needs(ctx):
        window, began = need.opening.window, need.opening.start <= ctx.now
        left = "" if need.left is None else f", {need.left:g} left" if window.items else ", its load is left to demand"
        asks = f"at least {need.floor}" + ("" if window.max_capacity is None else f", at most {window.max_capacity}")
        who = f"window {window.name}, {'open' if began else 'pre-warming'}"
        table.add_row(who, f"{need.opening.start:{_MINUTE}}", asks, f"until {need.opening.end:{_MINUTE}}{left}")
    for before, wish in enumerate(in_force(ctx.overrides, ctx.now)):
        what = f"{wish.action}{'' if wish.capacity is None else f' {wish.capacity}'}"
        where = "this target" if wish.scope is Scope.TARGET else " ".join(filter(None, wish.place))
        ends = f"until {wish.expires_at:{_MINUTE}} by {wish.requested_by}: {wish.reason} ({wish.override_id})"
        who = f"override of {where}{', waits' * bool(before)}"
        table.add_row(who, f"{wish.created_at:{_MINUTE}}", what, ends)
    return table


def rules_of(decision: Decision) -> Table:
    """Return what each rule did to the bounds, in their order, and what it is for; the one that decides is marked."""
    table = plain("", "rule", "bounds", "why")
    meant = {rule.__name__: (rule.__doc__ or "").partition("\n")[0] for rule in RULES}
    for step in decision.steps:
        bounds = f"{step.before} -> {step.after}" if step.moved else f"{step.after} stays"
        why = ["; ".join(filter(None, (step.reason, figures(step.seen)))), meant.get(step.rule, "")]
        table.add_row("->" * (step is decision.deciding_step), step.rule, bounds, "\n".join(filter(None, why)))
    return table


def did_of(done: Sequence[Did]) -> Table:
    """Return what AAS did, newest first."""
    table = plain("AAS at", "did", "status", "cause")
    for each in done:
        table.add_row(f"{each.at:{_MINUTE}}", each.what, each.status, each.why)
    return table


def _highest(decision: Decision) -> Recommendation | None:
    return max(newest(decision.context), key=lambda r: r.floor, default=None)


def _rule(step: Step) -> str:
    return f"{step.rule} {step.reason} {step.before} -> {step.after}"


def figures(seen: Mapping[str, float | str]) -> str:
    """Return the figures a step looked at in words."""
    return ", ".join(_figure(*each) for each in seen.items())


def _figure(name: str, value: float | str) -> str:
    return f"{name}: {value}" if isinstance(value, str) else f"{name.replace('_', ' ')} {value:g}"
