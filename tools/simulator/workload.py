"""The traffic an endpoint gets, what its instances make of it, and the metrics SageMaker publishes about it."""

from __future__ import annotations

import itertools
import math
from collections import deque
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Protocol

from typing_extensions import override

from simulator.metrics import Datum, Measured, sample, samples
from simulator.queueing import QUANTILES, QUEUE_PER_SLOT, Minute, Server, unserved

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Publish = Callable[[str, str, tuple[str, ...], Measured], None]

INVOCATION = "AWS/SageMaker"
INSTANCE = "/aws/sagemaker/Endpoints"
SQS = "AWS/SQS"
ENDPOINT_ONLY = ("EndpointName",)
QUEUE_ONLY = ("QueueName",)
BOTH = ("EndpointName", "VariantName")
COMPONENT = "/aws/sagemaker/InferenceComponents"
COMPONENT_ONLY = ("InferenceComponentName",)
MICROSECONDS = 1e6


class Workload(Protocol):
    """One minute at a time; `publish(namespace, metric, dimension names, datum)` takes the metrics."""

    history: History

    def serve(self, ready: int, desired: int, publish: Publish) -> None:
        """Let one minute of traffic pass over `ready` instances."""
        ...


@dataclass(slots=True)
class History:
    """One entry a minute, for a report. `violated` counts requests of overloaded minutes, `late` requests done late."""

    demand: list[int] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    desired: list[int] = field(default_factory=list)
    violated: list[int] = field(default_factory=list)
    late: list[int] = field(default_factory=list)
    backlog: list[int] = field(default_factory=list)

    def add(self, **minute: int) -> None:
        """Append one minute, every field of it."""
        for name, value in minute.items():
            getattr(self, name).append(value)


PATIENCE = 5.0
"""The latency objective, in p95 of an idle instance."""


@dataclass(slots=True, kw_only=True)
class RealtimeWorkload:
    """Requests answered while the caller waits, by instances with worker slots (`simulator.queueing`).

    p95 of ModelLatency reaches the objective exactly at `capacity_per_instance`; above it every request of the minute
    counts as violated. A little above, at 1.05 times it with four slots, all slots are busy: requests wait, and what
    finds the queue full fails with a 5XX error, counted by Invocations (facts 3.2): demand shows. With
    `turned_away_above` it is hidden instead: what exceeds that share of capacity never reaches the endpoint, because
    its callers wait for each other or for a proxy, and no metric counts it. Each request is served, fails or waits.

    Args:
        per_minute_requests: arrivals of each minute; silence after the last.
        capacity_per_instance: requests/min one instance serves within the objective, above 0.
        vcpus: vCPUs of the instance type; CPUUtilization reaches 100 x vcpus (facts 3.1).
        cpu_at_capacity: share of the CPU that is busy at capacity, 0 to 1.
        gpus: GPUs of the instance type; GPU metrics are published if above 0.
        slots: requests an instance works on at once.
        turned_away_above: load as a share of capacity that is never exceeded, above 1; infinite if demand shows.
        share: of the requests that this variant gets, 0 to 1.
    """

    per_minute_requests: Sequence[int]
    capacity_per_instance: float
    vcpus: int = 4
    cpu_at_capacity: float = 0.8
    gpus: int = 0
    slots: int = 4
    turned_away_above: float = math.inf
    history: History = field(default_factory=History)
    minute: int = 0
    share: float = 1.0
    served: int = 0
    failed: int = 0
    server: Server = field(init=False)
    _last: Minute = field(init=False, default=unserved(0))

    def __post_init__(self) -> None:
        places = QUEUE_PER_SLOT * self.slots
        self.server = Server.of(self.capacity_per_instance, slots=self.slots, queue=places, patience=PATIENCE)

    @property
    def waiting(self) -> int:
        """Requests that wait now."""
        return self._last.waiting

    @property
    def latency_objective(self) -> timedelta:
        """The p95 that `capacity_per_instance` is defined by."""
        return timedelta(seconds=PATIENCE * self.server.idle_p95)

    @property
    def violated(self) -> int:
        """Requests so far that fell into an overloaded minute."""
        return sum(self.history.violated)

    def serve(self, ready: int, desired: int, publish: Publish) -> None:
        """See Workload."""
        arriving = self.per_minute_requests[self.minute] if self.minute < len(self.per_minute_requests) else 0
        load = int(arriving * self.share)
        self.minute += 1
        capacity = ready * self.capacity_per_instance
        violated = load if load > capacity else 0
        self.history.add(demand=load, ready=ready, desired=desired, violated=violated, late=0, backlog=0)
        reaching = min(load, int(self.turned_away_above * capacity)) if math.isfinite(self.turned_away_above) else load
        minute = self.server.minute(reaching, ready, self._last) if ready else unserved(reaching + self.waiting)
        self._last = minute
        self.served += minute.served
        self.failed += minute.failed + load - reaching
        self._publish_invocations(reaching, minute, publish)
        if ready:
            busy = self.cpu_at_capacity * reaching / capacity  # those that wait are received and parsed, too
            self._publish_work(ready, min(1.0, busy), publish)

    def _publish_work(self, ready: int, busy: float, publish: Publish) -> None:
        publish_instances(ready, busy, self.vcpus, self.gpus, publish)

    def _publish_invocations(self, load: int, minute: Minute, publish: Publish) -> None:
        ready = minute.instances
        publish(INVOCATION, "Invocations", BOTH, partial(sample, 1.0, load) if load else partial(sample, 0.0))
        if ready:
            shares = partial(sample, 1 / ready, load) if load else partial(sample, 0.0)
            publish(INVOCATION, "InvocationsPerInstance", BOTH, shares)
        publish(INVOCATION, "Invocation5XXErrors", BOTH, partial(_errors, minute.served, minute.failed))
        publish(INVOCATION, "ConcurrentRequestsPerModel", BOTH, partial(sample, minute.concurrency))
        if minute.served:
            publish(INVOCATION, "ModelLatency", BOTH, partial(self._latency, minute))
            publish(INVOCATION, "OverheadLatency", BOTH, partial(sample, 5_000.0, minute.served))

    def _latency(self, minute: Minute) -> Datum:
        parts = len(QUANTILES)
        steps = [math.floor(minute.served * number / parts + 0.5) for number in range(parts + 1)]
        counts = [after - before for before, after in itertools.pairwise(steps)]
        return samples([MICROSECONDS * seconds for seconds in self.server.latencies(minute)], counts)


