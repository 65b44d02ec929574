"""The fold: an ordered list of rules turns what was seen into one decision that explains itself.

To learn why a target has its capacity, read the steps of its decision beside `RULES`; each rule is one function.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise

from core.context import EXPIRY, ORDER_EXPIRY, Context, Decision
from core.model import (
    LESS_EACH,
    Capacity,
    Envelope,
    Kind,
    Observation,
    Option,
    OverrideAction,
    Reason,
    Recommendation,
    Scope,
    Signal,
    Step,
)
from core.overrides import in_force
from core.policy_scaling import StepScaling
from core.signals import LOOKBACK, recommendations
from core.signals.forecast import HELD, foresee, price_of, silent, usual_floor
from core.signals.utilisation import instances
from core.signals.window import needs

HOLD_UNKNOWN = timedelta(minutes=60)
"""How long the last known demand floor is held when metrics are missing."""

AT_CEILING = 0.98
"""Share of what runs that was used in a minute, from which on more may have been turned away (algorithms 7)."""

SHOWN_AFTER = timedelta(minutes=4)
"""Until metrics and alarms speak of instances that just began to serve: a whole minute, and its way to CloudWatch."""

MORE_EACH, LEAST_FACTOR, RAISED_EACH = 1.05, 0.5, timedelta(hours=24)
"""A request target that was lowered rises by 5 % a day at most (algorithms 2), and never fell below half."""

NEARLY, DRAINED = 0.95, timedelta(minutes=30)
"""From this share of `c` on load explains a latency, and so long after what still waits may (algorithms 2)."""

RETURNING = 1.25
"""Of what is usual, held through an outage: who was kept out tries again beside those who come anyway."""

LONGEST_GAP = timedelta(minutes=3)
"""Between two measured minutes, for a direct scale-in to be certain of those between them (algorithms 8)."""

Rule = Callable[[Context, Envelope], Step | None]


def decide(ctx: Context) -> Decision:
    """Fold the rules over the policy's own envelope; their order is their precedence (ADR 0001)."""
    wanted = ctx.policy_envelope
    steps: list[Step] = []
    for rule in RULES:
        if step := rule(ctx, wanted):
            steps.append(step)
            wanted = step.after
    # A ceiling that holds native policies back outlives us much shorter than other bounds, a window's too (ADR 0002).
    ordering = any(step.reason is Reason.ORDER_NOT_SHOWN for step in steps)
    ends = [s.valid_until for s in steps if s.valid_until and not (ordering and s.rule == "windows")]
    asked = next(step for step in reversed(steps) if step.rule in {"demand", "guard", "forecast", "outage"})
    return Decision(
        context=ctx,
        envelope=wanted,
        steps=tuple(steps),
        desired=asked.after.floor,
        scale_in_to=_direct_scale_in(
            ctx, wanted, foreseen=any(step.seen.get("chosen") == Option.FORECAST for step in steps)
        ),
        target_factor=_target_factor(ctx),
        paused=any(step.reason is Reason.OVERRIDE_PAUSE for step in steps),
        valid_until=max([ctx.now + (ORDER_EXPIRY if ordering else EXPIRY), *ends]),
    )


def demand(ctx: Context, wanted: Envelope) -> Step:
    """Raise the floor to what the newest minute needs: the highest of the policy minimum and each signal.

    Where that is more than was ordered, the order is as large as target tracking would make it: nothing else can be
    ordered until it has come, and AAS's own order, two minutes later, would be refused.
    """
    best = max(newest(ctx), key=lambda r: r.floor, default=None)
    if best is None or best.floor <= wanted.floor:
        seen = dict(best.seen) if best else {}
        return Step(rule="demand", reason=Reason.POLICY_MINIMUM, before=wanted, after=wanted, seen=seen)
    floor = best.floor
    fits = ctx.profile.kind is Kind.REALTIME and ctx.refusal is None  # what was refused is not asked for twice over
    if fits and isinstance(ctx.capacity, Capacity) and floor > ctx.capacity.desired:
        floor = max(floor, best.settled)
    return Step(rule="demand", reason=best.reason, before=wanted, after=_raised(wanted, floor), seen=best.seen)


