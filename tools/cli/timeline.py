"""`tidegate history`: what changed on a target, when and why, from everything that knows a part of it, in one line."""

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby, pairwise, takewhile
from typing import TYPE_CHECKING, Any

from rich.table import Table

from cli.decisions import Recorded, activities, figures, newest_of, recorded_since, time_of
from cli.errors import RefusedError
from cli.stack import DeployedStack
from cli.tables import plain
from cli.targets import meant, single
from core.context import Decision
from core.fields import duration
from core.model import Memory, Override, OverrideAction, ScalableTarget, Scope
from core.overrides import standing
from core.plan import plan_bounds, plan_target
from core.reconcile import Status
from core.signals.window import Need, needs

if TYPE_CHECKING:
    from mypy_boto3_application_autoscaling import ApplicationAutoScalingClient

_MINUTE, _CLOCK = "%Y-%m-%dT%H:%MZ", "%H:%MZ"


class By(StrEnum):
    """Who or what changed something; at one time in the order in which one follows from the other."""

    OVERRIDE = "override"
    WINDOW = "window"
    DEPLOYMENT = "deployment"
    TIDEGATE = "tidegate"
    AAS = "aas"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that changed."""

    at: datetime
    by: By
    what: str
    why: str
    status: str = ""
    wish: str = ""
    """What a decision in shadow wanted, without the figures that move by the minute."""

    def as_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        at = self.at.isoformat(timespec="seconds").replace("+00:00", "Z")
        return {"at": at, "by": self.by.value, "what": self.what, "why": self.why, "status": self.status}


def since_of(said: str, now: datetime) -> datetime:
    """Return the time that somebody means by a time, or by so long ago.

    Raises:
        RefusedError: it is neither.
    """
    begun = None
    with suppress(ValueError, OverflowError):
        begun = now - duration(said)
    with suppress(RefusedError):
        begun = begun or time_of(said)
    if begun is None or begun >= now:
        raise RefusedError(f"--since = {said!r}: must be a span such as 12h or 7d, or a time that is over")
    return begun


def told_of(stack: DeployedStack, target: str) -> ScalableTarget:
    """Return the one target that somebody means: a managed one, or one that was released and is still recorded.

    Raises:
        RefusedError: there is none, or several.
    """
    try:
        meant(target, stack.roster())
    except RefusedError:
        last = newest_of(stack.aws.of("dynamodb"), stack.outputs["table"], target, None)
        if last is None:
            raise
        return last.decision.context.target
    return single(target, stack.roster())


def timeline_of(stack: DeployedStack, target: ScalableTarget, since: datetime, now: datetime) -> list[Event]:
    """Return what changed on a target from a time on, oldest first.

    Decisions and what they saw are kept for 90 days, scaling activities for six weeks. What another release wrote
    down may not be readable, and is told as that.

    Args:
        stack: the deployed stack.
        target: a target that it manages.
        since: from when on.
        now: until when.

    Raises:
        ObservationError: the table cannot be read.
    """
    found = recorded_since(stack.aws.of("dynamodb"), stack.outputs["table"], target, since)
    decided: list[Decision] = []
    events: list[Event] = []
    for each in found:
        try:
            decision = each.decision
        except RefusedError as error:
            at = time_of(each.name.rpartition("@")[2]) or now
            events.append(Event(at=at, by=By.TIDEGATE, what="a decision of another release", why=str(error)))
            continue
        decided.append(decision)
        events += _decided(stack, each, decision)
    events += _overridden(decided, stack.ports.store.overrides(), target, now)
    events += _opened(decided, now)
    events += _deployed(decided, stack.ports.store.memories([target])[target])
    events += _scaled(stack.aws.of("application-autoscaling"), target, since)
    return sorted((e for e in events if since <= e.at <= now), key=lambda e: (e.at, [*By].index(e.by)))


def _decided(stack: DeployedStack, found: Recorded, decision: Decision) -> Iterator[Event]:
    """Yield what a decision wrote, would have written in shadow, or failed to; what wrote nothing changed nothing."""
    actions = [str(action) for action in (*plan_bounds(decision), *plan_target(decision, stack.stage))]
    tried = found.outcome in {Status.CHANGED, Status.FAILED, Status.BUSY}  # busy: the count comes last, after bounds
    if not tried and not (found.outcome == Status.SHADOW and actions):
        return
    step = decision.deciding_step
    why = ": ".join(filter(None, (step.reason.value, figures(step.seen))))
    what = "; ".join(actions) or "put policies and alarms in order"
    wish = f"{decision.envelope} {step.reason}" if found.outcome == Status.SHADOW else ""
    yield Event(at=decision.context.now, by=By.TIDEGATE, what=what, why=why, status=found.outcome, wish=wish)


def _overridden(
    decided: Sequence[Decision], stored: Iterable[Override], target: ScalableTarget, now: datetime
) -> Iterator[Event]:
    """Yield when overrides were asked for, and when those ended that nobody ended before."""
    enrolment = decided[-1].context.enrolment if decided else None
    known = {wish.override_id: wish for decision in decided for wish in decision.context.overrides}
    for wish in stored:
        concerns = enrolment.under(wish) if enrolment else wish.place == (Scope.TARGET, target.resource_id)
        known |= {wish.override_id: wish} if concerns else {}
    for wish in known.values():
        where = "" if wish.scope is Scope.TARGET else f" of {' '.join(filter(None, wish.place))}"
        what = f"{wish.action}{'' if wish.capacity is None else f' {wish.capacity}'}{where}"
        ends = "" if wish.action is OverrideAction.RESUME else f" until {wish.expires_at:{_MINUTE}}"
        why = f"{wish.reason} ({wish.override_id}, {wish.requested_by})"
        yield Event(at=wish.created_at, by=By.OVERRIDE, what=f"{what}{ends}", why=why)
    for wish in standing(known.values()):
        if wish.expires_at <= now:
            why = f"it was for so long ({wish.override_id})"
            yield Event(at=wish.expires_at, by=By.OVERRIDE, what=f"{wish.action} ended", why=why)


def _opened(decided: Sequence[Decision], now: datetime) -> Iterator[Event]:
    """Yield the windows that decisions saw, once each: what they asked for first, and when they were over or done."""
    seen: dict[tuple[str, datetime], list[tuple[datetime, Need]]] = {}
    for decision in decided:
        for need in needs(decision.context):
            seen.setdefault((need.opening.window.name, need.opening.start), []).append((decision.context.now, need))
    for (name, start), found in seen.items():
        end = found[-1][1].opening.end
        yield Event(
            at=start,
            by=By.WINDOW,
            what=f"{name} opened",
            why=f"until {end:{_MINUTE}}, at least {found[0][1].floor}",
        )
        over = next((at for at, need in found if need.left == 0), end)
        if over <= now:
            yield Event(at=over, by=By.WINDOW, what=f"{name} ended", why=f"opened {start:{_MINUTE}}")


def _deployed(decided: Sequence[Decision], memory: Memory) -> Iterator[Event]:
    """Yield deployments: between two decisions, or since the last, the endpoint got another configuration."""
    memories = [*(decision.context.memory for decision in decided), memory]
    for before, after in pairwise(memories):
        if after.config != before.config and after.config_since is not None:
            why = f"configuration {before.config} before"
            yield Event(at=after.config_since, by=By.DEPLOYMENT, what=f"configuration {after.config}", why=why)


def _scaled(autoscaling: "ApplicationAutoScalingClient", target: ScalableTarget, since: datetime) -> Iterator[Event]:
    for did in takewhile(lambda each: each.at >= since, activities(autoscaling, target)):
        why = re.sub(rf"TargetTracking-{re.escape(target.resource_id)}-(\w+)-[-\w]+", r"\1", did.why)  # facts 2.1
        yield Event(at=did.at, by=By.AAS, what=did.what, why=why, status=did.status)


def table_of(events: Iterable[Event]) -> Table:
    """Return a row an event, oldest first.

    A shadow writes nothing and so wishes the same each minute: a wish that only repeats the one before is counted, and
    its row says from when to when, with the figures of the last.
    """
    table = plain("at", "by", "what", "why", "status")
    for alike in _runs(events):
        first, last = alike[0], alike[-1]
        at = f"{first.at:{_MINUTE}}"
        if first is not last:
            at += f" to {last.at:{_MINUTE if first.at.date() < last.at.date() else _CLOCK}}"
        status = last.status if first is last else f"{last.status}, {len(alike)} times"
        table.add_row(at, first.by.value, last.what, last.why, status)
    for column in table.columns[:2]:
        column.no_wrap = True
    return table


def _runs(events: Iterable[Event]) -> Iterator[list[Event]]:
    """Yield events one by one, and those of one wish that follow on each other together."""
    numbered = enumerate(events)
    for _, run in groupby(numbered, key=lambda each: each[1].wish or each[0]):
        yield [event for _, event in run]
