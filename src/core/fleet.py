"""Enrolment: find the fleet's targets, put in order what stands on them, give back those that left."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from core.batches import batches
from core.context import Context, Enrolment
from core.decide import decide
from core.errors import ConfigError, ObservationError, Problem, TidegateError, said
from core.instances import gpus_of, vcpus_of
from core.learning.capacity import measure, queries
from core.learning.choice import choose
from core.learning.fit import HISTORY, RECENT, belied, fit
from core.model import Capacity, Envelope, Kind, Memory, Missing, Mode, Observation, ScalableTarget, Serving
from core.native import ALARM_SUFFIX, alarm_prefix, scale_out_alarms, short, tracking_policies
from core.plan import (
    Action,
    DeleteExpiry,
    Inventory,
    PutPolicy,
    as_found,
    expiry_name,
    foreign,
    original_of,
    plan_bounds,
    plan_natives,
    plan_release,
)
from core.policy import Endpoint, Fleet, Profile
from core.ports import NativePolicy, Place, Variant
from core.reconcile import AT_ONCE, Outcome, Pass, Quota, Reconciler, Status, as_measured, enrolment_of
from core.signals import utilisation
from core.times import MINUTE

FITTED_EACH, OVERDUE = timedelta(hours=2), timedelta(hours=25)
"""A target is fitted once in its hour, however often a push wakes FleetSync in it; in any other if that had no time."""

KEPT_BACK = timedelta(seconds=20)
"""Of an invocation's time, for what follows the last look; fits are begun in its first half."""

PROFILE_TAG = "tidegate:profile"

TAG_GRACE = timedelta(minutes=30)
"""A tag that vanished must be gone in two looks this far apart: an incomplete answer releases nobody."""


NO_ROOM = (
    "ScalableTargetQuota: not enrolled, for {} of {} scalable targets of this Region are in use; "
    "have AWS raise the quota of Application Auto Scaling, then `scalable_targets` of the policy file"
)
NO_TIME = "not looked at: FleetSync had no time left; those it does not reach differ from hour to hour"
INSTANCES_STAY = (
    "its instances stay paid at zero copies: that needs managed instance scaling with MinInstanceCount 0 on its variant"
)


@dataclass(frozen=True, slots=True)
class Found:
    """What discovery found, and what it could not use."""

    enrolments: list[Enrolment]
    rejected: list[tuple[str, Outcome]]
    """Each with the name of its endpoint, which may have several, in lower case."""

    remarks: dict[ScalableTarget, str]
    """What will not be as the profile says."""


