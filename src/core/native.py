"""The native policies every target carries, in the shapes of PutScalingPolicy and PutMetricAlarm.

They keep an endpoint scaling while Tidegate is away (ADR 0001). All names begin with what Tidegate owns.
"""

import re
from collections.abc import Mapping
from datetime import timedelta
from math import ceil, floor
from typing import Any

from core.context import Enrolment
from core.errors import ConfigError, Problem
from core.metrics import BACKLOG, FAILED, HAS_BACKLOG_WITHOUT_CAPACITY, LATENCY, METRICS, NO_CAPACITY, SQS, Metric
from core.model import Kind, ScalableTarget, Serving, Signal, Tracking
from core.policy_scaling import CloudWatchMetric, MetricMath, StepScaling, TargetTracking
from core.ports import NativePolicy

SATURATED_MINUTES = 5
"""Minutes at the ceiling before capacity doubles: longer than tracking's 3, so that it acts only when that fails."""

MOST_STEPS = 20
"""Of one policy (facts 1.9)."""

NOTICED_MINUTES = 3
"""Minutes before an alarm that only Tidegate hears rings."""

FAILED_SHARE = 0.01
"""More 5xx answers than this share of the requests mean that demand is turned away (algorithms 7)."""

ALARM_SUFFIX = re.compile(r"saturation|slow|congested|latency|errors|wake|idle|[a-z_]+-(out|in)")
"""What follows `alarm_prefix` in the names of our alarms."""


def owned_prefix(stage: str) -> str:
    """Return what the names of our policies and scheduled actions begin with."""
    return f"tidegate-{stage}-"


def alarm_prefix(target: ScalableTarget, kind: Kind, stage: str) -> str:
    """Return what the names of our alarms on this target begin with; one EventBridge rule a kind matches them."""
    component = target.names.get("InferenceComponentName")  # no endpoint's name contains a full stop
    name = f"ic.{component}" if component else "-".join(target.names.values())
    return f"tidegate-target-{stage}-{kind.value}-{name}-"


def native_policies(enrolment: Enrolment, stage: str) -> tuple[NativePolicy, ...]:
    """Return what must be registered on the target: the declared policies and those that let it survive us.

    Args:
        enrolment: the target and its profile.
        stage: part of every name.

    Raises:
        ConfigError: where a percentage per core or GPU is asked for and their count is unknown.
    """
    shapes = _Shapes(enrolment, stage)
    declared = [
        native
        for policy in enrolment.profile.native_policies
        for native in (
            [shapes.tracking(policy)] if isinstance(policy, TargetTracking) else list(shapes.stepping(policy))
        )
    ]
    if not (enrolment.profile.queued or enrolment.profile.queue):
        declared += shapes.doubling()
    if queue := enrolment.profile.followed_queue:
        declared += shapes.messages(queue.sqs)
    if enrolment.profile.min_capacity == 0:
        declared += [shapes.wake(), shapes.idle()] if enrolment.profile.queued else [shapes.wake_component()]
    return tuple(declared)


def request_tracking(enrolment: Enrolment, stage: str) -> tuple[NativePolicy, ...]:
    """Return the policy that tracks requests, if there is one."""
    return tuple(map(_Shapes(enrolment, stage).tracking, enrolment.profile.request_targets))


def heard_alarms(enrolment: Enrolment, stage: str) -> tuple[Mapping[str, Any], ...]:
    """Return the alarms that no policy follows: they wake Tidegate, which knows the load (algorithms 2, 7)."""
    latency = enrolment.profile.objectives.latency_p95
    shapes, above = _Shapes(enrolment, stage), "GreaterThanThreshold"
    found = {"errors": shapes.alarm(FAILED, "errors", above, FAILED_SHARE, NOTICED_MINUTES)}
    if latency is not None:
        found["latency"] = shapes.alarm(LATENCY, "latency", above, _microseconds(latency), NOTICED_MINUTES)
    return tuple(found[suffix] for suffix in guard_alarms(enrolment, stage) if suffix in found)


def guard_alarms(enrolment: Enrolment, stage: str) -> Mapping[str, str]:
    """Return the names of the alarms that passes read, by what they end with; nothing of them is stored.

    Of real-time endpoints those of the guard, of queues those that leave zero and go there.
    """
    profile, objectives = enrolment.profile, enrolment.profile.objectives
    prefix = alarm_prefix(enrolment.target, profile.kind, stage)
    if profile.kind is not Kind.REALTIME or profile.queue is not None:
        zero = profile.kind is Kind.ASYNC and profile.min_capacity == 0
        return {suffix: prefix + suffix for suffix in ("wake", "idle")} if zero else {}
    suffixes = ["saturation", "errors"]
    suffixes += ["latency", "slow"] if objectives.latency_p95 is not None else []
    suffixes += ["congested"] if objectives.concurrent_requests is not None else []
    return {suffix: prefix + suffix for suffix in suffixes}