def _errors(served: int, failed: int) -> Datum:
    return samples((0.0, 1.0), (served, failed)) if served + failed else sample(0.0)


class ComponentWorkload(RealtimeWorkload):
    """The same of an inference component: `ready` are copies, and `capacity_per_instance` is what one copy serves.

    Without a copy requests are refused, counted by NoCapacityInvocationFailures alone, and lost (facts 5.2).
    Utilisation is normalised: percent of what the copies have reserved (3.3).
    """

    @override
    def _publish_invocations(self, load: int, minute: Minute, publish: Publish) -> None:
        if not minute.instances:
            if load:
                publish(INVOCATION, "NoCapacityInvocationFailures", COMPONENT_ONLY, sample(1.0, load))
            return
        renamed = {
            "InvocationsPerInstance": "InvocationsPerCopy",
            "ConcurrentRequestsPerModel": "ConcurrentRequestsPerCopy",
        }

        def by_component(namespace: str, metric: str, _dimensions: tuple[str, ...], datum: Measured) -> None:
            publish(namespace, renamed.get(metric, metric), COMPONENT_ONLY, datum)

        super()._publish_invocations(load, minute, by_component)

    @override
    def _publish_work(self, ready: int, busy: float, publish: Publish) -> None:
        busy_percent = {"CPUUtilization": 100 * busy, "MemoryUtilization": 35 + 15 * busy}
        if self.gpus:
            busy_percent |= {"GPUUtilization": 100 * busy, "GPUMemoryUtilization": 60.0}
        for name, percent in busy_percent.items():
            publish(COMPONENT, f"{name}Normalized", COMPONENT_ONLY, sample(percent, ready))


class ServerlessWorkload(RealtimeWorkload):
    """The same of a serverless variant: `ready` is provisioned concurrency, in units that serve so many requests each.

    What exceeds it spills over to instances that start cold: served, but late, and counted so. AWS publishes no metric
    of its hardware (facts 3.5).
    """

    @override
    def serve(self, ready: int, desired: int, publish: Publish) -> None:
        load = self.per_minute_requests[self.minute] if self.minute < len(self.per_minute_requests) else 0
        self.minute += 1
        capacity = int(ready * self.capacity_per_instance)
        spilled = max(0, load - capacity)
        self.history.add(demand=load, ready=ready, desired=desired, violated=0, late=spilled, backlog=0)
        publish(INVOCATION, "Invocations", BOTH, sample(1.0, load) if load else sample(0.0))
        used = min(1.0, load / capacity) if capacity else 0.0
        publish(INVOCATION, "ServerlessProvisionedConcurrencyUtilization", BOTH, sample(used))
        publish(INVOCATION, "ServerlessProvisionedConcurrencySpilloverInvocations", BOTH, sample(float(spilled)))


