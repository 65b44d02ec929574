"""What worker slots make of the requests of a minute: M/M/k with a bounded queue.

Requests arrive at random, are spread evenly over the instances and served in the order of arrival by `slots` workers
each; a request that finds the queue full fails. In a steady state everything follows from the load alone: loss,
waiting, and the whole distribution of latency, here exact and tabulated once for each size. From minute to minute the
queue moves towards that state, no faster than arrivals and workers let it; a minute's latencies are those of the
steady state with as many waiting. No chance is drawn: a minute is its expected self.

Sources: Kleinrock, Queueing Systems I (M/M/m/K); survival times by uniformization (Jensen); a queue at the edge of
overload grows from empty, or shrinks from full, like reflected Brownian motion: sqrt(2 variance / pi) (Harrison).
"""

from __future__ import annotations

import functools
import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LOADS: Floats = np.concatenate(
    [np.arange(0.0, 0.8, 0.025), np.arange(0.8, 1.1, 0.005), np.geomspace(1.1, 20.0, 40)],
)
"""Where states are tabulated: offered work as a share of what the slots can do; between them all is taken as linear."""

TIMES_PER_SERVICE = 10
QUEUE_PER_SLOT = 40
"""Requests that may wait for a slot before an instance refuses more: 40 service times of patience."""

QUANTILES: tuple[float, ...] = (*(step / 20 for step in range(1, 20)), 0.995)
"""Of the latencies of a minute: p95 is the 19th of 20 equally likely ones, so the percentiles usual in objectives are
exact."""


@dataclass(frozen=True, slots=True)
class States:
    """Steady states of one instance, a row for each of `LOADS`; times in mean service times."""

    loss: Floats
    """Share of requests that find the queue full."""

    waiting: Floats
    """Requests that wait, on average."""

    quantiles: Floats
    """Latency at each of `QUANTILES`, of those that are not lost."""

    mean: Floats
    """Their mean latency."""


@functools.cache
def states(slots: int, queue: int) -> States:
    """Work out the steady states of an instance with so many slots and places to wait."""
    weights = np.ones((len(LOADS), slots + queue + 1))
    for count in range(1, slots + queue + 1):
        weights[:, count] = weights[:, count - 1] * LOADS * slots / min(count, slots)
        weights /= weights.max(axis=1, keepdims=True)  # or 20 to the power of the queue is none
    share = weights / weights.sum(axis=1, keepdims=True)
    loss = share[:, -1]
    waiting = share[:, slots:] @ np.arange(queue + 1.0)
    entering = share[:, :-1] / share[:, :-1].sum(axis=1, keepdims=True)  # what those see that are not lost
    ahead = np.concatenate([entering[:, :slots].sum(axis=1, keepdims=True), entering[:, slots:]], axis=1)
    mean = 1.0 + ahead @ np.arange(ahead.shape[1]) / slots
    return States(loss=loss, waiting=waiting, quantiles=_quantiles(ahead, slots), mean=mean)


