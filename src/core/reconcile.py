"""One pass over some targets: observe, decide, plan, apply. Level-triggered: the truth is read again each time."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple, assert_never

from core import plan
from core.batches import batches
from core.context import Context, Decision, Enrolment
from core.decide import decide, loaded, silent_since
from core.errors import LeaseLostError, ObservationError, TargetBusyError, TidegateError, said
from core.model import (
    Capacity,
    Learned,
    Memory,
    Missing,
    Mode,
    Observation,
    Option,
    Override,
    Progress,
    Refusal,
    ScalableTarget,
    Signal,
)
from core.native import full, guard_alarms, owned_prefix, request_tracking
from core.policy import FORECAST_TARGET, RESTING_TARGET, Endpoint, Fleet, Profile
from core.ports import (
    Autoscaling,
    Events,
    Hosting,
    MetricQuery,
    Metrics,
    Place,
    PolicySource,
    ScheduledAction,
    Schedules,
    StateStore,
)
from core.signals import LOOKBACK, forecast, look_back, queries, queue, window
from core.signals.forecast import FRESH

SPARE = timedelta(seconds=2)
"""Kept of an invocation's time: no write starts in it, so that what was started ends before the lease does."""

SLOW_CHANGE = timedelta(minutes=10)
"""Instances start within this time; what takes longer may be AAS's repetition of a change that failed before."""

CLOCKS_APART = timedelta(minutes=1)
"""How far AAS's clock may be behind ours when a failure is matched with the write that caused it."""

AT_ONCE = 100  # whole fits in memory, of 180 kB

TURNS, LITTLE = 5, timedelta(seconds=90)
REMEMBER_EVERY = timedelta(minutes=TURNS)
"""An unchanged demand floor is written down this often, in turns: the table is billed by the write."""


class Status(StrEnum):
    """What became of a target in one pass."""

    UNCHANGED = "unchanged"
    CHANGED = "changed"
    SHADOW = "shadow"  # decided and recorded, not written
    DRY_RUN = "dry_run"
    PAUSED = "paused"
    WAITING = "waiting"  # the endpoint is not InService; the wish is planned again when it is
    BUSY = "busy"  # another pass holds the lease or was faster, or the endpoint changes; the next tick goes on
    NOT_ENROLLED = "not_enrolled"  # FleetSync comes first
    LEFT_ALONE = "left_alone"  # others' policies stand there without `adopt: true`, or a tag enrols what it may not
    RELEASED = "released"
    FAILED = "failed"


class Quota(NamedTuple):
    """How many scalable targets the Region has, and how many it may have."""

    used: int
    of: int

    @property
    def nearly_used_up(self) -> bool:
        """Whether four fifths are in use: raising a quota takes days."""
        return self.used >= 0.8 * self.of


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a pass did with one target, for logs, metrics and whoever invoked it."""

    target: ScalableTarget
    status: Status
    decision: Decision | None = None
    actions: tuple[plan.Action, ...] = ()
    error: str | None = None
    remark: str | None = None
    quota: Quota | None = None
    """As FleetSync counted it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """When a pass runs, until when it may write, and who it is."""

    now: datetime
    deadline: datetime
    holder: str
    dry_run: bool = False
    asked: bool = False
    """Whether somebody asked for it: then its decisions are kept even if they are the ones that stand."""

    tunes: bool = False
    """Whether it may write target values: only the owners of real-time and of batch targets have the right to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything outside that a pass uses. `clock` only guards the lease; decisions use the pass's own `now`."""

    policies: PolicySource
    store: StateStore
    metrics: Metrics
    autoscaling: Autoscaling
    schedules: Schedules
    serving: Hosting
    events: Events
    clock: Callable[[], datetime]


