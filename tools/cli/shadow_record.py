"""What is known of a target in shadow: the decisions that were recorded of it, and what CloudWatch saw meanwhile."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import dropwhile
from typing import TYPE_CHECKING, Any

import numpy as np

from cli.cloudwatch_history import INSTANCE, MINUTE, NoHistoryError, bridged, series
from cli.decisions import newest_of, recorded_since
from cli.queue_history import queue_case, read_queue
from core.model import Dimension, Missing
from core.ports import MetricQuery
from core.signals import utilisation
from simulator.cases import Case, Mode
from simulator.scores import waiting
from simulator.traces import MinuteTrace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from cli.decisions import Recorded
    from cli.stack import DeployedStack
    from core.model import Memory, ScalableTarget
    from core.policy import Profile

    Counts = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Known = NDArray[np.bool_]

SETTLED = timedelta(minutes=3)
"""So old are minutes that all metrics know."""

WRITTEN = frozenset({"changed", "failed", "busy"})
"""Outcomes of decisions of which something was written, or was to be: no shadow made them."""

KNOWN_TO = timedelta(milliseconds=1)
"""How exactly a decision's time is recorded."""


@dataclass(frozen=True, slots=True)
class Shadowed:
    """What was decided of a target, by the minute."""

    floor: Counts
    ceiling: Counts
    cut: Floats
    """The count above which nothing was needed; NaN in minutes in which nobody said so."""

    running: Counts
    """Capacity that served when it was last looked at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What CloudWatch saw meanwhile; a value a minute of the case."""

    case: Case
    """The load; of a queue with the silence after it in which all can be done."""

    known: Known
    """Minutes of which load and count are known; none of that silence."""

    sized: bool
    """Whether it is known what an instance serves."""

    was: Counts
    """Instances that ran; where unknown, those of before."""

    demand: Floats
    """Requests of the minute; of a queue, items that waited."""

    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """A target in shadow, and where what is known of it stands."""

    target: ScalableTarget
    name: str
    """Of its profile."""

    profile: Profile
    """As measured."""

    memory: Memory
    stack: DeployedStack

    @property
    def delay(self) -> int:
        """Minutes from an order until it serves."""
        return math.ceil(self.profile.start_of(self.memory.starts) / MINUTE)

    def decisions(self, since: datetime, until: datetime) -> list[Recorded]:
        """Return the decisions of the newest time in shadow: those since it was enrolled, and since the last written.

        Only changes are recorded: the first may be older than `since`, if it was still in force then.
        """
        dynamodb, table = self.stack.aws.of("dynamodb"), self.stack.outputs["table"]
        enrolled = self.memory.first_seen_at or since
        found = recorded_since(dynamodb, table, self.target, max(since, enrolled))
        standing = newest_of(dynamodb, table, self.target.resource_id, since - KNOWN_TO)
        if standing is not None and standing.at > enrolled - KNOWN_TO:
            found.insert(0, standing)
        written = [index for index, each in enumerate(found) if each.outcome in WRITTEN]
        since_written = found[written[-1] + 1 if written else 0 :]
        return [each for each in dropwhile(self._perhaps_active, since_written) if each.at < until]

    def _perhaps_active(self, each: Recorded) -> bool:
        """Whether nobody knows its mode: that of the stack is not recorded, and nothing was to be written."""
        own = each.document["context"]["enrolment"]["profile"]["mode"]
        return self.memory.enrolled and "shadow" not in {each.outcome, own}

    def seen(self, begin: datetime, shadow: Shadowed) -> Seen | None:
        """Return what CloudWatch saw from a minute on, for as long as the decisions; None if it knows nothing."""
        try:
            found = self._queue(begin, shadow) if self.profile.queued else self._load(begin, shadow)
        except NoHistoryError:
            return None
        return found if found.known.any() else None

    def _load(self, begin: datetime, shadow: Shadowed) -> Seen:
        """Return requests and running instances; one publishes one sample of CPUUtilization a minute (facts 3.1)."""
        target, profile, length = self.target, self.profile, len(shadow.floor)
        until, counted = begin + length * MINUTE + SETTLED, target.dimension is Dimension.INSTANCES
        load = utilisation.query(target)
        count = MetricQuery(INSTANCE, "CPUUtilization", tuple(target.names.items()), "SampleCount")
        read = self.stack.ports.metrics.fetch([load, *([count] if counted else [])], until, until - begin)
        requests, ran = (series(read.get(query, Missing("not asked for")), begin, length) for query in (load, count))
        requests = bridged(requests)
        asleep = counted and profile.min_capacity == 0  # then nothing is published
        ran = np.nan_to_num(ran) if asleep else bridged(ran)
        ran = ran if counted else shadow.running.astype(float)
        capacity = None if profile.works_off_a_queue else profile.capacity_per_instance
        case = Case(
            trace=target.resource_id,
            mode=Mode.REALTIME,
            start=begin,
            requests=np.rint(np.nan_to_num(requests)).astype(np.int64),
            capacity=capacity or math.inf,
        )
        return Seen(
            case=self._bounded(case, self.delay),
            known=~np.isnan(ran) & (~np.isnan(requests) if capacity else True),
            sized=capacity is not None,
            was=np.nan_to_num(ran).astype(np.int64),
            demand=np.nan_to_num(requests),
            notes=tuple(_of_load(profile, capacity)),
        )

    def _queue(self, begin: datetime, shadow: Shadowed) -> Seen:
        """Return what arrived in the queue of an asynchronous endpoint, what waited, and what ran.

        Raises:
            NoHistoryError: no backlog is known.
        """
        length, objectives = len(shadow.floor), self.profile.objectives
        until = begin + length * MINUTE + SETTLED
        history, measured, backlog = read_queue(self.stack.ports.metrics, self.target, until, until - begin)
        rate = measured or self.memory.rate or objectives.items_per_minute
        objective = max(1, round(objectives.finish_within(rate or 1.0)))
        first = (history.trace.start - begin) // MINUTE
        arrived, waited = laid(history.trace.requests, first, length, 0.0), laid(backlog, first, length, 0.0)
        running = laid(history.instances, first, length, np.nan)
        trace = MinuteTrace(begin, arrived.astype(np.int64), np.zeros(length))
        case = queue_case(self.target.resource_id, trace, rate or math.inf, objective)
        case = replace(case, ttl=round(objectives.expires_after / MINUTE))
        silence = (0, len(case.requests) - length)
        known = ~np.isnan(running)
        last = np.maximum.accumulate(np.where(known, np.arange(length), 0))
        was = np.pad(np.nan_to_num(running[last]).astype(np.int64), silence, mode="edge")
        return Seen(
            case=self._bounded(case, math.ceil(self.profile.provisioning_from_zero / MINUTE)),
            known=np.pad(known, silence),
            sized=rate is not None,
            was=was,
            demand=np.pad(waited, silence),
            notes=tuple(_of_queue(case, rate, was, waited, measured=measured is not None)),
        )

    def _bounded(self, case: Case, from_zero: int) -> Case:
        return replace(
            case,
            warmup=0,
            minimum=self.profile.min_capacity,
            maximum=self.profile.max_capacity,
            provisioning=self.delay,
            provisioning_from_zero=from_zero,
        )