def _quantiles(ahead: Floats, slots: int) -> Floats:
    """Latencies, given the distribution of departures a request waits for.

    All slots busy, departures come at rate `slots`. In as many steps of that rate as it waits for, a request reaches
    its slot; each further one finds it done with probability 1 / slots.
    """
    places = ahead.shape[1]
    longest = places / slots + 8.0
    times = np.arange(0.0, longest + 6.0 * math.sqrt(longest), 1.0 / TIMES_PER_SERVICE)
    steps = int(times[-1] * slots + 8.0 * math.sqrt(times[-1] * slots)) + 10
    unfinished = np.empty((ahead.shape[0], steps))
    behind, served = 1.0 - ahead[:, 0], ahead[:, 0]
    for step in range(steps):
        if step:
            reached = ahead[:, step] if step < places else 0.0
            behind, served = behind - reached, served * (1.0 - 1.0 / slots) + reached
        unfinished[:, step] = behind + served
    count = np.arange(steps)
    factorials = np.cumsum(np.log(np.maximum(count, 1)))
    times[0] = 1e-12  # has a logarithm
    poisson = np.exp(count * np.log(slots * times)[:, None] - factorials - slots * times[:, None])
    done = 1.0 - unfinished @ poisson.T
    return np.array([np.interp(QUANTILES, row, times) for row in np.maximum.accumulate(done, axis=1)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Minute:
    """One minute of all instances together."""

    instances: int
    served: int
    failed: int
    waiting: int
    """At its end; `waiting before + arrivals = served + failed + waiting`."""

    queued: float
    """The same as an expected number, which the next minute begins with."""

    level: float
    """Load whose steady state has as many waiting as this minute had on average."""

    busy: float
    """Share of the slots at work."""

    concurrency: float
    """Requests on an instance, waiting or in a slot, on average."""


def unserved(failed: int) -> Minute:
    """Return a minute without instances, in which so many requests failed."""
    return Minute(instances=0, served=0, failed=failed, waiting=0, queued=0.0, level=0.0, busy=0.0, concurrency=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An instance.

    Args:
        slots: requests it works on at once, at least 1.
        service_seconds: mean of what one takes, above 0.
        queue: requests that may wait on it, at least 1.
    """

    slots: int
    service_seconds: float
    queue: int

    @classmethod
    def of(cls, capacity: float, *, slots: int, queue: int, patience: float) -> Server:
        """Return the instance that serves `capacity` requests a minute within its objective, and not one more.

        Args:
            capacity: requests a minute, above 0.
            slots: as for `Server`.
            queue: as for `Server`.
            patience: the objective (p95), in p95 of an idle instance, above 1.
        """
        return cls(slots=slots, service_seconds=60.0 * slots * _load_at(slots, queue, patience) / capacity, queue=queue)

    @property
    def rate(self) -> float:
        """Requests a minute it can finish."""
        return 60.0 * self.slots / self.service_seconds

    def capacity(self, objective_seconds: float) -> float:
        """Requests a minute that it serves with p95 at the objective (`c`); 0 if an idle one is slower."""
        return self.rate * _load_at(self.slots, self.queue, objective_seconds / self.idle_p95)

    @property
    def cold_start_capacity(self) -> float:
        """What is guessed of `capacity` before it has been measured (algorithms 2)."""
        return self.rate * max(0.3, 1.0 - 1.0 / math.sqrt(self.slots))

    def minute(self, load: int, instances: int, before: Minute) -> Minute:
        """Let `load` requests arrive at `instances` (at least 1), where those wait that `before` ended with."""
        scale, rate = _scale(self.slots, self.queue), self.rate
        arriving, waited = load / instances, min(before.queued / instances, self.queue)
        steady = _between(scale.loads, scale.waiting, arriving / rate)
        drift, spread = arriving - rate, 2.0 / math.pi * (arriving + min(arriving, rate))
        if waited < steady:
            queued = min(steady, max(waited + drift, math.sqrt(waited**2 + spread)))
        else:  # the same from the other end
            room = math.sqrt((self.queue - waited) ** 2 + spread)
            queued = max(steady, min(waited + drift, self.queue - room))
        level = _between(scale.waiting, scale.loads, (waited + queued) / 2)
        lost = load * min(_between(scale.loads, scale.loss, each) for each in (level, arriving / rate))
        there = before.waiting + load
        waiting = min(round(instances * queued), there)
        served = max(0, min(math.floor(instances * rate + 1e-9), there - waiting - round(lost)))
        busy = served / (instances * rate)
        return Minute(
            instances=instances,
            served=served,
            failed=there - waiting - served,
            waiting=waiting,
            queued=instances * queued,
            level=level,
            busy=busy,
            concurrency=busy * self.slots + (waited + queued) / 2,
        )

    @property
    def idle_p95(self) -> float:
        """Seconds that 95 % of the requests of an idle instance do not exceed."""
        return self.service_seconds * _scale(self.slots, self.queue).p95[0]

    def latencies(self, minute: Minute) -> tuple[float, ...]:
        """Seconds of the requests of a minute, at each of `QUANTILES`."""
        return tuple(self.service_seconds * times for times in _at(self.slots, self.queue, round(minute.level, 3)))

    def mean_latency(self, minute: Minute) -> float:
        """Seconds of the requests of a minute, on average."""
        return self.service_seconds * float(np.interp(minute.level, LOADS, states(self.slots, self.queue).mean))


@dataclass(frozen=True, slots=True)
class _Scale:
    """Columns of `States` as lists, which are faster to look a single number up in."""

    loads: list[float]
    waiting: list[float]
    loss: list[float]
    p95: list[float]


@functools.cache
def _scale(slots: int, queue: int) -> _Scale:
    table = states(slots, queue)
    p95 = table.quantiles[:, QUANTILES.index(0.95)]
    return _Scale(LOADS.tolist(), table.waiting.tolist(), table.loss.tolist(), p95.tolist())


def _between(known: list[float], values: list[float], at: float) -> float:
    """The value at `at`, linear between what is known; that of the last where it lies beyond."""
    right = bisect_right(known, at)
    if right == len(known):
        return values[-1]
    left = max(0, right - 1)
    part = (at - known[left]) / (known[right] - known[left]) if right else 0.0
    return values[left] + part * (values[right] - values[left])


@functools.lru_cache(maxsize=4096)
def _at(slots: int, queue: int, level: float) -> tuple[float, ...]:
    table = states(slots, queue).quantiles
    return tuple(float(np.interp(level, LOADS, column)) for column in table.T)


@functools.cache
def _load_at(slots: int, queue: int, patience: float) -> float:
    """The load at which p95 is so many times that of an idle instance; 0 where it always is."""
    scale = _scale(slots, queue)
    return _between(scale.p95, scale.loads, patience * scale.p95[0]) if patience > 1.0 else 0.0