def guard(ctx: Context, wanted: Envelope) -> Step | None:
    """Answer demand that no request shows, because it waits or was turned away: double what runs (algorithms 7).

    Latency above the objective, by itself, asks for what runs divided by 0.85. The rule is part of demand, and stands
    before `stabilize`, which compares measured needs only.
    """
    if ctx.profile.kind is not Kind.REALTIME or ctx.profile.queue or not isinstance(ctx.capacity, Capacity):
        return None  # what works off a queue is always at its ceiling
    ready, load = ctx.capacity.current, ctx.requests
    ringing = {name for name, state in ctx.alarms.items() if state == "ALARM"}
    each = ctx.profile.objectives.requests_per_instance  # a declared target is not what an instance can serve
    at_ceiling = bool(load and each and load >= AT_CEILING * ready * each)
    # Failures alone say nothing of demand: without a known load a broken model would climb to the maximum.
    saturated = at_ceiling or bool(ringing & {"saturation", "slow", "congested", *(["errors"] if load else [])})
    if not saturated and "latency" not in ringing:
        return None
    floor = _escape(ctx, ctx.capacity, 2 * ready if saturated else instances(ready, LESS_EACH))
    if floor <= wanted.floor:
        return None
    return Step(
        rule="guard",
        reason=Reason.SATURATED if saturated else Reason.LATENCY_ABOVE_OBJECTIVE,
        before=wanted,
        after=_raised(wanted, floor),
        seen={
            "ready": float(ready),
            **({} if load is None else {"requests_per_minute": load}),
            **({} if each is None else {"requests_per_instance": each}),
            **({"alarms": ", ".join(sorted(ringing))} if ringing else {}),
        },
    )


def forecast(ctx: Context, wanted: Envelope) -> Step | None:
    """Raise the floor to what is worth having when an order placed now serves; keep what later minutes want too.

    Unknown minutes leave it to the other rules: a forecast never lowers what they ask for (algorithms 6).
    """
    seen, capacity = ctx.signals.get(Signal.REQUESTS), ctx.capacity
    each, price = ctx.profile.capacity_per_instance, ctx.profile.forecast_price
    if ctx.learned is None or each is None or not isinstance(seen, Observation) or not isinstance(capacity, Capacity):
        return None
    found = foresee(ctx.learned, seen, capacity=each, price=price)
    if found is None:
        return None
    return Step(
        rule="forecast",
        reason=Reason.FORECAST,
        before=wanted,
        after=_raised(wanted, found.floor(capacity.desired)),
        seen={
            "chosen": ctx.learned.chosen.value,
            "fit": f"{ctx.learned.fitted_at:%Y-%m-%dT%H:%MZ}",
            "price": round(price_of(ctx.learned, price), 1),
            "order_below": float(found.order),
            "order_up_to": float(found.up_to),
            "keep": float(found.keep),
        },
    )


def outage(ctx: Context, wanted: Envelope) -> Step | None:
    """Hold what is usual at this time while traffic is away: those who were kept out come back all at once."""
    since, each = silent_since(ctx), ctx.profile.capacity_per_instance
    if since is None or ctx.now - since > HELD or ctx.learned is None or each is None:
        return None
    floor = usual_floor(ctx.learned, ctx.now, each / RETURNING)
    seen = {"usual": float(floor), "minutes_silent": (ctx.now - since).total_seconds() / 60}
    return Step(rule="outage", reason=Reason.OUTAGE_HOLD, before=wanted, after=_raised(wanted, floor), seen=seen)


def silent_since(ctx: Context) -> datetime | None:
    """Return since when traffic has been away that is usual; unknown minutes neither begin nor end that.

    A batch that ends early is done: nobody was kept out.
    """
    if ctx.profile.kind is Kind.BATCH:
        return None
    since, seen, each = ctx.memory.silent_since, ctx.signals.get(Signal.REQUESTS), ctx.profile.capacity_per_instance
    if ctx.learned is None or each is None or not isinstance(seen, Observation):
        return since
    away = silent(ctx.learned, seen, each, fell=since is not None)
    return since if away is None else (since or ctx.now) if away else None


