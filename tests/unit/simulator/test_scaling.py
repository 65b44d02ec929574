"""The arithmetic of Application Auto Scaling (facts 1.5, 2.2)."""

from typing import Any

import pytest

from simulator.scaling import rounded_percent, step_capacity, step_problems, tracking_capacity


@pytest.mark.parametrize(
    ("current", "metric", "target", "want"),
    [
        (2, 150.0, 100.0, 3),  # 2 x 1.5
        (2, 151.0, 100.0, 4),  # 3.02 rounds up
        (1, 400.0, 100.0, 4),  # one jump
        (10, 89.0, 100.0, 9),  # 8.9
        (10, 81.0, 100.0, 9),  # 8.1: eight would run at 101
        (2, 55.0, 100.0, 2),  # 1.1: one would run at 110, so nothing
        (3, 70.0, 70.0, 3),  # 210.00000000000003 / 70 is not four
        (5, 0.0, 100.0, 0),
        (0, 500.0, 100.0, 0),  # target tracking never leaves zero
    ],
)
def test_tracking(current: int, metric: float, target: float, want: int) -> None:
    assert tracking_capacity(current, metric, target) == want


ABOVE = {"ComparisonOperator": "GreaterThanOrEqualToThreshold", "Threshold": 100.0}
BELOW = {"ComparisonOperator": "LessThanThreshold", "Threshold": 100.0}
OUT = [
    {"MetricIntervalLowerBound": 0, "MetricIntervalUpperBound": 10, "ScalingAdjustment": 1},
    {"MetricIntervalLowerBound": 10, "ScalingAdjustment": 3},
]
IN = [
    {"MetricIntervalUpperBound": 0, "MetricIntervalLowerBound": -10, "ScalingAdjustment": -1},
    {"MetricIntervalUpperBound": -10, "ScalingAdjustment": -3},
]


@pytest.mark.parametrize(
    ("alarm", "steps", "metric", "want"),
    [
        (ABOVE, OUT, 100.0, 6),  # the lower bound belongs to its step
        (ABOVE, OUT, 109.9, 6),
        (ABOVE, OUT, 110.0, 8),  # ... and the upper one to the next
        (ABOVE, OUT, 99.9, None),  # no step there
        (BELOW, IN, 99.0, 4),
        (BELOW, IN, 100.0, 4),  # below the threshold the upper bound belongs to its step
        (BELOW, IN, 90.0, 2),  # -10 is the upper bound of the second step
        (BELOW, IN, 90.1, 4),
    ],
)
def test_step_bounds_are_relative_to_the_threshold(
    alarm: dict[str, Any], steps: list[dict[str, Any]], metric: float, want: int | None
) -> None:
    policy = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": steps}
    assert step_capacity(5, metric, alarm, policy) == want


@pytest.mark.parametrize(
    ("kind", "adjustment", "current", "least", "want"),
    [
        ("ExactCapacity", 0, 5, 0, 0),
        ("ExactCapacity", 7, 5, 0, 7),
        ("PercentChangeInCapacity", 100, 3, 0, 6),
        ("PercentChangeInCapacity", 10, 3, 0, 4),  # 0.3 is 1
        ("PercentChangeInCapacity", 50, 5, 0, 7),  # 2.5 is 2
        ("PercentChangeInCapacity", 10, 3, 2, 5),  # at least 2
        ("PercentChangeInCapacity", -10, 3, 2, 1),
        ("PercentChangeInCapacity", 100, 0, 2, 0),  # a percentage of zero adds nothing
        ("ChangeInCapacity", -9, 5, 0, 0),  # never below zero
    ],
)
def test_adjustment_types(kind: str, adjustment: int, current: int, least: int, want: int) -> None:
    policy = {
        "AdjustmentType": kind,
        "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": adjustment}],
        **({"MinAdjustmentMagnitude": least} if least else {}),
    }
    assert step_capacity(current, 100.0, ABOVE, policy) == want


@pytest.mark.parametrize(
    ("change", "want"),
    [(2.9, 2), (1.0, 1), (0.2, 1), (0.0, 0), (-0.2, -1), (-1.0, -1), (-2.9, -2), (0.1 * 30, 3), (-0.7 * 10, -7)],
)
def test_percent_rounding(change: float, want: int) -> None:
    assert rounded_percent(change) == want


@pytest.mark.parametrize(
    ("steps", "why"),
    [
        ([], "at least one step"),
        (
            [{"MetricIntervalLowerBound": 5, "MetricIntervalUpperBound": 5, "ScalingAdjustment": 1}],
            "less than its upper",
        ),
        ([{**OUT[0]}, {"MetricIntervalLowerBound": 11, "ScalingAdjustment": 3}], "gap"),
        ([{**OUT[0]}, {"MetricIntervalLowerBound": 9, "ScalingAdjustment": 3}], "overlap"),
        ([{"ScalingAdjustment": 1}], "both be null"),
    ],
)
def test_steps_that_do_not_tile_are_refused(steps: list[dict[str, Any]], why: str) -> None:
    assert why in (step_problems({"AdjustmentType": "ChangeInCapacity", "StepAdjustments": steps}) or "")


def test_magnitude_is_for_percent_only() -> None:
    policy = {"AdjustmentType": "ExactCapacity", "StepAdjustments": OUT, "MinAdjustmentMagnitude": 2}
    assert "PercentChangeInCapacity" in (step_problems(policy) or "")
