"""What is registered on one target, in the words of the policy file; what they cannot say is left out with its reason.

Whether a policy may stand in the file is `core.policy`'s to say: each is tried there, and its own sentence is the
reason.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from math import inf, isfinite
from typing import Any

from cli.estate import STEPS, TRACKING, Alarm, Endpoint, Hosted, Policy, Registration, parts_of
from cli.findings import adds_from_zero, hears
from core.errors import ConfigError
from core.fields import DAYS, duration_text
from core.instances import gpus_of, vcpus_of
from core.metrics import HAS_BACKLOG_WITHOUT_CAPACITY, METRICS, NO_CAPACITY, Metric
from core.model import Serving
from core.policy import parse_fleet
from core.ports import ScheduledAction

USUAL_COOLDOWN = 300
"""Seconds, of SageMaker, where none is said (facts 1.5, 2.3)."""

OUT_MINUTES, IN_MINUTES = 3, 15
"""How long Tidegate's own alarms look, as those of target tracking do (facts 2.1)."""

DECIMALS = 4
"""Of a target, as Tidegate registers it."""

_CRON = re.compile(r"cron\((\d{1,2}) (\d{1,2}) (\S+) (\S+) (\S+) (\S+)\)")
_NUMBERED = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """What the file does not say: what it is, why not, and how AWS has it."""

    what: str
    why: str
    document: Mapping[str, Any] = field(default_factory=dict)


class NotExpressibleError(Exception):
    """The policy file has no words for it; carries why."""


@dataclass(slots=True)
class Declared:
    """One target as the file says it: a profile, notes on what differs, and what is left out."""

    profile: dict[str, Any]
    notes: list[str] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)

    def try_policy(self, what: str, policy: Mapping[str, Any], source: Mapping[str, Any]) -> bool:
        """Take a policy into the profile unless the core refuses it there."""
        tried = {**self.profile, "policies": [*self.profile["policies"], policy]}
        why = refused(tried)
        if why:
            self.left_out.append(LeftOut(what, why, source))
        else:
            self.profile = tried
        return not why


def refused(profile: Mapping[str, Any]) -> str:
    """Return why the core refuses a profile, empty if it does not."""
    try:
        parse_fleet({"version": 1, "profiles": {"p": profile}})
    except ConfigError as err:
        return "; ".join(dict.fromkeys(problem.allowed for problem in err.problems))
    return ""


def declare(endpoint: Endpoint, hosted: Hosted, registration: Registration, objectives: Mapping[str, Any]) -> Declared:
    """Return a target in the words of the policy file.

    Args:
        endpoint: it is on.
        hosted: what is scaled.
        registration: how.
        objectives: what is known of it; a queue needs `items_per_minute`.
    """
    serving = hosted.variant.serving
    found = Declared({"kind": "async" if serving is Serving.ASYNC else "realtime"})
    if serving in {Serving.INFERENCE_COMPONENT, Serving.SERVERLESS}:
        found.profile["serving"] = str(serving)
    found.profile |= {"mode": "shadow", **_bounds(found, serving, registration)}
    if objectives:
        found.profile["objectives"] = dict(objectives)
    found.profile["policies"] = []
    for policy in registration.policies:
        if policy.policy_type == TRACKING:
            _take_tracking(found, policy, endpoint, hosted)
        elif policy.policy_type != STEPS:
            why = f"policies of type {policy.policy_type} are not for SageMaker (facts 1.5)"
            found.left_out.append(LeftOut(f"policy {policy.name}", why, policy.configuration))
    _take_steps(found, registration, hosted)
    _take_schedule(found, registration.actions)
    for suspended in registration.suspended:
        found.left_out.append(
            LeftOut(f"{suspended}Suspended", "the file knows no suspension; mode shadow writes nothing")
        )
    return found


def _bounds(found: Declared, serving: Serving, registration: Registration) -> dict[str, int]:
    low, high = registration.bounds.floor, registration.bounds.ceiling
    allowed = (max(low, serving.lowest), max(high, serving.lowest, 1))
    if allowed != (low, high):
        found.notes.append(f"registered {low}..{high}; the lowest that {serving} can have is {serving.lowest}")
    return {"min_capacity": allowed[0], "max_capacity": allowed[1]}


# ---- target tracking ------------------------------------------------------------------------------------------------