class FleetSync:
    """Enrols, repairs and releases; the only one that touches native policies and their alarms."""

    def __init__(self, reconciler: Reconciler) -> None:
        self._reconciler = reconciler
        self._ports = reconciler.ports
        self._stage = reconciler.stage
        self._quota: Quota | None = None

    def run(self, when: Pass, endpoint: str | None = None) -> tuple[Outcome, ...]:
        """Bring the fleet in line with the policy document.

        Args:
            when: time, deadline and holder of the pass.
            endpoint: look at this endpoint only (its state changed); releases wait for the full pass.
        """
        before = self._ports.store.roster()  # what another pass enrols from here on is not this one's to release
        fleet = self._ports.policies.fleet()
        lost = before is None  # then one endpoint's news is no reason to forget the others
        found = self._discover(fleet, None if lost else endpoint)
        chosen = [e for e in found.enrolments if endpoint in {None, e.endpoint_name}]
        told: dict[ScalableTarget, str] = {}
        for batch in batches(chosen if endpoint is None and not when.dry_run else (), AT_ONCE):
            told |= self._learn(batch, when)
        released = self._leavers(found, when, before or {} if endpoint is None else {})
        with suppress(ObservationError):  # then AWS alone refuses what is too much
            self._quota = Quota(self._ports.autoscaling.count(), fleet.scalable_targets)
        turns = sorted(chosen, key=lambda e: (e.target.turn(24) - when.now.hour) % 24)  # each hour others come last
        looked = {outcome.target: outcome for outcome in self._reconciler.look(turns, when, settle=self._settle)}
        remarks = {**told, **found.remarks}
        outcomes = [replace(looked[t], remark=remarks.get(t), quota=self._quota) for t in (e.target for e in chosen)]
        if not when.dry_run:
            places = {e.target: Place(e.profile_name, e.by_tag, e.endpoint_name, e.tags) for e in found.enrolments}
            self._ports.store.put_roster({**(self._ports.store.roster() or {}), **places})
            self._ports.policies.keep()
        return (*outcomes, *(outcome for _, outcome in found.rejected), *released)

    def _learn(self, enrolments: Sequence[Enrolment], when: Pass) -> dict[ScalableTarget, str]:
        """Learn of those targets whose hour of the day it is, and of new ones, while there is time; say what.

        CloudWatch keeps minutes for 15 days, so all history is one read. Without a fit the old one serves on, and then
        tracking at its own target. One that the last two hours belied is made anew in any hour (ADR 0003).
        """
        able = [e for e in enrolments if e.profile.learn != "off" or e.profile.forecasting]
        fits = self._ports.store.learned([e.target for e in able])
        memories = self._ports.store.memories([e.target for e in able])
        # What cannot be read belies no fit.
        recent = self._reconciler.fetch([utilisation.query(target) for target in fits], when.now, RECENT)
        told: dict[ScalableTarget, str] = {}
        for each in able:
            memory, old = memories[each.target], fits.get(each.target)
            try:
                measured_at = memory.measured.at if memory.measured else None
                if each.profile.learn != "off" and self._due(each, measured_at, when):
                    memory = self._measure(each, memory, when)
                    told[each.target] = _said(each.profile, memory)
                profile = as_measured(each.profile, memory)
                query, capacity = utilisation.query(each.target), profile.capacity_per_instance
                lately = recent.get(query)
                wrong = old and capacity and isinstance(lately, Observation) and belied(old, lately, capacity)
                # Of one stated to start later than the fit looks ahead, orders would be late until tomorrow.
                wrong = wrong or bool(old and profile.provisioning and old.horizons[1] * MINUTE <= profile.provisioning)
                if profile.forecasting and self._due(each, old.fitted_at if old and not wrong else None, when):
                    seen = self._ports.metrics.fetch([query], when.now, HISTORY)[query]
                    if not isinstance(seen, Observation) or not capacity:
                        continue
                    if found := fit(seen, capacity, profile.timezone, profile.start_of(memory.starts)):
                        self._ports.store.put_learned(each.target, choose(found, old, seen, profile))
            except Exception as err:  # noqa: BLE001 - it is learned in the next hour, and keeps no other target waiting
                told[each.target] = f"not learned: {said(err)}"
        return told

    def _due(self, enrolment: Enrolment, last: datetime | None, when: Pass) -> bool:
        """Whether something was never learned, or this is the target's hour for it; and there is time."""
        own_hour = when.now.hour == enrolment.target.turn(24)
        due = last is None or when.now - last > (FITTED_EACH if own_hour else OVERDUE)
        return due and self._ports.clock() < when.now + (when.deadline - when.now) / 2

    def _measure(self, enrolment: Enrolment, memory: Memory, when: Pass) -> Memory:
        """Learn what an instance serves, take into it what latency lowered since, and remember it."""
        target = enrolment.target
        wanted = queries(enrolment)
        since = max(filter(None, (memory.config_since, memory.target_changed_at)), default=when.now - HISTORY)
        seen = self._ports.metrics.fetch(wanted, when.now, min(when.now - since, HISTORY))
        used = enrolment.profile.learn == "on"  # then it takes in what the share did, which begins anew
        known = memory.measured.capacity if memory.measured else None
        before = enrolment.profile.rated(known, memory.target_factor if used else 1)
        measured = measure(
            [seen[query] for query in wanted],
            objectives=enrolment.profile.objectives,
            before=before.objectives.requests_per_instance,
            now=when.now,
            lowered_at=memory.target_changed_at,
        )
        learned = replace(memory, measured=measured, target_factor=1.0 if used else memory.target_factor)
        kept = self._ports.store.record(target, learned, when.holder, when.now)
        return replace(learned, version=memory.version + 1) if kept else memory

    def _discover(self, fleet: Fleet, only: str | None) -> Found:
        """Return what is named and what tagged endpoints host (of one endpoint); a name in the file beats a tag."""
        found, named_alike = Found([], [], {}), dict[str, ScalableTarget]()
        tagged = self._ports.serving.tagged()  # endpoint ARNs, and so the tagging API, spell names in lower case
        wanted: list[tuple[str, str, Endpoint | None]] = [(e.name, e.profile, e) for e in fleet.endpoints]
        named = {entry.name.lower() for entry in fleet.endpoints}
        wanted += [(n, t[PROFILE_TAG], None) for n, t in sorted(tagged.items()) if PROFILE_TAG in t and n not in named]
        for endpoint, profile_name, entry in wanted:
            if only is not None and endpoint.lower() != only.lower():
                continue
            try:
                profile = _profile(fleet, profile_name, endpoint, by_tag=entry is None)
                hosted = self._ports.serving.variants(endpoint)
                name = hosted[0].target.names["EndpointName"] if hosted else endpoint  # as SageMaker spells it
                if entry and name != endpoint:
                    raise _refused(endpoint, "name", endpoint, f"SageMaker spells it {name}")
                for seen in _enrolled(hosted, endpoint, entry, profile):
                    begin = alarm_prefix(seen.target, profile.kind, self._stage)
                    if (other := named_alike.setdefault(begin, seen.target)) != seen.target:
                        allowed = f"the alarms of {other.resource_id} have the same names; enrol one of the two"
                        raise _refused(endpoint, "variant", _name(seen), allowed)
                    place = Place(profile_name, entry is None, name, tagged.get(endpoint.lower(), {}))
                    what, kind = enrolment_of(fleet, seen.target, place, entry), seen.instance_type or ""
                    counts = (what.vcpus or vcpus_of(kind), what.gpus or gpus_of(kind))  # what the file states counts
                    found.enrolments.append(replace(what, vcpus=counts[0], gpus=counts[1]))
                    component = seen.serving is Serving.INFERENCE_COMPONENT
                    if component and profile.min_capacity == 0 and seen.managed_minimum != 0:
                        found.remarks[seen.target] = INSTANCES_STAY
            except TidegateError as err:
                named_target = entry and entry.target(fleet.profiles[entry.profile].serving)
                target = named_target or ScalableTarget.variant(endpoint, "*")
                # News of an endpoint that is being made or deleted is no failure: the full pass says what is missing.
                coming = only is not None and not self._ports.serving.variants(endpoint)
                # Nor is a tag: whoever may tag an endpoint could fail each pass, and roll every new policy back.
                mistagged = entry is None and isinstance(err, ConfigError)
                status = Status.WAITING if coming else Status.LEFT_ALONE if mistagged else Status.FAILED
                found.rejected.append((endpoint.lower(), Outcome(target=target, status=status, error=str(err))))
        return found

    def _settle(self, ctx: Context, when: Pass) -> Outcome:
        """Decide as any owner does, and put native policies, alarms and expiry in order beside it."""
        target, store = ctx.target, self._ports.store
        if self._ports.clock() + KEPT_BACK > when.deadline:
            return Outcome(target=target, status=Status.BUSY, error=NO_TIME)
        if self._quota and ctx.registered is None:
            if self._quota.used >= self._quota.of:
                return Outcome(target=target, status=Status.LEFT_ALONE, error=NO_ROOM.format(*self._quota))
            self._quota = self._quota._replace(used=self._quota.used + 1)
        inventory = self._inventory(target, ctx.registered, ctx.profile.kind)
        policies = self._with_alarms(ctx, inventory.policies)
        inventory = replace(inventory, policies=policies, created_at=ctx.memory.created_at)
        if not ctx.enrolment.adopt and (left := self._left_to_others(ctx, inventory, when)):
            return left
        ctx = as_found(self._reconciler.recovered(ctx), inventory.scheduled_actions, self._stage)
        original = store.original(target)
        before = original_of(inventory, self._stage, original).tracked
        ctx = replace(ctx, memory=replace(ctx.memory, before_adoption=before))
        if not ctx.memory.raised(ctx.now):
            ctx = replace(ctx, enrolment=replace(ctx.enrolment, profile=ctx.profile.left_behind(before)))
        decision = decide(ctx)
        natives: tuple[Action, ...] = ()
        if isinstance(ctx.capacity, Capacity) and ctx.capacity.in_service:
            natives = plan_natives(ctx.enrolment, self._stage, inventory, original)
        puts = tuple(action for action in natives if isinstance(action, PutPolicy))  # these need a registration
        saves = (action for action in natives if action not in puts)
        outcome = self._reconciler.carry_out(decision, (*saves, *plan_bounds(decision), *puts), when)
        if outcome.status in {Status.CHANGED, Status.UNCHANGED}:
            self._note_enrolment(ctx, self._ports.autoscaling.policies(target) if puts else inventory.policies, when)
        elif ctx.memory.missing_since and not when.dry_run:  # its tag is back
            store.record(target, replace(store.memories([target])[target], missing_since=None), when.holder, when.now)
        return outcome

    def _left_to_others(self, ctx: Context, inventory: Inventory, when: Pass) -> Outcome | None:
        """Leave alone a target on which others made policies or scheduled actions, and remember it as not ours."""
        target, others = ctx.target, foreign(inventory.policies, self._stage)
        made = [p.name for p in others] + [a.name for a in foreign(inventory.scheduled_actions, self._stage)]
        if not made:
            return None
        known, first = tracking_policies(inventory.policies, target, self._stage), ctx.memory.first_seen_at or ctx.now
        barred = replace(ctx.memory, enrolled=False, first_seen_at=first, missing_since=None, tracking=known)
        # An expiry that has fired has done its work; it would undo what others set, each quarter of an hour for ever.
        wish, name = decide(ctx), expiry_name(self._stage)
        writes = not wish.paused and wish.effective_mode(self._reconciler.mode) is Mode.ACTIVE
        ours = (action for action in inventory.scheduled_actions if writes and action.name == name)
        spent = tuple(DeleteExpiry() for a in ours if a.settings.get("StartTime", ctx.now) + 15 * MINUTE <= ctx.now)
        if spent and not when.dry_run:
            self._reconciler.apply_all(target, spent, when)
        if not when.dry_run and barred != ctx.memory:
            self._ports.store.record(target, barred, when.holder, when.now)
        names = ", ".join(sorted(made))
        error = f"left alone: others made {names}; `adopt: true` in the policy file replaces them (saved first)"
        if others:
            error += "; until then scale-in waits for their consent too"
        return Outcome(target=target, status=Status.LEFT_ALONE, error=error, actions=spent)

    def _inventory(self, target: ScalableTarget, registered: Envelope | None, *kinds: Kind) -> Inventory:
        """Read what stands on a target, with our alarms made for these kinds and those that still call a policy."""
        aas = self._ports.autoscaling
        policies = aas.policies(target) if registered else ()
        calling = tuple(name for policy in policies for name in policy.alarm_names)
        begin = {kind: alarm_prefix(target, kind, self._stage) for kind in Kind}
        prefixes = [p for kind, p in begin.items() if kind in kinds or any(name.startswith(p) for name in calling)]
        return Inventory(
            registered=registered,
            policies=policies,
            scheduled_actions=aas.scheduled_actions(target) if registered else (),
            alarms={
                name: alarm
                for prefix in prefixes
                for name, alarm in self._ports.metrics.alarms(prefix).items()
                if ALARM_SUFFIX.fullmatch(name.removeprefix(prefix))  # the prefix of `a` is also one of `a-b`
            },
        )

    def _with_alarms(self, ctx: Context, policies: tuple[NativePolicy, ...]) -> tuple[NativePolicy, ...]:
        """Return the policies with those of their alarms that exist: AAS may go on naming one that was deleted.

        Each pass reads the alarms that were noted: only if one of them is not known now, all are looked up.
        """
        lows = {policy.name for policy in ctx.memory.tracking if policy.low is not None}
        heard = ctx.scaling_out is not None or not ctx.memory.scale_out_alarms
        if heard and lows <= ctx.low_alarms.keys():
            return policies
        try:
            known = self._ports.metrics.alarm_states([name for policy in policies for name in policy.alarm_names])
        except ObservationError:  # then nobody knows that one is missing
            return policies
        return tuple(replace(p, alarm_names=tuple(n for n in p.alarm_names if n in known)) for p in policies)

    def _note_enrolment(self, ctx: Context, policies: tuple[NativePolicy, ...], when: Pass) -> None:
        """Let the owners write from now on, and note which alarms forbid them a direct scale-in while in ALARM."""
        target = ctx.target
        memory = self._ports.store.memories([target])[target]
        known = memory.of(ctx.capacity, when.now)
        noted = replace(
            known,
            enrolled=True,
            before_adoption=ctx.memory.before_adoption,
            scale_out_alarms=tuple(short(name, target) for name in scale_out_alarms(policies)),
            tracking=tracking_policies(policies, target, self._stage),
            missing_since=None,
            starts=self._ports.autoscaling.starts(target, known.config_since or known.created_at),
        )
        if noted != memory:
            self._ports.store.record(target, noted, when.holder, when.now)

    def _leavers(self, found: Found, when: Pass, may_go: Mapping[ScalableTarget, Place]) -> list[Outcome]:
        """Release enrolled targets that left the fleet, before others take the names of their alarms."""
        present, rejected = {e.target for e in found.enrolments}, {endpoint for endpoint, _ in found.rejected}
        left = ((t, p) for t, p in may_go.items() if t not in present and p.endpoint.lower() not in rejected)
        return [self.release(t, when) for t, place in left if not place.by_tag or self._gone_for_long(t, when)]

    def _gone_for_long(self, target: ScalableTarget, when: Pass) -> bool:
        memory = self._ports.store.memories([target])[target]
        if memory.missing_since is None:
            if not when.dry_run:
                with suppress(TidegateError):  # then it counts from the next look on
                    self._ports.store.record(target, replace(memory, missing_since=when.now), when.holder, when.now)
            return False
        return when.now - memory.missing_since >= TAG_GRACE

    def release(self, target: ScalableTarget, when: Pass) -> Outcome:
        """Give a target back as it was before adoption."""
        try:
            found = self._ports.autoscaling.registered([target]).get(target)
            inventory = self._inventory(target, found.envelope if found else None, *Kind)
            capacity, original = self._ports.serving.capacity(target), self._ports.store.original(target)
            if not (gone := isinstance(capacity, Missing)):
                inventory = replace(inventory, created_at=capacity.created_at)
            actions = plan_release(self._stage, inventory, original, when.now, gone=gone)
            over = [a.name for a in (original.scheduled_actions if original and not gone else ()) if a.over(when.now)]
            remark = f"not given back, for their time has passed: {', '.join(over)}" if over else None
            if when.dry_run or self._reconciler.mode is Mode.SHADOW:
                status = Status.DRY_RUN if when.dry_run else Status.SHADOW
                return Outcome(target=target, status=status, actions=actions)
            if not self._reconciler.apply_all(target, actions, when):
                return Outcome(target=target, status=Status.BUSY)
            self._ports.store.forget(target)
            return Outcome(target=target, status=Status.RELEASED, actions=actions, remark=remark)
        except Exception as err:  # noqa: BLE001 - as in `Reconciler.look`
            return Outcome(target=target, status=Status.FAILED, error=said(err))


