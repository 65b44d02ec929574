"""The native policies every target carries, in the shapes of PutScalingPolicy and PutMetricAlarm.

They keep an endpoint scaling while Tidegate is away (architecture 5). All names begin with what Tidegate owns.
"""

from collections.abc import Mapping
from typing import Any

from core.context import Enrolment
from core.errors import ConfigError, Problem
from core.model import Kind, ScalableTarget
from core.policy import StepScaling, TargetTracking
from core.ports import NativePolicy

SATURATED_MINUTES = 5
"""Minutes at the ceiling before capacity doubles: longer than tracking's 3, so that it acts only when that fails."""


def owned_prefix(stage: str) -> str:
    """Return what the names of our policies and scheduled actions begin with."""
    return f"tidegate-{stage}-"


def alarm_prefix(target: ScalableTarget, kind: Kind, stage: str) -> str:
    """Return what the names of our alarms on this target begin with; one EventBridge rule a kind matches them."""
    return f"tidegate-target-{stage}-{kind.value}-{target.endpoint_name}-{target.variant_name}-"


def native_policies(enrolment: Enrolment, stage: str) -> tuple[NativePolicy, ...]:
    """Return what must be registered on the target: the declared policies and those that let it survive us.

    Raises:
        ConfigError: where CPU per core is asked for and the vCPU count is unknown.
    """
    shapes = _Shapes(enrolment, stage)
    declared = [
        native
        for policy in enrolment.profile.native_policies
        for native in (
            [shapes.tracking(policy)] if isinstance(policy, TargetTracking) else list(shapes.stepping(policy))
        )
    ]
    if not enrolment.profile.queued:
        return (*declared, shapes.saturation())
    if enrolment.profile.min_capacity == 0:
        return (*declared, shapes.wake(), shapes.idle())
    return tuple(declared)


def scale_out_alarms(policies: tuple[NativePolicy, ...]) -> tuple[str, ...]:
    """Return the names of those alarms that ask for more capacity, given policies as AAS describes them."""
    return tuple(
        name
        for policy in policies
        for name in policy.alarm_names
        if "AlarmHigh" in name or name.endswith(("-out", "-saturation", "-wake"))
    )