def _take_tracking(found: Declared, policy: Policy, endpoint: Endpoint, hosted: Hosted) -> None:
    what, configuration = f"policy {policy.name}", policy.configuration
    try:
        metric = _tracked(configuration, endpoint, hosted)
    except NotExpressibleError as why:
        found.left_out.append(LeftOut(what, str(why), configuration))
        return
    target = float(configuration["TargetValue"])
    cooldowns = {
        f"scale_{way.lower()}_cooldown": _seconds(configuration.get(f"Scale{way}Cooldown", USUAL_COOLDOWN))
        for way in ("Out", "In")
    }
    declared = {"type": "target_tracking", **metric, "target": _number(round(target, DECIMALS)), **cooldowns}
    if configuration.get("DisableScaleIn"):
        declared["disable_scale_in"] = True
    if found.try_policy(what, declared, configuration):
        if round(target, DECIMALS) != target:
            found.notes.append(f"{what}: its target {target} is rounded to {DECIMALS} decimals")
        if unit := _units(configuration.get("CustomizedMetricSpecification", {})):
            found.notes.append(f"{what}: it asks for the unit {unit}, which the file does not say")


def _tracked(configuration: Mapping[str, Any], endpoint: Endpoint, hosted: Hosted) -> dict[str, Any]:
    """Return what is tracked: a metric of the catalogue, or one described."""
    predefined = configuration.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType")
    if predefined:
        names = [name for name, row in METRICS.items() for metric in row.values() if metric.predefined == predefined]
        if not names:
            raise NotExpressibleError(f"{predefined} is not in the catalogue of metrics")
        return {"metric": names[0]}
    spec = configuration.get("CustomizedMetricSpecification", {})
    if "Metrics" not in spec:
        if known := catalogued(spec, hosted, divided=False):
            return {"metric": known}
        return {"metric": "custom", "custom": _described(spec, str(spec.get("Statistic")), endpoint, hosted)}
    if known := catalogued(spec, hosted, divided=True):
        return {"metric": known}
    return {"metric": "custom", "custom": _math(spec["Metrics"], endpoint, hosted)}


def catalogued(spec: Mapping[str, Any], hosted: Hosted, *, divided: bool) -> str | None:
    """Return what the catalogue calls exactly this: its name, dimensions and statistic; None if it has no such metric.

    Args:
        spec: a customized metric or an alarm.
        hosted: whose metric it is.
        divided: whether what runs over cores or GPUs must be divided by their number, or must not be divided at all.
    """
    parts = parts_of(spec)
    if len(parts) != 1:
        return None
    for name, row in METRICS.items():
        metric = row.get(hosted.variant.serving)
        if metric is None or bool(metric.per) != divided or not _same(metric, parts[0], hosted):
            continue
        if divided and not _divides(spec, metric, hosted):
            continue
        if _statistic(spec) == metric.statistic:
            return name
    return None


def _same(metric: Metric, part: Mapping[str, Any], hosted: Hosted) -> bool:
    named = (part.get("Namespace"), part.get("MetricName")) == (metric.namespace, metric.name)
    expected = metric.dimensions(hosted.target)
    return named and {each["Name"]: each["Value"] for each in part.get("Dimensions", ())} == expected


def _statistic(spec: Mapping[str, Any]) -> str | None:
    stats = [each["MetricStat"]["Stat"] for each in spec.get("Metrics", ()) if "MetricStat" in each]
    return stats[0] if stats else spec.get("Statistic") or spec.get("ExtendedStatistic")


def _divides(spec: Mapping[str, Any], metric: Metric, hosted: Hosted) -> bool:
    """Whether its expression divides by the number of cores or GPUs and does nothing else."""
    items, count = spec.get("Metrics", ()), devices(metric, hosted)
    expressions = [str(each["Expression"]).replace(" ", "") for each in items if "Expression" in each]
    ids = [each["Id"] for each in items if "MetricStat" in each]
    return bool(count) and len(ids) == 1 and expressions == [f"{ids[0]}/{count}"]


def devices(metric: Metric, hosted: Hosted) -> int | None:
    """Return over how many cores or GPUs of the instance a metric is summed; None if the catalogue does not know."""
    of = {"vcpus": vcpus_of, "gpus": gpus_of}
    return of[metric.per](hosted.variant.instance_type or "") if metric.per else 1