def _enrolled(hosted: Sequence[Variant], endpoint: str, entry: Endpoint | None, profile: Profile) -> list[Variant]:
    """Return what an endpoint enrols: what the file names, else its inference components, else its variants.

    Raises:
        ConfigError: where there is none, SageMaker scales it itself, or the profile is for something else.
    """
    components = [v for v in hosted if v.serving is Serving.INFERENCE_COMPONENT]
    if entry is None:
        found = components or list(hosted)
    else:  # whatever is counted there
        wanted = entry.target(profile.serving).resource_id
        found = [v for v in hosted if v.target.resource_id == wanted]
    if not found:
        field = "inference_component" if entry and entry.inference_component else "variant"
        there = [v for v in hosted if (v in components) == (field == "inference_component")]
        names = ", ".join(sorted(_name(v) for v in there)) or "none"
        allowed = f"the endpoint's {field}s are {names}" if hosted else "no such endpoint in SageMaker"
        raise _refused(endpoint, field, f"{endpoint}/{getattr(entry, field, '*')}", allowed)
    for each in found:
        if each.serving is not profile.serving:
            allowed = f"its profile is for serving: {profile.serving}"
            raise _refused(endpoint, "profile", each.serving.value, allowed)
        if each.managed_minimum is not None and each not in components:
            names = ", ".join(map(_name, components)) or "there are none yet"
            allowed = "SageMaker scales its instances itself: enrol its inference components ({}) by their copies"
            raise _refused(endpoint, "variant", _name(each), allowed.format(names))
    return found


def _said(profile: Profile, memory: Memory) -> str:
    """Say what was learned of what an instance serves, and whether it is used."""
    found = memory.measured
    if found is None or found.capacity is None:
        return f"requests_per_instance unknown: {found.tells if found else 'busy'}"
    how = "learned" if profile.learn == "on" else "recommended"
    return f"{how}: requests_per_instance {found.capacity:g} ({found.tells})"


def _profile(fleet: Fleet, name: str, endpoint: str, *, by_tag: bool) -> Profile:
    """Return the profile that the file or a tag names. Raises ConfigError if a tag may not enrol there."""
    open_ones = [known for known, profile in sorted(fleet.profiles.items()) if profile.by_tag]
    if by_tag and name not in open_ones:
        allowed = f"the tag tidegate:profile must name a profile ({', '.join(open_ones) or 'none'})"
        raise _refused(endpoint, "profile", name, allowed)
    return fleet.profiles[name]


def _refused(endpoint: str, field: str, seen: str, allowed: str) -> ConfigError:
    return ConfigError([Problem(("endpoints", endpoint, field), seen, allowed)])


def _name(hosted: Variant) -> str:
    return [*hosted.target.names.values()][-1]
