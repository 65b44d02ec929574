"""Application Auto Scaling as fast as a bench needs it: alarms, cooldowns and several policies, no API.

The service itself is modelled in `simulator.aas`; tests drive both minute by minute and hold them to be equal. Numbers
in parentheses are sections of the fact sheet.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from simulator.alarms import SPARE_PERIODS, Point, verdict
from simulator.scaling import LOW_ALARM_FACTOR, step_capacity, tracking_capacity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from simulator.baselines.stage import Stage

    Metric = Callable[[int], float | None]  # value of a minute, None where nothing was published

HIGH_MINUTES, LOW_MINUTES = 3, 15  # (2.1)
COOLDOWN = 5  # minutes, both ways (2.3)


class Alarm:
    """N breaching minutes out of N, missing data treated as `missing` (2.8)."""

    __slots__ = ("_config", "_known", "_missing", "_periods", "_recent", "_run", "on")

    def __init__(self, periods: int) -> None:
        self.on = False
        self._periods = periods
        self._run = 0  # breaching minutes since the last that was not
        self._known = 0  # minutes since the last that is missing
        self._missing = 0  # minutes since the last that is known
        self._recent: deque[bool | None] = deque([None] * (periods + SPARE_PERIODS), periods + SPARE_PERIODS)
        self._config = {
            "EvaluationPeriods": periods,
            "ComparisonOperator": "GreaterThanThreshold",
            "Threshold": 0.5,
            "TreatMissingData": "missing",
        }

    def see(self, breach: bool | None) -> None:  # noqa: FBT001 - a data point, not an option
        """Take in one more minute: whether it breaches, None where there is no data."""
        self._recent.append(breach)
        self._known = 0 if breach is None else self._known + 1
        self._run = self._run + 1 if breach else 0 if breach is False else self._run
        self._missing = self._missing + 1 if breach is None else 0
        if self._known >= self._periods + SPARE_PERIODS:
            self.on = self._run >= self._periods
            return
        if self._missing >= self._periods + SPARE_PERIODS:
            self.on = False
            return
        points = [Point(0, None if seen is None else float(seen)) for seen in reversed(self._recent)]
        state, _ = verdict(points, self._config)
        self.on = self.on if state is None else state == "ALARM"


class TargetTracking:
    """One target-tracking policy: its two alarms (2.1), and the size of its step (2.2)."""

    def __init__(self, metric: Metric, target: float, *, cooldown_in: int = COOLDOWN) -> None:
        self._metric, self._target, self._floor = metric, target, LOW_ALARM_FACTOR * target
        self._latest = 0.0
        self._high, self._low = Alarm(HIGH_MINUTES), Alarm(LOW_MINUTES)
        self.cooldown_out, self.cooldown_in = COOLDOWN, cooldown_in

    def see(self, seen: int) -> None:
        """Evaluate its alarms with the minute `seen`."""
        value = self._metric(seen) if seen >= 0 else None
        if value is None:
            self._high.see(None)
            self._low.see(None)
            return
        self._latest = value
        self._high.see(value > self._target)
        self._low.see(value < self._floor)

    def out(self, capacity: int) -> int | None:
        """The capacity its high alarm asks for."""
        return tracking_capacity(capacity, self._latest, self._target) if self._high.on else None

    def into(self, capacity: int) -> int | None:
        """The capacity its low alarm asks for."""
        return tracking_capacity(capacity, self._latest, self._target) if self._low.on else None


class StepScaling:
    """One step policy and the alarm that calls it (1.5). `steps` are StepAdjustments, their bounds from `threshold`."""

    def __init__(
        self, metric: Metric, threshold: float, minutes: int, steps: Sequence[Mapping[str, Any]], *, above: bool
    ) -> None:
        self._metric, self._threshold, self._above = metric, threshold, above
        self._latest = 0.0
        self._alarm = Alarm(minutes)
        operator = "GreaterThanOrEqualToThreshold" if above else "LessThanThreshold"
        self._config = {"ComparisonOperator": operator, "Threshold": threshold}
        self._policy = {"AdjustmentType": "ChangeInCapacity", "StepAdjustments": steps}
        self.cooldown_out = self.cooldown_in = COOLDOWN

    def see(self, seen: int) -> None:
        """Evaluate its alarm with the minute `seen`."""
        value = self._metric(seen) if seen >= 0 else None
        if value is None:
            self._alarm.see(None)
            return
        self._latest = value
        self._alarm.see(value >= self._threshold if self._above else value < self._threshold)

    def wish(self, capacity: int) -> int | None:
        """The capacity its alarm asks for."""
        return step_capacity(capacity, self._latest, self._config, self._policy) if self._alarm.on else None


class Wish(NamedTuple):
    """A capacity, and the minutes of cooldown that follow once it is there."""

    capacity: int
    cooldown: int


class AutoScaling:
    """One scalable target with its policies.

    Attributes:
        minimum: MinCapacity.
    """

    def __init__(self, stage: Stage, tracking: Sequence[TargetTracking], stepping: Sequence[StepScaling] = ()) -> None:
        self._stage, self._tracking, self._stepping = stage, tracking, stepping
        self.minimum, self._maximum = stage.case.minimum, stage.case.maximum
        self._change: tuple[int, int | None] | None = None  # capacity before it, and its cooldown if it has one
        self._out_until = self._in_until = 0
        self._out_base = 0  # capacity before the scale-out whose cooldown runs

    def set_minimum(self, now: int, minimum: int) -> None:
        """Move the floor; capacity below it is raised at once unless a change is under way (2.6). No cooldown."""
        self.minimum = min(minimum, self._maximum)
        if self._stage.desired < self.minimum and not self._stage.updating:
            self._order(now, self.minimum, None)

    def decide(self, now: int, seen: int) -> None:
        """See `Scaler`."""
        for tracking in self._tracking:
            tracking.see(seen)
        for stepping in self._stepping:
            stepping.see(seen)
        if self._stage.updating:
            return
        if self._change is not None:
            self._finish(now)
        wish = self._wish(now)
        if wish is not None:
            self._follow(now, wish)

    def _finish(self, now: int) -> None:
        """A change has arrived; only now its cooldown begins (2.3)."""
        assert self._change is not None  # noqa: S101 - the caller looked
        (before, cooldown), self._change = self._change, None
        if cooldown is None:
            return
        if self._stage.current > before:
            self._out_until, self._out_base = now + cooldown, before
        else:
            self._in_until = now + cooldown

    def _wish(self, now: int) -> Wish | None:
        """The largest scale-out of any policy, else the largest scale-in that is allowed (2.4).

        While a scale-out cools down, what it has added counts as part of the next one (2.3). Target tracking scales in
        only if all its policies agree, a step policy asks nobody.
        """
        current = self._stage.desired
        base = min(current, self._out_base) if now < self._out_until else current
        outs = [Wish(to, rule.cooldown_out) for rule in self._tracking if (to := rule.out(base)) is not None]
        outs += [Wish(to, rule.cooldown_out) for rule in self._stepping if (to := rule.wish(base)) is not None]
        outs = [wish for wish in outs if wish.capacity > current]
        if outs:
            return max(outs, key=_capacity)
        votes = [Wish(to, rule.cooldown_in) for rule in self._tracking if (to := rule.into(current)) is not None]
        ins = [max(votes, key=_capacity)] if votes and len(votes) == len(self._tracking) else []
        ins += [Wish(to, rule.cooldown_in) for rule in self._stepping if (to := rule.wish(current)) is not None]
        return max((wish for wish in ins if wish.capacity < current), key=_capacity, default=None)

    def _follow(self, now: int, wish: Wish) -> None:
        current = self._stage.desired
        capacity = max(self.minimum, min(wish.capacity, self._maximum))
        if wish.capacity > current:
            if current < self._maximum:
                self._in_until = 0  # a scale-out ends the cooldown of a scale-in (2.3)
                self._order(now, capacity, wish.cooldown)
        elif now >= self._in_until and current > self.minimum:
            self._order(now, capacity, wish.cooldown)

    def _order(self, now: int, capacity: int, cooldown: int | None) -> None:
        self._change = (self._stage.current, cooldown)
        self._stage.order(now, capacity)


def _capacity(wish: Wish) -> int:
    return wish.capacity
