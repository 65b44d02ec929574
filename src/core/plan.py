"""From a decision to actions: only the difference between what is wanted and what is registered.

A dry run shows exactly these actions; applying them is `core.reconcile`'s business.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, ClassVar, TypeVar

from typing_extensions import override

from core.context import Context, Decision, Enrolment
from core.model import Capacity, Envelope, Option
from core.native import heard_alarms, native_policies, owned_prefix, request_tracking
from core.policy import Profile
from core.ports import NativePolicy, Original, ScheduledAction

OWN_WRITE_LAG = timedelta(minutes=2)
"""A read that disagrees with our own write within this time is lag, not drift (ADR 0001)."""

_Named = TypeVar("_Named", NativePolicy, ScheduledAction)
RENEW_BEFORE = timedelta(minutes=30)
EXPIRY_REPEATS = "rate(15 minutes)"
FALLS_BACK_AFTER, STAYS_AT_LEAST = timedelta(minutes=20), timedelta(minutes=10)
"""How long after its last renewal a raised target falls back, and what is left when it is renewed (ADR 0005)."""


class _Said:
    """An action says itself in one line a person can check before it is done."""

    __slots__ = ()
    said: ClassVar[str]

    @override
    def __str__(self) -> str:
        return self.said.format(self)


@dataclass(frozen=True, slots=True)
class SetBounds(_Said):
    """RegisterScalableTarget with both bounds."""

    envelope: Envelope
    because: str
    said: ClassVar[str] = "set bounds to {0.envelope} ({0.because})"


@dataclass(frozen=True, slots=True)
class PutExpiry(_Said):
    """The scheduled action that brings the policy's own bounds back if nobody renews it."""

    at: datetime
    envelope: Envelope
    said: ClassVar[str] = "let bounds fall back to {0.envelope} at {0.at:%Y-%m-%dT%H:%MZ}"

    @property
    def settings(self) -> Mapping[str, Any]:
        """What PutScheduledAction takes beside the names; it knows whole seconds."""
        bounds = {"MinCapacity": self.envelope.floor, "MaxCapacity": self.envelope.ceiling}
        at = self.at.replace(microsecond=0)
        return {"Schedule": EXPIRY_REPEATS, "StartTime": at, "ScalableTargetAction": bounds}


@dataclass(frozen=True, slots=True)
class DeleteExpiry(_Said):
    """Remove that scheduled action: nothing is left to expire."""

    said: ClassVar[str] = "remove the expiry"


@dataclass(frozen=True, slots=True)
class SetCount(_Said):
    """The direct scale-in: one change inside the bounds that leaves nothing in force."""

    count: int
    said: ClassVar[str] = "scale in directly to {0.count}"


@dataclass(frozen=True, slots=True)
class SaveOriginal(_Said):
    """Remember what stood before adoption, before anything of it is replaced."""

    original: Original
    said: ClassVar[str] = "save what stands now, for release"


@dataclass(frozen=True, slots=True)
class PutPolicy(_Said):
    """PutScalingPolicy and, for a step policy of ours, its alarm."""

    policy: NativePolicy
    said: ClassVar[str] = "put policy {0.policy.name}"


@dataclass(frozen=True, slots=True)
class PutTarget(_Said):
    """PutScalingPolicy of the policy that tracks requests, at another target value; `factor` is what latency allows."""

    policy: NativePolicy
    factor: float
    said: ClassVar[str] = (
        "track {0.policy.target:g} requests, taking an instance to serve {0.factor:.0%} of what it is said to"
    )


@dataclass(frozen=True, slots=True)
class PutFallback(_Said):
    """The schedule that gives AAS a target that may stay if nobody renews it (ADR 0005); `whose` says why this one."""

    policy: NativePolicy
    at: datetime
    whose: str
    said: ClassVar[str] = "let the target fall back to {0.policy.target:g} ({0.whose}) at {0.at:%Y-%m-%dT%H:%MZ}"


@dataclass(frozen=True, slots=True)
class DeleteFallback(_Said):
    """Remove that schedule: no target is left to fall back."""

    said: ClassVar[str] = "remove the target's fallback"


@dataclass(frozen=True, slots=True)
class PutAlarm(_Said):
    """PutMetricAlarm of an alarm that no policy follows."""

    alarm: Mapping[str, Any]
    said: ClassVar[str] = "put alarm {0.alarm[AlarmName]}"


@dataclass(frozen=True, slots=True)
class DeletePolicy(_Said):
    """DeleteScalingPolicy."""

    name: str
    said: ClassVar[str] = "delete policy {0.name}"


