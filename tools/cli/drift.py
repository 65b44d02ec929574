"""`tidegate drift`: what stands in AWS otherwise than Tidegate last left it, by core's own dry run of FleetSync."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rich.table import Table

from cli.output import count
from cli.planning import in_full
from cli.stack import DeployedStack
from cli.tables import plain
from cli.targets import spelled
from core.context import Decision
from core.model import Capacity, Mode, ScalableTarget
from core.native import owned_prefix
from core.plan import (
    OWN_WRITE_LAG,
    Action,
    DeleteAlarms,
    DeleteExpiry,
    DeletePolicy,
    DeleteScheduledAction,
    PutAlarm,
    PutExpiry,
    PutPolicy,
    SetBounds,
    expiry_name,
)
from core.policy import parse_fleet
from core.ports import NativePolicy
from core.reconcile import Outcome

BY_ITSELF = "nothing"
"""What FleetSync does about what it does not look at, or may not change."""


@dataclass(frozen=True, slots=True)
class Difference:
    """What stands otherwise, and what the next pass of FleetSync does about it."""

    what: str
    then: str


@dataclass(frozen=True, slots=True)
class Drift:
    """One target, with at least one difference."""

    target: ScalableTarget
    differences: tuple[Difference, ...]

    def as_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        found = [{"what": each.what, "then": each.then} for each in self.differences]
        return {"target": self.target.resource_id, "name": spelled(self.target), "differences": found}


def drift_of(stack: DeployedStack, now: datetime, only: Iterable[ScalableTarget] | None = None) -> list[Drift]:
    """Return the targets on which something stands otherwise than wanted; what follows the load is no drift.

    Targets in shadow have none: nothing of Tidegate stands there.

    Args:
        stack: the deployed stack.
        now: the time of the look.
        only: these targets; None for all.

    Raises:
        ObservationError, ConfigError: table, document or account cannot be read.
    """
    chosen = None if only is None else set(only)
    outcomes = [o for o in stack.planned(parse_fleet(stack.document()), now) if chosen is None or o.target in chosen]
    found = []
    for outcome in sorted(outcomes, key=lambda o: o.target):
        if outcome.decision and outcome.decision.effective_mode(stack.mode) is Mode.SHADOW:
            continue
        if differences := (*_differences(stack, outcome),):
            found.append(Drift(outcome.target, differences))
    return found


def _differences(stack: DeployedStack, outcome: Outcome) -> Iterator[Difference]:
    decision = outcome.decision
    if outcome.error:
        yield Difference(outcome.error, BY_ITSELF)
    if decision is None:
        if outcome.actions:
            yield Difference(
                "enrolled, and the document in force names it no more", "; ".join(map(str, outcome.actions))
            )
        return
    ctx = decision.context
    if not ctx.memory.enrolled:
        actions = "; ".join(map(str, outcome.actions)) or "enrols it when its endpoint is InService"
        yield Difference("not enrolled yet", actions)
        return
    yield from _bounds(decision, outcome.actions)
    standing = stack.ports.autoscaling.policies(ctx.target) if ctx.registered else ()
    for action in outcome.actions:
        what = _native(action, {policy.name: policy for policy in standing}, stack.stage)
        if isinstance(action, PutExpiry | DeleteExpiry) and ctx.memory.expires_at == ctx.now:  # by `as_found`
            what = f"scheduled action {expiry_name(stack.stage)} was changed or deleted by somebody"
        if what:
            yield Difference(what, str(action))
    if ctx.suspended:
        what = f"suspended by somebody: {', '.join(ctx.suspended)}"
        yield Difference(what, f"{BY_ITSELF}: resume it where it was suspended")
    if isinstance(ctx.capacity, Capacity) and not ctx.capacity.in_service:
        yield Difference(f"the endpoint is {ctx.capacity.status}: policies and alarms were not compared", "waits")


def _bounds(decision: Decision, actions: Iterable[Action]) -> Iterator[Difference]:
    """Yield what somebody else did to the bounds: they are not those that were last written, and did not expire."""
    ctx, want = decision.context, decision.envelope
    memory, stands = ctx.memory, ctx.registered
    sets = next((action for action in actions if isinstance(action, SetBounds)), None)
    then = str(sets) if sets else f"{BY_ITSELF}: {want} is what is wanted"
    late = memory.written_at is None or ctx.now - memory.written_at >= OWN_WRITE_LAG
    if stands is None:
        yield Difference("not registered with Application Auto Scaling any more", then)
    elif memory.written not in {None, stands} and late:
        fell = memory.expires_at is not None and memory.expires_at < ctx.now and stands == ctx.policy_envelope
        how = "fell back, for no pass renewed them" if fell else "were changed by somebody else"
        yield Difference(f"bounds {memory.written} {how}: {stands} stand", then)
    elif sets and sets.because != "differs" and isinstance(ctx.capacity, Capacity):
        yield Difference(f"{ctx.capacity.desired} were ordered outside the bounds {stands}", then)


def _native(action: Action, standing: Mapping[str, NativePolicy], stage: str) -> str | None:
    """Say what stands otherwise that this action puts right; None for what follows the load."""
    match action:
        case PutPolicy(policy):
            changed = in_full(action, standing).partition(": ")[2]
            return f"policy {policy.name} is {f'not as wanted ({changed})' if policy.name in standing else 'missing'}"
        case PutAlarm(alarm):
            return f"alarm {alarm['AlarmName']} is missing or not as wanted"
        case DeletePolicy(name):
            ours = name.startswith(owned_prefix(stage))
            return f"policy {name} is {'no longer wanted' if ours else 'of somebody else'}"
        case DeleteScheduledAction(name):
            return f"scheduled action {name} is of somebody else"
        case DeleteAlarms(names):
            return f"alarms {', '.join(names)} are no longer wanted"
        case _:
            return None


def table_of(found: Iterable[Drift]) -> Table:
    """Return a row a difference."""
    table = plain("target", "stands otherwise", "the next pass of FleetSync")
    for each in found:
        for number, difference in enumerate(each.differences):
            table.add_row("" if number else spelled(each.target), difference.what, difference.then)
    return table


def line_of(found: list[Drift]) -> str:
    """Say what it comes to."""
    if not found:
        return "No drift: everything stands as Tidegate left it."
    return f"{count(sum(len(each.differences) for each in found), 'difference')} on {count(len(found), 'target')}."
