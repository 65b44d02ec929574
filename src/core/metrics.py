"""The metrics a native policy may follow: one table (facts 1.2, 3), read by policy and native.

A wrong dimension set matches no data and raises no error, so names, dimensions and statistics stand here only.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from core.model import ScalableTarget, Serving, Signal

MetricName = Literal[
    "requests_per_instance",
    "requests_per_copy",
    "concurrent_requests",
    "cpu",
    "memory",
    "disk",
    "gpu",
    "gpu_memory",
    "backlog_per_instance",
    "provisioned_concurrency",
]
Device = Literal["vcpus", "gpus"]
"""What a percentage is summed over; also the field of `Endpoint` that states the count."""

INVOCATIONS = "AWS/SageMaker"
INSTANCES = "/aws/sagemaker/Endpoints"
COMPONENTS = "/aws/sagemaker/InferenceComponents"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric of CloudWatch, and what a target on it means."""

    namespace: str = INVOCATIONS
    name: str
    statistic: str = "Average"
    unit: str
    """What a target counts."""

    by_variant: bool = True
    """Whether it is published for the variant; the queue's metrics are the endpoint's."""

    per: Device | None = None
    """It runs to 100 times the count of these, and is divided by it."""

    highest: float | None = None
    """Largest target; None where load has no end."""

    predefined: str | None = None
    """AAS's own name of it, used wherever there is one."""

    steps: bool = True
    """Whether an alarm of ours can follow it each minute."""

    sparse: bool = False
    """Whether it is published only when there is something to count."""

    def dimensions(self, target: ScalableTarget) -> Mapping[str, str]:
        """Return the exact dimension set under which a target's data lies."""
        return {name: each for name, each in target.names.items() if self.by_variant or name != "VariantName"}

    def query(self, target: ScalableTarget) -> dict[str, object]:
        """Return it in the form that alarms and customized metrics share."""
        return {
            "Namespace": self.namespace,
            "MetricName": self.name,
            "Dimensions": [{"Name": name, "Value": each} for name, each in self.dimensions(target).items()],
            "ExtendedStatistic" if self.statistic.startswith("p") else "Statistic": self.statistic,
        }


def _utilisation(name: str, per: Device | None = None, unit: str = "percent") -> dict[Serving, Metric]:
    """Return the utilisation of a variant, summed over its devices, and that of a component, which never is."""
    variant = Metric(namespace=INSTANCES, name=name, unit=unit, per=per, highest=100)
    component = Metric(namespace=COMPONENTS, name=f"{name}Normalized", unit="percent", highest=100)
    return {Serving.REALTIME: variant, Serving.ASYNC: variant, Serving.INFERENCE_COMPONENT: component}


_DISK = Metric(namespace=INSTANCES, name="DiskUtilization", unit="percent", highest=100)
_IN_FLIGHT = "requests in flight {each}, those waiting in the container included"

METRICS: Mapping[str, Mapping[Serving, Metric]] = {
    "requests_per_instance": {
        Serving.REALTIME: Metric(
            name="InvocationsPerInstance",
            statistic="Sum",  # each request sends 1/instances
            unit="requests a minute and instance",
            predefined="SageMakerVariantInvocationsPerInstance",
        )
    },
    "requests_per_copy": {
        Serving.INFERENCE_COMPONENT: Metric(
            name="InvocationsPerCopy",
            statistic="Sum",
            unit="requests a minute and copy",
            predefined="SageMakerInferenceComponentInvocationsPerCopy",
        )
    },
    "concurrent_requests": {  # published every 10 seconds, with Maximum and Minimum only
        Serving.REALTIME: Metric(
            name="ConcurrentRequestsPerModel",
            statistic="Maximum",
            unit=_IN_FLIGHT.format(each="an instance"),
            predefined="SageMakerVariantConcurrentRequestsPerModelHighResolution",
            steps=False,
        ),
        Serving.INFERENCE_COMPONENT: Metric(
            name="ConcurrentRequestsPerCopy",
            statistic="Maximum",
            unit=_IN_FLIGHT.format(each="a copy"),
            predefined="SageMakerInferenceComponentConcurrentRequestsPerCopyHighResolution",
            steps=False,
        ),
    },
    "cpu": _utilisation("CPUUtilization", "vcpus", "percent per core"),
    "memory": _utilisation("MemoryUtilization"),
    "disk": {Serving.REALTIME: _DISK, Serving.ASYNC: _DISK},
    "gpu": _utilisation("GPUUtilization", "gpus", "percent per GPU"),
    "gpu_memory": _utilisation("GPUMemoryUtilization", "gpus", "percent per GPU"),
    "backlog_per_instance": {
        Serving.ASYNC: Metric(
            name="ApproximateBacklogSizePerInstance",
            unit="items an instance, queued or being processed",
            by_variant=False,
        )
    },
    "provisioned_concurrency": {
        Serving.SERVERLESS: Metric(
            name="ServerlessProvisionedConcurrencyUtilization",
            unit="share of the provisioned concurrency in use, 0 to 1",
            highest=1,
            predefined="SageMakerVariantProvisionedConcurrencyUtilization",
        )
    },
}