def _escape(ctx: Context, capacity: Capacity, floor: int) -> int:
    """Return the floor that hidden demand may ask for.

    While a change is under way, or nothing measured shows its result yet, that is the count ordered: whoever ordered
    it, tracking may see little load and take it back. A known load below half of what runs could serve was not turned
    away for want of capacity: then twice what the load needs is enough, or repeated doubling would never end.
    """
    load, each = ctx.requests, ctx.profile.capacity_per_instance
    if not _shown(ctx, capacity):
        return capacity.desired
    if load is not None and each is not None and load < capacity.current * each / 2:
        return min(floor, 2 * instances(load, each))
    return floor


def _shown(ctx: Context, capacity: Capacity) -> bool:
    """Whether no change is under way, and metrics and alarms speak of what serves now."""
    since = ctx.memory.ready_since
    seen = since is not None and ctx.memory.ready == capacity.current and ctx.now - since >= SHOWN_AFTER
    return capacity.settled and seen


def stabilize(ctx: Context, wanted: Envelope) -> Step | None:
    """Let the floor fall only to the highest floor of the stabilization window.

    The window is recomputed from the points fetched, so nothing needs to be remembered. A target that was first
    seen, or whose state was lost, within the window lowers nothing that is registered.
    """
    since = (ctx.now - ctx.profile.stabilization).replace(second=0, microsecond=0)  # whichever second a pass runs at
    peak = max(recommendations(ctx, since), key=lambda r: r.floor, default=None)
    if peak is not None and peak.floor > wanted.floor:
        stands = ctx.registered is not None and ctx.registered.floor >= peak.floor
        return Step(
            rule="stabilize",
            reason=Reason.SCALE_IN_STABILIZED if stands else peak.reason,  # else it is owed since that minute
            before=wanted,
            after=_raised(wanted, peak.floor),
            seen={**peak.seen, "minutes_ago": (ctx.now - peak.at).total_seconds() / 60},
        )
    return None


def hold_unknown(ctx: Context, wanted: Envelope) -> Step | None:
    """Lower nothing for want of knowledge: missing metrics hold the last known floor, a lost state what stands.

    The last known demand floor is held for 60 minutes, then what is usual, where a fit knows it, or the policy minimum.
    """
    memory, registered = ctx.memory, ctx.registered
    if ctx.state_lost and registered is not None:
        held = Envelope(max(wanted.floor, registered.floor), max(wanted.ceiling, registered.ceiling))
        return Step(rule="hold_unknown", reason=Reason.STATE_LOST, before=wanted, after=held)
    if not ctx.unknown:
        return None
    known = memory.demand_floor if memory.demand_at and ctx.now - memory.demand_at <= HOLD_UNKNOWN else None
    if known is None and ctx.learned is not None and ctx.profile.capacity_per_instance is not None:
        known = usual_floor(ctx.learned, ctx.now, ctx.profile.capacity_per_instance)
    held = _raised(wanted, known or 0)
    if isinstance(ctx.capacity, Capacity):
        held = Envelope(held.floor, max(held.ceiling, ctx.capacity.desired))
    why = {signal.value: missing.why for signal, missing in ctx.unknown.items()}
    return Step(rule="hold_unknown", reason=Reason.METRICS_UNKNOWN, before=wanted, after=held, seen=why)


def windows(ctx: Context, wanted: Envelope) -> Step | None:
    """Apply the open and the pre-warming windows: the highest floor, the lowest ceiling, the floor wins.

    A ceiling holds from the start on and gives way to demand, unless it is 0: then only a window's floor opens.
    """
    found = [need for need in needs(ctx) if need.left != 0]
    if not found:
        return None
    top = max(found, key=lambda n: (n.floor, n.opening.start <= ctx.now, n.opening.window.name))
    closings = [n.opening.window.max_capacity for n in found if n.opening.start <= ctx.now]
    ceiling = min([wanted.ceiling, *(closing for closing in closings if closing is not None)])
    floor = max(wanted.floor if ceiling else 0, top.floor)
    return Step(
        rule="windows",
        reason=Reason.WINDOW_OPEN if top.opening.start <= ctx.now else Reason.WINDOW_PREWARMING,
        before=wanted,
        after=Envelope(floor, max(floor, ceiling)),
        seen={
            "window": top.opening.window.name,
            "min_capacity": float(top.floor),
            **({} if top.left is None else {"left": top.left}),
            "ends": f"{top.opening.end:%Y-%m-%dT%H:%MZ}",
        },
        valid_until=max(n.opening.closes for n in found),
    )