def laid(values: NDArray[Any], first: int, length: int, missing: float) -> Floats:
    """Return values that begin at a minute (before 0 if negative) as `length` minutes, filled with `missing`."""
    out = np.full(length, missing)
    part = values[max(0, -first) : max(0, length - first)]
    out[max(0, first) : max(0, first) + len(part)] = part
    return out


def by_the_minute(said: Sequence[Recorded], begin: datetime, length: int) -> Shadowed:
    """Lay decisions out by the minute: a floor holds until the next is recorded, for only changes are.

    One from before `begin` was in force then.
    """
    floor, ceiling, running = (np.zeros(length, dtype=np.int64) for _ in range(3))
    cut = np.full(length, np.nan)
    for each in said:
        decision, minute = each.document, max(0, (each.at - begin) // MINUTE)
        floor[minute:], ceiling[minute:] = decision["envelope"]["floor"], decision["envelope"]["ceiling"]
        running[minute:] = decision["context"]["capacity"].get("current", running[minute - 1] if minute else 0)
        if decision["scale_in_to"] is not None and each.at >= begin:
            cut[minute] = decision["scale_in_to"]
    return Shadowed(floor, ceiling, cut, running)


def _of_load(profile: Profile, capacity: float | None) -> Iterator[str]:
    if profile.works_off_a_queue:
        yield "Waiting in a queue of your own under other counts is not told: `tidegate backtest` plays a trace of it."
    elif capacity is None:
        yield "What an instance serves is not known (requests_per_instance): no need is told."
    elif profile.objectives.requests_per_instance is None:
        yield f"An instance is taken to serve {capacity:g} requests a minute, the target of its policy."


def _of_queue(case: Case, rate: float | None, was: Counts, waited: Floats, *, measured: bool) -> Iterator[str]:
    if rate is None:
        yield "What an instance finishes is not known (items_per_minute): nothing is told of late items."
        return
    how = "in the minutes in which more waited than was done" if measured else "as measured before, or stated"
    yield f"An instance is taken to finish {rate:,.4g} items a minute, all alike: {how}."
    most = waiting(case, was)[: len(waited)].max()
    yield f"Played so, what ran leaves {most:,} items waiting at most; CloudWatch saw {waited.max():,.0f}."
    yield (
        f"Late is what takes longer than {case.objective} minutes. The floors answered to the queue as it was: "
        "where what ran kept it shorter, Tidegate would have asked for more."
    )
