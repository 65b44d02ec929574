"""A queue served oldest first: what waits and what is done, given the instances of each minute.

The same queue as `simulator.workload.AsyncWorkload` without its metrics: an instance does `60 x concurrency` seconds of
work a minute, work is divisible among slots, arrivals of a minute may be served in it. `Queue` goes minute by minute,
for policies that look at the backlog; `finished` takes all minutes at once, for judging.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from simulator.cases import Case

SLACK = 1e-6  # seconds: a request that lacks less of its work is done; keeps sums of floats from delaying it


def finished(case: Case, ready: NDArray[np.int64]) -> NDArray[np.int64]:
    """Requests done by the end of each minute, counted from the start, if `ready` instances serve in each.

    Served oldest first, request number k (from 1) is done in the first minute whose value is at least k.
    """
    arrived, work = _cumulated(case)
    capacity = np.cumsum(60.0 * case.concurrency * ready)
    # What an idle minute leaves unused is lost: the least of work - capacity so far, as in Lindley's recursion.
    done = capacity + np.minimum(0.0, np.minimum.accumulate(work - capacity))
    whole = np.searchsorted(work, done + SLACK, side="right")  # minutes whose arrivals are all done
    before = np.concatenate([[0], arrived])[whole]
    head = np.minimum(whole, len(work) - 1)  # the minute whose requests are being worked on
    each = np.diff(work, prepend=0.0)[head] / np.maximum(1, np.diff(arrived, prepend=0)[head])
    started = np.maximum(0.0, done - np.concatenate([[0.0], work])[whole])
    partly = np.floor(np.divide(started + SLACK, each, out=np.zeros_like(started), where=each > 0))
    return np.asarray(before + np.where(whole < len(work), partly, 0), dtype=np.int64)


def need(case: Case) -> NDArray[np.int64]:
    """Instances that each minute needs; of a queue, what serves the work of the last `objective` minutes in as many."""
    if case.work_seconds is None:
        return case.needed
    work = np.cumsum(case.work_seconds)
    window = work - np.concatenate([np.zeros(case.objective), work])[: len(work)]
    instances = window / (60.0 * case.concurrency * case.objective)
    return np.asarray(np.ceil(np.round(instances, 9)), dtype=np.int64)


def _cumulated(case: Case) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    if case.work_seconds is None:
        raise ValueError(f"{case.trace}: work_seconds is missing, a queue needs the work of its arrivals")
    return np.cumsum(case.requests), np.cumsum(case.work_seconds)


class Queue:
    """The queue of a case, one minute at a time.

    Attributes:
        waiting: requests that have arrived and are not done.
        spent: seconds of work done in the last minute.
    """

    __slots__ = ("_arrived", "_done", "_head", "_per_instance", "_requests", "_work", "spent", "waiting")

    def __init__(self, case: Case) -> None:
        arrived, work = _cumulated(case)
        self._requests: list[int] = case.requests.tolist()
        self._arrived: list[int] = arrived.tolist()
        self._work: list[float] = work.tolist()
        self._per_instance = 60.0 * case.concurrency
        self._done = 0.0  # seconds of work, from the start
        self._head = 0  # the oldest minute with a request that is not done
        self.waiting = 0
        self.spent = 0.0

    def serve(self, minute: int, ready: int) -> None:
        """Play one minute; minutes come in order, from 0."""
        work = self._work
        done = min(work[minute], self._done + self._per_instance * ready)
        self.spent, self._done = done - self._done, done
        head = self._head
        while head <= minute and work[head] <= done + SLACK:
            head += 1
        self._head = head
        if head > minute:
            self.waiting = 0
            return
        begin, first = (work[head - 1], self._arrived[head - 1]) if head else (0.0, 0)
        each = (work[head] - begin) / max(1, self._requests[head])
        self.waiting = self._arrived[minute] - first - int(max(0.0, done - begin + SLACK) / each)
