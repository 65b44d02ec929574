"""What is unsafe or odd about the way an endpoint is scaled: one function a rule, one stable code a finding.

What AWS does and says nothing about is looked up in docs/facts.md; each rule names the place.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import combinations
from math import inf
from typing import Any, NamedTuple

from cli.estate import STEPS, TRACKING, Alarm, Endpoint, Estate, Hosted, Policy, Registration, measured, parts_of
from core.fleet import INSTANCES_STAY
from core.instances import gpus_of, vcpus_of
from core.metrics import (
    BACKLOG,
    FAILED,
    HAS_BACKLOG_WITHOUT_CAPACITY,
    INSTANCES,
    LATENCY,
    METRICS,
    NO_CAPACITY,
    QUEUE,
    TIMES,
    Metric,
    unfit,
)
from core.model import Capacity, ScalableTarget, Serving

LONG = timedelta(hours=1)
"""An alarm that is new has no data for a few minutes; in an hour scale-in has had its 15 minutes several times."""

NEAR = 0.9
"""Share of a quota from which on it is worth a word."""

WHOLE = 100.0
"""Percent of one core."""

POLICIES_A_TARGET, ACTIONS_A_TARGET = 50, 200  # facts 1.9


class Code(StrEnum):
    """What is found. Public: scripts match these; renaming one is a breaking change."""

    NOT_READ = "NotRead"
    NO_POLICY = "NoPolicy"
    BOUNDS_EQUAL = "BoundsEqual"
    SUSPENDED = "Suspended"
    CPU_SUMMED = "CpuSummedOverCores"
    NO_WAKE_UP = "NoWakeUp"
    INSTANCES_STAY = "InstancesStay"
    NEVER_PUBLISHED = "MetricNeverPublished"
    WRONG_DIMENSIONS = "WrongDimensions"
    SILENT = "MetricSilent"
    UNFIT = "MetricUnfit"
    NOBODY_CALLS = "PolicyNeverCalled"
    SCALE_IN_BLOCKED = "ScaleInBlocked"
    NEVER_SCALES_IN = "NeverScalesIn"
    STEPS_AGAINST_TRACKING = "StepsAgainstTracking"
    STEPS_OVERLAP = "StepsOverlap"
    STEPS_LEAVE_GAP = "StepsLeaveGap"
    SCHEDULE_STAYS = "ScheduleNeverRestores"
    STRAY = "StrayRegistration"
    QUOTA = "QuotaNear"
    NEEDS_ALL = "ScaleInNeedsAll"
    MEMORY = "MemoryHoldsScaleIn"
    BLOCKS_DEPLOYMENT = "BlocksDeployment"


REMARKS = frozenset({Code.NEEDS_ALL, Code.MEMORY, Code.BLOCKS_DEPLOYMENT})
"""These are worth knowing and not unsafe."""

REMEDIES: Mapping[Code, str] = {
    Code.NOT_READ: "give these credentials the right that is named, and survey again",
    Code.NO_POLICY: "add target tracking, or import it and let Tidegate's default for its kind do it",
    Code.BOUNDS_EQUAL: "lower the minimum or raise the maximum, or deregister it if it is to stay as it is",
    Code.SUSPENDED: "resume it with RegisterScalableTarget once the reason is gone; nothing else ends a suspension",
    Code.CPU_SUMMED: "multiply the target by the count, or divide the metric by it in an expression (facts 3.1)",
    Code.NO_WAKE_UP: (
        "add a step policy that adds capacity, and an alarm on HasBacklogWithoutCapacity by EndpointName alone, of an "
        "inference component on NoCapacityInvocationFailures (facts 5); or keep a minimum of 1"
    ),
    Code.INSTANCES_STAY: "set MinInstanceCount 0 in the variant's ManagedInstanceScaling, or a minimum of 1 copy",
    Code.NEVER_PUBLISHED: "follow a metric that this kind of endpoint publishes (docs/policy.md, metrics)",
    Code.WRONG_DIMENSIONS: "use the exact dimension set under which it is published (facts 3)",
    Code.SILENT: "look whether the metric has data under these dimensions; until then this policy never acts",
    Code.UNFIT: "track requests, utilization or the backlog of an instance instead (facts 1.5)",
    Code.NOBODY_CALLS: "make the alarm that calls it, enable its actions, or delete the policy",
    Code.SCALE_IN_BLOCKED: "raise that policy's target, set DisableScaleIn on it, or delete it (facts 2.4)",
    Code.NEVER_SCALES_IN: "clear DisableScaleIn on one target tracking policy",
    Code.STEPS_AGAINST_TRACKING: "leave scaling in to target tracking: delete the steps that take capacity away",
    Code.STEPS_OVERLAP: "join them into one policy whose steps meet",
    Code.STEPS_LEAVE_GAP: "let the steps meet, begin at the alarm's threshold, and leave the last one open",
    Code.SCHEDULE_STAYS: "add the action that sets the bound back; EndTime does not (facts 1.6)",
    Code.STRAY: "deregister it: an endpoint made anew under this name would inherit it",
    Code.QUOTA: "ask Service Quotas for more before more is registered (facts 1.9)",
    Code.NEEDS_ALL: "keep those that see what the others cannot, and set DisableScaleIn on the rest (facts 2.4)",
    Code.MEMORY: "set DisableScaleIn on it, if your model server keeps memory once it has it",
    Code.BLOCKS_DEPLOYMENT: (
        "deregister the target before such an UpdateEndpoint and register it afterwards; in every other one pass "
        "RetainAllVariantProperties, or the new configuration's instance count replaces the scaled one (facts 2.7)"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is unsafe or odd."""

    code: Code
    endpoint: str
    """Empty if it is about the account."""

    target: ScalableTarget | None
    """None if it is about the endpoint or the account."""

    why: str

    @property
    def unsafe(self) -> bool:
        """Whether load may be turned away, or money lost, as it is now."""
        return self.code not in REMARKS

    @property
    def do(self) -> str:
        """What to do about it."""
        return REMEDIES[self.code]


