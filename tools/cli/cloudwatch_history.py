"""Two weeks of a real endpoint from CloudWatch, read only: what came in, how fast it was answered, what was running."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from core.errors import ObservationError
from core.model import Missing, Observation, ScalableTarget
from core.ports import MetricQuery, Metrics
from simulator.traces import MinuteTrace

if TYPE_CHECKING:
    from numpy.typing import NDArray

MINUTE = timedelta(minutes=1)
KEPT = timedelta(days=15)
"""CloudWatch keeps values of one minute so long (facts 8.1)."""

BRIDGED = 3
"""A gap of so many minutes repeats the last value (algorithms 8); a longer one is unknown."""

INVOCATION, INSTANCE = "AWS/SageMaker", "/aws/sagemaker/Endpoints"


class NoHistoryError(ObservationError):
    """CloudWatch has nothing that could be replayed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What CloudWatch says of one variant, a value a minute from `trace.start` on."""

    trace: MinuteTrace
    latency_p95: NDArray[np.float64]
    """p95 of ModelLatency in seconds; NaN where nothing was asked or nothing is known."""

    instances: NDArray[np.float64]
    """Instances running: samples of CPUUtilization, one an instance and minute (facts 3.1); NaN where unknown."""

    cpu: NDArray[np.float64]
    """CPUUtilization of an instance on average, in percent of one vCPU (facts 3.1); NaN where unknown."""

    unknown: int
    """Minutes without any data, replayed as silence: Tidegate would have held its floor in them."""

    def share_slower_than(self, objective: timedelta) -> float | None:
        """Share of the minutes with traffic whose p95 was above `objective`; None if there were none."""
        known = self.latency_p95[~np.isnan(self.latency_p95)]
        return float((known > objective.total_seconds()).mean()) if known.size else None

    @property
    def instance_hours(self) -> float | None:
        """What ran, as far as it is known: the mean of the known minutes over the whole time."""
        known = self.instances[~np.isnan(self.instances)]
        return float(known.mean() * len(self.instances) / 60) if known.size else None


def read_history(metrics: Metrics, target: ScalableTarget, now: datetime, span: timedelta) -> History:
    """Return the last `span` of a real-time variant.

    Args:
        metrics: CloudWatch; one GetMetricData of four metrics, nothing is written.
        target: a variant.
        now: end of the time asked for.
        span: at most 15 days, for so long CloudWatch keeps minutes.

    Raises:
        NoHistoryError: if no invocations are known.
        ObservationError: if CloudWatch cannot be read.
    """
    dimensions = tuple(target.names.items())
    wanted = [
        MetricQuery(INVOCATION, "Invocations", dimensions, "Sum"),
        MetricQuery(INVOCATION, "ModelLatency", dimensions, "p95"),
        MetricQuery(INSTANCE, "CPUUtilization", dimensions, "SampleCount"),
        MetricQuery(INSTANCE, "CPUUtilization", dimensions, "Average"),
    ]
    seen = metrics.fetch(wanted, now, min(span, KEPT))
    requests, latency, instances, cpu = (seen[query] for query in wanted)
    if isinstance(requests, Missing):
        raise NoHistoryError(
            f"{target.resource_id}: no invocations in the last {span.days} days ({requests.why}); an asynchronous "
            "endpoint publishes none, and a new one has none yet"
        )
    start, end = requests.points[0].at, requests.newest.at
    length = (end - start) // MINUTE + 1
    counted = bridged(series(requests, start, length))
    unknown = int(np.isnan(counted).sum())
    minutes = np.rint(np.nan_to_num(counted)).astype(np.int64)
    return History(
        trace=MinuteTrace(start, minutes, np.zeros(length)),
        latency_p95=series(latency, start, length) / 1e6,  # published in microseconds (facts 3.2)
        instances=series(instances, start, length),
        cpu=series(cpu, start, length),
        unknown=unknown,
    )


def series(seen: Observation | Missing, start: datetime, length: int) -> NDArray[np.float64]:
    """Lay points out by the minute; NaN where there is none."""
    laid = np.full(length, np.nan)
    for point in () if isinstance(seen, Missing) else seen.points:
        index = (point.at - start) // MINUTE
        if 0 <= index < length:
            laid[index] = point.value
    return laid


def bridged(laid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Repeat the last value over gaps of up to three minutes; longer ones stay unknown."""
    filled, gap = laid.copy(), 0
    for index in range(1, len(laid)):
        gap = gap + 1 if np.isnan(laid[index]) else 0
        if 1 <= gap <= BRIDGED:
            filled[index] = filled[index - 1]
    return filled
