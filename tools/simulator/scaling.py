"""How Application Auto Scaling sizes a step (facts 2.2, 1.5). AWS's arithmetic, no state."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LOW_ALARM_FACTOR = 0.9  # AlarmLow watches for metric < 0.9 x target (facts 2.1)
ROUNDING_GUARD = 1e-9  # keeps 3 * 70 / 70 from becoming 4


def tracking_capacity(current: int, metric: float, target: float) -> int:
    """The capacity at which the metric comes down (or up) to the target; rounds towards more capacity.

    AWS does not publish the formula; proportional and rounded up is the usual approximation (facts 2.2). Scaling in by
    it never takes so much that the metric would exceed the target.
    """
    return math.ceil(current * metric / target - ROUNDING_GUARD)


def step_capacity(current: int, metric: float, alarm: Mapping[str, Any], policy: Mapping[str, Any]) -> int | None:
    """The capacity a step policy asks for, or None if no step covers the metric."""
    steps: Sequence[Mapping[str, Any]] = policy.get("StepAdjustments", [])
    above = str(alarm["ComparisonOperator"]).startswith("Greater")
    step = next((step for step in steps if _covers(step, metric - alarm["Threshold"], above=above)), None)
    if step is None:
        return None
    adjustment: int = step["ScalingAdjustment"]
    match policy["AdjustmentType"]:
        case "ExactCapacity":
            return adjustment
        case "PercentChangeInCapacity":
            change = rounded_percent(current * adjustment / 100)
            least = policy.get("MinAdjustmentMagnitude", 0)
            if change and abs(change) < least:
                change = int(math.copysign(least, change))
            return max(0, current + change)
        case _:
            return max(0, current + adjustment)


def _covers(step: Mapping[str, Any], distance: float, *, above: bool) -> bool:
    """Above the threshold the lower bound belongs to the step, below it the upper one does (facts 1.5)."""
    low = step.get("MetricIntervalLowerBound", -math.inf)
    high = step.get("MetricIntervalUpperBound", math.inf)
    return bool(low <= distance < high if above else low < distance <= high)


def rounded_percent(change: float) -> int:
    """Away from zero inside (-1, 1), else towards zero: 0.2 is 1, -0.2 is -1, 2.9 is 2, -2.9 is -2."""
    if 0 < abs(change) < 1:
        return int(math.copysign(1, change))
    return math.trunc(change + math.copysign(ROUNDING_GUARD, change))


def step_problems(policy: Mapping[str, Any]) -> str | None:
    """What is wrong with the steps of a policy, if anything: no gaps, no overlaps, one open end each way."""
    steps = policy.get("StepAdjustments", [])
    if not steps or "AdjustmentType" not in policy:
        return "AdjustmentType and at least one step adjustment are required"
    spans = sorted(
        (step.get("MetricIntervalLowerBound", -math.inf), step.get("MetricIntervalUpperBound", math.inf))
        for step in steps
    )
    if (-math.inf, math.inf) in spans:
        return "The upper and lower bound of a step adjustment can't both be null"
    if any(low >= high for low, high in spans):
        return "The lower bound of a step adjustment must be less than its upper bound"
    for (_, high), (low, _) in itertools.pairwise(spans):
        if high != low:
            return f"StepAdjustment intervals must have no {'overlap' if low < high else 'gap'}"
    if "MinAdjustmentMagnitude" in policy and policy["AdjustmentType"] != "PercentChangeInCapacity":
        return "MinAdjustmentMagnitude is supported for PercentChangeInCapacity only"
    return None
