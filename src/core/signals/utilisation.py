"""Real-time load: requests a minute against what one instance serves (algorithms 6-7)."""

import math

from core.metrics import REQUESTS
from core.model import Point, Reason, Recommendation, ScalableTarget
from core.policy import Profile
from core.ports import MetricQuery


def query(target: ScalableTarget) -> MetricQuery:
    """Return the load metric: requests a minute over all instances or copies (facts 3.2)."""
    return MetricQuery.of(REQUESTS, target)


def recommend(profile: Profile, point: Point) -> Recommendation:
    """Return the instances that one minute's requests need.

    `floor = ceil(y / c)` is the guard of algorithms 7; `settled = ceil(y / target)` is where target tracking rests,
    and never below 1: going to zero is left to the native policies.
    """
    capacity = profile.capacity_per_instance
    if capacity is None:
        raise ValueError("a profile without capacity per instance has no request signal")
    return Recommendation(
        at=point.at,
        floor=instances(point.value, capacity),
        settled=max(instances(point.value, profile.settling_target or capacity), 1),
        reason=Reason.LOAD,
        seen={"requests_per_minute": point.value, "requests_per_instance": capacity},
    )


def instances(load: float, per_instance: float) -> int:
    """Return `ceil(load / per_instance)`, forgiving the rounding error of floats: 0.3 / 0.1 is 3."""
    return math.ceil(round(load / per_instance, 9))
