"""The words of the core: targets, observations, envelopes, steps and their reasons.

Everything here is a frozen value. Capacity is counted in what the target's dimension counts: instances of a variant,
copies of an inference component, or provisioned concurrency of a serverless variant; texts that say instances mean
all three. Times are aware datetimes in UTC.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import NamedTuple
from zlib import crc32

from typing_extensions import override

LESS_EACH = 0.85
"""Share of `c` that is planned with once latency or a deployment puts it in doubt (algorithms 2)."""


class Kind(StrEnum):
    """How an endpoint is used; decides which function owns it."""

    REALTIME = "realtime"
    ASYNC = "async"
    BATCH = "batch"


class Mode(StrEnum):
    """Whether decisions are written. `shadow` decides and records, and writes nothing."""

    SHADOW = "shadow"
    ACTIVE = "active"


class Dimension(StrEnum):
    """What Application Auto Scaling counts on a target (facts 1.1)."""

    INSTANCES = "sagemaker:variant:DesiredInstanceCount"
    CONCURRENCY = "sagemaker:variant:DesiredProvisionedConcurrency"
    COPIES = "sagemaker:inference-component:DesiredCopyCount"


class Serving(StrEnum):
    """What serves the requests: it decides what is counted, how low it may go and which metrics there are."""

    REALTIME = "realtime"
    ASYNC = "async"
    INFERENCE_COMPONENT = "inference_component"
    SERVERLESS = "serverless"

    @property
    def dimension(self) -> Dimension:
        """What is counted."""
        counted = {Serving.INFERENCE_COMPONENT: Dimension.COPIES, Serving.SERVERLESS: Dimension.CONCURRENCY}
        return counted.get(self, Dimension.INSTANCES)

    @property
    def lowest(self) -> int:
        """The least there may be of it (facts 1.1)."""
        return 0 if self in {Serving.ASYNC, Serving.INFERENCE_COMPONENT} else 1


class Signal(StrEnum):
    """What a pass may measure on a target; units in `core.signals`."""

    REQUESTS = "requests"
    BACKLOG = "backlog"
    IN_FLIGHT = "in_flight"
    PROCESSED = "processed"
    FAILED = "failed"
    OLDEST = "oldest"
    TURNAROUND = "turnaround"
    WAITED = "waited"
    NO_CAPACITY = "no_capacity"
    ALARMS = "alarms"
    """The states of our own alarms; never measured, missing where they could not be read."""


class OverrideAction(StrEnum):
    """What an operator may ask for until the override expires."""

    PIN = "pin"
    FLOOR = "floor"
    CEILING = "ceiling"
    PAUSE = "pause"
    RESUME = "resume"
    """Asks for nothing, and ends what was asked for before it in the same scope."""


class Scope(StrEnum):
    """What an override is for, the narrowest first."""

    TARGET = "target"
    TAG = "tag"
    PROFILE = "profile"
    FLEET = "fleet"


class Told(StrEnum):
    """What events say of an override (their detail type). Public: rules match these."""

    CREATED = "Tidegate Override Created"
    SUPERSEDED = "Tidegate Override Superseded"
    ENDING_SOON = "Tidegate Override Ending Soon"
    EXPIRED = "Tidegate Override Expired"


class Reason(StrEnum):
    """Why a rule spoke. Public: alarms, dashboards and tests match these; renaming one is a breaking change."""

    POLICY_MINIMUM = "PolicyMinimum"
    LOAD = "Load"
    FORECAST = "Forecast"
    OUTAGE_HOLD = "OutageHold"
    BACKLOG = "Backlog"
    REQUESTS_EXPIRING = "RequestsExpiring"
    NO_CAPACITY = "NoCapacity"
    SCALE_IN_STABILIZED = "ScaleInStabilized"
    SATURATED = "Saturated"
    LATENCY_ABOVE_OBJECTIVE = "LatencyAboveObjective"
    STATE_LOST = "StateLost"
    METRICS_UNKNOWN = "MetricsUnknown"
    WINDOW_PREWARMING = "WindowPrewarming"
    WINDOW_OPEN = "WindowOpen"
    DEADLINE_AT_RISK = "DeadlineAtRisk"
    OVERRIDE_PIN = "OverridePin"
    OVERRIDE_FLOOR = "OverrideFloor"
    OVERRIDE_CEILING = "OverrideCeiling"
    OVERRIDE_PAUSE = "OverridePause"
    ORDER_NOT_SHOWN = "OrderNotShown"
    LIMITED_BY_MAX_CAPACITY = "LimitedByMaxCapacity"
    LIMITED_BY_MIN_CAPACITY = "LimitedByMinCapacity"
    CAPACITY_REFUSED = "CapacityRefused"
    SCALE_IN_BLOCKED = "ScaleInBlocked"
    SCALING_SUSPENDED = "ScalingSuspended"


ALWAYS_TOLD = (Reason.SCALE_IN_BLOCKED, Reason.SCALING_SUSPENDED, Reason.REQUESTS_EXPIRING, Reason.DEADLINE_AT_RISK)
"""Logged and counted in each pass, whatever else decides: somebody has to do something about it."""


@dataclass(frozen=True, slots=True, order=True)
class ScalableTarget:
    """A resource ID and a scalable dimension, registered together in the namespace `sagemaker`."""

    resource_id: str
    dimension: Dimension = Dimension.INSTANCES

    @classmethod
    def variant(cls, endpoint: str, variant: str, dimension: Dimension = Dimension.INSTANCES) -> "ScalableTarget":
        """Return what is counted of one production variant as a target."""
        return cls(f"endpoint/{endpoint}/variant/{variant}", dimension)

    @classmethod
    def component(cls, name: str) -> "ScalableTarget":
        """Return the copy count of an inference component as a target; its ID does not say on which endpoint."""
        return cls(f"inference-component/{name}", Dimension.COPIES)

    @property
    def names(self) -> Mapping[str, str]:
        """What CloudWatch's dimensions and SageMaker's requests call the target."""
        parts = self.resource_id.split("/")
        if self.dimension is Dimension.COPIES:
            return {"InferenceComponentName": parts[1]}
        return {"EndpointName": parts[1], "VariantName": parts[3]}

    def turn(self, among: int) -> int:
        """Return a stable place of its own, from 0, `among` so many, so that a fleet does not do all at once."""
        return crc32(self.resource_id.encode()) % among


@dataclass(frozen=True, slots=True)
class Point:
    """One metric value; `at` is the start of its minute."""

    at: datetime
    value: float


@dataclass(frozen=True, slots=True)
class Observation:
    """What was measured: at least one point, oldest first, finite and not negative."""

    points: tuple[Point, ...]

    @property
    def newest(self) -> Point:
        """The latest point."""
        return self.points[-1]


@dataclass(frozen=True, slots=True)
class Missing:
    """Nothing usable was measured, which is not the same as zero."""

    why: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What was done in an open window: requests or items since its start, and those of each of the newest minutes."""

    done: float
    recent: tuple[Point, ...]
    begun: datetime | None = None
    """When load was seen to begin (algorithms 10); None while it is not."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """The bounds AAS may move within: MinCapacity and MaxCapacity, 0 <= floor <= ceiling."""

    floor: int
    ceiling: int

    def __post_init__(self) -> None:
        if not 0 <= self.floor <= self.ceiling:
            raise ValueError(f"envelope {self.floor}..{self.ceiling}: must be 0 <= floor <= ceiling")

    @override
    def __str__(self) -> str:
        return f"{self.floor}..{self.ceiling}"

    def holds(self, count: int) -> bool:
        """Whether `count` instances lie inside the bounds."""
        return self.floor <= count <= self.ceiling


@dataclass(frozen=True, slots=True)
class Capacity:
    """What SageMaker says of a target: capacity in service, capacity asked for, and the status of what is changed.

    `created_at` and `config` tell this endpoint from one of the same name before, and this deployment from the last.
    """

    current: int
    desired: int
    status: str
    created_at: datetime | None = None
    config: str | None = None

    @property
    def in_service(self) -> bool:
        """Whether the endpoint or component can be changed now (facts 2.7)."""
        return self.status == "InService"

    @property
    def settled(self) -> bool:
        """Whether no change is in flight."""
        return self.in_service and self.current == self.desired


@dataclass(frozen=True, slots=True)
class Refusal:
    """A scaling activity that failed: when, the error code in its text (`Failed` if there is none), and the text."""

    at: datetime
    code: str
    text: str

    @property
    def room(self) -> int | None:
        """How many more the account's quota allows, None if the text does not say so."""
        said = re.search(r"is (\d+) Instances, with current utilization of (\d+) Instances", self.text)
        return max(int(said[1]) - int(said[2]), 0) if said else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """What one signal asks for at one minute.

    `floor` is what must run; `settled` is what native tracking would come to rest at, so capacity above it serves
    nobody and may be scaled in directly.
    """

    at: datetime
    floor: int
    settled: int
    reason: Reason
    seen: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Override:
    """One operator's wish for the targets of a scope, until it expires."""

    override_id: str
    action: OverrideAction
    scope: Scope
    subject: str
    """Which target (its resource ID), tag (`key=value`) or profile; nothing for the fleet."""

    capacity: int | None
    created_at: datetime
    expires_at: datetime
    reason: str
    requested_by: str
    """Who that is said to be. `invocation` is the request ID under which CloudTrail knows who it was."""

    invocation: str = ""
    told: Told | None = None
    """Which of the events of its end was put last."""

    @property
    def place(self) -> tuple[Scope, str]:
        """What it is for: of two overrides with one place, the newer has its way."""
        return self.scope, self.subject

    def repeats(self, known: "Override") -> bool:
        """Whether it asks what a known one asked; its request may say when it ends, or how long it lasts."""
        kept = {name: getattr(known, name) for name in ("created_at", "expires_at", "invocation", "told")}
        ends = {known.expires_at, known.expires_at + (self.created_at - known.created_at)}
        return replace(self, **kept) == known and (self.action is OverrideAction.RESUME or self.expires_at in ends)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """A target tracking policy as it was found: `low` is the alarm by which it agrees to scale in, if it may."""

    name: str
    low: str | None = None
    disabled: bool = False
    foreign: bool = False