@dataclass(frozen=True, slots=True)
class PutScheduledAction(_Said):
    """PutScheduledAction as it stood before adoption."""

    action: ScheduledAction
    said: ClassVar[str] = "put scheduled action {0.action.name}"


@dataclass(frozen=True, slots=True)
class DeleteScheduledAction(_Said):
    """DeleteScheduledAction."""

    name: str
    said: ClassVar[str] = "delete scheduled action {0.name}"


@dataclass(frozen=True, slots=True)
class DeleteAlarms(_Said):
    """DeleteAlarms of our own alarms."""

    names: tuple[str, ...]
    said: ClassVar[str] = "delete alarms {0.listed}"

    @property
    def listed(self) -> str:
        """The names, for a person."""
        return ", ".join(self.names)


@dataclass(frozen=True, slots=True)
class Deregister(_Said):
    """DeregisterScalableTarget: the target was not registered before Tidegate came."""

    said: ClassVar[str] = "deregister"


_OfAll = SetBounds | PutExpiry | DeleteExpiry | SetCount | PutTarget | PutFallback | DeleteFallback
_OfFleetSync = SaveOriginal | PutPolicy | PutAlarm | DeletePolicy | PutScheduledAction | DeleteScheduledAction
Action = _OfAll | _OfFleetSync | DeleteAlarms | Deregister


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What stands on a target: read when it is enrolled, repaired or released."""

    registered: Envelope | None
    created_at: datetime | None = None
    policies: tuple[NativePolicy, ...]
    scheduled_actions: tuple[ScheduledAction, ...]
    alarms: Mapping[str, Mapping[str, Any]]
    """Our own alarms on the target, as DescribeAlarms shows them."""


def expiry_name(stage: str) -> str:
    """Return the name of the scheduled action that expires a target's bounds."""
    return f"{owned_prefix(stage)}expiry"


def as_found(ctx: Context, actions: tuple[ScheduledAction, ...], stage: str) -> Context:
    """Return the context with an expiry that stands otherwise than remembered as due: it is put or removed again."""
    at = ctx.memory.expires_at
    wanted = PutExpiry(at, ctx.policy_envelope).settings if at else None
    found = next((action.settings for action in actions if action.name == expiry_name(stage)), None)
    if _covers(found, wanted) and "EndTime" not in (found or ()):
        return ctx
    return replace(ctx, memory=replace(ctx.memory, expires_at=ctx.now))


def plan_bounds(decision: Decision) -> tuple[Action, ...]:
    """Return what brings bounds, count and expiry in line with the decision.

    While the endpoint changes only an expiry that is missing or over is put: it may have failed beside its bounds.
    """
    ctx, want = decision.context, decision.envelope
    if decision.paused or not isinstance(ctx.capacity, Capacity):
        return ()
    standing = _standing(ctx)
    if not ctx.capacity.in_service:
        expires = ctx.memory.expires_at
        if standing is None or not ctx.memory.enrolled or (expires is not None and expires > ctx.now):
            return ()
        return _expiry(decision, standing)
    bounds: tuple[Action, ...] = ()
    if standing != want:
        again = ctx.refusal is not None and standing is not None and want.floor > standing.floor  # one more try
        bounds = (SetBounds(want, "again" if again else "differs"),)
    elif not want.holds(ctx.capacity.desired) and ctx.now >= ctx.next_try:
        # A deployment reset the count, or AAS was refused; registering the same bounds again makes AAS move it
        # (facts, section 0).
        bounds = (SetBounds(want, "repair"),)
    expiry = _expiry(decision, want)
    lowers = standing is not None and (want.floor < standing.floor or want.ceiling < standing.ceiling)
    puts_expiry = any(isinstance(action, PutExpiry) for action in expiry)
    # Written before a lowering and after a raising: whatever fails in between decays towards the policy.
    ordered = expiry + bounds if lowers and puts_expiry else bounds + expiry
    if decision.scale_in_to is None or not want.holds(ctx.capacity.desired):
        return ordered  # outside the bounds AAS moves the count itself, and a second change would only collide
    return (*ordered, SetCount(decision.scale_in_to))