def _described(spec: Mapping[str, Any], statistic: str, endpoint: Endpoint, hosted: Hosted) -> dict[str, Any]:
    names = {"EndpointName": endpoint.name, **hosted.target.names}
    said = {"EndpointName": "endpoint", "VariantName": "variant", "InferenceComponentName": "inference_component"}
    dimensions = {
        each["Name"]: f"{{{said[each['Name']]}}}" if names.get(each["Name"]) == each["Value"] else each["Value"]
        for each in spec.get("Dimensions", ())
    }
    described = {"namespace": spec.get("Namespace"), "name": spec.get("MetricName"), "dimensions": dimensions}
    return described if statistic == "Average" else {**described, "statistic": statistic}


def _math(items: Sequence[Mapping[str, Any]], endpoint: Endpoint, hosted: Hosted) -> dict[str, Any]:
    expressions = [each for each in items if "Expression" in each]
    if len(expressions) != 1 or not expressions[0].get("ReturnData", True):
        raise NotExpressibleError("the file has one expression over metrics, and that is what is tracked")
    expression = str(expressions[0]["Expression"])
    metrics = []
    for number, each in enumerate((each for each in items if "MetricStat" in each), start=1):
        own = each["Id"] if re.fullmatch(r"[a-z][a-z0-9_]{0,62}", each["Id"]) else f"metric_{number}"
        expression = re.sub(rf"\b{re.escape(each['Id'])}\b", own, expression)
        stat = each["MetricStat"]
        metrics.append({"id": own, **_described(stat["Metric"], str(stat["Stat"]), endpoint, hosted)})
    return {"metrics": metrics, "expression": expression}


def _units(spec: Mapping[str, Any]) -> str:
    items = [each["MetricStat"] for each in spec.get("Metrics", ()) if "MetricStat" in each]
    return ", ".join(sorted({each["Unit"] for each in (spec, *items) if each.get("Unit")}))


# ---- steps ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Steps:
    """One step policy and its alarm, in the unit that the catalogue's metric has."""

    policy: Policy
    metric: str
    steps: tuple[dict[str, Any], ...]
    cooldown: int
    notes: tuple[str, ...]


def _take_steps(found: Declared, registration: Registration, hosted: Hosted) -> None:
    """Take what steps can be said; AAS has a policy for each direction, the file one for each metric."""
    usable: list[_Steps] = []
    for policy in registration.policies:
        if policy.policy_type != STEPS or _wakes(found, policy, hosted):
            continue
        try:
            usable.append(_stepping(policy, hosted))
        except NotExpressibleError as why:
            found.left_out.append(LeftOut(f"policy {policy.name}", str(why), _source(policy)))
    usable.sort(key=lambda each: each.metric)
    for metric, same in groupby(usable, key=lambda each: each.metric):
        _take_steps_of(found, metric, [*same])


def _take_steps_of(found: Declared, metric: str, same: Sequence[_Steps]) -> None:
    """Join those that follow one metric, as long as the core takes the result."""
    taken: list[_Steps] = []
    for each in same:
        tried = [*taken, each]
        joined = {"type": "step", "metric": metric, "steps": _joined(tried), "cooldown": _seconds(each.cooldown)}
        why = refused({**found.profile, "policies": [*found.profile["policies"], joined]})
        if taken and taken[0].cooldown != each.cooldown:
            why = f"the steps on {metric} have one cooldown, and policy {taken[0].policy.name} has another"
        if why:
            found.left_out.append(LeftOut(f"policy {each.policy.name}", why, _source(each.policy)))
        else:
            taken = tried
            found.notes += each.notes
    if taken:
        joined = {"type": "step", "metric": metric, "steps": _joined(taken), "cooldown": _seconds(taken[0].cooldown)}
        found.profile["policies"].append(joined)


def _joined(policies: Sequence[_Steps]) -> list[dict[str, Any]]:
    """Return their steps in order; between scaling in and scaling out nothing is changed."""
    steps = sorted((step for each in policies for step in each.steps), key=lambda step: step.get("lower", -inf))
    joined: list[dict[str, Any]] = []
    for step in steps:
        below = joined[-1] if joined else None
        if (
            below
            and "upper" in below
            and below["upper"] < step.get("lower", -inf)
            and below["change"] < 0 < step["change"]
        ):
            joined.append({"lower": below["upper"], "upper": step["lower"], "change": 0})
        joined.append(step)
    return joined