class Tracked(NamedTuple):
    """How target tracking of the user's own kept an instance or copy: requests a minute, cooldowns."""

    target: float
    scale_out_cooldown: timedelta
    scale_in_cooldown: timedelta
    disable_scale_in: bool


class Starts(NamedTuple):
    """How long the newest scale-outs took, from order to service: where instances ran, and from zero."""

    running: tuple[timedelta, ...] = ()
    from_zero: tuple[timedelta, ...] = ()


ENOUGH = 5
"""Fewer of what was measured say nothing."""


def usual(starts: Sequence[timedelta]) -> timedelta | None:
    """Return within what 95 % of the starts were over, None as long as too few were seen (algorithms 10)."""
    return sorted(starts)[ceil(0.95 * len(starts)) - 1] if len(starts) >= ENOUGH else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What an instance or copy was seen to serve within the latency objective, in requests a minute."""

    at: datetime
    capacity: float | None = None
    """What to plan with; None while nothing tells."""

    served: float = 0.0
    """The highest load of one of them that was served in time."""

    limit: float | None = None
    """The lowest load above that which was not; None if there was none."""

    @property
    def tells(self) -> str:
        """What the value rests on, for a person."""
        if not self.served:
            return "not enough load seen to tell"
        if self.limit is None:
            return f"not enough load seen above {self.served:g}"
        return f"in time up to {self.served:g}, slower than the objective from {self.limit:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is remembered of a target between passes (the table's STATE item). Everything may be lost.

    `version` counts writes and makes two passes that saw the same state exclude each other. `enrolled` says that
    FleetSync put the target in order; until then nobody else writes. `tries` counts how often standing bounds were
    registered again since `count`, the desired count when no change was in flight, last moved.
    """

    version: int = 0
    first_seen_at: datetime | None = None
    enrolled: bool = False
    demand_floor: int | None = None
    demand_at: datetime | None = None
    written: Envelope | None = None
    written_at: datetime | None = None
    count: int | None = None
    tries: int = 0
    expires_at: datetime | None = None
    scale_out_alarms: tuple[str, ...] = ()
    tracking: tuple[Tracking, ...] = ()
    missing_since: datetime | None = None
    decided: Envelope | None = None
    reason: Reason | None = None
    created_at: datetime | None = None
    config: str | None = None
    ready: int | None = None
    ready_since: datetime | None = None
    """How many instances served when last looked at, and since which pass it has been so many."""

    target_factor: float = 1.0
    target_changed_at: datetime | None = None
    """Share of `c` that latency allows, and so of the request target that AAS was given; and since when."""

    tracked: float | None = None
    falls_back_at: datetime | None = None
    """Request target that an owner wrote last, and when a schedule takes it back (ADR 0005)."""

    before_adoption: Tracked | None = None
    """The policy that tracked requests before adoption; None if none did."""

    measured: Measured | None = None
    config_since: datetime | None = None
    """What was learned of `c`, and since when the endpoint serves as it does: older minutes say nothing of it."""

    overloaded_at: datetime | None = None
    """When an instance last had as much load as it is taken to serve."""

    silent_since: datetime | None = None
    """Since when traffic has been away that was there yesterday and a week ago; it may be back for half an hour."""

    rate: float | None = None
    rate_at: datetime | None = None
    """Items a minute and instance as measured, and the newest minute that went into it; None while none is at work."""

    starts: Starts = field(default_factory=Starts)

    def raised(self, now: datetime) -> bool:
        """Whether AAS has a request target above what it falls back to: until its schedule is due."""
        return self.tracked is not None and self.falls_back_at is not None and now < self.falls_back_at

    def of(self, capacity: Capacity | Missing, now: datetime) -> "Memory":
        """Return what still holds of the endpoint seen: nothing of one that was recreated under its name."""
        if isinstance(capacity, Missing):
            return self
        if self.created_at not in {None, capacity.created_at}:
            return Memory(version=self.version).of(capacity, now)
        seen = replace(self, created_at=capacity.created_at, config=capacity.config)
        if self.config in {None, capacity.config}:
            return seen
        # A new endpoint configuration (another model, another instance type) ends what was learned under the old one.
        # Once, until it is learned anew: of ten deployments a day each would take its share of what the last one left.
        known = self.measured.capacity if self.measured else None
        share = min(LESS_EACH if self.measured and self.measured.served else 1, self.target_factor)
        measured = None if known is None else Measured(at=now, capacity=round(share * known, 4))
        anew = replace(seen, target_factor=1.0, target_changed_at=None, rate=None, rate_at=None, starts=Starts())
        return replace(anew, measured=measured, config_since=now)