class _Seen(NamedTuple):
    """What a rule looks at."""

    estate: Estate
    endpoint: Endpoint
    hosted: Hosted
    registration: Registration

    @property
    def tracking(self) -> list[Policy]:
        return [policy for policy in self.registration.policies if policy.policy_type == TRACKING]

    @property
    def voters(self) -> list[Policy]:
        """Those without whose consent nothing is scaled in."""
        return [policy for policy in self.tracking if not policy.configuration.get("DisableScaleIn")]

    @property
    def stepping(self) -> list[Policy]:
        return [policy for policy in self.registration.policies if policy.policy_type == STEPS]

    @property
    def serving(self) -> Serving:
        return self.hosted.variant.serving

    @property
    def running(self) -> int:
        return self.hosted.capacity.current if isinstance(self.hosted.capacity, Capacity) else 0

    def long(self, alarm: Alarm) -> bool:
        """Whether it has been in its state for long."""
        return alarm.since is not None and self.estate.read_at - alarm.since >= LONG


_Told = Iterator[tuple[Code, str]]


def findings_of(estate: Estate) -> tuple[Finding, ...]:
    """Return everything that is found, what is unsafe first; in each part by rule, then by endpoint."""
    found = [*_of_account(estate)]
    for endpoint, hosted in estate.hosted:
        target = hosted.target
        if endpoint.status == "Deleting":
            continue  # nothing of it will matter
        if hosted.registration is None:
            if hosted.unmanaged is None:
                why = f"nothing is registered: it keeps {_count(hosted)} whatever the load"
                found.append(Finding(code=Code.NO_POLICY, endpoint=endpoint.name, target=target, why=why))
            continue
        if hosted.enrolled:
            continue  # what stands there is ours, and `tidegate status` says how it is
        seen = _Seen(estate, endpoint, hosted, hosted.registration)
        found += [
            Finding(code=code, endpoint=endpoint.name, target=target, why=why)
            for rule in RULES
            for code, why in rule(seen)
        ]
    order = {code: (code in REMARKS, index) for index, code in enumerate(Code)}
    return tuple(sorted(dict.fromkeys(found), key=lambda each: (order[each.code], each.endpoint, str(each.target))))


