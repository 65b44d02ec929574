"""Queued load: how many instances finish every item in time, and how late they can still be ordered (algorithms 9).

The arithmetic counts in minutes, items and instances. It sees the queue by the ages of its items, so that what has
waited long is served first and a start from zero is put off until one instance can just about make it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise

from core.context import Context, Enrolment
from core.metrics import QUEUE, SQS, TIMES
from core.model import Capacity, Kind, Memory, Missing, Observation, OverrideAction, Reason, Recommendation, Signal
from core.overrides import in_force
from core.policy import MARGIN, Profile
from core.ports import MetricQuery
from core.signals.utilisation import instances
from core.signals.window import needs
from core.times import MINUTE

LONGEST_LOOK = timedelta(hours=2)
"""Arrivals are told apart by age as far back as the objective reaches, and no further than this."""

LEARN_EVERY = timedelta(minutes=5)
MOST_ASTRAY = 4.0
"""How far the measured rate may be from the stated one, as a factor: a model that hangs must not buy the maximum."""

ROUNDING = 1e-9

ASTRAY = 1.5
"""The rate is far off if it is by this factor."""

MEMORY = 10.0
"""Minutes after which an arrival counts 1/e in the expected ones."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A queue, as it is known: an age is the minutes since the end of the minute in which an item arrived."""

    items: tuple[tuple[float, float], ...]
    """(age, items), oldest first: what waits or is being worked on."""

    arrivals: float
    """Items a minute to be expected (`lam`)."""

    seen: float
    """Age of the newest minute that was measured (`l`)."""

    @property
    def length(self) -> float:
        """Items in it (`Q`)."""
        return sum(items for _, items in self.items)


@dataclass(frozen=True, slots=True, kw_only=True)
class Crew:
    """Who works the queue off."""

    rate: float
    """Items a minute and instance (`mu`)."""

    ready: int
    ordered: int
    arrive_in: float = 0.0
    """Minutes until those ordered and not ready serve (`rs`)."""

    lead: float
    """Minutes from an order placed now until it serves (`D + 1`)."""


def missing(queue: Line, crew: Crew, within: float) -> tuple[float, bool]:
    """Return the instances without which an item takes longer than `within` minutes, and whether they are due now.

    Cohort by cohort from the oldest on, through the minutes not seen yet and, where the objective is tight, as far
    ahead as the next order will not be in time: all items up to here, less what is served until this cohort's deadline.
    """
    rate, lead = crew.rate, crew.lead
    ahead = math.ceil(max(0.0, 2 * lead + queue.seen - within))
    unseen = [(queue.seen - step, queue.arrivals) for step in range(1, int(queue.seen) + ahead + 1)]
    busy = queue.seen if queue.items else 0.0
    total = extra = 0.0
    due = False
    for age, items in (*queue.items, *unseen):
        total += items
        remaining = within - age
        served = crew.ready * rate * (busy + max(remaining, 0.0))
        served += (crew.ordered - crew.ready) * rate * max(remaining - crew.arrive_in, 0.0)
        short, left = (total - served) / rate, remaining - lead
        if short > ROUNDING:
            extra = max(extra, short / max(left, 0.3 * lead))
            due = due or left <= short + 1
    return min(extra, max(round(max(total, 1)) - crew.ordered, 0)), due  # an item is worked on by one instance


def wanted(queue: Line, crew: Crew, within: float) -> int:
    """Return how many instances should be ordered altogether, at least those that are."""
    extra, due = missing(queue, crew, within)
    steady = min(0.9 * queue.arrivals, queue.length / max(crew.lead, 1 / crew.rate)) / crew.rate
    return max(crew.ordered + (math.ceil(round(extra, 9)) if due else 0), math.floor(steady))


@dataclass(frozen=True, slots=True)
class _Minute:
    """What one minute told; `waiting` is the backlog in it, what is being worked on included."""

    at: datetime
    waiting: float
    arrived: float
    expected: float
    processed: float
    failed: float
    measured: bool
    took: float | None
    """Minutes of work that an item took which was done in it, in the mean; None if not known."""


def look_back(profile: Profile) -> timedelta:
    """Return how much of the past the rule looks at: as far as the items reach back that may still be in time."""
    rate = profile.objectives.items_per_minute or 1.0
    return min(timedelta(minutes=profile.objectives.finish_within(rate)), LONGEST_LOOK)