def override(ctx: Context, wanted: Envelope) -> Step | None:
    """Let the override of the narrowest scope have its way, of several the newest."""
    chosen = next(iter(in_force(ctx.overrides, ctx.now)), None)
    if chosen is None:
        return None
    asked = chosen.capacity or 0
    limited = Envelope(min(wanted.floor, asked), min(wanted.ceiling, asked))
    after, reason = {
        OverrideAction.PIN: (Envelope(asked, asked), Reason.OVERRIDE_PIN),
        OverrideAction.FLOOR: (_raised(wanted, asked), Reason.OVERRIDE_FLOOR),
        OverrideAction.CEILING: (limited, Reason.OVERRIDE_CEILING),
        OverrideAction.PAUSE: (wanted, Reason.OVERRIDE_PAUSE),
    }[chosen.action]
    seen: dict[str, float | str] = {"id": chosen.override_id, "by": chosen.requested_by, "because": chosen.reason}
    if chosen.scope is not Scope.TARGET:
        seen["scope"] = " ".join(filter(None, chosen.place))
    return Step(rule="override", reason=reason, before=wanted, after=after, seen=seen, valid_until=chosen.expires_at)


def echo(ctx: Context, wanted: Envelope) -> Step | None:
    """Keep native policies from answering once more what an order of ours has answered.

    Raising MinCapacity starts no cooldown (facts 2.3). When the instances have come, the alarm still rings with the
    load each of the few had before, and tracking multiplies it by the many that are there now: five that a load of
    seven had called became 77. So an order brings a ceiling of twice its floor, which stands until metrics show it; for
    a queue, whose backlog an instance may have many times over, a ceiling of its floor: 15 became 100. A queue has it
    also while its backlog is above the target that we gave AAS, which knows no ages and orders what is not needed yet.
    So has an order by a forecast of a load that can be seen: on a ramp AAS would order one more as soon as it has come,
    and nothing else could be ordered for as long as that one takes.
    """
    capacity, registered, waiting = ctx.capacity, ctx.registered, ctx.waiting
    target, load = ctx.profile.settling_target, ctx.requests
    if not isinstance(capacity, Capacity) or (waiting is None and (target is None or load is None)):
        return None
    if any(wish.action is OverrideAction.FLOOR for wish in in_force(ctx.overrides, ctx.now)[:1]):
        return None  # what is left behind lasts as long as the override then, under a pause too
    ordering = wanted.floor > capacity.desired
    early = target is not None and ctx.profile.policies is None and (waiting or 0) > capacity.current * target > 0
    each = ctx.profile.capacity_per_instance
    foreseen = ctx.learned is not None and ctx.learned.chosen is Option.FORECAST
    hidden = not load or not each or load >= AT_CEILING * capacity.current * each
    if early or (ordering and (waiting or (foreseen and not hidden))):
        ceiling = wanted.floor
    elif ordering and load and target and load > capacity.current * target > 0:
        ceiling = 2 * wanted.floor
    elif registered is not None and ctx.scaling_out is not False and not _shown(ctx, capacity):
        ceiling = registered.ceiling
    else:
        return None
    after = Envelope(wanted.floor, min(wanted.ceiling, max(ceiling, wanted.floor, capacity.desired)))
    return None if after == wanted else Step(rule="echo", reason=Reason.ORDER_NOT_SHOWN, before=wanted, after=after)


def bounds(ctx: Context, wanted: Envelope) -> Step | None:
    """Let nothing escape: at most the policy maximum and the fleet's cap, at least the lowest minimum of the kind."""
    highest = ctx.policy_envelope.ceiling
    lowest = min(ctx.profile.serving.lowest, highest)
    floor = min(max(wanted.floor, lowest), highest)
    after = Envelope(floor, min(max(wanted.ceiling, floor), highest))
    if after == wanted:
        return None
    limited = wanted.ceiling > after.ceiling or wanted.floor > after.floor
    reason = Reason.LIMITED_BY_MAX_CAPACITY if limited else Reason.LIMITED_BY_MIN_CAPACITY
    seen = {"lowest": float(lowest), "highest": float(highest)}
    return Step(rule="bounds", reason=reason, before=wanted, after=after, seen=seen)


