"""What must hold when a pass was struck: judged by what AWS and the table hold, and by what the invocation said."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from core.errors import TidegateError
from core.model import ScalableTarget
from simulator.stack import wakes_fleet_sync
from tests.chaos.cloud import CloudAccount, Snapshot
from tests.chaos.faults import KINDS, Kind, arm, killed_after
from tests.chaos.passes import (
    Arm,
    Build,
    Held,
    Killed,
    Ran,
    State,
    invoke,
    leases,
    look,
    policy_bounds,
    runtime,
)
from tests.chaos.story import TARGETS, Moment, replayed
from tests.chaos.wire import Call

UNSURE = {"MetricsUnknown", "StateLost"}
"""Reasons by which a reply says that it did not know enough."""

NOT_DONE = {"busy", "waiting", "not_enrolled", "failed", "left_alone"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Twin:
    """The run without a fault: its calls, what it left, and what the pass after it left."""

    ran: Ran
    before: State
    first: State
    after: State
    missed: State
    """What a single pass leaves that comes as late as the second: as if the first had never been."""


@cache
def twin(moment: Moment) -> Twin:
    """Return what happens without a fault."""
    cloud = replayed(moment)
    before = look(cloud, TARGETS)
    ran = invoke(cloud, moment.function, moment.event)
    first = look(cloud, TARGETS)
    after = next_pass(cloud, moment)
    missed = next_pass(replayed(moment), moment)
    return Twin(ran=ran, before=before, first=first, after=after, missed=missed)


SYNCED = 0
"""Minute of the hour in which FleetSync comes by."""

LATER, CHUNK = 80, 10
"""Minutes in which a target that got more than it needed, or waits for its endpoint, must be as if nothing had failed.

An hour, and the quarter after which AAS gives back by itself what its alarms ordered meanwhile, with its cooldown.
"""


@dataclass
class _Future:
    """What stands in each minute after the second pass without a fault, played as far as somebody asks.

    There is one table: what is being looked at must be saved before.
    """

    moment: Moment
    saved: Snapshot
    states: list[State] = field(default_factory=list)

    def until(self, minute: int) -> list[State]:
        cloud = CloudAccount.of(self.saved)
        while len(self.states) < minute:
            self.states.append(tick(cloud, self.moment))
        self.saved = cloud.save()
        return self.states


@cache
def _future(moment: Moment) -> _Future:
    cloud = replayed(moment)
    invoke(cloud, moment.function, moment.event)
    next_pass(cloud, moment)
    return _Future(moment, cloud.save())


HOURLY = {"trigger": "schedule"}


def tick(cloud: CloudAccount, moment: Moment, *, hourly: bool = True) -> State:
    """Let a minute pass: the owner ticks, and FleetSync hears of endpoints that changed and comes by each hour.

    Without its hourly pass an alarm keeps an old threshold for as long as nothing happens to its endpoint.
    """
    for event in cloud.account.advance():
        if wakes_fleet_sync(event):
            invoke(cloud, "FleetSync", event)
    if hourly and cloud.now.minute == SYNCED:
        invoke(cloud, "FleetSync", HOURLY)
    owners = ("RealtimeTarget", "AsyncQueue", "BatchWindow")
    for owner in (moment.function,) if moment.function in owners else owners:
        invoke(cloud, owner, {"trigger": "schedule"})
    return look(cloud, TARGETS)


def only_later(cloud: CloudAccount, moment: Moment, wanted: State) -> bool:
    """Whether no target has less capacity than it should, and all soon stand as they should."""
    left = look(cloud, TARGETS)
    for target, held in left.targets.items():
        would = wanted.targets[target]
        if held.bounds and would.bounds and (held.bounds[0] < would.bounds[0] or held.desired < would.desired):
            return False
    saved = cloud.save()
    for begin in range(0, LATER, CHUNK):
        then = _future(moment).until(begin + CHUNK)[begin:]
        cloud = CloudAccount.of(saved)
        if any(tick(cloud, moment).targets == each.targets for each in then):
            return True
        saved = cloud.save()
    return False


def next_pass(cloud: CloudAccount, moment: Moment, build: Build = runtime) -> State:
    """Let the function be invoked again, and return what it leaves."""
    for _ in range(moment.gap):
        cloud.account.advance()
    again = invoke(cloud, moment.function, moment.event, build=build)
    if again.error is not None:
        raise again.error
    return look(cloud, TARGETS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a struck pass left, and what does not hold there."""

    problems: tuple[str, ...]
    world: Snapshot


