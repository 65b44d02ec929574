"""`tidegate forecast`: what is expected and ordered for, what that was worth last week, and what other knobs cost."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timedelta
from itertools import accumulate
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from cli.cloudwatch_history import KEPT, read_history
from cli.errors import RefusedError
from cli.tables import plain
from core.aws.store import Table
from core.learning.choice import LEAST, costs_of, days_of
from core.model import Envelope, Observation, Option, Point, Reason
from core.policy import parse_fleet
from core.reconcile import as_measured
from core.signals.forecast import FRESH, LAG, LOOK, SCALE, SLOT, foresee, price_of
from core.times import A_DAY
from simulator.cases import Scale, case_from
from simulator.oracle import clairvoyant
from simulator.replay import replay
from simulator.scores import score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from rich.table import Table as Shown

    from cli.cloudwatch_history import History
    from core.context import Context
    from core.model import Judged, Learned, Measured, Memory
    from core.ports import Metrics
    from simulator.cases import Case

KNOBS = ("economy", "balanced", "strict", "critical")
STEP = timedelta(minutes=15)
MINUTE = timedelta(minutes=1)
WEEK = timedelta(days=7)
CHART = 30
"""Characters of the longest bar."""


@dataclass(frozen=True, slots=True)
class Ahead:
    """A time to come: the load if the day goes on as days do, and what the forecast rule asks for by then."""

    at: datetime
    requests: float
    order_below: int
    order_up_to: int
    keep: int


@dataclass(frozen=True, slots=True)
class Played:
    """The last week under one position of the knob, or under one option of what orders ahead."""

    name: str
    violated_share: float
    instance_hours: float
    cost: float
    """Instance-hours, and for each of requests that was violated as many as the knob in force says."""

    changes_per_day: float | None = None


@dataclass(frozen=True, slots=True)
class Covered:
    """What really ran last week, beside the load that came; None where CloudWatch says nothing of instances."""

    days: float
    requests: int
    covered_share: float | None
    instance_hours: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """Everything the command says."""

    target: str
    now: datetime
    knob: str
    capacity: float
    measured: Measured | None
    fitted_at: datetime
    ahead: list[Ahead]
    last_week: Covered
    bound: tuple[float, float] | None
    """Share of last week's minutes under what was ordered up to for them, and the share foreseen; as issued."""

    days: int
    """So many days the options were replayed."""

    fresh: bool
    """Whether the fit is young enough to be decided by."""

    chosen: str
    price: float
    """In force: the knob's, in proportion to what load costs here."""

    options: list[Played]
    changed: list[tuple[datetime, str]]
    played: list[Played]


@dataclass(frozen=True, slots=True)
class Source:
    """Where it is read: the context of the newest recorded decision, the stack's table, CloudWatch."""

    seen: Context
    dynamodb: DynamoDBClient
    table: str
    metrics: Metrics


def outlook_of(source: Source, now: datetime, *, hours: int, told: Callable[[str], None] | None) -> Outlook:
    """Return the outlook of a target.

    Args:
        source: where it is read.
        now: the time.
        hours: how far ahead.
        told: hears how far the replays are; None plays none.

    Raises:
        RefusedError: there is no forecast for it.
        ObservationError: CloudWatch cannot be read, or has nothing.
    """
    store, target = Table(source.dynamodb, source.table), source.seen.target
    learned, memory = store.learned([target]).get(target), store.memories([target])[target]
    ctx = _in_force(source.seen, store, memory)
    capacity = ctx.profile.objectives.requests_per_instance if ctx else None
    if learned is None or ctx is None or capacity is None or ctx.profile.forecasting is None:
        raise RefusedError(
            f"{target.resource_id}: nothing is fitted; a forecast needs three days of requests, requests_per_instance "
            "(stated or learned), and neither policies of your own, `scale_in: native` nor `forecast: off`"
        )
    profile, history = ctx.profile, read_history(source.metrics, target, now, KEPT)
    fresh = now - learned.fitted_at <= FRESH
    if not fresh:  # then no owner looks at it
        learned = replace(learned, chosen=Option.GUARD)
    return Outlook(
        target=target.resource_id,
        now=now,
        knob=profile.forecast,
        capacity=capacity,
        measured=memory.measured,
        fitted_at=learned.fitted_at,
        ahead=list(hours_ahead(learned, history, capacity=capacity, price=profile.forecast_price, hours=hours)),
        last_week=_covered(history, capacity),
        bound=bound_of(learned.judged),
        days=days_of(learned.judged),
        fresh=fresh,
        chosen=learned.chosen.value,
        price=round(price_of(learned, profile.forecast_price), 1),
        options=list(_options(learned.judged)),
        changed=list(_changed(source, now - WEEK)),
        played=list(_played(ctx, memory, history, told)) if told else [],
    )


def _in_force(seen: Context, store: Table, memory: Memory) -> Context | None:
    """Return the context of a decision under the document and the capacity that hold now, None if nothing is enrolled.

    Decisions are recorded when they change: the newest may be older than the document, of which FleetSync keeps a copy.
    """
    content, place = store.policy_copy(), (store.roster() or {}).get(seen.target)
    if content is None or place is None:
        return None
    fleet = parse_fleet(json.loads(content))
    profile = as_measured(fleet.profiles[place.profile], memory)
    return replace(seen, enrolment=replace(seen.enrolment, profile=profile, fleet_max=fleet.max_capacity))