def queries(enrolment: Enrolment, *, working: bool) -> Mapping[Signal, MetricQuery]:
    """Return the queue's metrics, the endpoint's own or those of SQS (facts 3.4); of items' times only if it works."""
    queue = enrolment.profile.queue
    metrics = SQS if queue else {**QUEUE, **TIMES} if working else QUEUE
    found = {signal: MetricQuery.of(metric, enrolment.target) for signal, metric in metrics.items()}
    named = (("QueueName", queue.sqs),) if queue else None
    return {signal: replace(query, dimensions=named or query.dimensions) for signal, query in found.items()}


def asleep(enrolment: Enrolment, capacity: Capacity | Missing, alarms: Mapping[str, str]) -> bool:
    """Whether nothing runs and the alarms say that nothing waits, so that there is no metric worth its price."""
    if enrolment.profile.kind is not Kind.ASYNC or enrolment.profile.queue or isinstance(capacity, Missing):
        return False
    return capacity.settled and not capacity.desired and alarms == {"wake": "OK", "idle": "ALARM"}


def recommend(ctx: Context) -> list[Recommendation]:
    """Return what each measured minute asks for: what the queue kept busy, and in the newest what is to be ordered.

    `settled` never falls below 1: going to zero is left to the native idle policy, which knows nothing is in flight.
    """
    minutes = _minutes(ctx)
    if not minutes:
        return []
    crew, found = _crew(ctx), []
    for each in minutes:
        if each.measured:
            kept = max(_kept(ctx.profile, each, crew.rate), 1)
            floor = min(crew.ordered, kept) if each.waiting or each.arrived else 0
            seen = {"backlog": each.waiting, "arrivals_per_minute": round(each.expected, 3)}
            found.append(Recommendation(at=each.at, floor=floor, settled=kept, reason=Reason.BACKLOG, seen=seen))
    return [*found[:-1], _newest(ctx, found[-1], crew, _line(ctx, minutes))]


def _newest(ctx: Context, kept: Recommendation, crew: Crew, queue: Line) -> Recommendation:
    """Return what the newest minute asks for: also what is to be ordered now, and what has slots at work."""
    objectives = ctx.profile.objectives
    floor = wanted(queue, crew, MARGIN * objectives.finish_within(crew.rate)) if queue.items else 0
    if objectives.items_per_instance is not None:
        floor = instances(queue.length, objectives.items_per_instance)
    floor = max(floor if floor > crew.ordered else 0, kept.floor)
    lost = _lost(ctx, queue, crew, floor)
    floor = max(floor, crew.ordered + lost if lost else 0)
    if ctx.refusal is not None and floor > crew.ordered:
        floor = _obtainable(ctx, ctx.refusal.room, crew, floor)
    busy = min(crew.ordered, instances(queue.length, objectives.concurrency))
    slower = crew.rate < (objectives.items_per_minute or 1.0) / ASTRAY  # AAS's target supposes what is stated
    floor = max(floor, busy if ctx.profile.queue or slower else 0)  # AAS goes down with it, or what was handed over
    oldest = max((age for age, _ in queue.items), default=0.0)
    return replace(
        kept,
        floor=floor,
        settled=max(kept.settled, busy),
        reason=Reason.REQUESTS_EXPIRING if lost else Reason.BACKLOG,
        seen={**kept.seen, "items_per_minute": round(crew.rate, 3), "oldest_minutes": round(oldest, 1)},
    )


def _lost(ctx: Context, queue: Line, crew: Crew, floor: int) -> int:
    """Return the instances without which items expire, if it is time for them; at once if what holds them back stays.

    The floor that comes next counts as ordered, unless AWS refuses it; all that the policy allows, when that has ended.
    """
    ceiling, within = ctx.policy_envelope.ceiling, ctx.profile.objectives.expires_after / MINUTE
    for most, until in _held(ctx):
        wait = crew.lead + (until - ctx.now) / MINUTE
        later = replace(crew, ready=most, ordered=max(most, ceiling), arrive_in=wait, lead=max(wait, within))
        if missing(replace(queue, arrivals=0.0), later, within)[1]:  # due if any is short, for no order is in time
            return max(ceiling - crew.ordered, 1)
    coming = max(crew.ordered, min(floor, ceiling) if ctx.refusal is None else 0)
    ahead = replace(crew, ordered=coming, arrive_in=crew.lead if coming > crew.ordered else crew.arrive_in)
    extra, due = missing(queue, ahead, within)
    return coming - crew.ordered + math.ceil(round(extra, 9)) if due and queue.items else 0


