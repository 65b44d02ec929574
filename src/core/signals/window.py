"""Batch windows: a pure function of now, so there is no opening or closing action to lose (algorithms 10)."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from core.context import Context, Enrolment
from core.learning.windows import busy
from core.metrics import QUEUE, REQUESTS
from core.model import ENOUGH, Capacity, Missing, Observation, Progress, ScalableTarget, Signal, usual
from core.policy_windows import GRACE, Window
from core.ports import MetricQuery
from core.signals.utilisation import instances
from core.times import DAY, MINUTE

LEAD = timedelta(minutes=10)
"""What instances are taken to need to start, until enough starts were seen."""

SPREAD = timedelta(minutes=5)
"""Over so long the targets with a window at one hour spread their orders, before the last moment that is safe."""

SAFETY = 1.1 / 0.9
"""A volume may be larger than stated, and not each minute is a full one."""

SHORTEST = 5.0
"""Minutes in which work that is late is to be done: nothing is gained by asking for more."""

LONGEST = 7 * DAY / MINUTE
"""Minutes beyond which nobody waits for work to be done."""

RECENT = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Opening:
    """One occurrence of a window: the floor rises at `prewarm`, work runs from `start` until `end` (exclusive)."""

    window: Window
    prewarm: datetime
    start: datetime
    end: datetime

    @property
    def closes(self) -> datetime:
        """When it is over at the latest: `end`, which is a deadline where there is work to do."""
        return self.end + GRACE if self.window.items else self.end


@dataclass(frozen=True, slots=True)
class Need:
    """What an occurrence needs now."""

    opening: Opening
    floor: int
    left: float | None = None
    """Requests or items not done yet, 0 once the window was handed over; None where none is stated, or unknown."""

    each: float = 0.0
    """What one instance gets done in a minute, as stated or as measured."""

    as_of: datetime | None = None
    """When so much was left."""

    def finish(self, ctx: Context, most: int) -> datetime | None:
        """Return when what is left is done with at most so many instances, None if that is never."""
        count = min(self.floor, most)
        if not count or not self.left or self.as_of is None:
            return None
        begun = ctx.now + lead(ctx) if count > _ready(ctx) and ctx.now >= self.opening.start else self.as_of
        minutes = self.left / (self.each * count)
        return begun + minutes * MINUTE if minutes < LONGEST else None


def openings(windows: Sequence[Window], now: datetime, auto: timedelta = LEAD) -> tuple[Opening, ...]:
    """Return the occurrences that are open or being pre-warmed at `now`; `auto` is the lead where none is stated."""
    return tuple(o for window in windows for o in _around(window, now, auto) if o.prewarm <= now < o.closes)


def edge_within(windows: Sequence[Window], now: datetime, span: timedelta) -> bool:
    """Whether a window began to pre-warm or ended in the last `span`, so that its target needs a look."""
    around = (o for window in windows for o in _around(window, now, LEAD))
    return any(now - span < edge <= now for o in around for edge in (o.prewarm, o.closes))


def lead(ctx: Context) -> timedelta:
    """Return the lead of windows that state none: p95 of this target's starts, and its place in the spread."""
    starts = ctx.memory.starts
    return lead_of(ctx.target, (*starts.running, *starts.from_zero), ctx.profile.provisioning)