def hours_ahead(learned: Learned, history: History, *, capacity: float, price: float, hours: int) -> Iterator[Ahead]:
    """Yield what the forecast rule asks for at times to come, were each minute until then as on the days before.

    The days before are scaled to the last 15 minutes. The rule itself looks 13 minutes ahead and no further.
    """
    loads = history.trace.requests.astype(float).tolist()
    end = history.trace.start + len(loads) * MINUTE
    last = end + hours * timedelta(hours=1) + (max(learned.horizons) + LAG) * MINUTE
    learned = _until(learned, last)
    usual, half = learned.season[1], timedelta(minutes=7)  # each is the mean of the 15 minutes until then

    def expected(at: datetime) -> float:
        place = round((at + half - learned.first) / (SLOT * MINUTE))
        return math.expm1(usual[min(max(place, 0), len(usual) - 1)] / SCALE)

    level = expected(end - MINUTE)
    scale = sum(loads[-15:]) / 15 / level if level >= 1 else 1.0
    points = [Point(end - (len(loads) - i) * MINUTE, load) for i, load in enumerate(loads)][-2 * LOOK :]
    for minute in range(hours * 60 + 1):
        if minute % (STEP // MINUTE) == 0:
            seen = Observation(tuple(points[-2 * LOOK :]))
            wish = foresee(learned, seen, capacity=capacity, price=price)
            if wish is not None:
                at = points[-1].at + LAG * MINUTE
                yield Ahead(at, round(points[-1].value, 1), wish.order, wish.up_to, wish.keep)
        following = points[-1].at + MINUTE
        points.append(Point(following, scale * expected(following)))


def _until(learned: Learned, last: datetime) -> Learned:
    """Return a fit whose season reaches so far: it knows as much as is decided by it, and then days repeat."""
    missing = max(math.ceil((last - learned.first) / (SLOT * MINUTE)) + 2 - len(learned.season[0]), 0)
    tables = (list(table) for table in learned.season)
    return replace(learned, season=tuple(_repeated(table, missing) for table in tables))


def _repeated(table: list[int], missing: int) -> tuple[int, ...]:
    for _ in range(missing):
        table.append(table[-(A_DAY // SLOT)])
    return tuple(table)


def bound_of(days: Sequence[Judged]) -> tuple[float, float] | None:
    """Return the shares of the last seven days, of which some may have been judged in parts."""
    ends = accumulate(day.minutes for day in days)  # a whole one has 1,442, of rows each 7 minutes
    week = [day for day, end in zip(days, ends, strict=True) if end - day.minutes < 7 * A_DAY]
    minutes = [day.minutes for day in week]
    if not week:
        return None
    return fmean((day.under for day in week), minutes), fmean((day.promised for day in week), minutes)


def _covered(history: History, capacity: float) -> Covered:
    """Return how much of last week's requests came in minutes for which enough was running."""
    minutes = -int(WEEK / MINUTE)
    requests, ran = history.trace.requests[minutes:], history.instances[minutes:]
    known = ~np.isnan(ran)
    asked = int(requests[known].sum())
    met = int(requests[known][requests[known] <= ran[known] * capacity].sum())
    hours = float(np.nanmean(ran) * len(ran) / 60) if known.any() else None
    return Covered(len(requests) / 1440, int(requests.sum()), met / asked if asked else None, hours)


def _options(days: Sequence[Judged]) -> Iterator[Played]:
    """Yield what each option came to on the days that were replayed (`core.learning.choice`)."""
    load = sum(day.load for day in days)
    for option, cost in costs_of(days).items() if days else ():
        paid, violated = sum(day.instances[option] for day in days), sum(day.violated[option] for day in days)
        yield Played(option.value, violated / load if load else 0.0, paid / 60, cost / 60)


def _changed(source: Source, since: datetime) -> Iterator[tuple[datetime, str]]:
    """Yield time and bounds of those recorded decisions that the forecast decided."""
    target = source.seen.target
    pages = source.dynamodb.get_paginator("query").paginate(
        TableName=source.table,
        KeyConditionExpression="pk = :pk AND sk > :since",
        FilterExpression="reason = :forecast AND outcome = :changed",
        ProjectionExpression="#at, decision",
        ExpressionAttributeNames={"#at": "sk"},
        ExpressionAttributeValues={
            ":pk": {"S": f"TARGET#{target.resource_id}#{target.dimension.value}"},
            ":since": {"S": f"DECISION#{since.isoformat(timespec='milliseconds')}"},
            ":forecast": {"S": Reason.FORECAST.value},
            ":changed": {"S": "changed"},
        },
    )
    for page in pages:
        for item in page["Items"]:
            at = datetime.fromisoformat(item["sk"]["S"].split("#")[1])
            yield at, str(Envelope(**json.loads(item["decision"]["S"])["envelope"]))


def case_of_target(ctx: Context, memory: Memory, history: History) -> tuple[Case, dict[str, Any]]:
    """Return the case that the knob's positions are played over, and the fields of the profile that hold in it.

    A component is played as a variant is: its last copy stays.
    """
    profile = ctx.profile
    fields = profile.model_dump(mode="json", include={"scale_in", "stabilization", "timezone", "windows"})
    for window in fields["windows"]:
        if window["max_capacity"] == 0:
            window["max_capacity"] = 1
    scale = Scale(capacity=profile.objectives.requests_per_instance)
    case = replace(
        case_from(ctx.target.resource_id, history.trace, scale=scale),
        minimum=max(ctx.policy_envelope.floor, 1),
        maximum=ctx.policy_envelope.ceiling,
        provisioning=math.ceil(profile.start_of(memory.starts) / MINUTE),
    )
    return case, fields


def _played(ctx: Context, memory: Memory, history: History, told: Callable[[str], None]) -> Iterator[Played]:
    """Play the history once under each position of the knob and without forecast; the last half is judged."""
    case, fields = case_of_target(ctx, memory, history)
    ideal = clairvoyant(case)
    for number, knob in enumerate(KNOBS, start=1):
        told(f"Playing {len(case.requests) / 1440:.0f} days: {knob} ({number} of {len(KNOBS)})")
        found = score(case, replay(case, {**fields, "forecast": knob}, knob=knob).course, ideal)
        cost = found.instance_hours + ctx.profile.forecast_price * found.violated / case.capacity / 60
        yield Played(knob, found.violated_share, found.instance_hours, cost, found.changes_per_day)


def document_of(found: Outlook) -> dict[str, Any]:
    """Return what `--json` prints."""
    said: dict[str, Any] = json.loads(json.dumps(asdict(found), default=lambda value: f"{value:%Y-%m-%dT%H:%MZ}"))
    return said | {"changed": [{"at": at, "bounds": bounds} for at, bounds in said["changed"]]}


def ahead_of(found: Outlook) -> Shown:
    """Return the times to come, with a bar for the load and a mark for what is there to serve it."""
    table = plain("at", "expected/min", "instances", "enough for", "# expected, | enough for")
    most = max([1.0, *(max(each.requests, each.order_up_to * found.capacity) for each in found.ahead)])
    for each in found.ahead:
        bound = each.order_up_to * found.capacity
        load, mark = (round(CHART * value / most) for value in (each.requests, bound))
        bar = "".join("|" if i == mark else "#" if i < load else " " for i in range(CHART + 1))
        cells = (f"{each.at:%H:%M}Z", f"{each.requests:,.0f}", str(each.order_up_to), f"{bound:,.0f}", bar)
        table.add_row(*cells)
    return table


def options_of(found: Outlook) -> Shown:
    """Return what the options came to; the one in force is marked."""
    table = plain("orders ahead", "violated", "instance-hours", "cost")
    for each in found.options:
        table.add_row(*_cells(each, found.chosen))
    return table


def played_of(found: Outlook) -> Shown:
    """Return what the positions of the knob came to; the one in force is marked."""
    table = plain("forecast", "violated", "instance-hours", "cost", "changes a day")
    for each in found.played:
        table.add_row(*_cells(each, found.knob), f"{each.changes_per_day:.1f}")
    return table


def _cells(each: Played, in_force: str) -> tuple[str, ...]:
    mark = " (in force)" if each.name == in_force else ""
    return (each.name + mark, f"{each.violated_share:.2%}", f"{each.instance_hours:,.1f}", f"{each.cost:,.1f}")


def lines_of(found: Outlook) -> Iterable[str]:
    """Yield in sentences what was learned and what came of it."""
    yield f"{found.target} at {found.now:%Y-%m-%dT%H:%MZ}, forecast: {found.knob}"
    yield f"Fitted until {found.fitted_at:%Y-%m-%dT%H:%MZ}. requests_per_instance {found.capacity:g}."
    if found.measured is not None and found.measured.capacity is not None:
        yield f"Learned of that: {found.measured.capacity:g} ({found.measured.tells})."
    week = found.last_week
    ran = "" if week.instance_hours is None else f" with {week.instance_hours:,.1f} instance-hours"
    met = "" if week.covered_share is None else f"; {week.covered_share:.2%} met enough instances"
    yield f"Last {week.days:.0f} days: {week.requests:,} requests{met}{ran}."
    if found.bound is not None:
        under, promised = found.bound
        yield f"{under:.2%} of the minutes needed no more than was ordered up to for them; {promised:.2%} promised."
    enough = found.days >= LEAST
    why = f"cheapest of {found.days} days, or near it" if enough else f"choosing takes {LEAST} replayed days"
    if not found.fresh:
        why = f"a fit older than {FRESH // timedelta(hours=1)} hours is left: FleetSync could not make a new one"
    yield f"Orders ahead: {found.chosen} ({why})."
    yield f"Price in force: {found.price:g}, by what load costs here."
    newest = "".join(f"; {bounds} at {at:%Y-%m-%dT%H:%MZ}" for at, bounds in found.changed[-3:])
    yield f"The forecast changed bounds {len(found.changed)} times in that time{newest}."
