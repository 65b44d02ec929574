"""Everything a user could choose beside Tidegate, each after its public rule, played on the same cases.

Nobody here knows the future, and all play by the same clockwork: one change at a time, metrics that are late, instances
that take minutes to come.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from simulator.baselines import aws, kubernetes
from simulator.cases import Mode

if TYPE_CHECKING:
    from collections.abc import Callable

    from simulator.cases import Case, Course


class Baseline(NamedTuple):
    """One policy: how it plays, the positions of its knob that a bench shows, and where it can be used."""

    play: Callable[[Case, str], Course]
    knobs: tuple[str, ...]
    modes: tuple[Mode, ...]


BY_LOAD = (Mode.REALTIME, Mode.WINDOW)
BY_QUEUE = (Mode.ASYNC,)
BASELINES: dict[str, Baseline] = {
    "aas-target-tracking": Baseline(aws.target_tracking, ("0.5", "0.6", "0.7", "0.8"), BY_LOAD),
    "aas-step": Baseline(aws.step_scaling, ("50", "60", "70"), BY_LOAD),
    "aas-scheduled": Baseline(aws.scheduled, ("0.7",), (*BY_LOAD, *BY_QUEUE)),
    "hourly-forecast": Baseline(aws.hourly_forecast, ("0.7",), BY_LOAD),
    "hpa": Baseline(kubernetes.hpa, ("0.5", "0.6", "0.7"), BY_LOAD),
    "knative": Baseline(kubernetes.knative, ("0.6", "0.7"), BY_LOAD),
    "aas-async-guide": Baseline(aws.async_guide, ("5", "0.25", "0.5"), BY_QUEUE),
    "keda": Baseline(kubernetes.keda, ("5",), BY_QUEUE),
    "static-peak": Baseline(aws.static_peak, ("1.0", "1.2"), (*BY_LOAD, *BY_QUEUE)),
}


def run(policy: str, knob: str, case: Case) -> Course:
    """Play one baseline with one position of its knob.

    Raises:
        ValueError: no such policy, or it has no meaning in the mode of the case.
    """
    baseline = BASELINES.get(policy)
    if baseline is None:
        raise ValueError(f"policy {policy!r} must be one of {', '.join(BASELINES)}")
    if case.mode not in baseline.modes:
        raise ValueError(f"policy {policy!r} plays in {', '.join(baseline.modes)}, not in {case.mode}")
    return baseline.play(case, knob)