def lead_of(target: ScalableTarget, starts: Sequence[timedelta], stated: timedelta | None = None) -> timedelta:
    """Return what 95 % of the starts took, or are said to take, a minute, and a stable part of `SPREAD`."""
    took = usual(starts) or stated
    return (LEAD if took is None else took + MINUTE) + target.turn(SPREAD // MINUTE) * MINUTE


def needs(ctx: Context) -> tuple[Need, ...]:
    """Return what each open or pre-warming window needs."""
    return tuple(_need(ctx, opening) for opening in openings(ctx.profile.windows, ctx.now, lead(ctx)))


def work_since(enrolment: Enrolment, now: datetime) -> Sequence[Opening]:
    """Return the open windows of which must be known how much is done, or since when."""
    watched = (o for o in openings(enrolment.profile.windows, now) if o.window.items or o.window.hand_over is not None)
    return [o for o in watched if o.start <= now]


def query(enrolment: Enrolment) -> MetricQuery:
    """Return what counts as done: requests answered, items of a queue processed (facts 3.2, 3.4)."""
    metric = QUEUE[Signal.PROCESSED] if enrolment.profile.queued else REQUESTS
    return replace(MetricQuery.of(metric, enrolment.target), sparse=True)


def progress(enrolment: Enrolment, opening: Opening, seen: Observation | Missing) -> Progress | Missing:
    """Return what was done since the window began, and when load did."""
    if isinstance(seen, Missing):
        return seen
    inside = tuple(point for point in seen.points if point.at >= opening.start)
    recent = tuple(point for point in inside if point.at > seen.newest.at - RECENT)
    loads, each = [point.value for point in inside], enrolment.profile.objectives.per_minute(enrolment.profile.serving)
    begun = next(busy(loads, each), None) if each else None
    return Progress(sum(loads), recent, None if begun is None else inside[begun].at)


def _need(ctx: Context, opening: Opening) -> Need:
    """Return what one occurrence needs: the floor stated, the rate over what an instance serves, or its work."""
    window = opening.window
    if _handed_over(ctx, opening):
        return Need(opening, 0, 0.0)
    if window.min_capacity is not None:
        return Need(opening, window.min_capacity)
    each = ctx.profile.objectives.per_minute(ctx.profile.serving)
    if each is None:
        raise ValueError(f"{window.name}: a window without min_capacity needs what an instance gets done")
    if window.items is None:
        return Need(opening, instances(window.requests_per_minute or 0, each))
    first = instances(SAFETY * window.items, each * ((opening.end - opening.start) / MINUTE))
    seen = ctx.progress.get(window.name)
    if ctx.now < opening.start:
        return Need(opening, first, float(window.items), each, opening.start)
    if not isinstance(seen, Progress):  # nothing is given back while nobody knows what is done
        return Need(opening, max(first, ctx.registered.floor if ctx.registered else 0), None, each)
    left = max(window.items - seen.done, 0.0)
    each = _measured(ctx, opening, seen, each)
    as_of = seen.recent[-1].at + MINUTE if seen.recent else opening.start
    time_left = (opening.end - as_of) / MINUTE
    floor = instances(left, each * max(time_left, SHORTEST))
    if floor > _ready(ctx):
        floor = instances(left, each * max(time_left - lead(ctx) / MINUTE, SHORTEST))
    if len(seen.recent) >= ENOUGH and not any(point.value for point in seen.recent):
        floor = 0  # nothing comes: more instances would not help
    return Need(opening, max(first, floor) if left else 0, left, each, as_of)


def _handed_over(ctx: Context, opening: Opening) -> bool:
    """Whether its load began long enough ago. A window of which that is not known stays."""
    after, seen = opening.window.hand_over, ctx.progress.get(opening.window.name)
    begun = seen.begun if isinstance(seen, Progress) and ctx.now >= opening.start else None
    return after is not None and begun is not None and ctx.now >= begun + after


def _measured(ctx: Context, opening: Opening, seen: Progress, stated: float) -> float:
    """Return what an instance got done in the newest minutes with as many as now, half to twice of what is stated."""
    ready, since = _ready(ctx), ctx.memory.ready_since
    counted = [point.value for point in seen.recent if since is not None and point.at >= max(since, opening.start)]
    if not ready or ctx.memory.ready != ready or len(counted) < ENOUGH or not any(counted):
        return stated
    return min(max(sum(counted) / len(counted) / ready, stated / 2), 2 * stated)


def _ready(ctx: Context) -> int:
    return ctx.capacity.current if isinstance(ctx.capacity, Capacity) else 0


def _around(window: Window, now: datetime, auto: timedelta) -> tuple[Opening, ...]:
    """Return the last occurrence that began, and those to come: what is done since says nothing of one before."""
    today = now.astimezone(window.zone).date()
    before = auto if window.lead == "auto" else window.lead
    found = []
    for date in (today + offset * DAY for offset in (-2, -1, 0, 1)):
        if window.starts_on(date):
            start, end = window.times(date)
            found.append(Opening(window, start - before, start, end))
    begun = max((o.start for o in found if o.start <= now), default=now)
    return tuple(o for o in found if o.start >= begun)