def scale_out_alarms(policies: tuple[NativePolicy, ...]) -> tuple[str, ...]:
    """Return the names of those alarms that ask for more capacity, given policies as AAS describes them.

    Those that the guard reads (`guard_alarms`) are not among them.
    """
    return tuple(
        name
        for policy in policies
        for name in policy.alarm_names
        if "AlarmHigh" in name or name.endswith(("-out", "-wake"))
    )


def tracking_policies(policies: tuple[NativePolicy, ...], target: ScalableTarget, stage: str) -> tuple[Tracking, ...]:
    """Return what a scale-in needs the consent of, given policies as AAS describes them (facts 2.4)."""
    ours = owned_prefix(stage)
    return tuple(
        Tracking(
            name=policy.name.removeprefix(ours),
            low=next((short(name, target) for name in policy.alarm_names if "AlarmLow" in name), None),
            disabled=bool(policy.configuration.get("DisableScaleIn", False)),
            foreign=not policy.name.startswith(ours),
        )
        for policy in policies
        if policy.policy_type == "TargetTrackingScaling"
    )


def short(alarm: str, target: ScalableTarget) -> str:
    """Return an alarm's name with `*` for what those of target tracking on this target begin with (facts 2.1)."""
    return alarm.replace(f"TargetTracking-{target.resource_id}-Alarm", "*")


def full(alarm: str, target: ScalableTarget) -> str:
    """Return the name that `short` made short."""
    return alarm.replace("*", f"TargetTracking-{target.resource_id}-Alarm")