@dataclass(slots=True)
class NoWorkload:
    """Of a variant whose inference components have the traffic: nothing is published for it."""

    history: History = field(default_factory=History)

    def serve(self, ready: int, desired: int, publish: Publish) -> None:
        """See Workload."""


def publish_instances(ready: int, busy: float, vcpus: int, gpus: int, publish: Publish) -> None:
    """Instance metrics, one sample per instance (facts 3.1); `busy` is a share from 0 to 1."""
    publish(INSTANCE, "CPUUtilization", BOTH, partial(sample, 100.0 * vcpus * busy, ready))
    publish(INSTANCE, "MemoryUtilization", BOTH, partial(sample, 35.0 + 15.0 * busy, ready))
    if gpus:
        publish(INSTANCE, "GPUUtilization", BOTH, partial(sample, 100.0 * gpus * busy, ready))
        publish(INSTANCE, "GPUMemoryUtilization", BOTH, partial(sample, 60.0 * gpus, ready))


@dataclass(slots=True)
class Cohort:
    """The requests of one minute that still wait; `progress` is work done on the first of them, in seconds."""

    arrived: int
    waiting: int
    work_seconds: float
    progress: float = 0.0


@dataclass(slots=True, kw_only=True)
class AsyncWorkload:
    """Requests that wait in a queue, oldest first.

    An instance does `60 x concurrency` seconds of work a minute, and work is divisible among slots. A request that
    arrived in minute a and is done in minute t has waited t - a minutes: it is late if that exceeds the objective.
    Expiry of requests (six hours on AWS) is left out.

    Args:
        per_minute_requests: arrivals of each minute; silence after the last.
        per_minute_work_seconds: seconds of one slot that these arrivals need, together.
        concurrency: slots per instance, at least 1.
        objective: longest time from arrival to result.
        vcpus: as for RealtimeWorkload.
        gpus: as for RealtimeWorkload.
    """

    per_minute_requests: Sequence[int]
    per_minute_work_seconds: Sequence[float]
    objective: timedelta
    concurrency: int = 1
    vcpus: int = 4
    gpus: int = 0
    history: History = field(default_factory=History)
    minute: int = 0
    queue: deque[Cohort] = field(default_factory=deque)
    served: int = 0
    finished_late: int = 0

    @property
    def waiting(self) -> int:
        """Requests not finished."""
        return sum(cohort.waiting for cohort in self.queue)

    @property
    def late(self) -> int:
        """Requests finished late, and those that already wait for longer than the objective."""
        overdue = sum(cohort.waiting for cohort in self.queue if self._is_late(cohort, self.minute))
        return self.finished_late + overdue

    def _is_late(self, cohort: Cohort, minute: int) -> bool:
        return timedelta(minutes=minute - cohort.arrived) > self.objective

    def serve(self, ready: int, desired: int, publish: Publish) -> None:
        """See Workload."""
        arrivals = 0
        if self.minute < len(self.per_minute_requests):
            arrivals = int(self.per_minute_requests[self.minute])
        if arrivals:
            work = float(self.per_minute_work_seconds[self.minute]) / arrivals
            self.queue.append(Cohort(self.minute, arrivals, work))
        late_before = self.finished_late
        budget = 60.0 * self.concurrency * ready
        done, left = self._work_off(budget) if ready else ([], 0.0)
        spent = budget - left
        waiting = self.waiting
        late = self.finished_late - late_before
        self.history.add(demand=arrivals, ready=ready, desired=desired, violated=0, late=late, backlog=waiting)
        self._publish_queue(waiting, ready, spent / 60.0, publish)
        if ready:
            self._publish_work(done, publish)
            publish_instances(ready, spent / budget, self.vcpus, self.gpus, publish)
        self.minute += 1

    def _work_off(self, budget: float) -> tuple[list[tuple[Cohort, int]], float]:
        """Spend `budget` seconds on the oldest requests: what finished, and what is left of the budget."""
        done: list[tuple[Cohort, int]] = []
        while self.queue:
            head = self.queue[0]
            need = head.waiting * head.work_seconds - head.progress
            if need <= budget + 1e-9:
                finished, budget = head.waiting, max(0.0, budget - need)
                self.queue.popleft()
            else:
                finished, head.progress = _whole_requests(budget + head.progress, head.work_seconds)
                head.waiting -= finished
                budget = 0.0
            if finished:
                done.append((head, finished))
                self.served += finished
                self.finished_late += finished if self._is_late(head, self.minute) else 0
            if not budget:
                break
        return done, budget

    def _publish_queue(self, waiting: int, ready: int, busy_slots: float, publish: Publish) -> None:
        """Backlog counts what is queued plus what is being worked on (facts 3.4): never less than the busy slots."""
        backlog = max(float(waiting), busy_slots)
        age = 60.0 * (self.minute - self.queue[0].arrived + 0.5) if self.queue else 0.0
        stranded = 1.0 if waiting and not ready else 0.0
        publish(INVOCATION, "ApproximateBacklogSize", ENDPOINT_ONLY, sample(backlog))
        publish(INVOCATION, "ApproximateAgeOfOldestRequest", ENDPOINT_ONLY, sample(age))
        publish(INVOCATION, "HasBacklogWithoutCapacity", ENDPOINT_ONLY, sample(stranded))
        if ready:  # silent at zero instances (facts 2.5)
            publish(INVOCATION, "ApproximateBacklogSizePerInstance", ENDPOINT_ONLY, sample(backlog / ready))

    def _publish_work(self, done: list[tuple[Cohort, int]], publish: Publish) -> None:
        finished = [count for _, count in done]
        publish(INVOCATION, "InvocationsProcessed", BOTH, samples((1.0,), (sum(finished),)) if done else sample(0.0))
        if done:
            waits = [60_000.0 * (self.minute - cohort.arrived) for cohort, _ in done]
            totals = [wait + 1000.0 * cohort.work_seconds for wait, (cohort, _) in zip(waits, done, strict=True)]
            publish(INVOCATION, "TotalProcessingTime", BOTH, samples(totals, finished))
            publish(INVOCATION, "TimeInBacklog", BOTH, samples(waits, finished))