def _of_account(estate: Estate) -> Iterator[Finding]:
    for endpoint in estate.endpoints:
        if endpoint.trouble:
            yield Finding(code=Code.NOT_READ, endpoint=endpoint.name, target=None, why=endpoint.trouble)
    for stray in estate.strays:
        name = stray.target.names.get("EndpointName", "")
        why = f"{stray.target.resource_id} is registered ({stray.bounds}) and does not exist"
        yield Finding(code=Code.STRAY, endpoint=name, target=stray.target, why=why)
    coming = sum(each.registration is None and each.unmanaged is None for _, each in estate.hosted)
    quota = estate.quota
    if quota and quota.used + coming > NEAR * quota.limit:
        why = f"{quota.used} of {quota.limit} scalable targets are registered, and {coming} more could be"
        yield Finding(code=Code.QUOTA, endpoint="", target=None, why=why)


# ---- rules about one target -----------------------------------------------------------------------------------------


def _nothing_scales(seen: _Seen) -> _Told:
    if not seen.registration.policies:
        how = "only its scheduled actions move it" if seen.registration.actions else "nothing moves it"
        yield Code.NO_POLICY, f"registered {seen.registration.bounds} without a policy: {how}"


def _bounds(seen: _Seen) -> _Told:
    bounds = seen.registration.bounds
    if bounds.floor == bounds.ceiling:
        yield Code.BOUNDS_EQUAL, f"minimum and maximum are both {bounds.floor}: no policy can move it"
    if seen.registration.suspended:
        yield Code.SUSPENDED, f"{', '.join(seen.registration.suspended)} is suspended"


def _summed(seen: _Seen) -> _Told:
    """CPU and GPU percentages are summed over cores and GPUs (facts 3.1)."""
    instance_type = seen.hosted.variant.instance_type or ""
    counts = {
        "CPUUtilization": (vcpus_of(instance_type), "vCPUs"),
        "GPUUtilization": (gpus_of(instance_type), "GPUs"),
        "GPUMemoryUtilization": (gpus_of(instance_type), "GPUs"),
    }
    for policy, spec, level in _levels(seen):
        metric = next(iter(parts_of(spec)), {})
        count, devices = counts.get(str(metric.get("MetricName")), (None, ""))
        divided = "Metrics" in spec and not measured(spec).isidentifier()
        if metric.get("Namespace") == INSTANCES and count and count > 1 and level < WHOLE and not divided:
            yield (
                Code.CPU_SUMMED,
                (
                    f"policy {policy.name}: {metric['MetricName']} runs to {100 * count} on the {count} {devices} of "
                    f"{instance_type}, so {level:g} is {level / count:.3g} % of each"
                ),
            )


def _levels(seen: _Seen) -> Iterator[tuple[Policy, Mapping[str, Any], float]]:
    """Yield what each policy follows by a metric's own name, and at which level."""
    for policy in seen.tracking:
        if spec := policy.configuration.get("CustomizedMetricSpecification"):
            yield policy, spec, float(policy.configuration["TargetValue"])
    for policy in seen.stepping:
        for alarm in policy.alarms:
            yield policy, alarm.described, float(alarm.described.get("Threshold", 0))


def _no_wake_up(seen: _Seen) -> _Told:
    """From zero only a step policy leaves (facts 2.5, 5)."""
    if seen.registration.bounds.floor > 0:
        return
    component = seen.serving is Serving.INFERENCE_COMPONENT
    metric = NO_CAPACITY if component else HAS_BACKLOG_WITHOUT_CAPACITY
    if not any(adds_from_zero(policy) and hears(policy, metric, seen.hosted.target) for policy in seen.stepping):
        waits = "callers are refused" if component else "items wait"
        yield Code.NO_WAKE_UP, f"minimum 0, and no step policy that {metric.name} calls: {waits} until somebody acts"
    if component and seen.hosted.variant.managed_minimum != 0:
        yield Code.INSTANCES_STAY, f"minimum 0, and {INSTANCES_STAY}"


def adds_from_zero(policy: Policy) -> bool:
    """Whether a step policy adds capacity where there is none: a percentage of nothing is nothing (facts 1.5)."""
    steps = policy.configuration.get("StepAdjustments", ())
    percent = policy.configuration.get("AdjustmentType") == "PercentChangeInCapacity"
    return any(step["ScalingAdjustment"] > 0 for step in steps) and not percent