def unhealed(moment: Moment, world: Snapshot, build: Build = runtime) -> Iterator[str]:
    """Let the healthy pass follow in the world that a struck one left; yield what does not hold."""
    clean, cloud = twin(moment), CloudAccount.of(world)
    try:
        after = next_pass(cloud, moment, build)
    except TidegateError as err:
        yield f"converges: the healthy pass failed: {err}"
        return
    yield from escaped(after, policy_bounds(cloud))
    yield from (f"converges: {pk} is still leased" for pk in sorted(leases(cloud)))
    differs = list(differences(after, clean.after, clean.missed))
    if differs and not only_later(cloud, moment, clean.after):
        yield from (f"converges: {what}" for what in differs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One call of one pass, and what happens to it; without a kind Lambda is killed after it."""

    moment: Moment
    call: Call
    kind: Kind | None

    @property
    def name(self) -> str:
        what = self.kind.name if self.kind else "killed"
        return f"{self.moment.name}, call {self.call.number} {self.call.service} {self.call.operation}: {what}"

    @property
    def arm(self) -> Arm:
        """The fault itself."""
        if self.kind is None:
            return killed_after(self.call.number)
        return arm(self.kind, self.call.number, self.moment.past)

    def problems(self, build: Build = runtime) -> Iterator[str]:
        """Run the pass with the fault and a healthy one after it; yield what does not hold."""
        left = self.struck(build)
        for problem in (*left.problems, *unhealed(self.moment, left.world, build)):
            yield f"{self.name}: {problem}"

    def struck(self, build: Build = runtime) -> Left:
        """Run the pass with the fault."""
        clean, cloud = twin(self.moment), replayed(self.moment)
        return self.judged(clean, cloud, invoke(cloud, self.moment.function, self.moment.event, self.arm, build))

    def judged(self, clean: Twin, cloud: CloudAccount, struck: Ran) -> Left:
        """Judge what the struck pass left."""
        left, bounds, world = look(cloud, TARGETS), policy_bounds(cloud), cloud.save()
        problems = (
            *self._lowered(clean, left),
            *escaped(left, bounds),
            *without_expiry(clean, left, bounds),
            *self._untrue(clean, left, struck),
            *self._harmed(clean, left),
        )
        return Left(problems=problems, world=world)

    def _lowered(self, clean: Twin, left: State) -> Iterator[str]:
        """Who is shown an endpoint as it was before it changed may raise a target before its time, if that falls back.

        AAS can order nothing meanwhile, and an order that a forecast has beside it stands for when it can.
        """
        found = list(lowered(clean, left))
        shown_old = self.kind is not None and self.kind.strike is None and self.call.service == "sagemaker"
        for minutes in range(CHUNK, LATER + 1, CHUNK) if shown_old else ():
            found = found and list(lowered(clean, left, _future(self.moment).until(minutes)))
        yield from found

    def _untrue(self, clean: Twin, left: State, struck: Ran) -> Iterator[str]:
        """An invocation succeeds if all was done, or says of what was not; it fails with the call that failed."""
        error, kind = struck.error, self.kind
        if kind is None:
            if not isinstance(error, Killed):
                yield f"true: the kill was survived: {error!r}"
            return
        if error is not None:
            if not isinstance(error, TidegateError):
                yield f"true: ends with {error!r}, which is none of ours"
            elif kind.absorbed(self.call):
                yield f"true: what a retry heals failed: {error}"
            return
        for target in TARGETS:
            said, usual = struck.said(target), clean.ran.said(target)
            unsure = any(reason in str(said.get("steps")) for reason in UNSURE)
            unsure = unsure or (self.call.operation == "DescribeAlarms" and "ScaleInBlocked" in str(said.get("steps")))
            honest = said.get("status") in NOT_DONE or unsure or "error" in said
            honest = honest or (kind.strike is None and _as_said(left.targets[target], said))
            honest = honest and not kind.absorbed(self.call)
            if left.targets[target] != clean.first.targets[target] and not honest:
                what = "; ".join(_unlike(left.targets[target], clean.first.targets[target]))
                yield f"true: success, but {target.resource_id} has {what} (said {said}, usually {usual})"
        if (left.overrides, left.told) != (clean.first.overrides, clean.first.told) and "untold" not in str(
            struck.reply
        ):
            yield f"true: success, but told {left.told} and stored {left.overrides}"

    def _harmed(self, clean: Twin, left: State) -> Iterator[str]:
        """A fault in a call that concerns one target leaves the others as they would be."""
        own = concerned(self.call)
        if own is None or self.kind is None or self.kind.harms_others:
            return
        for target in TARGETS:
            if target != own and (wrong := list(_unlike(left.targets[target], clean.first.targets[target]))):
                yield f"others: {target.resource_id} has {'; '.join(wrong)}"


def _as_said(left: Held, said: Mapping[str, Any]) -> bool:
    """Whether what stands is what a pass says that it decided, whatever it saw."""
    return left.bounds == (said.get("min_capacity"), said.get("max_capacity"))


def concerned(call: Call) -> ScalableTarget | None:
    """Return the one target that a call names, None if it is about several or the roster, which is written as a whole."""
    if '"FLEET"' in call.body:
        return None
    names = {target: next(iter(target.names.values())) for target in TARGETS}
    found = [target for target, name in names.items() if any(f"{mark}{name}" in call.body for mark in '/-"')]
    return found[0] if len(found) == 1 else None


def lowered(clean: Twin, left: State, later: Sequence[State] = ()) -> Iterator[str]:
    """No fault lowers anything below both what stood and what a pass without fault leaves; no target value rises.

    To what it has `later` without a fault one may that falls back.
    """
    for target in TARGETS:
        was, would, now = clean.before.targets[target], clean.first.targets[target], left.targets[target]
        soon = [each.targets[target] for each in later] if now.fallback is not None else []
        for what in _less(was, would, now, soon):
            yield f"lowers: {target.resource_id} has {what}"


def _less(was: Held, would: Held, now: Held, soon: Sequence[Held]) -> Iterator[str]:
    if now.desired < min(was.desired, would.desired):
        yield f"count {now.desired}"
    if now.bounds and would.bounds:
        least = [min(pair) for pair in zip(was.bounds or would.bounds, would.bounds, strict=True)]
        if now.bounds[0] < least[0] or now.bounds[1] < least[1]:
            yield f"bounds {now.bounds}, which were {was.bounds} and should be {would.bounds}"
    for name, value in now.targets.items():
        most = max(each.targets.get(name, 0.0) for each in (was, would, *soon))
        if value > most:
            yield f"{name} tracking {value}, not {most}"
    for kind in ("policies", "alarms", "actions"):
        kept = getattr(was, kind).keys() & getattr(would, kind).keys()
        if gone := kept - getattr(now, kind).keys():
            yield f"lost {kind} {sorted(gone)}"
    if was.original and would.original and now.original != was.original:
        yield "lost what stood before adoption"


def escaped(left: State, bounds: Mapping[ScalableTarget, tuple[int, int]]) -> Iterator[str]:
    """Policy minimum <= floor <= ceiling <= maximum, unless an operator said otherwise; released targets are free."""
    for target, (low, high) in bounds.items():
        found = left.targets[target]
        if found.bounds and found.place and not low <= found.bounds[0] <= found.bounds[1] <= high:
            yield f"bounds: {target.resource_id} has {found.bounds}, the policy {low}..{high}"


def without_expiry(clean: Twin, left: State, bounds: Mapping[ScalableTarget, tuple[int, int]]) -> Iterator[str]:
    """Every lowering has its expiry, as a target value that rises is one: who dies after it leaves nobody capped."""
    for target, own in bounds.items():
        was, now = clean.before.targets[target], left.targets[target]
        for name, value in now.targets.items():
            low = was.targets.get(name, value) if was.fallback is None else was.fallback
            if value > low and (now.fallback is None or now.fallback >= value):
                yield f"expiry: {target.resource_id} tracks {value}, and falls back to {now.fallback}"
        if not (was.bounds and now.bounds) or now.bounds == own:
            continue
        lower = now.bounds[0] < was.bounds[0] or now.bounds[1] < was.bounds[1]
        if lower and now.expiry != own:
            yield f"expiry: {target.resource_id} was lowered to {now.bounds}, and expires to {now.expiry}"


def differences(left: State, *wanted: State) -> Iterator[str]:
    """Yield what is neither as if nothing had failed nor as if the pass had never been."""
    for target in TARGETS:
        if all(left.targets[target] != each.targets[target] for each in wanted):
            for what in _unlike(left.targets[target], wanted[0].targets[target]):
                yield f"{target.resource_id} has {what}"
    for name in ("overrides", "told"):
        if all(getattr(left, name) != getattr(each, name) for each in wanted):
            yield f"{name} {sorted(map(str, getattr(left, name) ^ getattr(wanted[0], name)))}"


def _unlike(left: Held, wanted: Held) -> Iterator[str]:
    for name in Held.__dataclass_fields__:
        one, other = getattr(left, name), getattr(wanted, name)
        if one != other:
            yield f"{name} {_short(one, other)}"


def _short(one: object, other: object) -> str:
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        keys = sorted(k for k in {*one, *other} if one.get(k) != other.get(k))
        return "; ".join(f"{k}: {one.get(k)!r}, not {other.get(k)!r}"[:240] for k in keys)
    return f"{one!r}, not {other!r}"


def cells(moments: tuple[Moment, ...]) -> Iterator[Cell]:
    """Yield every call of every pass with every fault that can strike it, and a kill after each."""
    for moment in moments:
        for call in moment.calls:
            for kind in KINDS:
                if kind.strikes(call):
                    yield Cell(moment=moment, call=call, kind=kind)
            yield Cell(moment=moment, call=call, kind=None)
