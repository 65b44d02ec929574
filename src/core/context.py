"""Everything a decision looks at, and everything it says: both survive being written down and read again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from pydantic import TypeAdapter

from core.model import (
    Capacity,
    Dimension,
    Envelope,
    Learned,
    Memory,
    Missing,
    Mode,
    Observation,
    Override,
    Progress,
    Reason,
    Refusal,
    ScalableTarget,
    Scope,
    Signal,
    Step,
)
from core.policy import Profile


@dataclass(frozen=True, slots=True, kw_only=True)
class Enrolment:
    """A target and the rules it falls under: what discovery found."""

    target: ScalableTarget
    profile_name: str
    profile: Profile
    endpoint: str = ""
    """The endpoint of an inference component, which its target does not name."""

    fleet_max: int = 100
    vcpus: int | None = None
    gpus: int | None = None
    adopt: bool = False
    by_tag: bool = False
    tags: Mapping[str, str] = field(default_factory=dict)
    """The tags of its endpoint, as FleetSync last saw them."""

    @property
    def endpoint_name(self) -> str:
        """The endpoint that the target belongs to."""
        return self.endpoint or self.target.names["EndpointName"]

    def subjects(self, scope: Scope) -> set[str]:
        """Return what an override of a scope is for if it is for this target, its tags, its profile or the fleet."""
        return {
            Scope.TARGET: {self.target.resource_id},
            Scope.TAG: {f"{key}={value}" for key, value in self.tags.items()},
            Scope.PROFILE: {self.profile_name},
            Scope.FLEET: {""},
        }[scope]

    def under(self, wish: Override) -> bool:
        """Whether an override is for this target."""
        return wish.subject in self.subjects(wish.scope)

    def concerned_by(self, resource: str | None) -> bool:
        """Whether news of a resource (`endpoint/<name>`, `inference-component/<name>`, None for all) is of it."""
        return resource in {None, f"endpoint/{self.endpoint_name}", self.target.resource_id}


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One target as seen at `now`: the whole input of a decision."""

    now: datetime
    enrolment: Enrolment
    capacity: Capacity | Missing
    registered: Envelope | None
    """What is registered with AAS, or None if the target is not."""

    signals: Mapping[Signal, Observation | Missing]
    scaling_out: bool | None
    """Whether a native scale-out alarm is in ALARM; None if that is not known."""

    memory: Memory
    overrides: tuple[Override, ...] = ()
    refusal: Refusal | None = None
    """Why AAS did not bring the count up to the floor that stands; only looked up where it is missing."""
    alarms: Mapping[str, str] = field(default_factory=dict)
    """The states of our own alarms on the target by what their names end with; absent if not known."""

    learned: Learned | None = None
    """What the daily fit says of these minutes; None without one that is fresh."""

    low_alarms: Mapping[str, str] = field(default_factory=dict)
    """The states of the alarms by which tracking policies agree to scale in, by policy; absent if not known."""

    suspended: tuple[str, ...] = ()
    """What of scaling somebody suspended on the target."""

    progress: Mapping[str, Progress | Missing] = field(default_factory=dict)
    """What was done so far in the open windows that have work to do, by window."""

    @property
    def profile(self) -> Profile:
        """The target's profile."""
        return self.enrolment.profile

    @property
    def target(self) -> ScalableTarget:
        """The target itself."""
        return self.enrolment.target

    @property
    def policy_envelope(self) -> Envelope:
        """The policy's own bounds, within the fleet's cap."""
        ceiling = min(self.profile.max_capacity, self.enrolment.fleet_max)
        return Envelope(min(self.profile.min_capacity, ceiling), ceiling)

    @property
    def unknown(self) -> Mapping[Signal, Missing]:
        """The signals that could not be measured; an inference component without a copy in service serves nothing."""
        copies = self.capacity.current if isinstance(self.capacity, Capacity) else None
        silent = {Signal.OLDEST, Signal.TURNAROUND, Signal.WAITED}  # these only make more of what is known
        if self.target.dimension is Dimension.COPIES and copies == 0:
            silent.add(Signal.REQUESTS)
        return {name: seen for name, seen in self.signals.items() if isinstance(seen, Missing) and name not in silent}

    @property
    def requests(self) -> float | None:
        """Requests of the newest readable minute, None if not known."""
        seen = self.signals.get(Signal.REQUESTS)
        return seen.newest.value if isinstance(seen, Observation) else None

    @property
    def waiting(self) -> float | None:
        """Items of an asynchronous endpoint's queue in the newest readable minute, None if not known."""
        seen = self.signals.get(Signal.BACKLOG)
        return seen.newest.value if self.profile.queued and isinstance(seen, Observation) else None

    @property
    def state_lost(self) -> bool:
        """Whether this target was first seen (or its state was lost) within one stabilization window."""
        first = self.memory.first_seen_at
        return first is None or self.now - first < self.profile.stabilization

    @property
    def next_try(self) -> datetime:
        """When standing bounds that the count does not follow are registered again: 2, 4, 8, 16, 30 minutes later.

        Counted from our last write, for AAS may fail every minute by itself; from the start once the count has moved.
        """
        memory, capacity = self.memory, self.capacity
        moved = isinstance(capacity, Capacity) and capacity.settled and capacity.desired != memory.count
        wait = min(FIRST_RETRY * 2 ** (0 if moved else min(memory.tries, 4)), LONGEST_RETRY)
        return self.now if memory.written_at is None else memory.written_at + wait


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What the bounds should be and why."""

    context: Context
    envelope: Envelope
    steps: tuple[Step, ...]
    """What each rule that spoke did, in order; never empty, for demand always speaks."""

    desired: int
    """Demand floor before the clamps, in instances."""

    scale_in_to: int | None
    """Count to set directly because nothing above it is needed, or None."""

    target_factor: float
    """Share of the declared request target that AAS should keep an instance at; 1 unless latency was too high."""

    paused: bool
    valid_until: datetime
    """Until when the wish holds if nobody renews it."""

    @property
    def deciding_step(self) -> Step:
        """The last rule that moved the envelope; if none did, the first that spoke. A pause decides by itself.

        What only accompanies an order (`echo`) decides nothing.
        """
        moved = (s for s in reversed(self.steps) if (s.moved and s.rule != "echo") or s.reason is Reason.OVERRIDE_PAUSE)
        return next(moved, self.steps[0])

    @property
    def reason(self) -> Reason:
        """Why, in one word: the deciding step's reason."""
        return self.deciding_step.reason

    @property
    def demand_floor(self) -> int:
        """The floor that demand asked for after stabilization: what is held while metrics are unknown."""
        speaking = {"demand", "guard", "forecast", "outage", "stabilize"}
        return next((s.after.floor for s in reversed(self.steps) if s.rule in speaking), self.desired)

    def effective_mode(self, stack: Mode) -> Mode:
        """The more cautious of the stack's and the profile's mode."""
        return Mode.SHADOW if Mode.SHADOW in {stack, self.context.profile.mode} else Mode.ACTIVE


FIRST_RETRY, LONGEST_RETRY = timedelta(minutes=2), timedelta(minutes=30)

EXPIRY = timedelta(minutes=60)
"""How long after the last renewal a dead controller's bounds fall back to the policy's own."""

ORDER_EXPIRY = timedelta(minutes=20)
"""The same while an order of ours limits what AAS may order: longer than instances take to start and to be seen."""

DECISIONS: TypeAdapter[Decision] = TypeAdapter(Decision)
CONTEXTS: TypeAdapter[Context] = TypeAdapter(Context)
"""Writes a context down as JSON and reads it again, so that any recorded decision can be replayed."""