def hears(policy: Policy, metric: Metric, target: ScalableTarget) -> bool:
    """Whether an alarm on this metric of the target calls the policy."""
    return any(
        (part.get("Namespace"), part.get("MetricName")) == (metric.namespace, metric.name)
        and _dimensions(part) == metric.dimensions(target)
        for alarm in policy.alarms
        for part in parts_of(alarm.described)
    )


def _dimensions(part: Mapping[str, Any]) -> dict[str, str]:
    return {each["Name"]: each["Value"] for each in part.get("Dimensions", ())}


def _published() -> Iterator[tuple[Serving, Metric]]:
    for row in METRICS.values():
        yield from row.items()
    for metric in (HAS_BACKLOG_WITHOUT_CAPACITY, BACKLOG, *QUEUE.values(), *TIMES.values(), LATENCY, FAILED):
        yield Serving.ASYNC, metric
    yield Serving.INFERENCE_COMPONENT, NO_CAPACITY
    for metric in (LATENCY, FAILED):
        yield from ((serving, metric) for serving in Serving if serving is not Serving.ASYNC)


PUBLISHED = tuple(_published())
FINER = frozenset({"InstanceType", "InstanceId", "AcceleratorId"})
"""Dimensions that instance pools and enhanced metrics add (facts 3.1)."""


def _never_reports(seen: _Seen) -> _Told:
    """What matches no data raises no error (facts 3.4): such an alarm has none for ever."""
    for policy in seen.registration.policies:
        told = dict.fromkeys(_unpublished(seen, policy))
        yield from told
        alarms = policy.alarms  # a new one that looks at 15 minutes has not enough data for longer than its sister
        silent = alarms if all(a.state == "INSUFFICIENT_DATA" and seen.long(a) for a in alarms) else ()
        sparse = any(part.get("MetricName") == NO_CAPACITY.name for a in silent for part in parts_of(a.described))
        serves = seen.running and seen.endpoint.status != "Failed"
        if silent and not told and serves and not sparse:
            since = min(alarm.since for alarm in silent if alarm.since)
            names = policy.metric or ", ".join(sorted({measured(alarm.described) for alarm in silent}))
            yield Code.SILENT, f"policy {policy.name}: no data of {names} since {since:%Y-%m-%d %H:%MZ}"


def _unpublished(seen: _Seen, policy: Policy) -> _Told:
    predefined = policy.configuration.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType")
    fitting = [serving for serving, metric in PUBLISHED if predefined and metric.predefined == predefined]
    if fitting and seen.serving not in fitting:
        yield Code.NEVER_PUBLISHED, f"policy {policy.name}: {_kind(seen.serving)} never publishes {predefined}"
    spec = policy.configuration.get("CustomizedMetricSpecification", {})
    for part in (*parts_of(spec), *(part for alarm in policy.alarms for part in parts_of(alarm.described))):
        if not predefined and (told := _mismatch(seen, part)):
            yield told[0], f"policy {policy.name}: {told[1]}"


def _mismatch(seen: _Seen, part: Mapping[str, Any]) -> tuple[Code, str] | None:
    """Say why a metric of SageMaker has no data as it is written."""
    name, namespace, written = str(part.get("MetricName")), part.get("Namespace"), _dimensions(part)
    known = [(serving, metric) for serving, metric in PUBLISHED if metric.name == name]
    # A component may follow what its variant publishes, and anything may follow what is not SageMaker's.
    variant = seen.serving is Serving.INFERENCE_COMPONENT and "EndpointName" in written
    ours = [metric for serving, metric in known if serving is seen.serving]
    if not known or variant or not str(namespace).lower().startswith(("aws/sagemaker", "/aws/sagemaker")):
        return None
    if not ours:
        return Code.NEVER_PUBLISHED, f"{_kind(seen.serving)} never publishes {name}"
    if namespace != ours[0].namespace:
        return Code.NEVER_PUBLISHED, f"{name} is in the namespace {ours[0].namespace}, not in {namespace}"
    expected = ours[0].dimensions(seen.hosted.target)
    if {key: value for key, value in written.items() if key not in FINER} == expected:
        return None
    says = ", ".join(f"{key}={value}" for key, value in written.items()) or "no dimension"
    wants = ", ".join(f"{key}={value}" for key, value in expected.items())
    return Code.WRONG_DIMENSIONS, f"{name} is published under {wants}, and {says} is asked for"


