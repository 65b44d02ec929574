"""What one instance serves, learned once a day from its latency against the objective (algorithms 2 and 15)."""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from math import sqrt

from core.context import Enrolment
from core.metrics import LATENCY, METRICS
from core.model import Measured, Missing, Observation
from core.policy import Objectives
from core.ports import MetricQuery
from core.signals import utilisation

AFTER_CHANGE = timedelta(minutes=5)
"""Minutes so soon after instances came or went say nothing of what one of them serves."""

DRAINING, DEEP = timedelta(minutes=3), 0.9
"""Slow minutes so near to each other are one stretch; those with less than this share of its highest load may only be
slow because of what still waits from then."""

LEAST_REQUESTS = 20
"""Of a minute: with fewer, p95 is the slowest of them all."""

LEAST_MINUTES = 60
"""Fewer are not learned from."""

SPELL = 3
"""Minutes whose mean load a latency answers to: waiting grows and shrinks over a few of them."""

LATE_WEIGHS = 1.5
"""What a late minute counts beside one in time: p95 of the few requests of a minute is mostly below that of many."""

EVIDENCE = 3
"""Minutes that must agree: on a load that was served in time, and on one that was not."""

KEPT_BACK = 0.98
"""Share of a load that was served in time which is planned with."""

PROBED = 1.05
"""Most that is hoped for beyond yesterday's value, and beyond what was ever seen to be served in time."""

HELD = timedelta(hours=24)
"""After a back-off nothing is raised."""

TOLERANCE = 0.02
"""A value this near to the one in force changes nothing: each change writes alarms and policies."""


LONG_AGO = datetime.min.replace(tzinfo=UTC)


def queries(enrolment: Enrolment) -> tuple[MetricQuery, ...]:
    """Return what is learned from: requests, requests of an instance or copy, and latency as p95 and on average."""
    target, profile = enrolment.target, enrolment.profile
    each, latency = METRICS[profile.request_metric][profile.serving], MetricQuery.of(LATENCY, target)
    return (utilisation.query(target), MetricQuery.of(each, target), latency, replace(latency, stat="Average"))


def measure(
    seen: Sequence[Observation | Missing],
    *,
    objectives: Objectives,
    before: float | None,
    now: datetime,
    lowered_at: datetime | None = None,
) -> Measured:
    """Return the requests a minute that one instance serves within the objective, as far as these minutes tell.

    It lies between the loads below which most minutes were in time and above which most were not: the split with the
    fewest minutes on the wrong side, a late one counting half as much again, which a bad hour at low load does not
    move. Between them the value in force stays.

    Args:
        seen: what `queries` asks for, in their order.
        objectives: what p95 of ModelLatency may be, and requests an instance works on at once, for a first guess.
        before: the value in force, None if there is none.
        now: when this is learned.
        lowered_at: when latency last lowered it at once.
    """
    minutes = _usable(seen, objectives.latency_p95 or timedelta.max)
    if len(minutes) < LEAST_MINUTES:
        return Measured(at=now, capacity=before)
    balance = list(accumulate(-LATE_WEIGHS if slow else 1.0 for _, slow in minutes))
    best = max(balance)
    split = balance.index(best) if best > 0 else -1
    late = [x for x, slow in minutes[split + 1 :] if slow]
    served = minutes[split + 1 - EVIDENCE][0] if split + 1 >= EVIDENCE else 0.0
    limit = late[EVIDENCE - 1] if len(late) >= EVIDENCE and served else None
    first = before or _guess(seen, objectives.concurrency)
    found = max(first, min(PROBED * first, PROBED * served))
    found = max(KEPT_BACK * served, found if limit is None else min(found, KEPT_BACK * limit))
    if before is not None and lowered_at is not None and now - lowered_at < HELD:
        found = min(found, before)
    near = before is not None and abs(found - before) <= TOLERANCE * before
    return Measured(at=now, capacity=before if near else float(f"{found:.4g}") or None, served=served, limit=limit)


def _usable(seen: Sequence[Observation | Missing], objective: timedelta) -> list[tuple[float, bool]]:
    """Return load per instance and whether p95 was above the objective, of the minutes that tell, by load."""
    loads, each, latency = ({p.at: p.value for p in s.points} if isinstance(s, Observation) else {} for s in seen[:3])
    found: list[tuple[float, bool]] = []
    spell: deque[float] = deque(maxlen=SPELL)
    instances, highest, calm_from, slow_until = 0.0, 0.0, LONG_AGO, LONG_AGO
    for at in sorted(loads.keys() & each.keys() & latency.keys()):
        load, own = loads[at], each[at]
        if not own:
            continue
        if instances and abs(load / own - instances) > 0.01 * instances:
            calm_from = at + AFTER_CHANGE
        instances = load / own
        spell.append(own)
        x, slow = sum(spell) / len(spell), latency[at] > objective / timedelta(microseconds=1)
        if at > slow_until:
            highest = 0.0
        if load >= LEAST_REQUESTS and at >= calm_from and x >= DEEP * highest:
            found.append((x, slow))
        if slow:
            slow_until, highest = at + DRAINING, max(highest, own)
    return sorted(found)


def _guess(seen: Sequence[Observation | Missing], slots: int) -> float:
    """Return `60 k / s * max(0.3, 1 - 1/sqrt(k))` with s the mean service seconds at low load (algorithms 2)."""
    each, mean = ({p.at: p.value for p in s.points} if isinstance(s, Observation) else {} for s in (seen[1], seen[3]))
    by_load = sorted((each[at], mean[at]) for at in each.keys() & mean.keys() if each[at] and mean[at])
    low = by_load[: -(-len(by_load) // 4)]
    if not low:
        return 0.0
    seconds = sum(latency for _, latency in low) / len(low) / 1e6
    return 60 * slots / seconds * max(0.3, 1 - 1 / sqrt(slots))
