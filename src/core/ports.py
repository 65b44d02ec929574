"""What a pass needs from the outside, as protocols; `core.aws` implements them, tests and tools may too."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from core.context import Decision
from core.errors import ObservationError
from core.metrics import Metric
from core.model import (
    Capacity,
    Envelope,
    Learned,
    Memory,
    Missing,
    Observation,
    Override,
    Refusal,
    ScalableTarget,
    Serving,
    Starts,
    Told,
    Tracked,
)
from core.policy import Fleet


@dataclass(frozen=True, slots=True)
class MetricQuery:
    """One metric, a value a minute. `dimensions` must be the exact set the metric is published with (facts 3)."""

    namespace: str
    name: str
    dimensions: tuple[tuple[str, str], ...]
    stat: str
    sparse: bool = False
    """Whether it is published only when there is something to count, so that a silent minute is one of 0."""

    @classmethod
    def of(cls, metric: Metric, target: ScalableTarget) -> "MetricQuery":
        """Return a metric of the catalogue as a target publishes it."""
        dimensions = tuple(metric.dimensions(target).items())
        return cls(metric.namespace, metric.name, dimensions, metric.statistic, sparse=metric.sparse)


@dataclass(frozen=True, slots=True)
class NativePolicy:
    """A scaling policy of AAS. `configuration` is AAS's own shape; `alarm` CloudWatch's, without its actions."""

    name: str
    policy_type: str
    configuration: Mapping[str, Any]
    alarm: Mapping[str, Any] | None = None
    """The alarm that triggers a step policy (target tracking makes its own)."""

    alarm_names: tuple[str, ...] = ()
    """Alarms AAS says belong to the policy; only on what was read."""

    @property
    def target(self) -> float:
        """The value that a target-tracking policy tracks."""
        return float(self.configuration["TargetValue"])

    @property
    def tracked(self) -> Tracked:
        """What it tracks and how fast; where its cooldowns are not stated, AAS has defaults (facts 2.3)."""
        out, into = (
            timedelta(seconds=self.configuration.get(name, 300)) for name in ("ScaleOutCooldown", "ScaleInCooldown")
        )
        return Tracked(self.target, out, into, self.configuration.get("DisableScaleIn", False))


@dataclass(frozen=True, slots=True)
class ScheduledAction:
    """A scheduled action of AAS; `settings` is what PutScheduledAction takes beside the target and the name."""

    name: str
    settings: Mapping[str, Any]

    def over(self, now: datetime) -> bool:
        """Whether it can never run again, so that AWS may refuse it."""
        here = now.astimezone(ZoneInfo(self.settings.get("Timezone", "UTC")))
        return (
            str(self.settings["Schedule"]) <= f"at({here:%Y-%m-%dT%H:%M:%S})" or self.settings.get("EndTime", now) < now
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Original:
    """What stood on a target before it was adopted; `release` puts it back."""

    envelope: Envelope | None
    policies: tuple[NativePolicy, ...] = ()
    scheduled_actions: tuple[ScheduledAction, ...] = ()
    created_at: datetime | None = None
    known: bool = True
    """False if the record was lost: release then leaves bounds and native policies as they are."""

    @property
    def tracked(self) -> Tracked | None:
        """How AAS tracked requests for each instance or copy; None if only CPU, concurrency or steps moved it."""
        counts = ("InvocationsPerInstance", "InvocationsPerCopy")
        specs = [(p, p.configuration.get("PredefinedMetricSpecification", {})) for p in self.policies]
        return min((p.tracked for p, s in specs if s.get("PredefinedMetricType", "").endswith(counts)), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What an endpoint hosts, as SageMaker describes it: a production variant or an inference component of one."""

    target: ScalableTarget
    instance_type: str | None
    serving: Serving
    managed_minimum: int | None = None
    """Fewest instances where SageMaker itself scales those of the variant (managed instance scaling), else None."""


class Registration(NamedTuple):
    """What AAS has of a target: its bounds, and what of scaling somebody suspended (`DynamicScalingIn`, facts 1.4)."""

    envelope: Envelope
    suspended: tuple[str, ...] = ()


class Place(NamedTuple):
    """Where an enrolled target belongs: what the roster holds."""

    profile: str
    by_tag: bool
    endpoint: str
    tags: Mapping[str, str] = MappingProxyType({})


class PolicySource(Protocol):
    """Where the policy document comes from."""

    @property
    def trouble(self) -> str | None:
        """Why the document that was read last is not the newest one; None if it is."""

    def fleet(self) -> Fleet:
        """Return the document in force, the last good one if need be.

        Raises:
            ConfigError: with every problem of the document, if nobody knows a good one.
            ObservationError: if it cannot be read, likewise.
        """

    def keep(self) -> None:
        """Keep a copy of the document in force for when it cannot be read. Raises ActuationError."""