class Reconciler:
    """Runs passes for one stack."""

    def __init__(self, ports: Ports, *, stage: str, mode: Mode) -> None:
        self.ports = ports
        self.stage = stage
        self.mode = mode

    def run(
        self, selects: Callable[[Enrolment], bool], when: Pass, extra: Sequence[Override] = ()
    ) -> tuple[Outcome, ...]:
        """Look at every enrolled target that `selects` names; each is tried whatever happens to the others.

        Args:
            selects: which targets; an event names them and nothing else in it is believed.
            when: the time of the pass, its deadline and its holder's name.
            extra: overrides to assume beside the stored ones, for a dry run.

        Raises:
            ObservationError, ConfigError: when policy, table or registrations cannot be read at all.
        """
        return self.look(self.chosen(selects), when, extra)

    def chosen(self, selects: Callable[[Enrolment], bool]) -> list[Enrolment]:
        """Return the enrolled targets that `selects` names, in the order of the roster."""
        return [enrolment for enrolment in self.enrolments(self.ports.policies.fleet()) if selects(enrolment)]

    def enrolments(self, fleet: Fleet) -> tuple[Enrolment, ...]:
        """Return the roster resolved against the document; without a roster, what the document names."""
        roster = self.ports.store.roster()
        named = fleet.targets
        if roster is None:
            roster = {target: Place(e.profile, by_tag=False, endpoint=e.name) for target, e in named.items()}
        found = []
        for target, place in roster.items():
            entry = named.get(target)
            name = entry.profile if entry else place.profile
            if name in fleet.profiles and (entry or (place.by_tag and fleet.profiles[name].by_tag)):
                found.append(enrolment_of(fleet, target, place._replace(profile=name), entry))
        return tuple(found)

    def look(
        self,
        enrolments: Sequence[Enrolment],
        when: Pass,
        extra: Sequence[Override] = (),
        settle: Callable[[Context, Pass], Outcome] | None = None,
    ) -> tuple[Outcome, ...]:
        """Observe these targets and settle each: decide, plan and apply, unless FleetSync brings its own way."""
        outcomes, found = [], self.observe(enrolments, when.now, extra)
        endpoints = Counter(_changed(seen) for seen in found)  # of its variants one changes at a time, and for minutes
        for seen in sorted(found, key=lambda seen: endpoints[_changed(seen)] > 1 and _gives_back(seen)):
            if isinstance(seen, Outcome):
                outcomes.append(seen)
                continue
            try:
                outcomes.append((settle or self._settle)(seen, when))
            except Exception as err:  # noqa: BLE001 - a mistake of ours on one target must not cost the others theirs
                outcomes.append(Outcome(target=seen.target, status=Status.FAILED, error=said(err)))
        return tuple(outcomes)

    def observe(
        self, enrolments: Sequence[Enrolment], now: datetime, extra: Sequence[Override] = ()
    ) -> list[Context | Outcome]:
        """Read the truth about these targets; one that cannot be read gives an outcome instead of a context."""
        if not enrolments:
            return []
        targets = [enrolment.target for enrolment in enrolments]
        found: list[Context | Outcome] = []
        counts: dict[ScalableTarget, Capacity | Missing] = {}
        for target, read in self.ports.serving.running(targets, now).items():
            if isinstance(read, ObservationError):
                found.append(Outcome(target=target, status=Status.FAILED, error=str(read)))
            else:
                counts[target] = read
        memories = {t: m.of(counts.get(t, Missing("")), now) for t, m in self.ports.store.memories(targets).items()}
        rated = [replace(e, profile=as_measured(e.profile, memories[e.target])) for e in enrolments]
        enrolments, learned = self._learned(rated, memories, now)
        wishes = [wish for wish in (*self.ports.store.overrides(), *extra) if now < wish.expires_at]
        registered = self.ports.autoscaling.registered(targets)
        own = {enrolment.target: guard_alarms(enrolment, self.stage) for enrolment in enrolments}
        names = [
            *(n for each in own.values() for n in each.values()),
            *(full(n, target) for target, m in memories.items() for n in (*m.scale_out_alarms, *_lows(m).values())),
        ]
        alarms: Mapping[str, str] = {}
        unheard: Mapping[Signal, Missing] = {}
        try:
            alarms = self.ports.metrics.alarm_states(sorted(set(names)))
        except ObservationError as err:  # what an alarm had raised is held as if a metric were missing
            unheard = {Signal.ALARMS: Missing(str(err))}
        seen = [e for e in enrolments if e.target in counts]
        heard = {e.target: _known(own[e.target], alarms) for e in seen}
        awake = [e for e in seen if not queue.asleep(e, counts[e.target], heard[e.target])]
        signals = self._signals(awake, memories, now, learned)
        progress = self._progress(seen, now)
        for enrolment in seen:
            target = enrolment.target
            memory, stands = memories[target], registered.get(target)
            ctx = Context(
                now=now,
                enrolment=replace(enrolment, profile=enrolment.profile.started(memory.starts)),
                capacity=counts[target],
                registered=stands.envelope if stands else None,
                suspended=stands.suspended if stands else (),
                signals={**signals.get(target, {}), **(unheard if own[target] else {})},
                scaling_out=_any_in_alarm([full(name, target) for name in memory.scale_out_alarms], alarms),
                memory=memory,
                learned=learned.get(target),
                overrides=tuple(wish for wish in wishes if enrolment.under(wish)),
                alarms=heard[target],
                progress=progress.get(target, {}),
                low_alarms=_known({what: full(n, target) for what, n in _lows(memory).items()}, alarms),
            )
            found.append(replace(ctx, refusal=self._refusal(ctx)))
        return found

    def _refusal(self, ctx: Context) -> Refusal | None:
        """Ask AAS why the floor that stands is not reached; while a change is in flight, why one before it failed."""
        capacity, since = ctx.capacity, ctx.memory.written_at
        if isinstance(capacity, Missing) or ctx.registered is None:
            return None
        if capacity.current >= max(ctx.registered.floor, capacity.desired):
            return None
        if not capacity.settled:
            if since is not None and ctx.now - since < SLOW_CHANGE:
                return None
            since = ctx.now - 2 * SLOW_CHANGE
        with suppress(ObservationError):  # then it is only not named
            found = self.ports.autoscaling.refusal(ctx.target)
            if found and (since is None or found.at >= since - CLOCKS_APART):
                return found
        return None

    def _learned(
        self, enrolments: Sequence[Enrolment], memories: Mapping[ScalableTarget, Memory], now: datetime
    ) -> tuple[Sequence[Enrolment], Mapping[ScalableTarget, Learned]]:
        """Return what fresh fits say of these minutes, and the enrolments, with the target that was raised for one."""
        able = {e.target: profile for e in enrolments if (profile := e.profile.forecasting)}
        found: dict[ScalableTarget, Learned] = {}
        for targets in batches(able, AT_ONCE):
            fits = self.ports.store.learned(targets)
            found |= {target: forecast.around(fit, now) for target, fit in fits.items() if now - fit.fitted_at <= FRESH}
        chosen = (target for target, fit in found.items() if fit.chosen is Option.FORECAST)
        by_forecast = {target for target in chosen if memories[target].raised(now)}
        return [replace(e, profile=able[e.target]) if e.target in by_forecast else e for e in enrolments], found

    def _signals(
        self,
        enrolments: Sequence[Enrolment],
        memories: Mapping[ScalableTarget, Memory],
        now: datetime,
        learned: Mapping[ScalableTarget, Learned],
    ) -> Mapping[ScalableTarget, Mapping[Signal, Observation | Missing]]:
        """Fetch all metrics in one read."""
        wanted = {e.target: queries(e, working=memories[e.target].rate_at is not None) for e in enrolments}
        flat = [query for each in wanted.values() for query in each.values()]
        spans = [look_back(enrolment.profile) for enrolment in enrolments]
        span = max([*spans, *(forecast.span(each, now) for each in learned.values())], default=timedelta(0))
        seen = self.fetch(flat, now, span)
        return {target: {signal: seen[query] for signal, query in each.items()} for target, each in wanted.items()}

    def _progress(
        self, enrolments: Sequence[Enrolment], now: datetime
    ) -> Mapping[ScalableTarget, Mapping[str, Progress | Missing]]:
        """Fetch how much of the open windows' work is done; asked from CloudWatch each time, it cannot be lost."""
        open_work = [(e, window.query(e), o) for e in enrolments if (o := window.work_since(e, now))]
        begun = min((opening.start for _, _, found in open_work for opening in found), default=now)
        seen = self.fetch([query for _, query, _ in open_work], now, now - begun + LOOKBACK)
        return {
            e.target: {o.window.name: window.progress(e, o, seen[query]) for o in found}
            for e, query, found in open_work
        }

    def fetch(
        self, wanted: Sequence[MetricQuery], now: datetime, span: timedelta
    ) -> Mapping[MetricQuery, Observation | Missing]:
        """Fetch these metrics in one read; if it fails they are missing, and ends of windows still apply."""
        try:
            return self.ports.metrics.fetch(wanted, now, span)
        except ObservationError as err:
            return dict.fromkeys(wanted, Missing(str(err)))

    def _settle(self, ctx: Context, when: Pass) -> Outcome:
        """Decide, plan and apply for one target, unless FleetSync must come first."""
        ctx = self.recovered(ctx)
        decision = decide(ctx)
        writes = decision.effective_mode(self.mode) is Mode.ACTIVE
        if writes and not (ctx.memory.enrolled and ctx.registered is not None):
            return Outcome(target=ctx.target, status=Status.NOT_ENROLLED, decision=decision)
        tuned = plan.plan_target(decision, self.stage) if when.tunes else ()  # the floor first: it acts at once
        return self.carry_out(decision, (*plan.plan_bounds(decision), *tuned), when)

    def recovered(self, ctx: Context) -> Context:
        """Return what stands on a target without any state that carries our policies: only the table was lost.

        It is enrolled, and latency allows no more than the request target that stands: unknown never raises one. Beside
        a schedule it may be one that a forecast raised: then no more than what it falls back to, or was raised from.
        """
        if ctx.memory.first_seen_at is not None or ctx.registered is None:
            return ctx
        have = {policy.name: policy for policy in self.ports.autoscaling.policies(ctx.target)}
        if not any(name.startswith(owned_prefix(self.stage)) for name in have):
            return ctx
        pairs = [(have[p.name].target, p.target) for p in request_tracking(ctx.enrolment, self.stage) if p.name in have]
        left = self.ports.schedules.left_behind(ctx.target) if pairs else None
        least = ((min(at, max(left or at, at * RESTING_TARGET / FORECAST_TARGET)), own) for at, own in pairs)
        share = min([1.0, *(round(at / own, 4) for at, own in least)])
        memory = replace(ctx.memory, enrolled=True, target_factor=share, target_changed_at=ctx.now)
        return replace(ctx, memory=memory, enrolment=replace(ctx.enrolment, profile=ctx.profile.rated(None, share)))

    def carry_out(self, decision: Decision, actions: tuple[plan.Action, ...], when: Pass) -> Outcome:
        """Apply the plan under the target's lease, or say what would be done; remember and record the decision."""
        ctx = decision.context
        status = self._status(decision, actions, when)
        outcome = Outcome(target=ctx.target, status=status, decision=decision, actions=actions, error=_broken(ctx))
        if status is Status.DRY_RUN:
            return outcome
        memory = _remembered(decision)
        if status is Status.CHANGED:
            if not self._claim(ctx.target, ctx.memory, when):
                return replace(outcome, status=Status.BUSY, actions=())
            try:
                for action in actions:
                    memory = self._apply(action, ctx.target, memory, when)
            except TidegateError as err:
                late = isinstance(err, TargetBusyError)
                outcome = replace(outcome, status=Status.BUSY if late else Status.FAILED, error=str(err))
        if status is Status.CHANGED or memory != ctx.memory:
            self.ports.store.record(ctx.target, memory, when.holder, when.now)
        news = outcome.error or any(not isinstance(action, plan.PutFallback) for action in actions)  # a renewal is none
        if news or when.asked or (memory.decided, memory.reason) != (ctx.memory.decided, ctx.memory.reason):
            self.ports.store.put_decision(decision, outcome.status.value)
        return outcome

    def apply_all(self, target: ScalableTarget, actions: Sequence[plan.Action], when: Pass) -> bool:
        """Apply a plan that no decision stands behind (a release). False if somebody else holds the lease."""
        memory = self.ports.store.memories([target])[target]
        if not self._claim(target, memory, when):
            return False
        for action in actions:
            self._apply(action, target, memory, when)
        return True

    def _claim(self, target: ScalableTarget, memory: Memory, when: Pass) -> bool:
        return self.ports.store.claim(target, memory.version, when.holder, when.now, when.deadline + SPARE)

    def _status(self, decision: Decision, actions: tuple[plan.Action, ...], when: Pass) -> Status:
        capacity = decision.context.capacity
        if when.dry_run:
            return Status.DRY_RUN
        if decision.paused:
            return Status.PAUSED
        if not actions:
            ready = isinstance(capacity, Capacity) and capacity.in_service
            return Status.UNCHANGED if ready else Status.WAITING
        return Status.SHADOW if decision.effective_mode(self.mode) is Mode.SHADOW else Status.CHANGED

    def _apply(  # noqa: C901, PLR0911, PLR0912 - one branch an action, nothing nested
        self, action: plan.Action, target: ScalableTarget, memory: Memory, when: Pass
    ) -> Memory:
        """Make one change and return what to remember of it; refused once the lease is over."""
        if self.ports.clock() >= when.deadline:
            raise LeaseLostError(
                f"{when.holder}: no time left to write after {when.deadline:%H:%M:%S}Z; the next tick goes on"
            )
        aas = self.ports.autoscaling
        match action:
            case plan.SetBounds(envelope, because):
                aas.register(target, envelope)
                tries = 0 if because == "differs" else memory.tries + 1
                return replace(memory, written=envelope, written_at=when.now, tries=tries)
            case plan.PutExpiry(at):
                aas.put_scheduled_action(target, ScheduledAction(plan.expiry_name(self.stage), action.settings))
                return replace(memory, expires_at=at)
            case plan.DeleteExpiry():
                aas.delete_scheduled_action(target, plan.expiry_name(self.stage))
                return replace(memory, expires_at=None)
            case plan.SetCount(count):
                self.ports.serving.set_count(target, count)
            case plan.SaveOriginal(original):
                self.ports.store.put_original(target, original)
            case plan.PutPolicy(policy):
                arn = aas.put_policy(target, policy)
                if policy.alarm is not None:
                    self.ports.metrics.put_alarm({**policy.alarm, "AlarmActions": [arn]})
            case plan.PutTarget(policy, factor):
                aas.put_policy(target, policy)
                changed_at = when.now if factor != memory.target_factor else memory.target_changed_at
                return replace(memory, target_factor=factor, target_changed_at=changed_at, tracked=policy.target)
            case plan.PutFallback(policy, at):
                self.ports.schedules.put(target, policy, at)
                # Until the target itself is written nothing is above the profile's own.
                return replace(memory, falls_back_at=at, tracked=memory.tracked if memory.raised(when.now) else None)
            case plan.DeleteFallback():
                self.ports.schedules.delete(target)
                return replace(memory, falls_back_at=None)
            case plan.PutAlarm(alarm):
                self.ports.metrics.put_alarm(alarm)
            case plan.DeletePolicy(name):
                aas.delete_policy(target, name)
            case plan.PutScheduledAction(scheduled):
                aas.put_scheduled_action(target, scheduled)
            case plan.DeleteScheduledAction(name):
                aas.delete_scheduled_action(target, name)
            case plan.DeleteAlarms(names):
                self.ports.metrics.delete_alarms(names)
            case plan.Deregister():
                aas.deregister(target)
            case _:
                assert_never(action)
        return memory


