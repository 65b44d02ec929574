"""The metrics a native policy of a variant may follow: one table (facts 1.2, 3.1, 3.2, 3.4), read by policy and native.

A wrong dimension set matches no data and raises no error, so names, dimensions and statistics stand here only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from core.model import ScalableTarget

MetricName = Literal[
    "requests_per_instance",
    "concurrent_requests",
    "cpu",
    "memory",
    "disk",
    "gpu",
    "gpu_memory",
    "backlog_per_instance",
]
Device = Literal["vcpus", "gpus"]
"""What a percentage is summed over; also the field of `Endpoint` that states the count."""

INVOCATIONS = "AWS/SageMaker"
INSTANCES = "/aws/sagemaker/Endpoints"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric of CloudWatch, and what a target on it means."""

    namespace: str = INSTANCES
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

    realtime: bool = True
    queued: bool = True
    """Which endpoints publish it."""

    def published_by(self, *, queued: bool) -> bool:
        """Whether an asynchronous (or a real-time) endpoint publishes it."""
        return self.queued if queued else self.realtime

    def dimensions(self, target: ScalableTarget) -> list[dict[str, str]]:
        """Return the exact dimension set under which a target's data lies."""
        found = [{"Name": "EndpointName", "Value": target.endpoint_name}]
        return [*found, {"Name": "VariantName", "Value": target.variant_name}] if self.by_variant else found

    def query(self, target: ScalableTarget) -> dict[str, object]:
        """Return it in the form that alarms and customized metrics share."""
        return {
            "Namespace": self.namespace,
            "MetricName": self.name,
            "Dimensions": self.dimensions(target),
            "ExtendedStatistic" if self.statistic.startswith("p") else "Statistic": self.statistic,
        }


METRICS: Mapping[str, Metric] = {
    "requests_per_instance": Metric(
        namespace=INVOCATIONS,
        name="InvocationsPerInstance",
        statistic="Sum",  # each request sends 1/instances
        unit="requests a minute and instance",
        predefined="SageMakerVariantInvocationsPerInstance",
        queued=False,
    ),
    "concurrent_requests": Metric(
        namespace=INVOCATIONS,
        name="ConcurrentRequestsPerModel",
        statistic="Maximum",
        unit="requests in flight an instance, those waiting in the container included",
        predefined="SageMakerVariantConcurrentRequestsPerModelHighResolution",
        steps=False,  # published every 10 seconds, with Maximum and Minimum only
        queued=False,
    ),
    "cpu": Metric(name="CPUUtilization", unit="percent per core", per="vcpus", highest=100),
    "memory": Metric(name="MemoryUtilization", unit="percent", highest=100),
    "disk": Metric(name="DiskUtilization", unit="percent", highest=100),
    "gpu": Metric(name="GPUUtilization", unit="percent per GPU", per="gpus", highest=100),
    "gpu_memory": Metric(name="GPUMemoryUtilization", unit="percent per GPU", per="gpus", highest=100),
    "backlog_per_instance": Metric(
        namespace=INVOCATIONS,
        name="ApproximateBacklogSizePerInstance",
        unit="items an instance, queued or being processed",
        by_variant=False,
        realtime=False,
    ),
}

HAS_BACKLOG_WITHOUT_CAPACITY = Metric(
    namespace=INVOCATIONS, name="HasBacklogWithoutCapacity", unit="1 or 0", by_variant=False, realtime=False
)
BACKLOG = Metric(
    namespace=INVOCATIONS,
    name="ApproximateBacklogSize",
    statistic="Maximum",
    unit="items",
    by_variant=False,
    realtime=False,
)
"""These two are followed by the policies of zero (facts 5.1) and are no metrics to choose."""

LATENCY = Metric(namespace=INVOCATIONS, name="ModelLatency", statistic="p95", unit="microseconds", queued=False)
FAILED = Metric(namespace=INVOCATIONS, name="Invocation5XXErrors", unit="share of the requests", queued=False)
"""These two say that demand is hidden (algorithms 7); no target can be set on them."""

_LATENCY = "a latency does not fall in proportion to capacity: track what causes it, requests or utilization"
_FAILURES = "failures are no measure of load: alarm on them, track requests or utilization"
_TOTAL = "a total does not fall when capacity is added: divide it by the instances in an expression, or use {instead}"
_UNFIT: Mapping[str, tuple[str, ...]] = {
    _LATENCY: (
        *("ModelLatency", "OverheadLatency", "ModelSetupTime", "TimeInBacklog", "TotalProcessingTime"),
        *("FirstChunkLatency", "FirstChunkModelLatency", "FirstChunkOverheadLatency", "ApproximateAgeOfOldestRequest"),
        *("RequestDownloadLatency", "ResponseUploadLatency", "ModelLoadingWaitTime", "ModelUnloadingTime"),
        *("ModelDownloadingTime", "ModelLoadingTime"),
    ),
    _FAILURES: (
        *("Invocation4XXErrors", "Invocation5XXErrors", "InvocationModelErrors", "InvocationFailures"),
        *("MidStreamErrors", "ExpiredRequests", "RequestDownloadFailures", "ResponseUploadFailures"),
        *("NotificationFailures", "NoCapacityInvocationFailures"),
    ),
    _TOTAL.format(instead="requests_per_instance"): ("Invocations",),
    _TOTAL.format(instead="backlog_per_instance"): (
        *("ApproximateBacklogSize", "InvocationsProcessed", "HasBacklogWithoutCapacity"),
    ),
}


def unfit(namespace: str, name: str, *, divided: bool = False) -> str | None:
    """Say why SageMaker's metric of this name cannot be a target (facts 1.5), or None.

    Args:
        namespace: of CloudWatch; of metrics that are not SageMaker's we know nothing.
        name: the metric.
        divided: whether an expression divides it, which makes a total a share.
    """
    if namespace.lower() != INVOCATIONS.lower():
        return None
    found = next((why for why, names in _UNFIT.items() if name in names), None)
    return None if found and divided and found not in {_LATENCY, _FAILURES} else found
