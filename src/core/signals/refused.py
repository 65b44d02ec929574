"""Requests refused because an inference component has no copy: what wakes it (facts 5.2)."""

from core.metrics import NO_CAPACITY
from core.model import Point, Reason, Recommendation, ScalableTarget
from core.policy import Profile
from core.ports import MetricQuery
from core.signals.utilisation import instances


def query(target: ScalableTarget) -> MetricQuery:
    """Return the metric, which is published only while requests are refused: a silent minute is one without any."""
    return MetricQuery.of(NO_CAPACITY, target)


def recommend(profile: Profile, point: Point) -> Recommendation:
    """Return the copies that would have served one minute's refused requests, at least one: `ceil(refused / c)`."""
    capacity = profile.capacity_per_instance
    floor = max(instances(point.value, capacity or point.value), 1) if point.value else 0
    return Recommendation(
        at=point.at,
        floor=floor,
        settled=max(floor, 1),
        reason=Reason.NO_CAPACITY,
        seen={"requests_refused": point.value},
    )
