"""Signals recommend: each answers how much capacity a minute's load needs, with the figures it looked at."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from functools import partial

from core.context import Context, Enrolment
from core.model import Observation, Recommendation, Signal
from core.ports import MetricQuery
from core.signals import queue, refused, utilisation

LOOKBACK = timedelta(minutes=5)
"""Fetched beyond the stabilization window, so that late points do not shorten it."""


def queries(enrolment: Enrolment) -> Mapping[Signal, MetricQuery]:
    """Return the metrics a pass must read for this target."""
    makers = {Signal.REQUESTS: utilisation.query, Signal.BACKLOG: queue.query, Signal.NO_CAPACITY: refused.query}
    return {signal: makers[signal](enrolment.target) for signal in enrolment.profile.signals}


def recommendations(ctx: Context, since: datetime) -> tuple[Recommendation, ...]:
    """Return what each minute measured from `since` on asks for, oldest first; nothing for signals that are missing."""
    recommend = {
        Signal.REQUESTS: partial(utilisation.recommend, ctx.profile, factor=ctx.memory.target_factor),
        Signal.BACKLOG: partial(queue.recommend, ctx.profile),
        Signal.NO_CAPACITY: partial(refused.recommend, ctx.profile),
    }
    found = [
        recommend[signal](point)
        for signal, seen in ctx.signals.items()
        if isinstance(seen, Observation)
        for point in seen.points
        if point.at >= since
    ]
    return tuple(sorted(found, key=lambda recommendation: recommendation.at))