def enrolment_of(fleet: Fleet, target: ScalableTarget, place: Place, entry: Endpoint | None) -> Enrolment:
    """Return the rules that a target falls under where it belongs; `entry` is what names it, if it is no tag."""
    return Enrolment(
        target=target,
        profile_name=place.profile,
        profile=fleet.profiles[place.profile],
        endpoint=place.endpoint,
        fleet_max=fleet.max_capacity,
        vcpus=entry.vcpus if entry else None,
        gpus=entry.gpus if entry else None,
        adopt=entry.adopt if entry else False,
        by_tag=entry is None,
        tags=dict(place.tags),
    )


def as_measured(profile: Profile, memory: Memory) -> Profile:
    """Return the profile as what was measured of its instances has it."""
    measured = memory.measured.capacity if memory.measured and profile.learn == "on" else None
    return profile.rated(measured, memory.target_factor)


def _remembered(decision: Decision) -> Memory:
    """Return the memory this decision leaves; a demand floor is only remembered when demand was measured."""
    ctx = decision.context
    memory = replace(
        queue.remember(ctx),
        first_seen_at=ctx.memory.first_seen_at or ctx.now,
        decided=decision.envelope,
        reason=decision.reason,
        silent_since=silent_since(ctx),
    )
    if isinstance(ctx.capacity, Capacity) and ctx.capacity.settled and ctx.capacity.desired != memory.count:
        memory = replace(memory, count=ctx.capacity.desired, tries=0)
    if isinstance(ctx.capacity, Capacity) and ctx.capacity.current != memory.ready:
        memory = replace(memory, ready=ctx.capacity.current, ready_since=ctx.now)
    if loaded(ctx) and (memory.overloaded_at is None or ctx.now - memory.overloaded_at >= REMEMBER_EVERY):
        memory = replace(memory, overloaded_at=ctx.now)
    age = ctx.now - memory.demand_at if memory.demand_at else REMEMBER_EVERY
    due = ctx.target.turn(TURNS) == ctx.now.minute % TURNS and age > LITTLE
    fresh = age < REMEMBER_EVERY and not due
    if ctx.unknown or (fresh and memory.demand_floor == decision.demand_floor):
        return memory
    return replace(memory, demand_floor=decision.demand_floor, demand_at=ctx.now)