def _held(ctx: Context) -> list[tuple[int, datetime]]:
    """Return at how many an override, or a window that closes to zero, holds instances, and until when."""
    first = in_force(ctx.overrides, ctx.now)[:1]
    held = [(w.capacity or 0, w.expires_at) for w in first if w.action in {OverrideAction.PIN, OverrideAction.CEILING}]
    ends = [n.opening.closes for n in needs(ctx) if n.opening.start <= ctx.now and n.opening.window.max_capacity == 0]
    opened = any(w.action in {OverrideAction.PIN, OverrideAction.FLOOR} for w in first)
    return held if opened or not ends else [*held, (max(need.floor for need in needs(ctx)), max(ends))]


def _obtainable(ctx: Context, room: int | None, crew: Crew, floor: int) -> int:
    """Return what to ask for where AWS refused: what it has left, if it says so, else nothing new until the next try.

    The need moves by the minute; each number of it would only be refused as the last was.
    """
    if room:
        return min(floor, crew.ordered + room)
    standing = ctx.registered.floor if ctx.registered else 0
    return standing if standing > crew.ordered and ctx.now < ctx.next_try else floor


def _kept(profile: Profile, minute: _Minute, rate: float) -> int:
    """Return the instances that arrivals and length of the queue in one minute keep busy (algorithms 9, "down")."""
    each = profile.objectives.items_per_instance or max(0.8 * MARGIN * profile.objectives.finish_within(rate) * rate, 1)
    return max(instances(minute.expected, 1.1 * rate), instances(minute.waiting, each))


def _crew(ctx: Context) -> Crew:
    capacity, profile, memory = ctx.capacity, ctx.profile, ctx.memory
    if not isinstance(capacity, Capacity):  # then nothing is written; the floor that stands is the best guess
        floor = ctx.registered.floor if ctx.registered else 0
        capacity = Capacity(floor, floor, "")
    start = profile.start if capacity.desired else profile.provisioning_from_zero
    since = ctx.now - memory.written_at if memory.written_at else timedelta(0)
    under_way = profile.start if capacity.current else profile.provisioning_from_zero
    return Crew(
        rate=learned(ctx)[0],
        ready=min(capacity.current, capacity.desired),
        ordered=capacity.desired,
        arrive_in=max((under_way - since) / MINUTE, 0.0),
        lead=start / MINUTE + 1,
    )


def _line(ctx: Context, minutes: Sequence[_Minute]) -> Line:
    """Return the queue by age: the newest arrivals wait, those before them are done.

    What no known arrival explains is older than all of them, and as old as the oldest item is said to be.
    """
    seen = (ctx.now - minutes[-1].at) / MINUTE - 1
    left, ages = minutes[-1].waiting, []
    for back, minute in enumerate(reversed(minutes)):
        ages.append((seen + back, min(minute.arrived, left)))
        left -= ages[-1][1]
    oldest = ctx.signals.get(Signal.OLDEST)
    said = seen + oldest.newest.value / 60 if isinstance(oldest, Observation) else 0.0
    ages.append((max(seen + len(minutes), said), left))
    items = tuple((age, count) for age, count in reversed(ages) if count > 0)
    return Line(items=items, arrivals=minutes[-1].expected, seen=max(seen, 0.0))