def refused(ctx: Context, wanted: Envelope) -> Step | None:
    """Name why AAS could not reach the floor that stands, and when it is asked again; nothing is lowered for it."""
    if ctx.refusal is None:
        return None
    seen: dict[str, float | str] = {
        "code": ctx.refusal.code,
        "text": ctx.refusal.text,
        "next_try": f"{max(ctx.now, ctx.next_try):%Y-%m-%dT%H:%MZ}",
    }
    return Step(rule="refused", reason=Reason.CAPACITY_REFUSED, before=wanted, after=wanted, seen=seen)


def deadline(ctx: Context, wanted: Envelope) -> Step | None:
    """Name the window whose work is late with what it may have, and when it could be done; it moves nothing."""
    most = wanted.ceiling
    if ctx.refusal and isinstance(ctx.capacity, Capacity):
        most = min(most, ctx.capacity.current)
    for need in needs(ctx):
        finish = need.finish(ctx, most)
        if need.left and (finish is None or finish > need.opening.end):
            seen: dict[str, float | str] = {
                "window": need.opening.window.name,
                "left": need.left,
                "finish_by": f"{need.opening.end:%Y-%m-%dT%H:%MZ}",
                "earliest_finish": "none" if finish is None else f"{finish:%Y-%m-%dT%H:%MZ}",
                "instances": float(min(need.floor, most)),
            }
            return Step(rule="deadline", reason=Reason.DEADLINE_AT_RISK, before=wanted, after=wanted, seen=seen)
    return None


def blocked(ctx: Context, wanted: Envelope) -> Step | None:
    """Name what holds scale-in back while more runs than the floor; it moves nothing (facts 2.4, 2.5).

    AAS scales in only if every tracking policy that may do so sees little load: one whose metric is silent never does.
    """
    if not isinstance(ctx.capacity, Capacity) or ctx.capacity.desired <= wanted.floor:
        return None
    why: dict[str, str] = {}
    tracking, native = ctx.memory.tracking, ctx.profile.native_policies
    steps_in = any(s.change < 0 for p in native if isinstance(p, StepScaling) for s in p.steps)
    alone = all(policy.disabled for policy in tracking) and not steps_in and ctx.profile.settling_target is None
    for policy in tracking:
        state = ctx.low_alarms.get(policy.name)
        if policy.disabled:
            why |= {policy.name: "scale-in is disabled here and on every other policy"} if alone else {}
        elif state == "INSUFFICIENT_DATA":
            why[policy.name] = "its metric is or was silent, and scale-in needs all policies"
        elif policy.foreign and state == "OK":
            why[policy.name] = "made by somebody else, and it does not agree"
    if ctx.scaling_out is None and ctx.memory.scale_out_alarms and ctx.profile.settling_target is not None:
        why["direct"] = "whether an alarm orders more is not known"
    empties = ctx.profile.followed_queue or (ctx.profile.queued and not ctx.profile.min_capacity)
    if alone and not tracking and not empties and all(isinstance(p, StepScaling) for p in native):
        why["policies"] = "none of them scales in, and direct scale-in needs one that tracks the load"
    if not why:
        return None
    return Step(rule="blocked", reason=Reason.SCALE_IN_BLOCKED, before=wanted, after=wanted, seen=why)


def suspended(ctx: Context, wanted: Envelope) -> Step | None:
    """Name what somebody suspended: bounds are set as ever, native policies or the expiry do not act (facts 1.4)."""
    if not ctx.suspended:
        return None
    seen: dict[str, float | str] = {"suspended": ", ".join(ctx.suspended)}
    return Step(rule="suspended", reason=Reason.SCALING_SUSPENDED, before=wanted, after=wanted, seen=seen)


RULES: tuple[Rule, ...] = (
    demand,
    guard,
    forecast,
    outage,
    stabilize,
    hold_unknown,
    windows,
    override,
    echo,
    bounds,  # the last that moves anything: nothing escapes
    refused,
    deadline,
    blocked,
    suspended,
)


