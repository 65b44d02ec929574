"""The baselines against the figures of the design's prototype, which was written apart from this code.

`prototype_results.csv` holds what that prototype printed for target tracking, HPA and Knative on twelve public traces
(algorithms 11): cost beside the clairvoyant, share of requests in overloaded minutes, changes a day. Each figure has to
be within 10 % of its own in the median over the traces. Three things differ from the bench and are done here as the
prototype did them:

- It interpolated coarse traces and added noise, 5 % AR(1) and Poisson. The bench has a few rows of these minutes too,
  but else keeps every measured count: bursts rise more steeply, and more is violated.
- It counted changes from the beginning of the warm-up.
- Knative's figures are those of windows ten times as long, so that the panic window, a tenth of the stable one, is one
  minute. With the default of 60 s the cost is the same; there are nearly twice as many changes.
"""

import csv
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from simulator.baselines import run
from simulator.baselines.kubernetes import Kpa
from simulator.baselines.stage import Stage
from simulator.cases import Case, Course, Mode, Scale, case_of
from simulator.oracle import clairvoyant
from simulator.scores import score

TRACES = Path(__file__).parents[2] / "traces"
Figures = tuple[float, float, float]  # cost ratio, violated share, changes a day
with (Path(__file__).parent / "prototype_results.csv").open(newline="") as file:
    PROTOTYPE: dict[tuple[str, str], dict[str, Figures]] = {}
    for row in csv.DictReader(file):
        figures = (float(row["cost_ratio"]), float(row["violated_share"]), float(row["changes_per_day"]))
        PROTOTYPE.setdefault((row["policy"], row["knob"]), {})[row["trace"]] = figures
NAMES = sorted(PROTOTYPE["hpa", "0.6"])
FEWEST_VIOLATED = 0.001  # below, a share is a handful of minutes


@cache
def as_the_prototype_made_it(name: str) -> tuple[Case, Course]:
    """The case of a trace, and the clairvoyant's course."""
    path = next(TRACES.glob(f"{name}.csv*"))
    case = replace(case_of(path, scale=Scale(longest_days=None, noisy=True)), maximum=10_000)
    return case, clairvoyant(case)


def measured(case: Case, best: Course, course: Course) -> Figures:
    result = score(case, course, best)
    assert result.cost_ratio is not None
    return result.cost_ratio, result.violated_share, 1440 * len(course.orders) / len(case.requests)


def deviations(policy: str, knob: str, played: dict[str, Figures]) -> list[float]:
    """Median over the traces of the relative deviation from the prototype: cost, violated, changes."""
    theirs = PROTOTYPE[policy, knob]
    off = np.array(
        [
            [abs(ours / other - 1) if other else 0.0 for ours, other in zip(played[name], theirs[name], strict=True)]
            for name in played
        ]
    )
    rare = np.array([theirs[name][1] < FEWEST_VIOLATED for name in played])
    return [float(np.median(off[:, 0])), float(np.median(off[~rare, 1])), float(np.median(off[:, 2]))]


@pytest.mark.parametrize(("policy", "knob"), [pair for pair in PROTOTYPE if pair[0] != "knative"])
def test_target_tracking_and_hpa_are_within_10_percent(policy: str, knob: str) -> None:
    played = {}
    for name in NAMES:
        case, best = as_the_prototype_made_it(name)
        played[name] = measured(case, best, run(policy, knob, case))
    assert max(deviations(policy, knob, played)) <= 0.10, deviations(policy, knob, played)


def knative(window: int) -> list[float]:
    played = {}
    for name in NAMES:
        case, best = as_the_prototype_made_it(name)
        stage = Stage(case)
        played[name] = measured(case, best, stage.play(Kpa(stage, 0.6 * case.capacity, window), "knative", "0.6"))
    return deviations("knative", "0.6", played)


def test_knative_is_within_10_percent_with_windows_like_the_prototype() -> None:
    assert max(knative(window=10)) <= 0.10, knative(window=10)


def test_knative_costs_the_same_with_its_default_window_but_changes_more() -> None:
    cost, _, changes = knative(window=1)
    assert cost <= 0.10
    assert changes > 0.10


@pytest.mark.parametrize("policy", ["aas-target-tracking", "hpa"])
def test_with_the_minutes_of_the_bench_the_cost_is_the_same(policy: str) -> None:
    played = {}
    for name in NAMES:
        case = case_of(next(TRACES.glob(f"{name}.csv*")), Mode.REALTIME)
        played[name] = measured(case, clairvoyant(case), run(policy, "0.6", case))
    assert deviations(policy, "0.6", played)[0] <= 0.10