def _minutes(ctx: Context) -> list[_Minute]:
    """Return every minute from the first measured to the newest.

    Arrivals are what the backlog grew by and what was processed; those of minutes that were not measured count as of
    the first of them, so that no item is taken for younger than it is. A queue that was not measured before was empty.
    """
    in_flight = _values(ctx, Signal.IN_FLIGHT)  # only SQS counts it apart
    waiting = {at: count + in_flight.get(at, 0.0) for at, count in _values(ctx, Signal.BACKLOG).items()}
    if not waiting:
        return []
    processed, failed = _values(ctx, Signal.PROCESSED), _values(ctx, Signal.FAILED)
    total, waited = _values(ctx, Signal.TURNAROUND), _values(ctx, Signal.WAITED)
    took = {at: (each - waited[at]) / 60_000 for at, each in total.items() if each > waited.get(at, math.inf)}
    first, newest = min(waiting), max(waiting)
    grid = [first + MINUTE * i for i in range((newest - first) // MINUTE + 1)]
    level, levels = waiting[newest], {}
    for at in reversed(grid):
        level = levels[at] = waiting.get(at, level)
    before = level if first <= ctx.now - look_back(ctx.profile) else 0.0
    found, arrivals, weight, fade = [], 0.0, 0.0, math.exp(-1 / MEMORY)
    for at in grid:
        level, done = levels[at], processed.get(at, 0.0)
        arrived = max(0.0, level - before + done)
        before, arrivals, weight = level, fade * arrivals + arrived, fade * weight + 1
        expected = arrivals / weight
        found.append(_Minute(at, level, arrived, expected, done, failed.get(at, 0.0), at in waiting, took.get(at)))
    return found


def _values(ctx: Context, signal: Signal) -> dict[datetime, float]:
    seen = ctx.signals.get(signal)
    return {point.at: point.value for point in seen.points} if isinstance(seen, Observation) else {}


def learned(ctx: Context) -> tuple[float, datetime | None]:
    """Return the items a minute and instance as measured so far, and the newest minute that went into it, if any work.

    What instances did moves it every five minutes; items that prove slower lower it at once. What failed is no work.
    """
    memory, stated = ctx.memory, ctx.profile.objectives.items_per_minute or 1.0
    rate = memory.rate or stated
    minutes = _minutes(ctx)
    if not minutes:
        return rate, memory.rate_at
    if not any(each.waiting or each.processed for each in minutes):
        return rate, None
    newest = minutes[-1].at
    if memory.rate_at is None or memory.ready_since is None or not memory.ready:
        return rate, newest
    due = newest - memory.rate_at >= LEARN_EVERY
    fresh = [(a, b) for a, b in pairwise(minutes) if b.at > memory.rate_at and b.failed <= 0.1 * b.processed]
    steady = [(a, b) for a, b in fresh if b.at > memory.ready_since]
    done = sum(b.processed for _, b in steady) / (memory.ready * len(steady)) if steady else 0.0
    rate = _as_full(steady, done, rate, memory.ready, ctx.profile.objectives.concurrency) if due else rate
    rate = _as_items_took([b for _, b in fresh], done, rate, ctx.profile.objectives.concurrency)
    return min(max(rate, stated / MOST_ASTRAY), stated * MOST_ASTRAY), newest if due else memory.rate_at


def _as_full(steady: Sequence[tuple[_Minute, _Minute]], done: float, rate: float, ready: int, slots: int) -> float:
    """Return the rate as moved by minutes that began with more than all instances could finish.

    Only those tell how fast they are, or others if they were half as fast again as thought. An item that hangs takes
    its slot's share and no more.
    """
    full = [b for a, b in steady if a.waiting >= ready * (1.5 * rate + slots)]
    if not full and done > ASTRAY * rate:
        full = [b for _, b in steady]
    if not full:
        return rate
    spent = ready * len(full)
    sample = sum(minute.processed for minute in full) / spent
    inertia = 30 if sample > rate / ASTRAY else 5  # instance-minutes; too few is late, too many is only dear
    return rate + spent / (spent + inertia) * (min(max(sample, rate / 3), 3 * rate) - rate)


def _as_items_took(fresh: Sequence[_Minute], done: float, rate: float, slots: int) -> float:
    """Return the rate, lowered if the items that were finished took much longer than thought: `k` slots are no faster.

    Of the minutes the median one counts, and one alone not at all: a poison item spoils the mean of its own. What
    instances did they can do, whatever the times say.
    """
    known = sorted((b.took, b.processed) for b in fresh if b.took and b.processed)
    if len(known) < 2:  # noqa: PLR2004 - see above
        return rate
    sample = max(slots / known[(len(known) - 1) // 2][0], done, rate / 3)
    items = sum(count for _, count in known)
    return rate if sample > rate / ASTRAY else rate + items / (items + 10) * (sample - rate)


def remember(ctx: Context) -> Memory:
    """Return the memory with what is measured of the queue."""
    if not ctx.profile.works_off_a_queue or Signal.BACKLOG not in ctx.signals:
        return ctx.memory
    rate, at = learned(ctx)
    if at == ctx.memory.rate_at:
        return ctx.memory
    return replace(ctx.memory, rate=rate if rate != ctx.profile.objectives.items_per_minute else None, rate_at=at)