def plan_target(decision: Decision, stage: str) -> tuple[Action, ...]:
    """Return what gives AAS the request target that latency allows, and above it what a forecast needs.

    What is above the profile's own, or what the user had before adoption, falls back by a schedule, which is written
    first (ADR 0005). While the endpoint changes that is only renewed; while the load is unknown nothing is raised.
    """
    ctx, memory, factor = decision.context, decision.context.memory, decision.target_factor
    if decision.paused or not isinstance(ctx.capacity, Capacity):
        return ()
    raised, due = memory.raised(ctx.now), memory.falls_back_at
    own, may_rise = _own(decision), raised or not ctx.unknown
    forecast = own.forecasting if may_rise and _foreseen(ctx) else None
    wanted = forecast or (own if may_rise else own.left_behind(memory.before_adoption))
    targets = request_tracking(replace(ctx.enrolment, profile=wanted), stage)
    renewal = fallbacks(decision, stage, ctx.now + FALLS_BACK_AFTER)
    above = [policy.target for policy in targets] != [each.policy.target for each in renewal]
    late = due is None or due - ctx.now <= STAYS_AT_LEAST
    if not ctx.capacity.in_service:
        return renewal if raised and above and late else ()
    written = raised and factor == memory.target_factor and all(t.target == memory.tracked for t in targets)
    puts = tuple(PutTarget(policy, factor) for policy in targets)
    if not above:
        return (*puts, DeleteFallback()) if due else puts if factor != memory.target_factor else ()
    return (*(renewal if late or not written else ()), *(() if written else puts))


def fallbacks(decision: Decision, stage: str, at: datetime) -> tuple[PutFallback, ...]:
    """Return what takes a raised request target back: to the profile's own or, if lower, what the user had."""
    ctx, own = decision.context, _own(decision)
    left = own.left_behind(ctx.memory.before_adoption)
    whose = "the profile's own" if left is own else "before adoption"
    kept = request_tracking(replace(ctx.enrolment, profile=left), stage)
    return tuple(PutFallback(policy, at, whose) for policy in kept)


def _own(decision: Decision) -> Profile:
    """Return the profile without what a forecast makes of it, at what latency allows from now on."""
    ctx, memory = decision.context, decision.context.memory
    own = ctx.profile.resting if _foreseen(ctx) and memory.raised(ctx.now) else ctx.profile
    return own.rated(None, decision.target_factor / memory.target_factor)  # the profile seen is rated by that already


def _foreseen(ctx: Context) -> bool:
    return ctx.learned is not None and ctx.learned.chosen is Option.FORECAST


def plan_natives(
    enrolment: Enrolment, stage: str, inventory: Inventory, original: Original | None
) -> tuple[Action, ...]:
    """Return what brings native policies and their alarms in line; adoption saves first, then replaces.

    Registration comes before these and is `plan_bounds`' business.
    """
    wanted, heard = native_policies(enrolment, stage), heard_alarms(enrolment, stage)
    standing = {policy.name: policy for policy in inventory.policies}
    prefix = owned_prefix(stage)
    actions: list[Action] = []
    if (saved := original_of(inventory, stage, original)) != original:
        if original and original.created_at not in {None, saved.created_at}:  # what was due on the endpoint before
            actions.append(DeleteFallback())
        actions.append(SaveOriginal(saved))
    actions += [DeletePolicy(p.name) for p in foreign(inventory.policies, stage)]
    actions += [DeleteScheduledAction(a.name) for a in foreign(inventory.scheduled_actions, stage)]
    names = {policy.name for policy in wanted}
    actions += [DeletePolicy(name) for name in standing if name.startswith(prefix) and name not in names]
    actions += [PutPolicy(policy) for policy in wanted if not _stands(policy, standing, inventory)]
    actions += [PutAlarm(alarm) for alarm in heard if not _covers(inventory.alarms.get(alarm["AlarmName"]), alarm)]
    alarms = {alarm["AlarmName"] for alarm in (*heard, *(p.alarm for p in wanted if p.alarm is not None))}
    if stale := tuple(sorted(set(inventory.alarms) - alarms)):
        actions.append(DeleteAlarms(stale))
    return tuple(actions)


def plan_release(
    stage: str, inventory: Inventory, original: Original | None, now: datetime, *, gone: bool
) -> tuple[Action, ...]:
    """Return what takes our things away and puts back exactly what was there before.

    If the record was lost, native policies stay, within the policy's own bounds, which the expiry knows: an endpoint
    that scales natively is the safer guess. If the endpoint itself is gone, only what would be left over is removed.
    A registration that was ours stays, within those bounds, if others' policies or scheduled actions hang on it.
    """
    prefix = owned_prefix(stage)
    alarms = [DeleteAlarms(tuple(sorted(inventory.alarms)))] if inventory.alarms else []
    if gone:
        return (DeleteFallback(), *alarms, *([Deregister()] if inventory.registered else []))
    expires = [a for a in inventory.scheduled_actions if a.name.startswith(prefix)]
    expiry = [DeleteScheduledAction(action.name) for action in expires]
    bounds = (action.settings["ScalableTargetAction"] for action in expires)  # the fallback comes by itself
    falls = (SetBounds(Envelope(b["MinCapacity"], b["MaxCapacity"]), "release") for b in bounds)
    if original is None or not original.known:
        return (*falls, *expiry)
    original = original_of(inventory, stage, original)
    ours = [DeletePolicy(policy.name) for policy in inventory.policies if policy.name.startswith(prefix)]
    policies = [PutPolicy(policy) for policy in original.policies if policy not in inventory.policies]
    actions = [PutScheduledAction(a) for a in original.scheduled_actions if not a.over(now)]
    if original.envelope is not None:
        return (DeleteFallback(), *expiry, *ours, *alarms, SetBounds(original.envelope, "release"), *policies, *actions)
    if not inventory.registered or not (original.policies or original.scheduled_actions):
        return (DeleteFallback(), *ours, *alarms, *expiry, Deregister())
    return (DeleteFallback(), *ours, *alarms, *falls, *expiry, *policies, *actions)


