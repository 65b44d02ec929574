"""`tidegate explain` and `tidegate replay`: recorded decisions, from the table or a file, in words a person reads."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from rich.table import Table

from cli.overrides import RefusedError, place_of
from core.context import DECISIONS, Decision
from core.decide import decide, newest
from core.model import Capacity, Dimension, ScalableTarget, Scope, Step

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


@dataclass(frozen=True, slots=True)
class Recorded:
    """A decision as it was written down, and what became of it."""

    name: str
    """`<resource ID>@<time>`: what `tidegate replay` takes."""

    outcome: str
    document: Mapping[str, Any]
    """The decision with its context, as JSON."""

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


def targets_of(target: str) -> list[ScalableTarget]:
    """Return what a target on the command line may be in the table; what is counted there, only the table knows.

    Raises:
        RefusedError: it is no single target.
    """
    resource = target
    if not target.startswith(("endpoint/", "inference-component/")):
        place = place_of(target)
        if "inference_component" in place:
            resource = ScalableTarget.component(place["inference_component"]).resource_id
        elif "target" in place:
            resource = ScalableTarget.variant(place["target"], place.get("variant", "AllTraffic")).resource_id
        else:
            raise RefusedError(f"TARGET = {target!r}: must be one endpoint, endpoint/variant or component:NAME")
    return [ScalableTarget(resource, dimension) for dimension in Dimension]


def newest_of(dynamodb: "DynamoDBClient", table: str, target: str, at: datetime | None) -> Recorded | None:
    """Return the newest decision about a target (at or before a time), None if none is recorded.

    Args:
        dynamodb: boto3's `dynamodb`.
        table: the stack's table; its layout stands in `core.aws.store`.
        target: as on the command line, or a resource ID.
        at: None for the newest of all.
    """
    last = "~" if at is None else at.astimezone(UTC).isoformat(timespec="milliseconds")
    found = [
        item
        for each in targets_of(target)
        for item in dynamodb.query(
            TableName=table,
            KeyConditionExpression="pk = :pk AND sk BETWEEN :first AND :last",
            ExpressionAttributeValues={
                ":pk": {"S": f"TARGET#{each.resource_id}#{each.dimension.value}"},
                ":first": {"S": "DECISION#"},
                ":last": {"S": f"DECISION#{last}"},
            },
            ScanIndexForward=False,
            Limit=1,
        )["Items"]
    ]
    return recorded(max(found, key=lambda item: item["sk"]["S"])) if found else None


def recorded(item: Mapping[str, Any]) -> Recorded:
    """Return a decision item of the table."""
    _, resource, _ = item["pk"]["S"].split("#")
    document = {**json.loads(item["decision"]["S"]), "context": json.loads(item["context"]["S"])}
    return Recorded(f"{resource}@{item['sk']['S'].removeprefix('DECISION#')}", item["outcome"]["S"], document)


def read_file(file: Path) -> Recorded:
    """Return the decision in a file that `tidegate explain --json` wrote.

    Raises:
        RefusedError: there is none in it.
    """
    try:
        read = json.loads(file.read_text(encoding="utf-8"))
        return Recorded(read["id"], read["outcome"], read["decision"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RefusedError(f"{file}: must be a file that `tidegate explain --json` wrote ({error!r})") from error


def differences(before: Decision) -> list[tuple[str, str, str]]:
    """Decide again from what was seen then, with today's code; return what comes out otherwise: what, then, today."""
    after = decide(before.context)
    found = [
        (name, str(then), str(today))
        for name in ("envelope", "desired", "scale_in_to", "target_factor", "paused", "valid_until")
        if (then := getattr(before, name)) != (today := getattr(after, name))
    ]
    if before.steps != after.steps:
        then, today = ("\n".join(f"{_rule(s)}  {_figures(s.seen)}" for s in d.steps) for d in (before, after))
        found.append(("steps", then, today))
    return found


def document_of(found: Recorded) -> dict[str, Any]:
    """Return a decision as JSON says it: what `replay` reads, and what was recommended beside it."""
    decision = found.decision
    asked = [
        {"at": f"{r.at:%Y-%m-%dT%H:%MZ}", "reason": r.reason, "floor": r.floor, "seen": dict(r.seen)}
        for r in newest(decision.context)
    ]
    return {
        "id": found.name,
        "outcome": found.outcome,
        "reason": decision.reason.value,
        "recommendations": asked,
        "decision": found.document,
    }


def heading_of(found: Recorded) -> Iterable[str]:
    """Yield what was decided, and what stood then."""
    decision, ctx = found.decision, found.decision.context
    yield f"{found.name} ({found.outcome})"
    running = "unknown"
    if isinstance(ctx.capacity, Capacity):
        running = f"{ctx.capacity.current} serving, {ctx.capacity.desired} ordered, {ctx.capacity.status}"
    yield f"Wanted {decision.envelope}, because {decision.reason}. Registered was {ctx.registered}; {running}."
    if decision.scale_in_to is not None:
        yield f"Nothing above {decision.scale_in_to} was needed: scaled in directly."


def asked_of(decision: Decision) -> Table:
    """Return what policy, signals and overrides asked for; the highest signal is marked."""
    ctx = decision.context
    table = _table("asked by", "at", "for", "figures")
    table.add_row("policy", "", str(ctx.policy_envelope), f"profile {ctx.enrolment.profile_name}")
    found = newest(ctx)
    best = max(found, key=lambda r: r.floor, default=None)
    for each in found:
        table.add_row(
            f"{each.reason}{' (highest)' * (each is best)}",
            f"{each.at:%H:%M}Z",
            f"at least {each.floor}",
            _figures(each.seen),
        )
    for signal, missing in ctx.unknown.items():
        table.add_row(signal.value, "", "unknown", missing.why)
    for wish in ctx.overrides:
        what = f"{wish.action}{'' if wish.capacity is None else f' {wish.capacity}'}"
        place = "this target" if wish.scope is Scope.TARGET else " ".join(filter(None, wish.place))
        ends = f"{wish.override_id} by {wish.requested_by}, until {wish.expires_at:%Y-%m-%dT%H:%MZ}: {wish.reason}"
        table.add_row(f"override of {place}", f"{wish.created_at:%H:%M}Z", what, ends)
    return table


def rules_of(decision: Decision) -> Table:
    """Return what each rule did to the bounds, in their order; the one that decides is marked."""
    table = _table("", "rule", "reason", "bounds", "figures")
    for step in decision.steps:
        mark = "->" if step is decision.deciding_step else ""
        bounds = f"{step.before} to {step.after}" if step.moved else f"{step.after} stays"
        table.add_row(mark, step.rule, step.reason.value, bounds, _figures(step.seen))
    return table


def _rule(step: Step) -> str:
    return f"{step.rule} {step.reason} {step.before} -> {step.after}"


def _figures(seen: Mapping[str, float | str]) -> str:
    return ", ".join(_figure(*each) for each in seen.items())


def _figure(name: str, value: float | str) -> str:
    return f"{name.replace('_', ' ')} {value if isinstance(value, str) else f'{value:g}'}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
