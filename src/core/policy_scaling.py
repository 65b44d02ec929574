"""What a profile may declare of native scaling: target tracking, steps, and metrics of your own."""

import math
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, StringConstraints, Tag, ValidationInfo, field_validator

from core.fields import Duration, NoTruth, Strict, Whole, between
from core.metrics import MetricName, catalogued, common, unfit

Cooldown = Annotated[Duration, between("0s", "14d")]
Bound = Annotated[float, Field(allow_inf_nan=False), NoTruth] | None
MetricText = Annotated[str, StringConstraints(min_length=1, max_length=255)]


class CloudWatchMetric(Strict):
    """A metric of your own; AAS looks at it each minute, and takes neither a period nor percentiles (facts 1.5)."""

    namespace: MetricText
    name: MetricText
    dimensions: dict[MetricText, MetricText] = Field(default_factory=dict, max_length=30)
    """The exact set under which it is published; `{endpoint}`, `{variant}` and `{inference_component}` are names."""

    statistic: Literal["Average", "Sum", "Maximum", "Minimum", "SampleCount"] = "Average"

    @field_validator("name")
    @classmethod
    def _can_be_a_target(cls, name: str, info: ValidationInfo) -> str:
        if why := unfit(info.data.get("namespace", ""), name, divided=cls is not CloudWatchMetric):
            raise ValueError(why)
        return name


class MathMetric(CloudWatchMetric):
    """A metric that an expression calls by `id`."""

    id: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,62}$")]


class MetricMath(Strict):
    """Metric math over up to ten metrics: the expression is what is tracked, and all that AAS gets back."""

    metrics: tuple[MathMetric, ...] = Field(min_length=1, max_length=10)
    expression: Annotated[str, StringConstraints(min_length=1, max_length=2048)]

    @field_validator("expression")
    @classmethod
    def _uses_each_metric(cls, expression: str, info: ValidationInfo) -> str:
        metrics: tuple[MathMetric, ...] = info.data.get("metrics", ())
        ids = [metric.id for metric in metrics]
        used = set(re.findall(r"\b[a-z][a-z0-9_]*\b", expression))  # functions are written in capitals
        if metrics and (used != set(ids) or len(set(ids)) < len(ids)):
            raise ValueError(f"must use each metric by its id, and ids must differ (seen {', '.join(ids)})")
        for metric in metrics:
            if "/" not in expression and (why := unfit(metric.namespace, metric.name)):
                raise ValueError(why)
        return expression


def _form(custom: object) -> str:
    """Tell the two forms of a custom metric apart, written or parsed."""
    return "math" if isinstance(custom, MetricMath) or (isinstance(custom, Mapping) and "metrics" in custom) else "one"


CustomMetric = Annotated[
    Annotated[CloudWatchMetric, Tag("one")] | Annotated[MetricMath, Tag("math")], Discriminator(_form)
]


class TargetTracking(Strict):
    """Native target tracking: AAS keeps the metric near `target`."""

    type: Literal["target_tracking"]
    metric: Literal[MetricName, "custom"]
    custom: CustomMetric | None = None
    """Only with metric `custom`: the metric, or `metrics` and an `expression`."""

    target: Annotated[float, Field(ge=0.0001, allow_inf_nan=False), NoTruth]
    """In the metric's unit: requests, items, percent; `cpu` per core, `gpu` and `gpu_memory` per GPU."""

    scale_out_cooldown: Cooldown = timedelta(minutes=5)
    scale_in_cooldown: Cooldown = timedelta(minutes=5)
    disable_scale_in: bool = False

    @field_validator("custom", "target")
    @classmethod
    def _goes_with_the_metric(cls, value: Any, info: ValidationInfo) -> Any:  # noqa: ANN401 - of either field
        name = info.data.get("metric", "")
        metric = common(name)
        if info.field_name == "custom" and name and (name == "custom") != (value is not None):
            raise ValueError("is required with metric custom, and allowed with no other")
        if info.field_name == "target" and metric and metric.highest and value > metric.highest:
            raise ValueError(f"must be above 0 and at most {metric.highest:g} ({metric.unit})")
        return value

    @property
    def own_metrics(self) -> Sequence[CloudWatchMetric]:
        """The metrics that `custom` describes."""
        return self.custom.metrics if isinstance(self.custom, MetricMath) else [self.custom] if self.custom else []

    @property
    def catalogued(self) -> MetricName | None:
        """The metric of the catalogue that `custom` spells out, by itself or multiplied by a number; None if none."""
        own = self.own_metrics
        return catalogued(own[0].namespace, own[0].name) if len(own) == 1 else None

    @property
    def followed(self) -> str:
        """The metric's name; two policies that follow one are refused, by us as by AAS (facts 2.4)."""
        names = (re.sub(r"[^A-Za-z0-9]+", "_", each.name) for each in self.own_metrics)
        return "-".join([self.metric, *names])[:100]