Table = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """A block of load that begins at about one time on most days."""

    earliest: int
    """Minute of the day at which it began, as clocks show it where the load comes from; so is `latest`."""

    latest: int
    peaks: tuple[float, ...]
    """Its first minutes' largest on each known day, in requests; 0 on a day without it."""

    kept: float
    """Share of such predictions for this target that came true."""


class Option(StrEnum):
    """What orders capacity before the load comes. Guard, tracking, batch windows and the outage hold act under each."""

    FORECAST = "forecast"
    WINDOWS = "windows"
    """Only blocks of load that were found in history (`Habit`)."""

    GUARD = "guard"
    """Nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """What one day would have come to under each option, by the fit that was in force (`core.learning.choice`)."""

    price: float
    """The knob's, at which it was replayed."""

    load: float
    """Instance-minutes of requests; so is `violated`, of those that met too little."""

    instances: Mapping[Option, int]
    """Instance-minutes paid."""

    violated: Mapping[Option, float]
    under: float
    """Share of the minutes whose load was under what the forecast ordered up to for them."""

    promised: float
    """The share it had foreseen."""

    minutes: int = 24 * 60
    """So much of the day is known; what was judged in parts is put together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What a daily fit found of a target's load, or what of it one decision needs. `core.signals.forecast` reads it."""

    fitted_at: datetime
    """The newest minute it saw, which names it."""

    peak: float
    """The largest minute of the history, in requests."""

    lines: tuple[tuple[float, ...], ...]
    """For each horizon the offset and the weights of the features."""

    first: datetime
    """The minute of the first place of `season`."""

    season: Table
    """Six tables by 5 minutes, in hundredths of a log: the peak and the mean of the days before (three of each)."""

    errors: Mapping[int, tuple[Table, ...]]
    """By hour of the day (in `timezone`), horizon and level: quantiles of what came over what was expected."""

    week: bool = False
    """Whether the load of a week ago is known; else `season` has the mean of the days that are in its place."""

    timezone: str = "UTC"
    """IANA zone of the clock by which the load repeats."""

    horizons: tuple[int, int, int] = (3, 7, 13)
    """Minutes from now: before an order serves, when it does (D + 1), and when the next one does (2 D + 1)."""

    habits: tuple[Habit, ...] = ()

    chosen: Option = Option.FORECAST
    """What orders ahead until the next fit."""

    dearness: float = 1.0
    """Factor of the knob's price: what load costs here, by what it costs where instances are half used."""

    judged: tuple[Judged, ...] = ()
    """The last days that were replayed, newest first; not part of what a decision needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What one rule did to the envelope, and the figures it looked at."""

    rule: str
    reason: Reason
    before: Envelope
    after: Envelope
    seen: Mapping[str, float | str] = field(default_factory=dict)
    valid_until: datetime | None = None

    @property
    def moved(self) -> bool:
        """Whether the envelope changed."""
        return self.before != self.after