def _kind(serving: Serving) -> str:
    return {
        Serving.REALTIME: "a real-time endpoint",
        Serving.ASYNC: "an asynchronous endpoint",
        Serving.INFERENCE_COMPONENT: "an inference component",
        Serving.SERVERLESS: "a serverless variant",
    }[serving]


def _unfit(seen: _Seen) -> _Told:
    for policy in seen.tracking:
        spec = policy.configuration.get("CustomizedMetricSpecification", {})
        divided = "/" in measured(spec)
        for part in parts_of(spec):
            if why := unfit(str(part.get("Namespace")), str(part.get("MetricName")), divided=divided):
                yield Code.UNFIT, f"policy {policy.name} tracks {part['MetricName']}: {why}"


def _nobody_calls(seen: _Seen) -> _Told:
    for policy in seen.registration.policies:
        deaf = [alarm.name for alarm in policy.alarms if not alarm.described.get("ActionsEnabled", True)]
        if policy.policy_type == STEPS and not policy.alarms:
            yield Code.NOBODY_CALLS, f"step policy {policy.name}: no alarm calls it"
        if policy.missing_alarms:
            yield Code.NOBODY_CALLS, f"policy {policy.name}: its alarm {policy.missing_alarms[0]} does not exist"
        if deaf:
            yield Code.NOBODY_CALLS, f"policy {policy.name}: actions of its alarm {deaf[0]} are switched off"


def _scale_in(seen: _Seen) -> _Told:
    """All target tracking policies must agree; steps ask nobody (facts 2.4)."""
    low = {policy.name: alarm for policy in seen.voters for alarm in policy.alarms if "AlarmLow" in alarm.name}
    agreed = [name for name, alarm in low.items() if alarm.state == "ALARM" and seen.long(alarm)]
    held = [name for name, alarm in low.items() if alarm.state != "ALARM" and seen.long(alarm)]
    if agreed and held and seen.running > seen.registration.bounds.floor:
        since = max(alarm.since for name, alarm in low.items() if name in agreed and alarm.since)
        yield (
            Code.SCALE_IN_BLOCKED,
            (
                f"{', '.join(held)} held {_count(seen.hosted)} while {', '.join(agreed)} would scale in, "
                f"since {since:%Y-%m-%d %H:%MZ}"
            ),
        )
    if len(seen.voters) > 1:
        names = ", ".join(policy.name for policy in seen.voters)
        yield Code.NEEDS_ALL, f"scaled in only when all {len(seen.voters)} agree: {names}"
    for policy in seen.voters:
        if "MemoryUtilization" in (policy.metric or ""):
            yield Code.MEMORY, f"policy {policy.name} tracks {policy.metric} and may never agree to scale in"
    takers = [policy for policy in seen.stepping if takes_away(policy)]
    if seen.tracking and takers:
        names, others = (", ".join(policy.name for policy in each) for each in (takers, seen.tracking))
        yield Code.STEPS_AGAINST_TRACKING, f"{names} takes away what {others} may have to order again"
    if seen.registration.policies and not (seen.voters or takers) and not seen.registration.actions:
        yield Code.NEVER_SCALES_IN, "no policy ever takes capacity away: the highest load is paid on"


def takes_away(policy: Policy) -> bool:
    """Whether a step policy may take capacity away."""
    exact = policy.configuration.get("AdjustmentType") == "ExactCapacity"
    below = any(str(alarm.described.get("ComparisonOperator", "")).startswith("Less") for alarm in policy.alarms)
    negative = any(step["ScalingAdjustment"] < 0 for step in policy.configuration.get("StepAdjustments", ()))
    return negative or (exact and below)


class _Range(NamedTuple):
    """One step, in the terms of its metric."""

    low: float
    high: float


