"""A smaller seed of `python -m tests.chaos.weeks`, and proof that each of its invariants can fail."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from typing_extensions import override

from core.model import Envelope, Missing, Observation, Override, Point, ScalableTarget
from core.ports import Autoscaling, Hosting, MetricQuery, Metrics, NativePolicy, ScheduledAction, Schedules
from simulator.direct import DirectAutoscaling, DirectMetrics
from simulator.in_memory import InMemoryStore
from tests.chaos.weeks import COUNTED, MINUTE, STARTS, Life, Weeks, lived


def test_nothing_escapes_acts_on_or_falls_for_want_of_knowledge() -> None:
    lived(lives=8, steps=10)
    assert COUNTED["minutes"] > 8 * 60  # which lives are tried depends on what else is imported
    assert min(COUNTED[what] for what in ("overrides", "edits", "silences", "struck calls")) > 0


class Lasting(InMemoryStore):
    """Its overrides never end."""

    @override
    def overrides(self) -> tuple[Override, ...]:
        return tuple(replace(each, expires_at=each.expires_at + timedelta(days=1)) for each in super().overrides())


class Lingering(Life):
    memory = Lasting


class Zeros(DirectMetrics):
    """What is missing is zero."""

    @override
    def fetch(
        self, queries: Sequence[MetricQuery], now: datetime, span: timedelta
    ) -> Mapping[MetricQuery, Observation | Missing]:
        newest = now.replace(second=0) - 2 * MINUTE
        zeros = Observation(tuple(Point(newest - i * MINUTE, 0.0) for i in reversed(range(span // MINUTE))))
        found = super().fetch(queries, now, span)
        return {query: zeros if isinstance(seen, Missing) else seen for query, seen in found.items()}


class Blind(Life):
    @override
    def _adapters(self) -> tuple[Metrics, Autoscaling, Hosting]:
        _, autoscaling, serving = super()._adapters()
        return Zeros(self.account), autoscaling, serving


class Timeless(DirectAutoscaling):
    """Nothing expires."""

    @override
    def put_scheduled_action(self, target: ScalableTarget, action: ScheduledAction) -> None:
        """Forget it."""


class Unending(Life):
    @override
    def _adapters(self) -> tuple[Metrics, Autoscaling, Hosting]:
        metrics, _, serving = super()._adapters()
        return metrics, Timeless(self.account), serving


class Endless:
    """No target value falls back."""

    def put(self, target: ScalableTarget, policy: NativePolicy, at: datetime) -> None:
        """Forget it."""

    def delete(self, target: ScalableTarget) -> None:
        """Nothing is there."""

    def left_behind(self, target: ScalableTarget) -> None:
        """Nothing is there."""


class Bold(Life):
    @override
    def _schedules(self) -> Schedules:
        return Endless()


class Generous(DirectAutoscaling):
    """Whatever the policy's maximum is."""

    @override
    def register(self, target: ScalableTarget, envelope: Envelope) -> None:
        super().register(target, Envelope(envelope.floor, 2 * envelope.ceiling))


class Boundless(Life):
    @override
    def _adapters(self) -> tuple[Metrics, Autoscaling, Hosting]:
        metrics, _, serving = super()._adapters()
        return metrics, Generous(self.account), serving


@pytest.mark.parametrize(
    ("unsafe", "problem"),
    [
        (Lingering, "expired override"),
        (Blind, "unknown"),
        (Unending, "expiry"),
        (Bold, "expiry"),
        (Boundless, "bounds"),
    ],
)
def test_an_unsafe_life_is_caught(unsafe: type[Life], problem: str) -> None:
    """A morning in a shop: a rush, an override that ends before it does, and then metrics that stop."""

    class Unsafe(Weeks):
        life = unsafe

    with pytest.raises(AssertionError, match=f"^{problem}: "):
        morning(Unsafe())


def test_a_safe_life_is_not() -> None:
    morning(Weeks())


def morning(life: Weeks) -> None:
    life.begin(STARTS[-1], ["shop"], seed=8)
    life.watched[0].demand[:] = [900] * 60 + [6500] * 600
    life.wait(100)
    life.override(0, "ceiling", 10, minutes=20)
    life.wait(10)
    life.override(0, "resume", 0, minutes=1)
    life.wait(1)
    life.override(0, "pin", 12, minutes=5)
    life.wait(90)
    life.silence(0)
    life.wait(50)