def _raised(wanted: Envelope, floor: int) -> Envelope:
    """Return the envelope with its floor at least `floor`; the ceiling gives way."""
    high = max(wanted.floor, floor)
    return Envelope(high, max(wanted.ceiling, high))


def newest(ctx: Context) -> list[Recommendation]:
    """Return the recommendation of the newest minute that each signal measured."""
    measured = [seen.newest.at for seen in ctx.signals.values() if isinstance(seen, Observation)]
    return [*{r.reason: r for r in recommendations(ctx, min(measured))}.values()] if measured else []


def _target_factor(ctx: Context) -> float:
    """Return the share of `c` that latency allows: down by 0.85 at once, up by 1.05 a day.

    It falls only where load does not explain the latency. It rises only while both latency alarms are OK and the load
    is known, in an hour of the day of the target's own: each change makes AAS write two alarms, of which an account may
    write three a second.
    """
    factor, since = ctx.memory.target_factor, ctx.memory.target_changed_at
    age = ctx.now - since if since is not None else timedelta.max
    latency, slow = ctx.alarms.get("latency"), ctx.alarms.get("slow")
    overloaded = ctx.memory.overloaded_at
    drained = not loaded(ctx) and (overloaded is None or ctx.now - overloaded >= DRAINED)
    if ctx.profile.request_targets and latency == "ALARM" and age >= ctx.profile.stabilization and drained:
        return max(LEAST_FACTOR, round(factor * LESS_EACH, 4))
    calm = latency == slow == "OK" and not ctx.unknown and age >= RAISED_EACH
    return min(1.0, round(factor * MORE_EACH, 4)) if calm and ctx.now.hour == ctx.target.turn(24) else factor


def loaded(ctx: Context) -> bool:
    """Whether an instance has nearly what it is taken to serve; then load explains its latency (algorithms 2)."""
    load, capacity, each = ctx.requests, ctx.capacity, ctx.profile.objectives.requests_per_instance
    if load is None or each is None or not isinstance(capacity, Capacity):
        return False
    return load >= NEARLY * each * capacity.current


def _direct_scale_in(ctx: Context, envelope: Envelope, *, foreseen: bool) -> int | None:
    """Return the count above which nothing was needed for a whole stabilization window, if that is certain.

    Where a forecast spoke, its floor says what the next minutes want, and the room that tracking keeps is not needed.
    Refused while a change is in flight, a native scale-out alarm is in ALARM (or that is not known), metrics are
    missing, or the state is fresh (ADR 0001). It stays inside the bounds and leaves nothing in force.
    """
    certain = ctx.scaling_out is False and not (ctx.unknown or ctx.state_lost or "ALARM" in ctx.alarms.values())
    if ctx.profile.settling_target is None or not certain:
        return None
    if not isinstance(ctx.capacity, Capacity) or not ctx.capacity.settled or envelope.floor >= ctx.capacity.desired:
        return None
    loads = [ctx.signals[signal] for signal in (Signal.REQUESTS, Signal.BACKLOG) if signal in ctx.signals]
    readable = min((seen.newest.at for seen in loads if isinstance(seen, Observation)), default=ctx.now)
    back = max(ctx.profile.stabilization, LONGEST_GAP, min(ctx.now - readable, LOOKBACK))  # to a readable minute
    since = (ctx.now - back).replace(second=0, microsecond=0)  # nor is the newest of these if seconds count
    if not loads or not all(isinstance(seen, Observation) and _unbroken(seen, since) for seen in loads):
        return None  # nobody knows what was needed in the minutes that are missing
    settled = [1] if foreseen else [r.settled for r in recommendations(ctx, since)]
    count = min(max([envelope.floor, *settled]), envelope.ceiling)
    return count if count < ctx.capacity.desired else None


def _unbroken(seen: Observation, since: datetime) -> bool:
    """Whether a load was measured from `since` on without a long gap."""
    gaps = [right.at - left.at for left, right in pairwise(seen.points) if right.at >= since]
    return seen.points[0].at <= since and max(gaps, default=timedelta.max) <= LONGEST_GAP
