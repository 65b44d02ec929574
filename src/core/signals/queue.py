"""Asynchronous load: the backlog against what one instance works off within the objective (algorithms 9)."""

from core.model import Point, Reason, Recommendation, ScalableTarget
from core.policy import Profile
from core.ports import MetricQuery
from core.signals.utilisation import instances


def query(target: ScalableTarget) -> MetricQuery:
    """Return the backlog metric, which counts items being processed too. Dimension EndpointName only (facts 3.4)."""
    return MetricQuery("AWS/SageMaker", "ApproximateBacklogSize", (*target.names.items(),)[:1], "Maximum")


def recommend(profile: Profile, point: Point) -> Recommendation:
    """Return the instances that work a backlog off within the objective: `ceil(Q / (mu T))`, none for an empty queue.

    `settled` never falls below 1: going to zero is left to the native idle policy, which knows nothing is in flight.
    """
    each = profile.objectives.items_per_instance
    return Recommendation(
        at=point.at,
        floor=instances(point.value, each),
        settled=max(instances(point.value, profile.settling_target or each), 1),
        reason=Reason.BACKLOG,
        seen={"backlog": point.value, "items_per_instance": each},
    )