class _Shapes:
    """Builds AAS and CloudWatch structures for one target."""

    def __init__(self, enrolment: Enrolment, stage: str) -> None:
        self._enrolment = enrolment
        self._policy_prefix = owned_prefix(stage)
        self._alarm_prefix = alarm_prefix(enrolment.target, enrolment.profile.kind, stage)
        target = enrolment.target
        self._by_endpoint = [{"Name": "EndpointName", "Value": target.endpoint_name}]
        self._by_variant = [*self._by_endpoint, {"Name": "VariantName", "Value": target.variant_name}]

    def tracking(self, policy: TargetTracking) -> NativePolicy:
        """Return a target-tracking policy."""
        configuration = {
            "TargetValue": float(policy.target),
            **self._tracked_metric(policy.metric),
            "ScaleOutCooldown": int(policy.scale_out_cooldown.total_seconds()),
            "ScaleInCooldown": int(policy.scale_in_cooldown.total_seconds()),
            "DisableScaleIn": policy.disable_scale_in,
        }
        name = f"{self._policy_prefix}track-{policy.metric}"
        return NativePolicy(name, "TargetTrackingScaling", configuration)

    def stepping(self, policy: StepScaling) -> tuple[NativePolicy, ...]:
        """Return up to two step policies: an alarm fires in one direction only, so out and in need one each.

        Bounds are relative to the alarm's threshold: metric minus threshold (facts 1.5).
        """
        found = []
        out = [step for step in policy.steps if step.change > 0]
        if out:
            at = out[0].lower or 0.0
            steps = [_adjustment(_minus(s.lower, at), _minus(s.upper, at), s.change) for s in out]
            alarm = self._alarm(policy.metric, "out", "GreaterThanOrEqualToThreshold", at, 3)
            found.append(self._step(f"step-{policy.metric}-out", "ChangeInCapacity", steps, alarm, policy))
        into = [step for step in policy.steps if step.change < 0]
        if into and into[-1].upper is not None:
            at = into[-1].upper
            steps = [_adjustment(_minus(s.lower, at), _minus(s.upper, at), s.change) for s in into]
            alarm = self._alarm(policy.metric, "in", "LessThanThreshold", at, 15)
            found.append(self._step(f"step-{policy.metric}-in", "ChangeInCapacity", steps, alarm, policy))
        return tuple(found)

    def saturation(self) -> NativePolicy:
        """Return the policy that doubles capacity when utilisation stays at its ceiling (algorithms 7)."""
        at_least = "GreaterThanOrEqualToThreshold"
        capacity = self._enrolment.profile.capacity_per_instance
        if capacity is None:
            alarm = self._alarm("cpu", "saturation", at_least, 95.0, SATURATED_MINUTES)
        else:
            alarm = {
                **self._alarm_frame("saturation", at_least, float(capacity), SATURATED_MINUTES),
                **_metric("AWS/SageMaker", "InvocationsPerInstance", self._by_variant, "Sum"),
            }
        steps = [_adjustment(0.0, None, 100)]
        return self._step("saturation", "PercentChangeInCapacity", steps, alarm)

    def wake(self) -> NativePolicy:
        """Return the policy that leaves zero when requests wait (facts 5.1)."""
        alarm = {
            **self._alarm_frame("wake", "GreaterThanOrEqualToThreshold", 1.0, 2),
            **_metric("AWS/SageMaker", "HasBacklogWithoutCapacity", self._by_endpoint, "Average"),
        }
        return self._step("wake", "ChangeInCapacity", [_adjustment(0.0, None, 1)], alarm)

    def idle(self) -> NativePolicy:
        """Return the policy that goes to zero after the idle delay; the backlog counts items being processed."""
        minutes = int(self._enrolment.profile.idle_after.total_seconds() // 60)
        alarm = {
            **self._alarm_frame("idle", "LessThanOrEqualToThreshold", 0.0, minutes),
            **_metric("AWS/SageMaker", "ApproximateBacklogSize", self._by_endpoint, "Maximum"),
        }
        return self._step("idle", "ExactCapacity", [_adjustment(None, 0.0, 0)], alarm)

    def _tracked_metric(self, metric: str) -> dict[str, Any]:
        if metric == "requests_per_instance":
            predefined = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
            return {"PredefinedMetricSpecification": predefined}
        if metric == "cpu":  # AAS takes no Period here (facts 1.5)
            return {"CustomizedMetricSpecification": {"Metrics": self._cpu_per_core(period=None)}}
        if metric == "memory":
            custom = _metric("/aws/sagemaker/Endpoints", "MemoryUtilization", self._by_variant, "Average")
            return {"CustomizedMetricSpecification": custom}
        custom = _metric("AWS/SageMaker", "ApproximateBacklogSizePerInstance", self._by_endpoint, "Average")
        return {"CustomizedMetricSpecification": custom}

    def _alarm(self, metric: str, what: str, comparison: str, threshold: float, minutes: int) -> dict[str, Any]:
        suffix = what if what == "saturation" else f"{metric}-{what}"
        frame = self._alarm_frame(suffix, comparison, threshold, minutes)
        if metric == "cpu":
            del frame["Period"]  # with metric math the period stands in the metric
            return {**frame, "Metrics": self._cpu_per_core(period=60)}
        return {**frame, **_metric("/aws/sagemaker/Endpoints", "MemoryUtilization", self._by_variant, "Average")}

    def _cpu_per_core(self, period: int | None) -> list[dict[str, Any]]:
        """Return metric math for percent per core: CPUUtilization runs to 100 x vCPU (facts 3.1)."""
        vcpus = self._enrolment.vcpus
        if vcpus is None:
            where = ("endpoints", self._enrolment.target.endpoint_name, "vcpus")
            allowed = "CPU is counted per core, and the instance type's name does not tell its vCPUs: state them"
            raise ConfigError([Problem(where, None, allowed)])
        metric = {
            "Namespace": "/aws/sagemaker/Endpoints",
            "MetricName": "CPUUtilization",
            "Dimensions": self._by_variant,
        }
        stat: dict[str, Any] = {"Metric": metric, "Stat": "Average"}
        if period is not None:
            stat["Period"] = period
        return [
            {"Id": "m1", "MetricStat": stat, "ReturnData": False},
            {"Id": "e1", "Expression": f"m1/{vcpus}", "Label": "CPU percent per core", "ReturnData": True},
        ]

    def _alarm_frame(self, what: str, comparison: str, threshold: float, minutes: int) -> dict[str, Any]:
        return {
            "AlarmName": f"{self._alarm_prefix}{what}",
            "AlarmDescription": "Made by Tidegate for a native scaling policy; edits are undone by the next sync.",
            "Period": 60,
            "EvaluationPeriods": minutes,
            "DatapointsToAlarm": minutes,
            "Threshold": threshold,
            "ComparisonOperator": comparison,
            "TreatMissingData": "missing",
        }

    def _step(
        self,
        what: str,
        adjustment: str,
        steps: list[dict[str, Any]],
        alarm: Mapping[str, Any],
        policy: StepScaling | None = None,
    ) -> NativePolicy:
        configuration: dict[str, Any] = {
            "AdjustmentType": adjustment,
            "StepAdjustments": steps,
            "Cooldown": int(policy.cooldown.total_seconds()) if policy else 300,
            "MetricAggregationType": "Average",
        }
        if adjustment == "PercentChangeInCapacity":
            configuration["MinAdjustmentMagnitude"] = 1
        return NativePolicy(f"{self._policy_prefix}{what}", "StepScaling", configuration, alarm)


def _metric(namespace: str, name: str, dimensions: list[dict[str, str]], statistic: str) -> dict[str, Any]:
    return {"Namespace": namespace, "MetricName": name, "Dimensions": dimensions, "Statistic": statistic}


def _adjustment(lower: float | None, upper: float | None, change: int) -> dict[str, Any]:
    bounds = {"MetricIntervalLowerBound": lower, "MetricIntervalUpperBound": upper}
    return {**{key: value for key, value in bounds.items() if value is not None}, "ScalingAdjustment": change}


def _minus(bound: float | None, threshold: float) -> float | None:
    return None if bound is None else round(bound - threshold, 9)