def foreign(found: tuple[_Named, ...], stage: str) -> tuple[_Named, ...]:
    """Return the policies or scheduled actions that somebody else made."""
    return tuple(each for each in found if not each.name.startswith(owned_prefix(stage)))


def _standing(ctx: Context) -> Envelope | None:
    """Return what is registered, believing our own fresh write over a read that lags behind it."""
    written, at = ctx.memory.written, ctx.memory.written_at
    fresh = at is not None and ctx.now - at < OWN_WRITE_LAG
    return written if ctx.registered is not None and written is not None and fresh else ctx.registered


def _expiry(decision: Decision, envelope: Envelope) -> tuple[Action, ...]:
    """Renew, set or remove the expiry: it stands while the envelope differs from the policy's own."""
    ctx = decision.context
    standing = ctx.memory.expires_at
    if envelope == ctx.policy_envelope:
        return (DeleteExpiry(),) if standing is not None else ()
    due = decision.valid_until
    # Not before an end that is known either: under a pause nobody renews it until then.
    ends = [step.valid_until for step in decision.steps if step.valid_until and step.valid_until <= due]
    if standing is not None and max([due - min(RENEW_BEFORE, (due - ctx.now) / 2), *ends]) <= standing <= due:
        return ()
    return (PutExpiry(due, ctx.policy_envelope),)


def original_of(inventory: Inventory, stage: str, saved: Original | None = None) -> Original:
    """Return what others made, beside what was saved; if none was and our policies stand, the record was lost.

    What was saved of an endpoint of this name that was deleted is not what stood on this one.
    """
    policies, actions = foreign(inventory.policies, stage), foreign(inventory.scheduled_actions, stage)
    known, at = policies == inventory.policies, inventory.created_at
    anew = saved and known and saved.created_at and at not in {None, saved.created_at}
    before = (not anew and saved) or Original(envelope=inventory.registered, known=known, created_at=at)
    before = replace(before, created_at=before.created_at or at)  # an older release did not write whose it is
    others = (each for each in before.policies if each.name not in {policy.name for policy in policies})
    newest = {  # AAS takes one target-tracking policy a metric
        next((str(v) for k, v in each.configuration.items() if k.endswith("MetricSpecification")), each.name): each
        for each in (*others, *policies)
    }
    timed = {each.name: each for each in (*before.scheduled_actions, *actions)}
    return replace(before, policies=(*newest.values(),), scheduled_actions=(*timed.values(),))


def _stands(wanted: NativePolicy, standing: Mapping[str, NativePolicy], inventory: Inventory) -> bool:
    """Whether a policy is registered as wanted, and its alarm too."""
    found = standing.get(wanted.name)
    if found is None or found.policy_type != wanted.policy_type:
        return False
    if not _covers(found.configuration, wanted.configuration):
        return False
    if wanted.alarm is None:  # AAS makes the alarms of target tracking, and anew when it is put again (inferred)
        ways = ["AlarmHigh"] if found.configuration.get("DisableScaleIn") else ["AlarmHigh", "AlarmLow"]
        return all(any(way in name for name in found.alarm_names) for way in ways)
    alarm = inventory.alarms.get(wanted.alarm["AlarmName"])
    return alarm is not None and _covers(alarm, wanted.alarm) and wanted.alarm["AlarmName"] in found.alarm_names


def _covers(found: object, wanted: object) -> bool:
    """Whether everything wanted is there; AWS may add fields of its own."""
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(_covers(found.get(key), value) for key, value in wanted.items())
    if isinstance(wanted, list | tuple):
        return isinstance(found, list | tuple) and len(found) == len(wanted) and all(map(_covers, found, wanted))
    return found == wanted