@dataclass(kw_only=True)
class SqsWorkload(AsyncWorkload):
    """The same where the requests wait in an SQS queue, from which workers call a real-time or asynchronous endpoint.

    A message is visible until a worker takes it, then in flight, and deleted once answered. Published are what SQS says
    of the queue (facts 8.5; that it falls silent after six hours without a call is left out: workers poll) and what
    SageMaker says of the endpoint.

    Args:
        queue_name: the queue's.
        outstanding: so many messages the workers keep in an asynchronous endpoint's own queue; None for a real-time
            endpoint, where each slot of each instance has a worker.
    """

    queue_name: str
    outstanding: int | None = None

    @override
    def _publish_queue(self, waiting: int, ready: int, busy_slots: float, publish: Publish) -> None:
        in_flight = min(waiting, self.concurrency * ready if self.outstanding is None else self.outstanding)
        publish(SQS, "ApproximateNumberOfMessagesVisible", QUEUE_ONLY, sample(float(waiting - in_flight)))
        if in_flight:
            publish(SQS, "ApproximateNumberOfMessagesNotVisible", QUEUE_ONLY, sample(float(in_flight)))
        if self.queue:
            age = 60.0 * (self.minute - self.queue[0].arrived + 0.5)
            publish(SQS, "ApproximateAgeOfOldestMessage", QUEUE_ONLY, sample(age))
        if self.outstanding is not None:
            super()._publish_queue(in_flight, ready, busy_slots, publish)

    @override
    def _publish_work(self, done: list[tuple[Cohort, int]], publish: Publish) -> None:
        finished = sum(count for _, count in done)
        counted = samples((1.0,), (finished,)) if finished else sample(0.0)
        if finished:
            publish(SQS, "NumberOfMessagesDeleted", QUEUE_ONLY, counted)
        if self.outstanding is None:
            publish(INVOCATION, "Invocations", BOTH, counted)
        else:
            super()._publish_work(done, publish)


def _whole_requests(seconds: float, each: float) -> tuple[int, float]:
    """How many whole requests of `each` seconds fit, and the seconds left over."""
    count = math.floor(seconds / each + 1e-9)
    return count, max(0.0, seconds - count * each)
