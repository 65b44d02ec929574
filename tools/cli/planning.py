"""`tidegate plan`: what a document would change on each target, and why, by core's own dry run."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from rich.table import Table

from cli.stack import DeployedStack
from cli.tables import plain
from core.context import Decision
from core.fields import Strict
from core.model import Capacity, Mode, ScalableTarget
from core.plan import Action, PutPolicy, SetBounds
from core.policy import Fleet, parse_fleet
from core.ports import NativePolicy, Place
from core.reconcile import Outcome, Status


class What(StrEnum):
    """What becomes of a target."""

    ENROL = "enrol"
    WATCH = "watch"  # enrolled in shadow: decided and recorded, not written
    CHANGE = "change"
    RELEASE = "release"
    NOTHING = "no change"
    LEFT_ALONE = "left alone"
    FAILED = "error"


CHANGES = (What.ENROL, What.CHANGE, What.RELEASE)
"""What writes to an endpoint's scaling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What would become of one target."""

    target: ScalableTarget
    what: What
    profile: str
    mode: Mode
    """The more cautious of the stack's and the profile's."""

    why: str
    running: int | None = None
    bounds: str | None = None
    """What is registered."""

    wanted: str | None = None
    actions: tuple[str, ...] = ()
    """What the document brings about."""

    anyway: tuple[str, ...] = ()
    """What the next pass does under the document in force too: it follows the load, or repairs."""

    once_active: tuple[str, ...] = ()
    """What would be written if the mode were active."""

    unseen: bool = False
    """Whether it would be written to without ever having been in shadow."""

    def as_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        return {
            "target": self.target.resource_id,
            "what": self.what.value,
            "profile": self.profile,
            "mode": self.mode.value,
            "why": self.why,
            "running": self.running,
            "bounds": self.bounds,
            "wanted": self.wanted,
            "actions": list(self.actions),
            "anyway": list(self.anyway),
            "once_active": list(self.once_active),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What would change in a fleet."""

    targets: tuple[Change, ...]
    document: tuple[str, ...]
    """How the document differs from the one in force."""

    @property
    def writes(self) -> bool:
        """Whether any endpoint's scaling would change because of it."""
        return any(change.what in CHANGES for change in self.targets)

    @property
    def changes(self) -> bool:
        """Whether delivering it would change anything at all."""
        return bool(self.writes or self.document)

    @property
    def failed(self) -> bool:
        """Whether some target cannot be planned: FleetSync would fail on it, and AppConfig roll the document back."""
        return any(change.what is What.FAILED for change in self.targets)

    def as_json(self) -> dict[str, Any]:
        """Return it as `--json` prints it."""
        return {
            "changes": self.changes,
            "writes": self.writes,
            "document": list(self.document),
            "targets": [change.as_json() for change in self.targets],
        }


def plan_of(stack: DeployedStack, document: Mapping[str, Any], now: datetime) -> Plan:
    """Return what would change if this document took the place of the one in force.

    Both are planned over one view of the account: what both would do is not the document's doing.

    Raises:
        ConfigError: the document breaks a rule.
        ObservationError: the account cannot be read.
    """
    before, after = parse_fleet(stack.document()), parse_fleet(document)
    standing = {outcome.target: outcome for outcome in stack.planned(before, now)}
    roster = stack.roster()
    changes = [_change(stack, outcome, standing, roster, after) for outcome in stack.planned(after, now)]
    return Plan(
        targets=tuple(sorted(changes, key=lambda c: (c.what is What.NOTHING, c.target.resource_id))),
        document=tuple(_differences(before, after)),
    )


def _change(
    stack: DeployedStack,
    outcome: Outcome,
    before: Mapping[ScalableTarget, Outcome],
    roster: Mapping[ScalableTarget, Place],
    fleet: Fleet,
) -> Change:
    target, decision, place = outcome.target, outcome.decision, roster.get(outcome.target)
    entry = fleet.targets.get(target)
    named = entry.profile if entry else place.profile if place else "-"
    if outcome.status in {Status.FAILED, Status.LEFT_ALONE} or decision is None:
        what = {Status.FAILED: What.FAILED, Status.LEFT_ALONE: What.LEFT_ALONE}.get(outcome.status, What.RELEASE)
        profile = fleet.profiles.get(named)
        cautious = stack.mode is Mode.SHADOW or (profile is not None and profile.mode is Mode.SHADOW)
        mode = Mode.SHADOW if cautious else Mode.ACTIVE
        why = outcome.error or ("the tag has gone" if place and place.by_tag else "the document no longer names it")
        said = tuple(map(str, outcome.actions))
        if what is What.RELEASE and stack.mode is Mode.SHADOW:
            mode, what, why = Mode.SHADOW, What.NOTHING, f"{why}; a stack in shadow gives nothing back"
            return Change(target=target, what=what, profile=named, mode=mode, why=why, once_active=said)
        return Change(target=target, what=what, profile=named, mode=mode, why=why, actions=said)
    mode = decision.effective_mode(stack.mode)
    policies = {p.name: p for p in stack.ports.autoscaling.policies(target)} if decision.context.registered else {}
    said = tuple(in_full(action, policies) for action in outcome.actions)
    earlier = _written(stack, before.get(target))
    brought = tuple(text for text, action in zip(said, outcome.actions, strict=True) if str(action) not in earlier)
    anyway = tuple(text for text in said if text not in brought)
    enrolled = target in roster
    if mode is Mode.SHADOW:
        what = What.NOTHING if enrolled else What.WATCH
        brought, anyway, once = (), (), said
    else:
        what = (What.CHANGE if enrolled else What.ENROL) if brought else What.NOTHING
        once = ()
    seen = decision.context
    return Change(
        target=target,
        what=what,
        profile=seen.enrolment.profile_name,
        mode=mode,
        why="; ".join(_reasons(decision, outcome, what, mode)),
        running=seen.capacity.desired if isinstance(seen.capacity, Capacity) else None,
        bounds=str(seen.registered) if seen.registered else None,
        wanted=str(decision.envelope),
        actions=brought,
        anyway=anyway,
        once_active=once,
        unseen=what is What.ENROL,
    )


def _written(stack: DeployedStack, outcome: Outcome | None) -> set[str]:
    """Return what the document in force makes the next pass write."""
    if outcome is None or outcome.decision is None or outcome.decision.effective_mode(stack.mode) is Mode.SHADOW:
        return set()
    return set(map(str, outcome.actions))


def _reasons(decision: Decision, outcome: Outcome, what: What, mode: Mode) -> Iterator[str]:
    enrolment = decision.context.enrolment
    if what in {What.ENROL, What.WATCH}:
        yield f"tag tidegate:profile={enrolment.profile_name}" if enrolment.by_tag else "named in the document"
    if mode is Mode.SHADOW:
        yield "shadow: decided and recorded, nothing is written"
    elif any(isinstance(action, SetBounds) for action in outcome.actions):
        yield f"bounds by {decision.reason}"
    if suspended := decision.context.suspended:
        yield f"{', '.join(suspended)} is suspended: bounds are set, and AAS does not act until somebody resumes it"
    if decision.paused:
        yield "paused by an override: written when that ends"
    if isinstance(decision.context.capacity, Capacity) and not decision.context.capacity.in_service:
        yield f"the endpoint is {decision.context.capacity.status}: policies wait until it is InService"
    if outcome.remark:
        yield outcome.remark


def in_full(action: Action, standing: Mapping[str, NativePolicy]) -> str:
    """Say an action, and of a policy that stands what becomes different about it."""
    if not isinstance(action, PutPolicy) or action.policy.name not in standing:
        return str(action)
    other = [*_unlike(standing[action.policy.name].configuration, action.policy.configuration)]
    return f"{action}: {', '.join(other) or 'its alarms'}"


def _unlike(found: object, wanted: object, path: str = "") -> Iterator[str]:
    """Yield those leaves that are wanted otherwise; AWS may add fields of its own."""
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        for key, value in wanted.items():
            yield from _unlike(found.get(key), value, f"{path}.{key}" if path else str(key))
    elif isinstance(wanted, list | tuple) and isinstance(found, list | tuple) and len(found) == len(wanted):
        for index, (old, new) in enumerate(zip(found, wanted, strict=True)):
            yield from _unlike(old, new, f"{path}[{index}]")
    elif found != wanted:
        yield f"{path} {found} -> {wanted}"


def _differences(before: Fleet, after: Fleet) -> Iterator[str]:
    """Say how a document differs: of what it names, and of each profile which fields."""
    for field in ("max_capacity", "longest_override"):
        if getattr(before, field) != getattr(after, field):
            yield f"{field}: {getattr(before, field)} -> {getattr(after, field)}"
    for name in sorted({*before.profiles, *after.profiles}):
        old, new = before.profiles.get(name), after.profiles.get(name)
        if old is None or new is None:
            yield f"profile {name}: {'new' if old is None else 'gone'}"
        elif fields := _fields(old, new):
            yield f"profile {name}: {', '.join(fields)}"
    named = [{target.resource_id: entry for target, entry in fleet.targets.items()} for fleet in (before, after)]
    for resource in sorted({*named[0], *named[1]}):
        was, now = (each.get(resource) for each in named)
        if was is None or now is None:
            yield f"{resource}: {'new' if was is None else 'gone'}"
        elif was != now:
            yield f"{resource}: {', '.join(_fields(was, now))}"


def _fields(old: Strict, new: Strict) -> list[str]:
    """Return the fields that differ, simple ones with their values."""
    found = []
    for field in type(new).model_fields:
        was, now = getattr(old, field), getattr(new, field)
        if was != now:
            simple = all(isinstance(each, str | int | float | None) for each in (was, now))
            found.append(f"{field} {was} -> {now}" if simple else field)
    return found


SUMMARY: Sequence[tuple[What, str]] = (
    (What.ENROL, "to enrol"),
    (What.WATCH, "to watch in shadow"),
    (What.CHANGE, "to change"),
    (What.RELEASE, "to release"),
    (What.NOTHING, "unchanged"),
    (What.LEFT_ALONE, "left alone"),
    (What.FAILED, "with an error"),
)


def table_of(plan: Plan) -> Table:
    """Return what would become of each target."""
    table = plain("target", "profile", "mode", "plan", "bounds", "why")
    for change in plan.targets:
        moved = change.bounds or "-"
        if change.what in {What.ENROL, What.CHANGE} and change.wanted and change.wanted != change.bounds:
            moved = f"{moved} -> {change.wanted}"
        table.add_row(
            change.target.resource_id,
            change.profile,
            change.mode.value,
            change.what.value,
            moved,
            change.why,
        )
    return table


def _lines(change: Change) -> Iterator[str]:
    """Yield what would be written to one target, under a heading each."""
    headings = (
        ("", change.actions),
        (", anyway with the next pass", change.anyway),
        (f", once {change.profile} is active", change.once_active),
    )
    for heading, actions in headings:
        if actions:
            yield f"{change.target.resource_id}{heading}:"
            yield from (f"  {action}" for action in actions)


def lines_of(plan: Plan) -> Iterable[str]:
    """Yield what would be written, and what the plan comes to."""
    for change in plan.targets:
        yield from _lines(change)
    for line in plan.document:
        yield f"document: {line}"
    numbers = ((sum(change.what is what for change in plan.targets), words) for what, words in SUMMARY)
    counted = ", ".join(f"{number} {words}" for number, words in numbers if number)
    if not plan.writes:
        yield "No change: bounds, policies, scheduled actions and alarms of every endpoint stay as they are."
    yield f"Plan: {counted or 'the document names no endpoint'}."
    if unseen := sorted(change.target.resource_id for change in plan.targets if change.unseen):
        yield f"Not seen in shadow yet: {', '.join(unseen)}. `mode: shadow` in the profile lets you look first."