def _steps(seen: _Seen) -> _Told:
    """Steps of one policy meet, or AAS refuses them; those of several need not (facts 1.5)."""
    found: dict[tuple[str, bool], dict[str, tuple[float, list[_Range]]]] = {}
    for policy in seen.stepping:
        for alarm in policy.alarms:
            above = str(alarm.described.get("ComparisonOperator", "")).startswith("Greater")
            threshold = float(alarm.described.get("Threshold", 0))
            ranges = _ranges(policy, threshold, above=above)
            found.setdefault((measured(alarm.described), above), {})[policy.name] = (threshold, ranges)
    for (metric, above), of_policy in found.items():
        for (left, (_, these)), (right, (_, those)) in combinations(of_policy.items(), 2):
            if span := _shared(these, those):
                yield Code.STEPS_OVERLAP, f"{left} and {right} both act on {metric} {span}"
        names = ", ".join(of_policy)
        thresholds = [threshold for threshold, _ in of_policy.values()]
        rings = (min(thresholds), inf) if above else (-inf, max(thresholds))
        for gap in _gaps([each for _, ranges in of_policy.values() for each in ranges], *rings):
            yield Code.STEPS_LEAVE_GAP, f"an alarm on {metric} rings {gap}, and no step of {names} acts"


def _shared(these: Sequence[_Range], those: Sequence[_Range]) -> str:
    """Return where steps of both act, empty if nowhere."""
    both = [(max(a.low, b.low), min(a.high, b.high)) for a in these for b in those]
    both = [(low, high) for low, high in both if low < high]
    return _span(min(low for low, _ in both), max(high for _, high in both)) if both else ""


def _gaps(ranges: Sequence[_Range], low: float, high: float) -> Iterator[str]:
    """Yield what lies between `low` and `high` and in no range."""
    reached = low
    for each in [*sorted(ranges), _Range(high, high)]:
        if reached < each.low:
            yield _span(reached, each.low)
        reached = max(reached, each.high)


def _ranges(policy: Policy, threshold: float, *, above: bool) -> list[_Range]:
    """Return the steps in the metric's own terms, as far as the alarm lets them act."""
    limits = (threshold, inf) if above else (-inf, threshold)
    found = [
        _Range(
            max(threshold + step.get("MetricIntervalLowerBound", -inf), limits[0]),
            min(threshold + step.get("MetricIntervalUpperBound", inf), limits[1]),
        )
        for step in policy.configuration.get("StepAdjustments", ())
    ]
    return [each for each in found if each.low < each.high]


def _span(low: float, high: float) -> str:
    if high == inf:
        return f"from {low:g} on"
    return f"up to {high:g}" if low == -inf else f"from {low:g} to {high:g}"


def _schedules(seen: _Seen) -> _Told:
    """A scheduled action sets a bound, and nothing but another one sets it back (facts 1.6)."""
    for bound in ("MinCapacity", "MaxCapacity"):
        setting = [
            (each.name, value)
            for each in seen.registration.actions
            if (value := each.settings.get("ScalableTargetAction", {}).get(bound)) is not None
        ]
        if len({value for _, value in setting}) == 1:
            names, value = ", ".join(name for name, _ in setting), setting[0][1]
            yield Code.SCHEDULE_STAYS, f"{names} sets {bound} {value}, and no action ever sets another"


def _quotas(seen: _Seen) -> _Told:
    for what, count, limit in (
        ("scaling policies", len(seen.registration.policies), POLICIES_A_TARGET),
        ("scheduled actions", len(seen.registration.actions), ACTIONS_A_TARGET),
    ):
        if count > NEAR * limit:
            yield Code.QUOTA, f"{count} of {limit} {what} of a target, which nobody can raise"


def _blocks_deployment(seen: _Seen) -> _Told:
    if seen.serving is not Serving.INFERENCE_COMPONENT:
        yield (
            Code.BLOCKS_DEPLOYMENT,
            "UpdateEndpoint fails if it changes the instance type of the variant or removes it",
        )


RULES: tuple[Callable[[_Seen], _Told], ...] = (
    _nothing_scales,
    _bounds,
    _summed,
    _no_wake_up,
    _never_reports,
    _unfit,
    _nobody_calls,
    _scale_in,
    _steps,
    _schedules,
    _quotas,
    _blocks_deployment,
)


def _count(hosted: Hosted) -> str:
    number = hosted.capacity.current if isinstance(hosted.capacity, Capacity) else None
    one, several = {
        Serving.INFERENCE_COMPONENT: ("copy", "copies"),
        Serving.SERVERLESS: ("unit of concurrency", "units of concurrency"),
    }.get(hosted.variant.serving, ("instance", "instances"))
    return f"{'its' if number is None else number} {one if number == 1 else several}"