class _Shapes:
    """Builds AAS and CloudWatch structures for one target."""

    def __init__(self, enrolment: Enrolment, stage: str) -> None:
        self._enrolment = enrolment
        self._policy_prefix = owned_prefix(stage)
        self._alarm_prefix = alarm_prefix(enrolment.target, enrolment.profile.kind, stage)

    def tracking(self, policy: TargetTracking) -> NativePolicy:
        """Return a target-tracking policy."""
        starts = self._enrolment.profile.provisioning or timedelta(0)
        configuration = {
            "TargetValue": round(policy.target, 4),
            **(
                self._tracked_metric(self._metric(policy.metric))
                if policy.custom is None
                else self._custom(policy.custom)
            ),
            "ScaleOutCooldown": int(policy.scale_out_cooldown.total_seconds()),
            "ScaleInCooldown": int(max(policy.scale_in_cooldown, starts).total_seconds()),
            "DisableScaleIn": policy.disable_scale_in,
        }
        name = f"{self._policy_prefix}track-{policy.followed}"
        return NativePolicy(name, "TargetTrackingScaling", configuration)

    def stepping(self, policy: StepScaling) -> tuple[NativePolicy, ...]:
        """Return up to two step policies: an alarm fires in one direction only, so out and in need one each.

        Bounds are relative to the alarm's threshold: metric minus threshold (facts 1.5).
        """
        out, into = ([step for step in policy.ranges if step.change * way > 0] for way in (1, -1))
        ways = [("out", out, out[0].lower or 0.0, "GreaterThanOrEqualToThreshold", 3)] if out else []
        if into and into[-1].upper is not None:
            ways.append(("in", into, into[-1].upper, "LessThanThreshold", 15))
        found, metric, cooldown = [], self._metric(policy.metric), int(policy.cooldown.total_seconds())
        for way, ranges, at, comparison, minutes in ways:
            name = f"{policy.metric}-{way}"
            steps = [_adjustment(s.lower, s.upper, s.change) for s in (each.moved(-at) for each in ranges)]
            alarm = self.alarm(metric, name, comparison, at, minutes)
            found.append(self._step(f"step-{name}", "ChangeInCapacity", steps, alarm, Cooldown=cooldown))
        return tuple(found)

    def doubling(self) -> list[NativePolicy]:
        """Return the policies that double capacity where demand is hidden, as the guard does (algorithms 7)."""
        objectives = self._enrolment.profile.objectives
        found = [self._doubling("saturation", *self._ceiling())]
        if objectives.latency_p95 is not None:
            found.append(self._doubling("slow", LATENCY, 2 * _microseconds(objectives.latency_p95)))
        if objectives.concurrent_requests is not None:
            limit = float(objectives.concurrent_requests)
            found.append(self._doubling("congested", self._metric("concurrent_requests"), limit))
        return found

    def _ceiling(self) -> tuple[Metric, float]:
        """Return the metric that says when what runs is at its ceiling, and the ceiling.

        A request target that somebody declared is what AAS keeps an instance at, not what it can serve: then only CPU
        can say that it is at its ceiling, or the GPU of a component that does not follow its CPU.
        """
        profile = self._enrolment.profile
        if profile.serving is Serving.SERVERLESS:
            return self._metric("provisioned_concurrency"), 0.95
        component = profile.serving is Serving.INFERENCE_COMPONENT
        capacity = profile.objectives.requests_per_instance
        if capacity is None and not component and not self._enrolment.vcpus:
            capacity = profile.capacity_per_instance
        if capacity is not None:
            return self._metric(profile.request_metric), float(capacity)
        follows_cpu = any(policy.metric == "cpu" for policy in profile.native_policies)
        return self._metric("gpu" if component and not follows_cpu else "cpu"), 95.0

    def _doubling(self, what: str, metric: Metric, threshold: float) -> NativePolicy:
        alarm = self.alarm(metric, what, "GreaterThanOrEqualToThreshold", threshold, SATURATED_MINUTES)
        return self._step(what, "PercentChangeInCapacity", [_adjustment(0.0, None, 100)], alarm)

    def wake(self) -> NativePolicy:
        """Return the policy that leaves zero when requests wait (facts 5.1), as late as one instance is in time."""
        minutes = self._enrolment.profile.wake_after // timedelta(minutes=1)
        alarm = self.alarm(HAS_BACKLOG_WITHOUT_CAPACITY, "wake", "GreaterThanOrEqualToThreshold", 1.0, minutes)
        return self._step("wake", "ChangeInCapacity", [_adjustment(0.0, None, 1)], alarm)

    def wake_component(self) -> NativePolicy:
        """Return the policy that leaves zero when one request was refused (facts 5.2), with copies for all of them.

        `ceil(refused / c)` in as many steps as AAS takes: a second change would have to wait for the first copy.
        """
        profile = self._enrolment.profile
        each, most = profile.capacity_per_instance, min(max(profile.max_capacity, 1), MOST_STEPS)
        bounds = [float(floor(n * max(each, 1))) for n in range(most)] if each else [0.0]
        alarm = self.alarm(NO_CAPACITY, "wake", "GreaterThanOrEqualToThreshold", 1.0, 1)
        pairs = zip(bounds, [*bounds[1:], None], strict=True)
        steps = [_adjustment(low, high, copies) for copies, (low, high) in enumerate(pairs, start=1)]
        return self._step("wake", "ChangeInCapacity", steps, alarm, Cooldown=60, MetricAggregationType="Maximum")

    def idle(self) -> NativePolicy:
        """Return the policy that goes to zero after the idle delay; the backlog counts items being processed."""
        minutes = int(self._enrolment.profile.idle_after.total_seconds() // 60)
        alarm = self.alarm(BACKLOG, "idle", "LessThanOrEqualToThreshold", 0.0, minutes)
        return self._step("idle", "ExactCapacity", [_adjustment(None, 0.0, 0)], alarm)

    def messages(self, queue: str) -> list[NativePolicy]:
        """Return the policies that follow a queue of your own: `ceil(messages / target)`, and back when it is empty.

        No metric says how many messages each instance has, and one that works off a queue is always busy: so the steps
        name the count itself, as many of them as AAS takes.
        """
        profile, each = self._enrolment.profile, self._enrolment.profile.backlog_target
        levels = sorted({ceil(profile.max_capacity * part / MOST_STEPS) for part in range(1, MOST_STEPS + 1)})
        starts = [0.0, *(level * each for level in levels[:-1])]  # above the threshold: one message is 0
        spans = zip(starts, [*starts[1:], None], levels, strict=True)
        steps = [_adjustment(low, high, level) for low, high, level in spans]
        some = self.alarm(_waiting(queue), "queue-out", "GreaterThanOrEqualToThreshold", 1.0, NOTICED_MINUTES)
        minutes = int(profile.idle_after.total_seconds() // 60)
        none = self.alarm(_waiting(queue), "queue-in", "LessThanOrEqualToThreshold", 0.0, minutes)
        return [
            self._step("queue-out", "ExactCapacity", steps, some),
            self._step("queue-in", "ExactCapacity", [_adjustment(None, 0.0, profile.min_capacity)], none),
        ]

    def _metric(self, name: str) -> Metric:
        return METRICS[name][self._enrolment.profile.serving]

    def _tracked_metric(self, metric: Metric) -> dict[str, Any]:
        if metric.predefined:
            return {"PredefinedMetricSpecification": {"PredefinedMetricType": metric.predefined}}
        return {"CustomizedMetricSpecification": self._measured(metric, period=None)}

    def _custom(self, custom: CloudWatchMetric | MetricMath) -> dict[str, Any]:
        if isinstance(custom, CloudWatchMetric):
            return {"CustomizedMetricSpecification": {**self._query(custom), "Statistic": custom.statistic}}
        metrics = {each.id: (self._query(each), each.statistic) for each in custom.metrics}
        # An id of the file has no capitals, so this one is free.
        return {"CustomizedMetricSpecification": _math(metrics, Id="trackedValue", Expression=custom.expression)}

    def _query(self, metric: CloudWatchMetric) -> dict[str, Any]:
        named = self._enrolment.target.names
        names = {
            "endpoint": self._enrolment.endpoint_name,
            "variant": named.get("VariantName", ""),
            "inference_component": named.get("InferenceComponentName", ""),
        }
        dimensions = [
            {"Name": name, "Value": re.sub(rf"\{{({'|'.join(names)})\}}", lambda found: names[found[1]], written)}
            for name, written in metric.dimensions.items()
        ]
        return {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions}

    def alarm(
        self, metric: Metric | Mapping[str, Any], what: str, comparison: str, threshold: float, minutes: int
    ) -> dict[str, Any]:
        """Return an alarm over so many minutes in a row, on a metric of the catalogue or what PutMetricAlarm takes."""
        return {
            "AlarmName": f"{self._alarm_prefix}{what}",
            "AlarmDescription": "Made by Tidegate to scale by; edits are undone by the next sync.",
            "ActionsEnabled": True,
            "EvaluationPeriods": minutes,
            "DatapointsToAlarm": minutes,
            "Threshold": threshold,
            "ComparisonOperator": comparison,
            "TreatMissingData": "missing",
            **(self._measured(metric, period=60) if isinstance(metric, Metric) else metric),
        }

    def _measured(self, metric: Metric, period: int | None) -> dict[str, Any]:
        """Return a metric, divided by what it is summed over; AAS takes no Period (facts 1.5), alarms need one."""
        query = metric.query(self._enrolment.target)
        if metric.per is None:
            return query if period is None else {**query, "Period": period}
        divided = {"m1": (query, query.pop("Statistic"))}
        label = f"{metric.name}, {metric.unit}"
        return _math(divided, period, Id="e1", Expression=f"m1/{self._devices(metric)}", Label=label)

    def _devices(self, metric: Metric) -> int:
        count = self._enrolment.gpus if metric.per == "gpus" else self._enrolment.vcpus
        if not count:
            where = ("endpoints", self._enrolment.endpoint_name, str(metric.per))
            known = (
                "no count is known of the instance type: state it" if count is None else "the instance type has none"
            )
            allowed = f"{metric.name} is counted in {metric.unit}, and {known}"
            raise ConfigError([Problem(where, count, allowed)])
        return count

    def _step(
        self, what: str, adjustment: str, steps: list[dict[str, Any]], alarm: Mapping[str, Any], **settings: object
    ) -> NativePolicy:
        configuration: dict[str, Any] = {
            "AdjustmentType": adjustment,
            "StepAdjustments": steps,
            "Cooldown": 300,
            "MetricAggregationType": "Average",
            **settings,
        }
        if adjustment == "PercentChangeInCapacity":
            configuration["MinAdjustmentMagnitude"] = 1
        return NativePolicy(f"{self._policy_prefix}{what}", "StepScaling", configuration, alarm)


def _adjustment(lower: float | None, upper: float | None, change: int) -> dict[str, Any]:
    bounds = {"MetricIntervalLowerBound": lower, "MetricIntervalUpperBound": upper}
    return {**{key: value for key, value in bounds.items() if value is not None}, "ScalingAdjustment": change}


def _waiting(queue: str) -> dict[str, Any]:
    """Return the messages of an SQS queue, visible and in flight, as alarms measure them.

    While none is in flight nothing says so (facts 8.5).
    """
    dimensions = [{"Name": "QueueName", "Value": queue}]
    metrics = {
        name: ({"Namespace": part.namespace, "MetricName": part.name, "Dimensions": dimensions}, part.statistic)
        for name, part in (("m1", SQS[Signal.BACKLOG]), ("m2", SQS[Signal.IN_FLIGHT]))
    }
    return _math(metrics, 60, Id="e1", Expression="m1+FILL(m2,0)", Label="messages, visible and in flight")


def _math(
    metrics: Mapping[str, tuple[Mapping[str, Any], object]], period: int | None = None, **expression: str
) -> dict[str, Any]:
    """Return metric math: metrics and their statistics by the ids that the expression calls them by, and itself."""
    spread = {} if period is None else {"Period": period}
    parts = [
        {"Id": name, "MetricStat": {"Metric": metric, "Stat": statistic, **spread}, "ReturnData": False}
        for name, (metric, statistic) in metrics.items()
    ]
    return {"Metrics": [*parts, {**expression, "ReturnData": True}]}


def _microseconds(span: timedelta) -> float:
    """Return a span as CloudWatch counts latencies (facts 3.2)."""
    return span.total_seconds() * 1e6
