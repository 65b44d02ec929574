"""What every baseline plays on: an endpoint that takes one capacity change at a time, and the load of a case.

A plain loop over minutes with plain lists: 14 days take some 40 ms with a policy of two alarms. The clockwork is that
of `simulator.account`: capacity that is due arrives and counts for its minute, traffic is served, then, at the end of
the minute, the policy decides on what can be read by then: the minutes up to `lag` before the one just over.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from simulator.cases import HIDDEN_ABOVE, Course, Mode
from simulator.queues import Queue

if TYPE_CHECKING:
    from simulator.cases import Case


class Scaler(Protocol):
    """A policy: it looks at a stage and orders from it."""

    def decide(self, now: int, seen: int) -> None:
        """Act at the beginning of minute `now`; the newest readable minute is `seen`, none yet if it is negative."""
        ...


class Stage:
    """One endpoint under the load of one case.

    Attributes:
        case: what is played.
        load: requests of each minute; where demand is hidden, what metrics will show of it.
        ready: instances that served in each minute so far.
        waiting: requests that waited at the end of each minute so far; queues only.
        busy: slots (of all instances) at work in each minute so far, on average; queues only.
        current: instances that serve now.
        desired: instances asked for; differs from `current` while a change is under way.
        orders: minutes in which another capacity was asked for, and which.

    Args:
        case: load and clockwork.
        count: instances to begin with; `Case.first_count` if left out.
    """

    def __init__(self, case: Case, count: int | None = None) -> None:
        self.case = case
        self.load: list[int] = case.requests.tolist()
        self.ready: list[int] = []
        self.waiting: list[int] = []
        self.busy: list[float] = []
        self.current = self.desired = case.first_count() if count is None else count
        self.orders: list[tuple[int, int]] = []
        self._due = -1

    @property
    def updating(self) -> bool:
        """Whether a change is under way; nothing else can be ordered then (facts 0.9)."""
        return self._due >= 0

    def order(self, now: int, count: int) -> None:
        """Ask for another count while no change is under way; it is there `now` plus the delay of its direction."""
        if self.updating or count == self.desired:
            raise ValueError(f"order of {count} at minute {now}: updating = {self.updating}, desired = {self.desired}")
        case = self.case
        delay = case.removal if count < self.current else case.provisioning
        if self.current == 0:
            delay = case.provisioning_from_zero
        self.desired, self._due = count, now + delay
        self.orders.append((now, count))

    def play(self, scaler: Scaler, policy: str, knob: str) -> Course:
        """Let the policy run the endpoint over the whole case."""
        case = self.case
        queue = Queue(case) if case.mode is Mode.ASYNC else None
        billed: list[int] = []
        length, lag = len(self.load), case.lag
        for minute in range(length):
            if self._due == minute:
                self.current, self._due = self.desired, -1
            self.ready.append(self.current)
            billed.append(max(self.current, self.desired))
            if case.hidden:
                self.load[minute] = min(self.load[minute], int(HIDDEN_ABOVE * self.current * case.capacity))
            if queue is not None:
                queue.serve(minute, self.current)
                self.waiting.append(queue.waiting)
                self.busy.append(queue.spent / 60)
            scaler.decide(minute + 1, minute - lag)
        return Course(
            policy=policy,
            knob=knob,
            ready=np.array(self.ready, dtype=np.int64),
            billed=np.array(billed, dtype=np.int64),
            orders=np.array([minute for minute, _ in self.orders if minute < length], dtype=np.int64),
        )
