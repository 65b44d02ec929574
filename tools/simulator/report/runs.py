"""What a replay hands to the report: one run, its targets, and the same traffic under plain AAS."""

from dataclasses import dataclass, field
from datetime import datetime
from math import isfinite, isnan


@dataclass(frozen=True)
class Mark:
    """One decision that changed something."""

    at: datetime
    reason: str
    text: str


@dataclass(frozen=True)
class Series:
    """One value a minute; every list is as long as `minutes`."""

    minutes: list[datetime]
    demand: list[float]
    """In the target's unit."""

    ready: list[int]
    """Instances in service."""

    desired: list[int]
    """Instances asked for."""

    floor: list[int | None]
    """Registered MinCapacity, None while nothing is registered."""

    ceiling: list[int | None]
    """Registered MaxCapacity, None while nothing is registered."""

    harmed: list[float]
    """Requests of that minute that were violated; of a queue, items that were late."""

    backlog: list[float] = field(default_factory=list)
    """Items waiting, where there is a queue and `demand` is not that already."""

    target: list[float | None] = field(default_factory=list)
    """Demand an instance that native tracking keeps, in the target's unit; None while there is no such policy."""


@dataclass(frozen=True)
class Totals:
    """A run in four numbers."""

    requests: float
    harmed: float
    """NaN if nobody knows."""

    instance_hours: float
    changes: int

    @property
    def harmed_share(self) -> float | None:
        """Violated requests or late items as a fraction, or None if nothing was asked or nobody knows."""
        return self.harmed / self.requests if self.requests and not isnan(self.harmed) else None


@dataclass(frozen=True)
class TargetRun:
    """One scalable target, with Tidegate and without it."""

    name: str
    kind: str
    unit: str
    """`requests/min` or `items queued`."""

    capacity_per_instance: float
    """Demand one instance carries, in `unit`; infinite if not known, and no demand is drawn."""

    tidegate: Series
    plain: Series
    totals: Totals
    plain_totals: Totals
    marks: list[Mark]
    notes: list[str]
    beside: str = "plain AAS"
    """What `plain` is called."""

    @property
    def sized(self) -> bool:
        """Whether it is known what demand comes to in instances."""
        return isfinite(self.capacity_per_instance)

    @property
    def queued(self) -> bool:
        """Whether its load are items of a queue."""
        return "item" in self.unit

    @property
    def word(self) -> str:
        """What is said of demand that was not served as promised."""
        return "late" if self.queued else "violated"

    @property
    def other(self) -> str:
        """What `plain` is called where a sentence begins."""
        return self.beside[:1].upper() + self.beside[1:]


@dataclass(frozen=True)
class Compared:
    """One policy at one setting of its knob, as the judge saw it (`simulator.scores`)."""

    policy: str
    knob: str
    cost_ratio: float
    """Instance-hours over those of the clairvoyant."""

    harmed_share: float
    instance_hours: float
    changes_per_day: float
    money: float | None = None


@dataclass(frozen=True)
class FleetRun:
    """Everything the report shows."""

    title: str
    start: datetime
    hours: float
    targets: list[TargetRun]
    lines: list[str]
    """What the run comes to, a sentence each."""

    facts: dict[str, str]
    """Settings, for a reader who wants to repeat the run."""

    story: list[str] = field(default_factory=list)
    """What was decided and why, a line each."""

    compared: list[Compared] = field(default_factory=list)
    """Every policy that played the same traffic; empty if only plain AAS did."""