def _broken(ctx: Context) -> str | None:
    """Say of an endpoint that is in trouble that nothing is written to it; other changes just take their time."""
    status = ctx.capacity.status if isinstance(ctx.capacity, Capacity) else ""
    if not status.endswith(("Failed", "OutOfService")):
        return None
    return f"{_changed(ctx).replace('/', ' ')} is {status}: nothing is written until a deployment brings it InService"


def _changed(seen: Context | Outcome) -> str:
    """Return what a change of capacity keeps busy: the endpoint of a variant, or an inference component itself."""
    return seen.target.resource_id.split("/variant/")[0]


def _gives_back(seen: Context | Outcome) -> bool:
    with suppress(Exception):  # a mistake of ours is told when the target is settled
        return isinstance(seen, Context) and decide(seen).scale_in_to is not None
    return False


def _lows(memory: Memory) -> Mapping[str, str]:
    """Return the alarms by which tracking policies agree to scale in, by policy."""
    return {policy.name: policy.low for policy in memory.tracking if policy.low is not None}


def _known(names: Mapping[str, str], states: Mapping[str, str]) -> Mapping[str, str]:
    return {what: states[name] for what, name in names.items() if name in states}


def _any_in_alarm(names: Sequence[str], states: Mapping[str, str]) -> bool | None:
    """Whether one of these alarms is in ALARM; None if there are none or one of them is not known."""
    if not names or any(name not in states for name in names):
        return None
    return any(states[name] == "ALARM" for name in names)
