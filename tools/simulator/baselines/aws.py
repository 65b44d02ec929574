"""What AWS offers for an endpoint: target tracking, steps, scheduled actions, the guide for asynchronous endpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from simulator.baselines.autoscaling import AutoScaling, TargetTracking
from simulator.baselines.stage import Stage

if TYPE_CHECKING:
    from simulator.baselines.autoscaling import Metric
    from simulator.cases import Case, Course


def per_instance(stage: Stage) -> Metric:
    """InvocationsPerInstance: each request counts 1 / instances (facts 3.2)."""
    load, ready = stage.load, stage.ready
    return lambda minute: load[minute] * (1 / ready[minute]) if ready[minute] else None


def target_tracking(case: Case, knob: str) -> Course:
    """Target tracking on requests per instance; the knob is the target as a share of what an instance can serve.

    Any metric that is proportional to the load per instance gives the same course: concurrency, CPU below its ceiling.

    Rule: Application Auto Scaling User Guide, "How target tracking scaling for Application Auto Scaling works"; alarms
    of 3 and 15 minutes and the size of a step as facts 2.1 to 2.3, default cooldowns.
    """
    stage = Stage(case)
    scaler = AutoScaling(stage, [TargetTracking(per_instance(stage), float(knob) * case.capacity)])
    return stage.play(scaler, "aas-target-tracking", knob)
