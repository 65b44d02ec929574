"""A reconciler over fakes: one target, everything settable, every write noted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from core.fleet import FleetSync
from core.model import Memory, Mode, ScalableTarget
from core.native import full
from core.reconcile import Outcome, Pass, Ports, Reconciler
from simulator.in_memory import InMemoryEvents, InMemoryStore, StaticPolicies
from tests.builders import NOW, REALTIME
from tests.fakes.aws import FakeAutoscaling, FakeMetrics, FakeSchedules, FakeServing


@dataclass
class World:
    """`orders`, a real-time endpoint with eight instances (`count`), and whatever a test adds."""

    document: dict[str, Any] = field(
        default_factory=lambda: {
            "version": 1,
            "profiles": {"p": dict(REALTIME)},
            "endpoints": [{"name": "orders", "profile": "p"}],
        }
    )
    mode: Mode = Mode.ACTIVE
    now: datetime = NOW
    store: InMemoryStore = field(default_factory=InMemoryStore)
    metrics: FakeMetrics = field(default_factory=FakeMetrics)
    autoscaling: FakeAutoscaling = field(default_factory=FakeAutoscaling)
    schedules: FakeSchedules = field(default_factory=FakeSchedules)
    serving: FakeServing = field(default_factory=FakeServing)
    events: InMemoryEvents = field(default_factory=InMemoryEvents)
    count: int = 8
    clock_runs: timedelta = timedelta(0)
    """How far the clock is ahead of the pass's own `now`."""

    def __post_init__(self) -> None:
        self.orders = self.serving.add("orders", count=self.count)
        self.autoscaling.metrics = self.metrics

    @property
    def reconciler(self) -> Reconciler:
        ports = Ports(
            policies=StaticPolicies(self.document),
            store=self.store,
            metrics=self.metrics,
            autoscaling=self.autoscaling,
            schedules=self.schedules,
            serving=self.serving,
            events=self.events,
            clock=lambda: self.now + self.clock_runs,
        )
        return Reconciler(ports, stage="prod", mode=self.mode)

    def when(self, holder: str = "test", *, dry_run: bool = False, tunes: bool = False) -> Pass:
        deadline = self.now + timedelta(seconds=48)
        return Pass(now=self.now, deadline=deadline, holder=holder, dry_run=dry_run, tunes=tunes)

    def tick(self, holder: str = "test", *, dry_run: bool = False, tunes: bool = False) -> Mapping[str, Outcome]:
        """An owner's pass over everything, outcomes by endpoint or inference component."""
        outcomes = self.reconciler.run(lambda _: True, self.when(holder, dry_run=dry_run, tunes=tunes))
        return {_name(outcome.target): outcome for outcome in outcomes}

    def sync(self, endpoint: str | None = None, *, dry_run: bool = False) -> Mapping[str, Outcome]:
        """FleetSync, outcomes by endpoint or inference component."""
        outcomes = FleetSync(self.reconciler).run(self.when("sync", dry_run=dry_run), endpoint)
        return {_name(outcome.target): outcome for outcome in outcomes}

    def later(self, **span: float) -> None:
        self.now += timedelta(**span)

    def memory(self, target: ScalableTarget | None = None) -> Memory:
        target = target or self.orders
        return self.store.memories([target])[target]

    @property
    def writes(self) -> list[str]:
        """What was written to AWS since the last look, by operation."""
        fakes = (self.schedules, self.autoscaling, self.metrics, self.serving)
        found = [str(w[0]) for fake in fakes for w in fake.writes]
        for fake in fakes:
            fake.writes.clear()
        return found

    def enrolled(self) -> "World":
        """Enrol, let the state settle for a day, and forget what was written."""
        self.sync()
        self.later(days=1)
        names = (*self.memory().scale_out_alarms, *(p.low for p in self.memory().tracking if p.low))
        self.metrics.states |= {full(name, self.orders): "OK" for name in names}
        _ = self.writes
        return self


def _name(target: ScalableTarget) -> str:
    return next(iter(target.names.values()))
