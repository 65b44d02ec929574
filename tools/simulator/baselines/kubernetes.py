"""The rules of Kubernetes: the horizontal pod autoscaler, KEDA on a queue, and Knative's autoscaler.

They decide every 2 to 30 seconds on fresh metrics of a cluster. Here each is asked once a minute, reads what CloudWatch
shows by then, and orders instances of an endpoint: one change at a time, minutes each. What is compared is the rule,
not the cluster. Within a minute the metric does not change, so repeating a rule in it would find nothing new; where its
speed is limited, the limit is that of a whole minute.
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from simulator.baselines.stage import Stage

if TYPE_CHECKING:
    from simulator.baselines.autoscaling import Metric
    from simulator.cases import Case, Course

ROUNDING = 9  # digits; keeps 3 x 70 / 70 from becoming four

TOLERANCE = 0.1  # of the ratio of metric and target, --horizontal-pod-autoscaler-tolerance
STABILIZATION = 5  # minutes, --horizontal-pod-autoscaler-downscale-stabilization
UP_PERIODS = 4  # of 15 seconds in a minute; each may double the pods or add four, whichever is more

KEDA_COOLDOWN = 5  # minutes, cooldownPeriod: without a message before the last replica goes
KEDA_FAILURES = 3  # polls in a row without a metric before the fallback, failureThreshold

PANIC_THRESHOLD = 2.0  # panic-threshold-percentage 200
STABLE_WINDOW = 1  # minutes, stable-window
MAX_UP_RATE, MAX_DOWN_RATE = 1000.0, 2.0


def hpa(case: Case, knob: str) -> Course:
    """The horizontal pod autoscaler (autoscaling/v2) with its defaults; the knob is the target as a share of capacity.

    Rule: Kubernetes documentation, "Horizontal Pod Autoscaling", Algorithm details and Configurable scaling behavior.
    """
    stage = Stage(case)
    load = stage.load
    return stage.play(Hpa(stage, lambda minute: load[minute], float(knob) * case.capacity), "hpa", knob)


class Hpa:
    """desired = ceil(replicas x metric / target), as `ceil(total / target)`: an average over replicas times replicas.

    Within the tolerance nothing changes. Down goes the highest proposal of the last 300 s; up goes the newest, as far
    as the default scale-up policies allow: 100 % or 4 pods each 15 s, whichever is more.
    """

    def __init__(self, stage: Stage, total: Metric, target: float) -> None:
        self._stage, self._total, self._target = stage, total, target
        self._minimum = max(1, stage.case.minimum)  # zero is not the autoscaler's to reach or to leave
        self._proposals: deque[tuple[int, int]] = deque()  # minute and replicas, up to 300 s old

    def decide(self, now: int, seen: int) -> None:
        """See `Scaler`."""
        current = self._stage.desired
        total = self._total(seen) if seen >= 0 else None
        if total is None or not current:
            return
        wanted = self._wanted(now, total, current)
        if wanted != current and not self._stage.updating:
            self._stage.order(now, wanted)

    def _wanted(self, now: int, total: float, current: int) -> int:
        within = abs(round(total / (current * self._target) - 1, ROUNDING)) <= TOLERANCE
        proposal = current if within else math.ceil(round(total / self._target, ROUNDING))
        proposal = max(self._minimum, min(proposal, self._stage.case.maximum))
        if not self._proposals:  # what runs when it begins counts as proposed
            self._proposals.append((now, current))
        self._proposals.append((now, proposal))
        while now - self._proposals[0][0] > STABILIZATION:
            self._proposals.popleft()
        if proposal > current:
            limit = current
            for _ in range(UP_PERIODS):
                limit = max(2 * limit, limit + 4)
            return min(proposal, limit)
        return min(current, max(replicas for _, replicas in self._proposals))


def keda(case: Case, knob: str) -> Course:
    """KEDA on the length of the queue; the knob is the number of messages for each replica (5 is the default for SQS).

    Rule: KEDA documentation, "ScaledObject specification" and "Scaling Deployments": activation, cooldownPeriod, HPA in
    between.
    """
    stage = Stage(case)
    waiting = stage.waiting
    return stage.play(Keda(stage, lambda minute: waiting[minute], float(knob)), "keda", knob)


class Keda:
    """From zero to one as soon as more than `activation` messages wait, to zero 300 s after the last; else an HPA.

    After three failures in a row to read the queue the HPA is given what makes `fallback` replicas; without a fallback
    it holds. The HPA never sees a failure as an empty queue.
    """

    def __init__(
        self, stage: Stage, queue: Metric, per_replica: float, *, activation: float = 0.0, fallback: int | None = None
    ) -> None:
        self._stage, self._queue, self._activation = stage, queue, activation
        self._fallback = None if fallback is None else fallback * per_replica
        self._failures = 0
        self._last_active = 0
        self._hpa = Hpa(stage, self._length, per_replica)

    def _length(self, minute: int) -> float | None:
        length = self._queue(minute)
        return self._fallback if length is None and self._failures >= KEDA_FAILURES else length

    def decide(self, now: int, seen: int) -> None:
        """See `Scaler`."""
        if seen < 0:
            return
        stage, length = self._stage, self._queue(seen)
        self._failures = self._failures + 1 if length is None else 0
        if length is not None and length > self._activation:
            self._last_active = now
            if not stage.desired and not stage.updating:
                stage.order(now, max(1, stage.case.minimum))
                return
        idle = now - self._last_active > KEDA_COOLDOWN
        if length is not None and idle and stage.desired and not stage.case.minimum:
            if not stage.updating:
                stage.order(now, 0)
            return
        self._hpa.decide(now, seen)


def knative(case: Case, knob: str) -> Course:
    """Knative's autoscaler (KPA) with its defaults; the knob is the target utilization, a share of capacity (0.7).

    Rule: Knative documentation, "Additional autoscaling configuration for Knative Pod Autoscaler": stable window of
    60 s; panic from 200 % of what the ready pods are meant to carry until a stable window after it, in which nothing
    scales in; at most 1000 times up, at most down to half. Where the minimum is zero, the last pod goes after a stable
    window without load and the grace period of 30 s.
    """
    stage = Stage(case)
    return stage.play(Kpa(stage, float(knob) * case.capacity), "knative", knob)


class Kpa:
    """One decision a minute. The panic window, 6 s or a tenth of the stable one, is seen as the newest minute.

    Args:
        stage: where it plays.
        target: requests a minute that an instance is meant to get.
        window: minutes of the stable window, from 1.
    """

    def __init__(self, stage: Stage, target: float, window: int = STABLE_WINDOW) -> None:
        self._stage, self._target, self._window = stage, target, window
        self._panic_at: int | None = None
        self._most = 0  # pods asked for since the panic began
        self._idle = 0  # minutes in a row in which no pod was wanted

    def decide(self, now: int, seen: int) -> None:
        """See `Scaler`."""
        if seen < 0:
            return
        recent = self._stage.load[max(0, seen + 1 - self._window) : seen + 1]
        wanted = self._wanted(now, self._pods(sum(recent) / len(recent)), self._pods(recent[-1]))
        if wanted != self._stage.desired and not self._stage.updating:
            self._stage.order(now, wanted)

    def _pods(self, load: float) -> int:
        return math.ceil(round(load / self._target, ROUNDING))

    def _wanted(self, now: int, stable: int, panic: int) -> int:
        stage = self._stage
        ready = max(1, stage.current)
        fewest, most = math.floor(ready / MAX_DOWN_RATE), math.ceil(MAX_UP_RATE * ready)
        if panic / ready >= PANIC_THRESHOLD:
            self._panic_at = now
        elif self._panic_at is not None and now - self._panic_at > self._window:
            self._panic_at, self._most = None, 0
        wanted = min(max(stable, fewest), most)
        if self._panic_at is not None:
            wanted = self._most = max(self._most, wanted, min(panic, most))
        self._idle = 0 if wanted else self._idle + 1
        if self._idle == 1 and stage.desired:  # the grace period is part of the next minute
            wanted = 1
        return max(stage.case.minimum, min(wanted, stage.case.maximum))
