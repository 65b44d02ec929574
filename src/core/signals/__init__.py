"""Signals recommend: each answers how much capacity a minute's load needs, with the figures it looked at."""

from collections.abc import Mapping
from datetime import datetime, timedelta

from core.context import Context, Enrolment
from core.model import Observation, Recommendation, Signal
from core.policy import Profile
from core.ports import MetricQuery
from core.signals import queue, refused, utilisation

LOOKBACK = timedelta(minutes=5)
"""Fetched beyond the stabilization window, so that late points do not shorten it."""


def queries(enrolment: Enrolment, *, working: bool) -> Mapping[Signal, MetricQuery]:
    """Return the metrics a pass must read for this target; `working` is whether the last saw its queue at work."""
    makers = {Signal.REQUESTS: utilisation.query, Signal.NO_CAPACITY: refused.query}
    found = {signal: make(enrolment.target) for signal, make in makers.items() if signal in enrolment.profile.signals}
    return {**found, **(queue.queries(enrolment, working=working) if enrolment.profile.works_off_a_queue else {})}


def look_back(profile: Profile) -> timedelta:
    """Return how much of the past a pass must read for this profile."""
    longest = max(profile.stabilization, queue.look_back(profile) if profile.works_off_a_queue else timedelta(0))
    return longest + LOOKBACK


def recommendations(ctx: Context, since: datetime) -> tuple[Recommendation, ...]:
    """Return what each minute measured from `since` on asks for, oldest first; nothing for signals that are missing."""
    found: list[Recommendation] = []
    for signal, recommend in ((Signal.REQUESTS, utilisation.recommend), (Signal.NO_CAPACITY, refused.recommend)):
        if isinstance(seen := ctx.signals.get(signal), Observation):
            found += [recommend(ctx.profile, point) for point in seen.points]
    if ctx.profile.works_off_a_queue:
        found += queue.recommend(ctx)
    return tuple(sorted((each for each in found if each.at >= since), key=lambda each: each.at))
