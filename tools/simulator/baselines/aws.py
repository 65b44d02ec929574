"""What AWS offers for an endpoint: target tracking, steps, scheduled actions, the guide for asynchronous endpoints.

And the hourly forecast that AWS has for other services, as it would be for this one.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from simulator.baselines.autoscaling import AutoScaling, StepScaling, TargetTracking
from simulator.baselines.stage import Stage
from simulator.cases import Course, Mode
from simulator.queues import need

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from simulator.baselines.autoscaling import Metric
    from simulator.cases import Case

HOUR, DAY = 60, 24 * 60
ACTION_LEAD = 15  # minutes before its hour that a careful person lets a scheduled action run
CPU_AT_CAPACITY = 0.8  # share of the CPU that is busy at the load just served in time, as in `simulator.workload`
SCALE_IN_BELOW, TWO_MORE_AT = 30.0, 100.0  # percent of CPU, of the tutorial's steps
FORECAST_DAYS, FORECAST_BUFFER = 14, 5  # days back and minutes ahead, of predictive scaling
GUIDE_SCALE_IN_COOLDOWN = 10  # minutes; 600 s in AWS's example for asynchronous endpoints (facts 5.1)
GUIDE_WAKE_AFTER = 2  # minutes, of its alarm on a backlog without an instance


def target_tracking(case: Case, knob: str) -> Course:
    """Target tracking on requests per instance; the knob is the target as a share of what an instance can serve.

    Any metric that is proportional to the load per instance gives the same course: concurrency, CPU below its ceiling.

    Rule: Application Auto Scaling User Guide, "How target tracking scaling for Application Auto Scaling works"; alarms
    of 3 and 15 minutes and the size of a step as facts 2.1 to 2.3, default cooldowns.
    """
    stage = Stage(case)
    return stage.play(AutoScaling(stage, [_requests(stage, knob)]), "aas-target-tracking", knob)


def _requests(stage: Stage, share: str) -> TargetTracking:
    return TargetTracking(per_instance(stage), float(share) * stage.case.capacity)


def per_instance(stage: Stage) -> Metric:
    """InvocationsPerInstance: each request counts 1 / instances (facts 3.2)."""
    load, ready = stage.load, stage.ready
    return lambda minute: load[minute] * (1 / ready[minute]) if ready[minute] else None


def step_scaling(case: Case, knob: str) -> Course:
    """Steps on CPU: from `knob` percent one instance more, at 100 two, below 30 one less.

    The steps are those of a widespread tutorial, `{upper: 30, change: -1}, {lower: 60, change: 0}, {lower: 70,
    upper: 100, change: 1}, {lower: 100, change: 2}`, without their overlap and gap; its knob is 70.

    Rule: Application Auto Scaling User Guide, "Step scaling policies" (facts 1.5); alarms of 3 and 15 minutes, default
    cooldown. An alarm fires in one direction, so it takes two policies.
    """
    stage, out = Stage(case), float(knob)
    cpu = cpu_utilization(stage)
    more = [
        {"MetricIntervalLowerBound": 0.0, "MetricIntervalUpperBound": TWO_MORE_AT - out, "ScalingAdjustment": 1},
        {"MetricIntervalLowerBound": TWO_MORE_AT - out, "ScalingAdjustment": 2},
    ]
    fewer = [{"MetricIntervalUpperBound": 0.0, "ScalingAdjustment": -1}]
    policies = (
        StepScaling(cpu, out, 3, more, above=True),
        StepScaling(cpu, SCALE_IN_BELOW, 15, fewer, above=False),
    )
    return stage.play(AutoScaling(stage, [], policies), "aas-step", knob)


def cpu_utilization(stage: Stage) -> Metric:
    """CPUUtilization of an instance with one vCPU: proportional to its load, 80 at capacity, never above 100."""
    load, ready, capacity = stage.load, stage.ready, stage.case.capacity

    def read(minute: int) -> float | None:
        count = ready[minute]
        return 100.0 * min(1.0, CPU_AT_CAPACITY * (load[minute] / (count * capacity))) if count else None

    return read


def scheduled(case: Case, knob: str, daily: NDArray[np.int64] | None = None) -> Course:
    """Daily scheduled actions made from the first week, over target tracking (`knob`; of a queue, AWS's guide with it).

    As a careful person sets them: for each hour of the day the highest need that any day of the warm-up had in it, or
    what `daily` says for each minute of the day, 15 minutes ahead. They are never looked at again. An action that meets
    a change under way fails and is not retried.

    Rule: Application Auto Scaling User Guide, "Scheduled scaling" (facts 1.6): an action sets the bounds and stays.
    """
    stage = Stage(case)
    scaler = _guide(stage, knob) if case.mode is Mode.ASYNC else AutoScaling(stage, [_requests(stage, knob)])
    return stage.play(Scheduled(stage, scaler, daily_actions(case, daily)), "aas-scheduled", knob)


class Scheduled:
    """Scheduled actions on top of policies; `actions` has the minimum by minute."""

    def __init__(self, stage: Stage, scaler: AutoScaling, actions: dict[int, int]) -> None:
        self._stage, self._scaler, self._actions = stage, scaler, actions

    def decide(self, now: int, seen: int) -> None:
        """See `Scaler`."""
        minimum = self._actions.get(now)
        if minimum is not None and not self._stage.updating:
            self._scaler.set_minimum(now, minimum)
        self._scaler.decide(now, seen)


def daily_actions(case: Case, daily: NDArray[np.int64] | None = None) -> dict[int, int]:
    """When an action runs, and the minimum it sets (see `scheduled`); none if the warm-up is shorter than a day."""
    length, warmup = len(case.requests), case.warmup
    if warmup < DAY:
        return {}
    minutes = _minute_of_day(case, np.arange(length + ACTION_LEAD))
    peaks = (hourly_peaks(case).repeat(HOUR) if daily is None else daily)[minutes]
    floors = np.maximum(peaks[:length], peaks[ACTION_LEAD:])
    changes = np.flatnonzero(np.diff(floors, prepend=-1))
    found = {int(minute): int(floors[minute]) for minute in changes if minute >= warmup}
    return {warmup: int(floors[warmup]), **found} if warmup < length else {}


def hourly_peaks(case: Case) -> NDArray[np.int64]:
    """Instances that each hour of the day needed at most in the warm-up, as the clock of the trace has it."""
    peaks = np.full(24, case.minimum)
    hours = _minute_of_day(case, np.arange(case.warmup)) // HOUR
    np.maximum.at(peaks, hours, need(case)[: case.warmup])
    return peaks


def _minute_of_day(case: Case, minutes: NDArray[np.int64]) -> NDArray[np.int64]:
    return (case.start.hour * HOUR + case.start.minute + minutes) % DAY


def async_guide(case: Case, knob: str) -> Course:
    """Target tracking on the backlog per instance, and a step out of zero while requests wait without an instance.

    The knob is the target: 5 as in AWS's example; below 1, a share of what an instance finishes within the objective.

    Rule: SageMaker Developer Guide, "Autoscale an asynchronous endpoint" (facts 5.1), cooldowns as in its example.
    """
    stage = Stage(case)
    return stage.play(_guide(stage, knob), "aas-async-guide", knob)


def guided_above(case: Case, knob: str, floors: Sequence[int], count: int, wake_after: int) -> Course:
    """The same over a floor for every minute, from `count` instances on; out of zero after so many minutes."""
    stage = Stage(case, count)
    return stage.play(Floored(_guide(stage, knob, wake_after), list(floors)), "aas-async-guide", knob)


def _guide(stage: Stage, knob: str, wake_after: int = GUIDE_WAKE_AFTER) -> AutoScaling:
    waiting, busy, ready, case = stage.waiting, stage.busy, stage.ready, stage.case
    value = float(knob)
    target = value if value >= 1 else value * case.capacity * case.objective

    def backlog_per_instance(minute: int) -> float | None:  # silent at zero instances (facts 2.5)
        return max(waiting[minute], busy[minute]) / ready[minute] if ready[minute] else None

    def backlog_without_capacity(minute: int) -> float:
        return 1.0 if waiting[minute] and not ready[minute] else 0.0

    tracking = TargetTracking(backlog_per_instance, target, cooldown_in=GUIDE_SCALE_IN_COOLDOWN)
    one_more = [{"MetricIntervalLowerBound": 0.0, "ScalingAdjustment": 1}]
    return AutoScaling(
        stage, [tracking], [StepScaling(backlog_without_capacity, 1.0, wake_after, one_more, above=True)]
    )


def hourly_forecast(case: Case, knob: str) -> Course:
    """An hourly forecast of up to 14 days as a floor, over target tracking with the same target (`knob`).

    What predictive scaling would be on an endpoint; AWS has it for EC2 and ECS only. Its forecaster is not public: here
    an hour gets the mean of the same hour of the days before.

    Rule: EC2 Auto Scaling User Guide, "How predictive scaling works": at least 24 hours and up to 14 days of the metric
    give an hourly forecast, made anew every 6 hours; capacity is there from the start of the hour, or earlier by a
    buffer (300 s by default); it never scales in, which is left to dynamic scaling.
    """
    stage = Stage(case)
    scaler = AutoScaling(stage, [_requests(stage, knob)])
    floors = forecast_floors(case, float(knob) * case.capacity)
    return stage.play(Floored(scaler, floors.tolist()), "hourly-forecast", knob)


class Floored:
    """A floor for every minute on top of policies, asserted until it holds."""

    def __init__(self, scaler: AutoScaling, floors: list[int]) -> None:
        self._scaler, self._floors = scaler, floors

    def decide(self, now: int, seen: int) -> None:
        """See `Scaler`."""
        if now < len(self._floors):
            self._scaler.set_minimum(now, self._floors[now])
        self._scaler.decide(now, seen)


def forecast_floors(case: Case, per_instance: float) -> NDArray[np.int64]:
    """The floor of each minute, if an instance is to get `per_instance` requests a minute on the mean of its hour.

    Every forecast is at most 6 hours old, so the same hour of the day before is always known to it.
    """
    offset, length = case.start.minute, len(case.requests)  # the first clock hour may have begun before the case
    hours = -(-(offset + length + FORECAST_BUFFER) // HOUR)
    load = np.full(hours * HOUR, np.nan)
    load[offset : offset + length] = case.requests
    means = load.reshape(hours, HOUR).mean(axis=1)  # of whole hours, nan for the others
    total, known = np.zeros(hours), np.zeros(hours)
    for back in range(24, min(hours, 24 * FORECAST_DAYS + 1), 24):
        total[back:] += np.nan_to_num(means[:-back])
        known[back:] += ~np.isnan(means[:-back])
    forecast = total / np.maximum(1, known)
    floors = np.maximum(case.minimum, np.ceil(np.round(forecast / per_instance, 9))).astype(np.int64)
    minutes = offset + np.arange(length)
    return np.maximum(floors[minutes // HOUR], floors[(minutes + FORECAST_BUFFER) // HOUR])


def static_peak(case: Case, knob: str) -> Course:
    """As many instances as the highest minute of the warm-up needed, times the knob, for ever.

    Without a warm-up the peak of the whole case is taken, as if it were known. The usual way without autoscaling:
    SageMaker Developer Guide, "Real-time inference" (a fixed InitialInstanceCount).
    """
    known = need(case)[: case.warmup] if case.warmup else need(case)
    count = min(case.maximum, max(case.minimum, math.ceil(round(float(knob) * int(known.max()), 9))))
    held = np.full(len(case.requests), count, dtype=np.int64)
    return Course(policy="static-peak", knob=knob, ready=held, billed=held, orders=np.zeros(0, dtype=np.int64))