class StateStore(Protocol):
    """The table: what is remembered of each target. Reads never fail because an item is absent."""

    def memories(self, targets: Sequence[ScalableTarget]) -> Mapping[ScalableTarget, Memory]:
        """Return what is remembered; an unknown target gets an empty `Memory()`."""

    def overrides(self) -> tuple[Override, ...]:
        """Return every override that was not swept yet, expired and ended ones too, in any order."""

    def put_override(self, override: Override) -> Override | None:
        """Store an override and return nothing; or, if its ID is taken, what stands under it."""

    def tell_override(self, override: Override) -> None:
        """Write down what was told of an override."""

    def claim(self, target: ScalableTarget, version: int, holder: str, now: datetime, until: datetime) -> bool:
        """Take the target's lease until `until`. False if somebody holds it or wrote since `version` was read."""

    def record(self, target: ScalableTarget, memory: Memory, holder: str, now: datetime) -> bool:
        """Write the memory (its version + 1) and give up the lease. False if somebody else holds it or wrote."""

    def forget(self, target: ScalableTarget) -> None:
        """Remove the target's memory, original, fit and place in the roster."""

    def put_decision(self, decision: Decision, outcome: str) -> None:
        """Keep a decision with its whole context for 90 days."""

    def learned(self, targets: Sequence[ScalableTarget]) -> Mapping[ScalableTarget, Learned]:
        """Return the newest fit of those targets that have one."""

    def put_learned(self, target: ScalableTarget, learned: Learned) -> None:
        """Keep a fit in place of the one before."""

    def roster(self) -> Mapping[ScalableTarget, Place] | None:
        """Return the place of each enrolled target, or None if nothing was ever written."""

    def put_roster(self, roster: Mapping[ScalableTarget, Place]) -> None:
        """Replace the roster."""

    def original(self, target: ScalableTarget) -> Original | None:
        """Return what was saved before adoption."""

    def put_original(self, target: ScalableTarget, original: Original) -> None:
        """Save what stood before, in place of what was saved."""


class Events(Protocol):
    """EventBridge."""

    def tell(self, what: Told, override: Override, now: datetime, by: str | None = None) -> None:
        """Put an event about an override; `by` names the request that took its place."""


class Metrics(Protocol):
    """CloudWatch."""

    def fetch(
        self, queries: Sequence[MetricQuery], now: datetime, span: timedelta
    ) -> Mapping[MetricQuery, Observation | Missing]:
        """Return the last `span` of complete minutes of each metric, or why it is missing or stale."""

    def alarm_states(self, names: Sequence[str]) -> Mapping[str, str]:
        """Return the state of those alarms that exist."""

    def alarms(self, prefix: str) -> Mapping[str, Mapping[str, Any]]:
        """Return the metric alarms whose names begin with `prefix`, as DescribeAlarms shows them."""

    def put_alarm(self, alarm: Mapping[str, Any]) -> None:
        """Create or replace an alarm (PutMetricAlarm's own shape)."""

    def delete_alarms(self, names: Sequence[str]) -> None:
        """Delete alarms; absent ones are fine."""


class Autoscaling(Protocol):
    """Application Auto Scaling."""

    def registered(self, targets: Sequence[ScalableTarget]) -> Mapping[ScalableTarget, Registration]:
        """Return the registration of those targets that have one."""

    def count(self) -> int:
        """Return how many targets SageMaker has in the Region, whoever registered them."""

    def refusal(self, target: ScalableTarget) -> Refusal | None:
        """Return why the newest finished scaling activity of the target failed, None if it did not (facts 1.7)."""

    def starts(self, target: ScalableTarget, since: datetime | None) -> Starts:
        """Return how long the newest scale-outs ordered since then took to serve (algorithms 1), at most 20."""

    def register(self, target: ScalableTarget, envelope: Envelope) -> None:
        """Set both bounds; AAS moves the capacity inside them at once."""

    def deregister(self, target: ScalableTarget) -> None:
        """Remove the registration with all that hangs on it; absent is fine."""

    def policies(self, target: ScalableTarget) -> tuple[NativePolicy, ...]:
        """Return every scaling policy of the target."""

    def put_policy(self, target: ScalableTarget, policy: NativePolicy) -> str:
        """Create or replace a policy (not its alarm) and return its ARN.

        Raises:
            TargetNotFoundError: also right after the first registration, which AAS takes a moment to see (facts 1.3).
        """

    def delete_policy(self, target: ScalableTarget, name: str) -> None:
        """Delete a policy; absent is fine."""

    def scheduled_actions(self, target: ScalableTarget) -> tuple[ScheduledAction, ...]:
        """Return every scheduled action of the target, times in UTC."""

    def put_scheduled_action(self, target: ScalableTarget, action: ScheduledAction) -> None:
        """Create or replace a scheduled action; what its settings leave out is removed (facts 1.6)."""

    def delete_scheduled_action(self, target: ScalableTarget, name: str) -> None:
        """Delete a scheduled action; absent is fine."""


class Schedules(Protocol):
    """EventBridge Scheduler."""

    def put(self, target: ScalableTarget, policy: NativePolicy, at: datetime) -> None:
        """Have AAS given this policy at `at` (UTC) whatever becomes of us; it replaces the one of the target before."""

    def delete(self, target: ScalableTarget) -> None:
        """Have it not given any more; absent is fine."""

    def left_behind(self, target: ScalableTarget) -> float | None:
        """Return the target value that AAS will be given, None if nothing is due."""


class Hosting(Protocol):
    """SageMaker."""

    def capacity(self, target: ScalableTarget) -> Capacity | Missing:
        """Return counts and status, Missing if the endpoint, variant or component is gone."""

    def running(
        self, targets: Sequence[ScalableTarget], now: datetime
    ) -> Mapping[ScalableTarget, Capacity | Missing | ObservationError]:
        """Return the same of each target, or why it cannot be read, in as few calls as that takes."""

    def variants(self, endpoint: str) -> tuple[Variant, ...]:
        """Return the endpoint's variants and inference components, none if it does not exist."""

    def tagged(self) -> Mapping[str, Mapping[str, str]]:
        """Return the tags of each endpoint that has any, by its name in lower case; none that AWS itself set."""

    def set_count(self, target: ScalableTarget, count: int) -> None:
        """Ask for exactly `count` instances or copies once. Raises TargetBusyError while the endpoint changes."""