def _wakes(found: Declared, policy: Policy, hosted: Hosted) -> bool:
    """Whether it is the policy that leaves zero, which Tidegate makes by itself."""
    metric = NO_CAPACITY if hosted.variant.serving is Serving.INFERENCE_COMPONENT else HAS_BACKLOG_WITHOUT_CAPACITY
    if found.profile["min_capacity"] or not (adds_from_zero(policy) and hears(policy, metric, hosted.target)):
        return False
    changes = ", ".join(f"{step['ScalingAdjustment']:+d}" for step in policy.configuration["StepAdjustments"])
    what = f"policy {policy.name} ({policy.configuration['AdjustmentType']} {changes}) leaves zero"
    found.notes.append(f"{what}: Tidegate makes the like of it by itself, because min_capacity is 0")
    return True


def _stepping(policy: Policy, hosted: Hosted) -> _Steps:
    configuration = policy.configuration
    how, aggregated = configuration.get("AdjustmentType"), configuration.get("MetricAggregationType", "Average")
    if how != "ChangeInCapacity" or aggregated != "Average":
        raise NotExpressibleError(
            f"steps of the file change capacity by a number, at the average (seen {how}, {aggregated})"
        )
    if len(policy.alarms) != 1:
        raise NotExpressibleError(f"steps of the file have one alarm (seen {len(policy.alarms)})")
    alarm = policy.alarms[0]
    metric, count = _followed(alarm, hosted)
    threshold, above = float(alarm.described["Threshold"]), _above(alarm)
    steps = []
    for step in configuration["StepAdjustments"]:
        low, high = _reach(step, above=above)
        if low < high:
            bounds = {"lower": low, "upper": high}
            said = {name: _number(round((threshold + at) / count, 9)) for name, at in bounds.items() if isfinite(at)}
            steps.append({**said, "change": step["ScalingAdjustment"]})
    if not steps or any(step["change"] * (1 if above else -1) <= 0 for step in steps):
        raise NotExpressibleError(
            "an alarm on much load adds capacity, one on little takes it away; this does otherwise"
        )
    return _Steps(
        policy=policy,
        metric=metric,
        steps=tuple(steps),
        cooldown=int(configuration.get("Cooldown", USUAL_COOLDOWN)),
        notes=tuple(_differs(policy, alarm, above=above)),
    )


def _reach(step: Mapping[str, Any], *, above: bool) -> tuple[float, float]:
    """Return from where to where a step acts, from the threshold on: what lies on the alarm's other side never does."""
    low, high = step.get("MetricIntervalLowerBound", -inf), step.get("MetricIntervalUpperBound", inf)
    return (max(low, 0.0), high) if above else (low, min(high, 0.0))


def _above(alarm: Alarm) -> bool:
    return str(alarm.described.get("ComparisonOperator", "")).startswith("Greater")


def _followed(alarm: Alarm, hosted: Hosted) -> tuple[str, int]:
    """Return the catalogue's name of what an alarm follows, and what its values are divided by there."""
    if known := catalogued(alarm.described, hosted, divided=False) or catalogued(alarm.described, hosted, divided=True):
        return known, 1
    parts = parts_of(alarm.described)
    for name, row in METRICS.items():
        metric = row.get(hosted.variant.serving)
        raw = metric and metric.per and "Metrics" not in alarm.described and _same(metric, parts[0], hosted)
        if metric and raw and _statistic(alarm.described) == metric.statistic:
            if count := devices(metric, hosted):
                return name, count
            raise NotExpressibleError(
                f"{name} counts per device, and how many {hosted.variant.instance_type} has is not known"
            )
    raise NotExpressibleError("steps of the file follow metrics of the catalogue, and this alarm follows none of them")


def _differs(policy: Policy, alarm: Alarm, *, above: bool) -> Iterator[str]:
    """Say what is otherwise about Tidegate's alarm."""
    seconds = int(alarm.described.get("Period", 60)) * int(alarm.described.get("EvaluationPeriods", 1))
    minutes = OUT_MINUTES if above else IN_MINUTES
    if seconds != minutes * 60:
        yield f"policy {policy.name}: its alarm looks at {_seconds(seconds)}, Tidegate's at {minutes}m"
    treats = alarm.described.get("TreatMissingData", "missing")
    if treats != "missing":
        yield f"policy {policy.name}: its alarm treats missing data as {treats}, Tidegate's as missing"


def _source(policy: Policy) -> dict[str, Any]:
    kept = ("Namespace", "MetricName", "Dimensions", "Metrics", "Statistic", "Period", "EvaluationPeriods", "Threshold")
    alarms = [
        {name: alarm.described[name] for name in (*kept, "ComparisonOperator") if alarm.described.get(name)}
        for alarm in policy.alarms
    ]
    return {**policy.configuration, "Alarms": alarms}