def common(name: str) -> Metric | None:
    """Return the metric as any endpoint publishes it: range and steps are the same for all. None for `custom`."""
    return next(iter(METRICS.get(name, {}).values()), None)


def catalogued(namespace: str, name: str) -> MetricName | None:
    """Return what this catalogue calls a metric of CloudWatch, None if it has none of that name."""
    names: tuple[MetricName, ...] = get_args(MetricName)
    same = (ours for ours in names for m in METRICS[ours].values() if (m.namespace, m.name) == (namespace, name))
    return next(same, None)


REQUESTS = Metric(name="Invocations", statistic="Sum", unit="requests")
"""The load of a real-time endpoint, over all instances or copies (facts 3.2)."""

HAS_BACKLOG_WITHOUT_CAPACITY = Metric(name="HasBacklogWithoutCapacity", unit="1 or 0", by_variant=False)
BACKLOG = Metric(name="ApproximateBacklogSize", statistic="Maximum", unit="items", by_variant=False)
NO_CAPACITY = Metric(
    name="NoCapacityInvocationFailures", statistic="Sum", unit="requests refused at zero copies", sparse=True
)
"""These are followed by the policies of zero (facts 5) and are no metrics to choose."""

LATENCY = Metric(name="ModelLatency", statistic="p95", unit="microseconds")
FAILED = Metric(name="Invocation5XXErrors", unit="share of the requests")
"""These two say that demand is hidden (algorithms 7); no target can be set on them."""

QUEUE: Mapping[Signal, Metric] = {
    Signal.BACKLOG: BACKLOG,
    Signal.PROCESSED: Metric(name="InvocationsProcessed", statistic="Sum", unit="items", sparse=True),
    Signal.FAILED: Metric(name="InvocationFailures", statistic="Sum", unit="items", sparse=True),
    Signal.OLDEST: Metric(name="ApproximateAgeOfOldestRequest", statistic="Maximum", unit="seconds", by_variant=False),
}
"""What an asynchronous endpoint says of its queue (facts 3.4)."""

TIMES: Mapping[Signal, Metric] = {
    Signal.TURNAROUND: Metric(name="TotalProcessingTime", unit="milliseconds from arrival to result"),
    Signal.WAITED: Metric(name="TimeInBacklog", unit="milliseconds until work begins"),
}
"""How long an item took that it finished. Means, which need not count the same items, as sums would."""

_SQS = "AWS/SQS"
SQS: Mapping[Signal, Metric] = {
    Signal.BACKLOG: Metric(namespace=_SQS, name="ApproximateNumberOfMessagesVisible", unit="messages"),
    Signal.IN_FLIGHT: Metric(
        namespace=_SQS, name="ApproximateNumberOfMessagesNotVisible", unit="messages", sparse=True
    ),
    Signal.PROCESSED: Metric(
        namespace=_SQS, name="NumberOfMessagesDeleted", statistic="Sum", unit="messages", sparse=True
    ),
    Signal.OLDEST: Metric(namespace=_SQS, name="ApproximateAgeOfOldestMessage", statistic="Maximum", unit="seconds"),
}
"""What SQS says of a queue, by the dimension QueueName alone (facts 8.5).

Counts are approximate. Only visible messages are published as 0 too, while the queue is active: they say if it is.
"""

_LATENCIES = r".*(Latency|Time)|TimeInBacklog|ApproximateAgeOfOldestRequest"
_FAILURES = r".*(Errors|Failures)|ExpiredRequests"
_TOTALS: Mapping[MetricName, str] = {
    "requests_per_instance": r"Invocations",
    "backlog_per_instance": r"ApproximateBacklogSize|InvocationsProcessed|HasBacklogWithoutCapacity",
    "provisioned_concurrency": (
        r"ServerlessProvisionedConcurrency(Executions|(Spillover)?Invocations)|ServerlessConcurrentExecutionsUtilization"
    ),
}
"""What SageMaker calls them (facts 3); of totals, with what to use instead."""


def unfit(namespace: str, name: str, *, divided: bool = False) -> str | None:
    """Say why SageMaker's metric of this name cannot be a target (facts 1.5), or None.

    Args:
        namespace: of CloudWatch; of metrics that are not SageMaker's we know nothing.
        name: the metric.
        divided: whether an expression divides it, which makes a total a share.
    """
    if namespace.lower() != INVOCATIONS.lower():
        return None
    if re.fullmatch(_LATENCIES, name):
        return "a latency does not fall in proportion to capacity: track what causes it, requests or utilization"
    if re.fullmatch(_FAILURES, name):
        return "failures are no measure of load: alarm on them, track requests or utilization"
    instead = next((ours for ours, names in _TOTALS.items() if re.fullmatch(names, name)), None)
    if instead is None or divided:
        return None
    added = "a total does not fall when capacity is added"
    return f"{added}: divide it by the instances in an expression, or use {instead}"