class StepRange(Strict):
    """One step: while `lower` <= metric < `upper`, change capacity by `change` instances."""

    lower: Bound = None
    upper: Bound = None
    change: Whole = Field(ge=-100, le=100)

    @property
    def bounds(self) -> Mapping[str, float]:
        """Those bounds that it has."""
        return {name: at for name, at in (("lower", self.lower), ("upper", self.upper)) if at is not None}

    def moved(self, by: float) -> "StepRange":
        """Return the step with both bounds moved."""
        return self.model_copy(update={name: round(at + by, 9) for name, at in self.bounds.items()})

    def text(self) -> str:
        """Return the step as the policy file writes it."""
        written = [f"{name}: {at:.10g}" for name, at in self.bounds.items()]
        return f"{{{', '.join([*written, f'change: {self.change}'])}}}"


def _fault(steps: Sequence[StepRange], start: float) -> str | None:
    """Say why AAS or sense would refuse the steps: gaps, overlaps, a direction that turns round (facts 1.5)."""
    for index, (left, right) in enumerate(pairwise(steps)):
        if left.upper is None or right.lower is None or left.upper != right.lower:
            return (
                f"steps {index} and {index + 1} must meet: upper of one is lower of the next "
                f"(seen upper {left.upper}, lower {right.lower})"
            )
    changes = [step.change for step in steps]
    bounds = [bound + start for step in steps for bound in step.bounds.values()]
    faults = {
        "at least one step must change capacity": not any(changes),
        "each step needs lower < upper": any(
            step.lower is not None and step.upper is not None and step.lower >= step.upper for step in steps
        ),
        "changes must rise with the metric: more load never means less capacity": changes != sorted(changes),
        "the last scaling-out step must have no upper bound, or the highest load is ignored": (
            changes[-1] > 0 and steps[-1].upper is not None
        ),
        "the first scaling-out step must have a lower bound, or it adds capacity at any load": (
            changes[0] > 0 and steps[0].lower is None
        ),
        "the first scaling-in step must have no lower bound": changes[0] < 0 and steps[0].lower is not None,
        "the last scaling-in step must have an upper bound": changes[-1] < 0 and steps[-1].upper is None,
        "no metric is below 0, so no step begins below it or ends at it": (
            min(bounds, default=0) < 0 or steps[0].upper == -start
        ),
    }
    return next((why for why, found in faults.items() if found), None)


def _corrected(steps: Sequence[StepRange]) -> list[StepRange]:
    """Return steps that meet, as near to these as can be.

    Where two claim a load, the larger change has it, as with AAS (facts 2.4); where none does, the smaller one, and
    between scaling in and out nothing is changed.
    """
    first, *others = sorted(steps, key=lambda step: -math.inf if step.lower is None else step.lower)
    met = [first]
    for right in others:
        left, low = met[-1], right.lower
        if left.upper is not None and low is not None and left.upper < low and left.change < 0 < right.change:
            met += [StepRange(lower=left.upper, upper=low, change=0), right]
            continue
        keeps = left.upper is not None and (low is None or (left.upper < low and abs(left.change) > abs(right.change)))
        at = left.upper if keeps else low
        met[-1] = left.model_copy(update={"upper": at})
        met.append(right.model_copy(update={"lower": at}))
    if met[0].change < 0:
        met[0] = met[0].model_copy(update={"lower": None})
    if met[-1].change > 0:
        met[-1] = met[-1].model_copy(update={"upper": None})
    return met


class StepScaling(Strict):
    """Native step scaling on a metric, written as ranges of the metric itself or, as AAS has it, of a threshold."""

    type: Literal["step"]
    metric: MetricName
    """What the steps speak of, in the unit that a target on it has."""

    threshold: Annotated[float, Field(ge=0, allow_inf_nan=False), NoTruth] | None = None
    """If given, the bounds of the steps count from here, as in PutScalingPolicy."""

    steps: tuple[StepRange, ...] = Field(min_length=1, max_length=20)
    cooldown: Cooldown = timedelta(minutes=5)

    @field_validator("metric")
    @classmethod
    def _an_alarm_can_follow(cls, metric: MetricName) -> MetricName:
        if (known := common(metric)) and not known.steps:
            raise ValueError("only target tracking follows this metric: it has no average a step could act on")
        return metric

    @field_validator("steps")
    @classmethod
    def _ranges_meet(cls, steps: tuple[StepRange, ...], info: ValidationInfo) -> tuple[StepRange, ...]:
        start, metric = info.data.get("threshold") or 0.0, common(info.data.get("metric", ""))
        most = (metric and metric.highest) or math.inf
        acts = [next((s.lower for s in steps if s.change > 0), 0), *(s.upper for s in steps if s.change < 0)]
        if metric and any(start + (at or 0) > most for at in acts):
            never = "capacity would never be added, or always be taken away"
            raise ValueError(f"the metric is at most {most:g} ({metric.unit}): {never}")
        if why := _fault(steps, start):
            better = _corrected(steps)
            fix = "" if _fault(better, start) else f"; these do: [{', '.join(step.text() for step in better)}]"
            raise ValueError(why + fix)
        return steps

    @property
    def ranges(self) -> tuple[StepRange, ...]:
        """The steps in the metric's own terms."""
        return self.steps if self.threshold is None else tuple(step.moved(self.threshold) for step in self.steps)

    @property
    def followed(self) -> str:
        """The metric's name."""
        return self.metric


DeclaredPolicy = Annotated[TargetTracking | StepScaling, Field(discriminator="type")]