# ---- scheduled actions ----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Clock:
    """A scheduled action that runs at one time of day."""

    action: ScheduledAction
    at: str
    days: tuple[str, ...]
    timezone: str
    low: int
    high: int | None


def _take_schedule(found: Declared, actions: Sequence[ScheduledAction]) -> None:
    """Take pairs of actions that raise and lower the minimum as windows."""
    clocks = [clock for action in actions if (clock := _clock(action))]
    clocks.sort(key=lambda each: (each.timezone, each.days, each.at))
    pairs = [[*same] for _, same in groupby(clocks, key=lambda each: (each.timezone, each.days))]
    windows = [window for pair in pairs if (window := _window(pair))]
    base = {low.low for low, _ in windows}
    taken: set[str] = set()
    if len(base) == 1:
        highs = [each.high for pair in windows for each in pair if each.high is not None]
        tried = {
            **found.profile,
            "min_capacity": max(base),
            "max_capacity": max([found.profile["max_capacity"], *highs]),
            "windows": [_written(*pair) for pair in windows],
        }
        if not refused(tried):
            found.profile = tried
            taken = {each.action.name for pair in windows for each in pair}
            found.notes += [_ceilings(pair) for pair in windows if len({each.high for each in pair}) > 1]
    found.left_out += [
        LeftOut(f"scheduled action {each.name}", "no pair of actions that raises and lowers the minimum", each.settings)
        for each in actions
        if each.name not in taken
    ]


def _clock(action: ScheduledAction) -> _Clock | None:
    cron = _CRON.fullmatch(str(action.settings.get("Schedule", "")).strip())
    bounds = action.settings.get("ScalableTargetAction", {})
    if not cron or "MinCapacity" not in bounds or {"StartTime", "EndTime"} & set(action.settings):
        return None
    minute, hour, day, month, weekday, year = cron.groups()
    days = _days(weekday)
    if {day, month, year} - {"*", "?"} or not days:
        return None
    return _Clock(
        action=action,
        at=f"{int(hour):02}:{int(minute):02}",
        days=days,
        timezone=str(action.settings.get("Timezone", "UTC")),
        low=bounds["MinCapacity"],
        high=bounds.get("MaxCapacity"),
    )


def _days(field_: str) -> tuple[str, ...]:
    """Return the days of cron's last field but one; SUN is 1. Empty if it says more than days."""
    if field_ in {"*", "?"}:
        return DAYS
    found: set[str] = set()
    for part in field_.lower().split(","):
        ends = [_NUMBERED[int(each) - 1] if each in "1234567" and each else each for each in part.split("-")]
        if not set(ends) <= set(DAYS) or len(ends) > 2:  # noqa: PLR2004 - a range has two ends
            return ()
        first, last = DAYS.index(ends[0]), DAYS.index(ends[-1])
        found |= {DAYS[number % len(DAYS)] for number in range(first, (last if last >= first else last + 7) + 1)}
    return tuple(day for day in DAYS if day in found)


def _window(pair: Sequence[_Clock]) -> tuple[_Clock, _Clock] | None:
    """Return (lower, raise) if these two make a window: the lower one ends it, on the day it began or any day."""
    if len(pair) != 2 or pair[0].low == pair[1].low:  # noqa: PLR2004 - a window has two ends
        return None
    low, high = sorted(pair, key=lambda each: each.low)
    overnight = high.at > low.at
    if overnight and low.days != DAYS:
        return None  # the lower one would end it days later
    return low, high


def _written(low: _Clock, high: _Clock) -> dict[str, Any]:
    name = re.sub(r"[^a-zA-Z0-9]+", "-", high.action.name).strip("-")[:63] or "window"
    window: dict[str, Any] = {"name": name, "start": high.at, "until": low.at}
    window |= {} if high.timezone == "UTC" else {"timezone": high.timezone}
    window |= {} if high.days == DAYS else {"days": [*high.days]}
    return {**window, "lead": "0m", "min_capacity": high.low}


def _ceilings(pair: tuple[_Clock, _Clock]) -> str:
    low, high = pair
    return (
        f"scheduled actions {high.action.name} and {low.action.name} set the maximum too ({high.high}, {low.high}): "
        "the profile has the higher one at all hours"
    )


def _number(value: float) -> float | int:
    return int(value) if value == int(value) else value


def _seconds(count: float) -> str:
    return duration_text(timedelta(seconds=count)) if count else "0s"
