"""Two weeks of an asynchronous endpoint from CloudWatch, read only: what arrived, and how fast it was worked off."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from cli.cloudwatch_history import INSTANCE, INVOCATION, KEPT, MINUTE, History, NoHistoryError, series
from core.model import Missing
from core.ports import MetricQuery
from simulator.cases import DRAIN, WARMUP, Case, Mode
from simulator.traces import MinuteTrace

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from numpy.typing import NDArray

    from core.model import ScalableTarget
    from core.ports import Metrics

BUSY = 30
"""Fewer minutes with more waiting than is done do not tell how fast an instance is."""


class Queued(NamedTuple):
    """What CloudWatch says of a queue."""

    history: History
    rate: float | None
    """Items a minute that one instance finishes; None if too few minutes tell."""

    waiting: NDArray[np.float64]
    """The backlog, what is being worked on included; in a minute without data that of the one before."""


def read_queue(metrics: Metrics, target: ScalableTarget, now: datetime, span: timedelta) -> Queued:
    """Return the last `span` of an asynchronous variant.

    No metric counts what arrives (facts 3.4): it is what was done, and what the backlog grew by. Where the backlog is
    known and CPU has no sample, no instance runs. The rate is that of the minutes before and after which as much waited
    as was done.

    Args:
        metrics: CloudWatch; one GetMetricData of four metrics, nothing is written.
        target: a variant.
        now: end of the time asked for.
        span: at most 15 days, for so long CloudWatch keeps minutes.

    Raises:
        NoHistoryError: if no backlog is known.
        ObservationError: if CloudWatch cannot be read.
    """
    dimensions = tuple(target.names.items())
    wanted = [
        MetricQuery(INVOCATION, "ApproximateBacklogSize", dimensions[:1], "Average"),
        MetricQuery(INVOCATION, "InvocationsProcessed", dimensions, "Sum", sparse=True),
        MetricQuery(INSTANCE, "CPUUtilization", dimensions, "SampleCount", sparse=True),
        MetricQuery(INSTANCE, "CPUUtilization", dimensions, "Average", sparse=True),
    ]
    seen = metrics.fetch(wanted, now, min(span, KEPT))
    backlog, processed, instances, cpu = (seen[query] for query in wanted)
    if isinstance(backlog, Missing):
        raise NoHistoryError(f"{target.resource_id}: no backlog in the last {span.days} days ({backlog.why})")
    start, end = backlog.points[0].at, backlog.newest.at
    length = (end - start) // MINUTE + 1
    known = series(backlog, start, length)
    silent = np.isnan(known)
    waiting = known[np.maximum.accumulate(np.where(silent, 0, np.arange(length)))]
    running = np.where(silent, np.nan, np.nan_to_num(series(instances, start, length)))
    done = np.nan_to_num(series(processed, start, length))
    come = np.maximum.accumulate(np.rint(waiting + np.cumsum(done))).astype(np.int64)
    arrived = np.diff(come, prepend=0)
    busy = (running > 0) & (np.minimum(waiting, np.roll(waiting, 1)) >= np.maximum(done, running))
    rate = float(done[busy].sum() / running[busy].sum()) if busy.sum() >= BUSY else 0.0
    history = History(
        trace=MinuteTrace(start, arrived, np.zeros(length)),
        latency_p95=np.full(length, np.nan),
        instances=running,
        cpu=series(cpu, start, length),
        unknown=int(silent.sum()),
    )
    return Queued(history, rate or None, waiting)


def queue_case(name: str, trace: MinuteTrace, rate: float, objective: int) -> Case:
    """Return an asynchronous endpoint's load as it came, followed by silence in which all can be done.

    Args:
        name: what it is called.
        trace: items that arrived.
        rate: items a minute that an instance finishes, above 0; all are taken to be alike.
        objective: minutes from arrival to result, from 1.
    """
    items = np.pad(trace.requests, (0, max(DRAIN, 2 * objective)))
    return Case(
        trace=name,
        mode=Mode.ASYNC,
        start=trace.start,
        requests=items,
        capacity=rate,
        work_seconds=(items * (60.0 / rate)).astype(np.float64),
        objective=objective,
        warmup=min(WARMUP, len(trace.requests) // 2),
    )
